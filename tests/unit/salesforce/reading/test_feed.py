"""In which order the source tells events and rows, and what it stores meanwhile."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from salmon.errors import RequestRejected, SetupError, Unavailable
from salmon.model.change import Op
from salmon.plugin.contract import Signal, SignalKind
from salmon.salesforce.reading import feed
from salmon.salesforce.reading.stream.subscription import Ended, Preset, Received
from salmon.salesforce.reading.whole import rows
from salmon.salesforce.reading.whole.run import Why
from support.orgs.salesforce import OUR_USER, MemoryOrg, event, payload
from support.orgs.salesforce_feed import NOW, A, B, C, D, Rig, org_of, read_all

CONTACT = "003000000000001AAA"
E, F = (f"00100000000000{number}AAA" for number in (5, 6))

# The first start.


def test_nothing_is_read_before_the_streams_position_is_known() -> None:
    """A row that was read first would miss what was committed before the stream begins."""
    rig = Rig(org_of(A))
    rig.gather()
    assert rig.stream.start is Preset.LATEST
    assert rig.snapshots.begun == []
    assert rig.stored == {}
    rig.keepalive()
    rig.gather()
    assert rig.place == 1
    assert [run.object for run in rig.snapshots.begun] == ["Account", "Contact"]


def test_identities_are_loaded_between_the_position_and_the_first_row() -> None:
    """A record born elsewhere is told under its own key from the first row on, and its identity before it."""
    org = org_of(A)
    org.put("Account", B, Name="Born elsewhere", Salmon_Id__c="$oid:65f0")
    rig = Rig(org)
    rig.gather()
    assert rig.identity_loads == 0
    rig.keepalive()
    first = rig.gather()
    assert [(one.native_id, one.key) for one in first.identities] == [(B, "$oid:65f0")]
    read_all(rig)
    assert rig.ops() == [(A, Op.ROW), ("$oid:65f0", Op.ROW)]


def quiet(org: MemoryOrg) -> Rig:
    """A source whose stream has told nothing for a while: the rows that it has reported are of no position."""
    rig = Rig(org)
    rig.gather()
    rig.pass_s(6)
    rig.gather()
    rig.pass_s(2)
    org.look_at_clock()
    read_all(rig)
    return rig


def test_where_nobody_works_records_are_read_before_the_stream_has_a_position() -> None:
    """The first response may be minutes away. Nothing is delivered that was published before, however long it takes."""
    rig = quiet(org_of(A))
    assert rig.ops() == [(A, Op.ROW)]
    assert [stream.start for stream in rig.streams] == [Preset.LATEST]
    assert rig.stored["stream"]["replay_id"] == ""


@pytest.mark.parametrize("restarts", [False, True])
def test_what_was_read_before_the_streams_position_came_is_read_again(restarts: bool) -> None:
    """An edit and a deletion whose events came before the stream was set up are found, also over a restart."""
    org = org_of(A, B)
    rig = quiet(org)
    assert sorted(rig.ops()) == [(A, Op.ROW), (B, Op.ROW)]
    org.put("Account", A, Name="edited", LastModifiedDate="2001-09-09T01:46:48.000+0000")
    org.remove("Account", B, "2001-09-09T01:46:49Z")
    if restarts:
        rig = rig.restarted()
        rig.gather()
        assert rig.stream.start is Preset.LATEST
    rig.keepalive()
    rig.gather()
    assert rig.place == rig.number
    assert [run.why for run in rig.snapshots.running.values()] == [Why.HOLE, Why.HOLE]
    rig.pass_s(3)
    org.look_at_clock()
    read_all(rig)
    assert rig.ops() == [(A, Op.ROW), (B, Op.ABSENT)]
    again = rig.restarted()
    again.gather()
    assert again.snapshots.begun == [], "and only once"


def test_the_first_event_after_rows_without_a_position_waits_for_its_records_row() -> None:
    """What came before it may have been lost."""
    org = org_of(A)
    rig = quiet(org)
    rig.ops()
    rig.hear(payload("UPDATE", A, at=org.now_ms, Phone="of today"))
    rig.gather()
    assert rig.ops() == []
    rig.pass_s(3)
    rig.gather()
    assert rig.ops() == [(A, Op.ROW), (A, Op.UPDATE)]
    assert rig.place == 1


def test_a_response_that_comes_while_rows_are_taken_is_the_first_one_all_the_same() -> None:
    """It is not taken for a later one between two looks at the stream."""
    org = org_of(A)
    rig = Rig(org)
    rig.pass_s(6)
    looks = iter(range(4))
    peek = rig.stream.peek

    def late() -> Received | Ended | None:
        if next(looks, None) == 2:
            rig.keepalive()
        return peek()

    rig.stream.peek = late  # type: ignore[method-assign]
    rig.gather()
    rig.gather()
    assert rig.place == 1
    assert [run.why for run in rig.snapshots.running.values()] == [Why.HOLE, Why.HOLE]


def test_a_quiet_stream_that_ends_for_good_says_why() -> None:
    """A person has to mend it."""
    rig = quiet(org_of(A))
    rig.stream.items.append(Ended(SetupError("not selected")))
    with pytest.raises(SetupError, match="not selected"):
        rig.gather()


def test_the_first_event_is_a_place_though_the_rest_of_it_may_be_still_to_come() -> None:
    """A custom channel may split any event. The rows are read after its commit, so they hold all of it (issue D)."""
    org = org_of(A, B)
    rig = Rig(org)
    first = event(7, payload("UPDATE", A, at=NOW - 2000, Phone="one of two"))
    rig.stream.items.append(Received([first], b"", whole=b""))
    rig.gather()
    assert rig.place == 7
    rig.pass_s(2)
    org.look_at_clock()
    read_all(rig)
    assert sorted(rig.ops()) == [(A, Op.ROW), (B, Op.ROW)]
    again = rig.restarted()
    again.gather()
    assert again.stream.start == (7).to_bytes(8, "big")
    assert again.snapshots.begun == []


def test_a_first_response_that_tells_nothing_is_no_position() -> None:
    """Without an event and without a position it is as if nothing had come."""
    rig = Rig(org_of(A))
    rig.stream.items.append(Received((), b""))
    rig.gather()
    assert rig.stored == {}
    rig.keepalive()
    rig.gather()
    assert rig.place == 1


def test_a_position_that_is_missing_is_a_hole_where_rows_were_told_before() -> None:
    """The entry of the stream is gone, that of the object is not: deletions are looked for too (case L2)."""
    org = org_of(A, B)
    rig = started(org)
    rig.pass_s(2)
    org.look_at_clock()
    read_all(rig)
    org.remove("Account", B, "2001-09-09T01:46:50Z")
    del rig.stored["stream"]
    again = rig.restarted()
    again.keepalive()
    again.gather()
    again.pass_s(20)
    org.look_at_clock()
    read_all(again)
    assert again.ops() == [(A, Op.ROW), (B, Op.ABSENT)]


# Rows and events.


def started(org: MemoryOrg) -> Rig:
    rig = Rig(org)
    rig.keepalive()
    rig.gather()
    return rig


def test_an_event_within_its_chunks_read_is_answered_by_a_row() -> None:
    """Nobody knows whether the row holds it; so the record is read again when the clock has passed the event."""
    org = org_of(A)
    rig = started(org)
    read_all(rig)
    rig.ops()
    org.put("Account", A, Name="Acme", Phone="1", Salmon_Seq__c=7.0)
    rig.hear(payload("UPDATE", A, at=NOW, commit=2, Phone="1"))
    place = rig.place
    rig.gather()
    assert rig.ops() == [], "the clock has not passed the event yet"
    assert rig.place == place, "and the position is not past it"
    rig.pass_s(1.5)
    rig.gather()
    row, told = rig.told
    assert told.change.op is Op.UPDATE, (
        "the event follows, for an edit that a write of ours may have overwritten"
    )
    assert (row.change.op, row.change.fields["Phone"], row.change.ack) == (Op.ROW, "1", 7)
    assert row.change.as_of is not None
    assert row.change.as_of >= NOW
    rig.gather()
    assert rig.place == place + 1


def test_an_event_that_waits_holds_up_its_own_key_alone() -> None:
    """Later events of the key follow its row; those of others go on."""
    org = org_of(A)
    rig = started(org)
    read_all(rig)
    rig.ops()
    rig.hear(
        payload("UPDATE", A, at=NOW, commit=2, Phone="1"),
        payload("CREATE", C, at=NOW + 9000, commit=3, Name="C"),
        payload("UPDATE", A, at=NOW + 9000, commit=4, Phone="2"),
    )
    rig.gather()
    assert rig.ops() == [(C, Op.CREATE)]
    rig.pass_s(1.5)
    rig.gather()
    assert rig.ops() == [(A, Op.ROW), (A, Op.UPDATE), (A, Op.UPDATE)]


def test_an_event_within_the_second_read_waits_once_more() -> None:
    """The row that answered the first event has a window of its own."""
    org = org_of(A)
    rig = started(org)
    read_all(rig)
    rig.ops()
    rig.hear(payload("UPDATE", A, at=NOW, commit=2, Phone="1"))
    rig.gather()
    rig.pass_s(1.5)
    rig.gather()
    assert rig.ops() == [(A, Op.ROW), (A, Op.UPDATE)]
    rig.hear(payload("UPDATE", A, at=NOW + 1000, commit=3, Phone="2"))
    rig.gather()
    assert rig.ops() == []
    rig.pass_s(1.5)
    rig.gather()
    assert rig.ops() == [(A, Op.ROW), (A, Op.UPDATE)]


def test_windows_survive_a_restart() -> None:
    """What was unsure before a kill is unsure after it."""
    org = org_of(A)
    rig = started(org)
    read_all(rig)
    again = rig.restarted()
    again.hear(payload("UPDATE", A, at=NOW, commit=2, Phone="1"))
    again.gather()
    assert again.ops() == []
    again.pass_s(1.5)
    again.gather()
    assert again.ops() == [(A, Op.ROW), (A, Op.UPDATE)]


def test_a_snapshot_goes_on_where_it_stopped() -> None:
    """A kill in the middle costs no row twice, and none is missed."""
    rig = started(org_of(A, B, C, D))
    rig.snapshots.read_chunk()
    rig.gather()
    assert rig.ops() == [(A, Op.ROW), (B, Op.ROW)]
    again = rig.restarted()
    again.gather()
    read_all(again)
    assert again.ops() == [(C, Op.ROW), (D, Op.ROW)]
    assert all(one.done for one in again.feed.progress())
    assert [run.object for run in again.restarted().snapshots.begun] == [], "and it is done for good"


def test_the_rest_of_a_snapshot_is_estimated_by_its_pace() -> None:
    """Two of six records in ten seconds: the others take twenty. After a restart, the time that nobody was there does not count."""

    def read_two_in(rig: Rig, seconds: float) -> float | None:
        rig.pass_s(seconds)
        rig.snapshots.read_chunk()
        chunk = rig.snapshots.ready.pop()
        rig.snapshots.ready.append(replace(chunk, run=replace(chunk.run, total=6)))
        rig.gather()
        return left(rig)

    def left(rig: Rig) -> float | None:
        return next(one.left_s for one in rig.feed.progress() if one.object == "Account")

    rig = started(org_of(A, B, C, D, E, F))
    assert left(rig) is None, "nothing is known of its pace"
    assert read_two_in(rig, 10) == pytest.approx(20)
    rig.pass_s(3600)
    again = rig.restarted()
    again.gather()
    assert left(again) is None
    assert read_two_in(again, 3) == pytest.approx(3)
    assert read_two_in(again, 3) == 0


def test_a_chunk_whose_records_were_deleted_while_it_was_read_is_no_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where a record's fields are retrieved by Id, the query shows Ids whose records are gone a moment later."""
    monkeypatch.setattr(rows, "URI_BYTES", 2000)
    org = org_of(A, B, C, D)
    org.gone_before_retrieved = {A, B}
    rig = started(org)
    rig.snapshots.read_chunk()
    rig.gather()
    assert rig.ops() == []
    again = rig.restarted()
    again.gather()
    read_all(again)
    assert again.ops() == [(C, Op.ROW), (D, Op.ROW)]
    assert all(one.done for one in again.feed.progress())


