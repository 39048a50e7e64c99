"""
Person accounts: an account that is a person, with a contact of its own behind it.

An org has them if the describe of Account has IsPersonAccount and LastName; `with_person_accounts` makes such a describe of
one that does not. An account that is created with a name part is a person: its Name follows from the parts and cannot be
written, and its contact follows the account in everything. Contact fields are on the account by the prefix Person, custom
ones by the suffix __pc.
Sources: Salesforce Help ("Person Accounts"), Object Reference (Account, "Person Account Fields"); Change Data Capture
Developer Guide ("Person Account Change Events"). That the contact itself cannot be written is documented; the code by which
it is refused is our reading.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from salmon.simulator.org.objects.describes import FIELD_DEFAULTS, Describe
from salmon.simulator.org.objects.object_types import ObjectType
from salmon.simulator.org.refusals import Refusal
from salmon.simulator.org.transaction import Row, Stored

FLAG: Final = "IsPersonAccount"
CONTACT_ID: Final = "PersonContactId"
NAME_PARTS: Final = ("Salutation", "FirstName", "LastName", "MiddleName", "InformalName", "Suffix")
_JOINED: Final = ("FirstName", "MiddleName", "LastName", "Suffix")
_BOTH: Final = ("Phone", "Fax")  # the account's are the contact's
# Standard fields of Contact that Account has, with Person in front.
_PERSON: Final = (
    "MailingStreet", "MailingCity", "MailingState", "MailingPostalCode", "MailingCountry", "MailingStateCode",
    "MailingCountryCode", "MailingLatitude", "MailingLongitude", "MailingGeocodeAccuracy", "MailingAddress", "OtherStreet",
    "OtherCity", "OtherState", "OtherPostalCode", "OtherCountry", "OtherStateCode", "OtherCountryCode", "OtherLatitude",
    "OtherLongitude", "OtherGeocodeAccuracy", "OtherAddress", "MobilePhone", "HomePhone", "OtherPhone", "AssistantPhone",
    "Email", "Title", "Department", "AssistantName", "LeadSource", "Birthdate", "HasOptedOutOfEmail",
    "HasOptedOutOfFax", "DoNotCall", "LastCURequestDate", "LastCUUpdateDate", "EmailBouncedReason", "EmailBouncedDate",
)  # fmt: skip


def with_person_accounts(describes: Mapping[str, Describe]) -> dict[str, Describe]:
    """The describes as an org has them after person accounts were enabled; as they are if Account or Contact is missing."""
    account, contact = describes.get("Account"), describes.get("Contact")
    if account is None or contact is None or any(f["name"] == FLAG for f in account["fields"]):
        return dict(describes)
    of_contact = {f["name"]: f for f in contact["fields"]}
    parts = [
        {**of_contact[name], "nillable": True, "compoundFieldName": "Name"}
        for name in NAME_PARTS
        if name in of_contact
    ]
    standard = [_renamed(of_contact[name], f"Person{name}") for name in _PERSON if name in of_contact]
    custom = [
        _renamed(f, f"{name.removesuffix('__c')}__pc")
        for name, f in of_contact.items()
        if name.endswith("__c") and not f.get("calculated")
    ]
    key = {
        **FIELD_DEFAULTS, "name": CONTACT_ID, "label": "Contact ID", "type": "reference", "referenceTo": ["Contact"],
        "relationshipName": "PersonContact", "custom": False, "createable": False, "updateable": False,
        "length": 18, "byteLength": 18, "soapType": "tns:ID",
    }  # fmt: skip
    fields = [*account["fields"], *parts, key, *standard, _flag(), *custom]
    return {
        **describes,
        "Account": {**account, "fields": fields},
        "Contact": {**contact, "fields": [*contact["fields"], _flag()]},
    }


def has_person_accounts(object_type: ObjectType) -> bool:
    """Whether this is Account, in an org that has them."""
    return object_type.name == "Account" and object_type.has_person_accounts


def is_person(row: Row) -> bool:
    """Whether an account is a person, or a contact the one behind it."""
    return row.get(FLAG) is True


def is_of_persons(name: str) -> bool:
    """Whether businesses leave this field of Account empty."""
    return name in {*NAME_PARTS, FLAG, CONTACT_ID} or _contact_name(name) is not None


def settle(object_type: ObjectType, row: dict[str, Stored], said: Collection[str], *, creating: bool) -> None:
    """
    Let the name of an account that is about to be saved follow from its parts, if it is a person.

    Raises:
        Refusal: Name of a person was said, or the parts of a business's; or LastName is missing.
    """
    if not has_person_accounts(object_type):
        return
    if creating:
        row[FLAG] = any(name in said and row.get(name) is not None for name in NAME_PARTS)
    person = is_person(row)
    wrong = [name for name in said if (name == "Name" if person else is_of_persons(name))]
    if wrong and not person:
        wrong = [name for name in wrong if row.get(name) is not None]
    if wrong:
        message = f"Account: bad field names on insert/update call: {', '.join(wrong)}"
        raise Refusal("INVALID_FIELD_FOR_INSERT_UPDATE", message, *wrong)
    if person:
        if row.get("LastName") is None:
            raise Refusal("REQUIRED_FIELD_MISSING", "Required fields are missing: [LastName]", "LastName")
        row["Name"] = name_of(row)


def name_of(row: Row) -> str:
    """The name that is put together from its parts (Object Reference, Contact, Name)."""
    return " ".join(str(row[part]) for part in _JOINED if row.get(part))


def contact_of(account: ObjectType, contact: ObjectType, row: Row) -> dict[str, Stored]:
    """What the contact behind a person account holds that comes from the account; None for what is empty."""
    found: dict[str, Stored] = {FLAG: True, "AccountId": row["Id"], "Name": row.get("Name")}
    names: dict[str, str] = {name: name for name in (*NAME_PARTS, *_BOTH, "OwnerId")}
    for field in account.stored_fields:
        if (other := _contact_name(field.name)) is not None:
            names[field.name] = other
    for name, other in names.items():
        if contact.field(other) is not None:
            found[other] = row.get(name)
    return found


def refuse_contact(row: Row | None) -> None:
    """Raises Refusal for a contact that is a person account's: the account is what is written."""
    if row is not None and is_person(row):
        message = "this contact belongs to a person account; change or delete the account"
        raise Refusal("INSUFFICIENT_ACCESS_OR_READONLY", message)


def _contact_name(name: str) -> str | None:
    """The contact's name of a field of an account; None for one that is the account's own."""
    if name.endswith("__pc"):
        return f"{name.removesuffix('__pc')}__c"
    bare = name.removeprefix("Person")
    return bare if bare != name and bare in _PERSON else None


def _renamed(f: Mapping[str, Any], name: str) -> dict[str, Any]:
    compound = f.get("compoundFieldName")
    return {
        **f,
        "name": name,
        "label": f.get("label") or name,
        "compoundFieldName": None if compound is None else f"Person{compound}",
        "nillable": f["type"] != "boolean",
        "unique": False,
        "externalId": False,
        "idLookup": False,
    }


def _flag() -> dict[str, Any]:
    return {
        **FIELD_DEFAULTS, "name": FLAG, "label": "Is Person Account", "type": "boolean", "custom": False, "createable": False,
        "updateable": False, "nillable": False, "defaultValue": False, "soapType": "xsd:boolean",
        "defaultedOnCreate": True,
    }  # fmt: skip
