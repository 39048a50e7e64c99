"""Steps 1 and 2 of the fold: what is old news, and which of our writes a change answers."""

from __future__ import annotations

from salmon.model.change import SALESFORCE_ID, WriteOp
from salmon.model.fold import Fact, Published
from support.at_hand.stories import Story, born_in_mongodb, in_step, rules

# Step 1: old news.


def test_a_repeated_event_does_not_bring_an_overtaken_value_back() -> None:
    """Salesforce's source starts again and tells an edit twice; somebody has built on that edit meanwhile."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.salesforce.edits(Phone="555 0101")
    told_once = story.changes[-1]
    story.mongodb.acks(story.writes["mongodb"])
    story.mongodb.edits(Phone="555 0202")
    story.come_to_rest()
    story.tell(told_once)
    assert story.facts() == [Fact.REPEATED]
    assert story.record == {"Name": "Acme", "Phone": "555 0202"}
    assert story.writes == {}
    assert story.conflicts == []


def test_a_repetition_puts_nothing_out() -> None:
    """The same event told twice in a row gives one write and one published row."""
    story = in_step(Name="Acme")
    first = story.salesforce.edits(Name="Acme Ltd")
    again = story.tell_again()
    assert list(first.writes) == ["mongodb"]
    assert first.published is Published.ROW
    assert again.writes == {}
    assert again.published is Published.UNCHANGED


def test_a_repeated_deletion_does_not_answer_a_later_one_of_ours() -> None:
    """The record was restored and deleted again, and a row shows that our second deletion is still on its way."""
    story = in_step(Name="Acme")
    story.mongodb.deletes()
    story.salesforce.deletes()
    told_once = story.changes[-1]
    story.salesforce.creates(Name="Acme")
    story.mongodb.acks(story.writes["mongodb"])
    story.mongodb.deletes()
    second = story.writes["salesforce"]
    story.salesforce.row(Name="Acme")
    story.tell(told_once)
    assert (second.op, second.seq in story.salesforce.in_flight) == (WriteOp.DELETE, True)


def test_a_deletion_that_a_row_of_the_restored_record_has_overtaken_answers_no_later_one() -> None:
    """Rows showed the record after it was restored, and the first of them called for another deletion."""
    story = in_step(Name="Acme")
    story.mongodb.deletes()
    first = story.writes["salesforce"]
    deleted_at = story.salesforce.moment()
    story.salesforce.now += 9
    story.salesforce.row(Name="Acme")
    second = story.writes["salesforce"]
    story.salesforce.row(Name="Acme")
    story.salesforce.now = deleted_at
    story.salesforce.deletes()
    assert first.seq not in story.state.sides["salesforce"].sent
    assert (second.op, second.seq in story.state.sides["salesforce"].sent) == (WriteOp.DELETE, True)


def test_a_repeated_deletion_does_not_end_the_next_life() -> None:
    """A record is deleted and created anew; the source then repeats the deletion."""
    story = in_step(Name="Acme")
    story.salesforce.deletes()
    deletion = story.changes[-1]
    story.come_to_rest()
    story.salesforce.creates(Name="Acme again")
    story.come_to_rest()
    story.tell(deletion)
    assert story.record == {"Name": "Acme again"}
    assert story.writes == {}


def test_an_event_that_a_row_has_covered_is_not_judged_again() -> None:
    """The row holds every commit up to 50; an event of moment 2 is already in it."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.salesforce.row(as_of=50, Name="Acme", Phone="555 0202")
    story.come_to_rest()
    story.salesforce.edits(Phone="555 0101")
    assert story.facts() == [Fact.REPEATED]
    assert story.record == {"Name": "Acme", "Phone": "555 0202"}


