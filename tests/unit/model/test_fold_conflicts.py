"""Step 4 of the fold: two edits that did not know of each other, by each policy."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from salmon.model.fold import Fact, Folded
from salmon.model.policies import HOLD, LAST_WRITER_WINS, MONGODB_WINS, SALESFORCE_WINS, Contest, Edit, Policy
from salmon.model.rules import Rules
from salmon.model.state import Park
from support.at_hand.stories import Story, in_step, rules

EARLY, LATE = 1_000, 2_000  # ms
FROM_SALESFORCE, FROM_MONGODB = "555 0101", "555 0202"


def both_edit_at_once(
    told: Rules, *, salesforce_at: int, mongodb_at: int, first: str = "salesforce"
) -> Story:
    """Both sides edit the Phone; neither has seen the other's edit. *first* is the one that merge hears first."""
    story = in_step(told, Name="Acme", Phone="555 0000")
    edits: list[Callable[[], Folded]] = [
        lambda: story.salesforce.edits(Phone=FROM_SALESFORCE, at=salesforce_at),
        lambda: story.mongodb.edits(Phone=FROM_MONGODB, at=mongodb_at),
    ]
    for edit in edits if first == "salesforce" else reversed(edits):
        edit()
    return story


@pytest.mark.parametrize("first", ["salesforce", "mongodb"])
@pytest.mark.parametrize(
    ("policy", "salesforce_at", "mongodb_at", "winner"),
    [
        (LAST_WRITER_WINS, EARLY, LATE, FROM_MONGODB),
        (LAST_WRITER_WINS, LATE, EARLY, FROM_SALESFORCE),
        (SALESFORCE_WINS, EARLY, LATE, FROM_SALESFORCE),
        (MONGODB_WINS, LATE, EARLY, FROM_MONGODB),
    ],
)
def test_the_policy_decides_between_concurrent_edits(
    first: str, policy: Policy, salesforce_at: int, mongodb_at: int, winner: str
) -> None:
    """The winner is the same whoever is heard first; both sides end with it, and one conflict is told."""
    story = both_edit_at_once(
        rules(policy=policy), salesforce_at=salesforce_at, mongodb_at=mongodb_at, first=first
    )
    assert story.record == {"Name": "Acme", "Phone": winner}
    story.come_to_rest()
    assert story.salesforce.holds["Phone"] == story.mongodb.holds["Phone"] == winner
    assert len(story.conflicts) == 1


def test_the_conflict_tells_both_edits_the_policy_and_the_winner() -> None:
    """Whoever reads the conflicts topic sees what was lost, and why."""
    story = both_edit_at_once(rules(), salesforce_at=EARLY, mongodb_at=LATE)
    (conflict,) = story.conflicts
    contest = conflict.contest
    assert (contest.object, contest.key, contest.field) == ("Account", story.key, "Phone")
    assert (contest.standing.side, contest.standing.value, contest.standing.committed_at) == (
        "salesforce",
        FROM_SALESFORCE,
        EARLY,
    )
    assert (contest.challenger.side, contest.challenger.value, contest.challenger.committed_at) == (
        "mongodb",
        FROM_MONGODB,
        LATE,
    )
    assert contest.standing.seq < contest.challenger.seq == story.state.seq
    assert conflict.policy == "last_writer_wins"
    assert conflict.winner == contest.challenger


@pytest.mark.parametrize("first", ["salesforce", "mongodb"])
@pytest.mark.parametrize(("ties", "winner"), [("salesforce", FROM_SALESFORCE), ("mongodb", FROM_MONGODB)])
def test_a_tie_goes_to_the_configured_side(first: str, ties: str, winner: str) -> None:
    """Two edits within one second of Salesforce's clock: order of arrival must not decide."""
    story = both_edit_at_once(rules(ties=ties), salesforce_at=EARLY, mongodb_at=EARLY, first=first)
    assert story.record == {"Name": "Acme", "Phone": winner}


