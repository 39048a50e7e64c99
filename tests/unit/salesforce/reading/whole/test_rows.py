"""Records as queries show them, and whole objects read in a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from salmon.backoff import Backoff
from salmon.errors import RateLimited, RequestRejected, Unavailable
from salmon.model.change import Change
from salmon.salesforce.catalog import SyncedObject
from salmon.salesforce.identity import Identity
from salmon.salesforce.reading.whole import rows
from salmon.salesforce.reading.whole.rows import BadRow, Row, RowReader
from salmon.salesforce.reading.whole.run import Run, Why
from salmon.salesforce.reading.whole.snapshot import Chunk, Failed, Snapshots
from salmon.salesforce.troubles import Troubles
from salmon.salesforce.wire.budget import OverBudget, Urgency, asked_as
from salmon.salesforce.wire.rest import Page
from support.clock import Clock
from support.orgs.salesforce import A_USER, OUR_USER, MemoryOrg, synced
from support.waiting import until

A, B, C, D, E = (f"00100000000000{number}AAA" for number in (1, 2, 3, 4, 5))
CONTACT = "003000000000001AAA"
OBJECTS = {name: synced(name) for name in ("Account", "Contact", "Opportunity")}


class Rig:
    def __init__(self) -> None:
        self.org = MemoryOrg()
        self.identity = Identity({name: one.schema for name, one in OBJECTS.items()})

    def reader(self, name: str, one: SyncedObject | None = None) -> RowReader:
        return RowReader(self.org, one or OBJECTS[name], self.identity, OBJECTS)

    def change(self, name: str, native_id: str) -> Change:
        (row,) = self.reader(name).by_id([native_id]).rows
        assert isinstance(row, Row)
        return row.change


def test_a_row_tells_values_marker_and_times() -> None:
    """What is empty is left out; the time is the user's last change, as far as the org tells."""
    rig = Rig()
    rig.org.put(
        "Account", A, Name="A", Phone=None, Fax="", AnnualRevenue=5, Salmon_Seq__c=12.0,
        LastModifiedDate="2001-09-09T01:46:41.000+0000", SystemModstamp="2001-09-09T01:46:50.000+0000",
    )  # fmt: skip
    told = rig.change("Account", A)
    assert (told.fields["Name"], told.fields["AnnualRevenue"], told.ack) == ("A", 5.0, 12)
    assert told.fields.keys().isdisjoint({"Phone", "Fax", "Id", "Salmon_Seq__c"})
    assert told.committed_at == 1_000_000_001_000
    assert told.as_of == 1_000_000_000_000 - 1000
    assert told.changed is None


@pytest.mark.parametrize("user", [OUR_USER, A_USER, None])
def test_a_row_tells_whether_our_own_user_was_the_last_one_there(user: str | None) -> None:
    """So that a lookup which the org cleared as we deleted its target is known where only a row tells it. (Case L1.)"""
    rig = Rig()
    rig.org.put("Account", A, Name="A", LastModifiedById=user)
    reader = RowReader(rig.org, OBJECTS["Account"], rig.identity, OBJECTS, OUR_USER)
    (row,) = reader.by_id([A]).rows
    assert isinstance(row, Row)
    assert row.change.by_us is (user == OUR_USER)
    assert not rig.change("Account", A).by_us, "who does not ask is told nothing"


def test_the_window_of_a_read_ends_after_it() -> None:
    """A query that takes long leaves more room for doubt."""
    rig = Rig()
    rig.org.takes_ms = 4000
    window = rig.reader("Account").after("").window
    assert window.as_of == 1_000_000_000_000 - 1000
    assert window.until >= rig.org.now_ms


def test_a_parents_key_is_read_along_with_its_child() -> None:
    """Its creation may not have been heard of yet."""
    rig = Rig()
    rig.org.put("Contact", CONTACT, LastName="C", AccountId=A, Account={"Salmon_Id__c": "$oid:a"})
    assert rig.change("Contact", CONTACT).fields["AccountId"] == "$oid:a"
    assert rig.identity.news() == [("Account", A, "$oid:a")]


