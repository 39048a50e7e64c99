"""What change events say, from recorded bytes and from payloads made here."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import fastavro
import pytest

from salmon.errors import SchemaMismatch
from salmon.model.change import Change, Op
from salmon.model.schema import FieldSchema, Kind, ObjectSchema, schema_of_describe
from salmon.salesforce.identity import Identity
from salmon.salesforce.reading.stream.events import EventId, Report, report_of
from salmon.salesforce.wire.pubsub_api.layout import layout_of
from salmon.simulator.events.cdc_schema import event_schema
from salmon.simulator.org.objects.describes import load_describes
from salmon.simulator.org.saving.person_accounts import with_person_accounts
from support.orgs.salesforce import A_USER, OUR_USER, RECORDED, bits, layout, payload, recorded, schema

ID, OTHER = "001000000000001AAA", "001000000000002AAA"
AT = 1_700_000_000_000


def report(
    body: Mapping[str, Any], identity: Identity | None = None, of: ObjectSchema | None = None
) -> Report:
    name = body["ChangeEventHeader"]["entityName"]
    return report_of(
        body,
        EventId(b"\x00\x01", "an-event"),
        layout=layout(name),
        schema=of or schema(name),
        identity=identity or Identity({"Account": schema("Account"), "Contact": schema("Contact")}),
        our_user=OUR_USER,
    )


def change(body: Mapping[str, Any], identity: Identity | None = None) -> Change:
    (told,) = report(body, identity).told
    assert told.change is not None
    return told.change


def _bytes(shown: Any) -> bytes:
    return base64.b64decode(shown) if isinstance(shown, str) else bytes(shown)


@pytest.mark.parametrize(
    ("response", "avsc", "op", "changed", "fields"),
    [
        (
            "fetchresponse_account_create.json",
            "AccountChangeEvent_2023-07.avsc",
            Op.CREATE,
            None,
            {"Name": "Bulk Acc1", "BillingCountry": "United States", "Phone": "9283921923"},
        ),
        (
            "fetchresponse_account_update.json",
            "AccountChangeEvent_2026-02.avsc",
            Op.UPDATE,
            {"LastModifiedDate"},
            {"LastModifiedDate": 1771291772000},
        ),
        (
            "fetchresponse_account_update_name.json",
            "AccountChangeEvent_2023-05.avsc",
            Op.UPDATE,
            {"Name", "LastModifiedDate"},
            {"Name": "Burlington Textiles Corp of AmeAa", "LastModifiedDate": 1685205922000},
        ),
    ],
)
def test_recorded_events_of_real_orgs_are_understood(
    response: str, avsc: str, op: Op, changed: set[str] | None, fields: dict[str, Any]
) -> None:
    """Bytes that a real Pub/Sub API sent become the change that somebody made."""
    avro = recorded(avsc)
    lower = json.loads(
        (RECORDED / response)
        .read_text("utf-8")
        .replace('"Event"', '"event"')
        .replace('"Payload"', '"payload"')
    )
    first = (lower["events"] if isinstance(lower, dict) else lower)[0]["event"]["payload"]
    body = fastavro.schemaless_reader(io.BytesIO(_bytes(first)), fastavro.parse_schema(avro))
    assert isinstance(body, dict)
    told = (
        report_of(
            body,
            EventId(b""),
            layout=layout_of(avro),
            schema=schema("Account"),
            identity=Identity({"Account": schema("Account")}),
            our_user=OUR_USER,
        )
        .told[0]
        .change
    )
    assert told is not None
    assert told.op is op
    assert told.changed == changed
    assert {name: told.fields[name] for name in fields} == fields
    assert told.commit_time == body["ChangeEventHeader"]["commitTimestamp"]
    assert told.ack is None, "nobody's marker was among what changed"


def test_an_update_speaks_of_the_changed_fields_alone() -> None:
    """A null in a field that no bitmap names was not said; one that is named was cleared."""
    told = change(payload("UPDATE", ID, at=AT, Phone="1", Fax=None))
    assert told.changed == frozenset({"Phone", "Fax"})
    assert told.fields == {"Phone": "1"}
    assert told.native_id == ID


def test_a_field_that_only_the_nulled_bitmap_names_was_cleared() -> None:
    """Both lists name what changed."""
    told = change(payload("UPDATE", ID, changed=[], nulled=bits("Account", "Phone")))
    assert told.changed == frozenset({"Phone"})
    assert told.fields == {}


def test_members_of_an_address_are_fields_of_their_own() -> None:
    """An untouched member of a compound is null in the payload, and was not said."""
    index = [slot.name for slot in layout("Account").slots].index("BillingAddress")
    told = change(
        payload("UPDATE", ID, changed=[f"{index}-0x03"], BillingAddress={"Street": "Ring 1", "City": None})
    )
    assert told.changed == frozenset({"BillingStreet", "BillingCity"})
    assert told.fields == {"BillingStreet": "Ring 1"}


def test_what_the_org_finds_on_the_map_is_an_edit_of_the_coordinates_alone() -> None:
    """Such an event has no top-level bitmap, no origin and no time of the last change, and clears nothing of the address."""
    index = [slot.name for slot in layout("Account").slots].index("ShippingAddress")
    members = [event_name for event_name, _ in layout("Account").slots[index].members]
    bitmap = sum(1 << members.index(name) for name in ("Latitude", "Longitude"))
    found = {"Street": None, "Latitude": 48.2, "Longitude": 16.4}
    told = change(payload("UPDATE", ID, changed=[f"{index}-0x{bitmap:04X}"], ShippingAddress=found))
    assert told.changed == frozenset({"ShippingLatitude", "ShippingLongitude"})
    assert told.fields == {"ShippingLatitude": 48.2, "ShippingLongitude": 16.4}
    assert told.ack is None


def test_enriched_fields_of_an_update_were_not_said() -> None:
    """A channel may add fields to each event; only the bitmaps tell what was changed."""
    told = change(payload("UPDATE", ID, changed=bits("Account", "Phone"), Phone="1", Website="as it is"))
    assert (told.changed, told.fields) == (frozenset({"Phone"}), {"Phone": "1"})
    gone = change(payload("DELETE", ID, Website="as it was"))
    assert (gone.op, dict(gone.fields)) == (Op.DELETE, {})


def test_an_enriched_field_that_no_event_reports_is_said() -> None:
    """It saves a reading of the record. Null says nothing: a channel that is not enriched by it shows that, too."""
    whole = schema("Account")
    unreported = replace(
        whole, fields=tuple(replace(each, live=each.name != "Website") for each in whole.fields)
    )

    def said(**shown: Any) -> Change:
        (told,) = report_of(
            payload("UPDATE", ID, changed=bits("Account", "Phone"), Phone="1", Industry="as it is", **shown),
            EventId(b""),
            layout=layout("Account"),
            schema=unreported,
            identity=Identity({"Account": unreported}),
            our_user=OUR_USER,
        ).told
        assert told.change is not None
        return told.change

    assert said(Website="w").changed == frozenset({"Phone", "Website"})
    assert said(Website="w").fields == {"Phone": "1", "Website": "w"}
    assert said().changed == frozenset({"Phone"})


def test_a_contacts_name_comes_apart() -> None:
    """Name.FirstName is REST's FirstName; the name put together is not synced."""
    told = change(
        payload("CREATE", "003000000000001AAA", name="Contact", Name={"FirstName": "Ada", "LastName": "L"})
    )
    assert (told.fields["FirstName"], told.fields["LastName"]) == ("Ada", "L")
    assert told.changed is None


