"""A record's story, out of what the topics have of it."""

from __future__ import annotations

from dataclasses import replace

from salmon.model.change import CUT
from salmon.model.policies import HOLD
from salmon.story.evidence import At, Letter, replayed
from salmon.story.reporting import entries_of
from support.at_hand.stories import Story, in_step, rules
from support.at_hand.told import BEGAN_MS, STEP_MS, evidence_of, told_of


def edited() -> Story:
    """MongoDB edits the Phone of a record in step, and Salesforce's echo comes back."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone="555 0101", at=BEGAN_MS)
    story.salesforce.acks(story.writes["salesforce"])
    return story


def test_an_edit_is_followed_by_its_write_and_its_echo_with_the_lag() -> None:
    """The write is told by folding again, though its topic has long forgotten it."""
    story = edited()
    edit, write, echo = told_of(story)[-3:]
    assert (edit.kind, edit.who, edit.fields) == ("edit", "mongodb", {"Phone": "555 0101"})
    assert "MongoDB edited it: Phone = '555 0101'" in edit.says
    assert (write.kind, write.who, write.seq) == ("write", "merge", edit.seq)
    assert write.says == f"write {write.seq} to Salesforce: UPDATE Phone = '555 0101'"
    assert (echo.kind, echo.who, echo.seq) == ("echo", "salesforce", write.seq)
    arrived = BEGAN_MS + (len(story.changes) - 1) * STEP_MS
    assert echo.lag_ms == arrived - BEGAN_MS
    assert "after the edit" in echo.says


def test_the_same_log_leads_to_the_state_that_merge_has() -> None:
    """So that the replay tells exactly what merge made of each change; one that is not merged yet is left out."""
    story = edited()
    before = story.state
    story.mongodb.edits(City="Oslo")
    replay = replayed(evidence_of(story, state=before), story.rules)
    assert replay.exact
    assert len(replay.folded) == len(story.changes) - 1


def test_without_the_beginning_it_is_told_from_what_is_left() -> None:
    """Changes are kept for some days, and of the writes the newest: an echo still says which write it answers."""
    story = edited()
    story.mongodb.edits(City="Oslo")
    left = evidence_of(story)
    cut = replace(left, changes=left.changes[-2:], cut=True)
    assert not replayed(cut, story.rules).exact
    entries = told_of(story, changes=cut.changes, cut=True)
    assert [entry.kind for entry in entries] == ["echo", "edit", "write"]
    assert entries[0].says.startswith("Salesforce answers write ")
    assert entries[2].fields == {"City": "Oslo"}


def test_a_change_that_merge_has_set_aside_ends_the_replay_and_not_the_story() -> None:
    """A row without the time that it is of breaks a rule of the log."""
    story = edited()
    evidence = evidence_of(story)
    broken = replace(story.changes[0], as_of=None)
    changes = [*evidence.changes, At(evidence.changes[-1].offset + 1, BEGAN_MS, broken)]
    assert replayed(replace(evidence, changes=changes), story.rules).exact
    assert told_of(story, changes=changes)[-1].kind == "row"


def test_a_conflict_tells_both_values_and_who_won() -> None:
    """Beside the edit that met it."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.salesforce.edits(Phone="555 0101", at=1_000)
    story.mongodb.edits(Phone="555 0202", at=2_000)
    conflict = At(0, BEGAN_MS + 9 * STEP_MS, (story.conflicts[0], story.state.seq))
    (told,) = [entry for entry in told_of(story, conflicts=[conflict]) if entry.kind == "conflict"]
    assert told.says == (
        "conflict on Phone: Salesforce '555 0101', MongoDB '555 0202'; MongoDB won (last_writer_wins)"
    )
    assert told.seq == story.state.seq


def test_a_conflict_on_hold_and_a_person_s_decision_are_told() -> None:
    """Who decided, what and why."""
    story = in_step(rules(policy=HOLD), Name="Acme", Phone="555 0000")
    story.salesforce.edits(Phone="555 0101")
    story.mongodb.edits(Phone="555 0202")
    assert any("Phone: set aside" in entry.says for entry in told_of(story))
    story.edit_of_an_operator(Phone="555 0303")
    story.changes[-1] = replace(
        story.changes[-1], source={"by": "ada", "reason": "asked them", "settles": "0/7"}
    )
    (told,) = [entry for entry in told_of(story) if entry.kind == "operator"]
    assert told.says == "ada decided: Phone = '555 0303', settling conflict 0/7, because: asked them"
    assert told.told_by == {"by": "ada", "settles": "0/7"}


def test_a_refusal_tells_the_code_the_reason_and_the_fields() -> None:
    """What an admin needs to know, in one line."""
    story = in_step(Name="Acme", City="Oslo")
    story.mongodb.edits(City="nowhere")
    write = story.writes["salesforce"]
    story.salesforce.refuses(write, "City", code="INVALID", reason="no such city")
    (told,) = [entry for entry in told_of(story) if entry.kind == "outcome"]
    assert told.says.startswith(f"Salesforce refused write {write.seq} for City: INVALID (no such city)")
    assert told.seq == write.seq