def test_a_row_without_a_time_loses_to_any_dated_edit() -> None:
    """A document has no last-modified time: what only its row tells is never the last writer's."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.salesforce.edits(Phone=FROM_SALESFORCE, at=EARLY)
    story.mongodb.row(at=0, Name="Acme", Phone=FROM_MONGODB)
    assert story.record == {"Name": "Acme", "Phone": FROM_SALESFORCE}
    assert len(story.conflicts) == 1


def test_a_field_may_have_a_policy_of_its_own() -> None:
    """`conflicts: {default: mongodb, fields: {Phone: salesforce}}`: the City goes one way, the Phone the other."""
    story = in_step(
        rules(policy=MONGODB_WINS, field_policies={"Phone": SALESFORCE_WINS}), Name="Acme", City="Oslo"
    )
    story.salesforce.edits(Phone=FROM_SALESFORCE, City="Bergen")
    story.mongodb.edits(Phone=FROM_MONGODB, City="Tromsø")
    assert story.record == {"Name": "Acme", "Phone": FROM_SALESFORCE, "City": "Tromsø"}
    assert {c.contest.field: c.policy for c in story.conflicts} == {"Phone": "salesforce", "City": "mongodb"}


def test_only_the_field_that_both_edited_is_contested() -> None:
    """MongoDB's edit of Phone and City meets Salesforce's of Phone: the City is nobody else's."""
    story = in_step(rules(policy=SALESFORCE_WINS), Name="Acme", Phone="555 0000")
    story.salesforce.edits(Phone=FROM_SALESFORCE)
    story.mongodb.edits(Phone=FROM_MONGODB, City="Oslo")
    assert story.record == {"Name": "Acme", "Phone": FROM_SALESFORCE, "City": "Oslo"}
    assert [c.contest.field for c in story.conflicts] == ["Phone"]


def test_clearing_a_field_is_an_edit_like_any_other() -> None:
    """One side empties the Phone, the other changes it: the later of the two holds."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.salesforce.edits(Phone=FROM_SALESFORCE, at=EARLY)
    story.mongodb.edits(Phone=None, at=LATE)
    assert story.record == {"Name": "Acme"}
    assert len(story.conflicts) == 1
    story.come_to_rest()
    assert "Phone" not in story.salesforce.holds


def test_the_loser_is_put_right_and_may_edit_again() -> None:
    """The conflict is over once the loser holds the winner's value: his next edit has seen it."""
    story = both_edit_at_once(rules(policy=SALESFORCE_WINS), salesforce_at=EARLY, mongodb_at=LATE)
    story.come_to_rest()
    story.mongodb.edits(Phone="555 0303", at=EARLY)
    assert story.record == {"Name": "Acme", "Phone": "555 0303"}
    assert len(story.conflicts) == 1


def test_a_plugin_may_decide() -> None:
    """A policy is a function of the contest; this one lets the longer number win."""

    def longer(contest: Contest) -> Edit:
        return max(contest.standing, contest.challenger, key=lambda edit: len(str(edit.value)))

    story = in_step(rules(policy=Policy("longer", longer)), Name="Acme", Phone="555 0000")
    story.salesforce.edits(Phone="+1 555 0101", at=EARLY)
    story.mongodb.edits(Phone="555 0202", at=LATE)
    assert story.record == {"Name": "Acme", "Phone": "+1 555 0101"}
    assert story.conflicts[0].policy == "longer"


# Hold.


def held() -> Story:
    """Both edited the Phone and the policy is to wait for somebody's decision; all else is in step."""
    story = both_edit_at_once(rules(policy=HOLD), salesforce_at=EARLY, mongodb_at=LATE)
    story.salesforce.edits(City="Oslo")
    story.come_to_rest()
    assert story.mongodb.parked["Phone"].why is Park.HELD
    return story


