"""Fetches what the topics have about one record. It reads only the key's partitions, and decodes only the key's records."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from confluent_kafka import Message

from salmon.errors import DataError
from salmon.kafka import clients, scans
from salmon.kafka.codecs.serdes import Changes, Conflicts, Records, Writes
from salmon.kafka.dead_letters import PREFIX, SUBJECT, headers_of
from salmon.kafka.extents import extents, extents_of
from salmon.kafka.offsets import OffsetStore
from salmon.kafka.reader import Place
from salmon.kafka.tables import Progress
from salmon.model.change import Change, Write, WriteOp
from salmon.model.policies import EXISTENCE
from salmon.model.sides import named
from salmon.mongodb.keys import why_no_key
from salmon.sink.guard.delete_guard import PREFIX as GUARD_PREFIX
from salmon.story.evidence import At, Evidence, Letter, replayed
from salmon.story.formatting import because, called, when
from salmon.story.lookup import Lookup
from salmon.story.present import Present, present
from salmon.story.reporting import Entry, entries_of

T = TypeVar("T")

_HAS: Final = {True: "has it", False: "does not have it", None: "not known yet"}
# Of the target of a one-way object, which is never read.
_WAS_SENT: Final = {True: "was sent it", False: "was sent its deletion, or nothing", None: "was sent nothing"}


@dataclass(frozen=True, slots=True)
class Story:
    """A record's history, in order, and its present state. *whole*: no change and no write is missing."""

    object: str
    key: str
    entries: tuple[Entry, ...]
    now: Present
    whole: bool

    def as_dict(self, limit: int) -> dict[str, Any]:
        """As `salmon why --json` prints it, with the last *limit* entries."""
        return {
            "object": self.object,
            "key": self.key,
            "now": self.now.as_dict(),
            "whole": self.whole,
            "earlier": max(0, len(self.entries) - limit),
            "story": [entry.as_dict() for entry in self.entries[-limit:]],
        }


def story_of(
    lookup: Lookup,
    name: str,
    text: str,
    *,
    now_ms: int,
    progress: Progress | None = None,
    hidden: Collection[str] = (),
) -> Story:
    """
    Return the history of the record that *text* stands for: its key, its Salesforce Id, or its `_id`.

    Args:
        hidden: The fields whose values are not shown.

    Raises:
        ConfigError: the sync does not have the object.
        SetupError, Unavailable: Kafka or the registry cannot be used.
    """
    rules = lookup.rules(name)
    if (refused := why_no_key(text)) is not None:
        return _story_without_key(lookup, name, *refused, hidden)
    evidence = _evidence(lookup, name, text, progress)
    replay = replayed(evidence, rules)
    if replay.exact:
        unmerged = len(evidence.changes) - len(replay.folded)
    else:
        seq = -1 if evidence.state is None else evidence.state.seq
        unmerged = sum(item.offset > seq for item in evidence.changes)
    entries = entries_of(evidence, rules, replay, hidden=hidden)
    now = present(evidence, rules, unmerged=unmerged, now_ms=now_ms, hidden=hidden)
    return Story(name, evidence.key, tuple(entries), now, whole=replay.exact)


def _story_without_key(lookup: Lookup, name: str, shown: str, reason: str, hidden: Collection[str]) -> Story:
    """Return the history of a document whose `_id` cannot be a record key: only the dead letters have it."""
    evidence = Evidence(object=name, key=shown, state=None, row=None, letters=_letters(lookup, name, shown))
    sentence = f"{name} {shown} is not synced: {reason}"
    rules = lookup.rules(name)
    entries = entries_of(evidence, rules, replayed(evidence, rules), hidden=hidden)
    return Story(name, shown, tuple(entries), Present(False, sentence, None, {}, None), whole=True)


def _evidence(lookup: Lookup, name: str, text: str, progress: Progress | None) -> Evidence:
    # The state is read first: a change that is folded meanwhile is then among the changes, but not in the state.
    key, state = lookup.key_and_state(name, text, progress=progress)
    topics, registry, schema = lookup.topics, lookup.registry, lookup.schema(name)
    changes = Changes(schema, registry, topics.changes(name))
    records = Records(schema, registry, topics.records(name))
    conflicts = Conflicts(registry, topics.conflicts)
    row = lookup.newest(records.topic, [key], records.decode).get(key)
    writes = {
        side: Writes(schema, registry, topics.writes(side, name))
        for side in lookup.config.roster.names_of(name)
    }
    topic, partition = place = lookup.place(changes.topic, key)
    first = extents(lookup.admin, topic, [partition])[partition].start

    def conflict(data: bytes) -> Any:
        record = conflicts.decode(data)
        return (record.conflict, record.seq) if record.conflict.contest.object == name else None

    written = {
        side: _read(lookup, lookup.place(codec.topic, key), key, codec.decode, progress, tombstones=True)
        for side, codec in writes.items()
    }
    return Evidence(
        object=name,
        key=key,
        state=state,
        row=row,
        changes=_read(lookup, place, key, changes.decode, progress),
        writes=written,
        conflicts=[
            item
            for item in _read(lookup, lookup.place(conflicts.topic, key), key, conflict, progress)
            if item.what is not None
        ],
        letters=_letters(lookup, name, key),
        cut=first > 0,
        guarded=_guarded(lookup, name, key, written),
    )


