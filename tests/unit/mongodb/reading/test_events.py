"""Events: what each kind of change stream event tells."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from bson.objectid import ObjectId
from bson.timestamp import Timestamp
from structlog.testing import capture_logs

from salmon.errors import BadRecordKey
from salmon.model.change import ERROR, MONGODB, SALESFORCE_ID, Op
from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.reading.events import Reported, absent, collections_replaced_by, reported_by, row_of
from salmon.mongodb.reading.misfits import Misfits
from support.mongo import ACCOUNT

SHAPE = DocumentShape(ACCOUNT, frozenset({"Account"}))


def _event(kind: str, key: Any = "a", **more: Any) -> dict[str, Any]:
    return {
        "_id": {"_data": "8265F0000000000001"},
        "operationType": kind,
        "clusterTime": Timestamp(1_700_000_000, 2),
        "wallTime": datetime(2023, 11, 14, 22, 13, 20, 123_000, tzinfo=UTC),
        "ns": {"db": "crm", "coll": "accounts"},
        "documentKey": {"_id": key},
        **more,
    }


def _update(set_: dict[str, Any] | None = None, *removed: str, truncated: tuple[str, ...] = ()) -> Reported:
    description = {
        "updatedFields": set_ or {},
        "removedFields": list(removed),
        "truncatedArrays": [{"field": field, "newSize": 1} for field in truncated],
    }
    return reported_by(_event("update", updateDescription=description), SHAPE)


def test_an_insert_is_a_creation_that_speaks_of_every_field() -> None:
    """Its clocks, its order and the marker that it carries go along."""
    event = _event("insert", fullDocument={"_id": "a", "Name": "Acme", "_salmon": {"seq": 7}})
    change = reported_by(event, SHAPE).change
    assert change is not None
    assert (change.origin, change.op, change.ack, change.changed) == (MONGODB, Op.CREATE, 7, None)
    assert change.fields == {"Name": "Acme", SALESFORCE_ID: None, ERROR: None}
    assert change.committed_at == 1_700_000_000_123
    assert change.commit_time == 1_700_000_000 << 32 | 2
    assert change.order == bytes.fromhex("8265F0000000000001")


def test_a_server_without_wall_time_dates_its_events_by_cluster_time() -> None:
    """MongoDB before 6.0: whole seconds."""
    event = _event("delete")
    del event["wallTime"]
    change = reported_by(event, SHAPE).change
    assert change is not None
    assert change.committed_at == 1_700_000_000_000


def test_an_update_speaks_of_the_fields_that_it_names_and_of_no_other() -> None:
    """Set, cleared, an application's own: the last is not told."""
    told = _update({"Name": "Acme", "basket": 1}, "Phone")
    assert told.change is not None
    assert told.change.changed == frozenset({"Name", "Phone"})
    assert told.change.fields == {"Name": "Acme"}
    assert told.change.ack is None
    assert not told.incomplete


def test_an_update_that_sets_the_marker_is_the_echo_of_that_write() -> None:
    """Also where nothing else changed: our write may have said what was there already."""
    told = _update({"_salmon.seq": 7})
    assert told.change is not None
    assert (told.change.ack, told.change.changed) == (7, frozenset())


def test_the_first_write_of_ours_to_a_document_makes_its_marker_as_a_whole() -> None:
    """The server then tells `_salmon` itself; what it lacks, the document lacks."""
    told = _update({"_salmon": {"seq": 7, "salesforce_id": "001"}})
    assert told.change is not None
    assert told.change.ack == 7
    assert told.change.changed == frozenset({SALESFORCE_ID, ERROR})
    assert told.change.fields == {SALESFORCE_ID: "001"}


def test_properties_below_the_marker_are_spoken_of_one_by_one() -> None:
    """An error is cleared, an Id is set."""
    told = _update({"_salmon.salesforce_id": "001", "_salmon.seq": 8}, "_salmon.error")
    assert told.change is not None
    assert told.change.changed == frozenset({SALESFORCE_ID, ERROR})
    assert told.change.fields == {SALESFORCE_ID: "001"}


def test_a_marker_that_somebody_removed_answers_no_write() -> None:
    """Merge learns that its properties are gone, and puts them right."""
    told = _update(None, "_salmon")
    assert told.change is not None
    assert (told.change.ack, told.change.changed) == (None, frozenset({SALESFORCE_ID, ERROR}))


@pytest.mark.parametrize(
    "told",
    [
        _update({"Interests.2": "x"}),
        _update(None, "Interests.2"),
        _update(truncated=("Interests",)),
        _update({"Name.first": "x"}),
    ],
    ids=["element", "removed", "truncated", "below"],
)
def test_an_event_that_gives_a_part_of_a_field_asks_for_the_record(told: Reported) -> None:
    """The field is not spoken of; the row that is read will tell it."""
    assert told.incomplete
    assert told.change is None


def test_a_partial_event_still_tells_what_it_gives_in_full() -> None:
    """Two fields changed in one update, one of them in part."""
    told = _update({"Interests.2": "x", "Name": "Acme"})
    assert told.incomplete
    assert told.change is not None
    assert told.change.changed == frozenset({"Name"})


def test_an_update_of_an_applications_own_fields_alone_is_no_change() -> None:
    """Nobody else needs to know of them."""
    told = _update({"basket.items.3": 1}, "seen")
    assert (told.change, told.incomplete) == (None, False)


