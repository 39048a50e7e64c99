"""
Deals with dead letters: replays or discards them, and says for each what a replay does.

A replay never writes old bytes over newer ones. What a side refused is sent again by merge, as it is now. A record that could not be
read or folded is read again on its side. Only what no side can be asked for again goes back as the bytes it was: an operator's
change, a request to a source, and a platform event, which its own sink gets once more.

Each letter is marked in the transaction of what is done for it. An operator who starts later fences an earlier one, and reads the
marks after that. So a letter is replayed once, whoever is killed and however often the command is repeated.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from salmon.config.events import outboxes_in
from salmon.dlq.letters import Handled, LetterFilter, Marks, StoredLetter, read
from salmon.errors import DataError
from salmon.kafka import scans
from salmon.kafka.codecs.serdes import Changes, Signals, Writes
from salmon.kafka.output import Output
from salmon.kafka.tables import Progress
from salmon.kafka.topics import partition_counts
from salmon.kafka.transactions import TransactionalProducer
from salmon.model import sides
from salmon.model.change import OPERATOR, Change, Op
from salmon.mongodb.keys import why_no_key
from salmon.plugin.contract import Signal, SignalKind
from salmon.story.lookup import Lookup

PURPOSE: Final = "dlq"  # of the producer: one operator at a time
AT_MOST: Final = 10_000  # letters in one call; the next call continues
_AT_ONCE: Final = 200  # letters in one transaction: also the most keys in a signal
_BYTES_AT_ONCE: Final = 16 * 1024 * 1024
_MARK_TOMBSTONES_MAX: Final = 1_000  # expired marks that are taken away in one call
REPLAYED: Final = "replayed"
EDITED: Final = "edited"
DISCARDED: Final = "discarded"


class Mend(StrEnum):
    """What a replay does."""

    SEND = "send"  # merge sends the refused write again
    READ = "read"  # the record is read again on its side
    RETURN = "return"  # the same bytes go where they came from
    CARRY = "carry"  # the event's sink gets the record again
    CLOSE = "close"  # nothing is done; it is only marked
    NONE = "none"  # nothing can be replayed


@dataclass(frozen=True, slots=True)
class Plan:
    """
    What a replay of one letter does. *says*: the same as a sentence, or why it can do nothing.

    *reads*: (side, object, record key), which many letters may share.
    """

    mend: Mend
    says: str
    outputs: tuple[Output, ...] = ()
    reads: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Dealt:
    """A letter that was dealt with, or that could not be (mend NONE)."""

    id: str
    subject: str
    key: str
    plan: Plan

    def as_dict(self) -> dict[str, Any]:
        """As `salmon dlq replay --json` prints it."""
        return {
            "id": self.id,
            "object": self.subject,
            "key": self.key,
            "mend": self.plan.mend,
            "says": self.plan.says,
        }


@dataclass(frozen=True, slots=True)
class DealtWith:
    """
    The result of a call. *before*: how many had been dealt with before. *more*: whether there are more than AT_MOST, so that
    the command has to be repeated.
    """

    letters: tuple[Dealt, ...]
    before: int = 0
    more: bool = False


class Planner:
    """Works out what a replay does. *by*, *reason*, *now_ms*: what is kept in the history."""

    def __init__(self, lookup: Lookup, *, by: str = "", reason: str = "", now_ms: int = 0) -> None:
        self._lookup = lookup
        self._by, self._reason, self._now_ms = by, reason, now_ms
        topics, objects = lookup.topics, lookup.config.objects
        self._changes = {topics.changes(name): name for name in objects}
        self._writes = {
            topics.writes(side.name, name): name for name in objects for side in lookup.config.roster.of(name)
        }
        self._signals = {topics.signals(side.source) for side in lookup.config.roster.sides}
        self._codecs: dict[str, Changes] = {}
        self._known_topics: Collection[str] | None = None

    def plan(self, letter: StoredLetter) -> Plan:
        """Raises SetupError, Unavailable: the registry cannot be used."""
        topic, subject = letter.topic, letter.subject
        if topic in self._writes:
            return self._of_write(letter, self._writes[topic])
        if topic in self._signals:
            return self._of_signal(letter)
        if topic == self._lookup.topics.outcomes(subject):
            return _nothing(
                "It says what became of an event, and only the document does not show it. Let the collection's validator "
                "allow `_salmon`."
            )
        if letter.queue.endswith("-sink") and subject in self._lookup.config.events:
            return self._of_carried(letter)
        if topic in self._changes:
            return self._of_change(letter, self._changes[topic])
        side = sides.side_of(letter.queue)
        if not topic and side is not None and subject in self._lookup.config.objects:
            return self._of_record(letter, subject, (side.name,))
        if not topic and subject in outboxes_in(self._lookup.config.events):
            return _nothing(
                "The document cannot be an event as it is. Insert it again, corrected, under a new _id."
            )
        if not topic and subject in self._lookup.config.events:
            return _nothing(
                "The org cannot be asked for an event a second time. Its bytes are here: `salmon dlq show ID --bytes FILE`."
            )
        return _nothing("It is not known what it is about, or that is not synced any more.")

    def changes(self, name: str) -> Changes:
        """The codec of an object's changes."""
        if name not in self._codecs:
            topic = self._lookup.topics.changes(name)
            self._codecs[name] = Changes(self._lookup.schema(name), self._lookup.registry, topic)
        return self._codecs[name]

    def _of_write(self, letter: StoredLetter, name: str) -> Plan:
        every_side = self._lookup.config.roster.names_of(name)
        if letter.stage != "TASK_PUT" or letter.value is None:
            return self._of_record(letter, name, every_side)
        try:
            write = Writes(self._lookup.schema(name), self._lookup.registry, letter.topic).decode(
                letter.value
            )
        except DataError:
            return self._of_record(letter, name, every_side)
        source = {"by": self._by, "reason": self._reason or f"salmon dlq replay {letter.id}"}
        change = Change(OPERATOR, Op.RETRY, committed_at=self._now_ms, ack=write.seq, source=source)
        codec = self.changes(name)
        return Plan(
            Mend.SEND,
            "Merge sends again what was refused, with today's values, if it still waits.",
            (Output(codec.topic, letter.key, codec.encode(change)),),
        )

    def _of_signal(self, letter: StoredLetter) -> Plan:
        try:
            signal = Signals(self._lookup.registry, letter.topic).decode(letter.value or b"", offset=0)
        except (DataError, ValueError):
            return _nothing("The request cannot be read, so nobody knows what it asks for.")
        if signal.object not in self._lookup.config.objects:
            return _nothing(f"{signal.object} is not synced.")
        return Plan(
            Mend.RETURN,
            "The source gets the request again.",
            (Output(letter.topic, letter.key, letter.value, partition=0),),
        )

    def _of_change(self, letter: StoredLetter, name: str) -> Plan:
        origins = self._lookup.config.roster.names_of(name)
        try:
            change = self.changes(name).decode(letter.value or b"")
        except DataError:
            return self._of_record(letter, name, origins)
        if change.origin == OPERATOR:
            return Plan(
                Mend.RETURN,
                "Merge gets the operator's change again.",
                (Output(letter.topic, letter.key, letter.value),),
            )
        return self._of_record(letter, name, (change.origin,) if change.origin in origins else origins)

    def _of_record(self, letter: StoredLetter, name: str, asked: Sequence[str]) -> Plan:
        try:
            key = (letter.key or b"").decode()
        except UnicodeDecodeError:
            return _nothing("Its key is not the key of a record: somebody else wrote it.")
        if not key:
            return _nothing("It has no key, so it is not known which record it is about.")
        if (refused := why_no_key(key)) is not None:
            return _nothing(refused[1])
        read_there = tuple(side for side in asked if side != self._lookup.rules(name).one_way_to)
        if not read_there:
            return _nothing(f"{name} is synced in one direction only, and this side is never read.")
        return Plan(
            Mend.READ,
            f"The record is read again by {' and '.join(sides.named(side).source for side in read_there)}.",
            reads=tuple((side, name, key) for side in read_there),
        )

    def _of_carried(self, letter: StoredLetter) -> Plan:
        if letter.value is None:
            return _nothing("The record was too large for a dead letter, so its content is not here.")
        replays = self._lookup.topics.replays(letter.subject)
        if self._known_topics is None:
            self._known_topics = partition_counts(self._lookup.admin).keys()
        if replays not in self._known_topics:
            return _nothing(f"{replays} does not exist yet: {letter.queue} creates it at its next start.")
        return Plan(
            Mend.CARRY,
            f"{letter.queue} gets it again.",
            (Output(replays, letter.key, letter.value, letter.raw_headers),),
        )


