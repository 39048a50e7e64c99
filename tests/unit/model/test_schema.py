"""A describe -> the object's schema -> its flat Avro record, and back; for every recorded describe."""

from __future__ import annotations

import io
from typing import Any

import fastavro
import pytest

from salmon.errors import ConfigError
from salmon.model.schema import (
    MARKER_ID,
    MARKER_SEQ,
    STAMPS,
    FieldSchema,
    Kind,
    ObjectSchema,
    schema_of_describe,
    why_not_synced,
)
from salmon.simulator.org.objects.describes import load_describes
from salmon.simulator.org.saving.person_accounts import with_person_accounts
from support.orgs.describes import OBJECTS, describe


def described(name: str, type_: str, **told: Any) -> dict[str, Any]:
    """One field of a describe."""
    return {
        "name": name,
        "type": type_,
        "label": name,
        "createable": True,
        "updateable": True,
        "nillable": True,
        "defaultedOnCreate": False,
        "calculated": False,
        "referenceTo": [],
        "length": 0,
        "precision": 0,
        "scale": 0,
        "digits": 0,
        **told,
    }


def schema_with(*fields: dict[str, Any], **options: Any) -> ObjectSchema:
    """The schema of an object of just these fields."""
    return schema_of_describe({"name": "Thing__c", "keyPrefix": "a01", "fields": list(fields)}, **options)


def field_of(field: dict[str, Any], **options: Any) -> FieldSchema:
    (only,) = schema_with(field, **options).fields
    return only


# Every recorded describe.


@pytest.mark.parametrize("name", OBJECTS)
@pytest.mark.parametrize("decimals", [False, True])
def test_what_is_generated_is_avro_and_is_read_back_as_it_was(name: str, decimals: bool) -> None:
    """The registry is where every other process learns the schema: nothing of it may be lost on the way."""
    schema = schema_of_describe(describe(name), decimals=decimals)
    avro = schema.to_avro()
    fastavro.parse_schema(avro)
    assert ObjectSchema.from_avro(avro) == schema


@pytest.mark.parametrize("name", OBJECTS)
def test_every_field_may_be_null_and_is_null_by_default(name: str) -> None:
    """So fields can come and go, and an empty record is a record."""
    avro = schema_of_describe(describe(name)).to_avro()
    assert all(field["type"][0] == "null" and field["default"] is None for field in avro["fields"])
    out = io.BytesIO()
    fastavro.schemaless_writer(out, avro, {})
    out.seek(0)
    record = fastavro.schemaless_reader(out, avro, None)
    assert isinstance(record, dict)
    assert set(record.values()) == {None}


@pytest.mark.parametrize("name", OBJECTS)
def test_every_described_field_is_synced_or_it_is_said_why_not(name: str) -> None:
    """Nothing is left out in silence."""
    fields = describe(name)["fields"]
    synced = {field.name for field in schema_of_describe(describe(name)).fields}
    assert synced | {f["name"] for f in fields if why_not_synced(f)} == {f["name"] for f in fields}
    assert synced.isdisjoint({"Id", "IsDeleted", "LastViewedDate", "LastReferencedDate"})


@pytest.mark.parametrize("name", OBJECTS)
def test_a_fields_class_is_what_the_describe_says(name: str) -> None:
    """Settable by an insert, by an update, or by nobody."""
    told = {field["name"]: field for field in describe(name)["fields"]}
    for field in schema_of_describe(describe(name)).fields:
        assert field.create == told[field.name]["createable"]
        assert field.update == told[field.name]["updateable"]
        assert field.settable == (field.create or field.update)


@pytest.mark.parametrize("name", OBJECTS)
def test_audit_stamps_are_never_settable(name: str) -> None:
    """All five are there, nobody may set them, and SystemModstamp comes by no event."""
    fields = schema_of_describe(describe(name)).by_name
    assert {field for field in fields if fields[field].is_stamp} == STAMPS
    assert not any(fields[stamp].settable for stamp in STAMPS)
    assert not fields["SystemModstamp"].live


