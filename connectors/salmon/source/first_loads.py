"""
Which objects must not be loaded yet: those whose records have to be matched first (salmon.match), and those that refer to them.

A source that learns of a record whose counterpart has another key makes a second one on the other side. So until `salmon match`
has left its mark in `offsets`, both sources treat such an object as if it were not in the configuration. When the mark is
there, they restart. An object that a source has begun to read already has keys, and never waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from threading import Event, Thread
from typing import Final

import structlog

from salmon.errors import StartAgain
from salmon.kafka import clients
from salmon.kafka.codecs.registry import Registry
from salmon.kafka.offsets import OffsetStore
from salmon.kafka.tables import Table
from salmon.kafka.topics import Topics
from salmon.model.schema import ObjectSchema
from salmon.plugin.contract import FIRST_READ, WaitingObject

log = structlog.get_logger(__name__)

MATCHED: Final = "match"  # `match/<Object>` in `offsets`: the object has been matched, or needs not to be
LOOK_EVERY_S: Final = 2.0
_JOIN_MAX_S: Final = 1.0


class Matched(StartAgain):
    """The records of an object have been matched: it can be loaded now."""


def begun(name: str, entries: Collection[str]) -> bool:
    """Whether a source has begun to read the object. *entries*: the keys of `offsets`."""
    return any(entry.endswith(f"-source/{FIRST_READ}{name}") for entry in entries)


def waiting_for_match(names: Collection[str], entries: Collection[str]) -> frozenset[str]:
    """Which of the objects with `match` wait for it. *entries*: the keys of `offsets`."""
    return frozenset(
        name for name in names if not begun(name, entries) and f"{MATCHED}/{name}" not in entries
    )


def held_back(
    waiting: Collection[str], schemas: Mapping[str, ObjectSchema], entries: Collection[str]
) -> dict[str, Sequence[str]]:
    """
    Return the objects that are not loaded yet, each with the objects whose match it waits for.

    One that refers to records that have no common key yet waits, too: it would show their Ids instead.
    """
    held: dict[str, Sequence[str]] = {name: (name,) for name in sorted(waiting)}
    for name, schema in schemas.items():
        targets = {target for field in schema.references for target in field.reference_to}
        if name not in held and (of := sorted(targets.intersection(waiting))) and not begun(name, entries):
            held[name] = of
    return held


class FirstLoads:
    """
    The objects that a source holds back, from the start of its process to the next.

    Args:
        names: The objects with `match` in the configuration.
        every_s: Seconds between two looks for the mark of one.
        clock: Seconds that only ever grow.
    """

    def __init__(
        self,
        kafka: clients.Brokers,
        topics: Topics,
        registry: Registry,
        names: Collection[str],
        *,
        every_s: float = LOOK_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kafka, self._names, self._every_s, self._clock = kafka, names, every_s, clock
        self._store = OffsetStore(kafka, topics, registry)
        self._began_s = clock()
        self.held: Mapping[str, Sequence[str]] = {}
        self._closing = Event()
        self._matched: Matched | None = None
        self._thread: Thread | None = None

    def find(self, schemas: Mapping[str, ObjectSchema]) -> Collection[str]:
        """Find the objects to hold back, and from now on look whether they may be loaded. Raises as Table does."""
        if self._names:
            entries = self._store.entries()
            waiting = waiting_for_match(self._names, entries)
            self.held = held_back(waiting, schemas, entries)
            if waiting:
                log.warning("first_load_waits", objects=sorted(self.held), for_match_of=sorted(waiting))
                self._thread = Thread(target=self._run, args=(waiting,), name="first-loads", daemon=True)
                self._thread.start()
        return self.held.keys()

    def check(self) -> None:
        """Raise Matched if an object that was held back has been matched."""
        if self._matched is not None:
            raise self._matched

    def waiting(self) -> list[WaitingObject]:
        """What waits, and what to do. For health."""
        since_s = self._clock() - self._began_s
        return [WaitingObject(name, since_s, _sentence(name, of)) for name, of in self.held.items()]

    def close(self) -> None:
        """End the looking. Idempotent."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(_JOIN_MAX_S)

    def _run(self, waiting: Collection[str]) -> None:
        marks = {f"{MATCHED}/{name}" for name in waiting}
        table: Table | None = None
        trouble = ""
        try:
            while self._matched is None and not self._closing.wait(self._every_s):
                try:
                    if table is None:
                        table = Table(self._kafka, self._store.topic, self._store.serde.decode, only=marks)
                    table.load()
                    if table.rows:
                        names = ", ".join(sorted(mark.partition("/")[2] for mark in table.rows))
                        self._matched = Matched(f"{names} can be loaded now. The process restarts to do so.")
                    trouble = ""
                except Exception as error:  # noqa: BLE001 - whatever Kafka says, it is asked again
                    if trouble != (trouble := type(error).__name__):
                        log.warning("match_not_looked_for", error=trouble, reason=str(error))
                    if table is not None:
                        table.close()
                        table = None
        finally:
            if table is not None:
                table.close()


def _sentence(name: str, of: Sequence[str]) -> str:
    what = f"{name} is not loaded yet"
    if list(of) != [name]:
        what += f", because it refers to {' and '.join(of)}, which must be matched first"
    else:
        what += ", because both sides may have records of the same things, and these must be matched first"
    return (
        f"{what} (objects.{of[0]}.match). Run `salmon match`, look at the files that it writes, then run `salmon match --apply`. If there "
        f"is nothing to match, run `salmon match --waive --object {of[0]}`. Loading then begins by itself."
    )
