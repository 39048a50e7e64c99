"""What goes wrong with events on request, seen by a bare gRPC client that was generated from the public proto."""

from __future__ import annotations

import time
from typing import Any

import grpc
import pytest

from salmon.simulator.org.faults import BadFault
from support.orgs.event_box import ACCOUNTS, ALL, CODE, Box, settled
from support.orgs.pubsub import WAIT_S


@pytest.fixture
def box(event_box: Box) -> Box:
    return event_box


def test_cut_streams_breaks_every_stream_without_a_word(box: Box) -> None:
    """UNAVAILABLE and no error code, as when a connection breaks; a new stream goes on after the last event."""
    client = box.client()
    streams = [client.subscribe(ACCOUNTS), client.subscribe(ALL)]
    settled(box, 2)
    box.create("A")
    (seen,) = streams[0].events(1)
    box.fault("cut_streams")
    for stream in streams:
        ended = stream.end()
        assert (ended.code, ended.error_code) == (grpc.StatusCode.UNAVAILABLE, None)
    box.create("B")
    again = client.subscribe(ACCOUNTS, preset="CUSTOM", replay_id=seen.replay_id)
    assert list(client.names(again.events(1))) == ["B"]


def test_silence_is_no_events_and_no_keepalives_on_a_stream_that_stays_open(box: Box) -> None:
    """When it is over, everything that happened meanwhile is there."""
    client = box.client(keepalive_s=0.02)
    stream = client.subscribe(ACCOUNTS)
    stream.response()
    box.fault("silence", s=3600)
    client.topic(ACCOUNTS)  # Only streams are silent; and what was said before has arrived now.
    while not stream.heard_nothing():
        stream.response()
    box.create("A")
    for _ in range(40):  # In that time ten keepalives and the event would have come.
        client.topic(ACCOUNTS)
    assert stream.heard_nothing()
    box.org.faults.clear()
    assert list(client.names(stream.events(1))) == ["A"]


def test_repeated_events_have_the_same_ids_as_before(box: Box) -> None:
    """The last two of three come twice, then the stream goes on."""
    client = box.client()
    stream = client.subscribe(ACCOUNTS)
    settled(box, 1)
    box.create("A", "B", "C")
    first = stream.events(3)
    box.fault("repeat_events", count=2)
    again = stream.events(2)
    assert [(e.replay_id, e.event.id) for e in again] == [(e.replay_id, e.event.id) for e in first[1:]]
    box.create("D")
    assert list(client.names(stream.events(1))) == ["D"]


def test_events_can_be_repeated_to_one_who_comes_back(box: Box) -> None:
    """Nobody is there when the fault is set: the next stream begins one event early."""
    client = box.client()
    box.create("A", "B")
    stream = client.subscribe(ACCOUNTS, preset="EARLIEST")
    last = stream.events(2)[-1]
    stream.close()
    stream.end()
    with box.bus.changed:
        assert box.bus.changed.wait_for(lambda: box.bus.streams == 0, WAIT_S)
    box.fault("repeat_events", count=1)
    again = client.subscribe(ACCOUNTS, preset="CUSTOM", replay_id=last.replay_id)
    assert [e.event.id for e in again.events(1)] == [last.event.id]


def test_lost_events_are_never_heard_of(box: Box) -> None:
    """The next two of Account are gone for good, also for one who starts at the beginning."""
    client = box.client()
    stream = client.subscribe(ALL)
    settled(box, 1)
    box.fault("lose_events", object="Account", count=2)
    with box.org.transaction(box.org.person) as unit:
        unit.insert("Contact", {"LastName": "kept"})
    for name in ("lost", "lost, too", "kept"):
        box.create(name)
    assert list(client.names(stream.events(2)))[1] == "kept"
    assert len(client.subscribe(ALL, preset="EARLIEST").events(2)) == 2


@pytest.mark.parametrize(("fault", "change_type"), [("gap", "GAP_CREATE"), ("overflow", "GAP_OVERFLOW")])
def test_gaps_and_overflows_take_the_place_of_the_next_events(box: Box, fault: str, change_type: str) -> None:
    """As many as asked for, and then events are events again."""
    client = box.client()
    stream = client.subscribe(ACCOUNTS)
    settled(box, 1)
    box.fault(fault, object="Account", count=1)
    (record_id,) = box.create("A")
    box.create("B")
    gap, event = (client.decode(e) for e in stream.events(2))
    assert gap.keys() == {"ChangeEventHeader"}
    assert gap["ChangeEventHeader"]["changeType"] == change_type
    ids = [record_id] if fault == "gap" else ["000000000000000AAA"]
    assert gap["ChangeEventHeader"]["recordIds"] == ids
    assert event["Name"] == "B"


def test_expired_positions_are_refused_and_what_they_stood_after_is_gone(box: Box) -> None:
    """Then EARLIEST hears only of what comes later; an open stream is not touched."""
    client = box.client()
    stream = client.subscribe(ACCOUNTS)
    settled(box, 1)
    box.create("A")
    (seen,) = stream.events(1)
    box.fault("expire_replay")
    ended = client.subscribe(ACCOUNTS, preset="CUSTOM", replay_id=seen.replay_id).end()
    assert ended.error_code == CODE + "subscription.fetch.replayid.corrupted"
    box.create("B")
    assert list(client.names(stream.events(1))) == ["B"]
    assert list(client.names(client.subscribe(ACCOUNTS, preset="EARLIEST").events(1))) == ["B"]


