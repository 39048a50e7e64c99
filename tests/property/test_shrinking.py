"""A schedule that breaks a promise is made small before anybody reads it."""

from __future__ import annotations

import pytest

from salmon.model.fold import Verdict, judge
from salmon.model.steps import values
from support.world.play import STEPS
from support.world.shrink import schedule_of, shrunk, story


def without_causes(*args: object, **kwargs: object) -> Verdict:
    """A broken rule: who had seen the agreed value is in conflict with it all the same."""
    verdict = judge(*args, **kwargs)  # type: ignore[arg-type]
    return Verdict.CONCURRENT if verdict is Verdict.CAUSAL else verdict


def test_a_broken_rule_is_shown_by_a_short_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told with what happens in it, and keeps every promise once the rule is mended."""
    monkeypatch.setattr(values, "judge", without_causes)
    first = next(each for each in map(schedule_of, range(20)) if each.faults())
    smallest = shrunk(first)
    assert smallest.faults()
    assert smallest.steps <= STEPS // 2
    assert len(smallest.unusual()) < len(first.unusual())
    assert len(list(story(smallest))) < len(list(story(first)))
    monkeypatch.undo()
    assert smallest.faults() == []


def test_a_schedule_that_keeps_the_promises_is_not_made_smaller() -> None:
    """There would be nothing to keep while cutting."""
    with pytest.raises(ValueError, match="seed 7 keeps every promise"):
        shrunk(schedule_of(7))
