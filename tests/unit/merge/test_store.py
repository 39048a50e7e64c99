"""States at hand, and when a copy is marked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import pytest

from salmon.merge.cache import Mark, Origin
from salmon.merge.restoring import Restorer
from salmon.merge.states import States
from salmon.merge.store import Recent, Stores
from salmon.model.rules import Rules
from salmon.model.state import State, new_state
from support.at_hand.memory_cache import MemoryCache
from support.at_hand.registries import MemoryRegistry
from support.world.nature import SCHEMA

TOPIC = "crm.changes.Account"
RULES = Rules(SCHEMA)
STATES = States(RULES, MemoryRegistry(), "crm.state.Account")


def test_only_the_latest_states_are_kept_at_hand() -> None:
    """The one that was not asked for the longest goes first."""
    recent, state = Recent(most=2), new_state(RULES.names)
    recent.put((TOPIC, 0), "001A", state)
    recent.put((TOPIC, 0), "001B", state)
    assert recent.get((TOPIC, 0), "001A") is state
    recent.put((TOPIC, 1), "001A", state)
    assert len(recent) == 2
    assert recent.get((TOPIC, 0), "001B") is None


class Partitions:
    """Stands for Restorer: a topic of two partitions whose ends the test moves."""

    def __init__(self) -> None:
        self.caches = {0: MemoryCache(), 1: MemoryCache()}
        self.end = 100

    def restored(
        self, topic: str, partitions: list[int], _tell: object, *, check: object
    ) -> dict[int, MemoryCache]:
        for partition in partitions:
            self.caches[partition].write({}, Mark(Origin("c", topic, "", partition), self.end, 1))
        return {partition: self.caches[partition] for partition in partitions}

    def marks(self, marks: Mapping[object, Mark]) -> dict[object, Mark]:
        return {place: Mark(mark.origin, self.end, 2) for place, mark in marks.items()}

    def marked(self) -> list[int]:
        return [cache.mark.offset for cache in self.caches.values() if cache.mark]


@pytest.fixture
def partitions() -> Partitions:
    return Partitions()


@pytest.fixture
def stores(partitions: Partitions) -> Stores:
    stores = Stores(cast(Restorer, partitions))
    stores.open(TOPIC, [0, 1], STATES, RULES, lambda: None)
    return stores


def made(key: str) -> tuple[dict[str, State], dict[str, bytes]]:
    state = new_state(RULES.names)
    state.seq = 7
    return {key: state}, {key: STATES.encode(state)}


def test_an_end_becomes_a_mark_with_the_next_commit_and_not_before(
    stores: Stores, partitions: Partitions
) -> None:
    """The end may be another owner's doing; only Kafka's yes to a commit shows that the partitions are still ours."""
    partitions.end = 110
    stores.note_ends()
    assert partitions.marked() == [100, 100]
    partitions.end = 120
    stores.committed({(TOPIC, 0): made("001A")})
    assert partitions.marked() == [110, 110], "up to what was noted; the commit's own states lie behind it"
    assert partitions.caches[0].rows.keys() == {"001A"}


def test_a_partition_that_went_away_in_between_is_not_marked(stores: Stores, partitions: Partitions) -> None:
    """Its new owner may have written before the end that was noted."""
    partitions.end = 110
    stores.note_ends()
    stores.close([(TOPIC, 1)])
    stores.committed({(TOPIC, 0): made("001A")})
    assert partitions.marked() == [110, 100]


def test_a_state_is_decoded_from_the_copy_when_it_is_not_at_hand(
    stores: Stores, partitions: Partitions
) -> None:
    """And a partition that was away is asked of its copy, never of what we remember."""
    stores.committed({(TOPIC, 0): made("001A")})
    assert stores[TOPIC, 0].get("001A").seq == 7
    stores.close()
    newer = new_state(RULES.names)
    newer.seq = 9
    partitions.caches[0].write({"001A": STATES.encode(newer)})
    stores.open(TOPIC, [0], STATES, RULES, lambda: None)
    assert stores[TOPIC, 0].get("001A").seq == 9
    assert stores[TOPIC, 0].get("001B") == new_state(RULES.names)


def test_marks_are_due_some_seconds_after_a_change_and_once_an_hour_without(partitions: Partitions) -> None:
    """A mark that never moves would grow older than the topic's tombstones."""
    now_s = [0.0]
    stores = Stores(cast(Restorer, partitions), clock=lambda: now_s[0])
    stores.open(TOPIC, [0], STATES, RULES, lambda: None)
    now_s[0] = 60
    assert not stores.marks_are_due()
    stores.committed({(TOPIC, 0): made("001A")})
    assert stores.marks_are_due()
    stores.note_ends()
    assert not stores.marks_are_due()
    now_s[0] = 120
    assert stores.marks_are_due(), "what was noted waits for a commit"
    stores.note_ends()
    stores.committed({})
    now_s[0] = 3700
    assert not stores.marks_are_due()
    now_s[0] = 3800
    assert stores.marks_are_due()


def test_a_state_that_cannot_be_read_is_as_if_nothing_were_known(
    stores: Stores, partitions: Partitions
) -> None:
    """Cut off, under a schema of ours: the fold has both sides tell the record again, and no change is lost (case L7)."""
    partitions.caches[0].write({"001A": STATES.encode(new_state(RULES.names))[:-2]})
    assert stores[TOPIC, 0].get("001A") == new_state(RULES.names)
