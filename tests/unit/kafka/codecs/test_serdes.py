"""Our shapes as bytes and back: what each of them must not lose."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from salmon.errors import SchemaMismatch
from salmon.kafka.codecs.avro import Codec
from salmon.kafka.codecs.serdes import (
    Changes,
    ConflictRecord,
    Conflicts,
    Identities,
    Offsets,
    Records,
    Signals,
    Writes,
)
from salmon.model.change import (
    ERROR,
    MONGODB,
    OWNED_BY_MERGE,
    PLACE,
    SALESFORCE,
    SALESFORCE_ID,
    Change,
    Op,
    Value,
    Write,
    WriteOp,
)
from salmon.model.policies import EXISTENCE, HOLD, LAST_WRITER_WINS, Contest, Edit, Policy
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.plugin.contract import Signal, SignalKind
from support.at_hand.registries import MemoryRegistry

ACCOUNT = ObjectSchema(
    "Account",
    (
        FieldSchema("Name", "string", Kind.STRING),
        FieldSchema("Phone", "phone", Kind.STRING),
        FieldSchema("Tags__c", "multipicklist", Kind.STRINGS),
        FieldSchema("Worth__c", "currency", Kind.DECIMAL, precision=18, scale=2),
        FieldSchema("Count__c", "int", Kind.INT),
    ),
)


@pytest.fixture
def registry() -> MemoryRegistry:
    return MemoryRegistry()


@pytest.fixture
def changes(registry: MemoryRegistry) -> Changes:
    return Changes(ACCOUNT, registry, "crm.changes.Account")


@pytest.fixture
def writes(registry: MemoryRegistry) -> Writes:
    return Writes(ACCOUNT, registry, "crm.writes.mongodb.Account")


def test_a_change_comes_back_as_it_was(changes: Changes) -> None:
    """Everything that a side told survives: clocks, order, marker, names, values and what nobody judges by."""
    change = Change(
        origin=SALESFORCE,
        op=Op.UPDATE,
        committed_at=1_700_000_000_000,
        commit_time=1_700_000_000_000,
        order=b"\0\xff\1",
        native_id="0015g00000Xyz12AAA",
        ack=2**53,
        changed=frozenset({"Name", "Tags__c"}),
        fields={"Name": "Ä", "Tags__c": ("a", "b")},
        source={"replay_id": "AAAB"},
    )
    assert changes.decode(changes.encode(change)) == change


@pytest.mark.parametrize("op", list(Op))
def test_every_op_has_its_symbol(changes: Changes, op: Op) -> None:
    """What the model can say, the schema can."""
    assert changes.decode(changes.encode(Change(MONGODB, op))).op is op


def test_a_cleared_field_is_named_and_an_untold_one_is_not(changes: Changes) -> None:
    """Null in a field that is not named never means cleared."""
    change = Change(
        MONGODB, Op.UPDATE, changed=frozenset({"Name", "Phone"}), fields={"Name": "A", "Phone": None}
    )
    told = changes.decode(changes.encode(change))
    assert told.changed == frozenset({"Name", "Phone"})
    assert told.fields == {"Name": "A"}, "the name says that Phone was cleared; null says it a second time"


def test_what_speaks_of_everything_is_not_what_speaks_of_nothing(changes: Changes) -> None:
    """None names all fields; an empty set names none of them, as an event that only moved our marker."""
    for changed in (None, frozenset[str]()):
        assert changes.decode(changes.encode(Change(MONGODB, Op.UPDATE, changed=changed))).changed == changed


def test_merges_own_properties_travel_among_the_fields(changes: Changes, writes: Writes) -> None:
    """The Id that a record got and the refusal that its document shows are told like fields."""
    fields = {"Name": "A", SALESFORCE_ID: "0015g00000Xyz12AAA", ERROR: "STRING_TOO_LONG"}
    change = Change(MONGODB, Op.ROW, fields=fields)
    assert changes.decode(changes.encode(change)).fields == fields
    write = Write(seq=7, op=WriteOp.UPDATE, fields={**fields, ERROR: None})
    assert writes.decode(writes.encode(write)) == write


def test_equal_changes_are_equal_bytes(changes: Changes) -> None:
    """A set has no order of its own; the bytes must have one."""
    names = [f"Field{n}__c" for n in range(50)]
    forth = Change(MONGODB, Op.UPDATE, changed=frozenset(names))
    back = Change(MONGODB, Op.UPDATE, changed=frozenset(reversed(names)))
    assert changes.encode(forth) == changes.encode(back)


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(Write(seq=1, op=WriteOp.CREATE, fields={"Name": "A", "Count__c": 0}), id="create"),
        pytest.param(
            Write(seq=2, op=WriteOp.UPDATE, expected=1, fields={"Name": "B", "Phone": None}), id="clears"
        ),
        pytest.param(Write(seq=3, op=WriteOp.UPDATE, expected=1), id="nothing differs"),
        pytest.param(
            Write(seq=4, op=WriteOp.DELETE, expected=3, native_id="0015g00000Xyz12AAA", correlation="c-1"),
            id="delete",
        ),
    ],
)
def test_a_write_comes_back_as_it_was(writes: Writes, write: Write) -> None:
    """A field to clear, a field to leave alone and a field to set stay three different things."""
    assert writes.decode(writes.encode(write)) == write


def test_a_write_does_not_clear_a_field_that_has_left_the_object(registry: MemoryRegistry) -> None:
    """A sink that restarts with the new schema carries out what is left of an old command."""
    older = ObjectSchema("Account", (*ACCOUNT.fields, FieldSchema("Fax", "phone", Kind.STRING)))
    data = Writes(older, registry, "crm.writes.mongodb.Account").encode(
        Write(seq=1, op=WriteOp.UPDATE, fields={"Name": "A", "Phone": None, "Fax": None})
    )
    told = Writes(ACCOUNT, registry, "crm.writes.mongodb.Account").decode(data)
    assert told.fields == {"Name": "A", "Phone": None}


def test_a_row_has_every_field(registry: MemoryRegistry) -> None:
    """`records` is a flat table: a field that is not set is null, not missing."""
    records = Records(ACCOUNT, registry, "crm.records.Account")
    row: dict[str, Value] = {"Name": "A", "Worth__c": Decimal("12.30"), "Tags__c": ("x;y", "z")}
    assert records.decode(records.encode(row)) == {**row, "Phone": None, "Count__c": None}


def test_a_field_that_the_object_lacks_is_refused(changes: Changes) -> None:
    """To drop it in silence would lose what a side told."""
    with pytest.raises(SchemaMismatch, match=r"fields\.Fax"):
        changes.encode(Change(MONGODB, Op.UPDATE, fields={"Fax": "1"}))


def test_a_position_is_any_json(registry: MemoryRegistry) -> None:
    """Its content is the connector's own: tokens, nested windows, lists."""
    offsets = Offsets(registry, "crm.offsets")
    position = {"replay_id": "AAAB", "windows": [{"from": 1, "until": None}], "done": False}
    assert offsets.decode(offsets.encode(position)) == position