def _nothing(why: str) -> Plan:
    return Plan(Mend.NONE, why)


def replay(
    lookup: Lookup,
    asked: LetterFilter,
    *,
    by: str,
    reason: str = "",
    dry_run: bool = False,
    now: Callable[[], float] = time.time,
    progress: Progress | None = None,
) -> DealtWith:
    """
    Replay the letters that are asked for and were not dealt with. One that cannot be replayed stays as it is.

    Raises:
        ConfigError: an id or a connector does not exist.
        Fenced: another operator began after us.
        SetupError, Unavailable: Kafka or the registry cannot be used. What was replayed until then is marked.
    """
    now_ms = int(now() * 1000)
    plan = Planner(lookup, by=by, reason=reason, now_ms=now_ms).plan
    return deal(
        lookup, asked, plan, Handled(REPLAYED, by, now_ms, reason), dry_run=dry_run, progress=progress
    )


def discard(
    lookup: Lookup,
    asked: LetterFilter,
    *,
    by: str,
    reason: str = "",
    dry_run: bool = False,
    now: Callable[[], float] = time.time,
    progress: Progress | None = None,
) -> DealtWith:
    """Mark the letters that are asked for, and do nothing else. Raises as replay()."""
    handled = Handled(DISCARDED, by, int(now() * 1000), reason)

    def plan(_: StoredLetter) -> Plan:
        return Plan(Mend.CLOSE, "It is no longer listed.")

    return deal(lookup, asked, plan, handled, dry_run=dry_run, progress=progress)


