"""How many platform events may be published: what is left to others, and how seldom the org is asked."""

from __future__ import annotations

from typing import Any

import pytest

from salmon.errors import RequestRejected, Unavailable
from salmon.salesforce.config import PublishBudget
from salmon.salesforce.writing.allowance import ALLOWANCE, Allowance


class Org:
    """The limits resource, and a clock."""

    def __init__(self) -> None:
        self.remaining, self.looks, self.time_s = 1_000, 0, 0.0
        self.trouble: Exception | None = None

    def ask(self, method: str, below: str, *, resource: str) -> Any:
        assert (method, below) == ("GET", "limits")
        self.looks += 1
        if self.trouble is not None:
            raise self.trouble
        return {ALLOWANCE: {"Max": 1_000, "Remaining": self.remaining}}


@pytest.fixture
def org() -> Org:
    return Org()


def of(org: Org, **terms: Any) -> Allowance:
    return Allowance(org, PublishBudget(**terms), clock=lambda: org.time_s)


@pytest.mark.parametrize(
    ("terms", "left"), [({}, 900), ({"share": 0.5}, 500), ({"floor": 300}, 700), ({"share": 1}, 1_000)]
)
def test_some_of_the_orgs_events_are_left_to_others(org: Org, terms: dict[str, Any], left: int) -> None:
    """By share or by number, whichever is more; and whoever has published what is used."""
    assert of(org, **terms).left() == left
    org.remaining = 100
    assert of(org, **terms).left() == max(0, left - 900)


def test_the_org_is_asked_again_after_a_tenth_of_what_was_left_or_an_hour(org: Org) -> None:
    """Each look is an API call."""
    allowance = of(org)
    allowance.left()
    for _ in range(9):
        allowance.published(10)
        allowance.left()
    assert (allowance.left(), org.looks) == (810, 1)
    allowance.published(10)
    org.remaining = 850
    assert (allowance.left(), org.looks) == (750, 2)
    org.time_s += 3_600
    org.remaining = 1_000
    assert (allowance.left(), org.looks) == (900, 3)


def test_while_nothing_may_be_published_the_org_is_asked_each_minute(org: Org) -> None:
    """So it goes on by itself as the hour passes; a person is told meanwhile."""
    org.remaining = 100
    allowance = of(org)
    assert allowance.is_used_up
    assert "salesforce.publish_budget" in allowance.sentence
    org.remaining = 1_000
    assert (allowance.left(), org.looks) == (0, 1)
    org.time_s += 60
    assert (allowance.left(), org.looks) == (900, 2)


def test_an_event_that_was_not_published_makes_the_org_be_asked_before_it_is_judged(org: Org) -> None:
    """Others may have used up everything since: then it is not this event's fault."""
    allowance = of(org)
    allowance.left()
    org.remaining = 0
    org.time_s += 61
    allowance.published(0, others=1)
    assert allowance.is_used_up


@pytest.mark.parametrize("trouble", [RequestRejected("no", code="INSUFFICIENT_ACCESS"), Unavailable("away.")])
def test_an_org_that_does_not_say_limits_nothing(org: Org, trouble: Exception) -> None:
    """The events are published; what is hidden from the user is not asked for again, and what was an outage is."""
    org.trouble = trouble
    allowance = of(org)
    assert allowance.left() is None
    allowance.published(5, others=5)
    assert not allowance.is_used_up
    org.trouble = None
    org.time_s += 60
    hidden = isinstance(trouble, RequestRejected)
    assert (allowance.left(), org.looks) == ((None, 1) if hidden else (900, 2))
