"""A large object that is read in parts at the same time, on the simulator: by REST and by Bulk API 2.0, over kills and edits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest

from salmon.model.change import Op
from salmon.salesforce.reading.whole.snapshot import BULK, PART_ROWS, REST, Snapshots
from support.orgs.salesforce_box import BoxProcess, Source

ACCOUNTS = 2_900
PARTS = 3


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoxProcess]:
    with BoxProcess(tmp_path_factory.mktemp("box"), "--records", f"Account={ACCOUNTS}") as it:
        yield it


@pytest.fixture
def box(process: BoxProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[BoxProcess]:
    for way in (REST, BULK):
        monkeypatch.setitem(PART_ROWS, way, 1_000)
    yield process
    process._control("POST", "settings", {"bulk_processing_s": 0})
    process.heal()


def by(way: str) -> dict[str, Any]:
    """The settings by which whole objects are read one way."""
    return {"bulk": {"query": "always" if way == BULK else "never"}}


def rows_of(*sources: Source) -> list[str]:
    return sorted(key for source in sources for key, op in source.seen() if op is Op.ROW)


def parts_of(source: Source) -> list[dict[str, Any]]:
    """What is stored of each part."""
    parts: list[dict[str, Any]] = source.positions.get("snapshot/Account", {}).get("parts", [])
    return parts


def test_the_org_works_at_the_bulk_jobs_of_all_parts_at_the_same_time(box: BoxProcess) -> None:
    """Each has its job before the first one is complete, and about as many records; each record comes once."""
    box._control("POST", "settings", {"bulk_processing_s": 3})
    with Source(box, "Account", **by(BULK)) as source:
        source.until(lambda: len([part for part in parts_of(source) if part["job"]]) == PARTS)
        (progress,) = source.task.progress()
        assert (progress.read, progress.total, progress.by_bulk) == (0, ACCOUNTS, True)
        box._control("POST", "settings", {"bulk_processing_s": 0})
        read: list[list[int]] = []

        def ended() -> bool:
            read.append([part["read"] for part in parts_of(source)])
            return all(run.done for run in source.task.progress())

        source.until(ended)
    assert max(part for parts in read for part in parts) < 1_100
    assert rows_of(source) == sorted(box.ids("Account"))
    assert source.task.api_calls()["bulk"] == PARTS


@pytest.fixture
def last_part_may_end(monkeypatch: pytest.MonkeyPatch) -> Iterator[Event]:
    """Until a test sets it, nothing of the last part is reported."""
    gate, put = Event(), Snapshots._put

    def held(self: Snapshots, job: Any, item: Any) -> None:
        if job.run.part == PARTS - 1:
            assert gate.wait(60)
        put(self, job, item)

    monkeypatch.setattr(Snapshots, "_put", held)
    yield gate
    gate.set()


@pytest.mark.parametrize("way", [REST, BULK])
def test_a_source_that_is_killed_in_the_middle_of_the_parts_goes_on_in_each(
    box: BoxProcess, last_part_may_end: Event, way: str
) -> None:
    """Nothing twice and nothing missing; a record that was edited meanwhile ends as the org has it."""
    with Source(box, "Account", **by(way)) as first:
        first.until(lambda: len([part for part in parts_of(first) if part["read"]]) > 1)
        assert not all(part["done"] for part in parts_of(first))
        box.create("Contact", LastName=way)  # the stream has a position from then on
        first.until(lambda: first.positions["stream"]["replay_id"])
        stored = sum(part["read"] for part in parts_of(first))
    last_part_may_end.set()
    assert stored == len(rows_of(first)) < ACCOUNTS
    edited = [box.ids("Account")[at] for at in (0, ACCOUNTS // 2, ACCOUNTS - 1)]
    for native_id in edited:
        box.edit("Account", native_id, Phone=f"{way} {native_id}")
    with Source(box, "Account", of=first, **by(way)) as again:
        (progress,) = again.task.progress()
        assert progress.read == stored
        again.until(lambda: all(run.done for run in again.task.progress()))
        # Of a record that was edited, the row may come once more in its event's place.
        others = Counter(each for each in rows_of(first, again) if each not in edited)
        assert others == Counter({*box.ids("Account")} - {*edited})
        again.until(lambda: all(again.view().get(e, {}).get("Phone") == f"{way} {e}" for e in edited))


def test_edits_while_parts_are_read_are_never_undone(box: BoxProcess) -> None:
    """Whoever follows rows and events in the order reported ends with what the org holds."""
    ids = box.ids("Account")
    some = ids[::290]
    with Source(box, "Account", **by(REST)) as source:
        number = 0

        def all_done() -> bool:
            nonlocal number
            number += 1
            if number <= 5:
                for native_id in some:
                    box.edit("Account", native_id, Phone=f"{number}-{native_id}")
            return number > 5 and all(run.done for run in source.task.progress())

        source.until(all_done)
        box.advance(10)
        source.until(lambda: all(source.view()[e].get("Phone") == f"5-{e}" for e in some))
    assert len(source.view()) == ACCOUNTS