def test_one_event_of_many_records_tells_each_of_them() -> None:
    """The same edit to many records in one transaction comes as one event."""
    told = report(payload("UPDATE", ID, OTHER, Phone="1")).told
    assert [(one.native_id, one.change and dict(one.change.fields)) for one in told] == [
        (ID, {"Phone": "1"}),
        (OTHER, {"Phone": "1"}),
    ]


def test_an_edit_has_the_same_correlation_whenever_its_event_is_read() -> None:
    """It is made of what the org says of the edit, so it is the same after a restart: by it the edit is found in every log."""
    one, again = (change(payload("UPDATE", ID, Phone="1")).source for _ in range(2))
    assert one["correlation"] == again["correlation"]
    assert one["correlation"] == f"salesforce-{one['transaction_key']}-{one['sequence']}"


def test_order_rises_with_the_commit_and_within_it() -> None:
    """A later commit sorts after an earlier one, by bytes."""
    orders = [
        change(payload("UPDATE", ID, commit=number, Phone="1")).order for number in (9, 10, 300, 1 << 40)
    ]
    assert orders == sorted(orders)
    assert {len(order) for order in orders} == {12}


@pytest.mark.parametrize("kind", ["CREATE", "UPDATE"])
def test_our_marker_in_our_own_change_is_an_ack(kind: str) -> None:
    """Every write of ours sets the marker, so its event says which write it answers."""
    assert change(payload(kind, ID, user=OUR_USER, Salmon_Seq__c=42.0)).ack == 42


