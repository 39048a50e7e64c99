"""Change events made from transactions, against events recorded from real orgs."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salmon.simulator.events.cdc import OVERFLOW_ID, ChangeEvent, Place, bitmaps, events_of, places_of
from salmon.simulator.events.cdc_schema import EventSchema, Slot, event_schema
from salmon.simulator.org.objects.describes import load_describes
from salmon.simulator.org.transaction import ChangeType, RecordChange, Row, Transaction

RECORDED = Path(__file__).parents[3] / "data" / "salesforce" / "cdc"
DESCRIBES = load_describes()
ACCOUNT = event_schema(DESCRIBES["Account"])
CONTACT = event_schema(DESCRIBES["Contact"])

SCHEMA_FILES = {
    "S3-K_S0GYegWTRZnKLjeag": "AccountChangeEvent_2023-05.avsc",
    "4egfTTaxua4Y39nYlBXfNg": "AccountChangeEvent_2023-07.avsc",
    "i8wgJwwM-AVcDbFkbRl5Nw": "AccountChangeEvent_2026-02.avsc",
}
STAMP = "2026-02-17T01:29:32.000+0000"
STAMP_MS = 1771291772000


def recorded(name: str) -> Any:
    return json.loads((RECORDED / name).read_text("utf-8"))


def transaction(
    *changes: RecordChange, origin: str = "com/salesforce/api/rest/64.0;client=test"
) -> Transaction:
    return Transaction(
        key="00034c74-0500-aa77-fc35-265917470e99",
        commit_number=12279578624413,
        commit_timestamp_ms=STAMP_MS,
        user_id="005Dp000000PpjsIAC",
        change_origin=origin,
        changes=changes,
    )


def change(
    record_id: str, change_type: ChangeType, before: Row | None, after: Row | None, entity: str = "Account"
) -> RecordChange:
    return RecordChange(entity, record_id, change_type, before, after)


def events(*changes: RecordChange, **kwargs: str) -> tuple[ChangeEvent, ...]:
    return events_of(transaction(*changes, **kwargs), {"Account": ACCOUNT, "Contact": CONTACT}.get)


def decoded(event: ChangeEvent) -> dict[str, Any]:
    """The payload, read to its last byte; nulls left out."""
    payload = io.BytesIO(event.payload())
    read = fastavro.schemaless_reader(payload, event.schema.parsed, None)
    assert payload.read() == b"", "one datum and nothing after it"
    assert isinstance(read, dict)
    return {name: value for name, value in read.items() if value is not None}


def names_of(schema: dict[str, Any], bitmap: list[str]) -> list[str]:
    """What a bitmap names: "Phone", or "BillingAddress.City"."""
    found = []
    for top, nested in places_of(bitmap):
        field = schema["fields"][top]
        if nested is None:
            found.append(field["name"])
        else:
            branch = field["type"][-1]
            records = (f["type"][-1] for f in schema["fields"][1:])
            record = next(r for r in records if r == branch or (isinstance(r, dict) and r["name"] == branch))
            found.append(f"{field['name']}.{record['fields'][nested]['name']}")
    return found


# Recorded bytes.


def recorded_events() -> list[tuple[str, bytes, dict[str, Any]]]:
    """Schema id, payload, and the payload as it was decoded when it was recorded."""
    found = []
    for name in ("account_create", "account_update", "account_update_name"):
        response = recorded(f"fetchresponse_{name}.json")
        entries = response["events"] if isinstance(response, dict) else response
        for entry, expected in zip(entries, recorded(f"decoded_{name}.json"), strict=True):
            event = {key.lower(): value for key, value in (entry.get("event") or entry["Event"]).items()}
            payload = event["payload"]
            as_bytes = base64.b64decode(payload) if isinstance(payload, str) else bytes(payload)
            found.append((event["schemaid"], as_bytes, expected["payload"]))
    return found


@pytest.mark.parametrize(("schema_id", "payload", "expected"), recorded_events())
def test_a_recorded_event_is_made_again_byte_for_byte(
    schema_id: str, payload: bytes, expected: dict[str, Any]
) -> None:
    """Given the recorded schema and the values, our encoding is Salesforce's, header and bitmaps included."""
    avsc = recorded(SCHEMA_FILES[schema_id])
    assert fastavro.schemaless_reader(io.BytesIO(payload), avsc, None) == expected
    header = expected["ChangeEventHeader"]
    slots = tuple(slots_of(avsc))
    changed = set(places_of(header["changedFields"]))
    values = []
    for slot in slots:
        shown = expected[slot.event_field]
        value = shown[slot.member] if slot.member and shown is not None else shown
        if value is not None:
            values.append((slot, value))
    schema = EventSchema("Account", "AccountChangeEvent", schema_id, "", slots, fastavro.parse_schema(avsc))
    event = ChangeEvent(
        schema,
        replace(
            transaction(origin=header["changeOrigin"]),
            key=header["transactionKey"],
            commit_number=header["commitNumber"],
            commit_timestamp_ms=header["commitTimestamp"],
        ),
        header["sequenceNumber"],
        header["changeType"],
        tuple(header["recordIds"]),
        tuple(values),
        tuple(slot for slot in slots if (slot.top, slot.nested) in changed),
    )
    assert event.payload() == payload