def test_a_parent_behind_a_nameless_relationship_is_looked_up() -> None:
    """Opportunity.ContactId has no relationship name; polymorphic ones cannot be asked either."""
    rig = Rig()
    rig.org.put("Contact", CONTACT, LastName="C", Salmon_Id__c="$oid:c")
    rig.org.put("Opportunity", "006000000000001AAA", Name="O", ContactId=CONTACT)
    assert rig.change("Opportunity", "006000000000001AAA").fields["ContactId"] == "$oid:c"
    before = len(rig.org.queries)
    rig.change("Opportunity", "006000000000001AAA")
    assert len(rig.org.queries) == before + 1, "what is known is not asked for again"


def test_a_record_with_hundreds_of_fields_is_retrieved_by_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their names do not fit a URL; the parents' keys still come by query."""
    monkeypatch.setattr(rows, "URI_BYTES", 2000)
    rig = Rig()
    rig.org.put("Contact", CONTACT, LastName="C", AccountId=A, Account={"Salmon_Id__c": "$oid:a"})
    told = rig.change("Contact", CONTACT)
    assert (told.fields["LastName"], told.fields["AccountId"]) == ("C", "$oid:a")
    assert "LastName" not in rig.org.queries[0]
    assert rig.org.queries[1] == "retrieve Contact"


def test_an_object_without_stamps_is_read_without_them() -> None:
    """Not every object has all of them."""
    rig = Rig()
    bare = replace(OBJECTS["Account"], names=frozenset({"Id", "Name"}))
    rig.org.put("Account", A, Name="A")
    (row,) = rig.reader("Account", bare).after("").rows
    assert isinstance(row, Row)
    assert row.change.committed_at == 0


def test_a_value_of_another_type_is_set_aside_and_the_rest_goes_on() -> None:
    """With what was shown, and the reason without it (case V6, from the org's side)."""
    rig = Rig()
    rig.org.put("Account", A, Name="A", NumberOfEmployees="many")
    (row,) = rig.reader("Account").after("").rows
    assert isinstance(row, Row)
    assert row.change.fields["Name"] == "A"
    assert row.change.misfits.keys() == {"NumberOfEmployees"}
    assert row.change.changed == frozenset(OBJECTS["Account"].schema.by_name) - {"NumberOfEmployees"}
    (fault,) = row.faults
    assert b"many" in fault.original
    assert "many" not in str(fault.error)


def test_a_record_whose_stamp_cannot_be_read_is_set_aside() -> None:
    """Nobody can say when it was changed."""
    rig = Rig()
    rig.org.put("Account", A, Name="A", LastModifiedDate="yesterday", SystemModstamp="yesterday")
    (row,) = rig.reader("Account").after("").rows
    assert isinstance(row, BadRow)


# Whole objects.


def run(why: Why = Why.FIRST, *, not_before: int = 0, since: int | None = None) -> Run:
    return Run("Account", why, began=0, not_before=not_before, since=since)


class Reading:
    """Snapshots over an org in memory, and a bounded wait for what they read."""

    def __init__(self, org: MemoryOrg) -> None:
        self.woken = threading.Event()
        identity = Identity({name: one.schema for name, one in OBJECTS.items()})
        readers = {name: RowReader(org, one, identity, OBJECTS) for name, one in OBJECTS.items()}
        self.troubles = Troubles(again_s=0.01)
        self.clock = Clock()
        self.snapshots = Snapshots(
            org,
            readers,
            wake=self.woken.set,
            backoff=Backoff(first_s=0.001, max_s=0.01),
            rows_a_chunk=2,
            troubles=self.troubles,
            clock=self.clock,
        )

    def take(self) -> Chunk | Failed:
        deadline_s = time.monotonic() + 10
        while (chunk := self.snapshots.take()) is None:
            assert self.woken.wait(deadline_s - time.monotonic()), "nothing was read"
            self.woken.clear()
        return chunk

    def chunk(self) -> Chunk:
        chunk = self.take()
        assert isinstance(chunk, Chunk)
        return chunk


