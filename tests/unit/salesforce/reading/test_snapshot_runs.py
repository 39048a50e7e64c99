"""A large object that is read in parts at the same time: what is reported of it, and what of it is stored."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from salmon.backoff import Backoff
from salmon.errors import RequestRejected, Unavailable
from salmon.model.change import Op
from salmon.plugin.contract import Position, SourceRecord
from salmon.salesforce.identity import Identity
from salmon.salesforce.reading.draft import Harvest
from salmon.salesforce.reading.snapshot_runs import Runs
from salmon.salesforce.reading.whole import snapshot
from salmon.salesforce.reading.whole.rows import ReadRows, RowReader
from salmon.salesforce.reading.whole.side_by_side import SideBySide
from salmon.salesforce.reading.whole.snapshot import BULK, REST
from salmon.salesforce.reading.whole.windows import Reads
from support.orgs.salesforce import MemoryOrg, synced
from support.waiting import until

OBJECTS = {"Account": synced("Account")}
IDS = [f"0010000000000{number:02}AAA" for number in range(1, 31)]
PARTS = 3


class Rig:
    """Runs of Accounts over their readers, what they reported, and what would be stored."""

    def __init__(
        self,
        org: MemoryOrg,
        positions: Mapping[str, Position] | None = None,
        *,
        part_rows: int = len(IDS) // PARTS,
        **methods: Any,
    ) -> None:
        """*methods*: those of the reader, as a test wants them."""
        self.stored: dict[str, Position] = dict(positions or {})
        self.told: list[SourceRecord] = []
        identity = Identity({name: one.schema for name, one in OBJECTS.items()})
        reader = RowReader(org, OBJECTS["Account"], identity, OBJECTS)
        for name, method in methods.items():
            setattr(reader, name, method(getattr(reader, name)))
        self.reading = SideBySide(
            org,
            {"Account": reader},
            at_once=PARTS + 1,
            rows_a_chunk=2,
            backoff=Backoff(first_s=0.001, max_s=0.01),
            part_rows={REST: part_rows, BULK: part_rows},
        )
        whole = {"Account": frozenset(OBJECTS["Account"].schema.by_name)}
        self.reads = {"Account": Reads()}
        self.runs = Runs(org, self.reading, self.reads, identity, whole=whole, positions=self.stored)
        self.runs.begin_first(0, 0)

    def take(self, enough: int = 0) -> bool:
        """Report the next chunk, and commit it; whether so many rows are reported by now."""
        harvest = Harvest()
        self.runs.take(harvest)
        self.runs.add_positions(harvest)
        self.stored.update(json.loads(json.dumps(harvest.positions)))
        self.told.extend(harvest.records)
        return len(self.told) >= enough

    def is_done(self) -> bool:
        self.take()
        return all(each.done for each in self.runs.progress())

    def rows(self) -> list[str]:
        return [str(each.change.native_id) for each in self.told if each.change.op is Op.ROW]

    @property
    def parts(self) -> list[dict[str, Any]]:
        parts: list[dict[str, Any]] = self.stored["snapshot/Account"]["parts"]
        return parts


@pytest.fixture
def org() -> MemoryOrg:
    org = MemoryOrg()
    for native_id in IDS:
        org.put("Account", native_id, Name="x", LastModifiedDate="2001-09-09T01:46:40.000+0000")
    return org


@pytest.fixture
def made() -> Iterator[list[Rig]]:
    rigs: list[Rig] = []
    yield rigs
    for rig in rigs:
        rig.reading.close()


def test_the_parts_of_a_large_object_are_read_at_the_same_time(org: MemoryOrg, made: list[Rig]) -> None:
    """No read ends before one of each part has begun; nothing is missing, and nothing is reported twice."""
    all_read = threading.Barrier(PARTS)

    def together(after: Any) -> Any:
        def read(*where: Any, **more: Any) -> ReadRows:
            rows: ReadRows = after(*where, **more)
            if rows.rows and rows.rows[0].native_id in {IDS[0], IDS[10], IDS[20]}:
                all_read.wait(30)
            return rows

        return read

    made.append(rig := Rig(org, after=together))
    until(rig.is_done, "all of it is read")
    assert not all_read.broken
    assert sorted(rig.rows()) == IDS
    (progress,) = rig.runs.progress()
    assert (progress.read, progress.total) == (len(IDS), len(IDS))


@pytest.mark.parametrize("reported", [1, 5, 9, 14])
def test_a_kill_in_the_middle_of_the_parts_repeats_nothing(
    org: MemoryOrg, made: list[Rig], reported: int
) -> None:
    """Each part goes on behind its own last row; what was read and not reported is read again."""
    made.append(first := Rig(org))
    until(lambda: first.take(2 * reported), "some of it is reported")
    first.reading.close()
    stored_read = first.stored["snapshot/Account"]["read"]
    assert stored_read == len(first.rows())
    made.append(again := Rig(org, first.stored))
    until(again.is_done, "the rest is read")
    assert sorted([*first.rows(), *again.rows()]) == IDS
    assert again.stored["snapshot/Account"]["read"] == len(IDS)
    made.append(later := Rig(org, again.stored))
    assert later.is_done(), "and it is done for good"


def test_a_run_that_an_earlier_version_began_goes_on_in_a_row(org: MemoryOrg, made: list[Rig]) -> None:
    """It has decided how it is read, and has one place."""
    old = {"why": "first", "began": 0, "not_before": 0, "since": None, "last": IDS[3], "absences": False}
    old |= {"done": False, "read": 4, "total": 30, "signals": [], "by": "rest"}
    old["covers"] = sorted(OBJECTS["Account"].schema.by_name)
    made.append(rig := Rig(org, {"snapshot/Account": old}))
    until(rig.is_done, "the rest is read")
    assert rig.rows() == IDS[4:]
    assert not any("COUNT(Id)" in query for query in org.queries)


def test_after_a_hole_each_part_is_followed_by_what_was_deleted(org: MemoryOrg, made: list[Rig]) -> None:
    """A record's event waits for its row, also where records above it are reported already; absences come last."""
    made.append(rig := Rig(org))
    until(rig.is_done, "all of it is read")
    org.remove("Account", IDS[7], "2001-09-09T01:46:40.000+0000")
    rig.told.clear()
    rig.runs.fall_into_hole("Account", 0, 0)
    org.now_ms += 2000
    org.look_at_clock()
    waited = False

    def all_reported() -> bool:
        nonlocal waited
        done = rig.is_done()
        reported = set(rig.rows())
        for native_id in set(IDS) - {IDS[7]}:
            assert rig.runs.row_comes_first("Account", native_id) == (native_id not in reported)
            waited |= bool(reported) and native_id not in reported and native_id < max(reported)
        return done

    until(all_reported, "all of it is read again")
    assert waited, "parts were reported in turns"
    assert sorted(rig.rows()) == sorted({*IDS} - {IDS[7]})
    assert [each.change.op for each in rig.told][-1] is Op.ABSENT


