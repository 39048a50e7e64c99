"""Fields that no event reports are read on a schedule, and some time after an event of the record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from salmon.model.change import SALESFORCE, Change, Op
from salmon.plugin.contract import Signal, SourceRecord
from salmon.salesforce.reading.draft import Harvest
from salmon.salesforce.reading.refreshing import (
    WAITING_MAX,
    AfterEvents,
    Intervals,
)
from salmon.salesforce.reading.whole.run import Why
from salmon.salesforce.wire.batches import IDS_A_QUERY
from support.orgs.salesforce import MemoryOrg, payload, schema
from support.orgs.salesforce_feed import NOW, A, B, C, Rig, read_all

A_DAY_S = 86_400.0
SOON_S = 300.0
REFRESHED = {"Account": A_DAY_S}


def read_once(refreshed: Mapping[str, float], *, polled: Mapping[str, float] | None = None) -> Rig:
    """A rig whose Accounts were read as a whole just now."""
    org = MemoryOrg(NOW)
    at = "2001-09-09T01:46:40Z"
    org.put("Account", A, Name="Acme", LastModifiedDate=at, SystemModstamp=at)
    rig = Rig(org, polled=polled, refreshed=refreshed)
    rig.keepalive()
    rig.gather()
    read_all(rig)
    rig.ops()
    return rig


def test_a_whole_object_is_read_when_its_time_has_come() -> None:
    """With the values that nobody edited; and the next time is as long after that."""
    rig = read_once(REFRESHED)
    rig.pass_s(A_DAY_S - 60)
    rig.gather()
    assert rig.snapshots.running["Account"].done
    rig.pass_s(120)
    rig.gather()
    assert rig.snapshots.running["Account"].why is Why.REFRESH
    assert rig.snapshots.running["Contact"].why is Why.FIRST, "the other has nothing to refresh"
    read_all(rig, "Account")
    assert rig.ops() == [(A, Op.ROW)]
    rig.gather()
    assert rig.snapshots.running["Account"].done, "and rests again"


def test_when_it_was_read_last_survives_a_restart() -> None:
    """A process that is restarted each night reads no more than one that runs for ever."""
    rig = read_once(REFRESHED)
    rig.pass_s(A_DAY_S / 2)
    again = Rig(rig.org, rig.stored, refreshed=REFRESHED)
    again.gather()
    assert "Account" not in again.snapshots.running
    again.pass_s(A_DAY_S)
    again.gather()
    assert again.snapshots.running["Account"].why is Why.REFRESH


def test_it_is_put_off_while_the_org_has_few_calls_left() -> None:
    """Nobody's edit waits for it."""
    rig = read_once(REFRESHED)
    rig.spare = False
    rig.pass_s(2 * A_DAY_S)
    rig.gather()
    assert rig.snapshots.running["Account"].done
    rig.spare = True
    rig.gather()
    assert rig.snapshots.running["Account"].why is Why.REFRESH


def test_an_event_in_the_middle_is_reported_as_ever() -> None:
    """It is no hole: nothing waits for the rows but what was committed while its record was read."""
    rig = read_once(REFRESHED)
    rig.pass_s(A_DAY_S)
    rig.gather()
    rig.hear(payload("UPDATE", A, at=rig.org.now_ms, Name="Edited"))
    rig.gather()
    assert rig.ops() == [(A, Op.UPDATE)]


def test_of_a_polled_object_a_refresh_loses_no_deletion() -> None:
    """The next poll looks back to where the refresh began: so that looks for what was deleted since the last poll."""
    every_s = 2 * A_DAY_S
    rig = read_once(REFRESHED, polled={"Account": every_s})
    rig.gather()
    while not rig.polls.running["Account"].done:
        rig.polls.read_chunk()
        rig.gather()
    rig.ops()
    rig.org.remove("Account", A, "2001-09-09T03:00:00Z")
    rig.pass_s(A_DAY_S + 60)
    rig.gather()
    assert rig.snapshots.running["Account"].why is Why.REFRESH
    read_all(rig, "Account")
    assert rig.ops() == [(A, Op.ABSENT)]


# Some time after an event.