def test_events_of_records_that_are_not_read_yet_are_told_at_once() -> None:
    """Their rows come later and say the rest."""
    rig = started(org_of(A, B, C, D))
    rig.pass_s(3)
    rig.hear(payload("UPDATE", D, at=NOW + 3000, Phone="1"))
    rig.gather()
    assert rig.ops() == [(D, Op.UPDATE)]


def test_the_position_moves_on_keepalives_alone() -> None:
    """Else it would stand still until it fell out of the retention, where only a rare object is synced."""
    rig = Rig.streaming()
    rig.keepalive()
    rig.keepalive()
    rig.gather()
    assert rig.place == 2


def test_the_position_is_stored_between_responses_only() -> None:
    """Several events may share one replay id; it is not past the last of them within a response."""
    rig = Rig.streaming()
    rig.hear(payload("CREATE", A, at=NOW, Name="A"), payload("CREATE", B, at=NOW, Name="B"))
    rig.gather()
    assert rig.place == 2
    assert rig.ops() == [(A, Op.CREATE), (B, Op.CREATE)]


def test_a_new_record_that_carries_a_key_goes_under_it() -> None:
    """Its identity goes along in the same batch, and later events are told under the key."""
    rig = Rig.streaming()
    rig.hear(payload("CREATE", A, at=NOW, user=OUR_USER, Name="A", Salmon_Id__c="$oid:1", Salmon_Seq__c=3.0))
    harvest = rig.gather()
    assert [(one.native_id, one.key) for one in harvest.identities] == [(A, "$oid:1")]
    rig.hear(payload("UPDATE", A, at=NOW, commit=2, Phone="1"))
    rig.gather()
    assert rig.ops() == [("$oid:1", Op.CREATE), ("$oid:1", Op.UPDATE)]


