"""An object of the org, from its describe: fields by name, which are required, which are unique or external ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from salmon.simulator.org.ids import id18
from salmon.simulator.org.objects.describes import Describe
from salmon.simulator.org.transaction import Stored

# Types whose value is made of other fields; the row stores the parts only.
COMPOUND_TYPES = frozenset({"address", "location"})
# Long text cannot be filtered or sorted (SOQL Reference, "SOQL Limits").
TEXT_TYPES = frozenset(
    {
        "string",
        "textarea",
        "picklist",
        "multipicklist",
        "combobox",
        "phone",
        "url",
        "email",
        "encryptedstring",
    }
)


@dataclass(frozen=True, slots=True)
class Field:
    """What the box needs to know of one field. The names are those of the describe, in our spelling."""

    name: str
    label: str
    type: str
    length: int
    precision: int
    scale: int
    digits: int
    createable: bool
    updateable: bool
    nillable: bool
    defaulted_on_create: bool
    default: Stored
    restricted: bool
    picklist_values: tuple[str, ...]  # the active ones, in their order
    unique: bool
    case_sensitive: bool
    external_id: bool
    id_lookup: bool
    auto_number: bool
    filterable: bool
    groupable: bool
    sortable: bool
    reference_to: tuple[str, ...]
    relationship: str | None
    compound: str | None

    @property
    def indexed(self) -> bool:
        """Whether records are found by its value without a scan."""
        return self.unique or self.external_id or self.id_lookup or self.type == "reference"

    def index_key(self, value: Stored) -> Stored:
        """The value as it is compared for uniqueness and lookup: text without case, unless case counts."""
        if isinstance(value, str) and not self.case_sensitive and self.type != "reference":
            return value.lower()
        return value


class ObjectType:
    """One object. Field names are matched without case, as the API does."""

    def __init__(self, describe: Describe, key_prefix: str) -> None:
        self.name: str = describe["name"]
        self.label: str = describe.get("label") or self.name
        self.key_prefix = key_prefix
        self.describe = describe
        self.fields: tuple[Field, ...] = tuple(_field(entry) for entry in describe["fields"])
        self._by_name = {field.name.lower(): field for field in self.fields}
        self._by_relationship = {
            field.relationship.lower(): field for field in self.fields if field.relationship
        }

    def field(self, name: str) -> Field | None:
        """The field of this name in any case, or None."""
        return self._by_name.get(name.lower())

    def relationship(self, name: str) -> Field | None:
        """The reference field whose parent goes by this relationship name, or None."""
        return self._by_relationship.get(name.lower())

    def child(self, relationship: str) -> tuple[str, str] | None:
        """The child object of this relationship name and its field that refers to us, or None."""
        found = self._children.get(relationship.lower())
        return None if found is None else found[1:]

    def child_name(self, relationship: str) -> str:
        """The relationship's name as the describe spells it. Raises KeyError if there is none such."""
        return self._children[relationship.lower()][0]

    @cached_property
    def _children(self) -> Mapping[str, tuple[str, str, str]]:
        return {
            child["relationshipName"].lower(): (
                child["relationshipName"],
                child["childSObject"],
                child["field"],
            )
            for child in self.describe.get("childRelationships", ())
            if child.get("relationshipName")
        }

    @cached_property
    def stored_fields(self) -> tuple[Field, ...]:
        """The fields that a row can hold."""
        return tuple(field for field in self.fields if field.type not in COMPOUND_TYPES)

    @cached_property
    def indexed_fields(self) -> tuple[Field, ...]:
        """The fields by which records are found, except Id."""
        return tuple(field for field in self.fields if field.indexed and field.type != "id")

    @cached_property
    def unique_fields(self) -> tuple[Field, ...]:
        """The fields in which no two live records may be equal."""
        return tuple(field for field in self.fields if field.unique)

    @cached_property
    def reference_fields(self) -> tuple[Field, ...]:
        """The lookups."""
        return tuple(field for field in self.fields if field.type == "reference")

    @cached_property
    def required_on_create(self) -> tuple[Field, ...]:
        """The fields without which there is no record."""
        return tuple(
            field
            for field in self.fields
            if field.createable
            and not field.nillable
            and not field.defaulted_on_create
            and field.default is None
            and field.type != "boolean"
        )

    @cached_property
    def defaults(self) -> Mapping[str, Stored]:
        """What a new record holds where nothing was said."""
        return {field.name: field.default for field in self.stored_fields if field.default is not None}

    @cached_property
    def compounds(self) -> Mapping[str, tuple[Field, ...]]:
        """For each address or location field, the fields that it is made of."""
        return {
            field.name: tuple(part for part in self.fields if part.compound == field.name)
            for field in self.fields
            if field.type in COMPOUND_TYPES
        }

    @cached_property
    def base64_fields(self) -> frozenset[str]:
        """The names of the fields that hold files."""
        return frozenset(field.name for field in self.fields if field.type == "base64")

    @cached_property
    def record_types(self) -> Mapping[str, bool]:
        """The ids of the record types, and whether the user may choose them; the master is none of them."""
        infos = self.describe.get("recordTypeInfos") or ()
        return {
            str(id18(info.get("recordTypeId"))): bool(
                info.get("available", True) and info.get("active", True)
            )
            for info in infos
            if not info.get("master")
        }

    @cached_property
    def has_person_name(self) -> bool:
        """Whether Name is made of FirstName and LastName (Contact, Lead)."""
        name = self.field("Name")
        parts = self.field("LastName")
        return name is not None and parts is not None and parts.compound == "Name" and not name.createable

    @cached_property
    def has_person_accounts(self) -> bool:
        """Whether records may be persons, with a name of parts (Account, in an org that has enabled it)."""
        return self.field("IsPersonAccount") is not None and self.field("PersonContactId") is not None

    @cached_property
    def cascades(self) -> frozenset[tuple[str, str]]:
        """(child object, its reference field) where deleting a record deletes the children too."""
        return self._children_that("cascadeDelete")

    @cached_property
    def restricts(self) -> frozenset[tuple[str, str]]:
        """(child object, its reference field) where children forbid to delete the record."""
        return self._children_that("restrictedDelete")

    @cached_property
    def name_field(self) -> Field | None:
        """The field that records are called by."""
        entries = self.describe["fields"]
        return next((self.field(entry["name"]) for entry in entries if entry.get("nameField")), None)

    def _children_that(self, flag: str) -> frozenset[tuple[str, str]]:
        return frozenset(
            (child["childSObject"], child["field"])
            for child in self.describe.get("childRelationships", ())
            if child.get(flag)
        )


