"""Verify where sides have filters and masks, or keep what is deleted elsewhere: each is held against what it is to have."""

from __future__ import annotations

from dataclasses import replace

import pytest

from salmon.model.change import MONGODB, PLACE, SALESFORCE, SALESFORCE_ID, SIDES, Value
from salmon.model.policies import EXISTENCE
from salmon.model.rules import Rules
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.model.state import SideState, State
from salmon.model.views import View
from salmon.verify.comparing import NOTHING, UNWANTED, ParkedFields, Seen, findings, staying, terms_of
from salmon.verify.digests import NOWHERE, Form, Sums

SCHEMA = ObjectSchema(
    "Account",
    (FieldSchema("Name", "string", Kind.STRING), FieldSchema("Phone", "phone", Kind.STRING)),
    key_prefix="001",
)
KEY = "0015g00000Xyz12AAA"
VIEW = View("oslo", lambda record: record.get("Name") != "Hidden", {"Phone": lambda value: f"*{value}"})
RULES = Rules(SCHEMA, views={MONGODB: VIEW})
TERMS = terms_of(RULES)
AGREED: dict[str, Value] = {"Name": "Acme", "Phone": "555"}
HIDDEN: dict[str, Value] = {"Name": "Hidden", "Phone": None}
IN_ORG = Seen(KEY, AGREED, native_id=KEY)
DOCUMENT = Seen(KEY, {"Name": "Acme", "Phone": "*555", SALESFORCE_ID: KEY})


def test_a_masked_value_is_what_the_side_is_to_have() -> None:
    """The value itself would be a difference there."""
    seen = {SALESFORCE: IN_ORG, MONGODB: DOCUMENT}
    assert not any(found.differs for found in findings(KEY, AGREED, seen, TERMS).values())
    bare = {**seen, MONGODB: replace(DOCUMENT, fields={**AGREED, SALESFORCE_ID: KEY})}
    assert findings(KEY, AGREED, bare, TERMS)[MONGODB].fields == {"Phone"}


def test_a_document_is_held_against_the_collection_that_it_belongs_into() -> None:
    """In another one it differs; of two documents with the `_id` nothing else is said."""
    view = View("placed", places=lambda _: "customers", collections=frozenset({"customers", "others"}))
    terms = terms_of(Rules(SCHEMA, views={MONGODB: view}))
    document = Seen(KEY, {**AGREED, SALESFORCE_ID: KEY, PLACE: "customers"})
    seen = {SALESFORCE: IN_ORG, MONGODB: document}
    assert not any(found.differs for found in findings(KEY, AGREED, seen, terms).values())
    moved = {**seen, MONGODB: replace(document, fields={**document.fields, PLACE: "others"})}
    assert findings(KEY, AGREED, moved, terms)[MONGODB].fields == {PLACE}
    twice = {**seen, MONGODB: Seen(KEY, {}, frozenset({PLACE}))}
    assert findings(KEY, AGREED, twice, terms)[MONGODB].fields == {PLACE}


def test_a_record_that_is_not_wanted_is_missing_nowhere() -> None:
    """And where it is all the same, that is a difference, unless it was born there."""
    org = replace(IN_ORG, fields={"Name": "Hidden"})
    assert findings(KEY, HIDDEN, {SALESFORCE: org, MONGODB: None}, TERMS) == dict.fromkeys(SIDES, NOTHING)
    found = findings(KEY, HIDDEN, {SALESFORCE: org, MONGODB: DOCUMENT}, TERMS)[MONGODB]
    assert found.fields == {EXISTENCE}
    state = State({MONGODB: SideState(exists=True, viewed_by="oslo")}, lives=True)
    assert staying(KEY, MONGODB, found, state) == ParkedFields(KEY, MONGODB, UNWANTED, ())
    state.sides[MONGODB].entered = True
    assert staying(KEY, MONGODB, found, state) is None


def test_what_is_deleted_elsewhere_is_no_extra_record_of_a_side_that_keeps_it() -> None:
    """Of the other side it is."""
    terms = terms_of(Rules(SCHEMA, keeps={MONGODB: ""}))
    found = findings(KEY, None, {SALESFORCE: IN_ORG, MONGODB: DOCUMENT}, terms)
    assert found[SALESFORCE].extra
    assert not found[MONGODB].differs


def test_digests_say_the_same_as_the_comparison() -> None:
    """A row that is not wanted has no digest there, and is not counted; a masked one has that of its mask."""
    form = Form(TERMS[MONGODB], with_ids=False)
    assert form.agreed(KEY, HIDDEN) == NOWHERE
    assert form.agreed(KEY, AGREED).firm == form.document(DOCUMENT).firm
    sums = Sums()
    sums.add(7, NOWHERE)
    assert sums.total == 0


def test_a_computed_field_is_compared_where_it_is() -> None:
    """The org has none; a document with another value differs."""
    label = FieldSchema("Label", "string", Kind.STRING, create=False, update=False, computed=True)
    terms = terms_of(Rules(SCHEMA.with_computed([label])))
    agreed = {**AGREED, "Label": "ACME"}
    document = Seen(KEY, {**agreed, SALESFORCE_ID: KEY})
    seen = {SALESFORCE: IN_ORG, MONGODB: document}
    assert not any(found.differs for found in findings(KEY, agreed, seen, terms).values())
    edited = {**seen, MONGODB: replace(document, fields={**document.fields, "Label": "mine"})}
    assert findings(KEY, agreed, edited, terms)[MONGODB].fields == {"Label"}


def undecided(record: object) -> bool:
    """A filter by a computed field, which the record does not have yet."""
    raise KeyError("Label")


@pytest.mark.parametrize("view", [View("label", undecided), View("label", places=undecided)])  # type: ignore[arg-type]
def test_a_record_that_the_filter_cannot_judge_yet_is_neither_missing_nor_too_much(view: View) -> None:
    """It is as it was, there or not; where it is, its values are compared, but not its collection."""
    terms = terms_of(Rules(SCHEMA, views={MONGODB: view}))
    document = Seen(KEY, {**AGREED, SALESFORCE_ID: KEY, PLACE: "customers"})
    for there in (None, document):
        found = findings(KEY, AGREED, {SALESFORCE: IN_ORG, MONGODB: there}, terms)
        assert not found[MONGODB].differs
    edited = replace(document, fields={**document.fields, "Phone": "556"})
    found = findings(KEY, AGREED, {SALESFORCE: IN_ORG, MONGODB: edited}, terms)
    assert found[MONGODB].fields == {"Phone"}
    assert findings(KEY, AGREED, {SALESFORCE: None, MONGODB: document}, terms)[SALESFORCE].missing
