"""Dead letters on real brokers and on the fake one: replayed once, whoever is killed or does the same meanwhile."""

from __future__ import annotations

import pytest

from salmon.dlq.letters import Handled, LetterFilter, StoredLetter, found
from salmon.dlq.replaying import REPLAYED, Plan, Planner, deal, discard, replay
from salmon.errors import Fenced
from salmon.kafka.dead_letters import headers_of
from salmon.model.change import Op
from support.at_hand.dead_letters import PUBLISHED, Desk
from support.broker_fixtures import ON_EVERY_BROKER
from support.runtime import OBJECT, Sync

EVERY = LetterFilter()
pytestmark = ON_EVERY_BROKER


def test_letters_are_replayed_once_and_are_not_listed_any_more(sync: Sync) -> None:
    """Of two records, with a discarded one between them."""
    desk = Desk(sync)
    for number, key in enumerate("abc"):
        desk.refused(key, number + 1)
    assert len(discard(desk, LetterFilter(key="b"), by="me").letters) == 1
    for expected in (2, 0):
        assert len(replay(desk, EVERY, by="me").letters) == expected
    assert sorted((key, change.op, change.ack) for key, change in sync.changes()) == [
        ("a", Op.RETRY, 1),
        ("c", Op.RETRY, 3),
    ]
    assert found(desk, EVERY, limit=10).letters == ()


def test_of_two_operators_who_replay_the_same_letters_one_does_and_the_other_is_told(sync: Sync) -> None:
    """The later one fences the earlier one, and finds what that one had committed."""
    desk = Desk(sync)
    for number in range(3):
        desk.refused(f"k{number}", number + 1)
    plan = Planner(desk, by="first").plan
    second: list[int] = []

    def interrupted(letter: StoredLetter) -> Plan:
        if not second:
            second.append(len(replay(desk, EVERY, by="second").letters))
        return plan(letter)

    with pytest.raises(Fenced):
        deal(desk, EVERY, interrupted, Handled(REPLAYED, "first", 0))
    assert second == [3]
    assert sorted(key for key, _ in sync.changes()) == ["k0", "k1", "k2"]


def test_a_replayed_event_keeps_the_headers_and_the_bytes_that_it_had(sync: Sync) -> None:
    """Its sink finds out from them where it came from."""
    desk = Desk(sync)
    topic = sync.topics.changes(OBJECT)
    desk.letter(
        "salesforce-sink", "k", b"\0bytes", topic=topic, subject=PUBLISHED, stage="TASK_PUT", offset=7
    )
    replay(desk, EVERY, by="me")
    (record,) = sync.records(sync.topics.replays(PUBLISHED))
    assert (record.key(), record.value()) == (b"k", b"\0bytes")
    headers = headers_of(record)
    assert (headers["__connect.errors.topic"], headers["__connect.errors.offset"]) == (topic, "7")