class Clocked:
    """Records of Accounts that are read again some time after their events."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.spare = True
        self.asked: list[Signal] = []
        self.after = AfterEvents(
            {"Account": SOON_S},
            {"Account": frozenset({"Rank__c"})},
            spare=lambda: self.spare,
            monotonic_s=lambda: self.now_s,
        )

    def turn(self, *records: SourceRecord, after_s: float = 0.0, answered: set[int] | None = None) -> Harvest:
        self.now_s += after_s
        harvest = Harvest(records=list(records), answered=answered or set())
        self.after.turn(self.asked.append, harvest)
        return harvest

    @property
    def ids(self) -> list[tuple[str, ...]]:
        return [signal.native_ids for signal in self.asked]


def told(
    native_id: str, op: Op = Op.UPDATE, name: str = "Account", changed: frozenset[str] | None = None
) -> SourceRecord:
    return SourceRecord(name, native_id, Change(SALESFORCE, op, native_id=native_id, changed=changed))


def test_records_with_events_are_read_again_together_and_once() -> None:
    """One batch, some time after the first event; rows and deletions ask for nothing, and no other object does."""
    clocked = Clocked()
    clocked.turn(told(A), told(B), told(A))
    clocked.turn(told(C, Op.ROW), told(C, Op.DELETE), told(C, name="Contact"), after_s=SOON_S - 1)
    assert clocked.ids == []
    clocked.turn(after_s=1)
    clocked.turn(after_s=SOON_S)
    assert clocked.ids == [(A, B)]


def test_an_undeleted_record_is_not_read_a_second_time() -> None:
    """The feed has it read at once."""
    clocked = Clocked()
    back = told(A, Op.CREATE)
    clocked.turn(replace(back, change=replace(back.change, source={"change_type": "UNDELETE"})))
    clocked.turn(after_s=SOON_S)
    assert clocked.ids == []


def test_each_batch_has_a_bound_and_so_has_what_waits() -> None:
    """However much happens, it costs one query each time; what is forgotten, the schedule finds."""
    clocked = Clocked()
    clocked.turn(*(told(f"{number:018}") for number in range(WAITING_MAX + 10)))
    for _ in range(2):
        clocked.turn(after_s=SOON_S)
    assert [len(ids) for ids in clocked.ids] == [IDS_A_QUERY, IDS_A_QUERY]
    assert clocked.ids[0][0] == f"{10:018}", "the oldest are forgotten"


def test_its_requests_are_nobody_elses() -> None:
    """Their answers are taken out: the worker knows none of them."""
    clocked = Clocked()
    clocked.turn(told(A))
    clocked.turn(after_s=SOON_S)
    (signal,) = clocked.asked
    assert signal.id < 0
    assert clocked.turn(answered={signal.id, 7}).answered == {7}


def test_nothing_is_read_after_events_while_few_calls_are_left() -> None:
    """They are needed for edits."""
    clocked = Clocked()
    clocked.spare = False
    clocked.turn(told(A))
    clocked.turn(after_s=SOON_S)
    assert clocked.ids == []


def test_only_objects_with_such_fields_are_read() -> None:
    """An Opportunity has derived fields; an object all of whose fields events report costs nothing."""
    assert schema("Opportunity").unreported
    account = schema("Account")
    assert not type(account)("X", tuple(each for each in account.fields if each.live)).unreported


def test_a_record_whose_event_says_it_all_is_not_read_again() -> None:
    """Its channel is enriched by the fields that no event reports; a creation, and an event that lacks one of them, is no such event."""
    clocked = Clocked()
    clocked.turn(told(A), told(B), told(A, changed=frozenset({"Name", "Rank__c"})))
    clocked.turn(told(C, Op.CREATE), told(A, changed=frozenset({"Name", "Rank__c"})))
    clocked.turn(after_s=SOON_S)
    assert clocked.ids == [(B, C)]


def test_an_interval_that_becomes_shorter_counts_for_what_waits_already() -> None:
    """The settings are read again on SIGHUP: nobody waits out the former day, and what was never read is read then."""
    every_s: dict[str, float | None] = {"Account": None, "Contact": A_DAY_S}
    clock, asked = [0.0], list[Signal]()
    intervals = Intervals(every_s, every_s.get)
    after = AfterEvents(
        intervals,
        dict.fromkeys(every_s, frozenset({"Rank__c"})),
        spare=lambda: True,
        monotonic_s=lambda: clock[0],
    )

    def event(name: str, native_id: str) -> Harvest:
        change = Change(SALESFORCE, Op.UPDATE, native_id=native_id)
        return Harvest(records=[SourceRecord(name, native_id, change)])

    after.turn(asked.append, event("Account", A))
    after.turn(asked.append, event("Contact", C))
    assert dict(intervals) == {"Account": float("inf"), "Contact": A_DAY_S}
    every_s.update(Account=SOON_S, Contact=SOON_S)
    after.turn(asked.append, event("Account", B))
    clock[0] += SOON_S
    after.turn(asked.append, Harvest())
    clock[0] += SOON_S
    after.turn(asked.append, Harvest())
    assert {each.object: each.native_ids for each in asked} == {"Account": (B,), "Contact": (C,)}
