"""Dead letters of a source, with what fits of the document (case L9)."""

from __future__ import annotations

from typing import Any

from bson.json_util import loads

from salmon.mongodb.misfits import as_bytes

SYNCED = frozenset({"Name", "Notes", "Employees"})
MEGABYTES_15 = "x" * 15_000_000


def told(original: dict[str, Any]) -> Any:
    written = as_bytes(original, SYNCED)
    assert len(written) < 300_000, "far below what a topic takes"
    return loads(written)


def test_a_small_document_is_kept_as_it_is() -> None:
    """Whatever else it holds."""
    document = {"_id": "a", "Name": "Acme", "theirs": 1}
    assert told(document) == document


def test_of_a_document_with_a_huge_field_the_synced_ones_are_kept() -> None:
    """What is not of the sync goes first, and is named."""
    event = {"operationType": "insert", "documentKey": {"_id": "a"}}
    document = {"_id": "a", "Name": "Acme", "Employees": "twelve", "scan": MEGABYTES_15}
    kept = told({**event, "fullDocument": document})
    assert kept["documentKey"] == {"_id": "a"}
    assert kept["fullDocument"] == {"_id": "a", "Name": "Acme", "Employees": "twelve", "$leftOut": ["scan"]}


def test_of_huge_synced_fields_those_are_kept_that_fit() -> None:
    """The smallest first."""
    assert told({"_id": "a", "Notes": MEGABYTES_15, "Employees": "twelve"}) == {
        "_id": "a",
        "Employees": "twelve",
        "$leftOut": ["Notes"],
    }


def test_of_an_update_what_it_set_is_kept_that_fits() -> None:
    """By the names of the fields, also where a path is below one."""
    updated = {"Employees": "twelve", "theirs.scan": MEGABYTES_15}
    event = {
        "operationType": "update",
        "updateDescription": {"updatedFields": updated, "removedFields": ["Name"]},
    }
    assert told(event)["updateDescription"] == {
        "updatedFields": {"Employees": "twelve", "$leftOut": ["theirs.scan"]},
        "removedFields": ["Name"],
    }