@pytest.fixture
def reading() -> Iterator[Begin]:
    began: list[Reading] = []

    def begin(org: MemoryOrg) -> Reading:
        began.append(Reading(org))
        return began[-1]

    yield begin
    for one in began:
        one.snapshots.close()


Begin = Callable[[MemoryOrg], Reading]


def filled() -> MemoryOrg:
    org = MemoryOrg()
    for native_id in (A, B, C):
        org.put("Account", native_id, Name="x")
    return org


def ids(chunk: Chunk) -> list[str]:
    return [row.native_id for row in chunk.read.rows]


def test_an_object_is_read_in_chunks_to_its_end(reading: Begin) -> None:
    """Each chunk says how far the run is when it is told."""
    one = reading(filled())
    one.snapshots.begin(run())
    first, last = one.chunk(), one.chunk()
    assert (ids(first), ids(last)) == ([A, B], [C])
    assert (first.run.last, first.run.read, first.run.total, first.run.done) == (B, 2, 3, False)
    assert (last.run.read, last.run.done) == (3, True)


@pytest.mark.parametrize("gone", [{A}, {B}, {A, B}, {C}])
def test_a_record_that_is_deleted_while_it_is_read_does_not_end_the_run(
    reading: Begin, monkeypatch: pytest.MonkeyPatch, gone: set[str]
) -> None:
    """Its Id was shown, its fields were not: the chunk is short, perhaps empty, and all behind it is still read."""
    monkeypatch.setattr(rows, "URI_BYTES", 2000)
    org = filled()
    org.put("Account", D, Name="x")
    org.put("Account", E, Name="x")
    org.gone_before_retrieved = gone
    one = reading(org)
    one.snapshots.begin(run())
    chunks = [one.chunk() for _ in range(3)]
    assert [native_id for chunk in chunks for native_id in ids(chunk)] == sorted({A, B, C, D, E} - gone)
    assert [(chunk.run.last, chunk.run.done) for chunk in chunks] == [(B, False), (D, False), ("", True)]


def test_a_run_after_a_hole_ends_with_what_was_deleted(reading: Begin) -> None:
    """Since the last event that was heard."""
    org = filled()
    org.remove("Account", B, "2001-09-09T01:46:40Z")
    one = reading(org)
    one.snapshots.begin(run(Why.HOLE, since=999_999_999_000))
    chunks = [one.chunk() for _ in range(3)]
    assert [ids(chunk) for chunk in chunks] == [[A, C], [], [B]]
    assert [chunk.run.done for chunk in chunks] == [False, False, True]


@pytest.mark.parametrize(
    ("why", "urgency"),
    [
        (Why.FIRST, Urgency.LATER),
        (Why.HOLE, Urgency.NOW),
        (Why.ASKED, Urgency.LATER),
        (Why.REFRESH, Urgency.SPARE),
    ],
)
def test_a_run_asks_for_calls_as_urgently_as_edits_wait_for_it(
    reading: Begin, why: Why, urgency: Urgency
) -> None:
    """Until the budget gives it some, it waits, which is no failure of the object; then it goes on."""
    org, budget = filled(), Giver()
    pages = org.pages

    def asked(soql: str, *, deleted: bool = False) -> Iterator[Page]:
        budget.ask()
        return pages(soql, deleted=deleted)

    org.pages = asked  # type: ignore[method-assign]
    one = reading(org)
    one.snapshots.begin(run(why))
    assert ids(one.chunk()) == [A, B]
    assert budget.asked[:3] == [urgency] * 3
    assert one.snapshots.waiting() == []


class Giver:
    """A budget that gives nothing twice, and notes how urgent it was."""

    def __init__(self) -> None:
        self.asked: list[Urgency] = []

    def ask(self) -> None:
        self.asked.append(asked_as())
        if len(self.asked) < 3:
            raise OverBudget("later", retry_after_s=0.001)


