"""The buffer of a sink: the newest command of each key, one of a key at work, offsets up to the first unfinished."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from salmon.sink.buffer import SinkBuffer
from salmon.sink.commands import Command
from support.clock import Clock

PLACE = ("writes", 0)
OTHER = ("writes", 1)


@pytest.fixture
def buffer(clock: Clock) -> Iterator[SinkBuffer]:
    buffer = SinkBuffer(commands_max=4, bytes_max=100, lease_s=3.0, clock=clock)
    buffer.open(PLACE, 0)
    buffer.renew(buffer.now())
    yield buffer
    buffer.stop()


def add(
    buffer: SinkBuffer, offset: int, key: str, value: bytes | None = b"v", place: tuple[str, int] = PLACE
) -> None:
    buffer.add(place, offset, ("Thing", key), value)


def taken(buffer: SinkBuffer, limit: int = 10) -> list[Command]:
    commands = buffer.take(limit)
    assert commands is not None
    return commands


def offsets(commands: list[Command]) -> list[int]:
    return [command.offset for command in commands]


def test_a_newer_command_takes_the_place_of_a_waiting_one(buffer: SinkBuffer) -> None:
    """Only the newest is taken, where the first one stood in the queue."""
    add(buffer, 0, "a")
    add(buffer, 1, "b")
    add(buffer, 2, "a")
    assert offsets(taken(buffer)) == [2, 1]


def test_how_many_are_taken_may_depend_on_which_wait(buffer: SinkBuffer) -> None:
    """A sink that can write very many at once takes a backlog as a whole."""
    add(buffer, 0, "a")
    add(buffer, 1, "b")
    add(buffer, 2, "c")
    commands = buffer.take(lambda ready: 2 if set(ready) == {("Thing", key) for key in "abc"} else 1)
    assert offsets(commands or []) == [0, 1]


def test_while_one_flies_the_next_of_its_key_waits(buffer: SinkBuffer) -> None:
    """Never two of a key at once; the newer is ready as soon as the older has landed."""
    add(buffer, 0, "a")
    first = taken(buffer)
    add(buffer, 1, "a")
    add(buffer, 2, "b")
    second = taken(buffer)
    assert offsets(second) == [2]
    buffer.done(first)
    assert offsets(taken(buffer)) == [1]
    buffer.done(second)


def test_positions_stop_at_the_first_unfinished_record(buffer: SinkBuffer) -> None:
    """Later ones that are finished do not move it; when it lands, all of them do."""
    for offset, key in enumerate("abc"):
        add(buffer, offset, key)
    first, second, third = taken(buffer)
    buffer.done([second, third])
    assert buffer.positions() == {}
    buffer.done([first])
    assert buffer.positions() == {PLACE: 3}


def test_what_is_finished_behind_what_is_not_leaves_a_gap(buffer: SinkBuffer) -> None:
    """Whoever starts from the positions carries it out again, and must look before. (Seed 102379 of the World.)"""
    assert not buffer.leaves_gaps()
    add(buffer, 0, "a")
    add(buffer, 1, "b")
    first, second = taken(buffer)
    assert not buffer.leaves_gaps(), "neither is finished"
    buffer.land([second], [first])
    assert buffer.leaves_gaps()
    buffer.renew(buffer.now())


def test_an_outcome_that_is_about_to_be_told_counts_as_finished(buffer: SinkBuffer) -> None:
    """Its offset goes into the very transaction that tells it."""
    add(buffer, 0, "a")
    commands = taken(buffer)
    assert buffer.positions(commands) == {PLACE: 1}
    assert buffer.positions() == {}


def test_what_is_committed_is_not_offered_again(buffer: SinkBuffer) -> None:
    """positions() tells only what has moved; all of it where it is asked for."""
    add(buffer, 0, "a", None)
    buffer.committed({PLACE: 1})
    assert buffer.positions() == {}
    assert buffer.positions(moved_only=False) == {PLACE: 1}


def test_a_partition_without_a_place_offers_one_even_if_nothing_was_read(buffer: SinkBuffer) -> None:
    """So that the next start goes on there, and does not load the topic again."""
    buffer.open(OTHER, 5, committed=False)
    assert buffer.positions() == {OTHER: 5}


def test_a_tombstone_takes_the_waiting_command_away(buffer: SinkBuffer) -> None:
    """Nothing is owed any more; the one that flies is not recalled."""
    add(buffer, 0, "a")
    in_flight = taken(buffer)
    add(buffer, 1, "a")
    add(buffer, 2, "a", None)
    buffer.done(in_flight)
    assert buffer.positions() == {PLACE: 3}
    assert buffer.idle


def test_a_repetition_waits_its_time(buffer: SinkBuffer, clock: Clock) -> None:
    """again() with a delay: not before, and its offset stays unfinished."""
    add(buffer, 0, "a")
    add(buffer, 1, "b")
    buffer.again(taken(buffer, 1), lambda tries: 5.0 * tries)
    assert offsets(taken(buffer)) == [1]
    clock.now_s = 5.0
    buffer.renew(buffer.now())
    assert offsets(taken(buffer)) == [0]
    assert buffer.positions() == {}


def test_a_newer_command_does_not_wait_for_the_repetition(buffer: SinkBuffer) -> None:
    """It is taken at once, and the older one is finished by it."""
    add(buffer, 0, "a")
    buffer.again(taken(buffer), lambda _: 60.0)
    add(buffer, 1, "a")
    commands = taken(buffer)
    assert offsets(commands) == [1]
    buffer.done(commands)
    assert buffer.positions() == {PLACE: 2}


def test_a_repetition_gives_way_to_the_newer_one_that_came_meanwhile(buffer: SinkBuffer) -> None:
    """The older command landed to be repeated, but the newer says everything that is owed."""
    add(buffer, 0, "a")
    older = taken(buffer)
    add(buffer, 1, "a")
    buffer.again(older, lambda _: 60.0)
    assert offsets(taken(buffer)) == [1]


def test_in_an_outage_one_batch_at_a_time_asks_whether_it_is_over(buffer: SinkBuffer, clock: Clock) -> None:
    """Nothing is given out until the wait is over, then one batch, and everything once it has landed well."""
    for offset, key in enumerate("abc"):
        add(buffer, offset, key)
    buffer.block(10.0)
    buffer.again(taken_blocked(buffer, clock, 10.0))
    found: list[list[Command]] = []
    other = threading.Thread(target=lambda: found.append(taken(buffer, 1)))
    probe = taken(buffer, 1)
    other.start()
    other.join(0.05)
    assert not found, "the probe is alone"
    buffer.unblock()
    other.join(5.0)
    assert [offsets(probe), offsets(found[0])] == [[0], [1]]


def taken_blocked(buffer: SinkBuffer, clock: Clock, until_s: float) -> list[Command]:
    clock.now_s = until_s
    buffer.renew(buffer.now())
    return taken(buffer, 1)


def test_a_suspended_process_gives_out_nothing_until_its_lease_is_renewed(
    buffer: SinkBuffer, clock: Clock
) -> None:
    """Its partitions may be somebody else's by now."""
    add(buffer, 0, "a")
    clock.now_s = 100.0
    assert buffer.lease_expired
    found: list[list[Command]] = []
    putter = threading.Thread(target=lambda: found.append(taken(buffer)))
    putter.start()
    putter.join(0.05)
    assert not found
    buffer.renew(buffer.now())
    putter.join(5.0)
    assert offsets(found[0]) == [0]