def test_an_event_at_the_very_moment_of_the_row_is_covered_by_it() -> None:
    """`as_of` includes its own moment: every commit up to it is in the row."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.salesforce.row(as_of=2, Name="Acme", Phone="555 0202")
    story.salesforce.now = 1
    story.salesforce.edits(Phone="555 0101")
    assert story.record == {"Name": "Acme", "Phone": "555 0202"}
    story.salesforce.edits(Phone="555 0303")
    assert story.record == {"Name": "Acme", "Phone": "555 0303"}, "and the next moment is not"


def test_a_covered_event_still_settles_the_write_it_answers() -> None:
    """The row shows our value but no marker (somebody emptied that field): the event's ack must count."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone="555 0101")
    write = story.writes["salesforce"]
    story.salesforce.row(as_of=50, Name="Acme", Phone="555 0101")
    assert story.salesforce.in_flight == [write.seq]
    story.salesforce.acks(write)
    assert story.salesforce.in_flight == []
    assert story.writes == {}
    assert story.record == {"Name": "Acme", "Phone": "555 0101"}


def test_an_old_row_only_tells_what_nobody_knew() -> None:
    """A row read before the newest event: its Phone is outdated, its roll-up is the first that anybody tells."""
    story = born_in_mongodb(Name="Acme", Phone="555 0000")
    story.come_to_rest()
    story.salesforce.edits(Phone="555 0101")
    story.come_to_rest()
    story.salesforce.row(as_of=0, Name="Acme", Phone="555 0000", Rollup="7")
    assert story.record == {"Name": "Acme", "Phone": "555 0101", "Rollup": "7"}
    assert story.writes["mongodb"].fields == {"Rollup": "7"}
    assert story.conflicts == []


def test_an_old_row_does_not_take_back_what_an_event_has_told() -> None:
    """A row that is wholly outdated and tells nothing unknown changes nothing at all."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.salesforce.edits(Phone="555 0101")
    story.come_to_rest()
    out = story.salesforce.row(as_of=1, Name="Acme", Phone="555 0000")
    assert out.writes == {}
    assert out.published is Published.UNCHANGED
    assert story.salesforce.holds["Phone"] == "555 0101"


def test_an_old_absence_does_not_end_a_record() -> None:
    """The record was looked for before it was created; the answer comes after the event of its creation."""
    story = in_step(Name="Acme")
    story.salesforce.edits(Name="Acme Ltd")
    story.come_to_rest()
    story.salesforce.absent(as_of=1)
    assert story.record == {"Name": "Acme Ltd"}
    assert story.writes == {}


def test_the_same_row_twice_does_not_undo_what_came_between() -> None:
    """A snapshot is resumed and reads a page again while MongoDB's edit is on its way to Salesforce."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone="555 0101")
    story.salesforce.row(Name="Acme", Phone="555 0000")
    story.tell_again()
    assert story.record == {"Name": "Acme", "Phone": "555 0101"}
    assert story.conflicts == []


# Step 2: acks.


def test_an_exact_echo_is_nobodys_edit() -> None:
    """Our write comes back from MongoDB as it went out: it is acknowledged, and that is all."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.salesforce.edits(Phone="555 0101")
    out = story.mongodb.acks(story.writes["mongodb"])
    assert story.facts() == [Fact.ACKNOWLEDGED]
    assert out.writes == {"mongodb": None}, "a tombstone: nothing is owed any more"
    assert out.published is Published.UNCHANGED
    assert story.mongodb.in_flight == []


def test_an_echo_tells_since_when_the_edit_was_on_its_way() -> None:
    """The lag is measured from the commit of the edit; whoever sees the echo has the clock to subtract from."""
    story = in_step(Name="Acme")
    story.salesforce.edits(Name="Acme Ltd", at=1_000_000)
    write = story.writes["mongodb"]
    assert write.committed_at == 1_000_000
    story.mongodb.edits(write.fields, ack=write.seq, at=1_000_120)
    assert [(r.fact, r.committed_at) for r in story.last.reports] == [(Fact.ACKNOWLEDGED, 1_000_000)]


def test_an_ack_forgets_every_earlier_write() -> None:
    """The sink coalesced two commands into one: the later said all that the earlier had said."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.salesforce.edits(Phone="555 0101")
    story.salesforce.edits(City="Oslo")
    assert len(story.mongodb.in_flight) == 2
    story.mongodb.acks(story.writes["mongodb"])
    assert story.mongodb.in_flight == []
    assert story.writes == {}


