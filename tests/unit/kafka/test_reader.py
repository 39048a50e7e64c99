"""Partitions read to their ends: what ends the reading, and what is never lost. No broker is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError

from salmon.errors import Unavailable
from salmon.kafka import clients, reader
from salmon.kafka.reader import Place, Reader

TOPIC = "crm.writes.mongodb.Account"
END = KafkaError._PARTITION_EOF

Reading = Callable[..., Reader]


def message(offset: int, error: int | None = None, *, partition: int = 0) -> Any:
    """A record, the end of a partition, or an error, as librdkafka gives it."""
    return SimpleNamespace(
        topic=lambda: TOPIC,
        partition=lambda: partition,
        offset=lambda: offset,
        error=lambda: None if error is None else KafkaError(error),
    )


class Taken:
    """What was handed out: the offsets, batch by batch."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __call__(self, records: Sequence[Any], _: Mapping[Place, int]) -> None:
        if records:
            self.batches.append([each.offset() for each in records])


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> Reading:
    """A reader of one partition or more, to which the given polls come, and then nothing."""

    def made(*polls: Sequence[Any], starts: Sequence[int] = (0,)) -> Reader:
        left = list(polls)
        monkeypatch.setattr(clients, "arrived", lambda consumer, n, timeout_s: left.pop(0) if left else [])
        places = {(TOPIC, number): at for number, at in enumerate(starts)}
        return Reader({"bootstrap.servers": "127.0.0.1:1"}, places, name="test")

    return made


def test_it_reads_to_the_ends_as_they_were_and_waits_for_nothing_later(reading: Reading) -> None:
    """An empty partition is at its end at once; whose end was not asked for ends where the broker says so."""
    taken = Taken()
    with reading([message(0), message(1)], [message(2)], starts=(0, 7)) as found:
        found.read_to_end(taken, ends={(TOPIC, 0): 2, (TOPIC, 1): 7})
        assert found.passed({(TOPIC, 0): 2, (TOPIC, 1): 7}) == (2, 2)
    assert taken.batches == [[0, 1]]
    with reading([message(0), message(1, END)], [message(7, END, partition=1)], starts=(0, 7)) as found:
        found.read_to_end(taken)
    assert taken.batches == [[0, 1], [0]]


def test_an_open_transaction_is_waited_for_only_where_what_stands_behind_it_counts(
    reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that looks something up does not wait for a hanging writer; a table that must be whole does, and says why it gives up."""
    polls = [message(0), message(1, END)]
    ends = {(TOPIC, 0): 5}
    with reading(polls) as found:
        found.read_to_end(Taken(), ends=ends)
        assert found.next_offsets == {(TOPIC, 0): 1}
    with reading(polls, [message(5, END)]) as found:
        found.read_to_end(Taken(), ends=ends, settled=True)
        assert found.next_offsets == {(TOPIC, 0): 5}
    monkeypatch.setattr(reader, "_STANDSTILL_S_MAX", 0.0)
    with (
        reading(polls) as found,
        pytest.raises(Unavailable, match=rf"{TOPIC}: .*Check the brokers.*still open"),
    ):
        found.read_to_end(Taken(), ends=ends, settled=True)


def test_brokers_from_which_nothing_comes_are_given_up_by_every_reader(
    reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by a sink that takes a partition over: its loop may not wait without a bound."""
    monkeypatch.setattr(reader, "_STANDSTILL_S_MAX", 0.0)
    with reading() as found, pytest.raises(Unavailable, match="nothing has arrived"):
        found.read_to_end(Taken())


def test_records_beside_an_error_are_handed_out_before_it_is_raised(reading: Reading) -> None:
    """They were consumed, and would not come again."""
    taken = Taken()
    with reading([message(0), message(1, KafkaError._ALL_BROKERS_DOWN), message(1)], [message(2)]) as found:
        with pytest.raises(Unavailable):
            found.read_to_end(taken, ends={(TOPIC, 0): 3})
        assert taken.batches == [[0, 1]]
        found.read_to_end(taken, ends={(TOPIC, 0): 3})
    assert taken.batches == [[0, 1], [2]]


def test_what_could_not_be_taken_comes_again(reading: Reading) -> None:
    """A registry that is away for a moment costs no record."""
    taken = Taken()
    with reading([message(0)], [message(1)]) as found:

        def refused(*_: object) -> None:
            raise Unavailable("the registry does not answer")

        with pytest.raises(Unavailable):
            found.step(refused, 0.0)
        assert found.next_offsets == {(TOPIC, 0): 0}
        found.read_to_end(taken, ends={(TOPIC, 0): 2})
    assert taken.batches == [[0], [1]]


def test_the_heart_beats_at_each_poll_and_whoever_hears_it_may_stop_the_reading(reading: Reading) -> None:
    """However little comes; and the reading goes on from there."""
    taken, beats = Taken(), 0
    with reading([message(0)], [], [message(1)], [message(2)]) as found:

        def turned() -> None:
            nonlocal beats
            beats += 1
            if beats == 4:
                raise InterruptedError

        with pytest.raises(InterruptedError):
            found.read_to_end(taken, ends={(TOPIC, 0): 3}, turned=turned)
        assert taken.batches == [[0], [1]]
        found.read_to_end(taken, ends={(TOPIC, 0): 3}, turned=turned)
    assert taken.batches == [[0], [1], [2]]
