"""What documents and events of an object with several collections mean."""

from __future__ import annotations

import pytest
from bson.int64 import Int64
from bson.timestamp import Timestamp

from salmon.model.change import PLACE, TWICE, Op
from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.reading.events import reported_by
from salmon.mongodb.reading.placed import Half, is_for_a_row, places_after, row_of_places
from support.world.nature import OBJECT, SCHEMA

SHAPE = DocumentShape(SCHEMA, frozenset({OBJECT}), placed=True)
DOCUMENT = {"_id": "m1", "Name": "Acme", "_salmon": {"seq": Int64(7)}}


def test_a_row_says_where_the_document_is() -> None:
    """Among its fields, with the marker that it carries."""
    change = row_of_places("m1", {"partners": DOCUMENT}, SHAPE, as_of=5).change
    assert change is not None
    assert (change.op, change.ack, change.fields[PLACE]) == (Op.ROW, 7, "partners")


def test_what_is_nowhere_is_absent() -> None:
    """In none of the collections."""
    change = row_of_places("m1", {}, SHAPE, as_of=5).change
    assert change is not None
    assert change.op is Op.ABSENT


def test_of_two_documents_a_row_says_that_there_are_two_and_nothing_else() -> None:
    """The misfit names both collections, for the person who has to decide."""
    reported = row_of_places("m1", {"accounts": DOCUMENT, "partners": DOCUMENT}, SHAPE, as_of=5)
    change = reported.change
    assert change is not None
    assert (change.changed, dict(change.fields), change.misfits[PLACE].code) == (frozenset(), {}, TWICE)
    assert "accounts and partners" in change.misfits[PLACE].reason
    assert "accounts and partners" in str(reported.misfits[PLACE])


@pytest.mark.parametrize(
    ("operation", "places", "for_a_row"),
    [
        ("insert", 0, False),
        ("insert", 1, False),
        ("insert", 2, True),
        ("delete", 0, False),
        ("delete", 1, True),
        ("delete", 2, True),
        ("update", 2, False),
        ("replace", 1, False),
    ],
)
def test_an_end_and_a_second_beginning_are_for_a_row(operation: str, places: int, *, for_a_row: bool) -> None:
    """A deletion counts only if the document is nowhere, and an insert only if it is the only one."""
    assert is_for_a_row(operation, places) is for_a_row


def test_what_there_was_after_each_event_is_counted_back_from_the_last() -> None:
    """A document gets a copy, is deleted, and then the copy is: only the last event is the record's end. Other records do not count."""
    halves = [
        Half("insert", "m1", 2),
        Half("delete", "m1", 3),
        Half("insert", "m2", 4),
        Half("delete", "m1", 5),
    ]
    assert places_after(halves, {"m2": 1}) == [2, 1, 1, 0]


def test_between_the_events_of_a_transaction_is_no_moment() -> None:
    """A move is one: the document is in one collection before and after, and never in two or in none."""
    halves = [Half("insert", "m1", 2), Half("insert", "m1", 7), Half("delete", "m1", 7)]
    assert places_after(halves, {"m1": 1}) == [1, 1, 1]


@pytest.mark.parametrize(
    "event",
    [
        {"operationType": "insert", "fullDocument": DOCUMENT},
        {"operationType": "replace", "fullDocument": DOCUMENT},
        {
            "operationType": "update",
            "updateDescription": {"updatedFields": {"Name": "Globex"}, "removedFields": []},
        },
        {"operationType": "delete"},
    ],
    ids=lambda event: str(event["operationType"]),
)
def test_each_event_says_from_which_collection_it_comes(event: dict[str, object]) -> None:
    """Of an object with one collection, none does."""
    whole = {
        **event,
        "_id": {"_data": "82"},
        "ns": {"coll": "partners"},
        "documentKey": {"_id": "m1"},
        "clusterTime": Timestamp(1, 1),
    }
    placed = reported_by(whole, SHAPE).change
    assert placed is not None
    assert placed.fields[PLACE] == "partners"
    assert placed.changed is None or PLACE in placed.changed
    alone = reported_by(whole, DocumentShape(SCHEMA, frozenset({OBJECT}))).change
    assert alone is not None
    assert PLACE not in alone.fields
