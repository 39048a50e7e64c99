"""
The conflicts of a sync, newest first, and which of them still wait for a person.

The `conflicts` topic has every conflict and who won. Whether a person has settled one that was on hold is in merge's state
of the record.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from confluent_kafka import Message

from salmon.errors import ConfigError
from salmon.kafka import clients, scans
from salmon.kafka.codecs.serdes import Conflicts
from salmon.kafka.foreign import decoded
from salmon.kafka.tables import Progress
from salmon.model.change import Value
from salmon.model.policies import EXISTENCE, Conflict, Edit
from salmon.model.schema import FieldSchema
from salmon.model.state import State
from salmon.story.formatting import shown, when
from salmon.story.lookup import Lookup

_ID: Final = re.compile(r"[0-9]+/[0-9]+")


@dataclass(frozen=True, slots=True)
class ConflictFilter:
    """Which conflicts are asked for; None: any. *text*: what a person gives for the key (see Lookup.keys_meant)."""

    object: str | None = None
    key: str | None = None
    field: str | None = None
    since_ms: int | None = None  # since 1970
    until_ms: int | None = None
    held: bool = False  # only those that wait for a person
    id: str | None = None
    text: str | None = None

    def keys(self, lookup: Lookup) -> frozenset[str] | None:
        """The records' keys; None: any."""
        if self.text is not None:
            return lookup.keys_like(self.object, self.text)
        return None if self.key is None else frozenset([self.key])

    def wants(self, entry: ListedConflict, keys: frozenset[str] | None) -> bool:
        contest = entry.conflict.contest
        return (
            self.object in (None, contest.object)
            and (keys is None or contest.key in keys)
            and self.field in (None, contest.field)
            and (self.since_ms is None or entry.at_ms >= self.since_ms)
            and (self.until_ms is None or entry.at_ms < self.until_ms)
            and (not self.held or entry.conflict.winner is None)
            and self.id in (None, entry.id)
        )


@dataclass(frozen=True, slots=True)
class ListedConflict:
    """One conflict. *id*: its partition and offset in the topic. *waits*: whether it still waits for a person."""

    id: str
    at_ms: int  # when merge found it, in ms since 1970
    seq: int
    conflict: Conflict
    waits: bool = False

    def as_dict(self, field: FieldSchema | None) -> dict[str, Any]:
        """As `--json` prints it. *field*: its type, for its values."""
        contest, winner = self.conflict.contest, self.conflict.winner
        return {
            "id": self.id,
            "at": when(self.at_ms),
            "object": contest.object,
            "key": contest.key,
            "field": contest.field,
            "policy": self.conflict.policy,
            "fault": self.conflict.fault or None,
            "winner": None if winner is None else winner.side,
            "waits": self.waits,
            "standing": edit_dict(contest.standing, field),
            "challenger": edit_dict(contest.challenger, field),
        }


def edit_dict(edit: Edit, field: FieldSchema | None) -> dict[str, Any]:
    return {
        "side": edit.side,
        "value": shown(edit.value, field),
        "committed_at": when(edit.committed_at) if edit.committed_at else None,
    }


@dataclass(frozen=True, slots=True)
class ConflictPage:
    """Some conflicts, newest first. *more*: how many older ones there are."""

    conflicts: tuple[ListedConflict, ...]
    more: int = 0


def listed(
    lookup: Lookup, asked: ConflictFilter, *, limit: int, progress: Progress | None = None
) -> ConflictPage:
    """
    Read the topic to its end.

    Raises:
        ConfigError: the sync does not have the object or the field.
        SetupError, Unavailable: Kafka or the registry cannot be used.
    """
    if asked.object is not None:
        lookup.check_object(asked.object)
        if asked.field not in (None, EXISTENCE):
            lookup.check_field(asked.object, asked.field or "")
    keys = asked.keys(lookup)
    codec = Conflicts(lookup.registry, lookup.topics.conflicts)
    # Only the states say which conflicts still wait. With --held, all conflicts without a winner are kept until then.
    found: deque[ListedConflict] = deque(maxlen=None if asked.held else limit)
    count = 0

    def take(message: Message) -> None:
        nonlocal count
        if message.value() is None or (record := decoded(message, codec.decode)) is None:
            return
        _, partition, offset = clients.place_of(message)
        entry = ListedConflict(f"{partition}/{offset}", message.timestamp()[1], record.seq, record.conflict)
        if asked.wants(entry, keys):
            count += 1
            found.append(entry)

    scans.scan(
        lookup.kafka,
        lookup.admin,
        scans.all_places(lookup.admin, [codec.topic]),
        take,
        keys=None if keys is None else sorted(keys),
        since_ms=asked.since_ms,
        progress=progress,
    )
    # If two have the same millisecond, the later one in the log is newer.
    newest = _with_waits(lookup, found, progress)[::-1]
    newest.sort(key=lambda entry: entry.at_ms, reverse=True)
    if asked.held:
        newest = [entry for entry in newest if entry.waits]
        count = len(newest)
    return ConflictPage(tuple(newest[:limit]), more=count - len(newest[:limit]))


def check_id(text: str) -> None:
    """Raise ConfigError if *text* is not the id of a conflict, PARTITION/OFFSET."""
    if not _ID.fullmatch(text):
        raise ConfigError(
            f"{text}: not the id of a conflict. An id is two numbers, e.g. 0/17: see `salmon conflicts list`."
        )


def one(lookup: Lookup, conflict_id: str, *, progress: Progress | None = None) -> ListedConflict:
    """
    Return the conflict with that id, PARTITION/OFFSET.

    Raises:
        ConfigError: it does not exist.
    """
    found = listed(lookup, ConflictFilter(id=conflict_id), limit=1, progress=progress).conflicts
    if not found:
        raise ConfigError(
            f"{conflict_id}: this conflict does not exist, or is no longer kept. `salmon conflicts list` shows all that are kept."
        )
    return found[0]


def waits_in(state: State | None, entry: ListedConflict) -> bool:
    """Whether this conflict is on hold. A later conflict about the same field replaces it."""
    sides = () if state is None else state.sides.values()
    name = entry.conflict.contest.field
    return any(side.holds(name) and side.parked[name].group == entry.seq for side in sides)


def held_value(state: State, side: str, name: str) -> Value:
    """Return the value that *side* has in a field that is on hold on some side."""
    kept = state.sides[side].kept
    return kept[name] if name in kept else state.canonical.get(name)


def _with_waits(
    lookup: Lookup, found: Iterable[ListedConflict], progress: Progress | None
) -> list[ListedConflict]:
    undecided: dict[str, set[str]] = {}
    since: dict[str, int] = {}
    for entry in found:
        if entry.conflict.winner is None and entry.conflict.contest.object in lookup.config.objects:
            name = entry.conflict.contest.object
            undecided.setdefault(name, set()).add(entry.conflict.contest.key)
            since[name] = min(since.get(name, entry.at_ms), entry.at_ms)
    # A state is written together with its conflict, so the newest state of these keys is not older than that.
    states: Mapping[str, Mapping[str, State]] = {
        name: lookup.states(name, keys, since_ms=since[name], progress=progress)
        for name, keys in undecided.items()
    }
    return [
        replace(
            entry,
            waits=waits_in(
                states.get(entry.conflict.contest.object, {}).get(entry.conflict.contest.key), entry
            ),
        )
        if entry.conflict.winner is None
        else entry
        for entry in found
    ]
