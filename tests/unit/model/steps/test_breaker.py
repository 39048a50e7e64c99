"""The oscillation breaker: two automations that undo each other come to rest, and nobody else is stopped."""

from __future__ import annotations

from salmon.merge.states import States
from salmon.model.change import ERROR, MONGODB, SALESFORCE
from salmon.model.fold import Fact
from salmon.model.state import NEVER, Park
from support.at_hand.registries import MemoryRegistry
from support.at_hand.stories import Story, in_step, rules

MINUTE = 60_000  # ms
WINDOW = 10 * MINUTE


def fought_over(*, most: int = 100) -> Story:
    """An application sets Phone its way whenever it is set, and so does a trigger of the org; until they rest."""
    story = in_step(Name="Acme", Phone="555 0101")
    story.timed = True
    story.mongodb.edits(Phone="555-0101")
    return fight(story, most=most)


def fight(story: Story, *, most: int = 100) -> Story:
    """Both automations answer whatever they are given."""
    for _ in range(most):
        if SALESFORCE in story.writes and "Phone" in story.writes[SALESFORCE].fields:
            story.salesforce.acks(story.writes[SALESFORCE], Phone="555 0101")
        elif MONGODB in story.writes and "Phone" in story.writes[MONGODB].fields:
            story.mongodb.acks(story.writes[MONGODB])
            story.mongodb.edits(Phone="555-0101")
        else:
            story.come_to_rest()
            return story
    raise AssertionError("it goes back and forth for ever")


def tripped(story: Story) -> bool:
    return any(parked.why is Park.OSCILLATING for parked in story.salesforce.parked.values())


def trips(story: Story) -> int:
    """How often it was reported, in all."""
    return story.seen[Fact.OSCILLATING]


def test_two_automations_that_undo_each_other_are_parked_and_reported() -> None:
    """Five rounds, and no more; each side keeps what it set last, and the document says why."""
    story = fought_over()
    assert trips(story) == 1
    assert story.salesforce.parked["Phone"] == story.mongodb.parked["Phone"]
    assert {story.salesforce.holds["Phone"], story.mongodb.holds["Phone"]} == {"555 0101", "555-0101"}
    assert str(story.mongodb.holds[ERROR]).startswith("OSCILLATING: Phone")


def test_the_other_fields_of_the_record_go_on() -> None:
    """Only what is fought over is parked."""
    story = fought_over()
    story.salesforce.edits(City="Oslo")
    assert story.writes[MONGODB].fields == {"City": "Oslo"}


def test_a_trigger_that_makes_a_new_value_each_time_is_stopped_too() -> None:
    """Values need not return: that each side answers the other's is enough."""
    story = in_step(Name="Acme", Phone="0")
    story.timed = True
    story.mongodb.edits(Phone="1")
    for number in range(2, 200):
        if "Phone" in getattr(story.writes.get(SALESFORCE), "fields", {}):
            story.salesforce.acks(story.writes[SALESFORCE], Phone=str(number))
        elif "Phone" in getattr(story.writes.get(MONGODB), "fields", {}):
            story.mongodb.acks(story.writes[MONGODB])
            story.mongodb.edits(Phone=str(number))
    assert trips(story) == 1
    assert tripped(story)


def test_a_field_that_the_org_keeps_in_silence_is_stopped_too() -> None:
    """A flow puts the old value back in our own transaction, so that the echo does not even mention the field."""
    story = in_step(Name="Acme", Phone="555 0101")
    story.timed = True
    for _ in range(20):
        story.mongodb.edits(Phone="555-0101")
        if (write := story.writes.get(SALESFORCE)) is None:
            break
        story.salesforce.acks_without(write, "Phone")
        if MONGODB in story.writes and "Phone" in story.writes[MONGODB].fields:
            story.mongodb.acks(story.writes[MONGODB])
    assert tripped(story)


def test_an_application_that_computes_a_read_only_field_is_stopped_too() -> None:
    """It is overruled, told so by our write, and computes again: nothing ever becomes the agreed value."""
    story = in_step(Name="Acme", Shout="ACME!")
    story.timed = True
    for _ in range(20):
        story.mongodb.edits(Shout="Acme!")
        if MONGODB not in story.writes or "Shout" not in story.writes[MONGODB].fields:
            break
        story.mongodb.acks(story.writes[MONGODB])
    assert trips(story) == 1
    assert story.record is not None
    assert story.record["Shout"] == "ACME!"


def test_somebody_who_edits_often_on_one_side_is_nobodys_opponent() -> None:
    """A hundred edits in a few minutes, all from MongoDB."""
    story = in_step(Name="Acme", Phone="0")
    story.timed = True
    for number in range(100):
        story.mongodb.edits(Phone=str(number + 1))
        story.come_to_rest()
    assert trips(story) == 0
    assert story.salesforce.holds["Phone"] == "100"