def test_an_org_that_cannot_be_asked_loses_nothing() -> None:
    """The call raises, the event stays, and the next call answers it."""
    org = org_of(A)
    rig = Rig.streaming(org)
    rig.hear(payload("GAP_UPDATE", A, at=NOW))
    rig.gather()
    rig.pass_s(2)
    org.fails_with = Unavailable("down")
    with pytest.raises(Unavailable):
        rig.gather()
    org.fails_with = None
    rig.gather()
    assert rig.ops() == [(A, Op.ROW)]


def test_what_was_taken_in_before_the_org_went_away_is_told_all_the_same() -> None:
    """A key that was learnt, and a request that asks for nothing, are told once, then the outage; children wait for the key."""
    org = org_of(A, B)
    rig = Rig.streaming(org)
    rig.hear(payload("GAP_UPDATE", A, at=NOW))
    rig.gather()
    rig.pass_s(2)
    org.fails_with = Unavailable("down")
    rig.identity.learn("Account", B, "$oid:b")
    rig.feed.request(read_signal(7))
    harvest = rig.gather()
    assert ([one.key for one in harvest.identities], harvest.answered) == (["$oid:b"], {7})
    with pytest.raises(Unavailable):
        rig.gather()
    org.fails_with = None
    rig.gather()
    assert rig.ops() == [(A, Op.ROW)]
    assert rig.identities == [("Account", B, "$oid:b")], "and never twice"


