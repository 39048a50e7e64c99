"""How payloads are laid out: against schemas and bitmaps of real orgs."""

from __future__ import annotations

import pytest

from salmon.errors import SchemaMismatch
from salmon.salesforce.wire.pubsub_api.layout import channel_of, component_name, layout_of, object_of
from support.orgs.salesforce import recorded

ACCOUNT = layout_of(recorded("AccountChangeEvent_2026-02.avsc"))
CUSTOM = layout_of(recorded("Some_Custom_Object__ChangeEvent_2023-07.avsc"))


@pytest.mark.parametrize(
    ("bitmaps", "names"),
    [
        ([], set()),
        (
            ["0x800002"],
            {"Name", "Salutation", "FirstName", "LastName", "IsPersonAccount", "LastModifiedDate"},
        ),
        (["0x100000000000800000"], {"LastModifiedDate", "Amount_Owed__c"}),
        (["0x800000", "6-0x01"], {"LastModifiedDate", "ShippingStreet"}),
        (["6-0x0180"], {"ShippingLatitude", "ShippingLongitude"}),
    ],
)
def test_recorded_bitmaps_name_fields_as_rest_does(bitmaps: list[str], names: set[str]) -> None:
    """Top-level, nested, and nested alone: each bit is the field that the API means."""
    more = {"MiddleName", "InformalName", "Suffix"}  # members of a name that not every org has
    assert ACCOUNT.named(bitmaps) - more == names


def test_a_custom_objects_bitmap_names_its_fields() -> None:
    """Its own fields come after the standard ones: owner, name, then who made and changed it."""
    assert CUSTOM.object == "Some_Custom_Object__c"
    assert CUSTOM.named(["0x10"]) == {"CreatedById"}
    assert CUSTOM.named(["0x20", "12-0x03"]) == {
        "LastModifiedDate",
        *(n for _, n in CUSTOM.slots[12].members[:2]),
    }


def test_the_codes_of_state_and_country_are_members_of_an_address() -> None:
    """Where the org has picklists of them, they change together with the names."""
    assert ACCOUNT.named(["6-0x60"]) == {"ShippingStateCode", "ShippingCountryCode"}


def test_the_same_bit_is_another_member_in_an_older_schema() -> None:
    """Addresses had eleven parts once: an event is read by the schema that it names, and no other."""
    older = layout_of(recorded("AccountChangeEvent_2023-07.avsc"))
    assert ACCOUNT.named(["6-0x0200"]) == {"ShippingGeocodeAccuracy"}
    assert older.named(["6-0x0400"]) == {"ShippingGeocodeAccuracy"}
    assert older.named(["6-0x0200"]) != {"ShippingGeocodeAccuracy"}


def test_a_bit_of_a_whole_compound_stands_for_all_its_members() -> None:
    """A top-level bit of an address says something of each of its parts."""
    index = [slot.name for slot in ACCOUNT.slots].index("BillingAddress")
    assert {"BillingStreet", "BillingCity", "BillingGeocodeAccuracy"} <= ACCOUNT.named([f"0x{1 << index:X}"])


@pytest.mark.parametrize("bitmap", ["0xZZ", "99-0x01", "6-0x10000", "x-0x01", "0x" + "F" * 60])
def test_a_bitmap_that_names_what_is_not_there_is_told(bitmap: str) -> None:
    """A field that the schema lacks is never taken for another one."""
    with pytest.raises(SchemaMismatch, match="which its schema lacks"):
        ACCOUNT.named([bitmap])


def test_the_flags_of_a_user_may_come_as_a_list_of_names() -> None:
    """It is one field of the event, which keeps its bit; the flags themselves are fields that no event reports."""
    flags = {"name": "UserPreferences", "type": ["null", {"type": "array", "items": "string"}]}
    phone = {"name": "Phone", "type": ["null", "string"]}
    header = {"name": "ChangeEventHeader", "type": "string"}
    layout = layout_of({"name": "UserChangeEvent", "fields": [header, flags, phone]})
    assert layout.named(["0x04"]) == {"Phone"}
    shown = dict(layout.values({"UserPreferences": ["UserPreferencesSortFeed"], "Phone": "1"}))
    assert shown == {"UserPreferences": ["UserPreferencesSortFeed"], "Phone": "1"}
    assert "UserPreferencesSortFeed" not in layout.live


def test_live_fields_are_those_of_the_events_under_their_rest_names() -> None:
    """Components under the names that REST gives them; what events lack is not live."""
    assert {"BillingStreet", "Some_Geolocation__Latitude__s", "Name", "Amount_Owed__c"} <= ACCOUNT.live
    assert ACCOUNT.live.isdisjoint({"SystemModstamp", "BillingAddress", "PhotoUrl", "Id"})


@pytest.mark.parametrize(
    ("compound", "member", "name"),
    [
        ("BillingAddress", "City", "BillingCity"),
        ("Address", "City", "City"),
        ("PersonMailingAddress", "GeocodeAccuracy", "PersonMailingGeocodeAccuracy"),
        ("Name", "FirstName", "FirstName"),
        ("Place__c", "Latitude", "Place__Latitude__s"),
    ],
)
def test_members_of_compounds_have_rest_names(compound: str, member: str, name: str) -> None:
    """The prefix is taken from the compound, except where Salesforce does it otherwise."""
    assert component_name(compound, member) == name


@pytest.mark.parametrize("name", ["Account", "My__c"])
def test_an_object_and_its_events_schema_name_each_other(name: str) -> None:
    """Standard and custom objects build their event's name differently."""
    event = channel_of(name).removeprefix("/data/")
    assert event == {"Account": "AccountChangeEvent", "My__c": "My__ChangeEvent"}[name]
    assert object_of({"name": event}) == name


def test_what_is_no_change_event_is_refused() -> None:
    """A platform event's schema has no change event header."""
    with pytest.raises(SchemaMismatch, match="not the schema of a change event"):
        layout_of({"name": "Order__e", "fields": [{"name": "CreatedDate", "type": "long"}]})


def test_a_field_that_holds_a_list_is_plain_and_is_not_taken_for_a_field_of_rest() -> None:
    """Events of users may have their preferences as a list of names; REST has a checkbox for each, which no event reports then."""
    preferences = {"type": "array", "items": "string"}
    fields = [
        {"name": "ChangeEventHeader", "type": "string"},
        {"name": "Preferences", "type": ["null", preferences]},
        {"name": "Title", "type": ["null", "string"]},
    ]
    user = layout_of({"name": "UserChangeEvent", "fields": fields})
    assert user.live == {"Preferences", "Title"}
    assert user.named(["0x06"]) == {"Preferences", "Title"}
    assert dict(user.values({"Preferences": ["A", "B"], "Title": "CEO"})) == {
        "Preferences": ["A", "B"],
        "Title": "CEO",
    }
