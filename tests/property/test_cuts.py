"""Determinism: the same log gives the same, however it is cut into batches, restarted, or handed over."""

from __future__ import annotations

from random import Random

import pytest

from support.world import World
from support.world.cuts import Cuts


@pytest.mark.parametrize("first", range(0, 120, 30))
def test_a_log_gives_the_same_however_it_is_cut_and_whoever_folds_it(first: int) -> None:
    """Two instances, killed and fenced at any moment, with their working copies and without."""
    refused = 0
    for seed in range(first, first + 30):
        world = World(seed).run()
        cuts = Cuts(world.merge, Random(seed)).play()
        assert list(cuts.differences()) == [], f"seed {seed}"
        refused += cuts.refused
    assert refused > 30, "schedules without interruptions would show little"


def test_a_transaction_that_is_folded_twice_is_seen() -> None:
    """A fenced instance whose commit were taken: the new owner would fold the same changes onto its states."""
    world = World(7).run()
    cuts = Cuts(world.merge, Random(7)).play()
    cuts.done -= 5
    cuts.play()
    assert any("another state" in text or "other writes" in text for text in cuts.differences())
