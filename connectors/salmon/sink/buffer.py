"""
Holds the commands that a sink has read and not yet finished: of each key the newest one, and at most one in flight.

No I/O and no Kafka here. The loop adds what it reads, and asks up to which offset everything is finished. The putters
take batches and report what became of each command. The buffer is bounded by count and by bytes; the loop stops reading
when it is full.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from threading import Condition
from typing import Any, Final

from salmon.sink.commands import Command, Key, Partition, Place, Slot

COMMANDS_MAX: Final = 5_000
BYTES_MAX: Final = 64 * 1024 * 1024
_LOOK_S: Final = 0.05


def _clock() -> float:
    """Seconds that pass also while the machine is suspended, for which time.monotonic() stands still on Linux."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


class SinkBuffer:
    """
    Safe between threads: the loop calls open/add/close/positions, the putters call take/done/again.

    A command is *in flight* from take() until done(), again(), postpone() or hold().

    Args:
        lease_s: How long after the loop's last renew() commands may still be taken. A process that was
            suspended must first find out whether its partitions are still its own.
    """

    def __init__(
        self,
        *,
        commands_max: int = COMMANDS_MAX,
        bytes_max: int = BYTES_MAX,
        lease_s: float = 3.0,
        clock: Callable[[], float] = _clock,
    ) -> None:
        self._commands_max = commands_max
        self._bytes_max = bytes_max
        self._lease_s = lease_s
        self._clock = clock
        self._changed = Condition()
        self._partitions: dict[Place, Partition] = {}
        self._slots: dict[Key, Slot] = {}
        self._ready: OrderedDict[Key, None] = OrderedDict()
        self._held: dict[Key, Command] = {}  # waiting commands that only a person can release
        self._delayed: list[tuple[float, int, Key, Command]] = []
        self._ticket = itertools.count()
        self._bytes = 0
        self._in_flight = 0
        self._leased_until = clock()
        self._blocked_until: float | None = None  # None: no outage
        self.stopped = False

    # The loop's view.

    def open(self, place: Place, position: int, *, committed: bool = True) -> None:
        """Take a new partition. *position*: the next offset to read. *committed*: that is the committed offset."""
        with self._changed:
            self._partitions[place] = Partition(place, position, committed=position if committed else None)

    def add(self, place: Place, offset: int, key: Key, value: bytes | None, message: Any = None) -> None:
        """Add one record. A *value* of None is a tombstone: nothing is left to write for the key."""
        with self._changed:
            partition = self._partitions[place]
            partition.position = offset + 1
            slot = self._slots.get(key)
            if value is None:
                if slot is not None and slot.waiting is not None:
                    self._drop_waiting(key, slot)
                    self._forget_if_empty(key)
                return
            if slot is None:
                slot = self._slots[key] = Slot()
            elif slot.waiting is not None:
                # The key keeps its place in the queue; otherwise a key that changes often would wait forever.
                slot.waiting.partition.unfinished.pop(slot.waiting.offset, None)
                self._bytes -= len(slot.waiting.value)
                self._held.pop(key, None)
            command = Command(key, partition, offset, value, message, added_at=self._clock())
            slot.waiting, slot.tries = command, 0
            partition.unfinished[offset] = None
            self._bytes += len(value)
            if slot.in_flight is None and key not in self._ready:
                self._ready[key] = None
                self._changed.notify()

    def pass_over(self, place: Place, offset: int) -> None:
        """Skip a record, because a newer one of its key follows or because it is not a command."""
        with self._changed:
            self._partitions[place].position = offset + 1

    def close(
        self, places: Iterable[Place], *, wait_s: float = 0.0, meanwhile: Callable[[], None] | None = None
    ) -> bool:
        """
        Drop the waiting commands of *places*, and wait until none of their commands is in flight.

        Args:
            wait_s: How long to wait at most.
            meanwhile: Called now and then during the wait. A command stays in flight until its outcome is reported
                and done() is called, so the caller reports outcomes here.

        Returns:
            Whether none is in flight any more.
        """
        closing = set(places)
        deadline = self._clock() + wait_s
        with self._changed:
            for place in closing & self._partitions.keys():
                self._partitions[place].closing = True
            for key, slot in list(self._slots.items()):
                if slot.waiting is not None and slot.waiting.partition.place in closing:
                    self._drop_waiting(key, slot, finished=False)
                    self._forget_if_empty(key)
            partitions = [self._partitions[place] for place in closing & self._partitions.keys()]
        while any(each.in_flight for each in partitions) and (left_s := deadline - self._clock()) > 0:
            if meanwhile is not None:
                meanwhile()
            with self._changed:
                self._changed.wait_for(
                    lambda: not any(each.in_flight for each in partitions), min(left_s, _LOOK_S)
                )
        return not any(each.in_flight for each in partitions)

    def forget(self, places: Iterable[Place]) -> None:
        """Drop partitions that are no longer ours. The outcomes of their commands in flight are not used."""
        with self._changed:
            for place in places:
                if (partition := self._partitions.pop(place, None)) is not None:
                    partition.closing = partition.lost = True

    def positions(self, assumed: Iterable[Command] = (), *, moved_only: bool = True) -> dict[Place, int]:
        """
        Return the offset up to which each partition is finished.

        Args:
            assumed: Commands to count as finished, because their outcome is in the same transaction.
            moved_only: Leave out partitions whose offset is the committed one.
        """
        offsets: dict[Place, set[int]] = {}
        for command in assumed:
            offsets.setdefault(command.partition.place, set()).add(command.offset)
        with self._changed:
            found = {
                place: partition.finished_up_to(offsets.get(place, ()))
                for place, partition in self._partitions.items()
            }
            return {
                place: at
                for place, at in found.items()
                if not moved_only or at != self._partitions[place].committed
            }

    def leaves_gaps(self) -> bool:
        """Whether a finished command comes after an unfinished one. An instance that continues at positions() reads it again."""
        with self._changed:
            return any(
                partition.position - partition.finished_up_to(()) > len(partition.unfinished)
                for partition in self._partitions.values()
            )

    def next_offsets(self) -> dict[Place, int]:
        """Return the next offset to read of each partition."""
        with self._changed:
            return {place: partition.position for place, partition in self._partitions.items()}

    def holds(self, place: Place) -> bool:
        """Whether the partition is ours."""
        return place in self._partitions

    def committed(self, positions: Mapping[Place, int]) -> None:
        """Note that Kafka has committed these positions."""
        with self._changed:
            for place, position in positions.items():
                if (partition := self._partitions.get(place)) is not None:
                    partition.committed = position

    def release(self, which: Callable[[Command], bool]) -> int:
        """Release the held commands for which *which* is true. Returns how many they are."""
        with self._changed:
            released = [key for key, command in self._held.items() if which(command)]
            for key in released:
                del self._held[key]
                self._ready[key] = None
            self._changed.notify_all()
            return len(released)

    def held(self) -> dict[Place, int]:
        """How many commands are held back in each partition."""
        with self._changed:
            return Counter(command.partition.place for command in self._held.values())

    @property
    def held_count(self) -> int:
        return len(self._held)

    def now(self) -> float:
        """The buffer's clock: seconds, also those for which the machine was suspended."""
        return self._clock()

    def renew(self, since: float) -> None:
        """
        Let putters take commands for another lease, because the loop turns and the partitions are still ours.

        Args:
            since: The time by now() at which that was certain. The lease begins then.
        """
        with self._changed:
            expired = self._clock() >= self._leased_until
            self._leased_until = since + self._lease_s
            if expired:
                self._changed.notify_all()

    def stop(self) -> None:
        """Give out no more commands; take() returns None from now on."""
        with self._changed:
            self.stopped = True
            self._changed.notify_all()

    def wait_landed(self, wait_s: float) -> bool:
        """Wait until no command is in flight. Returns whether that happened in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._in_flight == 0, wait_s)

    @property
    def lease_expired(self) -> bool:
        return self._clock() >= self._leased_until

    @property
    def places(self) -> frozenset[Place]:
        return frozenset(self._partitions)

    @property
    def count(self) -> int:
        """Commands read and not finished."""
        with self._changed:
            return sum(
                (each.waiting is not None) + (each.in_flight is not None) for each in self._slots.values()
            )

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do, apart from held commands."""
        return not self._pressing

    @property
    def full(self) -> bool:
        return self._pressing >= self._commands_max or self._bytes >= self._bytes_max

    @property
    def roomy(self) -> bool:
        """Whether reading may continue after the buffer was full: half of it is free."""
        return self._pressing * 2 <= self._commands_max and self._bytes * 2 <= self._bytes_max

    @property
    def _pressing(self) -> int:
        return len(self._slots) - len(self._held)

    # The putters' view.

    def take(self, limit: int | Callable[[Collection[Key]], int]) -> list[Command] | None:
        """
        Wait for commands, and return up to *limit* of them (it may depend on which wait), each of another key. They are in flight then.

        Returns:
            None when stopped.
        """
        with self._changed:
            while not self.stopped:
                now = self._clock()
                self._wake_delayed(now)
                if self._ready and self._may_take(now):
                    return self._taken(limit if isinstance(limit, int) else limit(self._ready.keys()))
                self._changed.wait(self._next_wake_s(now))
            return None

    def land(
        self, done: Iterable[Command], again: Iterable[Command], delay_s: Callable[[int], float] | None = None
    ) -> None:
        """Finish a batch: done() and again() in one step."""
        with self._changed:
            self.done(done)
            self.again(again, delay_s)

    def done(self, commands: Iterable[Command]) -> None:
        """Finish these commands."""
        with self._changed:
            for command in commands:
                slot = self._landed(command)
                command.partition.unfinished.pop(command.offset, None)
                if slot.waiting is not None:
                    self._ready[command.key] = None
                self._forget_if_empty(command.key)
            self._changed.notify_all()

    def again(self, commands: Iterable[Command], delay_s: Callable[[int], float] | None = None) -> None:
        """
        Put these commands back to be tried again. A command is dropped if a newer one of its key has arrived or its
        partition is being handed over.

        Args:
            delay_s: Number of tries -> seconds to wait. None: they are the first to be given out, without a wait.
        """
        with self._changed:
            for command in commands:
                if (slot := self._put_back(command)) is None:
                    continue
                if delay_s is None:
                    self._ready[command.key] = None
                    self._ready.move_to_end(command.key, last=False)
                else:
                    slot.tries += 1
                    self._delay(command, delay_s(slot.tries))
            self._changed.notify_all()

    def postpone(self, commands: Iterable[tuple[Command, float]]) -> None:
        """Put each command back for so many seconds. It is dropped if a newer one of its key has arrived."""
        with self._changed:
            for command, wait_s in commands:
                if self._put_back(command) is not None:
                    self._delay(command, wait_s)
            self._changed.notify_all()

    def age_s(self, command: Command) -> float:
        """Return how many seconds ago the command was read."""
        return self._clock() - command.added_at

    def hold(self, commands: Iterable[Command]) -> None:
        """
        Keep these commands back until release(), or until a newer command of their key arrives. No offset after them is
        committed.

        They do not count towards the buffer's bounds, so that other commands continue.
        """
        with self._changed:
            for command in commands:
                if self._put_back(command) is not None:
                    self._held[command.key] = command
            self._changed.notify_all()

    def block(self, for_s: float) -> None:
        """The side cannot be reached. Give out nothing for so long, and then one batch at a time until unblock()."""
        with self._changed:
            self._blocked_until = self._clock() + for_s

    def unblock(self) -> bool:
        """The side answers: give out commands again. Returns whether the buffer was blocked."""
        with self._changed:
            was_blocked = self._blocked_until is not None
            self._blocked_until = None
            if was_blocked:
                self._changed.notify_all()
            return was_blocked

    def newest(self, key: Key) -> Command | None:
        """Return the newest unfinished command of *key*, if there is one."""
        with self._changed:
            slot = self._slots.get(key)
            return None if slot is None else slot.waiting or slot.in_flight

    # Helpers. All are called with the lock held.

    def _may_take(self, now: float) -> bool:
        if now >= self._leased_until:
            return False
        return self._blocked_until is None or (now >= self._blocked_until and self._in_flight == 0)

    def _next_wake_s(self, now: float) -> float | None:
        """Return how many seconds to sleep at most; None: until another thread notifies."""
        times = [self._delayed[0][0]] if self._delayed else []
        if self._ready and self._blocked_until is not None and self._blocked_until > now:
            times.append(self._blocked_until)
        return max(0.0, min(times) - now) + 0.001 if times else None

    def _delay(self, command: Command, wait_s: float) -> None:
        wake_at = self._clock() + wait_s
        heapq.heappush(self._delayed, (wake_at, next(self._ticket), command.key, command))

    def _wake_delayed(self, now: float) -> None:
        while self._delayed and self._delayed[0][0] <= now:
            _, _, key, command = heapq.heappop(self._delayed)
            slot = self._slots.get(key)
            if slot is not None and slot.waiting is command:
                self._ready[key] = None

    def _taken(self, limit: int) -> list[Command]:
        batch: list[Command] = []
        while self._ready and len(batch) < limit:
            key, _ = self._ready.popitem(last=False)
            slot = self._slots[key]
            assert slot.waiting is not None
            assert slot.in_flight is None
            slot.in_flight, slot.waiting = slot.waiting, None
            self._bytes -= len(slot.in_flight.value)
            slot.in_flight.partition.in_flight += 1
            batch.append(slot.in_flight)
        self._in_flight += len(batch)
        return batch

    def _landed(self, command: Command) -> Slot:
        slot = self._slots[command.key]
        assert slot.in_flight is command
        slot.in_flight = None
        command.partition.in_flight -= 1
        self._in_flight -= 1
        return slot

    def _put_back(self, command: Command) -> Slot | None:
        """Let the command wait again, and return its slot; None if it was dropped (see again())."""
        slot = self._landed(command)
        if slot.waiting is not None:
            command.partition.unfinished.pop(command.offset, None)
            self._ready[command.key] = None
        elif command.partition.closing:
            self._forget_if_empty(command.key)
        else:
            slot.waiting = command
            self._bytes += len(command.value)
            return slot
        return None

    def _drop_waiting(self, key: Key, slot: Slot, *, finished: bool = True) -> None:
        assert slot.waiting is not None
        if finished:
            slot.waiting.partition.unfinished.pop(slot.waiting.offset, None)
        self._bytes -= len(slot.waiting.value)
        slot.waiting, slot.tries = None, 0
        self._ready.pop(key, None)
        self._held.pop(key, None)

    def _forget_if_empty(self, key: Key) -> None:
        slot = self._slots.get(key)
        if slot is not None and slot.waiting is None and slot.in_flight is None:
            del self._slots[key]