def test_events_before_one_whose_schema_cannot_be_asked_for_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream goes on at the very response that could not be read."""
    rig = Rig.streaming(org_of(A))
    rig.hear(payload("UPDATE", A, at=NOW, Phone="1"))
    rig.hear(payload("CREATE", "003000000000001AAA", name="Contact", at=NOW, commit=2, LastName="C"))
    schema_of = rig.feed._intake._schema_of

    def down(schema_id: str) -> Any:
        if schema_id == "Contact":
            raise Unavailable("down")
        return schema_of(schema_id)

    monkeypatch.setattr(rig.feed._intake, "_schema_of", down)
    rig.gather()
    assert rig.ops() == [(A, Op.UPDATE)]
    with pytest.raises(Unavailable):
        rig.gather()
    monkeypatch.setattr(rig.feed._intake, "_schema_of", schema_of)
    rig.gather()
    assert rig.ops() == [("003000000000001AAA", Op.CREATE)]


def test_a_record_that_is_undeleted_is_told_and_then_read_for_what_its_event_lacks() -> None:
    """Its event comes at once; its row holds the fields that no event reports, and comes though the source was killed before."""
    org = org_of(A)
    rig = Rig.streaming(org)
    rig.hear(payload("UNDELETE", A, at=NOW, Name="Acme"))
    rig.gather()
    assert rig.ops() == [(A, Op.CREATE)]
    killed = rig.restarted()
    for each in (rig, killed):
        if each is killed:
            each.stream.items.extend([Received([event(1, payload("UNDELETE", A, at=NOW, Name="Acme"))], b"")])
            each.gather()
            assert each.ops() == [(A, Op.CREATE)], "it comes once more, as it may"
        each.pass_s(3)
        org.look_at_clock()
        each.gather()
        assert each.ops() == [(A, Op.ROW)]


def test_a_gap_of_a_deleted_record_is_answered_by_its_absence() -> None:
    """With the time of the deletion, as long as the recycle bin knows it."""
    org = org_of(A)
    rig = Rig.streaming(org)
    org.remove("Account", A, "2001-09-09T01:46:39.000+0000")
    rig.hear(payload("GAP_DELETE", A, at=NOW))
    rig.gather()
    rig.pass_s(2)
    rig.gather()
    (told,) = rig.told
    assert (told.key, told.change.op, told.change.committed_at) == (A, Op.ABSENT, NOW - 1000)


def test_an_event_that_does_not_fit_is_answered_by_its_row() -> None:
    """A payload that cannot be read as its schema says is nothing to guess about."""
    rig = Rig.streaming(org_of(A))
    rig.hear(payload("UPDATE", A, at=NOW, changed=["99-0x01"]))
    rig.gather()
    rig.pass_s(2)
    rig.gather()
    assert rig.ops() == [(A, Op.ROW)]


def test_a_value_that_does_not_fit_is_set_aside() -> None:
    """One bad value holds up nothing else, not even the rest of its record."""
    org = org_of(A, B)
    org.put("Account", A, Name="A", NumberOfEmployees="many")
    rig = started(org)
    read_all(rig)
    assert rig.dead == [A]
    assert rig.ops() == [(A, Op.ROW), (B, Op.ROW)]


# Requests.


def read_signal(number: int, *keys: str, ids: tuple[str, ...] = ()) -> Signal:
    return Signal(number, SignalKind.READ, "Account", keys, ids)


def test_a_request_is_answered_by_rows_and_absences() -> None:
    """Records that are there, born here or elsewhere, and one that is not."""
    org = org_of(A)
    org.put("Account", B, Name="B", Salmon_Id__c="$oid:1")
    rig = Rig.streaming(org)
    rig.feed.request(read_signal(5, A, "$oid:1", "$oid:2"))
    rig.gather()
    assert (rig.ops(), rig.answered) == ([], set()), "rows hold what was committed before the request"
    rig.pass_s(3)
    rig.gather()
    assert sorted(rig.ops()) == sorted([(A, Op.ROW), ("$oid:1", Op.ROW), ("$oid:2", Op.ABSENT)])
    assert rig.answered == {5}


def test_a_request_is_answered_by_rows_that_hold_all_of_the_second_in_which_it_was_made() -> None:
    """The org's clock is seen in whole seconds: what was committed right before the request may be of the next one."""
    rig = Rig.streaming(org_of(A))
    rig.pass_s(0.9)
    rig.feed.request(read_signal(7, A))
    rig.pass_s(0.6)
    rig.gather()
    assert rig.told == []
    rig.pass_s(0.6)
    rig.gather()
    (row,) = rig.told
    assert row.change.as_of is not None
    assert row.change.as_of >= NOW + 1000


