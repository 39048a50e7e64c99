"""
Who edits which field, and with what values; and how either side writes a value down.

So that an exact verdict is possible, each field has one role for the whole run:
- of a person: edited in Salesforce alone; the last acknowledged value must stand in the end, on both sides;
- of an application: the same, in MongoDB;
- by turns: edited on both sides, each time after the other side's value was seen, so that the last one must stand;
- raced: edited on both sides at once, so that one of the two must stand, and a conflict is a true one.

A value in plain form is what a reader of either side makes of it: text, number, bool, a list, dates and times as text.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from bson import ObjectId

from salmon.simulator.org.objects.describes import PACKAGED

SALESFORCE: Final = "salesforce"
MONGODB: Final = "mongodb"

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
# In the order of the alphabet: Salesforce stores several choices in the order of its list, and we compare them sorted.
_CHOICES: Final = ("East", "North", "South", "West")


@dataclass(frozen=True, slots=True)
class Role:
    """Fields of one object, by who edits them."""

    person: tuple[str, ...]
    application: tuple[str, ...]
    turns: tuple[str, ...]
    raced: tuple[str, ...]

    def of(self, side: str) -> tuple[str, ...]:
        """What is edited on *side* alone."""
        return self.person if side == SALESFORCE else self.application


ROLES: Final[Mapping[str, Role]] = {
    "Account": Role(
        person=(
            "Phone",
            "Website",
            "Rating",
            "AnnualRevenue",
            "BillingLatitude",
            "Regions__c",
            "Opens_At__c",
        ),
        application=("Fax", "NumberOfEmployees", "BillingCity", "Description", "Is_Partner__c", "Seen_At__c"),
        turns=("Site", "TickerSymbol", "ShippingCity"),
        raced=("BillingState", "AccountNumber"),
    ),
    "Contact": Role(
        person=(
            "Title",
            "MobilePhone",
            "Email",
            "MailingLatitude",
            "LeadSource",
            "ReportsToId",
            "EmailBouncedDate",
        ),
        application=(
            "AccountId",
            "Department",
            "HomePhone",
            "Birthdate",
            "OtherStreet",
            "Regions__c",
            "Opens_At__c",
        ),
        turns=("AssistantName", "MailingCity"),
        raced=("OtherCity", "MailingState"),
    ),
    "Opportunity": Role(
        person=("AccountId", "Amount", "CloseDate", "Type", "Is_Partner__c", "Seen_At__c"),
        application=("TotalOpportunityQuantity", "IsPrivate", "Share__c", "Floor__c"),
        turns=("Description",),
        raced=("NextStep",),
    ),
}
# Never a field that Salesforce computes from another one, such as Probability: there the org itself is an editor.
# Fields that tell a canary which way an edit went; nobody else edits them.
CANARY: Final[Mapping[str, str]] = {SALESFORCE: "Tradestyle", MONGODB: "NaicsDesc"}

# What the packaged describes lack, made after one of their fields: name, which one, what differs.
_ADDED: Final[tuple[tuple[str, Mapping[str, Any]], ...]] = (
    ("Regions__c", {"type": "multipicklist", "length": 255}),
    ("Opens_At__c", {"type": "time", "soapType": "xsd:time", "length": 0}),
    ("Seen_At__c", {"type": "datetime", "soapType": "xsd:dateTime", "length": 0}),
    (
        "Is_Partner__c",
        {"type": "boolean", "soapType": "xsd:boolean", "length": 0, "nillable": False, "defaultValue": False},
    ),
    ("Share__c", {"type": "percent", "soapType": "xsd:double", "length": 0, "precision": 5, "scale": 0}),
    ("Floor__c", {"type": "combobox", "length": 40}),
)


def write_describes(folder: Path) -> None:
    """The packaged describes, with fields of the types that they lack."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ROLES:
        described = json.loads((PACKAGED / f"{name}.json").read_text(encoding="utf-8"))
        like = next(each for each in described["fields"] if each["type"] == "picklist" and each["nillable"])
        for added, differs in _ADDED:
            choices = [{**like["picklistValues"][0], "label": text, "value": text} for text in _CHOICES]
            kept = choices if differs["type"] in {"multipicklist", "combobox"} else []
            described["fields"].append(
                {**like, "name": added, "label": added, "custom": True, "picklistValues": kept, **differs}
            )
        (folder / f"{name}.json").write_text(json.dumps(described), encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Type:
    """What describe says of a field, as far as a value depends on it."""

    name: str
    kind: str
    length: int
    scale: int
    choices: tuple[str, ...]
    target: str | None  # of a reference to an object that is synced, too
    default: Any = None  # in plain form: what the org fills in where a creation leaves the field out


def types_of(described: Mapping[str, Any]) -> dict[str, Type]:
    """The fields of one object that somebody may set, but for Salmon's own."""
    types: dict[str, Type] = {}
    for each in described["fields"]:
        if not (each["createable"] or each["updateable"]) or each["name"].startswith("Salmon_"):
            continue
        target = next((name for name in each["referenceTo"] if name in ROLES), None)
        choices = tuple(choice["value"] for choice in each["picklistValues"])
        types[each["name"]] = Type(
            each["name"], each["type"], each["length"], each["scale"], choices, target, _default(each)
        )
    return types


def _default(described: Mapping[str, Any]) -> Any:
    """A checkbox is never empty, and a list of choices may have some that are chosen at first."""
    if described["type"] == "boolean":
        return bool(described.get("defaultValue"))
    if described.get("defaultValue") is not None:
        return described["defaultValue"]
    chosen = sorted(each["value"] for each in described["picklistValues"] if each.get("defaultValue"))
    if described["type"] == "multipicklist":
        return chosen or None
    return next(iter(chosen), None)


def defaults_of(types: Mapping[str, Mapping[str, Type]]) -> dict[str, dict[str, Any]]:
    """Object -> field -> what the org fills in."""
    return {
        object_name: {name: kind.default for name, kind in kinds.items() if kind.default is not None}
        for object_name, kinds in types.items()
    }


def drawn(kind: Type, number: int, rng: random.Random) -> Any:
    """A value in plain form that fits; text carries *number*, so that no two edits write the same."""
    match kind.kind:
        case "picklist" | "combobox":
            return rng.choice(kind.choices)
        case "multipicklist":
            return sorted(rng.sample(kind.choices, rng.randint(1, len(kind.choices))))
        case "boolean":
            return rng.random() < 0.5
        case "int":
            return number
        case "percent":
            return float(number % 100)
        case "currency" | "double":
            # Small enough for latitudes, too, and within the digits that every such field keeps.
            return float(number % 80) + (0.25 * rng.randrange(4) if kind.scale >= 2 else 0.0)
        case "date":
            return (_EPOCH.date() + timedelta(days=number % 9000)).isoformat()
        case "datetime":
            return _text_of(_EPOCH + timedelta(seconds=number))
        case "time":
            return f"{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}.000"
        case "email":
            return f"chaos{number}@example.org"
        case "url":
            return f"https://example.org/{number}"
        case "phone":
            return f"+1 555 {number:07}"
        case _:
            text = f"{rng.choice(_CHOICES)} {number}"
            return text[-kind.length :].strip() if kind.length else text


def for_org(kind: Type, plain: Any) -> Any:
    """As the REST API takes it."""
    if plain is None:
        return None
    if kind.kind == "multipicklist":
        return ";".join(plain)
    return f"{plain}Z" if kind.kind == "time" else plain


def from_org(kind: Type, said: Any) -> Any:
    """What the REST API answered, in plain form. References are Ids."""
    if said is None:
        return False if kind.kind == "boolean" else None
    match kind.kind:
        case "multipicklist":
            return sorted(str(said).split(";"))
        case "time":
            return str(said).removesuffix("Z")
        case "datetime":
            return _text_of(datetime.fromisoformat(said))
        case "int":
            return int(said)
        case "double" | "currency" | "percent":
            return float(said)
        case _:
            return said


def for_document(kind: Type, plain: Any) -> Any:
    """As an application stores it."""
    if plain is None:
        return None
    match kind.kind:
        case "date":
            day = date.fromisoformat(plain)
            return datetime(day.year, day.month, day.day, tzinfo=UTC)
        case "datetime":
            return datetime.fromisoformat(plain)
        case _:
            return plain


def from_document(kind: Type, stored: Any) -> Any:
    """What a document holds, in plain form. References are record keys."""
    if stored is None:
        return False if kind.kind == "boolean" else None
    match kind.kind:
        case "date":
            return stored.date().isoformat()
        case "datetime":
            return _text_of(stored)
        case "multipicklist":
            return sorted(stored)
        case "double" | "currency" | "percent":
            return float(stored)
        case _:
            return key_of(stored) if kind.target else stored


def key_of(document_id: Any) -> str:
    """The record key of a document's `_id`, as the project's blueprint writes it down."""
    return f"$oid:{document_id}" if isinstance(document_id, ObjectId) else str(document_id)


def _text_of(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
