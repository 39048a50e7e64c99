"""
Measures how long edits take: from the end of the call that made the edit until the other side shows it.

It measures from outside, without Salmon's own metrics: with its own change stream on MongoDB, and with the person's
subscription on the org.
"""

from __future__ import annotations

import math
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pymongo.errors import PyMongoError

from salmon.demo.people import Application, Person
from salmon.model.change import MONGODB, SALESFORCE
from salmon.salesforce.reading.stream.subscription import Ended, Preset, Subscription
from salmon.salesforce.wire.pubsub_api.pubsub import PubSub

_AWAIT_MS: Final = 100
_WAKE_S: Final = 0.5
_CHANNEL: Final = "/data/ChangeEvents"


@dataclass(slots=True)
class _Edit:
    object: str
    side: str
    returned_at: float | None = None
    seen_at: float | None = None


@dataclass(slots=True)
class Watch:
    """Edits by their value; each value is written once. Thread-safe."""

    clock: Callable[[], float] = time.monotonic
    _edits: dict[str, _Edit] = field(default_factory=dict)
    _lags: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begun(self, value: str, name: str, side: str) -> None:
        """An edit of the object *name* is about to be made on *side*."""
        with self._lock:
            self._edits[value] = _Edit(name, side)

    def returned(self, value: str) -> None:
        """The edit's call has returned. From now on the edit counts."""
        self._note(value, "returned_at")

    def failed(self, value: str) -> None:
        """The edit was not made."""
        with self._lock:
            self._edits.pop(value, None)

    def seen(self, value: object, side: str) -> None:
        """*side* shows a value. Values that are not edits from the other side are ignored."""
        if isinstance(value, str) and (edit := self._edits.get(value)) is not None and edit.side != side:
            self._note(value, "seen_at")

    def in_flight(self) -> Counter[str]:
        """Return object -> number of edits that the other side has not shown yet."""
        with self._lock:
            return Counter(edit.object for edit in self._edits.values())

    def lags_s(self, *, name: str | None = None, side: str | None = None) -> list[float]:
        """Return how long the edits to an object or on a side took, in the order of their arrival."""
        with self._lock:
            return [
                lag
                for (of, origin), lags in self._lags.items()
                if name in (None, of) and side in (None, origin)
                for lag in lags
            ]

    def _note(self, value: str, what: str) -> None:
        now = self.clock()
        with self._lock:
            edit = self._edits.get(value)
            if edit is None or getattr(edit, what) is not None:
                return
            setattr(edit, what, now)
            if edit.returned_at is not None and edit.seen_at is not None:
                del self._edits[value]
                # The other side may show it before its call has returned.
                lag_s = max(0.0, edit.seen_at - edit.returned_at)
                self._lags.setdefault((edit.object, edit.side), []).append(lag_s)


def quantile(lags_s: Iterable[float], q: float) -> float | None:
    """Return the q-quantile by nearest rank; None if there are no values."""
    ordered = sorted(lags_s)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)] if ordered else None


class Observer(ABC):
    """A thread that passes on to a Watch what one side shows. *error*: why it ended early."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=type(self).__name__, daemon=True)
        self.error: Exception | None = None

    def start(self) -> None:
        """Return as soon as nothing can be missed any more."""
        self._open()
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    @abstractmethod
    def _open(self) -> None:
        """Start watching. Everything that happens from now on is seen."""

    @abstractmethod
    def _take(self) -> None:
        """Wait a moment for something new, and pass it on."""

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                self._take()
        except Exception as error:  # noqa: BLE001 - reported by the caller that waits for this
            self.error = error


class DocumentObserver(Observer):
    """Watches the documents."""

    def __init__(self, watch: Watch, application: Application) -> None:
        super().__init__(watch)
        self._application = application
        self._stream: Any = None

    def _open(self) -> None:
        self._stream = self._application.database.watch(max_await_time_ms=_AWAIT_MS)

    def _take(self) -> None:
        try:
            event = self._stream.try_next()
        except PyMongoError:
            if self._stopped.is_set():
                return
            raise
        if event is None:
            return
        shown: Mapping[str, Any] = event.get("updateDescription", {}).get("updatedFields") or event.get(
            "fullDocument", {}
        )
        for value in shown.values():
            self._watch.seen(value, MONGODB)

    def close(self) -> None:
        super().close()
        if self._stream is not None:
            self._stream.close()


class OrgObserver(Observer):
    """Watches the org's change events, as the person."""

    def __init__(self, watch: Watch, person: Person) -> None:
        super().__init__(watch)
        self._pubsub = PubSub(person.config, person.sign_in)
        self._silence_max_s = person.config.pubsub.silence_max_s
        self._woken = threading.Event()
        self._subscription: Subscription | None = None

    def _open(self) -> None:
        # From the earliest event, because nothing reports when a stream that begins with the latest event is ready.
        self._subscription = Subscription(
            self._pubsub,
            _CHANNEL,
            Preset.EARLIEST,
            fetch_size=100,
            silence_max_s=self._silence_max_s,
            wake=self._woken.set,
        )

    def _take(self) -> None:
        assert self._subscription is not None
        self._woken.wait(_WAKE_S)
        self._woken.clear()
        while (received := self._subscription.peek()) is not None:
            if isinstance(received, Ended):
                raise received.error
            for event in received.events:
                shown = self._pubsub.schema(event.event.schema_id).read(event.event.payload)
                for value in shown.values():
                    self._watch.seen(value, SALESFORCE)
            self._subscription.pop()

    def close(self) -> None:
        super().close()
        if self._subscription is not None:
            self._subscription.close()
        self._pubsub.close()