def test_a_request_by_id_for_a_record_that_is_gone_is_answered_under_its_key() -> None:
    """The asker gets its answer under the name it asked by."""
    rig = Rig.streaming(org_of())
    rig.feed.request(read_signal(5, "$oid:1", ids=(A,)))
    rig.pass_s(3)
    rig.gather()
    assert rig.ops() == [("$oid:1", Op.ABSENT)]
    assert rig.answered == {5}


def test_the_absence_of_a_key_is_of_no_one_record() -> None:
    """Asked for by the Id of a former record: neither that nor any other has the key (seed 8100001, with a refreshed org)."""
    org = org_of(A)
    org.put("Account", B, Name="B", Salmon_Id__c="$oid:1")
    rig = Rig.streaming(org)
    org.remove("Account", B, "2001-09-09T01:46:39.000+0000")
    rig.feed.request(read_signal(5, "$oid:1", ids=(C,)))
    rig.pass_s(3)
    rig.gather()
    (told,) = rig.told
    assert (told.key, told.change.op, told.change.native_id) == ("$oid:1", Op.ABSENT, None)


def test_a_key_that_nobody_carries_any_more_is_the_record_whose_id_it_is() -> None:
    """It was restored after the one that had been created in its place was deleted (seed 176124)."""
    org = org_of(A)
    org.put("Account", B, Name="second life", Salmon_Id__c=A)
    rig = Rig.streaming(org)
    rig.feed.request(read_signal(4, A, ids=(B,)))
    rig.pass_s(3)
    rig.gather()
    assert [(row.key, row.change.native_id) for row in rig.told] == [(A, B)], "while it is carried"
    org.remove("Account", B, "2001-09-09T01:46:39.000+0000")
    rig.told.clear()
    rig.feed.request(read_signal(5, A, ids=()))
    rig.pass_s(3)
    rig.gather()
    (told,) = rig.told
    assert (told.key, told.change.op, told.change.native_id) == (A, Op.ROW, A)


