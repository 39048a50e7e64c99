"""
Reads the dead letter queues: what failed, where it came from, and whether an operator has dealt with it.

A letter is never removed: a queue is a log that expires. What was dealt with is marked in a table beside the queues, the topic
`<name>.handled`. A mark is written in the transaction of what was done, so that it is done once, however often it is asked for.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from confluent_kafka import Message

from salmon.errors import ConfigError, SetupError
from salmon.kafka import clients, scans, tables
from salmon.kafka.codecs.serdes import Offsets
from salmon.kafka.dead_letters import CODE, PREFIX, SUBJECT, headers_of, mark_of
from salmon.kafka.extents import extents_of
from salmon.kafka.tables import Progress
from salmon.kafka.topics import partition_counts
from salmon.story.lookup import Lookup

_OF_OBJECT: Final = re.compile(
    r"[^.]+\.(?:changes|writes\.[^.]+|events|outbox|outcomes)\.(.+)"
)  # a topic, and its object or event
_PARTITION: Final = 0  # a dead letter queue has one


@dataclass(frozen=True, slots=True)
class StoredLetter:
    """
    A dead letter with its place. *headers*: those of Kafka Connect without their prefix, and those of Salmon.

    *queue*: the connector in whose queue it is.
    """

    queue: str
    offset: int
    at_ms: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, str]
    raw_headers: tuple[tuple[str, bytes], ...] = ()  # all of them, as they are

    @classmethod
    def of(cls, queue: str, message: Message) -> Self:
        _, _, offset = clients.place_of(message)
        raw: Any = message.headers() or ()
        told = {name.removeprefix(PREFIX): text for name, text in headers_of(message).items()}
        as_they_are = tuple((name, value or b"") for name, value in raw)
        return cls(queue, offset, message.timestamp()[1], message.key(), message.value(), told, as_they_are)

    @property
    def id(self) -> str:
        """As an operator types it: salesforce-sink/17."""
        return f"{self.queue}/{self.offset}"

    @property
    def mark(self) -> str:
        """The key of its mark."""
        return mark_of(self.queue, self.offset, self.at_ms)

    @property
    def topic(self) -> str:
        """Where the record was; empty if it came from a side."""
        return self.headers.get("topic", "")

    @property
    def subject(self) -> str:
        """The object or event that it is about; empty if that is not known."""
        if SUBJECT in self.headers:
            return self.headers[SUBJECT]
        of_object = _OF_OBJECT.fullmatch(self.topic)
        return of_object[1] if of_object else ""

    @property
    def stage(self) -> str:
        return self.headers.get("stage", "")

    @property
    def code(self) -> str:
        """The side's own code of the error, or else the name of its class."""
        return self.headers.get(CODE) or self.headers.get("exception.class.name", "").rpartition(".")[2]

    @property
    def reason(self) -> str:
        return self.headers.get("exception.message", "")

    @property
    def key_text(self) -> str:
        """The key; a byte that is not UTF-8 is shown as a hexadecimal number."""
        return (self.key or b"").decode(errors="backslashreplace")


@dataclass(frozen=True, slots=True)
class Handled:
    """What an operator did with a letter. *action*: replayed, edited or discarded."""

    action: str
    by: str
    at_ms: int
    reason: str = ""

    def position(self) -> dict[str, Any]:
        """Its value in the table."""
        return {"action": self.action, "by": self.by, "at_ms": self.at_ms, "reason": self.reason}

    @classmethod
    def of(cls, position: Mapping[str, Any]) -> Self:
        return cls(position["action"], position["by"], position["at_ms"], position.get("reason", ""))


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """
    Which letters are asked for; None: any.

    Args:
        ids: As StoredLetter.id.
        key: What a person gives for it (see Lookup.keys_meant).
        handled: Also those that were dealt with.
    """

    ids: tuple[str, ...] = ()
    queue: str | None = None
    subject: str | None = None
    key: str | None = None
    code: str | None = None
    since_ms: int | None = None
    handled: bool = False

    def takes(self, letter: StoredLetter, keys: frozenset[str] | None) -> bool:
        """Whether the letter is asked for, apart from whether it was dealt with. *keys*: what its key stands for."""
        return (
            (not self.ids or letter.id in self.ids)
            and self.subject in (None, letter.subject)
            and (keys is None or letter.key_text in keys)
            and self.code in (None, letter.code)
            and (self.since_ms is None or letter.at_ms >= self.since_ms)
        )

    def queues(self, connectors: Sequence[str]) -> tuple[str, ...]:
        """
        Those *connectors* of the sync whose queues have to be read.

        Raises:
            ConfigError: an id or a connector does not exist.
        """
        for text in self.ids:
            queue, _, offset = text.rpartition("/")
            if queue not in connectors or not offset.isdecimal():
                raise ConfigError(
                    f"{text}: not the id of a dead letter. An id is a connector and a number, e.g. {connectors[-1]}/17: see "
                    f"`salmon dlq list`."
                )
        if self.queue is not None and self.queue not in connectors:
            raise ConfigError(f"--connector {self.queue}: choose one of {', '.join(connectors)}.")
        named = {text.rpartition("/")[0] for text in self.ids} or set(connectors)
        return tuple(each for each in connectors if each in named and self.queue in (None, each))