def test_a_write_that_waits_for_a_parent_is_told_as_one_that_continues_by_itself() -> None:
    """One sentence in good grammar, and nobody is asked to decide."""
    story = in_step(Name="Acme")
    story.mongodb.edits(ParentId="0015g00000Par11AAA")
    write = story.writes["salesforce"]
    story.salesforce.defers(write, "ParentId", reason="the record that it refers to does not exist there yet")
    (told,) = [entry for entry in told_of(story) if entry.kind == "outcome"]
    assert told.says == (
        f"Salesforce cannot take write {write.seq} yet for ParentId: the record that it refers to does not exist there yet "
        f"(ParentId: waits; it continues by itself)"
    )


def test_a_dead_letter_tells_who_set_it_aside_and_where_it_came_from() -> None:
    """It is found by the record's key."""
    letter = Letter(
        "salesforce-sink", "RequestRejected", "refused write 7", "crm.writes.salesforce.Account/0/9"
    )
    (told,) = [
        entry for entry in told_of(edited(), letters=[At(0, BEGAN_MS, letter)]) if entry.kind == "dead letter"
    ]
    assert (told.who, told.says) == ("salesforce-sink", "set aside: refused write 7")
    assert told.told_by == {"error": "RequestRejected", "from": "crm.writes.salesforce.Account/0/9"}


def test_an_edit_tells_its_user_and_repeated_news_is_told_as_such() -> None:
    """What else the side told of an edit goes with it."""
    story = in_step(Name="Acme")
    story.salesforce.edits(Name="Acme Ltd")
    story.changes[-1] = replace(story.changes[-1], source={"user": "005A", "change_origin": "com/acme"})
    story.tell_again()
    *_, edit, write, again = told_of(story)
    assert edit.says.startswith("Salesforce edited it (user 005A): Name = 'Acme Ltd'")
    assert edit.told_by["change_origin"] == "com/acme"
    assert write.kind == "write"
    assert "received before: nothing new" in again.says


def test_entries_follow_the_log_where_the_writers_clocks_differ() -> None:
    """The sink's machine is an hour behind: its outcome stays behind the write that it is of."""
    story = edited()
    evidence = evidence_of(story)
    skewed = [*evidence.changes[:-1], replace(evidence.changes[-1], at_ms=BEGAN_MS - 3_600_000)]
    assert [entry.kind for entry in told_of(story, changes=skewed)][-2:] == ["write", "echo"]


def test_a_time_of_day_that_was_left_out_is_told_with_the_edit() -> None:
    """The document holds more than both sides agree on (case V9)."""
    story = in_step(Name="Acme", City="Oslo")
    story.mongodb.edits(City="Bergen")
    story.changes[-1] = replace(story.changes[-1], source={CUT: "City"})
    assert "City: only the date is synced, without the time of day" in told_of(story)[-2].says


def test_a_refusal_is_told_with_the_sides_own_words() -> None:
    """An admin of the org wrote them for the person who reads this."""
    story = in_step(Phone="555 0000")
    story.mongodb.edits(Phone="555 0101", at=BEGAN_MS)
    story.salesforce.refuses(story.writes["salesforce"], "Phone")
    *before, last = evidence_of(story).changes
    said = replace(last.what, source={**last.what.source, "said": "A phone needs its country."})
    told = told_of(story, changes=[*before, replace(last, what=said)])
    (outcome,) = [entry for entry in told if entry.kind == "outcome"]
    assert "INVALID. Its own words: A phone needs its country. (" in outcome.says


def test_what_a_restored_side_shows_is_said_to_be_older() -> None:
    """It is nobody's edit: the agreed value goes back, and both are in the record's story (case L1)."""
    story = edited()
    story.come_to_rest()
    story.mongodb.goes_back()
    story.mongodb.row(Name="Acme", Phone="555 0000")
    row, write = told_of(story)[-2:]
    assert row.says.startswith("MongoDB was read")
    assert "because this side was restored to an earlier time: it gets the agreed value again" in row.says
    assert write.says.startswith("write 105 to MongoDB: UPDATE")
    assert write.says.endswith("Phone = '555 0101'")


def test_where_fields_are_masked_the_sides_own_words_are_not_shown() -> None:
    """They may quote such a value."""
    story = in_step(Phone="555 0000")
    story.mongodb.edits(Phone="555 0101", at=BEGAN_MS)
    story.salesforce.refuses(story.writes["salesforce"], "Phone")
    evidence = evidence_of(story)
    *before, last = evidence.changes
    said = replace(last.what, source={**last.what.source, "said": "555 0101 is no phone."})
    letter = At(
        0, last.at_ms, Letter("salesforce-sink", "Bad", "refused. Its own words: 555 0101 is no phone.")
    )
    evidence = replace(evidence, changes=[*before, replace(last, what=said)], letters=[letter])
    told = entries_of(evidence, story.rules, replayed(evidence, story.rules), hidden={"Phone"})
    assert "555 0101" not in " ".join(entry.says for entry in told)
    assert sum("Its own words: (masked)" in entry.says for entry in told) == 2