def test_an_ack_leaves_later_writes_in_flight() -> None:
    """The first of two writes comes back: the second is still owed, and no tombstone may clear it."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.salesforce.edits(Phone="555 0101")
    first = story.writes["mongodb"]
    story.salesforce.edits(City="Oslo")
    second = story.writes["mongodb"]
    story.mongodb.acks(first)
    assert second.seq in story.mongodb.in_flight
    assert story.writes["mongodb"].fields["City"] == "Oslo"


def test_the_marker_of_a_row_is_an_ack() -> None:
    """The event of our write was lost in a hole; the row that replaces it carries the marker."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone="555 0101")
    story.salesforce.row(marker=story.writes["salesforce"].seq, Name="Acme", Phone="555 0101")
    assert Fact.ACKNOWLEDGED in story.facts()
    assert story.salesforce.in_flight == []
    assert story.writes == {}


def test_a_row_may_show_what_a_write_before_the_one_that_it_carries_has_set() -> None:
    """The next one was refused as a whole, so it took nothing back: the row shows our own value, and no edit."""
    story = in_step(Name="Acme", City="Rome", Phone="555 0000")
    story.mongodb.edits(City="Oslo")
    story.mongodb.edits(City="Rome", Phone="555 x")
    story.salesforce.refuses(story.writes["salesforce"], "Phone")
    story.mongodb.edits(Name="Acme Ltd")
    marker = story.writes["salesforce"].seq
    story.salesforce.row(Name="Acme Ltd", City="Oslo", Phone="555 0000", marker=marker)
    assert story.state.canonical["City"] == "Rome"
    assert story.writes["salesforce"].fields == {"City": "Rome"}


def test_a_row_that_was_edited_after_our_write_is_an_edit() -> None:
    """The row carries our marker and another value: somebody edited it since, having seen what we wrote."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone="555 0101")
    story.salesforce.row(marker=story.writes["salesforce"].seq, Name="Acme", Phone="555 0202")
    assert story.record == {"Name": "Acme", "Phone": "555 0202"}
    assert story.writes["mongodb"].fields == {"Phone": "555 0202"}
    assert story.conflicts == []


def test_a_deletion_answers_our_own_delete() -> None:
    """A deleted record carries no marker: the event is taken for the answer to our delete."""
    story = in_step(Name="Acme")
    story.salesforce.deletes()
    delete = story.writes["mongodb"]
    assert delete.op is WriteOp.DELETE
    story.mongodb.deletes()
    assert story.facts() == [Fact.ACKNOWLEDGED]
    assert story.mongodb.in_flight == []
    assert story.writes == {}
    assert story.record is None


def test_a_deletion_answers_the_newest_delete_in_flight() -> None:
    """Deleted, created anew, deleted again: one deletion comes back, and nothing is left in flight."""
    story = in_step(Name="Acme")
    story.salesforce.deletes()
    story.salesforce.creates(Name="Acme")
    story.salesforce.deletes()
    assert len(story.mongodb.in_flight) == 3
    story.mongodb.deletes()
    assert story.mongodb.in_flight == []
    assert story.writes == {}
    assert story.conflicts == []


def test_a_late_echo_of_salesforce_is_no_news_and_is_mended() -> None:
    """The Salesforce sink died before its commit and wrote an old command again, after a newer one."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone="555 0101")
    first = story.writes["salesforce"]
    story.salesforce.acks(first)
    story.mongodb.edits(Phone="555 0202")
    story.come_to_rest()
    story.salesforce.acks(first)
    assert story.record == {"Name": "Acme", "Phone": "555 0202"}, "nobody edited it back"
    assert story.conflicts == []
    assert story.writes["salesforce"].fields == {"Phone": "555 0202"}, "and Salesforce is put right"


