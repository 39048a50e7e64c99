"""Polling an org: no subscription, deletions of every kind, and a position of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from salmon.model.change import Op, WriteOp
from salmon.plugin.contract import OutcomeKind
from salmon.salesforce.catalog import SyncedObject
from salmon.salesforce.identity import Identity
from salmon.salesforce.reading.vanished import COMPARE_EVERY_MS, Vanished
from salmon.salesforce.reading.whole.rows import RowReader
from salmon.salesforce.wire.rest import Rest
from support.orgs.salesforce_box import BoxProcess, Source, started_sink, write

EVERY_S = 0.2
AN_HOUR_S = 3_600
A_DAY_S = COMPARE_EVERY_MS / 1000


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoxProcess]:
    with BoxProcess(
        tmp_path_factory.mktemp("box"), "--records", "Account=20", "--records", "Opportunity=2"
    ) as process:
        for name in ("Account", "Contact"):
            process.fault("cdc", object=name, on=False)
        yield process


def test_a_record_with_an_event_is_read_again_for_the_fields_that_no_event_reports(box: BoxProcess) -> None:
    """Some time after, by a request of its own that nobody else hears of."""
    with Source(box, "Opportunity", refreshed_s=0.2).through_snapshots() as source:
        box.advance(60)
        (edited, *_) = box.ids("Opportunity")
        before = len(source.told)
        box.edit("Opportunity", edited, NextStep="Call")
        source.until(lambda: source.told[before:] and source.told[-1].change.op is Op.ROW)
        assert [each.change.op for each in source.told[before:]] == [Op.UPDATE, Op.ROW]
        unreported = {each.name for each in source.task.schemas()["Opportunity"].fields if not each.live}
        assert unreported & source.told[-1].change.fields.keys()
        assert source.answered == set()


def test_an_undeleted_record_is_read_at_once_for_the_fields_that_no_event_reports(box: BoxProcess) -> None:
    """Also where records are not read again after their events: they were known, and would be missing until the next whole reading."""
    with Source(box, "Opportunity").through_snapshots() as source:
        box.advance(60)
        (*_, back) = box.ids("Opportunity")
        unreported = source.task.schemas()["Opportunity"].unreported
        (row,) = source.of(back)
        before = len(source.told)
        box.delete("Opportunity", back)
        box.recycle_bin("undelete", "Opportunity", back)
        source.until(lambda: source.told[-1].change.op is Op.CREATE)
        box.advance(10)
        source.until(lambda: source.told[-1].change.op is Op.ROW)
        assert [each.change.op for each in source.told[before:]] == [Op.DELETE, Op.CREATE, Op.ROW]
        of_row = {name: row.change.fields.get(name) for name in unreported}
        assert {name: source.told[-1].change.fields.get(name) for name in unreported} == of_row
        assert any(value is not None for value in of_row.values())


class Looking:
    """The search for what is gone for good, one look at a time."""

    def __init__(self, box: BoxProcess, source: Source, *agreed: str) -> None:
        self.rest = Rest(box.config())
        schema = source.task.schemas()["Account"]
        synced = SyncedObject(schema, frozenset(schema.by_name) | {"Id", "IsDeleted"})
        identity = Identity({"Account": schema})
        reader = RowReader(self.rest, synced, identity, {"Account": synced})
        self.agreed = list(agreed)
        self.compared = 0
        readers = {"Account": reader}
        self.vanished = Vanished(self.rest, readers, identity, ("Account",), {}, keys_of=self._keys)

    def look(self) -> list[str] | None:
        """The keys that are suspected; None if there is nothing new."""
        found = self.vanished.look("Account")
        return None if found is None else list(found.keys)

    def _keys(self, _: str) -> list[str]:
        self.compared += 1
        return self.agreed

    def close(self) -> None:
        self.vanished.close()
        self.rest.close()


@pytest.fixture
def looking(box: BoxProcess) -> Iterator[Looking]:
    with Source(box, "Account", polled_s=EVERY_S) as source:
        looking = Looking(box, source, *box.ids("Account"))
    yield looking
    looking.close()


def test_what_happens_between_polls_is_reported_without_any_subscription(box: BoxProcess) -> None:
    """Edits, creations, deletions and undeletes; a restart goes on where polling was; nothing is delivered."""
    delivered = box.events_delivered()
    with Source(box, "Account", polled_s=EVERY_S) as source:
        source.until(lambda: all(run.done for run in source.task.progress()) and source.told)
        edited, deleted, *_ = box.ids("Account")
        box.edit("Account", edited, Site="Rome")
        created = box.create("Account", Name="New")
        box.delete("Account", deleted)
        source.until(lambda: {(created, Op.ROW), (deleted, Op.ABSENT)} <= set(source.seen()))
        box.recycle_bin("undelete", "Account", deleted)
        source.until(lambda: source.of(deleted)[-1].change.op is Op.ROW)
    box.edit("Account", created, Site="Oslo")
    with Source(box, "Account", of=source, polled_s=EVERY_S) as again:
        again.until(lambda: created in again.view())
        assert again.view()[created]["Site"] == "Oslo"
        assert len(again.told) < len(source.told), "the object is not read as a whole again"
    assert box.events_delivered() == delivered


def test_a_deletion_of_ours_is_told_by_the_sink(box: BoxProcess) -> None:
    """No event answers it: GONE settles the write, and asks the source to read the record."""
    account = box.ids("Account")[3]
    with Source(box, "Account", polled_s=EVERY_S) as source:
        sink = started_sink(box, source, polled_s=EVERY_S)
        (outcome,) = sink.put([write(WriteOp.DELETE, "Account", account, 5, native_id=account)])
        assert outcome.kind is OutcomeKind.GONE


def test_without_a_position_the_org_is_compared_with_what_is_agreed(box: BoxProcess) -> None:
    """A record that is gone for good since nobody knows when is reported; a second start compares nothing."""
    gone = "001000000000999AAA"
    with Source(box, "Account", polled_s=EVERY_S, agreed=[*box.ids("Account"), gone]) as source:
        source.until(lambda: (gone, Op.ABSENT) in source.seen() and "deleted/Account" in source.positions)
        assert [key for key, op in source.seen() if op is Op.ABSENT and key == gone] == [gone]
    assert source.positions["deleted/Account"]["compared"] > 0


def test_a_deletion_that_is_still_in_the_recycle_bin_is_left_to_polls(
    box: BoxProcess, looking: Looking
) -> None:
    """The log has it; so has the bin, where each poll looks."""
    assert looking.look() == []
    box.delete("Account", box.ids("Account")[5])
    box.advance(AN_HOUR_S)
    assert looking.look() == []
    assert looking.compared == 1, "the log was complete"


def test_what_was_emptied_from_the_recycle_bin_is_found_by_comparing(
    box: BoxProcess, looking: Looking
) -> None:
    """The log says that it is incomplete; then all is compared, at most once a day, archived records included."""
    assert looking.look() == []
    gone = box.ids("Account")[6]
    box.advance(AN_HOUR_S)
    box.delete("Account", gone)
    box.recycle_bin("empty", "Account", gone)
    box.advance(AN_HOUR_S)
    assert looking.look() is None, "it was compared today"
    box.advance(A_DAY_S)
    assert looking.look() == [gone]


def test_a_position_that_the_log_does_not_reach_back_to_is_compared(
    box: BoxProcess, looking: Looking
) -> None:
    """It keeps 15 days."""
    assert looking.look() == []
    box.advance(20 * A_DAY_S)
    assert looking.look() == []
    assert looking.compared == 2