def test_corrupted_positions_are_refused_although_the_events_are_there(box: Box) -> None:
    """As after the move of an org: same events, other replay ids."""
    client = box.client()
    box.create("A")
    (seen,) = client.subscribe(ACCOUNTS, preset="EARLIEST").events(1)
    box.fault("corrupt_replay")
    ended = client.subscribe(ACCOUNTS, preset="CUSTOM", replay_id=seen.replay_id).end()
    assert ended.error_code == CODE + "subscription.fetch.replayid.corrupted"
    (again,) = client.subscribe(ACCOUNTS, preset="EARLIEST").events(1)
    assert again.event.id == seen.event.id
    assert again.replay_id != seen.replay_id


def test_an_object_that_is_deselected_emits_nothing_until_it_is_selected_again(box: Box) -> None:
    """What happened meanwhile is never told."""
    client = box.client()
    stream = client.subscribe(ALL)
    settled(box, 1)
    box.fault("cdc", object="Account", on=False)
    box.create("unheard")
    assert client.subscribe(ACCOUNTS).end().error_code == CODE + "topic.not.found"
    box.fault("cdc", object="Account", on=True)
    box.create("heard")
    assert list(client.names(stream.events(1))) == ["heard"]


def test_latency_delays_what_a_stream_says_and_keeps_its_order(box: Box) -> None:
    """Two commits are under way at the same time, as on a long line."""
    client = box.client()
    stream = client.subscribe(ACCOUNTS)
    settled(box, 1)
    box.fault("latency", api="pubsub", ms=50)
    began_s = time.monotonic()
    box.create("A")
    box.create("B")
    events = stream.events(2)
    assert time.monotonic() - began_s >= 0.05
    assert list(client.names(events)) == ["A", "B"]


@pytest.mark.parametrize(
    ("fault", "params"),
    [
        ("silence", {}),
        ("repeat_events", {"count": 0}),
        ("gap", {"object": "Account", "count": "2"}),
        ("overflow", {"object": "Nothing"}),
        ("cdc", {"object": "Account"}),
        ("cdc", {"on": False}),
    ],
)
def test_a_fault_that_cannot_be_meant_is_refused(box: Box, fault: str, params: dict[str, Any]) -> None:
    """The control API tells its user what the fault needs."""
    with pytest.raises(BadFault, match=fault):
        box.org.faults.set(fault, params)


def test_the_faults_that_scripts_count_on_are_there(box: Box) -> None:
    """Their names are part of the contract of the control API."""
    box.client()
    assert box.org.faults.known >= {
        *("latency", "http", "revoke_sessions", "lock_rows", "exhaust_api", "cut_streams", "silence"),
        *(
            "repeat_events",
            "lose_events",
            "change_schema",
            "gap",
            "overflow",
            "expire_replay",
            "corrupt_replay",
        ),
        *("cdc", "clock_skew"),
    }


def test_an_event_of_all_records_of_an_object_names_them_by_a_wildcard(box: Box) -> None:
    """001*: whatever any of them holds has to be read."""
    client = box.client()
    stream = client.subscribe(ACCOUNTS)
    settled(box, 1)
    box.fault("wildcard", object="Account")
    box.create("A")
    box.create("B")
    wild, after = (client.decode(each) for each in stream.events(2))
    assert wild["ChangeEventHeader"]["recordIds"] == ["001*"]
    assert wild.keys() == {"ChangeEventHeader"}
    assert after["Name"] == "B"


def test_the_update_of_a_long_text_carries_a_diff_if_the_org_sends_such(box: Box) -> None:
    """The field is among diffFields and changedFields; a short text, or one that changed a lot, is sent as it is."""
    box.org.settings.text_diffs = True
    client = box.client()
    stream = client.subscribe(ACCOUNTS)
    settled(box, 1)
    lines = [f"line {number} of a long description" for number in range(60)]
    [record_id] = box.create("A")
    box.edit([record_id], Description="\n".join(lines))
    lines[10] = "another line"
    box.edit([record_id], Description="\n".join(lines), Phone="1")
    box.edit([record_id], Description="short")
    _created, whole, diffed, short = (client.decode(each) for each in stream.events(4))
    assert whole["Description"].startswith("line 0 of")
    assert whole["ChangeEventHeader"]["diffFields"] == []
    assert diffed["Description"].startswith("--- \n+++ ")
    assert "@@ -11,1 +11,1 @@\n-line 10 of a long description\n+another line" in diffed["Description"]
    header = diffed["ChangeEventHeader"]
    [bits] = header["diffFields"]
    assert int(bits, 16) & int(header["changedFields"][0], 16) == int(bits, 16) != 0
    assert (short["Description"], short["ChangeEventHeader"]["diffFields"]) == ("short", [])