def slots_of(avsc: dict[str, Any]) -> list[Slot]:
    """A slot for each field of a recorded schema; its values are as the event holds them already."""
    records = {"Address": avsc["fields"][5]["type"][1]}
    slots = []
    for top, field in enumerate(avsc["fields"][1:], start=1):
        record = records["Address"] if field["doc"] == "Data:Address" else None
        if record is None:
            slots.append(Slot(field["name"], top, field["name"], convert=lambda value: value))
            continue
        for nested, member in enumerate(record["fields"]):
            name = f"{field['name']}.{member['name']}"
            slots.append(Slot(name, top, field["name"], nested, member["name"], lambda value: value))
    return slots


# Bitmaps.


BITMAPS: list[tuple[list[str], list[Place]]] = [
    ([], []),
    (["0x800002"], [(1, None), (23, None)]),
    (["0x100000000000800000"], [(23, None), (68, None)]),
    (["0x800000", "6-0x01"], [(23, None), (6, 0)]),
    (["6-0x0180"], [(6, 7), (6, 8)]),
    (["0x1000000010"], [(4, None), (36, None)]),
    (["0x400800"], [(11, None), (22, None)]),
    (["0x010000"], [(16, None)]),
    (
        ["0x650004E0", "4-0x10", "7-0x06"],
        [*((i, None) for i in (5, 6, 7, 10, 24, 26, 29, 30)), (4, 4), (7, 1), (7, 2)],
    ),
]  # recorded, and from the Change Data Capture Developer Guide


@pytest.mark.parametrize(("bitmap", "places"), BITMAPS)
def test_bitmaps_are_written_and_read_as_real_ones(bitmap: list[str], places: list[Place]) -> None:
    """Upper-case whole bytes; nested ones after the event's own; no element at all where no bit is set."""
    assert places_of(bitmap) == places
    if bitmap == ["0x010000"]:
        assert bitmaps(places) == bitmap, (
            "a leading zero byte is not ours to drop: bit 16 is in the third byte"
        )
    assert bitmaps(places) == bitmap


@given(st.sets(st.tuples(st.integers(1, 300), st.none() | st.integers(0, 10))))
def test_any_set_of_fields_survives_its_bitmap(places: set[Place]) -> None:
    """What was put in comes out, whatever fields they are."""
    assert set(places_of(bitmaps(places))) == places


# Events.

JUNGLE: Row = {
    "Id": "001Dp00000JJkkHIAT",
    "IsDeleted": False,
    "Name": "Jungle Books",
    "BillingCity": "Ulm",
    "BillingLatitude": 48.4,
    "AnnualRevenue": 5,
    "NumberOfEmployees": 12,
    "CreatedDate": STAMP,
    "LastModifiedDate": STAMP,
    "SystemModstamp": STAMP,
    "LastModifiedById": "005Dp000000PpjsIAC",
}


