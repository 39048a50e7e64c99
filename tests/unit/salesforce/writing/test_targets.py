"""Lookups that can point to several objects, from the org to `changes` and from `writes` to the org."""

from __future__ import annotations

from dataclasses import replace

from salmon.model.schema import FieldSchema, Kind, ObjectSchema, schema_of_describe
from salmon.salesforce.identity import Identity
from salmon.salesforce.writing.references import References
from support.orgs.describes import describe

WHO = FieldSchema("WhoId", "reference", Kind.STRING, reference_to=("Contact", "Lead"))
USER = "005000000000001AAA"
QUEUE = "00G000000000001AAA"
OWNER = FieldSchema("OwnerId", "reference", Kind.STRING, reference_to=("Group", "User"))
OF_EVENT = {
    "Event": ObjectSchema("Event", (WHO, OWNER), "00U"),
    "Contact": ObjectSchema("Contact", (), "003"),
    "Lead": ObjectSchema("Lead", (), "00Q"),
}


class Known(dict[tuple[str, str], str]):
    """Identities: (object, key) -> Id."""

    def native_id(self, name: str, key: str) -> str | None:
        return self.get((name, key))

    def key(self, name: str, native_id: str) -> str:
        raise AssertionError("not asked")


def test_a_target_is_looked_for_under_its_own_object_alone() -> None:
    """A contact and a lead may have the same key; the type says which one is meant."""
    of_contact, of_lead = "003000000000007AAA", "00Q000000000007AAA"
    references = References(OF_EVENT, Known({("Contact", "7"): of_contact, ("Lead", "7"): of_lead}))
    assert references.body("Event", {"WhoId": "Lead:7"}).fields == {"WhoId": of_lead}
    assert references.body("Event", {"WhoId": "Contact:7"}).fields == {"WhoId": of_contact}
    waits = references.body("Event", {"WhoId": "Lead:8"})
    assert waits.missing == {"WhoId": (("Lead", "8"),)}
    unsaid = references.body("Event", {"WhoId": ":8"})
    assert unsaid.missing == {"WhoId": (("Contact", "8"), ("Lead", "8"))}


def test_a_target_that_is_not_synced_is_sent_as_its_id() -> None:
    """An owner, a user or a queue; also as an earlier version has stored it."""
    references = References(OF_EVENT, Known())
    for value in ("Group:00G000000000001AAA", "00G000000000001AAA", ":00G000000000001AAA"):
        assert references.body("Event", {"OwnerId": value}).fields == {"OwnerId": "00G000000000001AAA"}
    assert references.body("Event", {"OwnerId": None}).fields == {"OwnerId": None}


def test_the_org_says_of_which_object_a_target_is() -> None:
    """By the first characters of its Id; of a synced one, the value has its key."""
    event = schema_of_describe(describe("Event"), prefixes={"User": "005", "Calendar": "023", "Lead": "00Q"})
    schemas = {"Event": event, "Contact": ObjectSchema("Contact", (), "003")}
    assert ObjectSchema.from_avro(event.to_avro()) == event
    identity = Identity(schemas)
    who, owner = event.by_name["WhoId"], event.by_name["OwnerId"]
    assert identity.reference_key(who, "003000000000007AAA") == "Contact:003000000000007AAA"
    identity.learn("Contact", "003000000000007AAA", "$int:7")
    assert identity.reference_key(who, "003000000000007AAA") == "Contact:$int:7"
    assert identity.reference_key(who, "00Q000000000007AAA") == "Lead:00Q000000000007AAA"
    assert identity.reference_key(owner, USER) == f"User:{USER}"
    assert identity.reference_key(replace(owner, prefixes=()), USER) == f":{USER}"


def test_a_lookup_to_one_object_is_the_key_alone() -> None:
    """As ever, so that nothing changes for anybody."""
    event = schema_of_describe(describe("Event"))
    assert Identity({"Event": event}).reference_key(event.by_name["CreatedById"], USER) == USER


def test_a_record_that_is_referred_to_by_its_id_is_known_as_such() -> None:
    """After a hole its key may be another, so the event waits until that is known."""
    schemas = OF_EVENT
    identity = Identity(schemas)
    assert identity.told_by_id(WHO, "Contact:003000000000007AAA") == ("Contact", "003000000000007AAA")
    assert identity.told_by_id(WHO, "Contact:$int:7") is None