def test_a_lease_begins_when_the_partitions_were_known_to_be_ours(buffer: SinkBuffer, clock: Clock) -> None:
    """A process that was suspended between that moment and renew() gives out nothing."""
    since = buffer.now()
    clock.now_s += 100.0
    buffer.renew(since)
    assert buffer.lease_expired


def test_it_is_full_by_count_and_by_bytes(buffer: SinkBuffer) -> None:
    """Both bounds have a name; half of the room must be free before it takes more."""
    for offset, key in enumerate("abcd"):
        assert not buffer.full
        add(buffer, offset, key)
    assert buffer.full
    buffer.done(taken(buffer, 1))
    assert not buffer.roomy
    buffer.done(taken(buffer, 1))
    assert buffer.roomy
    add(buffer, 4, "e", b"x" * 99)
    assert buffer.full


def test_a_partition_that_is_taken_away_drops_what_waits_and_lets_land_what_flies(buffer: SinkBuffer) -> None:
    """Its unfinished records stay unfinished: whoever has it next puts them."""
    add(buffer, 0, "a")
    add(buffer, 1, "b")
    in_flight = taken(buffer, 1)
    assert not buffer.close([PLACE])
    buffer.done(in_flight)
    assert buffer.close([PLACE])
    assert buffer.positions() == {PLACE: 1}
    buffer.forget([PLACE])
    assert buffer.positions() == {}
    assert buffer.idle


