"""A person's decision: what is entered into `changes`, and whether it is what is agreed then."""

from __future__ import annotations

from typing import Any

import pytest

from salmon.model.change import OPERATOR, Op
from salmon.model.policies import EXISTENCE, HOLD, Conflict, Contest, Edit
from salmon.story.conflicts import ListedConflict, held_value, waits_in
from salmon.story.resolving import Decision, Resolved
from support.at_hand.stories import KEY, Story, in_step, rules

CONTEST = Contest("Account", KEY, "Phone", Edit("salesforce", "1", 1), Edit("mongodb", "2", 2), "salesforce")


def decision(lives: bool | None = None, **fields: Any) -> Decision:
    return Decision(
        "Account", KEY, fields, lives, (ListedConflict("0/7", 1, 103, Conflict(CONTEST, "hold", None)),)
    )


def held() -> Story:
    story = in_step(rules(policy=HOLD), Name="Acme", Phone="555 0000")
    story.salesforce.edits(Phone="555 0101")
    story.mongodb.edits(Phone="555 0202")
    return story


def test_values_are_entered_as_an_operators_edit_with_who_and_why() -> None:
    """What clears a field is named without a value; who decided, why and what it settles go with it."""
    change = decision(Phone="9", City=None).change(by="ada", reason="asked", correlation="c-1", now_ms=5)
    assert (change.origin, change.op, change.committed_at) == (OPERATOR, Op.EDIT, 5)
    assert (change.changed, change.fields) == (frozenset({"Phone", "City"}), {"Phone": "9"})
    assert change.source == {"by": "ada", "reason": "asked", "settles": "0/7", "correlation": "c-1"}


def test_a_life_is_entered_as_an_edit_of_existence_or_as_a_deletion() -> None:
    """As the fold takes it."""
    lives = decision(lives=True).change(by="ada", reason="", correlation="c", now_ms=5)
    dies = decision(lives=False).change(by="ada", reason="", correlation="c", now_ms=5)
    assert (lives.op, lives.changed) == (Op.EDIT, frozenset({EXISTENCE}))
    assert dies.op is Op.DELETE
    assert "reason" not in dies.source


def test_a_decision_is_done_once_it_is_agreed_and_nothing_is_held() -> None:
    """Not before merge has folded it, and not where somebody has edited the field again."""
    story = held()
    assert not Resolved(decision(Phone="555 0202"), None).done
    assert not Resolved(decision(Phone="555 0101"), story.state).done, "agreed, but still on hold"
    story.edit_of_an_operator(Phone="555 0202")
    assert Resolved(decision(Phone="555 0202"), story.state).done
    story.mongodb.edits(Phone="555 0909")
    assert not Resolved(decision(Phone="555 0202"), story.state).done


@pytest.mark.parametrize("lives", [True, False])
def test_a_decided_life_is_done_once_the_record_is_so(lives: bool) -> None:
    """Alive or dead."""
    story = in_step(rules(policy=HOLD), Name="Acme")
    story.salesforce.deletes()
    story.mongodb.edits(Name="Acme Ltd")
    story.operator_keeps_it() if lives else story.operator_deletes_it()
    assert Resolved(decision(lives=lives), story.state).done


def test_each_side_s_value_of_what_is_on_hold_is_known() -> None:
    """Of the one that waits, what it keeps; of the other, what is agreed."""
    state = held().state
    assert held_value(state, "mongodb", "Phone") == "555 0202"
    assert held_value(state, "salesforce", "Phone") == "555 0101"


def test_only_the_newest_conflict_of_a_field_waits() -> None:
    """A further edit takes the place of the one that was on hold; a decision ends both."""
    story = held()
    first = ListedConflict("0/1", 1, story.state.seq, story.conflicts[-1])
    story.mongodb.edits(Phone="555 0909")
    second = ListedConflict("0/2", 2, story.state.seq, story.conflicts[-1])
    assert [waits_in(story.state, told) for told in (first, second)] == [False, True]
    story.edit_of_an_operator(Phone="1")
    assert not waits_in(story.state, second)
    assert not waits_in(None, second)