def test_a_key_is_absent_though_the_record_whose_id_it_is_lives_under_another_key() -> None:
    """What that record has is told under the key that it carries."""
    org = org_of()
    org.put("Account", A, Name="A", Salmon_Id__c="$oid:1")
    rig = Rig.streaming(org)
    rig.feed.request(read_signal(5, A, ids=(B,)))
    rig.pass_s(3)
    rig.gather()
    assert rig.ops() == [(A, Op.ABSENT)]


def test_a_request_behind_an_event_that_waits_is_answered_with_it() -> None:
    """One row answers both."""
    rig = Rig.streaming(org_of(A))
    rig.hear(payload("GAP_UPDATE", A, at=NOW))
    rig.gather()
    rig.feed.request(read_signal(5, A))
    rig.pass_s(4)
    rig.gather()
    assert rig.ops() == [(A, Op.ROW)]
    assert rig.answered == {5}


def test_requests_for_nothing_and_for_strangers_are_answered_at_once() -> None:
    """Else they would stay in the signals' topic for ever."""
    rig = Rig.streaming()
    rig.feed.request(read_signal(5))
    rig.feed.request(Signal(6, SignalKind.READ, "Lead", ("x",)))
    rig.gather()
    assert rig.answered == {5, 6}


def test_a_whole_object_is_read_anew_on_request() -> None:
    """Rows and absences, while events go on; a restart goes on in the middle, and knows the request again."""
    org = org_of(A, B, C)
    org.remove("Account", C, "2001-09-09T01:46:40Z")
    rig = Rig.streaming(org)
    rig.feed.request(Signal(9, SignalKind.SNAPSHOT, "Account"))
    rig.pass_s(3)
    org.look_at_clock()
    rig.snapshots.read_chunk()
    rig.hear(payload("CREATE", D, at=NOW + 9000, Name="D"))
    rig.gather()
    assert rig.ops() == [(D, Op.CREATE), (A, Op.ROW), (B, Op.ROW)]
    assert rig.answered == set()
    again = rig.restarted()
    again.feed.request(Signal(9, SignalKind.SNAPSHOT, "Account"))
    assert len(again.snapshots.begun) == 1
    again.gather()
    read_all(again)
    assert again.ops() == [(C, Op.ABSENT)]
    assert again.answered == {9}


def test_a_second_request_for_an_object_waits_for_the_end_of_the_first() -> None:
    """It asks for what is there after it was made."""
    org = org_of(A)
    rig = Rig.streaming(org)
    rig.feed.request(Signal(9, SignalKind.SNAPSHOT, "Account"))
    rig.feed.request(Signal(10, SignalKind.SNAPSHOT, "Account"))
    for number in (9, 10):
        rig.pass_s(3)
        org.look_at_clock()
        rig.snapshots.read_chunk()
        rig.gather()
        rig.snapshots.read_chunk()
        rig.gather()
        assert number in rig.answered
    assert rig.ops() == [(A, Op.ROW), (A, Op.ROW)]


def test_an_object_that_the_org_refuses_keeps_no_other_waiting() -> None:
    """Records of others are read meanwhile; its own are read a minute after somebody has mended it (case V10)."""
    org = org_of(A)
    org.put("Contact", "003000000000001AAA", LastName="C")
    rig = Rig.streaming(org)
    org.hides["Account"] = RequestRejected("no", code="INVALID_FIELD", words="No such column 'Salmon_Seq__c'")
    rig.feed.request(Signal(1, SignalKind.READ, "Account", keys=(A,)))
    rig.feed.request(Signal(2, SignalKind.READ, "Contact", keys=("003000000000001AAA",)))
    rig.pass_s(5)
    for _ in range(3):
        rig.gather()
    assert rig.answered == {2}
    assert "No such column 'Salmon_Seq__c'" in rig.troubles.sentence_of("Account")
    org.hides.clear()
    rig.gather()
    assert rig.answered == {2}, "it is not asked for all the time"
    rig.pass_s(61)
    rig.gather()
    assert rig.answered == {1, 2}
    assert rig.troubles.report() == []