def test_an_older_write_still_in_flight_holds_back_the_key_in_the_new_assignment(buffer: SinkBuffer) -> None:
    """Assigned again while it flies: order per key holds across the hand-over."""
    add(buffer, 0, "a")
    in_flight = taken(buffer)
    buffer.close([PLACE])
    buffer.forget([PLACE])
    buffer.open(PLACE, 0)
    add(buffer, 0, "a")
    add(buffer, 1, "b")
    assert offsets(taken(buffer)) == [1]
    assert in_flight[0].lost
    buffer.again(in_flight, lambda _: 0.0)
    assert offsets(taken(buffer)) == [0]


def test_stopped_it_gives_out_nothing_more(buffer: SinkBuffer) -> None:
    """take() ends the putters; what flies may still land."""
    add(buffer, 0, "a")
    in_flight = taken(buffer)
    add(buffer, 1, "b")
    buffer.stop()
    assert buffer.take(10) is None
    assert not buffer.wait_landed(0)
    buffer.done(in_flight)
    assert buffer.wait_landed(0)


# What is held back.


def test_what_is_held_back_waits_and_nothing_is_committed_past_it(buffer: SinkBuffer) -> None:
    """Other keys go on; the position stands still until it is released and done."""
    add(buffer, 0, "a")
    buffer.hold(taken(buffer))
    add(buffer, 1, "b")
    buffer.done(taken(buffer))
    assert buffer.positions(moved_only=False) == {PLACE: 0}
    assert buffer.held() == {PLACE: 1}
    assert buffer.idle, "there is nothing to do until somebody decides"
    assert buffer.release(lambda command: command.offset == 0) == 1
    again = taken(buffer)
    assert offsets(again) == [0]
    buffer.done(again)
    assert buffer.positions(moved_only=False) == {PLACE: 2}


def test_only_what_is_meant_is_released(buffer: SinkBuffer) -> None:
    """An approval names offsets; what came later is held back still."""
    for number, key in enumerate("abc"):
        add(buffer, number, key)
    buffer.hold(taken(buffer))
    assert buffer.release(lambda command: command.offset < 2) == 2
    assert offsets(taken(buffer)) == [0, 1]
    assert buffer.held() == {PLACE: 1}


@pytest.mark.parametrize("value", [b"newer", None])
def test_a_newer_command_supersedes_one_that_is_held_back(buffer: SinkBuffer, value: bytes | None) -> None:
    """The record lives again, or its end is known already: nothing of the key is held back any more."""
    add(buffer, 0, "a")
    buffer.hold(taken(buffer))
    add(buffer, 1, "a", value)
    assert buffer.held() == {}
    if value is not None:
        buffer.done(taken(buffer))
    assert buffer.positions(moved_only=False) == {PLACE: 2}


def test_what_is_held_back_takes_no_room(buffer: SinkBuffer) -> None:
    """Reading goes on, for whoever is not concerned."""
    for number, key in enumerate("abcd"):
        add(buffer, number, key)
    assert buffer.full
    buffer.hold(taken(buffer))
    assert not buffer.full
    assert buffer.roomy


def test_a_partition_that_leaves_takes_what_is_held_back_along(buffer: SinkBuffer) -> None:
    """Whoever goes on there reads it again."""
    add(buffer, 0, "a")
    buffer.hold(taken(buffer))
    buffer.close([PLACE])
    assert buffer.held() == {}
