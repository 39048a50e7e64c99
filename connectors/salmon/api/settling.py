"""
Where the sync is with each record, as merge's `state` says: which records are not in step, and what became of a write of ours.

A thread follows the state of all objects. When it begins, it learns from `writes` what is owed to a side, and from `conflicts` what waits for
a person. If Kafka is away, nothing is known of later edits, and waiting for them ends by its bound.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Event, Lock, Thread
from typing import Final

import structlog
from confluent_kafka import Message

from salmon.backoff import Backoff, Tries
from salmon.errors import SalmonError
from salmon.kafka import tables
from salmon.kafka.extents import end_offsets
from salmon.kafka.foreign import decoded
from salmon.kafka.reader import Place, Reader
from salmon.kafka.topics import partition_counts
from salmon.merge.states import States
from salmon.model.change import MONGODB, SALESFORCE
from salmon.model.policies import EXISTENCE
from salmon.model.rules import Rules
from salmon.model.state import Park, State
from salmon.model.steps.owed import owed_to
from salmon.story.conflicts import ConflictFilter, listed
from salmon.story.lookup import Lookup

log = structlog.get_logger(__name__)

Record = tuple[str, str]  # object, key
IN_STEP: Final = "in_step"
ON_ITS_WAY: Final = "on_its_way"
REFUSED: Final = "refused"
IN_CONFLICT: Final = "in_conflict"
REMEMBERED_MAX: Final = 100_000  # records that are not in step
_RECENT_MAX: Final = 10_000
_STEP_S: Final = 0.05
_AGAIN: Final = Backoff(first_s=0.5, max_s=15.0)
_JOIN_MAX_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """What Salesforce refused of a record. *field*: empty for the record as a whole. *seq*: of the write that was refused."""

    field: str
    code: str
    reason: str
    seq: int


@dataclass(frozen=True, slots=True)
class Settled:
    """
    What became of a write: *state* is in_step, refused or in_conflict.

    Args:
        lives: Whether the record exists.
        moves: Whether something else of it is still on its way to Salesforce.
    """

    state: str
    lives: bool
    refusals: tuple[Refusal, ...] = ()
    moves: bool = False

    @property
    def is_answer(self) -> bool:
        """Whether whoever waits for a write knows enough: what was refused or is in conflict may be of an earlier one."""
        return self.state != ON_ITS_WAY and not self.moves


def judged(state: State, rules: Rules) -> Settled:
    """Where a record is, by merge's state of it. *state* of the result is on_its_way if something is still owed."""
    parked = [(name, each) for side in state.sides.values() for name, each in side.parked.items()]
    refusals = tuple(
        Refusal("" if name == EXISTENCE else name, each.code, each.reason, each.group)
        for name, each in sorted(parked, key=lambda item: (-item[1].group, item[0]))
        if each.why is Park.REFUSED
    )
    if rules.one_way_to == MONGODB:
        return Settled(IN_STEP, state.lives)
    moving = {
        name
        for name, side in state.sides.items()
        if side.in_flight or owed_to(state, name, rules) is not None
    }
    if refusals:
        return Settled(REFUSED, state.lives, refusals, SALESFORCE in moving)
    if any(each.why is Park.HELD for _, each in parked):
        return Settled(IN_CONFLICT, state.lives, moves=SALESFORCE in moving)
    waits = bool(moving) or any(each.why is Park.DEFERRED for _, each in parked)
    salesforce = state.sides.get(SALESFORCE)
    is_missing = state.lives and salesforce is not None and salesforce.exists is not True and not waits
    if is_missing and rules.one_way_to is None:
        view = rules.views.get(SALESFORCE)
        waits = view is None or view.admits(state.canonical) is not False
    return Settled(ON_ITS_WAY if waits else IN_STEP, state.lives)


class Waiter:
    """Waits in an event loop for what becomes of one record's write."""

    def __init__(self, record: Record, after: int) -> None:
        self.record, self.after = record, after
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[Settled] = self._loop.create_future()

    def tell(self, settled: Settled) -> None:
        """From any thread."""
        self._loop.call_soon_threadsafe(self._take, settled)

    def _take(self, settled: Settled) -> None:
        if not self._future.done():
            self._future.set_result(settled)

    async def wait(self, seconds: float) -> Settled | None:
        """What became of it; None if nobody knows after so long."""
        try:
            return await asyncio.wait_for(self._future, seconds)
        except TimeoutError:
            return None


