"""One record on one side, held against what was agreed."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from salmon.model.change import ERROR, MONGODB, SALESFORCE, SALESFORCE_ID, Misfit, Value
from salmon.model.policies import EXISTENCE
from salmon.model.rules import Rules
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.model.state import Park, Parked, SideState, State
from salmon.verify.comparing import (
    UNREADABLE,
    Finding,
    ObjectVerdict,
    ParkedFields,
    Seen,
    Terms,
    excused,
    finding,
    terms_of,
    withheld,
)
from salmon.verify.digests import Form

READ_ONLY: dict[str, Any] = {"create": False, "update": False}
SCHEMA = ObjectSchema(
    "Account",
    (
        FieldSchema("Name", "string", Kind.STRING, required=True),
        FieldSchema("Phone", "phone", Kind.STRING),
        FieldSchema("LastModifiedDate", "datetime", Kind.DATETIME, **READ_ONLY),
        FieldSchema("Score__c", "double", Kind.DOUBLE, live=False, **READ_ONLY),
    ),
    key_prefix="001",
)
OWNER = FieldSchema("OwnerId", "reference", Kind.STRING, reference_to=("User",))
TERMS = terms_of(Rules(SCHEMA))
AGREED: dict[str, Value] = {"Name": "Acme", "Phone": None, "LastModifiedDate": 1_000, "Score__c": 1.0}
SAME: dict[str, Value] = {"Name": "Acme", "LastModifiedDate": 1_000, "Score__c": 1.0}


def test_a_record_with_the_agreed_values_is_equal_and_null_is_the_same_as_missing() -> None:
    """`records` says null, the side says nothing."""
    assert not finding(AGREED, Seen("a", SAME), TERMS[SALESFORCE]).differs


def test_the_fields_that_differ_are_named_and_also_those_that_could_not_be_read() -> None:
    """One is another value, one is of no type that the field can have."""
    seen = Seen("a", {**SAME, "Phone": "1"}, unreadable=frozenset({"Name"}))
    assert finding(AGREED, seen, TERMS[SALESFORCE]).fields == {"Name", "Phone"}


def test_a_record_that_cannot_be_read_at_all_differs_as_a_whole() -> None:
    """The names of fields that were not read say nothing."""
    seen = Seen("a", {}, unreadable=frozenset({UNREADABLE}))
    assert finding(AGREED, seen, TERMS[SALESFORCE]).fields == {UNREADABLE}


def test_stamps_that_differ_are_refreshed_later_on_either_side() -> None:
    """Our own write moves them: they ride along with the next one."""
    for side in (SALESFORCE, MONGODB):
        found = finding(AGREED, Seen("a", {**SAME, "LastModifiedDate": 2_000}), TERMS[side])
        assert found == Finding(later=frozenset({"LastModifiedDate"}))
        assert not found.differs


def test_a_formula_is_ahead_in_the_org_but_never_different_in_mongodb() -> None:
    """No event tells of it, so `records` learns it later; what was agreed must be in the document."""
    seen = Seen("a", {**SAME, "Score__c": 2.0})
    assert not finding(AGREED, seen, TERMS[SALESFORCE]).differs
    assert finding(AGREED, seen, TERMS[MONGODB]).fields == {"Score__c"}


def test_a_document_must_tell_the_salesforce_id() -> None:
    """A record born in MongoDB gets its Id back; without it, it differs."""
    agreed: dict[str, Value] = {**AGREED, SALESFORCE_ID: "001000000000001AAA"}
    told: dict[str, Value] = {SALESFORCE_ID: "001000000000001AAA", ERROR: None}
    assert not finding(agreed, Seen("a", {**SAME, **told}), TERMS[MONGODB]).differs
    assert finding(agreed, Seen("a", SAME), TERMS[MONGODB]).fields == {SALESFORCE_ID}


def test_missing_and_extra_records_are_told_apart() -> None:
    """One is agreed and not there, the other there and not agreed."""
    assert finding(AGREED, None, TERMS[MONGODB]).missing
    assert finding(None, Seen("a", SAME), TERMS[MONGODB]).extra
    assert not finding(None, None, TERMS[MONGODB]).differs


def test_what_else_the_target_of_a_one_way_object_has_is_its_own() -> None:
    """Nobody listens to it, so a stranger there is no difference; a stranger at the source is."""
    terms = terms_of(Rules(SCHEMA, one_way_to=MONGODB))
    assert not finding(None, Seen("a", SAME), terms[MONGODB]).differs
    assert finding(None, Seen("a", SAME), terms[SALESFORCE]).extra


def test_salesforce_as_a_one_way_target_is_compared_in_what_it_lets_us_set() -> None:
    """Its stamps and formulas are told to nobody."""
    terms = terms_of(Rules(SCHEMA, one_way_to=SALESFORCE))
    agreed: dict[str, Value] = {"Name": "Acme", "Phone": "1"}
    assert finding(agreed, Seen("a", SAME), terms[SALESFORCE]).fields == {"Phone"}


def test_a_refused_field_is_parked_and_no_difference_but_the_others_are() -> None:
    """Salesforce refused the phone; that the name differs is nobody's plan."""
    state = SideState(exists=True, parked={"Phone": Parked(Park.REFUSED, 7, code="STRING_TOO_LONG")})
    rest, waiting = excused("a", SALESFORCE, Finding(fields=frozenset({"Name", "Phone"})), state)
    assert rest == Finding(fields=frozenset({"Name"}))
    assert waiting == (ParkedFields("a", SALESFORCE, "REFUSED", ("Phone",), "STRING_TOO_LONG"),)