def test_a_replace_speaks_of_every_field_and_is_never_an_echo() -> None:
    """An application that saves whole documents copies our marker along."""
    event = _event("replace", fullDocument={"_id": "a", "Name": "Acme", "_salmon": {"seq": 7}})
    change = reported_by(event, SHAPE).change
    assert change is not None
    assert (change.op, change.ack) == (Op.UPDATE, None)
    assert change.changed == SHAPE.names


def test_a_delete_has_a_key_and_nothing_else() -> None:
    """Its key is the document's, in the form of its type."""
    told = reported_by(_event("delete", ObjectId("65f000000000000000000001")), SHAPE)
    assert told.key == "$oid:65f000000000000000000001"
    assert told.change is not None
    assert (told.change.op, told.change.fields) == (Op.DELETE, {})


def test_a_value_that_does_not_fit_is_not_spoken_of() -> None:
    """In an update, a creation and a row alike: the rest goes on."""
    update = _update({"Employees": "many", "Name": "Acme"})
    document = {"_id": "a", "Employees": "many", "Name": "Acme"}
    creation = reported_by(_event("insert", fullDocument=document), SHAPE)
    row = row_of(document, SHAPE, as_of=1)
    assert update.change is not None
    assert update.change.changed == frozenset({"Name"})
    for told in (creation, row):
        assert told.change is not None
        assert told.change.changed == SHAPE.names - {"Employees"}
        assert told.misfits.keys() == {"Employees"}


def test_a_row_says_when_it_was_seen_and_which_marker_it_carries_but_has_no_date() -> None:
    """A document does not know when it was last changed, so it loses to any dated edit."""
    change = row_of({"_id": "a", "Name": "Acme", "_salmon": {"seq": 7, "error": "no"}}, SHAPE, as_of=5).change
    assert change is not None
    assert (change.op, change.as_of, change.ack, change.committed_at) == (Op.ROW, 5, 7, 0)
    assert change.fields == {"Name": "Acme", SALESFORCE_ID: None, ERROR: "no"}
    assert absent(as_of=5).op is Op.ABSENT


def test_a_document_whose_id_cannot_be_a_key_is_set_aside() -> None:
    """Its error is the record's, not the stream's."""
    with pytest.raises(BadRecordKey):
        reported_by(_event("delete", {"a": 1}), SHAPE)


def test_documents_of_one_transaction_carry_its_name() -> None:
    """So that a reader can put them together again."""
    event = _event("delete", txnNumber=3, lsid={"id": b"\x01\x02"})
    change = reported_by(event, SHAPE).change
    assert change is not None
    assert change.source["transaction"] == "0102:3"


@pytest.mark.parametrize(
    ("event", "lost"),
    [
        ({"operationType": "drop", "ns": {"coll": "accounts"}}, {"accounts"}),
        ({"operationType": "rename", "ns": {"coll": "new"}, "to": {"coll": "accounts"}}, {"accounts"}),
        ({"operationType": "rename", "ns": {"coll": "accounts"}, "to": {"coll": "old"}}, {"accounts"}),
        ({"operationType": "dropDatabase", "ns": {"db": "crm"}}, {"accounts", "contacts"}),
        ({"operationType": "invalidate"}, {"accounts", "contacts"}),
    ],
    ids=lambda value: value.get("operationType") if isinstance(value, dict) else None,
)
def test_what_a_dropped_or_renamed_collection_holds_must_be_read(
    event: dict[str, Any], lost: set[str]
) -> None:
    """Its documents went, or came, without events of their own."""
    assert collections_replaced_by(event, ["accounts", "contacts"]) == lost


_NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
_MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("shown", "cut"), [(_NOON, {"cut": "Since"}), (_MIDNIGHT, {})], ids=["noon", "midnight"]
)
def test_a_time_of_day_in_a_date_is_left_out_and_told(shown: datetime, cut: dict[str, str]) -> None:
    """Whatever tells of the field: an update, a whole save, a row (case V9)."""
    document = {"_id": "a", "Since": shown}
    for told in (
        _update({"Since": shown}),
        reported_by(_event("replace", fullDocument=document), SHAPE),
        row_of(document, SHAPE, as_of=1),
    ):
        assert told.change is not None
        assert told.change.fields["Since"] == 20_454
        assert {name: text for name, text in told.change.source.items() if name == "cut"} == cut


def test_the_log_tells_once_that_a_time_of_day_was_left_out() -> None:
    """One line for a field of a record, however often it is saved (case V9)."""
    misfits = Misfits()
    with capture_logs() as logged:
        for _ in range(3):
            misfits.cut("Account", _update({"Since": _NOON}))
    assert [(line["event"], line["key"], line["field"]) for line in logged] == [
        ("time_of_day_left_out", "a", "Since")
    ]


@pytest.mark.parametrize("document_id", ["x" * 300, "", " a ", {"a": "\x1b[2J"}, "a\nb" * 100], ids=str)
def test_a_document_that_can_have_no_key_is_named_in_the_log(document_id: Any) -> None:
    """In a short form without control characters, and with the reason (case V8)."""
    with pytest.raises(BadRecordKey) as refused:
        reported_by(_event("delete", document_id), SHAPE)
    with capture_logs() as logged:
        letter = Misfits().without_key("Account", document_id, {"_id": document_id}, refused.value)
    [line] = logged
    assert line["key"] == letter.key[:80]
    assert line["key"].isprintable()
    assert line["reason"] == str(refused.value)