def deal(
    lookup: Lookup,
    asked: LetterFilter,
    plan: Callable[[StoredLetter], Plan],
    handled: Handled,
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> DealtWith:
    """Do for each letter what *plan* says, at most for AT_MOST of them, and mark it. Raises as replay()."""
    if dry_run:
        return _Desk(lookup, plan, handled, None).work(asked, progress)
    with lookup.producer(PURPOSE) as producer:
        return _Desk(lookup, plan, handled, producer).work(asked, progress)


class _Desk:
    """Goes through the letters. Without a producer it only looks."""

    def __init__(
        self,
        lookup: Lookup,
        plan: Callable[[StoredLetter], Plan],
        handled: Handled,
        producer: TransactionalProducer | None,
    ) -> None:
        self._lookup, self._plan, self._handled, self._producer = lookup, plan, handled, producer
        self._marks = Marks(lookup)
        if producer is not None:
            scans.all_places(
                lookup.admin, [self._marks.topic]
            )  # a broker that creates topics itself would make it a log
        # Read after the producer has ended what an earlier operator left open.
        self._known = self._marks.load()
        self._waiting: list[tuple[StoredLetter, Plan]] = []
        self._done: list[Dealt] = []
        self._before, self._count, self._more = 0, 0, False
        self._bytes = 0  # of the originals of those that wait

    def work(self, asked: LetterFilter, progress: Progress | None) -> DealtWith:
        read(self._lookup, asked, self._take, progress=progress)
        self._write()
        self._forget_expired()
        return DealtWith(tuple(self._done), self._before, self._more)

    def _take(self, letter: StoredLetter) -> None:
        if letter.mark in self._known:
            self._before += 1
            return
        if self._count >= AT_MOST:
            self._more = True
            return
        self._count += 1
        self._waiting.append((letter, self._plan(letter)))
        self._bytes += len(letter.value or b"")
        if len(self._waiting) >= _AT_ONCE or self._bytes >= _BYTES_AT_ONCE:
            self._write()

    def _write(self) -> None:
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        done = [(letter, plan) for letter, plan in waiting if plan.mend is not Mend.NONE]
        if self._producer is not None and done:
            outputs = dict.fromkeys(output for _, plan in done for output in plan.outputs)
            reads = dict.fromkeys(each for _, plan in done for each in plan.reads)
            with self._producer.transaction() as transaction:
                for output in (*outputs, *_signals(self._lookup, list(reads))):
                    transaction.produce(
                        output.topic,
                        output.key,
                        output.value,
                        headers=output.headers,
                        partition=output.partition,
                    )
                for letter, _ in done:
                    transaction.produce(self._marks.topic, *self._marks.record(letter.mark, self._handled))
        self._done += [Dealt(letter.id, letter.subject, letter.key_text, plan) for letter, plan in waiting]

    def _forget_expired(self) -> None:
        if self._producer is None or not self._known:
            return
        if expired := self._marks.expired(self._known)[:_MARK_TOMBSTONES_MAX]:
            with self._producer.transaction() as transaction:
                for mark in expired:
                    transaction.produce(self._marks.topic, *self._marks.record(mark, None))


def _signals(lookup: Lookup, reads: Sequence[tuple[str, str, str]]) -> list[Output]:
    """The requests to read records again: one for each side and object."""
    keys: dict[tuple[str, str], list[str]] = {}
    for side, name, key in reads:
        keys.setdefault((side, name), []).append(key)
    found = []
    for (side, name), asked in sorted(keys.items()):
        codec = Signals(lookup.registry, lookup.topics.signals(sides.named(side).source))
        signal = Signal(0, SignalKind.READ, name, keys=tuple(asked), reason="salmon dlq replay")
        found.append(Output(codec.topic, name, codec.encode(signal), partition=0))
    return found
