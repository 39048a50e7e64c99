"""
Whether the parents that an event refers to are known by their keys, before it is reported.

Who carries a key is known when the stream begins, and the event of each creation says it from then on. But an event may be lost
without a word. Then a reference to that record would be reported by its Id, as if somebody in the org had made it point elsewhere.
So a parent is asked for its key unless it has one, was read, or its creation was heard: one query for all that the events which
have come refer to. If the org does not answer it, the events that need the answer wait for it, and no others.

The echo of a write of ours asks for nothing: it refers to what the sink has found by the same table of keys.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import structlog

from salmon.errors import RequestRejected, RetriableError
from salmon.model.change import Change
from salmon.salesforce.catalog import SyncedObject
from salmon.salesforce.identity import Identity
from salmon.salesforce.reading.polling import Reported
from salmon.salesforce.reading.stream.waiting_events import Held
from salmon.salesforce.reading.whole.rows import RowReader
from salmon.salesforce.reading.whole.windows import Reads
from salmon.salesforce.troubles import Troubles

log = structlog.get_logger(__name__)

_AGAIN_S: Final = 5.0  # after a query that failed
_TELLING_THEIR_KEY: Final = ("CREATE", "UNDELETE")


class Parents:
    """What is known of the parents of records. For one thread."""

    def __init__(
        self,
        *,
        objects: Mapping[str, SyncedObject],
        readers: Mapping[str, RowReader],
        reads: Mapping[str, Reads],
        held: Held,
        identity: Identity,
        troubles: Troubles,
        our_user: str,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._objects, self._readers, self._reads = objects, readers, reads
        self._held, self._identity, self._troubles = held, identity, troubles
        self._our_user, self._monotonic_s = our_user[:15], monotonic_s
        self._has_polled = any(isinstance(each, Reported) for each in reads.values())
        self._again_at_s: dict[str, float] = {}  # object -> when it may be asked again
        # Parents of the events asked about last, for which there was no answer.
        self._unanswered: set[tuple[str, str]] = set()

    def ask(self, payloads: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Learn the keys of the parents that these events refer to, each given with its object; before they are reported."""
        self._unanswered = set()
        for target, ids in self._not_met(payloads).items():
            if self._troubles.blocks(target):
                continue  # it is read again as a whole, and no event of another object waits for that
            if self._monotonic_s() < self._again_at_s.get(target, 0.0) or not self._answers(target, ids):
                self._unanswered.update((target, each) for each in ids)

    def has_stranger(self, name: str, change: Change | None, *, keys_are_due: bool) -> bool:
        """Whether it refers to a parent whose Id may not be its key. *keys_are_due*: those of all records are to be read."""
        if change is None or not (keys_are_due or self._held or self._has_polled or self._unanswered):
            return False
        for field in self._objects[name].schema.references:
            value = change.fields.get(field.name)
            parent = self._identity.told_by_id(field, value) if isinstance(value, str) else None
            if parent is not None and (keys_are_due or self._is_strange(*parent)):
                return True
        return False

    def _is_strange(self, target: str, native_id: str) -> bool:
        reads = self._reads[target]
        if isinstance(reads, Reported) and not reads.has_met(native_id):
            return True
        return (target, native_id) in self._unanswered or (target, native_id) in self._held

    def _not_met(self, payloads: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, set[str]]:
        """Object -> Ids."""
        found: dict[str, set[str]] = {}
        for name, payload in payloads:
            header = payload["ChangeEventHeader"]
            if header["changeType"] in _TELLING_THEIR_KEY:
                self._identity.meet(header["recordIds"])
            elif header["changeType"] != "UPDATE":
                continue
            if (
                payload.get(self._objects[name].schema.markers.seq) is not None
                and header["commitUser"][:15] == self._our_user
            ):
                continue
            for field in self._objects[name].schema.references:
                value = payload.get(field.name)
                if not (isinstance(value, str) and value):
                    continue
                target = self._identity.target_of(field, value)
                if target is not None and self._has_to_be_asked(target, value):
                    found.setdefault(target, set()).add(value)
        return found

    def _has_to_be_asked(self, target: str, native_id: str) -> bool:
        if isinstance(self._reads[target], Reported):
            return False  # see _is_strange
        return not (self._identity.known(target, native_id) or self._identity.has_met(native_id))

    def _answers(self, target: str, ids: set[str]) -> bool:
        """Ask for the keys. False: not now. Who is refused an answer gets none by waiting."""
        try:
            self._readers[target].learn_keys_of(target, ids)
        except RequestRejected as error:
            log.warning("keys_not_shown", object=target, code=error.code)
        except RetriableError as error:
            log.warning("keys_not_read", object=target, error=str(error))
            self._again_at_s[target] = self._monotonic_s() + _AGAIN_S
            return False
        return True
