"""Writes to an object with several collections: where they go, and what moves with a document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random
from typing import Any

import pytest
from bson.int64 import Int64

from salmon.model.change import PLACE, TWICE, Value, Write, WriteOp
from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.writing.blocked import CHANGED
from salmon.mongodb.writing.places import carry_out_placed
from salmon.plugin.contract import Outcome, OutcomeKind, SinkRecord
from support.world.database import Collection, Database
from support.world.nature import OBJECT, SCHEMA, Knobs, Nature

ACCOUNTS, PARTNERS = "accounts", "partners"
KEY = "001000000000001AAA"


class WithoutMajority(Collection):
    """One whose documents no majority has: a snapshot does not show them."""

    def find(self, wanted: Mapping[str, Any], _: Any, session: Any = None) -> Iterable[dict[str, Any]]:
        return [] if session is not None else super().find(wanted, _)


class Collections:
    """Two collections of one object, and the sink's writes to them."""

    def __init__(self) -> None:
        self.database = Database(Nature(Random(1), Knobs()), 0)
        self.kind = Collection

    def put(self, write: Write, *, is_read: bool = True) -> Outcome:
        collections: Any = {name: self.kind(self.database, name) for name in (ACCOUNTS, PARTNERS)}
        shape = DocumentShape(SCHEMA, frozenset({OBJECT}), placed=True)
        [outcome] = carry_out_placed(collections, shape, [SinkRecord(OBJECT, KEY, write)], is_read=is_read)
        return outcome

    def holds(self, place: str, seq: int | None = 7, **fields: object) -> None:
        marker = {} if seq is None else {"_salmon": {"seq": Int64(seq)}}
        self.database.insert(
            {"_id": KEY, "Name": "Acme", "own": {"of": ["the", "application"]}, **fields, **marker}, place
        )

    @property
    def there(self) -> dict[str, dict[str, Any]]:
        return self.database.all_of(KEY)


@pytest.fixture
def two() -> Collections:
    return Collections()


def write(op: WriteOp, seq: int = 9, expected: int = 7, /, **fields: Value) -> Write:
    place = {PLACE: PARTNERS} if op is not WriteOp.DELETE else {}
    return Write(seq, op, expected=expected, fields={**fields, **place})


def test_a_creation_goes_to_the_collection_that_it_names(two: Collections) -> None:
    """It is an insert there, and nothing in the other one."""
    assert two.put(write(WriteOp.CREATE, Name="Acme")).kind is OutcomeKind.APPLIED
    assert two.there.keys() == {PARTNERS}
    assert PLACE not in two.there[PARTNERS]


def test_a_move_takes_along_what_is_the_applications_own(two: Collections) -> None:
    """The document is the same in its new collection, but for what the write sets and clears."""
    two.holds(ACCOUNTS, Phone="555 0100", City="Oslo")
    assert two.put(write(WriteOp.UPDATE, Phone="555 0101", City=None)).kind is OutcomeKind.APPLIED
    assert two.there == {
        PARTNERS: {
            "_id": KEY,
            "Name": "Acme",
            "own": {"of": ["the", "application"]},
            "Phone": "555 0101",
            "_salmon": {"seq": 9},
        }
    }


@pytest.mark.parametrize("marker", [9, 10])
def test_a_repeated_or_older_write_moves_nothing(two: Collections, marker: int) -> None:
    """By the marker, as everywhere: somebody has moved the document after that."""
    two.holds(ACCOUNTS, marker)
    done = OutcomeKind.APPLIED if marker == 9 else OutcomeKind.SKIPPED
    assert two.put(write(WriteOp.UPDATE, Name="Globex")).kind is done
    assert two.there[ACCOUNTS]["Name"] == "Acme"


def test_a_document_that_nobody_has_read_is_not_moved(two: Collections) -> None:
    """It has no marker although the record has one: a different record with the same key."""
    two.holds(ACCOUNTS, None)
    assert two.put(write(WriteOp.UPDATE)).kind is OutcomeKind.EXISTS
    assert two.put(write(WriteOp.CREATE, 9, 0)).kind is OutcomeKind.EXISTS
    assert two.there.keys() == {ACCOUNTS}


def test_a_document_of_which_all_was_told_is_moved_without_a_marker(two: Collections) -> None:
    """As an update applies to it where it is."""
    two.holds(ACCOUNTS, None)
    assert two.put(write(WriteOp.UPDATE, 9, 0)).kind is OutcomeKind.APPLIED
    assert two.there[PARTNERS]["own"] == {"of": ["the", "application"]}


def test_a_creation_moves_what_an_earlier_one_has_made(two: Collections) -> None:
    """It becomes the update of all fields, in the collection that it names."""
    two.holds(ACCOUNTS, City="Oslo")
    assert two.put(write(WriteOp.CREATE, 9, 0, Name="Globex")).kind is OutcomeKind.APPLIED
    assert two.there.keys() == {PARTNERS}
    assert (two.there[PARTNERS]["Name"], two.there[PARTNERS].get("City")) == ("Globex", None)


def test_a_creation_waits_for_what_no_majority_has_yet(two: Collections) -> None:
    """An earlier one made it in another collection, and its answer never came: a second document must not stand beside it."""
    two.kind = WithoutMajority
    two.holds(ACCOUNTS, seq=3)
    assert two.put(write(WriteOp.CREATE, 9, 0, Name="Globex")) is CHANGED
    two.kind = Collection
    assert two.put(write(WriteOp.CREATE, 9, 0, Name="Globex")).kind is OutcomeKind.APPLIED
    assert two.there.keys() == {PARTNERS}


def test_a_write_that_names_no_place_goes_where_the_document_is(two: Collections) -> None:
    """So does a deletion."""
    two.holds(PARTNERS)
    assert (
        two.put(Write(8, WriteOp.UPDATE, expected=7, fields={"Name": "Globex"})).kind is OutcomeKind.APPLIED
    )
    assert two.there[PARTNERS]["Name"] == "Globex"
    assert two.put(write(WriteOp.DELETE, 9, 8)).kind is OutcomeKind.APPLIED
    assert two.there == {}


@pytest.mark.parametrize("op", [WriteOp.UPDATE, WriteOp.DELETE])
def test_what_is_in_no_collection_is_gone(two: Collections, op: WriteOp) -> None:
    """The source looks for it then."""
    assert two.put(write(op)).kind is OutcomeKind.GONE


@pytest.mark.parametrize("op", list(WriteOp))
def test_nothing_is_written_to_either_of_two_documents(two: Collections, op: WriteOp) -> None:
    """Nobody can say which one is the record. Where the source reads the object, it says so; where not, the write is refused."""
    two.holds(ACCOUNTS)
    two.holds(PARTNERS)
    before = {place: dict(document) for place, document in two.there.items()}
    outcome = two.put(write(op, Name="Globex") if op is not WriteOp.DELETE else write(op))
    assert (outcome.kind, outcome.code) == (OutcomeKind.EXISTS, TWICE)
    assert "accounts and partners" in outcome.reason
    assert two.put(write(op), is_read=False).kind is OutcomeKind.REFUSED
    assert two.there == before


def test_a_collection_that_this_process_does_not_know_is_waited_for(two: Collections) -> None:
    """Merge has another configuration already: the write is repeated, and nothing is lost."""
    unknown = Write(9, WriteOp.CREATE, fields={"Name": "Acme", PLACE: "suppliers"})
    assert two.put(unknown).kind is OutcomeKind.RETRY_LATER
    assert two.put(Write(9, WriteOp.CREATE, fields={"Name": "Acme"})).kind is OutcomeKind.RETRY_LATER
    assert two.there == {}