def test_two_people_who_take_turns_slowly_are_left_alone() -> None:
    """Every three minutes somebody changes what the other had set: that is work, not an oscillation."""
    story = in_step(Name="Acme", Phone="0")
    story.timed = True
    for number in range(40):
        (story.mongodb if number % 2 else story.salesforce).edits(Phone=str(number + 1))
        story.come_to_rest()
        story.clock_ms += 3 * MINUTE
    assert trips(story) == 0
    assert story.salesforce.holds["Phone"] == story.mongodb.holds["Phone"] == "40"


def test_edits_while_it_is_parked_are_agreed_on_and_sent_to_nobody() -> None:
    """Nothing is lost: `records` tells the newest, and the other side waits."""
    story = fought_over()
    story.salesforce.edits(Phone="555 0199")
    assert story.record is not None
    assert story.record["Phone"] == "555 0199"
    assert "Phone" not in getattr(story.writes.get(MONGODB), "fields", {})
    assert tripped(story)


def test_an_edit_after_a_quiet_window_is_sent_again() -> None:
    """Somebody has mended the automations: an edit frees the field on both sides, and the document is told."""
    story = fought_over()
    story.clock_ms += WINDOW
    story.salesforce.edits(Phone="555 0199")
    story.come_to_rest()
    assert story.mongodb.holds["Phone"] == "555 0199"
    assert ERROR not in story.mongodb.holds
    assert not tripped(story)


def test_after_that_one_more_turn_is_one_too_many() -> None:
    """Nobody has mended them: each edit costs one round, and is told each time."""
    story = fought_over()
    for times in (2, 3, 4):
        story.clock_ms += WINDOW + MINUTE
        told = len(story.changes)
        story.salesforce.edits(Phone=f"555 010{times}")
        fight(story)
        assert trips(story) == times
        assert len(story.changes) - told < 10


def test_once_it_has_stayed_free_everybody_has_five_rounds_again() -> None:
    """Probation ends with a window without turns."""
    story = fought_over()
    for number in range(4):
        story.clock_ms += WINDOW + MINUTE
        (story.mongodb if number % 2 else story.salesforce).edits(Phone=str(number))
        story.come_to_rest()
    story.mongodb.edits(Phone="by somebody")
    story.come_to_rest()
    story.salesforce.edits(Phone="by somebody else")
    story.come_to_rest()
    assert trips(story) == 1
    assert story.mongodb.holds["Phone"] == "by somebody else"


def test_an_operators_edit_frees_it_at_once() -> None:
    """The operator's value goes to both sides."""
    story = fought_over()
    story.edit_of_an_operator(Phone="555 0000")
    assert not tripped(story)
    story.come_to_rest()
    assert story.salesforce.holds["Phone"] == story.mongodb.holds["Phone"] == "555 0000"


def test_sides_that_hold_the_same_have_nothing_parked() -> None:
    """The one takes over the other's value by itself."""
    story = fought_over()
    story.mongodb.edits(Phone=story.salesforce.holds["Phone"])
    story.salesforce.edits(Phone=story.mongodb.holds["Phone"])
    assert story.salesforce.parked == story.mongodb.parked == {}


def test_nothing_is_remembered_of_a_life_that_is_over() -> None:
    """The record is deleted while the field is parked."""
    story = fought_over()
    story.salesforce.deletes()
    assert story.state.turns == {}
    assert story.state.lives is False


def test_rounds_and_window_are_the_objects_own() -> None:
    """One round is enough where the configuration says so."""
    story = in_step(rules(breaker_rounds=1), Name="Acme", Phone="555 0101")
    story.timed = True
    story.mongodb.edits(Phone="555-0101")
    story.salesforce.acks(story.writes[SALESFORCE], Phone="555 0101")
    story.mongodb.acks(story.writes[MONGODB])
    assert not tripped(story)
    story.mongodb.edits(Phone="555-0101")
    assert tripped(story)


def test_the_topic_keeps_what_is_remembered() -> None:
    """A merge that starts anew knows of every turn, and of what is parked."""
    codec = States(rules(), MemoryRegistry(), "t.state.Account")
    story = in_step(Name="Acme", Phone="0")
    story.timed = True
    story.mongodb.edits(Phone="1")
    story.come_to_rest()
    story.salesforce.edits(Phone="2")
    assert len(story.state.turns["Phone"].times) == 1
    assert codec.decode(codec.encode(story.state)) == story.state
    story = fought_over()
    assert story.state.turns["Phone"].tripped
    assert codec.decode(codec.encode(story.state)) == story.state


def test_a_turn_is_forgotten_with_the_next_change_after_its_window() -> None:
    """So that a record which both sides edit now and then costs no memory."""
    story = in_step(Name="Acme", Phone="0")
    story.timed = True
    story.mongodb.edits(Phone="1")
    story.come_to_rest()
    story.salesforce.edits(Phone="2")
    assert story.state.turns
    story.clock_ms += WINDOW
    story.come_to_rest()
    assert story.state.turns == {}
    assert story.state.versions.get("City", NEVER) is NEVER