def test_a_create_shows_the_whole_record_and_names_no_field() -> None:
    """Dates are longs in ms, numbers doubles; the Id is in the header and what is derived is nowhere."""
    (event,) = events(change("001Dp00000JJkkHIAT", "CREATE", None, JUNGLE))
    body = decoded(event)
    header = body.pop("ChangeEventHeader")
    assert header == {
        "entityName": "Account",
        "recordIds": ["001Dp00000JJkkHIAT"],
        "changeType": "CREATE",
        "changeOrigin": "com/salesforce/api/rest/64.0;client=test",
        "transactionKey": "00034c74-0500-aa77-fc35-265917470e99",
        "sequenceNumber": 1,
        "commitTimestamp": STAMP_MS,
        "commitNumber": 12279578624413,
        "commitUser": "005Dp000000PpjsIAC",
        "nulledFields": [],
        "diffFields": [],
        "changedFields": [],
    }
    nothing = dict.fromkeys(("Street", "State", "PostalCode", "Country", "Longitude", "GeocodeAccuracy"))
    assert body == {
        "Name": "Jungle Books",
        "BillingAddress": {**nothing, "City": "Ulm", "Latitude": 48.4},
        "AnnualRevenue": 5.0,
        "NumberOfEmployees": 12,
        "CreatedDate": STAMP_MS,
        "LastModifiedDate": STAMP_MS,
        "LastModifiedById": "005Dp000000PpjsIAC",
    }


def test_an_update_shows_what_changed_and_tells_a_cleared_field_from_an_untouched_one() -> None:
    """Cleared fields are null and in nulledFields; members of compounds have bits of their own."""
    after = {**JUNGLE, "Name": "Jungle Book Shop", "BillingCity": None, "NumberOfEmployees": None}
    (event,) = events(change("001Dp00000JJkkHIAT", "UPDATE", JUNGLE, after))
    body = decoded(event)
    header = body.pop("ChangeEventHeader")
    schema = json.loads(ACCOUNT.schema_json)
    assert names_of(schema, header["changedFields"]) == [
        "Name",
        "NumberOfEmployees",
        "LastModifiedDate",
        "BillingAddress.City",
    ]
    assert names_of(schema, header["nulledFields"]) == ["NumberOfEmployees", "BillingAddress.City"]
    assert body["Name"] == "Jungle Book Shop"
    assert set(body["BillingAddress"].values()) == {None}, "there, to say that one of its members is meant"
    assert set(body) == {"Name", "BillingAddress", "LastModifiedDate"}


def test_a_users_save_is_stamped_even_within_the_second_of_the_last_one() -> None:
    """LastModifiedDate looks the same before and after, and yet was set."""
    (event,) = events(change("001Dp00000JJkkHIAT", "UPDATE", JUNGLE, {**JUNGLE, "Phone": "555 0101"}))
    assert decoded(event)["LastModifiedDate"] == STAMP_MS


def test_the_system_geocodes_an_address_without_origin_and_without_stamp() -> None:
    """Then there is no top-level bitmap at all, as in the recorded ["6-0x0180"]."""
    after = {**JUNGLE, "ShippingLatitude": 1.0, "ShippingLongitude": 2.0}
    (event,) = events(change("001Dp00000JJkkHIAT", "UPDATE", JUNGLE, after), origin="")
    header = decoded(event)["ChangeEventHeader"]
    assert header["changedFields"] == ["6-0x60"]
    assert header["nulledFields"] == []


def test_a_change_to_what_no_event_carries_makes_no_event() -> None:
    """Only SystemModstamp and a derived date moved, by the system's own hand."""
    after = {**JUNGLE, "SystemModstamp": "2026-02-18T00:00:00.000+0000", "LastActivityDate": "2026-02-18"}
    assert events(change("001Dp00000JJkkHIAT", "UPDATE", JUNGLE, after), origin="") == ()


def test_a_persons_name_is_a_record_of_its_parts() -> None:
    """Contact.FirstName is Name.FirstName in the event; the name that REST shows is nowhere."""
    row = {"Name": "Mowgli Waters", "FirstName": "Mowgli", "LastName": "Waters", "Birthdate": "1969-12-31"}
    (event,) = events(change("003Dp00000JJkkHIAT", "CREATE", None, row, "Contact"))
    body = decoded(event)
    assert body["Name"] == {"Salutation": None, "FirstName": "Mowgli", "LastName": "Waters"}
    assert body["Birthdate"] == -86_400_000, "ms at midnight UTC, also before 1970"