def test_hold_tells_the_conflict_without_a_winner() -> None:
    """The conflict is told and the field parked; nobody's value is thrown away."""
    story = both_edit_at_once(rules(policy=HOLD), salesforce_at=EARLY, mongodb_at=LATE)
    assert [c.winner for c in story.conflicts] == [None]
    assert Fact.PARKED in story.facts()
    assert story.mongodb.parked["Phone"].why is Park.HELD


def test_what_is_on_its_way_when_a_conflict_is_held_is_taken_back() -> None:
    """A newer write takes the place of the one that speaks of the Phone: it says what MongoDB has itself."""
    story = both_edit_at_once(rules(policy=HOLD), salesforce_at=EARLY, mongodb_at=LATE)
    assert story.writes["mongodb"].fields == {"Phone": FROM_MONGODB}
    story.come_to_rest()
    assert story.mongodb.holds["Phone"] == FROM_MONGODB


@pytest.mark.parametrize("on_reject", ["keep", "revert"])
def test_a_refusal_of_an_older_write_does_not_end_the_hold(on_reject: str) -> None:
    """It was sent before Salesforce's own edit came: what becomes of it decides nothing. (Seed 9 of the World.)"""
    story = in_step(rules(policy=HOLD, on_reject=on_reject), Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone="555 0101")
    sent = story.writes["salesforce"]
    story.salesforce.edits(Phone="555 0202")
    story.salesforce.refuses(sent, "Phone")
    assert story.salesforce.parked["Phone"].why is Park.HELD
    story.mongodb.edits(Phone="555 0303")
    story.come_to_rest()
    assert story.salesforce.holds["Phone"] == "555 0202"
    assert story.mongodb.holds["Phone"] == story.state.canonical["Phone"] == "555 0303"


@pytest.mark.parametrize("value", [FROM_MONGODB, None])
def test_a_record_that_was_restored_before_its_end_was_told_keeps_what_is_on_hold(value: str | None) -> None:
    """A row had overtaken that end. Nobody has decided anything by it, and nothing new is told. (Seed 10975 of the World under `hold`.)"""
    story = held()
    story.mongodb.edits(Phone=value)
    told = len(story.conflicts)
    story.mongodb.creates(story.mongodb.holds)
    assert story.mongodb.parked["Phone"].keeps == value
    assert len(story.conflicts) == told
    assert "mongodb" not in story.writes


def test_both_sides_keep_their_value_while_the_conflict_is_held() -> None:
    """No later write speaks of the held field, to either side."""
    story = held()
    story.salesforce.edits(City="Bergen")
    assert story.writes["mongodb"].fields == {"City": "Bergen"}
    story.come_to_rest()
    assert story.mongodb.holds["Phone"] == FROM_MONGODB
    assert story.salesforce.holds["Phone"] == FROM_SALESFORCE


def test_a_write_of_ours_that_overtook_the_held_edit_is_taken_back() -> None:
    """It had left for MongoDB before merge heard of the edit there: MongoDB gets its own number back, and keeps it."""
    story = in_step(rules(policy=HOLD), Name="Acme", Phone="555 0000")
    story.salesforce.edits(Phone=FROM_SALESFORCE)
    overtaking = story.writes["mongodb"]
    story.mongodb.edits(Phone=FROM_MONGODB)
    assert story.writes["mongodb"].fields == {"Phone": FROM_MONGODB}, "in place of the one under way"
    story.mongodb.acks(overtaking)
    assert story.mongodb.holds["Phone"] == FROM_SALESFORCE
    assert story.mongodb.parked["Phone"].why is Park.HELD, "what we wrote ourselves is nobody's decision"
    story.come_to_rest()
    assert story.mongodb.holds["Phone"] == FROM_MONGODB
    assert story.mongodb.parked["Phone"].why is Park.HELD
    assert story.salesforce.holds["Phone"] == FROM_SALESFORCE
    assert len(story.conflicts) == 1