def latest_changes(lookup: Lookup, name: str, key: str, *, most: int) -> list[At[Change]]:
    """
    Return the record's changes among the last *most* offsets of its partition.

    Raises:
        SetupError, Unavailable: Kafka or the registry cannot be used.
    """
    changes = Changes(lookup.schema(name), lookup.registry, lookup.topics.changes(name))
    place = lookup.place(changes.topic, key)
    span = extents_of(lookup.admin, [place])[place]
    begins = {place: max(span.start, span.end - most)}
    return _read(lookup, place, key, changes.decode, None, begins=begins)


def _guarded(
    lookup: Lookup, name: str, key: str, writes: Mapping[str, Sequence[At[Write | None]]]
) -> Mapping[str, int]:
    """
    Return the sides whose delete guard holds the record's deletion, with the number of deletes of the object that wait there.

    The sinks store it, so they need not run.
    """
    found: dict[str, int] = {}
    for side, sent in writes.items():
        newest = sent[-1].what if sent else None
        if newest is not None and newest.op is WriteOp.DELETE:
            kept = OffsetStore(lookup.kafka, lookup.topics, lookup.registry).load(named(side).sink)
            entry = f"{GUARD_PREFIX}{name}/"
            waiting = {
                at: int(guard["held"])
                for at, guard in kept.items()
                if at.startswith(entry) and guard["paused"]
            }
            _, partition = lookup.place(lookup.topics.writes(side, name), key)
            if waiting.get(f"{entry}{partition}"):
                found[side] = sum(waiting.values())
    return found


def _read(
    lookup: Lookup,
    place: Place,
    key: str,
    decode: Callable[[bytes], T],
    progress: Progress | None,
    *,
    tombstones: bool = False,
    begins: Mapping[Place, int] | None = None,
) -> list[At[Any]]:
    found: list[At[Any]] = []

    def take(message: Message) -> None:
        value = message.value()
        if value is None and not tombstones:
            return
        try:
            what = None if value is None else decode(value)
        except DataError:
            return  # merge has set it aside; it is among the dead letters
        found.append(At(clients.place_of(message)[2], message.timestamp()[1], what))

    scans.scan(lookup.kafka, lookup.admin, [place], take, keys=[key], begins=begins, progress=progress)
    return found


def _letters(lookup: Lookup, name: str, key: str) -> list[At[Letter]]:
    """Return the dead letters with the record's key that came from a topic of its object, or from a side."""
    found: list[At[Letter]] = []

    def take(message: Message) -> None:
        headers = headers_of(message)
        told = {each.removeprefix(PREFIX): text for each, text in headers.items()}
        topic = told.get("topic", "")
        if told.get(SUBJECT, name) != name or (topic and not topic.endswith(f".{name}")):
            return
        letter = Letter(
            told.get("connector.name", ""),
            told.get("exception.class.name", "").rpartition(".")[2],
            told.get("exception.message", ""),
            f"{topic}/{told.get('partition', '')}/{told.get('offset', '')}" if topic else "",
        )
        found.append(At(clients.place_of(message)[2], message.timestamp()[1], letter))

    places = scans.all_places(
        lookup.admin, [lookup.topics.dlq(connector) for connector in lookup.config.roster.connectors]
    )
    scans.scan(lookup.kafka, lookup.admin, places, take, keys=[key])
    return sorted(found, key=lambda item: item.at_ms)


def lines(story: Story, limit: int) -> list[str]:
    """Return the history for people: the present state, what happened, and one sentence."""
    now = story.now
    said = [
        f"{story.object} {story.key}: "
        + {True: "exists", False: "is deleted", None: "is not known"}[now.lives]
    ]
    for side, shown_there in now.sides.items():
        said += _side_lines(side, shown_there)
        if now.lives is False and shown_there["has_it"]:
            said.append("    to be deleted there")
    row = "none" if now.row is None else f"{len(now.row)} fields that are not empty"
    said.append(f"  `records`: {row}")
    said.append("")
    if not story.whole and story.entries:
        said.append(
            "Some of the history has expired in Kafka. This is what `changes` and `writes` still contain."
        )
    if (earlier := len(story.entries) - limit) > 0:
        said.append(f"... {earlier:,} earlier entries; --limit shows more")
    said += [f"{when(e.at_ms)}  {e.kind:11} {e.says}" for e in story.entries[-limit:]]
    return [*said, "", now.sentence]


def _side_lines(side: str, shown_there: Mapping[str, Any]) -> list[str]:
    has = (_HAS if shown_there["is_read"] else _WAS_SENT)[shown_there["has_it"]]
    native = f" as {shown_there['native_id']}" if shown_there["native_id"] else ""
    said = [f"  {side}: {has}{native}"]
    for name, values in shown_there["differs"].items():
        said.append(f"    {name}: holds {values['holds']!r}, agreed {values['agreed']!r}")
    if shown_there["not_told_yet"]:
        said.append(f"    {len(shown_there['not_told_yet'])} fields not read yet")
    for write in shown_there["in_flight"]:
        said.append(
            f"    in flight: write {write['seq']} {write['op']} {', '.join(write['fields'])}".rstrip()
        )
    said += _parked_lines(shown_there["parked"])
    for misfit in shown_there["misfits"]:
        said.append(f"    cannot be synced: {misfit['field']} ({misfit['code']})")
    return said


def _parked_lines(parked: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield one line for all fields that wait for the same reason."""
    alike: dict[tuple[Any, ...], list[str]] = {}
    for each in parked:
        key = each["why"], each["since_seq"], each["code"], each["reason"]
        alike.setdefault(key, []).append(each["field"])
    for (why, _, code, reason), fields in alike.items():
        what = "the record as a whole" if EXISTENCE in fields else ", ".join(map(called, fields))
        cause = because(code, reason)
        yield f"    waits: {what}, {why.lower()}" + (f": {cause}" if cause else "")