@pytest.mark.parametrize("kind", ["CREATE", "UPDATE"])
def test_a_marker_that_somebody_else_wrote_is_no_ack(kind: str) -> None:
    """A copied record brings the marker along."""
    assert change(payload(kind, ID, user=A_USER, Salmon_Seq__c=42.0)).ack is None


def test_an_edit_by_our_user_without_a_marker_is_no_ack() -> None:
    """Another tool may use the same user."""
    assert change(payload("UPDATE", ID, user=OUR_USER, Phone="1")).ack is None


@pytest.mark.parametrize("kind", ["CREATE", "UPDATE", "DELETE"])
@pytest.mark.parametrize("user", [OUR_USER, A_USER])
def test_an_event_tells_whether_our_own_user_made_it(kind: str, user: str) -> None:
    """What the org does by itself as it carries out a write of ours, it does under our user. (Case L1.)"""
    assert change(payload(kind, ID, user=user)).by_us is (user == OUR_USER)


def test_an_undelete_is_a_creation_and_acknowledges_nothing() -> None:
    """The marker that comes back was of the record's former life."""
    told, _ = report(payload("UNDELETE", ID, user=OUR_USER, Name="Acme", Salmon_Seq__c=42.0)).told
    assert told.change is not None
    assert told.change.op is Op.CREATE
    assert told.change.ack is None


def test_after_an_undelete_the_record_is_to_be_read_where_it_has_fields_that_no_event_reports() -> None:
    """Formulas and derived fields come back with the record, and not with its event; each record of a merged one is read."""
    told = report(payload("UNDELETE", ID, OTHER, Name="Acme")).told
    assert [(one.native_id, one.change is None) for one in told] == [
        (ID, False),
        (ID, True),
        (OTHER, False),
        (OTHER, True),
    ]
    plain = ObjectSchema("Account", tuple(each for each in schema("Account").fields if each.live))
    assert len(report(payload("UNDELETE", ID, Name="Acme"), of=plain).told) == 1


def test_a_creation_that_does_not_show_its_stamps_is_read_too() -> None:
    """That of a price book entry: else nobody would ever learn when it was made, and by whom."""
    body = payload("CREATE", ID, Name="Standard")
    body["ChangeEventHeader"]["entityName"] = "PricebookEntry"
    of = replace(layout("Account"), object="PricebookEntry")
    identity = Identity({"Account": schema("Account")})
    report = report_of(
        body, EventId(b"1"), layout=of, schema=schema("Account"), identity=identity, our_user=OUR_USER
    )
    assert [(one.native_id, one.change is None) for one in report.told] == [(ID, False), (ID, True)]