def repeated_where_no_events_come() -> tuple[Story, list[int]]:
    """Two writes were answered by rows that carried these markers."""
    story = in_step(rules(eventless=frozenset({"salesforce"})), Name="Acme", Phone="555 0000")
    markers = []
    for phone in ("555 0101", "555 0202"):
        story.mongodb.edits(Phone=phone)
        markers.append(story.writes["salesforce"].seq)
        story.salesforce.row(Name="Acme", Phone=phone, marker=markers[-1], by_us=True)
    return story, markers


def test_a_row_shows_what_a_repeated_write_has_set_where_no_events_come() -> None:
    """No event will ever say so: nobody wanted it, and it is mended at once."""
    story, (first, _) = repeated_where_no_events_come()
    story.salesforce.row(Name="Acme", Phone="555 0101", marker=first, by_us=True)
    assert story.record == {"Name": "Acme", "Phone": "555 0202"}
    assert story.writes["salesforce"].fields == {"Phone": "555 0202"}


def test_several_writes_may_be_repeated_where_no_events_come() -> None:
    """The second one is newer than the first, and older than what was answered (seed 33889)."""
    story, (first, second) = repeated_where_no_events_come()
    story.mongodb.edits(Phone="555 0303")
    newest = story.writes["salesforce"].seq
    story.salesforce.row(Name="Acme", Phone="555 0303", marker=newest, by_us=True)
    story.salesforce.row(Name="Acme", Phone="555 0101", marker=first, by_us=True)
    story.salesforce.row(Name="Acme", Phone="555 0202", marker=second, by_us=True)
    assert (story.record, story.conflicts) == ({"Name": "Acme", "Phone": "555 0303"}, [])
    assert story.writes["salesforce"].fields == {"Phone": "555 0303"}


def test_several_writes_may_be_repeated_one_after_the_other() -> None:
    """A row shows the second one before its event does: nobody has edited anything, and the event that comes mends it (seed 138510)."""
    story = in_step(Name="Acme", Phone="555 0000")
    told = []
    for phone in ("555 0101", "555 0202"):
        story.mongodb.edits(Phone=phone)
        told.append(story.writes["salesforce"])
        story.salesforce.acks(told[-1])
    first, second = told
    story.mongodb.edits(Phone="555 0303")
    story.come_to_rest()
    story.salesforce.acks(first)
    story.salesforce.row(Name="Acme", Phone="555 0202", marker=second.seq)
    assert story.conflicts == []
    assert story.record == {"Name": "Acme", "Phone": "555 0303"}


def test_a_record_that_is_brought_back_shows_the_marker_of_before() -> None:
    """That is no repeated write: what the row has beside is news."""
    story = in_step(Name="Acme")
    story.mongodb.edits(Name="Globex")
    story.come_to_rest()
    marker = story.state.sides["salesforce"].marker
    story.salesforce.deletes()
    story.salesforce.creates(Name="Globex")
    story.salesforce.row(Name="Globex", Phone="555 0101", marker=marker)
    assert story.record == {"Name": "Globex", "Phone": "555 0101"}


def test_an_edit_after_a_repeated_write_counts_where_no_events_come() -> None:
    """Nobody can tell what the repetition has set from what somebody has seen and edited since: no edit is lost."""
    story, (first, _) = repeated_where_no_events_come()
    story.salesforce.row(Name="Globex", Phone="555 0101", marker=first)
    assert story.record == {"Name": "Globex", "Phone": "555 0101"}


def test_nothing_is_noted_for_late_events_where_no_events_come() -> None:
    """Such notes would be kept for ever."""
    story, _ = repeated_where_no_events_come()
    assert story.state.sides["salesforce"].overwritten == ()