def test_a_load_that_cannot_be_counted_for_want_of_calls_is_counted_later(reading: Begin) -> None:
    """Otherwise a large object would be read by REST, which costs more of them."""
    org, tries = filled(), [RateLimited("no more"), OverBudget("later", retry_after_s=0.001)]
    count = org.count

    def counted(name: str) -> int:
        if tries:
            raise tries.pop()
        return count(name)

    org.count = org.count_roughly = counted  # type: ignore[method-assign]
    one = reading(org)
    one.snapshots.begin(run())
    assert one.chunk().run.total == 3
    assert tries == []


def test_an_org_that_is_down_is_waited_for(reading: Begin) -> None:
    """The run goes on by itself when the org is back."""
    org = filled()
    org.fails_with = Unavailable("down")
    one = reading(org)
    one.snapshots.begin(run())
    org.fails_with = None
    assert ids(one.chunk()) == [A, B]


def test_an_object_that_the_org_refuses_waits_and_the_next_one_is_read(reading: Begin) -> None:
    """A person has to look at it, and is told in the org's own words; then it goes on by itself (case V10)."""
    org = filled()
    org.hides["Account"] = RequestRejected("no", code="INVALID_FIELD", words="No such column 'Id'")
    one = reading(org)
    one.snapshots.begin(run())
    one.snapshots.begin(replace(run(), object="Contact"))
    assert one.chunk().run.object == "Contact"
    told = one.troubles.sentence_of("Account")
    assert told.startswith(
        "objects.Account: the org refuses Account with INVALID_FIELD: No such column 'Id'. "
    )
    org.hides.clear()
    assert ids(one.chunk()) == [A, B]
    assert one.troubles.report() == []


def test_an_object_whose_reading_fails_steadily_is_reported_and_lets_the_others_have_their_turn(
    reading: Begin,
) -> None:
    """What is waited for, since when and what to do; the others are read meanwhile, and it goes on by itself."""
    org = filled()
    org.hides["Account"] = Unavailable("the query resource answered QUERY_TIMEOUT (HTTP 400).")
    one = reading(org)
    one.snapshots.begin(run())
    one.snapshots.begin(replace(run(), object="Contact"))
    until(one.snapshots.waiting, "it is reported")
    one.clock.now_s += 30
    assert one.chunk().run.object == "Contact"
    (waits,) = one.snapshots.waiting()
    assert (waits.object, waits.since_s) == ("reading Account", 30)
    assert "QUERY_TIMEOUT" in waits.sentence
    org.hides.clear()
    assert ids(one.chunk()) == [A, B]
    assert one.snapshots.waiting() == []


def test_a_fault_of_ours_ends_a_run_loudly(reading: Begin) -> None:
    """A snapshot that nobody reads any more looks just like a slow one."""
    org = filled()
    org.fails_with = KeyError("Id")
    one = reading(org)
    one.snapshots.begin(run())
    failed = one.take()
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, KeyError)


def test_a_run_that_is_begun_anew_gives_up_the_former(reading: Begin) -> None:
    """Nothing of the former is told any more."""
    org = filled()
    one = reading(org)
    one.snapshots.begin(run())
    one.woken.wait(10)
    one.snapshots.begin(run(Why.ASKED))
    chunk = one.chunk()
    assert (chunk.run.why, ids(chunk)) == (Why.ASKED, [A, B])


def test_a_run_waits_until_its_rows_hold_what_they_must(reading: Begin) -> None:
    """The org's clock has to pass the last event first."""
    org = filled()
    one = reading(org)
    one.snapshots.begin(run(not_before=org.now_ms + 5000))
    assert one.snapshots.take() is None
    org.now_ms += 7000
    read = one.chunk().read
    assert read.window.as_of >= 1_000_000_005_000


def test_a_stored_run_is_the_same_run() -> None:
    """A restart knows all of it."""
    stored = Run(
        "Account",
        Why.HOLE,
        1,
        2,
        3,
        "x",
        absences=True,
        read=4,
        total=5,
        signals=(6, 7),
        covers=frozenset({"Name"}),
        window=True,
    )
    assert Run.from_position("Account", stored.to_position()) == stored