def test_a_change_of_nothing_but_the_marker_is_still_told() -> None:
    """It is the only answer that a write without visible effect ever gets."""
    told = change(payload("UPDATE", ID, user=OUR_USER, Salmon_Seq__c=7.0))
    assert (told.ack, told.changed, told.fields) == (7, frozenset(), {})


def test_a_record_born_elsewhere_carries_its_key() -> None:
    """The creation's event tells under which key the record goes."""
    assert report(payload("CREATE", ID, Name="Acme", Salmon_Id__c="$oid:65f0")).key == "$oid:65f0"
    assert report(payload("CREATE", ID, Name="Acme")).key is None


def test_references_to_synced_records_are_keys() -> None:
    """A lookup holds the parent's record key; its Id only where that is the key."""
    identity = Identity({"Account": schema("Account"), "Contact": schema("Contact")})
    identity.learn("Account", ID, "$oid:65f0")
    body = payload("UPDATE", "003000000000001AAA", name="Contact", AccountId=ID, OwnerId=A_USER)
    assert change(body, identity).fields == {"AccountId": "$oid:65f0", "OwnerId": A_USER}
    body = payload("UPDATE", "003000000000001AAA", name="Contact", AccountId=OTHER)
    assert change(body, identity).fields == {"AccountId": OTHER}


@pytest.mark.parametrize("kind", ["GAP_CREATE", "GAP_UPDATE", "GAP_DELETE", "GAP_UNDELETE", "SNAPSHOT"])
def test_an_event_that_only_names_its_records_asks_for_them_to_be_read(kind: str) -> None:
    """A gap event says that something happened, and not what."""
    assert [(told.native_id, told.change) for told in report(payload(kind, ID, OTHER)).told] == [
        (ID, None),
        (OTHER, None),
    ]


def test_a_text_diff_asks_for_its_record_to_be_read() -> None:
    """A diff says nothing to who does not hold the text it was made against."""
    body = payload("UPDATE", ID, diff=bits("Account", "Description"), Description="--- \n+++ 00\n")
    assert report(body).told[0].change is None


@pytest.mark.parametrize(
    ("kind", "named"), [("GAP_OVERFLOW", "000000000000000AAA"), ("UPDATE", "001*"), ("GAP_UPDATE", "001*")]
)
def test_too_many_changes_or_a_wildcard_ask_for_the_whole_object(kind: str, named: str) -> None:
    """The event names no record at all."""
    assert report(payload(kind, named, at=AT)) == Report("Account", AT, whole=True)


def test_a_value_of_another_type_is_told_and_not_guessed() -> None:
    """The message names the field, and nothing of the value."""
    with pytest.raises(SchemaMismatch, match="NumberOfEmployees"):
        change(payload("UPDATE", ID, NumberOfEmployees="secret"))


def test_fields_that_are_not_synced_are_left_out() -> None:
    """What the config excludes is not in the schema, and not told."""
    only_phone = ObjectSchema("Account", (FieldSchema("Phone", "phone", Kind.STRING),), "001")
    told = (
        report_of(
            payload("UPDATE", ID, Phone="1", Fax="2"),
            EventId(b""),
            layout=layout("Account"),
            schema=only_phone,
            identity=Identity({"Account": only_phone}),
            our_user=OUR_USER,
        )
        .told[0]
        .change
    )
    assert told is not None
    assert (told.changed, dict(told.fields)) == (frozenset({"Phone"}), {"Phone": "1"})


def test_a_deletion_says_nothing_of_fields() -> None:
    """All of its payload is null, which clears nothing."""
    told = change(payload("DELETE", ID, at=AT))
    assert (told.op, dict(told.fields), told.committed_at) == (Op.DELETE, {}, AT)


# Person accounts: one slot of the event is two fields of REST.