def test_deletes_are_headers_alone_and_an_undelete_is_the_whole_record() -> None:
    """The bin takes everything, and gives everything back."""
    (deleted,) = events(change("001Dp00000JJkkHIAT", "DELETE", JUNGLE, None))
    assert set(decoded(deleted)) == {"ChangeEventHeader"}
    (undeleted,) = events(change("001Dp00000JJkkHIAT", "UNDELETE", None, JUNGLE))
    body = decoded(undeleted)
    assert body["Name"] == "Jungle Books"
    assert body["ChangeEventHeader"]["changedFields"] == []


def test_the_creation_of_a_price_book_entry_does_not_show_who_made_it() -> None:
    """An exception of the guide; its updates and its undelete are as those of others."""
    schema = event_schema({**DESCRIBES["Account"], "name": "PricebookEntry"})
    row = {"Name": "Standard", "CreatedDate": STAMP, "LastModifiedDate": STAMP, "Phone": "1"}
    made, back = (
        decoded(event)
        for kind in ("CREATE", "UNDELETE")
        for event in events_of(
            transaction(change("01uDp00000JJkkHIAT", kind, None, row, "PricebookEntry")),
            {"PricebookEntry": schema}.get,
        )
    )
    assert (made["Phone"], back["Phone"]) == ("1", "1")
    assert not {"CreatedDate", "LastModifiedDate"} & made.keys()
    assert {"CreatedDate", "LastModifiedDate"} <= back.keys()


def test_an_event_of_more_than_a_megabyte_is_a_gap_event() -> None:
    """The platform does not send it: it says who was changed, and how, and the record is to be read."""
    long = {**JUNGLE, "Description": "x" * 1_100_000}
    (event,) = events(change("001Dp00000JJkkHIAT", "UPDATE", JUNGLE, long))
    body = decoded(event)
    assert set(body) == {"ChangeEventHeader"}
    header = body["ChangeEventHeader"]
    assert (header["changeType"], header["recordIds"]) == ("GAP_UPDATE", ["001Dp00000JJkkHIAT"])
    assert header["changedFields"] == []


@pytest.mark.parametrize("number", [1e18, -(10**18), Decimal("1234567890.123456789")])
@pytest.mark.parametrize("change_type", ["CREATE", "UPDATE", "UNDELETE"])
def test_a_number_of_more_than_18_digits_makes_a_gap_event(
    number: int | float | Decimal, change_type: ChangeType
) -> None:
    """Of the records that have it, which are one event."""
    ids = ("001Dp00000JJkkHIAT", "001Dp00000JJkjiIAD")
    after = {**JUNGLE, "AnnualRevenue": number}
    (event,) = events(*(change(each, change_type, JUNGLE, {**after, "Fax": each}) for each in ids))
    header = decoded(event)["ChangeEventHeader"]
    assert (header["changeType"], tuple(header["recordIds"])) == (f"GAP_{change_type}", ids)
    assert set(decoded(event)) == {"ChangeEventHeader"}


@pytest.mark.parametrize("number", [999_999_999_999_999_999, Decimal("1234567890.12345678"), 1e-20])
def test_a_number_of_18_digits_is_in_the_event(number: int | float | Decimal) -> None:
    """The zeros of a small one are none."""
    (event,) = events(change("001Dp00000JJkkHIAT", "UPDATE", JUNGLE, {**JUNGLE, "AnnualRevenue": number}))
    assert event.change_type == "UPDATE"
    assert decoded(event)["AnnualRevenue"] == float(number)


def test_changes_beyond_a_hundred_thousand_are_one_overflow_event_for_each_object() -> None:
    """The first of them have events of their own: a cascade deletes an account's contacts, and then more accounts."""
    accounts = [change(f"001{number:012d}AAA", "DELETE", JUNGLE, None) for number in range(5)]
    contacts = [change(f"003{number:012d}AAA", "DELETE", {}, None, "Contact") for number in range(99_998)]
    found = events(*accounts[:2], *contacts, *accounts[2:], change("003ZAAA", "DELETE", {}, None, "Contact"))
    assert [each.sequence for each in found] == list(range(1, len(found) + 1))
    *own, first, second = found
    assert sum(len(each.record_ids) for each in own) == 100_000
    assert {each.change_type for each in own} == {"DELETE"}
    for overflow, entity in ((first, "Account"), (second, "Contact")):
        header = decoded(overflow)["ChangeEventHeader"]
        assert (header["changeType"], header["entityName"]) == ("GAP_OVERFLOW", entity)
        assert (header["recordIds"], set(decoded(overflow))) == ([OVERFLOW_ID], {"ChangeEventHeader"})
    assert all(len(each.payload()) < 1024 * 1024 for each in own), (
        "no event names more records than it has room for"
    )