def lose_position(rig: Rig, org: MemoryOrg) -> None:
    """What was committed before the org's time of now is known; it is some seconds later when it is read."""
    rig.told.clear()
    rig.runs.fall_into_hole("Account", 0, org.now_ms, window=True)
    org.now_ms += 2000
    org.look_at_clock()


def test_the_progress_of_a_window_is_that_of_what_was_changed(org: MemoryOrg, made: list[Rig]) -> None:
    """Twelve of twelve records, and not of all that there are."""
    for native_id in IDS[:-2]:
        org.records["Account"][native_id]["SystemModstamp"] = "2001-09-09T00:00:00Z"
    made.append(rig := Rig(org))
    until(rig.is_done, "all of it is read")
    lose_position(rig, org)
    until(rig.is_done, "what has changed is read")
    assert rig.rows() == IDS[-2:]
    (progress,) = rig.runs.progress()
    assert (progress.read, progress.total) == (2, 2)


@pytest.mark.parametrize("why", ["it costs no more", "the org cannot count what has changed"])
def test_all_of_an_object_is_read_instead_of_a_window(
    org: MemoryOrg, made: list[Rig], monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """A load has changed most of it, say; or a count takes too long. Then it is read like any object: in parts, or by Bulk."""

    def counts(count: Any) -> Any:
        def counted(after: str, to: str, since: int | None = None) -> int:
            if since is not None and why.startswith("the org"):
                raise RequestRejected("it takes too long", code="QUERY_TIMEOUT")
            return int(count(after, to, since))

        return counted

    for native_id in IDS[:2]:
        org.records["Account"][native_id]["SystemModstamp"] = "2001-09-09T00:00:00Z"
    made.append(rig := Rig(org, count=counts))
    until(rig.is_done, "all of it is read")
    monkeypatch.setattr(snapshot, "PAGE_ROWS", 5)
    monkeypatch.setattr(snapshot, "window_is_cheaper", lambda *_, **__: False)
    lose_position(rig, org)
    until(rig.is_done, "it is read")
    assert sorted(rig.rows()) == IDS


def test_a_record_is_unsure_for_the_window_of_its_own_part(org: MemoryOrg, made: list[Rig]) -> None:
    """A part that has ended says nothing of the records above it: they are not read yet."""
    go_on = threading.Event()

    def held_up(after: Any) -> Any:
        def read(*where: Any, **more: Any) -> ReadRows:
            rows: ReadRows = after(*where, **more)
            if rows.rows and rows.rows[0].native_id in {IDS[10], IDS[22]}:
                assert go_on.wait(30)
            return rows

        return read

    made.append(rig := Rig(org, after=held_up))
    until(lambda: rig.take(12) and rig.parts[0]["done"], "all that can be read is reported")
    covered = org.clock.covered or 0
    reported = set(rig.rows())
    assert reported == {*IDS[:10], *IDS[20:22]}
    assert {each for each in IDS if rig.reads["Account"].unsure(each, covered + 1)} == reported
    go_on.set()
    until(rig.is_done, "the rest is read")


@pytest.mark.parametrize("error", [RequestRejected("no", code="MALFORMED_QUERY"), None])
def test_an_object_that_cannot_be_cut_is_read_in_a_row(
    org: MemoryOrg, made: list[Rig], error: Exception | None
) -> None:
    """The org refuses to show its first and last Id, or there is one record alone: all of it is read nevertheless."""

    def first(_: Any) -> Any:
        def refused(after: str) -> str:
            if error is not None:
                raise error
            return IDS[-1]

        return refused

    made.append(rig := Rig(org, first=first))
    until(rig.is_done, "all of it is read")
    assert rig.rows() == IDS
    assert rig.parts == []


def test_an_object_that_takes_too_long_to_be_counted_is_cut_by_its_ids(
    org: MemoryOrg, made: list[Rig]
) -> None:
    """Such an object is the largest of all."""

    def count(_: Any) -> Any:
        def late(after: str, to: str, since: int | None = None) -> int:
            raise Unavailable("QUERY_TIMEOUT")

        return late

    made.append(rig := Rig(org, count=count))
    until(lambda: rig.take(1), "it is read")
    assert len(rig.parts) == PARTS
    until(rig.is_done, "all of it is read")
    assert sorted(rig.rows()) == IDS


def test_a_small_object_is_not_cut(org: MemoryOrg, made: list[Rig]) -> None:
    """A part costs a few calls."""
    made.append(rig := Rig(org, part_rows=len(IDS)))
    until(rig.is_done, "all of it is read")
    assert rig.rows() == IDS
    assert len([query for query in org.queries if "DESC" in query or "COUNT(Id)" in query]) == 0