def test_a_row_that_shows_our_overtaking_write_ends_no_conflict() -> None:
    """A reading finds Salesforce's number in the document because we put it there."""
    story = in_step(rules(policy=HOLD), Name="Acme", Phone="555 0000")
    story.salesforce.edits(Phone=FROM_SALESFORCE)
    overtaking = story.writes["mongodb"]
    story.mongodb.edits(Phone=FROM_MONGODB)
    for _ in range(2):
        story.mongodb.row(Name="Acme", Phone=FROM_SALESFORCE, marker=overtaking.seq)
    assert story.mongodb.parked["Phone"].why is Park.HELD
    assert story.writes["mongodb"].fields["Phone"] == FROM_MONGODB


def test_what_a_side_makes_of_its_own_value_is_what_it_keeps() -> None:
    """A trigger tidies the number that the org gets back: that comes to rest, and is no further edit."""
    story = in_step(rules(policy=HOLD), Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone=FROM_MONGODB)
    overtaking = story.writes["salesforce"]
    story.salesforce.edits(Phone=FROM_SALESFORCE)
    story.salesforce.acks(overtaking)
    story.salesforce.acks(story.writes["salesforce"], Phone="+1 555 0101")
    story.come_to_rest()
    assert story.salesforce.holds["Phone"] == story.salesforce.parked["Phone"].keeps == "+1 555 0101"
    assert story.mongodb.holds["Phone"] == FROM_MONGODB
    assert len(story.conflicts) == 1


@pytest.mark.parametrize("on_reject", ["keep", "revert"])
def test_a_side_that_does_not_take_back_its_value_is_asked_once(on_reject: str) -> None:
    """A rule of the org has changed meanwhile: the conflict stays on hold, and nothing is written for ever."""
    story = in_step(rules(policy=HOLD, on_reject=on_reject), Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone=FROM_MONGODB)
    overtaking = story.writes["salesforce"]
    story.salesforce.edits(Phone=FROM_SALESFORCE)
    story.salesforce.acks(overtaking)
    story.salesforce.refuses(story.writes["salesforce"], "Phone")
    assert "salesforce" not in story.writes
    assert story.salesforce.parked["Phone"].why is Park.HELD


def test_a_side_that_keeps_ours_in_silence_is_asked_once() -> None:
    """A flow of the org will not have its own number back: it keeps what we wrote, until somebody decides."""
    story = in_step(rules(policy=HOLD), Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone=FROM_MONGODB)
    overtaking = story.writes["salesforce"]
    story.salesforce.edits(Phone=FROM_SALESFORCE)
    story.salesforce.acks(overtaking)
    story.salesforce.acks_without(story.writes["salesforce"], "Phone")
    assert "salesforce" not in story.writes
    assert story.salesforce.parked["Phone"].why is Park.HELD


def test_an_edit_while_it_is_held_is_what_the_side_keeps_then() -> None:
    """MongoDB edits its number once more: told as a conflict too, and still nobody's value is thrown away."""
    story = held()
    story.mongodb.edits(Phone="555 0909")
    story.come_to_rest()
    assert story.mongodb.holds["Phone"] == story.mongodb.parked["Phone"].keeps == "555 0909"
    assert [c.winner for c in story.conflicts] == [None, None]


def test_another_policy_ends_what_was_held_with_the_next_edit() -> None:
    """The operator no longer wants to be asked: from then on the later edit wins, and both sides hold it."""
    story = held()
    story.rules = rules(policy=LAST_WRITER_WINS)
    story.mongodb.edits(Phone="555 0909", at=LATE)
    story.come_to_rest()
    assert story.mongodb.parked == {}
    assert story.salesforce.holds["Phone"] == story.mongodb.holds["Phone"] == "555 0909"


def test_other_fields_go_on_while_one_is_held() -> None:
    """A held Phone does not keep the City back, on either side."""
    story = held()
    story.mongodb.edits(City="Bergen")
    assert story.writes["salesforce"].fields == {"City": "Bergen"}
    story.come_to_rest()
    assert story.record is not None
    assert story.record["City"] == "Bergen"