PEOPLE = with_person_accounts(load_describes(marker_fields=True))["Account"]
PEOPLE_LAYOUT = layout_of(json.loads(event_schema(PEOPLE).schema_json))
PEOPLE_SCHEMA = schema_of_describe(PEOPLE, live=PEOPLE_LAYOUT.live)
NAME_SLOT = [slot.name for slot in PEOPLE_LAYOUT.slots].index("Name")


def told_of_people(body: Mapping[str, Any], synced: ObjectSchema = PEOPLE_SCHEMA) -> Change | None:
    """What is reported of an account in an org with person accounts; None: it is read."""
    named = {"Name": None, **body}
    identity = Identity({"Account": synced})
    told = report_of(
        named, EventId(b"1"), layout=PEOPLE_LAYOUT, schema=synced, identity=identity, our_user=OUR_USER
    )
    return told.told[0].change


def test_the_name_of_a_business_is_a_text_and_tells_that_it_is_one() -> None:
    """Its creation and its edit speak of Name, and of no part of a person's name."""
    made = told_of_people(payload("CREATE", ID, Name="Acme"))
    assert made is not None
    assert made.fields == {"Name": "Acme", "IsPersonAccount": False}
    renamed = told_of_people(payload("UPDATE", ID, changed=["0x02"], Name="Acme Ltd."))
    assert renamed is not None
    assert renamed.changed == frozenset({"Name", "IsPersonAccount"})


def test_the_name_of_a_person_is_its_parts_and_tells_that_it_is_one() -> None:
    """An event never has the whole name, and an update says only the parts that have changed."""
    parts = {"Salutation": None, "FirstName": "Ada", "LastName": "Byron"}
    made = told_of_people(payload("CREATE", ID, Name=parts))
    assert made is not None
    assert made.fields == {"FirstName": "Ada", "LastName": "Byron", "IsPersonAccount": True}
    untouched = {"Salutation": None, "FirstName": None, "LastName": "King"}
    changed = told_of_people(payload("UPDATE", ID, changed=[f"{NAME_SLOT}-0x04"], Name=untouched))
    assert changed is not None
    assert changed.changed == frozenset({"LastName", "IsPersonAccount"})
    assert changed.fields == {"LastName": "King", "IsPersonAccount": True}


@pytest.mark.parametrize("bitmap", ["0x02", f"{NAME_SLOT}-0x02"])
def test_a_name_that_the_event_names_and_does_not_show_is_read(bitmap: str) -> None:
    """It may be a text or parts, and any of them may be cleared."""
    assert told_of_people(payload("UPDATE", ID, changed=[bitmap])) is None


def test_a_person_is_read_where_a_part_of_its_name_is_not_synced() -> None:
    """Then the fold cannot put the name together."""
    without = replace(PEOPLE_SCHEMA, fields=tuple(f for f in PEOPLE_SCHEMA.fields if f.name != "FirstName"))
    parts = {"Salutation": None, "FirstName": None, "LastName": "Byron"}
    assert told_of_people(payload("CREATE", ID, Name=parts), without) is not None
    assert told_of_people(payload("CREATE", ID, Name={**parts, "FirstName": "Ada"}), without) is None
    cleared = payload("UPDATE", ID, changed=[f"{NAME_SLOT}-0x02"], Name=parts)
    assert told_of_people(cleared, without) is None


def test_an_event_of_before_person_accounts_is_understood_beside_newer_ones() -> None:
    """Each event is read by its own schema: there, Name was a text, and said nothing of kinds."""
    before = recorded("AccountChangeEvent_2026-02.avsc")
    told = report_of(
        {**dict.fromkeys(f["name"] for f in before["fields"]), **payload("CREATE", ID), "Name": "Acme"},
        EventId(b"1"),
        layout=layout_of(before),
        schema=PEOPLE_SCHEMA,
        identity=Identity({"Account": PEOPLE_SCHEMA}),
        our_user=OUR_USER,
    )
    (record,) = told.told
    assert record.change is not None
    assert record.change.fields["Name"] == "Acme"
