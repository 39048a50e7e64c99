"""What becomes of a write that MongoDB answers with an error."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from pymongo.errors import BulkWriteError

from salmon.errors import Unavailable
from salmon.model.change import OWNED_BY_MERGE, Write, WriteOp
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.mongodb.documents import DocumentShape, marker_of
from salmon.mongodb.writing.delivery import carry_out
from salmon.plugin.contract import OutcomeKind, SinkRecord
from support.world.database import Collection, Database
from support.world.nature import ADDED, GROWN, Knobs, Nature
from support.world.nature import SCHEMA as BEFORE

SCHEMA = ObjectSchema("Account", (FieldSchema("Name", "string", Kind.STRING),))


class Refusing:
    """
    A collection whose server answers every operation with one error code, or takes it, and says of the whole that no
    majority confirmed it (*unconfirmed*: that error's code).
    """

    full_name = "crm.Account"

    def __init__(self, code: int | None = None, *, unconfirmed: int | None = None) -> None:
        self.code, self.unconfirmed = code, unconfirmed

    def bulk_write(self, operations: list[Any], *, ordered: bool) -> None:
        assert not ordered
        count = len(operations)
        errors = [{"index": index, "code": self.code, "errmsg": ""} for index in range(count) if self.code]
        taken = 0 if self.code else count
        doubts = [] if self.unconfirmed is None else [{"code": self.unconfirmed, "errmsg": ""}]
        raise BulkWriteError(
            {"writeErrors": errors, "writeConcernErrors": doubts, "nMatched": taken, "nRemoved": taken}
        )


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        pytest.param(371, OutcomeKind.RETRY_LATER, id="all writes of users are blocked"),
        pytest.param(14031, OutcomeKind.RETRY_LATER, id="the disk is full"),
        pytest.param(121, OutcomeKind.REFUSED, id="the validator refuses the document"),
    ],
)
def test_what_befalls_the_whole_server_is_no_fault_of_the_record(code: int, kind: OutcomeKind) -> None:
    """Such writes are put again until the server takes them; only what the record is to blame for is set aside."""
    collection: Any = Refusing(code)
    record = SinkRecord("Account", "001000000000001AAA", Write(10, WriteOp.CREATE, fields={"Name": "A"}))
    (outcome,) = carry_out(collection, DocumentShape(SCHEMA, frozenset({"Account"})), [record])
    assert outcome.kind is kind


@pytest.mark.parametrize("op", list(WriteOp))
@pytest.mark.parametrize("refused", [None, 121])
def test_a_write_that_no_majority_has_confirmed_is_not_applied(op: WriteOp, refused: int | None) -> None:
    """An election may take it back: nothing is known of any of the batch, and it is put again."""
    collection: Any = Refusing(refused, unconfirmed=64)
    fields = {} if op is WriteOp.DELETE else {"Name": "A"}
    record = SinkRecord("Account", "001000000000001AAA", Write(10, op, expected=5, fields=fields))
    with pytest.raises(Unavailable, match=r"majority holds a write to crm\.Account \(code 64\)"):
        carry_out(collection, DocumentShape(SCHEMA, frozenset({"Account"})), [record])


@pytest.mark.parametrize(
    ("knows", "added"),
    [(frozenset(BEFORE.by_name), "a user's"), (None, None)],
    ids=["older writer", "our own"],
)
def test_a_creation_over_ours_clears_only_the_fields_that_its_writer_knew(
    knows: frozenset[str] | None, added: str | None
) -> None:
    """Of a field that was added after the write, it says nothing, and a user's value in it stays. (Case L6.)"""
    database = Database(Nature(Random(1), Knobs()), 0)
    key, shape = "001000000000001AAA", DocumentShape(GROWN, frozenset({"Account"}))
    collection: Any = Collection(database, "accounts")
    carry_out(
        collection, shape, [SinkRecord("Account", key, Write(10, WriteOp.CREATE, fields={"Name": "A"}))]
    )
    database.set(key, {ADDED: "a user's", "City": "Oslo"})
    creation = Write(11, WriteOp.CREATE, fields={"Name": "B"}, knows=knows)
    carry_out(collection, shape, [SinkRecord("Account", key, creation)])
    document = database.documents[key]
    assert (document["Name"], document.get("City"), document.get(ADDED)) == ("B", None, added)


@pytest.mark.parametrize(
    ("made_by", "city", "phone"),
    [(10, "a user's", "a user's"), (9, "Oslo", None)],
    ids=["on its way", "older"],
)
def test_a_creation_over_an_earlier_one_on_its_way_changes_only_what_differs(
    made_by: int, city: str, phone: str | None
) -> None:
    """What both say was there, and a user has edited it since. A document that none of them has made is set as a whole."""
    database = Database(Nature(Random(1), Knobs()), 0)
    key, shape = "001000000000001AAA", DocumentShape(BEFORE, frozenset({"Account"}))
    collection: Any = Collection(database, "accounts")
    first = Write(made_by, WriteOp.CREATE, fields={"Name": "A", "City": "Oslo"})
    carry_out(collection, shape, [SinkRecord("Account", key, first)])
    database.set(key, {"City": "a user's", "Phone": "a user's"})
    again = Write(
        12,
        WriteOp.CREATE,
        expected=10,
        fields={"Name": "B", "City": "Oslo"},
        differs=frozenset({"Name", *OWNED_BY_MERGE}),
    )
    carry_out(collection, shape, [SinkRecord("Account", key, again)])
    document = database.documents[key]
    assert (document["Name"], document["City"], document.get("Phone")) == ("B", city, phone)
    assert marker_of(document) == 12


def test_a_creation_of_what_is_not_there_sets_all_that_it_says() -> None:
    """The earlier ones were never carried out: the newest is all there is."""
    database = Database(Nature(Random(1), Knobs()), 0)
    key, shape = "001000000000001AAA", DocumentShape(BEFORE, frozenset({"Account"}))
    collection: Any = Collection(database, "accounts")
    fields = {"Name": "B", "City": "Oslo"}
    creation = Write(12, WriteOp.CREATE, expected=10, fields=fields, differs=frozenset({"Name"}))
    carry_out(collection, shape, [SinkRecord("Account", key, creation)])
    assert database.documents[key].items() >= fields.items()