class Settling:
    """
    Follows the states from start() to close().

    Args:
        lookup: Opens the sync's topics.
        objects: The names of the objects.
    """

    def __init__(self, lookup: Callable[[], Lookup], objects: tuple[str, ...]) -> None:
        self._lookup, self._objects = lookup, objects
        self._closing = Event()
        self._lock = Lock()
        self._waits: OrderedDict[Record, str] = OrderedDict()
        self._ours: dict[Record, int] = {}  # a write of ours -> after which commit clock it was made
        self._waiters: dict[Record, list[Waiter]] = {}
        # The newest states that came, with MongoDB's clock in them: a state may come before its waiter.
        self._recent: OrderedDict[Record, tuple[int, Settled]] = OrderedDict()
        self._thread = Thread(target=self._run, name="settling", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End the thread. Idempotent."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(_JOIN_MAX_S)

    @property
    def waits(self) -> Mapping[Record, str]:
        """Those records that are known not to be in step. Only to look things up in."""
        return self._waits

    def written(self, record: Record, after: int) -> None:
        """An application has changed the record, later than *after* by MongoDB's clock: it is on its way until merge says otherwise."""
        with self._lock:
            self._ours[record] = max(after, self._ours.get(record, 0))
            self._note(record, ON_ITS_WAY)

    def expect(self, record: Record, after: int) -> Waiter:
        """A waiter for a write that comes later than *after* by MongoDB's clock. Give it back to forget()."""
        waiter = Waiter(record, after)
        with self._lock:
            self._waiters.setdefault(record, []).append(waiter)
            seen, settled = self._recent.get(record, (-1, None))
        if settled is not None and seen > after and settled.is_answer:
            waiter.tell(settled)
        return waiter

    def forget(self, waiter: Waiter) -> None:
        """Nobody waits any more."""
        with self._lock:
            waiters = self._waiters.get(waiter.record, [])
            if waiter in waiters:
                waiters.remove(waiter)
            if not waiters:
                self._waiters.pop(waiter.record, None)

    def take(self, record: Record, state: State | None, rules: Rules) -> None:
        """Merge's newest state of a record; None: it has forgotten it."""
        settled = Settled(IN_STEP, lives=False) if state is None else judged(state, rules)
        side = None if state is None else state.sides.get(MONGODB)
        seen = side.commit_time if side is not None else 0
        with self._lock:
            self._recent[record] = (seen, settled)
            self._recent.move_to_end(record)
            while len(self._recent) > _RECENT_MAX:
                self._recent.popitem(last=False)
            if state is not None and self._ours.get(record, -1) >= seen:
                return  # it does not know our write yet
            self._ours.pop(record, None)
            self._note(record, settled.state)
            told = [each for each in self._waiters.get(record, ()) if each.after < seen]
        if settled.is_answer:
            for waiter in told:
                waiter.tell(settled)

    def _note(self, record: Record, state: str) -> None:
        if state == IN_STEP:
            self._waits.pop(record, None)
            return
        self._waits[record] = state
        self._waits.move_to_end(record)
        while len(self._waits) > REMEMBERED_MAX:
            self._ours.pop(self._waits.popitem(last=False)[0], None)

    def _run(self) -> None:
        tries = Tries(_AGAIN)
        while not self._closing.is_set():
            began = time.monotonic()
            try:
                with self._lookup() as lookup:
                    self._follow(lookup)
            except SalmonError as error:
                if time.monotonic() - began > _AGAIN.max_s:
                    tries = Tries(_AGAIN)
                log.warning("states_not_followed", error=type(error).__name__, reason=str(error))
                self._closing.wait(tries.failed())

    def _follow(self, lookup: Lookup) -> None:
        codecs = {lookup.topics.state(name): (name, lookup.state_codec(name)) for name in self._objects}
        rules = {name: lookup.rules(name) for name in self._objects}
        starts: dict[Place, int] = {}
        counts = partition_counts(lookup.admin)
        for topic in codecs:
            starts |= end_offsets(lookup.admin, topic, range(counts.get(topic, 0)))
        self._learn(lookup)

        def take(messages: list[Message], _: object) -> None:
            for message in messages:
                self._taken(message, codecs, rules)

        with Reader(lookup.kafka, starts, name="salmon-api-states") as reader:
            log.info("states_followed", objects=list(self._objects))
            while not self._closing.is_set():
                reader.step(take, _STEP_S)  # type: ignore[arg-type]

    def _taken(
        self, message: Message, codecs: Mapping[str, tuple[str, States]], rules: Mapping[str, Rules]
    ) -> None:
        name, codec = codecs[str(message.topic())]
        record = (name, (message.key() or b"").decode(errors="replace"))
        if message.value() is None:
            self.take(record, None, rules[name])
        elif (state := decoded(message, codec.decode)) is not None:
            self.take(record, state, rules[name])

    def _learn(self, lookup: Lookup) -> None:
        """What is not in step as we begin."""
        found: dict[Record, str] = {}
        for name in self._objects:
            for side in lookup.config.roster.of(name):
                owed = tables.load(lookup.kafka, lookup.topics.writes(side.name, name), lambda _: True)
                found |= {(name, key): ON_ITS_WAY for key in owed}
        for entry in listed(lookup, ConflictFilter(held=True), limit=REMEMBERED_MAX).conflicts:
            if entry.waits:
                contest = entry.conflict.contest
                found[contest.object, contest.key] = IN_CONFLICT
        with self._lock:
            kept = dict.fromkeys(self._ours, ON_ITS_WAY)
            self._waits.clear()
            for record, state in {**found, **kept}.items():
                self._note(record, state)