@pytest.mark.parametrize("name", OBJECTS)
def test_every_field_has_a_sentence_for_whoever_reads_the_schema(name: str) -> None:
    """Each Avro field has a `doc` with its label and type."""
    assert all(
        field["doc"].endswith(("in Salesforce).", "The value is TYPE:KEY."))
        for field in schema_of_describe(describe(name)).to_avro()["fields"]
    )


# Objects as they are known.


def test_an_accounts_address_is_its_components() -> None:
    """The compound is not stored; each component knows where it belongs."""
    account = schema_of_describe(describe("Account")).by_name
    assert "BillingAddress" not in account
    assert account["BillingCity"].compound == "BillingAddress"
    assert account["BillingLatitude"].kind is Kind.DOUBLE


def test_a_contacts_name_is_its_components_and_an_accounts_name_is_a_field() -> None:
    """Contact.Name is put together by the org; Account.Name is typed in."""
    contact, account = (schema_of_describe(describe(name)).by_name for name in ("Contact", "Account"))
    assert "Name" not in contact
    assert {"FirstName", "LastName", "Salutation"} <= contact.keys()
    assert account["Name"].settable


def test_what_an_insert_needs_is_known() -> None:
    """Not nillable, createable, and not filled in by the org."""
    required = {
        name: {field.name for field in schema_of_describe(describe(name)).fields if field.required}
        for name in ("Account", "Contact", "Opportunity", "Case")
    }
    assert required == {
        "Account": {"Name"},
        "Contact": {"LastName"},
        "Opportunity": {"Name", "StageName", "CloseDate"},
        "Case": set(),
    }


def test_a_reference_knows_its_targets() -> None:
    """One for most, two for an owner, very many for a polymorphic one."""
    contact, event = schema_of_describe(describe("Contact")), schema_of_describe(describe("Event"))
    assert contact.by_name["AccountId"].reference_to == ("Account",)
    assert contact.by_name["AccountId"].relationship == "Account"
    assert event.by_name["WhoId"].reference_to == ("Contact", "Lead")
    assert contact.by_name["AccountId"] in contact.references
    assert contact.by_name["LastName"] not in contact.references


def test_a_custom_object_has_its_kinds_too() -> None:
    """A multi-select picklist, and fields that only an insert or only an update may set."""
    whizbang = schema_of_describe(describe("Whizbang"))
    assert Kind.STRINGS in {field.kind for field in whizbang.fields}
    inserts_only = whizbang.by_name["CreateableButNotUpdateableField"]
    updates_only = whizbang.by_name["UpdateableButNotCreateableField"]
    assert (inserts_only.create, inserts_only.update) == (True, False)
    assert (updates_only.create, updates_only.update) == (False, True)
    assert whizbang.key_prefix == "a01"


def test_an_opportunitys_fiscal_fields_are_refreshed() -> None:
    """They are derived from CloseDate, and no change event carries them."""
    opportunity = schema_of_describe(describe("Opportunity")).by_name
    assert not any(opportunity[name].live for name in ("Fiscal", "FiscalQuarter", "FiscalYear"))
    assert opportunity["CloseDate"].live


# Types.


@pytest.mark.parametrize(
    ("type_", "kind"),
    [
        *((text, Kind.STRING) for text in ("id", "reference", "string", "textarea", "phone", "url", "email")),
        *((text, Kind.STRING) for text in ("picklist", "combobox", "encryptedstring")),
        ("multipicklist", Kind.STRINGS),
        ("boolean", Kind.BOOLEAN),
        ("int", Kind.INT),
        ("double", Kind.DOUBLE),
        ("percent", Kind.DOUBLE),
        ("currency", Kind.DOUBLE),
        ("date", Kind.DATE),
        ("datetime", Kind.DATETIME),
        ("time", Kind.TIME),
    ],
)
def test_every_type_of_salesforce_has_a_kind(type_: str, kind: Kind) -> None:
    """The table of types, line by line."""
    assert field_of(described("It__c", type_)).kind is kind


@pytest.mark.parametrize(
    "type_", ["address", "location", "base64", "anyType", "complexvalue", "brand-new-type"]
)
def test_a_type_without_a_counterpart_is_not_synced(type_: str) -> None:
    """Also one that Salesforce invents after us: it is reported, and no reason to stop."""
    assert schema_with(described("It__c", type_)).fields == ()
    assert why_not_synced(described("It__c", type_))