def object_types(describes: Mapping[str, Describe]) -> dict[str, ObjectType]:
    """All objects of an org, by name; one without a key prefix (there are such) gets one of its own."""
    taken = {describe.get("keyPrefix") for describe in describes.values()}
    spare = (f"a{a}{b}" for a in "zyxwv" for b in "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    free = (prefix for prefix in spare if prefix not in taken)
    return {
        name: ObjectType(describe, describe.get("keyPrefix") or next(free))
        for name, describe in describes.items()
    }


def _field(entry: Mapping[str, Any]) -> Field:
    active = [value for value in entry.get("picklistValues") or () if value.get("active", True)]
    return Field(
        name=entry["name"],
        label=entry.get("label") or entry["name"],
        type=entry["type"],
        length=entry.get("length") or 0,
        precision=entry.get("precision") or 0,
        scale=entry.get("scale") or 0,
        digits=entry.get("digits") or 0,
        createable=bool(entry.get("createable")),
        updateable=bool(entry.get("updateable")),
        nillable=bool(entry.get("nillable", True)),
        defaulted_on_create=bool(entry.get("defaultedOnCreate")),
        default=_default(entry, active),
        # Codes of states and countries are refused in words of their own (places.py).
        restricted=bool(entry.get("restrictedPicklist"))
        and not (entry.get("compoundFieldName") and entry["name"].endswith(("StateCode", "CountryCode"))),
        picklist_values=tuple(value["value"] for value in active),
        unique=bool(entry.get("unique")),
        case_sensitive=bool(entry.get("caseSensitive")),
        external_id=bool(entry.get("externalId")),
        id_lookup=bool(entry.get("idLookup")),
        auto_number=bool(entry.get("autoNumber")),
        filterable=bool(entry.get("filterable", True)),
        groupable=bool(entry.get("groupable", True)),
        sortable=bool(entry.get("sortable", True)),
        reference_to=tuple(entry.get("referenceTo") or ()),
        relationship=entry.get("relationshipName"),
        compound=entry.get("compoundFieldName") if entry.get("compoundFieldName") != entry["name"] else None,
    )


def _default(entry: Mapping[str, Any], active: list[Any]) -> Stored:
    given = entry.get("defaultValue")
    if entry["type"] == "boolean":
        return given is True
    if isinstance(given, str | int | float):
        return float(given) if entry["type"] in {"double", "currency", "percent"} else given
    chosen = [value["value"] for value in active if value.get("defaultValue")]
    return ";".join(chosen) or None
