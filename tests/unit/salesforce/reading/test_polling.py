"""Objects without change events: what has changed is found by queries, reported once, and nothing is lost by a kill."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from salmon.calls import Calls, Peer
from salmon.model.change import SALESFORCE, Change, Op
from salmon.plugin.contract import Signal, SignalKind
from salmon.salesforce.config import ApiBudget, EventBudget
from salmon.salesforce.reading.polling import OVERLAP_MS, REPORTED_MAX, NoEvents, Reported
from salmon.salesforce.reading.source import SalesforceSourceTask
from salmon.salesforce.reading.whole.rows import Row
from salmon.salesforce.reading.whole.run import Why
from salmon.salesforce.reading.whole.windows import Window
from support.orgs.salesforce import MemoryOrg, payload
from support.orgs.salesforce_feed import NOW, A, B, C, D, Rig, read_all

EVERY_S = 300.0
POLLED = {"Account": EVERY_S}
AN_HOUR_AGO = NOW - 3_600_000
OVERLAP_S = OVERLAP_MS / 1000


def stamp(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def save(org: MemoryOrg, native_id: str, name: str, *, stamped: int | None = None, **fields: Any) -> None:
    """A record is committed now. *stamped*: when its transaction saved it, which may be long before."""
    at = stamp(org.now_ms if stamped is None else stamped)
    org.put("Account", native_id, Name=name, LastModifiedDate=at, SystemModstamp=at, **fields)


def polling(*ids: str) -> Rig:
    """A rig whose Accounts were read as a whole, and polled once since."""
    org = MemoryOrg(NOW)
    for native_id in ids:
        save(org, native_id, "Acme", stamped=AN_HOUR_AGO)
    rig = Rig(org, polled=POLLED)
    rig.keepalive()
    rig.gather()
    read_all(rig)
    poll(rig)
    rig.ops()
    return rig


def poll(rig: Rig, *, after_s: float = 0.0) -> None:
    """Let the time of the next poll come, and read and report all of it."""
    rig.pass_s(after_s)
    rig.gather()
    while "Account" in rig.polls.running and not rig.polls.running["Account"].done:
        rig.polls.read_chunk()
        rig.gather()


def names(rig: Rig) -> list[tuple[str, Any]]:
    """The Names that were reported since the last call."""
    told, rig.told = rig.told, []
    return [(each.key, each.change.fields.get("Name")) for each in told]


def test_what_is_created_edited_and_deleted_is_reported() -> None:
    """As rows and absences; what did not change is not."""
    rig = polling(A, B)
    rig.pass_s(EVERY_S)
    save(rig.org, A, "Acme & Sons")
    save(rig.org, C, "New")
    rig.org.remove("Account", B, stamp(rig.org.now_ms))
    poll(rig)
    assert rig.ops() == [(A, Op.ROW), (C, Op.ROW), (B, Op.ABSENT)]


def test_what_comes_back_from_the_recycle_bin_is_reported() -> None:
    """An undelete stamps the record."""
    rig = polling(A)
    rig.org.remove("Account", A, stamp(rig.org.now_ms))
    poll(rig, after_s=EVERY_S)
    rig.org.deleted["Account"].clear()
    save(rig.org, A, "Acme")
    poll(rig, after_s=EVERY_S)
    assert rig.ops() == [(A, Op.ABSENT), (A, Op.ROW)]


def test_it_is_polled_when_its_time_has_come_and_not_before() -> None:
    """Each poll costs API calls; the time until the next one is known to whoever waits."""
    rig = polling(A)
    before = len(rig.polls.begun)
    rig.pass_s(EVERY_S - 1)
    rig.gather()
    assert len(rig.polls.begun) == before
    assert rig.feed.wait_s() == pytest.approx(1.0)
    poll(rig, after_s=1)
    assert len(rig.polls.begun) == before + 1


def test_an_idle_poll_costs_two_calls_and_reports_nothing() -> None:
    """One query for rows, one for deletions."""
    rig = polling(A, B)
    before = len(rig.org.queries)
    poll(rig, after_s=EVERY_S)
    assert len(rig.org.queries) - before == 2
    assert rig.ops() == []


def test_what_a_poll_finds_again_is_not_reported_again() -> None:
    """The overlap shows a change at several polls; so it does with a deletion."""
    rig = polling(A, B)
    save(rig.org, A, "Acme & Sons")
    rig.org.remove("Account", B, stamp(rig.org.now_ms))
    for _ in range(3):
        poll(rig, after_s=EVERY_S)
    assert rig.ops() == [(A, Op.ROW), (B, Op.ABSENT)]


def test_a_second_edit_in_the_same_second_is_reported() -> None:
    """Stamps are whole seconds: what was reported is compared, not when it was stamped."""
    rig = polling(A)
    at = rig.org.now_ms
    save(rig.org, A, "First")
    poll(rig, after_s=EVERY_S)
    save(rig.org, A, "Second", stamped=at)
    poll(rig, after_s=EVERY_S)
    assert names(rig) == [(A, "First"), (A, "Second")]


@pytest.mark.parametrize("minutes", [1, 6, 10])
def test_a_transaction_that_commits_long_after_its_stamp_is_found(minutes: int) -> None:
    """Polls in between show the former values, each with an as_of before the commit; a later one shows the change."""
    rig = polling(A)
    stamped = rig.org.now_ms
    for _ in range(minutes):
        poll(rig, after_s=EVERY_S / 5)
    committed = rig.org.now_ms
    save(rig.org, A, "Late", stamped=stamped)
    poll(rig, after_s=EVERY_S)
    told = [each.change for each in rig.told]
    assert [change.fields["Name"] for change in told] == ["Late"]
    assert (told[0].as_of or 0) >= committed


def test_the_as_of_of_a_row_is_the_orgs_clock_before_the_query_and_not_its_stamp() -> None:
    """A row that shows what was there before an open transaction must not say that it holds that transaction's commit."""
    rig = polling(A)
    save(rig.org, A, "Stamped ahead", stamped=rig.org.now_ms + 600_000)
    poll(rig, after_s=EVERY_S)
    asked_at = rig.org.now_ms
    assert rig.told[0].change.as_of is not None
    assert rig.told[0].change.as_of < asked_at