def test_what_waits_of_a_blocked_object_does_not_keep_the_others_from_the_clock() -> None:
    """
    Whatever waits longest is of an object that cannot be read. A record of another one is read as soon as the org's clock has
    passed its event, though nobody else asks for the clock.
    """
    org = org_of(A)
    org.put("Contact", CONTACT, LastName="C")
    rig = Rig.streaming(org)
    rig.troubles.block("Account", "it has no field Id")
    rig.hear(payload("GAP_UPDATE", A, at=NOW - 60_000))
    rig.gather()
    rig.hear(payload("GAP_UPDATE", CONTACT, name="Contact", at=NOW + 3000))
    rig.pass_s(5)
    rig.gather()
    rig.gather()
    assert rig.ops() == [(CONTACT, Op.ROW)]


def test_an_object_that_is_blocked_at_the_start_is_read_again_when_it_is_taken_back() -> None:
    """Its events may not have come meanwhile, and that is stored: a restart forgets nothing of it (case V10)."""
    org = org_of(A)
    org.put("Contact", CONTACT, LastName="C")
    first = Rig.streaming(org)
    rig = first.restarted()
    rig.troubles.block("Account", "it has no field Id")
    rig.gather()
    assert (rig.stored["snapshot/Account"]["why"], rig.stored["snapshot/Account"]["done"]) == ("hole", False)
    rig.hear(
        payload("UPDATE", A, Fax="1", at=NOW), payload("UPDATE", CONTACT, name="Contact", Fax="1", at=NOW)
    )
    rig.pass_s(5)
    rig.gather()
    rig.gather()
    assert rig.ops() == [(CONTACT, Op.UPDATE)], "the other object goes on"
    rig.troubles.unblock("Account")
    rig.feed.read_again("Account")
    org.look_at_clock()
    rig.gather()
    rig.snapshots.read_chunk()
    rig.gather()
    assert (A, Op.ROW) in rig.ops()


