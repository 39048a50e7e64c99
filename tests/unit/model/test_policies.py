"""Who wins when two edits did not know of each other."""

from __future__ import annotations

from typing import Any

import pytest

from salmon.model.policies import (
    HOLD,
    LAST_WRITER_WINS,
    MONGODB_WINS,
    POLICIES,
    SALESFORCE_WINS,
    Contest,
    Edit,
    Policy,
)


def contest(standing: Edit, challenger: Edit, ties: str = "salesforce") -> Contest:
    return Contest("Account", "001A", "Phone", standing, challenger, ties)


def salesforce(at: int) -> Edit:
    return Edit("salesforce", "555 0101", at)


def mongodb(at: int) -> Edit:
    return Edit("mongodb", "555 0202", at)


def test_the_last_writer_wins_by_the_clocks() -> None:
    """Standing or challenging makes no difference."""
    assert LAST_WRITER_WINS(contest(salesforce(2), mongodb(1))).winner == salesforce(2)
    assert LAST_WRITER_WINS(contest(mongodb(1), salesforce(2))).winner == salesforce(2)
    assert LAST_WRITER_WINS(contest(salesforce(1), mongodb(2))).winner == mongodb(2)


@pytest.mark.parametrize("ties", ["salesforce", "mongodb"])
def test_a_tie_goes_to_the_configured_side_whoever_stands(ties: str) -> None:
    """Salesforce's clock knows whole seconds: ties are common, and arrival must not decide."""
    for one, other in ((salesforce(1), mongodb(1)), (mongodb(1), salesforce(1))):
        winner = LAST_WRITER_WINS(contest(one, other, ties)).winner
        assert winner is not None
        assert winner.side == ties


def test_a_tie_without_the_configured_side_goes_to_the_challenger() -> None:
    """Two edits of one side, or an operator's: the one that came later in the log."""
    assert LAST_WRITER_WINS(contest(mongodb(1), Edit("mongodb", "9", 1))).winner == Edit("mongodb", "9", 1)


def test_an_edit_without_a_time_loses_to_any_dated_one() -> None:
    """What only a row of MongoDB tells has no time: 0."""
    assert LAST_WRITER_WINS(contest(salesforce(1), mongodb(0))).winner == salesforce(1)
    assert LAST_WRITER_WINS(contest(mongodb(0), salesforce(1))).winner == salesforce(1)


def test_a_side_may_always_win() -> None:
    """Whatever the clocks say, whoever stands."""
    assert SALESFORCE_WINS(contest(mongodb(2), salesforce(1))).winner == salesforce(1)
    assert SALESFORCE_WINS(contest(salesforce(1), mongodb(2))).winner == salesforce(1)
    assert MONGODB_WINS(contest(salesforce(2), mongodb(1))).winner == mongodb(1)
    assert MONGODB_WINS(contest(mongodb(1), salesforce(2))).winner == mongodb(1)


def test_of_two_edits_of_the_side_that_wins_the_later_one_wins() -> None:
    """An event may tell late what was set before what stands. What only a row tells has no time, and is news."""
    assert SALESFORCE_WINS(contest(salesforce(2), salesforce(1))).winner == salesforce(2)
    assert SALESFORCE_WINS(contest(salesforce(1), salesforce(2))).winner == salesforce(2)
    assert MONGODB_WINS(contest(mongodb(2), mongodb(0))).winner == mongodb(0)


def test_where_the_preferred_side_takes_no_part_the_last_writer_wins() -> None:
    """An operator's value against MongoDB's, under `salesforce`."""
    operator = Edit("operator", "9", 3)
    assert SALESFORCE_WINS(contest(operator, mongodb(2))).winner == operator
    assert SALESFORCE_WINS(contest(operator, mongodb(4))).winner == mongodb(4)


def test_hold_lets_nobody_win() -> None:
    """Both sides keep their value until somebody resolves it."""
    assert HOLD(contest(salesforce(2), mongodb(1))).winner is None


def test_the_conflict_names_the_contest_and_the_policy() -> None:
    """What goes to the conflicts topic."""
    told = contest(salesforce(2), mongodb(1))
    conflict = MONGODB_WINS(told)
    assert (conflict.contest, conflict.policy) == (told, "mongodb")


def test_the_policies_of_a_config_are_found_by_name() -> None:
    """`conflicts: {default: last_writer_wins | salesforce | mongodb | hold}`."""
    assert set(POLICIES) == {"last_writer_wins", "salesforce", "mongodb", "hold"}
    assert all(name == policy.name for name, policy in POLICIES.items())


@pytest.mark.parametrize(
    ("decide", "fault"),
    [
        (lambda told: Edit("mongodb", "both?", 1), "it returned a Edit that is neither of the two edits"),
        (lambda told: "mongodb", "it returned a str that is neither of the two edits"),
        (lambda told: {"one": 1}["none"], "it raised KeyError"),
    ],
)
def test_a_plugin_that_cannot_decide_leaves_it_to_a_person(decide: Any, fault: str) -> None:
    """Neither edit is lost to somebody's mistake, and the conflict says what was wrong, without a value."""
    conflict = Policy("inventive", decide)(contest(salesforce(2), mongodb(1)))
    assert (conflict.policy, conflict.winner, conflict.fault) == ("inventive", None, fault)


def test_a_plugin_may_return_an_equal_edit() -> None:
    """One that it has made anew, say: the winner is the contest's own."""
    told = contest(salesforce(2), mongodb(1))
    conflict = Policy("copies", lambda told: mongodb(1))(told)
    assert conflict.winner is told.challenger