def test_a_record_whose_creation_was_refused_waits_as_a_whole() -> None:
    """It is in MongoDB and in `records`, and Salesforce said no for good."""
    state = SideState(exists=False, parked={EXISTENCE: Parked(Park.REFUSED, 7)})
    assert excused("a", SALESFORCE, Finding(missing=True), state) == (
        Finding(),
        (ParkedFields("a", SALESFORCE, "REFUSED", ()),),
    )


def test_a_record_that_needs_a_parent_that_is_not_there_waits_as_a_whole() -> None:
    """Only its reference is parked, but without it the record cannot be created."""
    state = SideState(exists=False, parked={"Name": Parked(Park.DEFERRED, 7)})
    rest, waiting = excused("a", SALESFORCE, Finding(missing=True), state)
    assert not rest.differs
    assert waiting[0].why == "DEFERRED"


def test_a_parked_field_is_no_excuse_for_a_record_that_has_vanished() -> None:
    """It was there when the field was refused; now it is gone, and nobody knows."""
    state = SideState(exists=True, parked={"Phone": Parked(Park.REFUSED, 7)})
    rest, waiting = excused("a", SALESFORCE, Finding(missing=True), state)
    assert rest.missing
    assert waiting == ()


def test_a_verdict_is_equal_until_something_differs_that_nobody_knows_of() -> None:
    """Parked and refreshed ones are told apart; a document without a key can never be in step."""
    verdict = ObjectVerdict("Account", refreshed_later=3, parked=[ParkedFields("a", SALESFORCE, "HELD", ())])
    assert verdict.all_equal
    verdict.without_key = 1
    assert not verdict.all_equal


def test_an_id_in_15_characters_and_in_18_are_the_same() -> None:
    """In a reference, on either side; elsewhere text is text (case V1)."""
    terms = terms_of(Rules(replace(SCHEMA, fields=(*SCHEMA.fields, OWNER))))[MONGODB]
    agreed: dict[str, Value] = {**AGREED, "OwnerId": "005000000000001AAA"}
    short = Seen("a", {**SAME, "OwnerId": "005000000000001"})
    assert not finding(agreed, short, terms).differs
    assert finding({**agreed, "OwnerId": "005000000000002AAA"}, short, terms).fields == {"OwnerId"}
    form = Form(terms, with_ids=False)
    assert form.document(short).firm == form.agreed("a", agreed).firm
    named = Seen("a", {**SAME, "OwnerId": "005000000000001", "Name": "001000000000001"})
    assert finding({**agreed, "Name": "001000000000001AAA"}, named, terms).fields == {"Name"}


def test_a_decimal_is_held_against_what_the_org_shows_of_it() -> None:
    """Its REST API shows the nearest double; a document shows every digit (case V5)."""
    rate = FieldSchema("Rate__c", "double", Kind.DECIMAL, precision=18, scale=8)
    terms = terms_of(Rules(replace(SCHEMA, fields=(*SCHEMA.fields, rate))))
    agreed: dict[str, Value] = {**AGREED, "Rate__c": Decimal("1234567890.12345678")}
    seen = Seen("a", {**SAME, "Rate__c": Decimal("1234567890.12345670")})
    assert not finding(agreed, seen, terms[SALESFORCE]).differs
    assert finding(agreed, seen, terms[MONGODB]).fields == {"Rate__c"}
    for side, same in ((SALESFORCE, True), (MONGODB, False)):
        form = Form(terms[side], with_ids=False)
        assert (form.org(seen).firm == form.agreed("a", agreed).firm) is same