@pytest.mark.parametrize(("digits", "kind"), [(8, Kind.INT), (9, Kind.INT), (10, Kind.LONG), (18, Kind.LONG)])
def test_an_int_of_ten_digits_is_a_long(digits: int, kind: Kind) -> None:
    """10 digits no longer fit 32 bits."""
    assert field_of(described("Big__c", "int", digits=digits)).kind is kind


def test_numbers_are_decimals_where_that_is_asked_for() -> None:
    """`numbers: decimal`: with the precision and scale of the describe."""
    price = described("Price__c", "currency", precision=18, scale=2)
    assert schema_with(price).to_avro()["fields"][0]["type"][1] == "double"
    assert schema_with(price, decimals=True).to_avro()["fields"][0]["type"][1] == {
        "type": "bytes",
        "logicalType": "decimal",
        "precision": 18,
        "scale": 2,
    }


@pytest.mark.parametrize(
    ("type_", "avro"),
    [
        ("string", "string"),
        ("boolean", "boolean"),
        ("int", "int"),
        ("percent", "double"),
        ("date", {"type": "int", "logicalType": "date"}),
        ("datetime", {"type": "long", "logicalType": "timestamp-millis"}),
        ("time", {"type": "int", "logicalType": "time-millis"}),
        ("multipicklist", {"type": "array", "items": "string"}),
    ],
)
def test_every_kind_has_an_avro_type(type_: str, avro: Any) -> None:
    """What a consumer of `records` finds."""
    assert schema_with(described("It__c", type_)).to_avro()["fields"][0]["type"] == ["null", avro]


def test_a_field_that_an_insert_need_not_set_is_not_required() -> None:
    """Nillable, filled in by the org, or not settable by an insert at all."""
    assert field_of(described("It__c", "string", nillable=False)).required
    assert not field_of(described("It__c", "string", nillable=True)).required
    assert not field_of(described("It__c", "string", nillable=False, defaultedOnCreate=True)).required
    assert not field_of(described("It__c", "string", nillable=False, createable=False)).required


# Live, refreshed.


def test_a_formula_is_refreshed() -> None:
    """Change events do not carry calculated fields."""
    formula = described("Twice__c", "double", calculated=True, createable=False, updateable=False)
    assert not field_of(formula).live


@pytest.mark.parametrize(("text", "live"), [("Amount__c * 2", False), (None, True)])
def test_a_formula_is_refreshed_also_where_events_show_it(text: str | None, live: bool) -> None:
    """Another record's edit changes its value, and no event says so; a roll-up has an event of its own."""
    described_field = described("Twice__c", "double", calculated=True, createable=False, updateable=False)
    (field,) = schema_with({**described_field, "calculatedFormula": text}, live={"Twice__c"}).fields
    assert field.live is live
    assert schema_with({**described_field, "calculatedFormula": text}, live={"Twice__c"}).unreported == (
        set() if live else {"Twice__c"}
    )


def test_where_the_events_schema_is_known_it_says_what_is_live() -> None:
    """The org knows better than any list of ours."""
    fields = described("Told__c", "string"), described("Untold__c", "string")
    schema = schema_with(*fields, live={"Told__c"})
    assert [field.live for field in schema.fields] == [True, False]


# What is chosen.


def test_the_markers_are_never_fields() -> None:
    """They carry our seq and key, and would go round the ring for ever."""
    markers = described(MARKER_SEQ, "double"), described(MARKER_ID, "string")
    assert schema_with(*markers, described("Told__c", "string")).by_name.keys() == {"Told__c"}


def test_excluded_fields_are_left_out() -> None:
    """`fields: {exclude: [Fax]}`."""
    account = schema_of_describe(describe("Account"), exclude=["Fax"])
    assert "Fax" not in account.by_name
    assert "Phone" in account.by_name


def test_only_included_fields_are_taken() -> None:
    """`fields: {include: [...]}`, in Salesforce's order."""
    account = schema_of_describe(describe("Account"), include=["Phone", "Name"])
    assert [field.name for field in account.fields] == ["Name", "Phone"]