@dataclass(frozen=True, slots=True)
class Found:
    """The newest letters that were asked for, the newest first, each with what was done. *more*: how many older ones there are."""

    letters: tuple[tuple[StoredLetter, Handled | None], ...]
    more: int = 0


class Marks:
    """The table of what was dealt with."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self.topic = lookup.topics.handled
        self._codec = Offsets(lookup.registry, self.topic)

    def load(self) -> dict[str, Handled]:
        """StoredLetter.mark -> what was done; empty if the topic does not exist yet."""
        if self.topic not in partition_counts(self._lookup.admin):
            return {}
        return {
            mark: Handled.of(position)
            for mark, position in tables.load(self._lookup.kafka, self.topic, self._codec.decode).items()
        }

    def record(self, mark: str, handled: Handled | None) -> tuple[str, bytes | None]:
        """The key and value to write; None takes the mark away."""
        return mark, None if handled is None else self._codec.encode(handled.position())

    def expired(self, marks: Mapping[str, Handled]) -> list[str]:
        """Those of *marks* whose letters are no longer in their queue."""
        places = [
            (self._lookup.topics.dlq(each), _PARTITION) for each in self._lookup.config.roster.connectors
        ]
        firsts = {topic: span.start for (topic, _), span in extents_of(self._lookup.admin, places).items()}
        found = []
        for mark in marks:
            queue, _, rest = mark.partition("/")
            if int(rest.partition("/")[0]) < firsts.get(self._lookup.topics.dlq(queue), 0):
                found.append(mark)
        return found


def found(lookup: Lookup, asked: LetterFilter, *, limit: int, progress: Progress | None = None) -> Found:
    """
    Read the newest *limit* letters that were asked for.

    Raises:
        ConfigError: an id, or a connector, does not exist.
        SetupError, Unavailable: Kafka or the registry cannot be used.
    """
    marks = Marks(lookup).load()
    newest: list[tuple[int, str, StoredLetter, Handled | None]] = []  # a heap, the oldest first
    more = 0

    def take(letter: StoredLetter) -> None:
        nonlocal more
        done = marks.get(letter.mark)
        if done is not None and not asked.handled and not asked.ids:
            return
        heapq.heappush(newest, (letter.at_ms, letter.id, letter, done))
        if len(newest) > limit:
            heapq.heappop(newest)
            more += 1

    read(lookup, asked, take, progress=progress)
    return Found(tuple((letter, done) for _, _, letter, done in sorted(newest, reverse=True)), more)


def one(lookup: Lookup, text: str) -> tuple[StoredLetter, Handled | None]:
    """
    Read one letter by its id.

    Raises:
        ConfigError: there is no such letter.
        SetupError, Unavailable: Kafka or the registry cannot be used.
    """
    letters = found(lookup, LetterFilter(ids=(text,)), limit=1).letters
    if not letters:
        raise ConfigError(
            f"{text}: there is no such dead letter. By default they are kept for 30 days: see `salmon dlq list`."
        )
    return letters[0]


def read(
    lookup: Lookup,
    asked: LetterFilter,
    take: Callable[[StoredLetter], None],
    *,
    progress: Progress | None = None,
) -> None:
    """
    Hand every letter that is asked for to *take*, whether or not it was dealt with; those of each queue in their order.

    Raises: as found().
    """
    keys = None if asked.key is None else lookup.keys_like(asked.subject, asked.key)
    for queue in asked.queues(lookup.config.roster.connectors):
        topic = lookup.topics.dlq(queue)
        offsets = [int(text.rpartition("/")[2]) for text in asked.ids if text.startswith(f"{queue}/")]

        def taken(message: Message, queue: str = queue) -> None:
            letter = StoredLetter.of(queue, message)
            if asked.takes(letter, keys):
                take(letter)

        scans.scan(
            lookup.kafka,
            lookup.admin,
            _place(lookup, topic),
            taken,
            since_ms=asked.since_ms,
            begins=_begins(lookup, topic, min(offsets, default=0)),
            progress=progress,
        )


def _place(lookup: Lookup, topic: str) -> Sequence[tuple[str, int]]:
    places = scans.all_places(lookup.admin, [topic])
    if places != [(topic, _PARTITION)]:
        raise SetupError(
            f"{topic} has {len(places)} partitions, and one is needed. Choose another sync name."
        )
    return places


def _begins(lookup: Lookup, topic: str, offset: int) -> dict[tuple[str, int], int]:
    """Where to begin, if the first letter that is asked for is known."""
    if not offset:
        return {}
    place = (topic, _PARTITION)
    span = extents_of(lookup.admin, [place])[place]
    return {place: max(offset, span.start)}