def test_a_value_that_merge_could_not_take_waits_and_is_no_difference() -> None:
    """The document holds it, the org does not, and the state knows why (case V6)."""
    state = SideState(
        exists=True, misfits={"Phone": Misfit("NOT_OF_TYPE", "Phone: a Double is not a phone.")}
    )
    rest, waiting = excused("a", MONGODB, Finding(fields=frozenset({"Name", "Phone"})), state)
    assert rest == Finding(fields=frozenset({"Name"}))
    assert waiting == (ParkedFields("a", MONGODB, "MISFIT", ("Phone",), "NOT_OF_TYPE"),)


def test_a_record_that_lacks_what_the_org_requires_waits() -> None:
    """A new document has a Name that is no text: nothing is lost, and nothing else is to be mended (case V7)."""
    terms = Terms(frozenset({"Name"}), frozenset(), extra_counts=True, required=frozenset({"Name"}))
    unfit = SideState(exists=True, misfits={"Name": Misfit("NOT_OF_TYPE", "Name: a Double is not a string.")})
    state = State({SALESFORCE: SideState(), MONGODB: unfit}, lives=True)
    waiting = withheld("a", SALESFORCE, Finding(missing=True), state, terms)
    assert waiting == ParkedFields("a", MONGODB, "MISFIT", ("Name",), "NOT_OF_TYPE")
    assert withheld("a", SALESFORCE, Finding(missing=True), State({MONGODB: SideState()}), terms) is None


def test_what_a_lookup_points_to_is_compared_with_its_object_in_any_form_of_its_id() -> None:
    """An Id in 15 characters is one of 18; a contact is no lead. The target of a one-way object does not say of which it is."""
    who = FieldSchema("WhoId", "reference", Kind.STRING, reference_to=("Contact", "Lead"))
    whole = replace(SCHEMA, fields=(*SCHEMA.fields, who))
    terms = terms_of(Rules(whole))[MONGODB]
    contact = terms.comparable("WhoId", "Contact:0035g00000Xyz12AAA")
    assert contact != terms.comparable("WhoId", "Lead:0035g00000Xyz12AAA")
    assert terms.comparable("WhoId", "Lead:$oid:65f0") == "Lead:$oid:65f0"
    one_way = terms_of(Rules(whole, one_way_to=SALESFORCE))[SALESFORCE]
    assert one_way.comparable("WhoId", "Contact:$int:7") == one_way.comparable("WhoId", ":$int:7")


def test_a_one_way_person_is_not_compared_in_what_only_a_business_is_given() -> None:
    """Its document may have any Name: the org puts together its own."""
    name = FieldSchema("Name", "string", Kind.STRING, only="business")
    people = ObjectSchema(
        "Account",
        (
            name,
            FieldSchema("LastName", "string", Kind.STRING, only="person"),
            FieldSchema("IsPersonAccount", "boolean", Kind.BOOLEAN, create=False, update=False),
        ),
        "001",
    )
    terms = terms_of(Rules(people, one_way_to=SALESFORCE))[SALESFORCE]
    there = Seen("k", {"Name": "Ada Byron", "LastName": "Byron", "IsPersonAccount": True})
    agreed: dict[str, Value] = {"Name": "Ada", "LastName": "Byron"}
    assert not finding(agreed, there, terms).differs
    form = Form(terms, with_ids=False)
    assert form.agreed("k", agreed).firm == form.org(there).firm
    business = Seen("k", {"Name": "Acme", "IsPersonAccount": False})
    assert finding({"Name": "Acme Ltd."}, business, terms).fields == {"Name"}


def test_the_summary_counts_each_record_once() -> None:
    """Missing on both sides, differing on one and missing on the other, two fields that wait for two reasons."""
    verdict = ObjectVerdict(
        "Account",
        different={"a": {SALESFORCE: ("Fax",)}, "b": {SALESFORCE: ("Fax",), MONGODB: ("Fax",)}},
        missing_in={SALESFORCE: ["c"], MONGODB: ["a", "c"], "records": []},
        moving=["d"],
        parked=[
            ParkedFields("a", MONGODB, "HELD", ("Name",)),
            ParkedFields("d", MONGODB, "HELD", ("Name",)),
            ParkedFields("e", MONGODB, "HELD", ("Name",)),
            ParkedFields("e", SALESFORCE, "REFUSED", ("Fax",)),
        ],
    )
    assert verdict.summary == {"different": 2, "missing": 1, "parked": 1}
    assert verdict.as_dict()["summary"] == verdict.summary