def test_an_identity_is_a_record_key(registry: MemoryRegistry) -> None:
    """Keys may hold anything that is text."""
    identities = Identities(registry, "crm.identity.Account")
    assert identities.decode(identities.encode("$oid:65f0ü")) == "$oid:65f0ü"


def test_a_signals_id_is_its_offset(registry: MemoryRegistry) -> None:
    """So that a source can say which requests it has answered, whoever made them."""
    signals = Signals(registry, "crm.signals.salesforce-source")
    asked = Signal(0, SignalKind.READ, "Account", keys=("a", "b"), native_ids=("001",), reason="GONE")
    told = signals.decode(signals.encode(asked), offset=42)
    assert told == Signal(42, SignalKind.READ, "Account", keys=("a", "b"), native_ids=("001",), reason="GONE")


def test_a_conflict_keeps_both_values_and_says_who_won(registry: MemoryRegistry) -> None:
    """A person reads it months later, when neither side shows the loser's value any more."""
    conflicts = Conflicts(registry, "crm.conflicts")
    contest = Contest(
        object="Account",
        key="0015g00000Xyz12AAA",
        field="Tags__c",
        standing=Edit(SALESFORCE, ("a", "b"), 5),
        challenger=Edit(MONGODB, None, 7),
        ties=SALESFORCE,
    )
    record = ConflictRecord(LAST_WRITER_WINS(contest), seq=9, correlation="c-1")
    told = conflicts.decode(conflicts.encode(record))
    assert told == record
    assert told.conflict.winner == contest.challenger


@pytest.mark.parametrize("value", ["text", True, 0, 1.5, ("x",), None])
def test_a_held_conflict_has_no_winner(registry: MemoryRegistry, value: Any) -> None:
    """Both values wait for a person; a value of any type may."""
    conflicts = Conflicts(registry, "crm.conflicts")
    edits = Edit(SALESFORCE, value, 5), Edit(MONGODB, False, 7)
    record = ConflictRecord(HOLD(Contest("Account", "k", EXISTENCE, *edits, ties=MONGODB)), seq=9)
    assert conflicts.decode(conflicts.encode(record)) == record