def test_a_kill_in_the_middle_of_a_poll_loses_nothing() -> None:
    """What was stored last is gone on from: the poll's own place, and its window."""
    rig = polling()
    for native_id in (A, B, C, D):
        save(rig.org, native_id, "New")
    rig.pass_s(EVERY_S)
    rig.gather()
    rig.polls.read_chunk()
    rig.gather()  # A and B are reported and stored
    rig.polls.read_chunk()  # C and D are read, and die with the process
    again = rig.restarted()
    assert again.polls.running["Account"].last == B
    poll(again)
    assert [key for key, _ in names(again)] == [C, D]


def test_changes_made_while_nobody_polled_are_found_after_the_restart() -> None:
    """The next poll begins where the last complete one began, however long ago that is."""
    rig = polling(A, B)
    save(rig.org, A, "Meanwhile")
    rig.org.remove("Account", B, stamp(rig.org.now_ms))
    rig.pass_s(86_400)
    again = rig.restarted()
    poll(again)
    assert (A, Op.ROW) in (ops := again.ops())
    assert (B, Op.ABSENT) in ops


def test_a_position_that_the_recycle_bin_does_not_reach_back_to_is_read_again_as_a_whole() -> None:
    """It is told, and never is the newest state taken for all that has happened."""
    rig = polling(A, B)
    save(rig.org, A, "Long ago")
    rig.pass_s(20 * 86_400)
    again = rig.restarted()
    again.gather()
    assert again.snapshots.running["Account"].why is Why.HOLE
    read_all(again, "Account")
    assert {A, B} <= {key for key, op in again.ops() if op is Op.ROW}


def test_an_object_that_had_events_is_read_again_when_it_is_polled_from_now_on() -> None:
    """And the other way round: what the other way would have shown of the time between has been seen by nobody."""
    rig = Rig.streaming(MemoryOrg(NOW)).restarted(polled=POLLED)
    rig.gather()
    assert rig.snapshots.running["Account"].why is Why.HOLE
    assert "Contact" not in rig.snapshots.running, "and this one goes on"
    read_all(rig, "Account")
    back = rig.restarted(polled={})
    back.gather()
    assert back.snapshots.running["Account"].why is Why.HOLE


def test_deletions_since_the_last_poll_are_looked_for_whatever_the_stream_has_told() -> None:
    """The stream of the other objects is far ahead of a polled one."""
    rig = polling(A, B)
    began = rig.stored["snapshot/Account"]["began"]
    rig.org.remove("Account", B, stamp(rig.org.now_ms))
    rig.pass_s(7_200)
    rig.hear(payload("UPDATE", C, name="Contact", at=rig.org.now_ms, Phone="x"))
    rig.gather()
    rig.feed.read_again("Account")
    assert (rig.snapshots.running["Account"].since or 0) <= began
    rig.pass_s(10)
    rig.org.look_at_clock()
    read_all(rig, "Account")
    assert (B, Op.ABSENT) in rig.ops()


def test_an_event_of_a_polled_object_is_ignored() -> None:
    """Somebody else has selected it; its rows say it all."""
    rig = polling(A)
    rig.hear(payload("UPDATE", A, at=rig.org.now_ms, Name="By event"))
    rig.gather()
    assert rig.ops() == []