def test_an_operator_resolves_a_held_conflict() -> None:
    """The operator's value is agreed, and both sides are told."""
    story = held()
    story.edit_of_an_operator(Phone="555 0303")
    assert story.record == {"Name": "Acme", "Phone": "555 0303", "City": "Oslo"}
    assert story.mongodb.parked == {}
    assert story.writes["mongodb"].fields == {"Phone": "555 0303"}
    assert story.writes["salesforce"].fields == {"Phone": "555 0303"}
    story.come_to_rest()
    assert story.salesforce.holds["Phone"] == story.mongodb.holds["Phone"] == "555 0303"


def test_a_side_that_takes_over_the_other_value_ends_the_conflict() -> None:
    """Somebody types Salesforce's number into the document: they agree, and nothing is held any more."""
    story = held()
    story.mongodb.edits(Phone=FROM_SALESFORCE)
    assert story.mongodb.parked == {}
    story.salesforce.edits(Phone="555 0404")
    assert story.writes["mongodb"].fields == {"Phone": "555 0404"}


# An operator.


def test_an_operators_edit_is_owed_to_both_sides() -> None:
    """`EDIT` is causal by definition: it wins over what both sides hold, and is no conflict."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.edit_of_an_operator(Phone="555 0303", City=None)
    assert story.record == {"Name": "Acme", "Phone": "555 0303"}
    assert story.writes["salesforce"].fields == {"Phone": "555 0303"}
    assert story.writes["mongodb"].fields == {"Phone": "555 0303"}
    assert story.conflicts == []


def test_an_operators_edit_overtakes_what_is_on_its_way() -> None:
    """An edit of Salesforce is in flight to MongoDB: the newer command says what the operator said."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.salesforce.edits(Phone=FROM_SALESFORCE)
    story.edit_of_an_operator(Phone="555 0000")
    assert story.writes["mongodb"].fields == {"Phone": "555 0000"}
    assert story.writes["salesforce"].fields == {"Phone": "555 0000"}


def test_an_operator_cannot_edit_what_is_deleted() -> None:
    """A dead record has no fields; the edit must not bring half of it back."""
    story = in_step(Name="Acme")
    story.salesforce.deletes()
    story.come_to_rest()
    story.edit_of_an_operator(Phone="555 0303")
    assert story.record is None
    assert story.writes == {}


def test_an_operator_cannot_set_what_nobody_may_set() -> None:
    """A derived field, one that only an insert may set, one that is not there: no write could ever make it so."""
    story = in_step(Name="Acme", Shout="ACME!", Source="Web")
    story.edit_of_an_operator({"Shout": "x", "Source": "Fair", "Nonsense__c": "y"})
    assert story.record == {"Name": "Acme", "Shout": "ACME!", "Source": "Web"}
    assert story.writes == {}


def test_an_operator_has_no_say_in_a_one_way_object() -> None:
    """Its origin is never written to, so that his value would be on one side alone."""
    story = Story(rules(one_way_to="mongodb"))
    story.salesforce.row(Name="Acme")
    story.edit_of_an_operator(Name="Acme Ltd")
    assert story.record == {"Name": "Acme"}


def test_a_policy_that_fails_holds_the_conflict() -> None:
    """A plugin's mistake: both sides keep their value, the fold goes on, and the conflict tells what was wrong."""

    def broken(contest: Contest) -> Edit:
        raise ZeroDivisionError

    story = both_edit_at_once(rules(policy=Policy("broken", broken)), salesforce_at=EARLY, mongodb_at=LATE)
    story.come_to_rest()
    assert story.mongodb.parked["Phone"].why is Park.HELD
    assert (story.salesforce.holds["Phone"], story.mongodb.holds["Phone"]) == (FROM_SALESFORCE, FROM_MONGODB)
    assert [(c.policy, c.winner, c.fault) for c in story.conflicts] == [
        ("broken", None, "it raised ZeroDivisionError")
    ]