@pytest.mark.parametrize("kind", ["UPDATE", "GAP_UPDATE"])
def test_an_object_that_is_refused_for_long_does_not_stop_the_stream(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of its records are edited than may wait: it is read as a whole later, and the others go on (case V10)."""
    monkeypatch.setattr(feed, "KEYS_MAX", 2)
    org = org_of(A, B, C)
    rig = Rig.streaming(org)
    is_blocked = kind == "UPDATE"
    if is_blocked:
        rig = rig.restarted()
        rig.troubles.block("Account", "it has no field Id")
    else:
        rig.troubles.found("Account", RequestRejected("no", code="INVALID_FIELD"))
    rig.feed.request(Signal(7, SignalKind.READ, "Account", keys=(D,)))
    rig.gather()
    for account in (A, B, C):
        rig.hear(payload(kind, account, at=NOW))
    rig.hear(payload("UPDATE", CONTACT, name="Contact", Fax="1", at=NOW))
    place = rig.number
    for _ in range(5):
        rig.gather()
    assert rig.ops() == [(CONTACT, Op.UPDATE)]
    if is_blocked:
        rig.troubles.unblock("Account")
        rig.feed.read_again("Account")
    else:
        rig.troubles.over("Account")
    rig.pass_s(5)
    org.look_at_clock()
    rig.snapshots.read_chunk()
    rig.snapshots.read_chunk()
    for _ in range(3):
        rig.gather()
    assert {key for key, op in rig.ops() if op is Op.ROW} >= {A, B, C}
    assert rig.answered == {7}, "a request is not forgotten"
    assert rig.place == place


def test_requests_for_an_object_that_is_refused_do_not_stop_the_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`salmon verify --repair` may ask for more of its records than may wait of the stream (case V10)."""
    monkeypatch.setattr(feed, "KEYS_MAX", 2)
    rig = Rig.streaming(org_of(A, B, C))
    rig.troubles.found("Account", RequestRejected("no", code="INVALID_FIELD"))
    rig.feed.request(Signal(7, SignalKind.READ, "Account", keys=(A, B, C)))
    rig.hear(payload("UPDATE", CONTACT, name="Contact", Fax="1", at=NOW))
    rig.gather()
    assert rig.ops() == [(CONTACT, Op.UPDATE)]


def test_an_object_that_alone_cannot_be_read_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its queries time out: after ten seconds the others go on, it is reported, and it is told from its rows when they come."""
    monkeypatch.setattr(feed, "KEYS_MAX", 2)
    org = org_of(A, B, C)
    rig = Rig.streaming(org)
    org.hides["Account"] = Unavailable("the query resource answered QUERY_TIMEOUT (HTTP 400).")
    for account in (A, B, C):
        rig.hear(payload("GAP_UPDATE", account, at=NOW))
    rig.hear(payload("UPDATE", CONTACT, name="Contact", Fax="1", at=NOW))
    rig.gather()
    rig.pass_s(5)
    for _ in range(2):
        with pytest.raises(Unavailable):
            rig.gather()
        rig.pass_s(5)
    for _ in range(3):
        rig.gather()
    assert rig.ops() == [(CONTACT, Op.UPDATE)]
    (waits,) = rig.troubles.report()
    assert (waits.object, waits.since_s) == ("Account", 10)
    assert "QUERY_TIMEOUT" in waits.sentence
    org.hides.clear()
    rig.pass_s(11)
    org.look_at_clock()
    read_all(rig, "Account")
    assert {key for key, op in rig.ops() if op is Op.ROW} >= {A, B, C}


def test_an_outage_of_all_objects_is_none_of_one_object(monkeypatch: pytest.MonkeyPatch) -> None:
    """The org does not even tell its clock: nothing is given up, and no object is reported."""
    org = org_of(A)
    rig = Rig.streaming(org)
    rig.hear(payload("GAP_UPDATE", A, at=NOW))
    rig.gather()
    rig.pass_s(5)
    org.look_at_clock()
    org.fails_with = Unavailable("the org is away")

    def away() -> None:
        raise Unavailable("the org is away")

    monkeypatch.setattr(org, "look_at_clock", away)
    for _ in range(10):
        with pytest.raises(Unavailable):
            rig.gather()
        rig.pass_s(5)
    assert rig.troubles.report() == []


def test_many_keys_of_each_object_may_wait_and_only_the_refused_one_is_read_as_a_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are counted for each object: what one has waiting costs no other a reading of all its records."""
    monkeypatch.setattr(feed, "KEYS_MAX", 2)
    org = org_of(A, B)
    org.put("Contact", CONTACT, LastName="C")
    rig = Rig.streaming(org)
    for name in ("Account", "Contact"):
        rig.troubles.found(name, RequestRejected("no", code="INVALID_FIELD"))
    rig.hear(payload("GAP_UPDATE", CONTACT, name="Contact", at=NOW))
    rig.hear(payload("GAP_UPDATE", A, at=NOW))
    rig.hear(payload("GAP_UPDATE", B, at=NOW))
    rig.gather()
    rig.gather()
    assert [run.object for run in rig.snapshots.begun] == ["Account"]
    assert not rig.stream.items


def test_the_refused_target_of_a_one_way_object_does_not_stop_the_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is not read as a whole at all, and the others go on."""
    monkeypatch.setattr(feed, "KEYS_MAX", 2)
    org = org_of(A, B, C)
    rig = Rig.streaming(org).restarted(one_way=["Account"])
    rig.gather()
    rig.troubles.found("Account", RequestRejected("no", code="INVALID_FIELD"))
    for account in (A, B, C):
        rig.hear(payload("GAP_UPDATE", account, at=NOW))
    rig.hear(payload("UPDATE", CONTACT, name="Contact", Fax="1", at=NOW))
    for _ in range(3):
        rig.gather()
    assert rig.ops() == [(CONTACT, Op.UPDATE)]
    assert rig.snapshots.begun == []


def test_the_stream_waits_where_too_many_keys_wait_for_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else they would fill the memory; it goes on when their rows are read, and nothing is lost."""
    monkeypatch.setattr(feed, "KEYS_MAX", 2)
    org = org_of(A, B, C)
    rig = Rig.streaming(org)
    for account in (A, B, C):
        rig.hear(payload("GAP_UPDATE", account, at=NOW))
    for _ in range(3):
        rig.gather()
    assert ("Account", C) not in rig.feed._held, "the third is not taken yet"
    assert ("Account", B) in rig.feed._held
    for _ in range(3):
        rig.pass_s(5)
        rig.gather()
    assert {key for key, _ in rig.ops()} == {A, B, C}
    assert not rig.stream.items