def test_each_field_of_an_update_counts_as_a_change() -> None:
    """Two fields and the stamp are three."""
    edited = change("001Dp00000JJkkHIAT", "UPDATE", JUNGLE, {**JUNGLE, "Phone": "1", "Fax": "2"})
    types = [
        [
            each.change_type
            for each in events_of(transaction(edited), {"Account": ACCOUNT}.get, changes_max=most)
        ]
        for most in (3, 2)
    ]
    assert types == [["UPDATE"], ["GAP_OVERFLOW"]]


def test_a_converted_field_shows_nothing_of_the_records() -> None:
    """One event for all of them, or a gap event that names some; a gap is not made of it again."""
    wild, gap = events(
        change("001*", "UPDATE", None, None),
        change("001Dp00000JJkkHIAT", "GAP_UPDATE", None, None),
        origin="",
    )
    assert (wild.change_type, wild.record_ids, set(decoded(wild))) == (
        "UPDATE",
        ("001*",),
        {"ChangeEventHeader"},
    )
    assert (gap.change_type, gap.as_gap().change_type) == ("GAP_UPDATE", "GAP_UPDATE")
    assert set(decoded(gap)) == {"ChangeEventHeader"}


def test_the_same_change_to_many_records_is_one_event() -> None:
    """Three get the same phone number, one of them among others: two events, numbered in their order."""
    ids = ["001Dp00000JJkjiIAD", "001Dp00000JJkjjIAD", "001Dp00000JJkjkIAD"]
    same = [change(i, "UPDATE", JUNGLE, {**JUNGLE, "Phone": "1"}) for i in ids]
    other = change("001Dp00000JJkkHIAT", "UPDATE", JUNGLE, {**JUNGLE, "Phone": "2"})
    first, second = events(same[0], other, same[1], same[2])
    assert (first.record_ids, first.sequence) == (tuple(ids), 1)
    assert (second.record_ids, second.sequence) == (("001Dp00000JJkkHIAT",), 2)


def test_a_records_events_keep_their_order_when_others_are_merged() -> None:
    """A is deleted, B is created and deleted: B's delete must not join A's, which is before B's create."""
    made = events(
        change("A", "DELETE", JUNGLE, None),
        change("B", "CREATE", None, JUNGLE),
        change("B", "DELETE", JUNGLE, None),
    )
    assert [(event.change_type, event.record_ids) for event in made] == [
        ("DELETE", ("A",)),
        ("CREATE", ("B",)),
        ("DELETE", ("B",)),
    ]


def test_objects_that_are_not_selected_leave_holes_in_the_sequence() -> None:
    """Somebody changed a Lead between two Accounts; nobody hears of it, but the numbers tell."""
    made = events(
        change("A", "CREATE", None, {**JUNGLE, "Name": "A"}),
        change("00Q", "CREATE", None, {}, "Lead"),
        change("B", "CREATE", None, {**JUNGLE, "Name": "B"}),
    )
    assert [event.sequence for event in made] == [1, 3]
    assert len({event.id for event in made}) == 2


def test_gap_and_overflow_events_say_that_something_happened_and_not_what() -> None:
    """A gap names the records; an overflow names none."""
    (event,) = events(change("001Dp00000JJkkHIAT", "UPDATE", JUNGLE, {**JUNGLE, "Phone": "1"}))
    for spoiled, change_type, ids in (
        (event.as_gap(), "GAP_UPDATE", ["001Dp00000JJkkHIAT"]),
        (event.as_overflow(), "GAP_OVERFLOW", ["000000000000000AAA"]),
    ):
        body = decoded(spoiled)
        assert set(body) == {"ChangeEventHeader"}
        assert body["ChangeEventHeader"]["changeType"] == change_type
        assert body["ChangeEventHeader"]["recordIds"] == ids
        assert body["ChangeEventHeader"]["changedFields"] == []
        assert body["ChangeEventHeader"]["commitTimestamp"] == STAMP_MS