def test_exclude_is_stronger_than_include() -> None:
    """A field named in both is left out."""
    account = schema_of_describe(describe("Account"), include=["Phone", "Name"], exclude=["Phone"])
    assert [field.name for field in account.fields] == ["Name"]


@pytest.mark.parametrize("option", ["include", "exclude"])
def test_a_field_that_the_object_lacks_is_named_with_the_key_to_mend(option: str) -> None:
    """A typing error in the config must not silently sync less, or more."""
    mistyped: Any = {option: ["Fone"]}
    with pytest.raises(ConfigError, match=rf"objects\.Account\.fields\.{option}: Account has no field Fone"):
        schema_of_describe(describe("Account"), **mistyped)


def test_a_field_that_cannot_be_synced_cannot_be_included() -> None:
    """Whoever asks for the compound is told so, instead of never seeing it."""
    with pytest.raises(ConfigError, match=r"objects\.Account\.fields\.include: BillingAddress"):
        schema_of_describe(describe("Account"), include=["Name", "BillingAddress"])


def test_a_field_that_cannot_be_synced_may_be_excluded() -> None:
    """It is left out anyway: no reason to refuse the config."""
    assert "Name" in schema_of_describe(describe("Account"), exclude=["BillingAddress"]).by_name


# From Avro.


@pytest.mark.parametrize("lost", ["fields", "salmon", "name"])
def test_a_schema_that_salmon_did_not_make_is_a_clear_error(lost: str) -> None:
    """Somebody registered his own under our subject: say so, and what to do."""
    avro = schema_of_describe(describe("Account")).to_avro()
    del avro[lost]
    with pytest.raises(ConfigError, match="was not generated by Salmon"):
        ObjectSchema.from_avro(avro)


def test_a_field_without_salmons_properties_is_a_clear_error() -> None:
    """A schema generated elsewhere may look like ours but for them."""
    avro = schema_of_describe(describe("Account")).to_avro()
    del avro["fields"][0]["salmon"]
    with pytest.raises(ConfigError, match="was not generated by Salmon"):
        ObjectSchema.from_avro(avro)


def test_fields_of_one_kind_of_account_say_so_and_markers_of_contact_are_no_fields() -> None:
    """An org with person accounts shows the custom fields of Contact on Account; Salmon's markers are among them."""
    described = with_person_accounts(load_describes(marker_fields=True))
    account = schema_of_describe(described["Account"])
    assert {"Salmon_Seq__pc", "Salmon_Id__pc"} <= {field["name"] for field in described["Account"]["fields"]}
    assert {"Salmon_Seq__pc", "Salmon_Id__pc"}.isdisjoint(account.by_name)
    only = {name: account.by_name[name].only for name in ("Name", "LastName", "PersonEmail", "Phone")}
    assert only == {"Name": "business", "LastName": "person", "PersonEmail": "person", "Phone": ""}
    assert ObjectSchema.from_avro(account.to_avro()) == account
    assert {field.only for field in schema_of_describe(described["Contact"]).fields} == {"business"}
    assert not schema_of_describe(load_describes()["Account"]).has_kinds


def test_a_schema_of_which_more_is_told_than_before_has_its_records_read_again() -> None:
    """A source of before has stored names of fields alone: what a lookup points to, it has never told."""
    case = schema_of_describe(describe("Case"))
    assert case.told - frozenset(case.by_name) == {"OwnerId:type"}
    people = schema_of_describe(with_person_accounts(load_describes())["Account"])
    assert people.told - frozenset(people.by_name) == {":kind"}
    account = schema_of_describe(load_describes()["Account"])
    assert account.told == frozenset(account.by_name)


def test_a_computed_field_is_read_back_as_one() -> None:
    """The org's own schema is the rest, whichever computed fields there were before."""
    label = FieldSchema("Label", "string", Kind.STRING, create=False, update=False, computed=True)
    own = schema_of_describe(describe("Contact"))
    schema = own.with_computed([label])
    avro = schema.to_avro()
    assert ObjectSchema.from_avro(avro) == schema
    assert avro["fields"][-1]["doc"] == "Label (string made by Salmon)."
    assert schema.computed == {"Label"}
    assert schema.of_org == own
    assert schema.with_computed([]) == own
