"""What may be used of an allowance: who waits first, how much is spread, what is foreseen, and what is remembered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from salmon.errors import RateLimited
from salmon.salesforce.config import ApiBudget, EventBudget
from salmon.salesforce.wire.budget import (
    DAY_S,
    LOOK_AGAIN_S,
    NAP_MAX_S,
    SLOT_S,
    Budget,
    Level,
    OverBudget,
    Urgency,
    during,
)

BEGIN_S = 1_000_000 * SLOT_S


@dataclass
class Rig:
    """A budget of calls, with a clock that only naps and the test move. The org counts what is used."""

    allowed: int = 10_000
    share: float = 1.0
    floor: int = 0
    by_others: int = 0
    now_s: float = BEGIN_S
    naps: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.budget = self.another()
        self.used = 0
        self.answer()

    def another(self) -> Budget:
        """Of another process, or of one that was restarted."""
        terms = ApiBudget(share=self.share, floor=self.floor)
        return Budget("calls", "calls", "x.budget", terms, clock=lambda: self.now_s, nap=self._nap)

    def _nap(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now_s += seconds

    def answer(self) -> None:
        self.budget.saw(self.used + self.by_others, self.allowed)

    def use(self, amount: int) -> None:
        self.budget.use(amount)
        self.used += amount
        self.answer()

    def call(self, urgency: Urgency = Urgency.NOW) -> bool:
        """Whether a call was made."""
        try:
            with during(urgency):
                self.budget.ask()
        except OverBudget:
            return False
        self.use(1)
        return True


def test_nothing_waits_while_nothing_is_known_or_half_is_left() -> None:
    """The first call is what shows how much there is."""
    rig = Rig()
    assert rig.another().may(Urgency.SPARE)
    rig.another().ask()
    rig.use(5_000)
    assert all(rig.call(urgency) for urgency in Urgency for _ in range(5)) is False, "half is passed now"
    rig = Rig()
    rig.use(4_900)
    assert all(rig.call(urgency) for urgency in Urgency for _ in range(30))
    assert rig.naps == []


def test_a_command_waits_for_what_is_spread_and_is_refused_what_stands_still() -> None:
    """It has nothing else to do; but nobody waits for a day."""
    rig = Rig()
    patient = Budget(
        "calls",
        "calls",
        "x.budget",
        ApiBudget(share=1.0, floor=0),
        clock=lambda: rig.now_s,
        nap=rig._nap,
        patient=True,
    )
    patient.saw(6_000, 10_000)
    with during(Urgency.SPARE):
        for _ in range(3):
            patient.ask()
        assert len(rig.naps) == 2
        assert min(rig.naps) > NAP_MAX_S
        patient.saw(8_100, 10_000)
        with pytest.raises(OverBudget, match=r"x\.budget"):
            patient.ask()


@pytest.mark.parametrize(
    ("used", "level", "still"),
    [
        (5_000, Level.FREE, []),
        (5_001, Level.HALF, []),
        (8_000, Level.HALF, []),
        (8_001, Level.FIFTH, [Urgency.SPARE]),
        (9_001, Level.TENTH, [Urgency.SPARE, Urgency.LATER]),
        (9_999, Level.TENTH, [Urgency.SPARE, Urgency.LATER]),
        (10_000, Level.NOTHING, list(Urgency)),
    ],
)
def test_the_less_is_left_the_more_stands_still_and_edits_last(
    used: int, level: Level, still: list[Urgency]
) -> None:
    """Refreshes first, then polls and loads, then edits."""
    rig = Rig()
    rig.use(used)
    assert rig.budget.level is level
    assert [urgency for urgency in Urgency if not rig.budget.may(urgency)] == still
    for urgency in still:
        assert not rig.call(urgency)


@pytest.mark.parametrize("others", [False, True])
def test_share_and_floor_both_bind(*, others: bool) -> None:
    """Our share is used up by us alone; what is left to others, by whoever uses the org."""
    rig = Rig(share=0.5, floor=2_000)
    if others:
        rig.by_others = 8_000
        rig.answer()
    else:
        rig.use(5_000)
    assert rig.budget.level is Level.NOTHING
    assert rig.budget.left == 0
    (waiting,) = rig.budget.waiting()
    assert "x.budget.share" in waiting.sentence
    assert not rig.call()


def test_what_can_wait_is_spread_so_that_it_lasts_for_the_day() -> None:
    """With 4,000 of 10,000 left, whoever asks all the time makes about 4,000 calls in the 23 hours until the first are free again."""
    rig = Rig()
    rig.use(6_000)
    made = 0
    while rig.now_s < BEGIN_S + DAY_S - SLOT_S:
        made += rig.call(Urgency.LATER)
        rig.now_s += 10
    # At last a tenth is kept for edits.
    assert 2_900 <= made <= 3_001
    assert rig.budget.level in (Level.FIFTH, Level.TENTH)
    rig.now_s = BEGIN_S + DAY_S + SLOT_S
    rig.used = made
    rig.answer()
    assert rig.budget.states()[0].level == Level.FREE, "what was used at first has left the 24 hours"


def test_who_must_wait_is_told_for_how_long() -> None:
    """So nobody asks in between."""
    rig = Rig()
    rig.use(6_000)
    assert rig.call(Urgency.LATER)
    with during(Urgency.LATER), pytest.raises(OverBudget) as caught:
        rig.budget.ask()
    assert isinstance(caught.value, RateLimited)
    assert caught.value.retry_after_s is not None
    rig.now_s += caught.value.retry_after_s
    assert rig.call(Urgency.LATER)


def test_edits_are_slowed_down_before_they_stand_still() -> None:
    """Below a tenth each waits for a moment, so that more of them share a call."""
    rig = Rig()
    rig.use(9_500)
    assert rig.call()
    assert rig.call()
    assert rig.naps == [NAP_MAX_S]
    rig.use(498)
    assert not rig.call()


def test_a_budget_that_is_used_up_frees_itself_slot_by_slot() -> None:
    """The window rolls: nobody has to ask the org."""
    rig = Rig(share=0.1)
    for _ in range(10):
        rig.use(100)
        rig.now_s += SLOT_S
    assert not rig.call()
    rig.now_s = BEGIN_S + DAY_S - 1
    assert not rig.call()
    rig.now_s = BEGIN_S + DAY_S
    assert rig.call()
    assert rig.budget.left == 99


def test_what_others_have_used_up_is_looked_at_again_now_and_then() -> None:
    """Nothing else would say that it is free again; one call in five minutes."""
    rig = Rig()
    rig.by_others = 10_000
    rig.answer()
    made = []
    for _ in range(60):
        rig.now_s += LOOK_AGAIN_S / 20
        if (may := rig.budget.may(Urgency.SPARE)) or rig.call(Urgency.SPARE):
            made.append(may)
            rig.call(Urgency.SPARE)
    assert len(made) == 3
    rig.by_others = 0
    rig.now_s += LOOK_AGAIN_S
    assert rig.call()
    assert rig.budget.level is Level.FREE


def test_when_it_will_be_used_up_is_foreseen() -> None:
    """By the last hour; and said before anything stands still."""
    rig = Rig()
    for _ in range(30):
        rig.use(100)
        rig.now_s += 60
    assert rig.budget.forecast_s is not None
    assert 65 * 60 <= rig.budget.forecast_s <= 75 * 60
    (state,) = rig.budget.states()
    assert (state.name, state.allowed, state.used, state.ours, state.left) == (
        "calls",
        10_000,
        3_000,
        3_000,
        7_000,
    )
    assert "used up in" in rig.budget.note()
    assert rig.budget.waiting() == []
    rig.now_s += 2 * 3600
    rig.answer()
    assert rig.budget.forecast_s is None
    assert rig.budget.note() == ""


def test_what_was_used_survives_a_restart() -> None:
    """As it was stored; once, however often the task is started."""
    rig = Rig()
    rig.use(3_000)
    stored = rig.budget.to_store()
    assert rig.budget.to_store() is None, "nothing new"
    rig.budget = rig.another()
    rig.budget.use(5)
    for _ in range(2):
        rig.budget.restore(stored)
    rig.answer()
    (state,) = rig.budget.states()
    assert state.ours == 3_005
    rig.now_s += DAY_S + SLOT_S
    assert rig.budget.states()[0].ours == 0


@pytest.mark.parametrize("stored", [None, {}, {"slots": 7}, {"slots": {"12": "x"}}])
def test_what_a_later_version_has_stored_is_left(stored: Any) -> None:
    """It counts as nothing."""
    rig = Rig()
    rig.budget.restore(stored)
    rig.budget.take("other", stored)
    assert rig.budget.states()[0].ours == 0


def test_all_processes_of_a_sync_share_one_budget() -> None:
    """What the sink has used, the source may not."""
    rig = Rig(share=0.5)
    rig.use(1_000)
    sink = rig.another()
    sink.use(4_000)
    stored = sink.to_store()
    rig.budget.take("sink", stored)
    assert rig.budget.level is Level.NOTHING
    rig.budget.take("sink", None)
    assert rig.budget.states()[0].level == Level.FREE


def test_a_clock_that_was_set_back_keeps_nothing_for_ever() -> None:
    """What was used in the future has not been used."""
    rig = Rig()
    rig.use(3_000)
    rig.now_s -= 10 * DAY_S
    assert rig.budget.states()[0].ours == 0


def test_a_floor_that_leaves_nothing_is_told_by_its_key() -> None:
    """An org that allows fewer calls than are to be left to others."""
    rig = Rig(allowed=1_000, floor=1_000)
    (waiting,) = rig.budget.waiting()
    assert "Set x.budget.floor to less" in waiting.sentence


def test_how_long_something_waits_counts_from_the_first_level_at_which_anything_does() -> None:
    """It is not news each time that more waits."""
    rig = Rig()
    rig.use(8_100)
    rig.budget.waiting()
    rig.now_s += 100
    rig.use(1_000)
    (waiting,) = rig.budget.waiting()
    assert waiting.since_s == 100
    assert "edits are synced slowly" in waiting.sentence


def test_an_allowance_of_nothing_is_none() -> None:
    """An org that does not count says 0 of 0: the org itself refuses then, if it does."""
    rig = Rig(allowed=0)
    assert rig.budget.states() == []
    rig.budget.ask()


def test_without_terms_nothing_waits() -> None:
    """`salmon doctor` looks at an org whose calls are used up."""
    budget = Budget("calls", "calls", "x", None)
    budget.saw(100, 100)
    budget.ask()
    assert budget.may(Urgency.SPARE)


def test_the_defaults_leave_something_to_others() -> None:
    """A fifth of the calls."""
    assert (ApiBudget().share, ApiBudget().floor) == (0.8, 1_000)
    assert (EventBudget().share, EventBudget().floor) == (0.9, 0)