def test_a_child_whose_parent_is_polled_is_read_before_its_event_is_reported() -> None:
    """The parent may carry a key that no event has told: its Id would stand in the key's place for good. The event follows its row."""
    rig = polling(A)
    rig.pass_s(60)
    save(rig.org, B, "From MongoDB", Salmon_Id__c="mongo-1")
    at = rig.org.now_ms
    rig.org.put("Contact", C, LastName="Doe", AccountId=B, Account={"Salmon_Id__c": "mongo-1"})
    rig.hear(payload("CREATE", C, name="Contact", at=at, LastName="Doe", AccountId=B))
    rig.gather()
    rig.pass_s(5)
    rig.gather()
    assert [told.change.op for told in rig.told] == [Op.ROW, Op.CREATE]
    assert {told.change.fields["AccountId"] for told in rig.told} == {"mongo-1"}


def test_a_child_of_a_parent_whose_row_was_reported_need_not_be_read() -> None:
    """Its key is known: each event would cost a call otherwise."""
    rig = polling(A)
    rig.pass_s(60)
    rig.hear(payload("CREATE", C, name="Contact", at=rig.org.now_ms, Phone="x", AccountId=A))
    rig.gather()
    assert rig.ops() == [(C, Op.CREATE)]


def test_a_row_that_a_request_has_overtaken_is_reported_again_by_the_next_poll() -> None:
    """The fold takes it for old, although it may show a commit that the request's row does not."""

    def row(as_of: int) -> Row:
        return Row(A, A, Change(SALESFORCE, Op.ROW, as_of=as_of, native_id=A, fields={"Name": "Edited"}))

    reported = Reported()
    reported.read_records([A], Window(105, 106))
    assert [reported.is_news(row(as_of)) for as_of in (100, 200, 300)] == [True, True, False]


def test_a_row_that_a_request_has_shown_is_reported_by_the_next_poll_too() -> None:
    """What the request showed is not known to the polls, and may be followed by the former values in the same second."""
    rig = polling(A)
    save(rig.org, A, "Edited")
    rig.feed.request(Signal(1, SignalKind.READ, "Account", keys=(A,)))
    rig.pass_s(5)
    while 1 not in rig.answered:
        rig.gather()
    poll(rig, after_s=EVERY_S)
    assert names(rig) == [(A, "Edited"), (A, "Edited")]


def test_how_old_the_last_poll_is_can_be_seen() -> None:
    """While polls fail, the age grows; a complete one takes it back."""
    rig = polling(A)
    (account,) = (each for each in rig.feed.progress() if each.object == "Account")
    assert account.done
    assert account.read == 1
    assert account.polled_s is not None
    assert account.polled_s < 5
    rig.pass_s(2 * EVERY_S)
    rig.gather()
    (account,) = (each for each in rig.feed.progress() if each.object == "Account")
    assert account.polled_s == pytest.approx(2 * EVERY_S, abs=5)
    assert account.done, "a poll is no snapshot"


def test_what_is_remembered_of_reports_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond it, rows are reported once more: that costs Kafka some bytes, and nobody anything else."""
    assert REPORTED_MAX >= 10_000
    monkeypatch.setattr("salmon.salesforce.reading.polling.REPORTED_MAX", 1)
    rig = polling(A, B)
    save(rig.org, A, "x")
    save(rig.org, B, "y")
    for _ in range(2):
        poll(rig, after_s=EVERY_S)
    assert [key for key, _ in rig.ops()] == [A, B, A, B]


def test_without_any_events_the_stream_has_a_place_at_once() -> None:
    """Then nobody subscribes, nothing is delivered, and a restart begins where the last one was."""
    stream = NoEvents()
    first = stream.peek()
    assert first is not None
    stream.pop()
    assert stream.peek() is None
    assert Reported().to_position() is None


def test_a_sync_of_polled_objects_alone_hears_no_events_also_while_one_of_them_is_held() -> None:
    """It would end where Pub/Sub is closed off, or where nothing is selected; and later it would resume at a position of no stream."""
    settings = SimpleNamespace(
        capture=SimpleNamespace(mode="poll", every_s=EVERY_S),
        refresh=SimpleNamespace(every_s=None, after_events_s=None),
        direction="both",
    )
    objects: Any = {"Product2": settings, "Pricebook2": settings}
    config: Any = SimpleNamespace(
        api_budget=ApiBudget(), event_budget=EventBudget(), pubsub=SimpleNamespace(channel=None)
    )
    task = SalesforceSourceTask(config, objects, "crm")
    task.hold({"Pricebook2"})
    assert Peer.PUBSUB not in task.watch(Calls())