def test_a_late_echo_that_brought_a_dead_record_back_is_deleted_again() -> None:
    """A repeated CREATE reaches Salesforce after the record's deletion: no new life, but a thing to remove."""
    story = born_in_mongodb(Name="Acme")
    creation = story.writes["salesforce"]
    story.come_to_rest()
    story.mongodb.deletes()
    story.come_to_rest()
    story.salesforce.acks(creation)
    assert story.record is None
    assert story.writes["salesforce"].op is WriteOp.DELETE
    assert story.writes["salesforce"].expected == creation.seq


def test_a_copied_marker_in_mongodb_is_no_ack() -> None:
    """An application read the whole document and saved it with another phone: the marker came along."""
    story = in_step(Name="Acme", Phone="555 0000")
    marker = story.state.sides["mongodb"].marker
    story.mongodb.edits(ack=marker, Phone="555 0101")
    assert story.record == {"Name": "Acme", "Phone": "555 0101"}
    assert story.writes["salesforce"].fields == {"Phone": "555 0101"}


def test_a_row_whose_marker_was_settled_long_ago_can_tell_an_edit() -> None:
    """Every row carries the last marker; that must not hide an edit whose event was lost in a hole."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.mongodb.edits(Phone="555 0101")
    marker = story.writes["salesforce"].seq
    story.come_to_rest()
    story.salesforce.row(marker=marker, Name="Acme", Phone="555 0202")
    assert story.record == {"Name": "Acme", "Phone": "555 0202"}
    assert story.writes["mongodb"].fields == {"Phone": "555 0202"}


def test_an_ack_that_merge_does_not_know_is_an_edit() -> None:
    """The state topic was lost: a marker higher than all we know of hides nothing, and new seqs go above it."""
    story = in_step(Name="Acme", Phone="555 0000")
    story.salesforce.edits(ack=9_000, Phone="555 0101")
    assert story.record == {"Name": "Acme", "Phone": "555 0101"}
    assert story.writes["mongodb"].seq == 9_001


def test_nothing_at_all_is_done_for_a_story_without_news() -> None:
    """Quiet: rows of both sides that show what is known put nothing out but the tombstones that were owed."""
    story = in_step(Name="Acme", Phone="555 0000")
    markers = {name: side.marker for name, side in story.state.sides.items()}
    for _ in range(3):
        one = story.salesforce.row(marker=markers["salesforce"] or None, Name="Acme", Phone="555 0000")
        other = story.mongodb.row(
            {SALESFORCE_ID: story.key}, marker=markers["mongodb"], Name="Acme", Phone="555 0000"
        )
        assert (one.writes, other.writes) == ({}, {})
        assert (one.published, other.published) == (Published.UNCHANGED, Published.UNCHANGED)


def test_an_untold_record_owes_nobody_anything() -> None:
    """An absence is the first thing heard of a key: there is nothing to do, and nothing to delete."""
    story = Story()
    out = story.salesforce.absent()
    assert out.writes == {}
    assert out.published is Published.UNCHANGED
    assert story.record is None


def test_a_record_that_we_clear_on_the_way_to_a_write_is_nobodys_edit() -> None:
    """Two records swap a unique value: one is cleared first, with the marker 0, and then has its write (case L8)."""
    for marked in (False, True):
        story = in_step(Name="Acme", Phone="1")
        if marked:
            story.mongodb.edits(Name="Acme Ltd")
            story.come_to_rest()
        story.mongodb.edits(Phone="2")
        write = story.writes["salesforce"]
        out = story.salesforce.edits(Phone=None, ack=0)
        assert out.conflicts == []
        assert story.state.canonical["Phone"] == "2"
        assert story.writes["salesforce"].fields == {"Phone": "2"}
        story.salesforce.acks(write)
        story.come_to_rest()
        assert (story.state.canonical["Phone"], story.salesforce.holds["Phone"]) == ("2", "2")
        assert story.conflicts == []
