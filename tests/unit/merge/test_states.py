"""States go on when the sync begins to know other fields."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

from salmon.kafka.codecs import schemas
from salmon.kafka.codecs.avro import Codec
from salmon.kafka.codecs.serdes import Changes
from salmon.merge.states import States
from salmon.model.change import MONGODB, NOT_OF_TYPE, SALESFORCE, SIDES, Change, Misfit, Op, WriteOp
from salmon.model.fold import fold
from salmon.model.policies import EXISTENCE
from salmon.model.rules import Rules
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.model.state import NEVER, Overwritten, Park, Parked, Sent, SideState, new_state
from support.at_hand.registries import MemoryRegistry
from support.world.nature import ADDED, GROWN, SCHEMA

TOPIC = "crm.state.Account"


def test_a_field_that_is_synced_no_more_waits_for_nobody() -> None:
    """It was held when it was taken out of the sync: nobody could ever resolve it, and status would tell of it for ever."""
    registry, rules = MemoryRegistry(), Rules(GROWN)
    state = new_state(rules.names)
    held, refused = Parked(Park.HELD, 5), Parked(Park.REFUSED, 6, "INVALID", "no")
    state.sides[MONGODB].parked = {ADDED: held, "City": held, EXISTENCE: refused}
    after = States(Rules(SCHEMA), registry, TOPIC).decode(States(rules, registry, TOPIC).encode(state))
    assert after.sides[MONGODB].parked == {"City": held, EXISTENCE: refused}


def test_a_state_of_before_takes_the_choices_of_a_picklist_in_any_order() -> None:
    """It kept them in the order in which somebody had saved them; else each such record would seem to be edited."""
    schema = ObjectSchema("Account", (FieldSchema("Tags", "multipicklist", Kind.STRINGS),), "001")
    rules = Rules(schema)
    state, codec = new_state(rules.names), States(rules, MemoryRegistry(), TOPIC)
    state.canonical["Tags"] = ("b", "a")
    state.sides[SALESFORCE].exists, state.sides[SALESFORCE].unknown = True, frozenset()
    state.sides[SALESFORCE].shadow["Tags"] = ("c", "b", "a")
    after = codec.decode(codec.encode(state))
    assert after.canonical["Tags"] == ("a", "b")
    assert after.sides[SALESFORCE].shadow["Tags"] == ("a", "b", "c")


def test_an_edit_that_waits_for_the_event_of_our_write_survives_a_restart() -> None:
    """Else a restart at that moment would lose it without a word."""
    state, codec = new_state(Rules(SCHEMA).names), States(Rules(SCHEMA), MemoryRegistry(), TOPIC)
    known = Overwritten("Phone", 7, "555 0101", 40, edited=True, edit="555 0202", edited_at=1, later=(None,))
    state.sides[SALESFORCE].overwritten = (known, Overwritten("City", 7, None, -1))
    assert (
        codec.decode(codec.encode(state)).sides[SALESFORCE].overwritten == state.sides[SALESFORCE].overwritten
    )


def test_an_edit_of_a_field_that_is_synced_no_more_waits_for_no_event() -> None:
    """The event would bring the field back into a record that has it no more."""
    registry, rules = MemoryRegistry(), Rules(GROWN)
    state = new_state(rules.names)
    kept = Overwritten("City", 7, None, -1)
    state.sides[SALESFORCE].overwritten = (Overwritten(ADDED, 7, "x", -1), kept)
    after = States(Rules(SCHEMA), registry, TOPIC).decode(States(rules, registry, TOPIC).encode(state))
    assert after.sides[SALESFORCE].overwritten == (kept,)


def test_a_write_on_its_way_says_nothing_of_a_field_that_is_synced_no_more() -> None:
    """Else its answer would put the field back among those that wait for events. (Seed 5253 of the World.)"""
    registry, rules = MemoryRegistry(), Rules(GROWN)
    state = new_state(rules.names)
    state.sides[SALESFORCE].sent = {7: Sent(WriteOp.UPDATE, {ADDED: "x", "City": "Oslo"}, 5)}
    after = States(Rules(SCHEMA), registry, TOPIC).decode(States(rules, registry, TOPIC).encode(state))
    assert after.sides[SALESFORCE].sent == {7: Sent(WriteOp.UPDATE, {"City": "Oslo"}, 5)}


def test_of_a_field_that_is_added_nobody_has_told_yet() -> None:
    """It is unknown on both sides, which is not null: null would be taken for somebody's edit of the other's value."""
    registry, before = MemoryRegistry(), Rules(SCHEMA)
    state = new_state(before.names)
    for side in state.sides.values():
        side.exists, side.unknown = True, frozenset()
    after = States(Rules(GROWN), registry, TOPIC).decode(States(before, registry, TOPIC).encode(state))
    assert {side.unknown for side in after.sides.values()} == {frozenset({ADDED})}


def test_a_side_that_is_added_has_told_nothing_and_one_that_is_taken_out_is_forgotten() -> None:
    """All others go on as they were."""
    registry, two = MemoryRegistry(), Rules(SCHEMA)
    three = Rules(SCHEMA, sides=(*SIDES, "files"), guarded=frozenset({MONGODB, "files"}))
    state = new_state(two.names)
    state.sides[SALESFORCE].exists, state.sides[SALESFORCE].unknown = True, frozenset()
    grown = States(three, registry, TOPIC).decode(States(two, registry, TOPIC).encode(state))
    assert grown.sides == {**state.sides, "files": SideState(unknown=three.names["files"])}
    grown.sides["files"].exists = True
    again = States(two, registry, TOPIC).decode(States(three, registry, TOPIC).encode(grown))
    assert again.sides == state.sides


def test_a_creation_on_its_way_says_nothing_of_a_field_that_is_added() -> None:
    """Its sink leaves the field alone; so what is found in it was there, and nobody has edited it. (Case L6.)"""
    registry, before, now = MemoryRegistry(), Rules(SCHEMA), Rules(GROWN)
    state = new_state(before.names)
    creation = Sent(WriteOp.CREATE, {"Name": "Acme"})
    state.sides[MONGODB].sent = {7: creation}
    state.sides[SALESFORCE].exists, state.sides[SALESFORCE].unknown = True, frozenset()
    state.sides[SALESFORCE].shadow = state.canonical = {"Name": "Acme"}
    state.lives = True
    after = States(now, registry, TOPIC)
    known = after.decode(States(before, registry, TOPIC).encode(state))
    assert known.sides[MONGODB].sent == {7: replace(creation, lacks=frozenset({ADDED}))}
    assert after.decode(after.encode(known)) == known, "and still so when it is read again"
    row = Change(MONGODB, Op.ROW, as_of=5, ack=7, fields={"Name": "Acme", ADDED: "x"})
    told = fold(known, row, object="Account", key="k", offset=8, rules=now)
    assert told.state.canonical[ADDED] == "x"
    assert told.state.versions[ADDED].baseline


def test_a_creation_on_its_way_is_remembered_with_what_it_changes() -> None:
    """Of a field that is synced no more, it says nothing."""
    registry, rules = MemoryRegistry(), Rules(GROWN)
    told: list[tuple[frozenset[str] | None, frozenset[str] | None]] = [
        (None, None),
        (frozenset({ADDED, "City"}), frozenset({"City"})),
        (frozenset({ADDED}), frozenset()),
    ]
    for differs, kept in told:
        state = new_state(rules.names)
        sent = Sent(WriteOp.CREATE, {"City": "Oslo"}, expected=5, differs=differs)
        state.sides[MONGODB].sent = {7: sent}
        data = States(rules, registry, TOPIC).encode(state)
        assert States(rules, registry, TOPIC).decode(data).sides[MONGODB].sent == {7: sent}
        after = States(Rules(SCHEMA), registry, TOPIC).decode(data).sides[MONGODB].sent[7]
        assert after.differs == kept


def test_a_creation_in_the_place_of_a_deleted_record_says_nothing_of_a_field_that_is_added() -> None:
    """The side has told that the record is gone, so of the field nothing is left to tell; but the creation did not know it."""
    registry = MemoryRegistry()
    state = new_state(Rules(SCHEMA).names)
    state.sides[MONGODB].exists, state.sides[MONGODB].unknown = False, frozenset()
    state.sides[MONGODB].sent = {7: Sent(WriteOp.CREATE, {"Name": "Acme"})}
    before, after = (States(Rules(schema), registry, TOPIC) for schema in (SCHEMA, GROWN))
    known = after.decode(before.encode(state)).sides[MONGODB]
    assert known.unknown == frozenset()
    assert known.sent[7].lacks == {ADDED}


def test_of_a_field_that_was_put_back_nobody_has_told_since() -> None:
    """What the sides held before it was taken out is not what they hold: both were edited while nobody listened."""
    registry, name = MemoryRegistry(), "City"
    before = Rules(replace(SCHEMA, generation=5))
    state = new_state(before.names)
    state.sides[MONGODB].exists, state.sides[MONGODB].unknown = True, frozenset()
    state.sides[MONGODB].shadow = {name: "Oslo"}
    fields = tuple(replace(field, since=9 if field.name == name else 0) for field in SCHEMA.fields)
    after = Rules(replace(SCHEMA, fields=fields, generation=9))
    known = States(after, registry, TOPIC).decode(States(before, registry, TOPIC).encode(state))
    assert known.sides[MONGODB].unknown == {name}
    told_since = States(after, registry, TOPIC).decode(States(after, registry, TOPIC).encode(state))
    assert told_since.sides[MONGODB].unknown == frozenset()


def test_a_target_that_has_a_record_of_its_own_is_updated_as_a_whole_after_a_restart_too() -> None:
    """Ours was deleted, and the sink met another: of that one nothing is known. (Seed 6336 of the World.)"""
    rules = Rules(SCHEMA, one_way_to=SALESFORCE)
    codec = States(rules, MemoryRegistry(), TOPIC)
    state = new_state(rules.names)
    target = state.sides[SALESFORCE]
    target.exists, target.held, target.unknown = False, True, rules.names[SALESFORCE]
    assert codec.decode(codec.encode(state)).sides[SALESFORCE] == target


def test_what_could_not_be_taken_survives_a_restart() -> None:
    """But for a field that is synced no more, which waits for nobody."""
    registry, rules = MemoryRegistry(), Rules(GROWN)
    state = new_state(rules.names)
    city = Misfit(NOT_OF_TYPE, "City: Int32 is not a string.", since=7)
    state.sides[MONGODB].misfits = {"City": city, ADDED: city}
    written = States(rules, registry, TOPIC).encode(state)
    assert States(rules, registry, TOPIC).decode(written).sides == state.sides
    assert States(Rules(SCHEMA), registry, TOPIC).decode(written).sides[MONGODB].misfits == {"City": city}


def test_states_and_changes_from_before_there_were_misfits_are_read() -> None:
    """Nothing was known to be set aside then."""
    registry, rules = MemoryRegistry(), Rules(SCHEMA)
    state, states = new_state(rules.names), States(rules, registry, TOPIC)
    assert states.decode(_written_before(states, states.encode(state), registry)) == state
    changes = Changes(SCHEMA, registry, "crm.changes.Account")
    change = Change(MONGODB, Op.UPDATE, changed=frozenset({"City"}), fields={"City": "Oslo"})
    assert changes.decode(_written_before(changes, changes.encode(change), registry)) == change


def _written_before(codec: Codec, value: bytes, registry: MemoryRegistry) -> bytes:
    """The same value, as the schema without misfits wrote it."""
    schema = deepcopy(schemas.envelope(codec.topic.split(".")[1].removesuffix("s"), SCHEMA.to_avro()))
    return Codec(_without_misfits(schema), registry, codec.topic).encode_datum(
        _without_misfits(codec.decode_datum(value))
    )


def _without_misfits(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_misfits(each) for each in node if not _is_misfits(each)]
    if isinstance(node, dict):
        return {name: _without_misfits(each) for name, each in node.items() if name != "misfits"}
    return node


def _is_misfits(node: Any) -> bool:
    return isinstance(node, dict) and node.get("name") == "misfits"


def test_what_the_org_does_not_have_takes_no_place_in_its_part_of_the_state() -> None:
    """A computed field is told of documents alone, and so is a creation that is on its way."""
    label = FieldSchema("Label", "string", Kind.STRING, create=False, update=False, computed=True)
    rules = Rules(SCHEMA.with_computed([label]))
    state, codec = new_state(rules.names), States(rules, MemoryRegistry(), TOPIC)
    state.canonical = {"Name": "Acme", "Label": "ACME"}
    state.versions = dict.fromkeys(state.canonical, NEVER)
    org, documents = state.sides[SALESFORCE], state.sides[MONGODB]
    org.exists, org.shadow, org.unknown = True, {"Name": "Acme"}, frozenset()
    org.sent = {7: Sent(WriteOp.CREATE, {"Name": "Acme"})}
    documents.exists, documents.shadow, documents.unknown = True, dict(state.canonical), frozenset()
    data = codec.encode(state)
    assert codec.decode(data) == state
    sides = {side["side"]: side for side in codec.decode_datum(data)["sides"]}
    assert sides[SALESFORCE]["differs"] == sides[SALESFORCE]["sent"][0]["fields"] == []