def test_a_conflict_that_its_policy_could_not_decide_says_why(registry: MemoryRegistry) -> None:
    """A plugin's mistake is told where people look, and never a value."""
    conflicts = Conflicts(registry, "crm.conflicts")
    contest = Contest("Account", "k", "Name", Edit(SALESFORCE, "a", 5), Edit(MONGODB, "b", 7), MONGODB)
    broken = Policy("broken", lambda told: Edit("nobody", "c", 9))
    told = conflicts.decode(conflicts.encode(ConflictRecord(broken(contest), seq=9))).conflict
    assert (told.policy, told.winner) == ("broken", None)
    assert told.fault == "it returned a Edit that is neither of the two edits"


def test_a_decimal_in_a_conflict_keeps_its_digits(registry: MemoryRegistry) -> None:
    """As text: a JSON number would be a double to most readers."""
    conflicts = Conflicts(registry, "crm.conflicts")
    edits = Edit(SALESFORCE, Decimal("0.10"), 5), Edit(MONGODB, Decimal("123456789012345678.90"), 7)
    record = ConflictRecord(
        LAST_WRITER_WINS(Contest("Account", "k", "Worth__c", *edits, ties=MONGODB)), seq=9
    )
    told = conflicts.decode(conflicts.encode(record)).conflict.contest
    assert (told.standing.value, told.challenger.value) == ("0.10", "123456789012345678.90")


@pytest.mark.parametrize("make", [Changes, Writes, Records])
def test_bytes_of_another_object_are_a_data_error(
    registry: MemoryRegistry, make: Callable[[ObjectSchema, MemoryRegistry, str], Any]
) -> None:
    """A record in the wrong topic is set aside, and never taken for one of ours with all fields empty."""
    other = ObjectSchema("Contact", (FieldSchema("Count__c", "string", Kind.STRING),))
    stray = Records(other, registry, "crm.records.Contact").encode({"Count__c": "many"})
    with pytest.raises(SchemaMismatch):
        make(ACCOUNT, registry, "crm.x.Account").decode(stray)


MORE = (
    FieldSchema("Site", "string", Kind.STRING),
    FieldSchema("Rank", "double", Kind.DOUBLE, live=False),
)


def reader(registry: MemoryRegistry, *fields: FieldSchema) -> Changes:
    """The reader of a sync with these fields."""
    return Changes(replace(ACCOUNT, fields=fields), registry, "crm.changes.Account")


@pytest.mark.parametrize("op", [Op.CREATE, Op.UPDATE, Op.ROW])
def test_a_change_of_an_older_schema_says_nothing_of_the_fields_that_it_lacks(
    changes: Changes, registry: MemoryRegistry, op: Op
) -> None:
    """They are not null, nor what they were: whoever wrote it did not know that they exist."""
    older = changes.encode(Change(MONGODB, op, fields={"Name": "A"}))
    told = reader(registry, *ACCOUNT.fields, *MORE).decode(older)
    assert told.knows == frozenset({*ACCOUNT.by_name, *OWNED_BY_MERGE})
    assert changes.decode(older).knows is None


@pytest.mark.parametrize("op", list(WriteOp))
def test_a_write_of_an_older_schema_says_which_fields_its_writer_knew(
    registry: MemoryRegistry, op: WriteOp
) -> None:
    """A creation that clears what it does not name must leave the others alone. (Case L6.)"""
    older, newer = (
        Writes(replace(ACCOUNT, fields=fields), registry, "crm.writes.mongodb.Account")
        for fields in (ACCOUNT.fields, (*ACCOUNT.fields, *MORE))
    )
    written = older.encode(Write(7, op, fields={"Name": "A"}))
    assert newer.decode(written).knows == frozenset({*ACCOUNT.by_name, *OWNED_BY_MERGE})
    assert older.decode(written).knows is None


def test_a_creation_says_which_fields_it_must_not_clear_although_its_writer_knew_them(
    registry: MemoryRegistry,
) -> None:
    """An earlier one, of a time when the sync did not know them, has perhaps made the record. (Case L6.)"""
    older, newer = (
        Writes(replace(ACCOUNT, fields=fields), registry, "crm.writes.mongodb.Account")
        for fields in (ACCOUNT.fields, (*ACCOUNT.fields, *MORE))
    )
    every = frozenset({*ACCOUNT.by_name, *OWNED_BY_MERGE})
    creation = Write(7, WriteOp.CREATE, fields={"Name": "A"}, knows=every - {"Phone"})
    assert older.decode(older.encode(creation)) == creation
    assert newer.decode(older.encode(creation)).knows == every - {"Phone"}, "nor what was added since"


def test_a_creation_says_in_which_fields_it_differs_from_earlier_ones(registry: MemoryRegistry) -> None:
    """In no field at all is not the same as that there are no earlier ones."""
    writes = Writes(ACCOUNT, registry, "crm.writes.mongodb.Account")
    for differs in (None, frozenset[str](), frozenset({"Name", ERROR})):
        creation = Write(7, WriteOp.CREATE, expected=5, fields={"Name": "A"}, differs=differs)
        assert writes.decode(writes.encode(creation)) == creation


def test_a_write_of_a_time_before_a_field_was_put_back_does_not_know_it(registry: MemoryRegistry) -> None:
    """It was written when the field was synced once; what is there now came when it was not. (Case L6.)"""
    phone = tuple(replace(field, since=9 if field.name == "Phone" else 0) for field in ACCOUNT.fields)
    before, after = (
        Writes(schema, registry, "crm.writes.mongodb.Account")
        for schema in (replace(ACCOUNT, generation=5), replace(ACCOUNT, fields=phone, generation=9))
    )
    knows = after.decode(before.encode(Write(7, WriteOp.CREATE, fields={"Name": "A"}))).knows
    assert knows == frozenset({*ACCOUNT.by_name, *OWNED_BY_MERGE}) - {"Phone"}
    assert after.decode(after.encode(Write(8, WriteOp.CREATE, fields={"Name": "A"}))).knows is None


def test_a_change_tells_whether_our_own_user_made_it(changes: Changes) -> None:
    """What follows of our writes is told apart from what people do by it."""
    for by_us in (True, False):
        told = changes.decode(changes.encode(Change(SALESFORCE, Op.DELETE, order=b"1", by_us=by_us)))
        assert told.by_us is by_us


def test_an_event_of_a_time_when_a_field_did_not_come_by_events_says_nothing_of_it(
    registry: MemoryRegistry,
) -> None:
    """The same fields, and one of them is live by now: rows told of it before, and no event did."""
    site, rank = MORE
    older, newer = reader(registry, site, rank), reader(registry, site, replace(rank, live=True))
    event, row = Change(SALESFORCE, Op.CREATE), Change(SALESFORCE, Op.ROW)
    assert newer.decode(older.encode(event)).knows == frozenset({"Site", *OWNED_BY_MERGE})
    assert newer.decode(older.encode(row)).knows is None
    assert newer.decode(newer.encode(event)).knows is None


def test_a_change_of_a_schema_with_more_fields_says_all_that_we_know(
    changes: Changes, registry: MemoryRegistry
) -> None:
    """A field that has been taken out of the sync takes nothing along."""
    more = reader(registry, *ACCOUNT.fields, *MORE)
    told = changes.decode(more.encode(Change(SALESFORCE, Op.ROW, fields={"Site": "Rome"})))
    assert (told.knows, told.fields) == (None, {})


def test_a_change_and_a_write_say_in_which_collection_a_document_is(changes: Changes, writes: Writes) -> None:
    """Beside the row, as the other properties of a document that merge owns."""
    row = Change(MONGODB, Op.ROW, as_of=5, fields={"Name": "A", PLACE: "partners"})
    assert changes.decode(changes.encode(row)) == row
    move = Write(7, WriteOp.UPDATE, fields={"Phone": None, PLACE: "partners"})
    assert writes.decode(writes.encode(move)) == move


def test_a_document_that_a_source_of_before_tells_of_may_be_anywhere(registry: MemoryRegistry) -> None:
    """Its schema has no place to say where: that is not said, and does not mean nowhere. Of Salesforce's changes it says nothing."""
    reading = reader(registry, *ACCOUNT.fields)
    envelope = copy.deepcopy(dict(reading.schema))
    envelope["fields"] = [field for field in envelope["fields"] if field["name"] != "collection"]
    older = Codec(envelope, registry, "crm.changes.Account")
    for origin, knows in (
        (MONGODB, frozenset({*ACCOUNT.by_name, *OWNED_BY_MERGE}) - {PLACE}),
        (SALESFORCE, None),
    ):
        datum = {
            "origin": origin,
            "op": Op.ROW,
            "as_of": 5,
            "order": b"",
            "source": {},
            "fields": {"Name": "A"},
        }
        assert reading.decode(older.encode_datum(datum)).knows == knows


def test_a_row_of_an_object_of_which_no_field_is_synced_is_a_row(registry: MemoryRegistry) -> None:
    """`fields: {include: []}`: such a record exists, and has no values. If fields are synced later, it has none of theirs."""
    topic = "crm.records.Nothing__c"
    codec = Records(ObjectSchema("Nothing__c", ()), registry, topic)
    row = codec.encode({})
    assert codec.decode(row) == {}
    name = FieldSchema("Name", "string", Kind.STRING)
    later = Records(ObjectSchema("Nothing__c", (name,)), registry, topic)
    assert later.decode(row).get("Name") is None
    head_only = later.encode({"Name": "Acme"})[: len(row)]
    with pytest.raises(SchemaMismatch, match="cannot be read by its schema"):
        later.decode(head_only)
