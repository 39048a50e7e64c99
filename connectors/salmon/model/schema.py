"""
A Salesforce describe -> our schema of the object -> its flat Avro record, and back.

Each field's `salmon` property in the Avro record contains what the other processes need to know about the field in
Salesforce. So all processes get an object's schema from the schema registry alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, Final

from salmon.errors import ConfigError
from salmon.model.markers import USUAL, Markers, never_synced
from salmon.model.people import LAST_NAME, PERSON, fields_of_one_kind

NAMESPACE: Final = "salmon.records"

# The marker fields in the org, by their usual names; never synced as fields. SEQ: number(18,0), set by each of Salmon's writes.
# ID: text(255), unique, case-sensitive external id: the key of a record that was not created in Salesforce.
MARKER_SEQ: Final = USUAL.seq
MARKER_ID: Final = USUAL.key

# Audit stamps change with every write, including ours. They are written together with other fields, and cause no write.
STAMPS: Final = frozenset(
    {"CreatedDate", "CreatedById", "LastModifiedDate", "LastModifiedById", "SystemModstamp"}
)
# When a user last looked at a record is not a property of the record, and differs for each user who reads it.
_PER_USER: Final = frozenset({"LastViewedDate", "LastReferencedDate"})
_NOT_FIELDS: Final = frozenset({"Id", "IsDeleted", *never_synced()})
# Compounds are stored as their components; the others have no Avro type (Object Reference, Field Types).
_COMPOUND_TYPES: Final = frozenset({"address", "location"})
_UNSYNCABLE_TYPES: Final = frozenset(
    {"base64", "anyType", "complexvalue", "json", "datacategorygroupreference"}
)
# Never in change events (Change Data Capture Developer Guide, Change Event Body Fields).
_REFRESHED_NAMES: Final = frozenset(
    {
        "SystemModstamp",
        "LastActivityDate",
        "PhotoUrl",
        "MasterRecordId",
        "Fiscal",
        "FiscalQuarter",
        "FiscalYear",
    }
)


class Kind(StrEnum):
    """A field's type in Avro and in Salmon; salmon.model.convert describes the values."""

    STRING = "string"
    BOOLEAN = "boolean"
    INT = "int"
    LONG = "long"
    DOUBLE = "double"
    DECIMAL = "decimal"
    DATE = "date"
    DATETIME = "datetime"
    TIME = "time"
    STRINGS = "strings"  # a multi-select picklist


_KINDS: Final[Mapping[str, Kind]] = {
    **dict.fromkeys(
        (
            "id",
            "reference",
            "string",
            "textarea",
            "phone",
            "url",
            "email",
            "picklist",
            "combobox",
            "encryptedstring",
        ),
        Kind.STRING,
    ),
    "multipicklist": Kind.STRINGS,
    "boolean": Kind.BOOLEAN,
    "int": Kind.INT,
    "long": Kind.LONG,
    "double": Kind.DOUBLE,
    "percent": Kind.DOUBLE,
    "currency": Kind.DOUBLE,
    "date": Kind.DATE,
    "datetime": Kind.DATETIME,
    "time": Kind.TIME,
}
_INT_DIGITS_MAX: Final = 9  # 10 digits no longer fit Avro's 32-bit int


@dataclass(frozen=True, slots=True)
class FieldSchema:
    """One synced field, as Salesforce describes it."""

    name: str
    type: str  # Salesforce's type, e.g. "picklist"
    kind: Kind
    label: str = ""
    create: bool = True  # settable by an insert
    update: bool = True  # settable by an update
    required: bool = False  # Salesforce refuses an insert without it
    nillable: bool = True  # may be empty; False for a checkbox, and for a field that every record must have
    live: bool = True  # whether its changes come as change events; otherwise it is refreshed by reading
    reference_to: tuple[str, ...] = ()
    # Of a lookup to several objects: how the Ids of each begin, as far as the org shows it: (object, key prefix).
    prefixes: tuple[tuple[str, str], ...] = ()
    relationship: str | None = None
    length: int = 0  # characters; 0 for none
    precision: int = 0  # decimal digits
    scale: int = 0
    compound: str | None = None  # the compound field it is a component of
    only: str = (
        ""  # the kind of records that can be given it, "person" or "business"; "": all (salmon.model.people)
    )
    computed: bool = False  # Salmon makes its values from other fields; Salesforce has no such field
    # The generation of the object's schema that added it, or added it again; 0: it was there from the beginning.
    since: int = field(default=0, compare=False)

    @property
    def is_stamp(self) -> bool:
        return self.name in STAMPS

    @property
    def is_polymorphic(self) -> bool:
        """Whether it is a lookup that can point to records of several objects (salmon.model.references)."""
        return len(self.reference_to) > 1

    @property
    def settable(self) -> bool:
        """Whether it can be set in Salesforce at all."""
        return self.create or self.update


@dataclass(frozen=True)
class ObjectSchema:
    """The synced fields of one sObject, in Salesforce's order."""

    name: str
    fields: tuple[FieldSchema, ...]
    key_prefix: str | None = None  # the first three characters of the object's Ids
    markers: Markers = USUAL
    # Rises with each changed schema of the object that is registered (salmon.runtime.schemas); 0: it was never registered.
    generation: int = field(default=0, compare=False)

    @cached_property
    def by_name(self) -> Mapping[str, FieldSchema]:
        return {field.name: field for field in self.fields}

    @cached_property
    def computed(self) -> frozenset[str]:
        """The fields that Salesforce does not have: Salmon makes their values from others."""
        return frozenset(field.name for field in self.fields if field.computed)

    @cached_property
    def of_org(self) -> ObjectSchema:
        """The schema without them: what Salesforce has."""
        return (
            replace(self, fields=tuple(f for f in self.fields if not f.computed)) if self.computed else self
        )

    def with_computed(self, fields: Iterable[FieldSchema]) -> ObjectSchema:
        """The schema with these fields that Salesforce does not have, and no others."""
        return replace(self, fields=(*self.of_org.fields, *fields))

    @cached_property
    def references(self) -> tuple[FieldSchema, ...]:
        return tuple(field for field in self.fields if field.reference_to)

    @cached_property
    def unreported(self) -> frozenset[str]:
        """The fields that no event reports. Stamps are none: they come with the next event."""
        return frozenset(field.name for field in self.fields if not (field.live or field.is_stamp))

    @cached_property
    def told(self) -> frozenset[str]:
        """
        What is reported of each record: its fields; the objects that lookups point to; its kind; and what unusual markers say.
        Records of which not as much was reported are read again, as for a new field.
        """
        several = {f"{field.name}:type" for field in self.references if field.is_polymorphic}
        kinds = {":kind"} if self.has_kinds else set[str]()
        others = {":markers:" + ",".join(self.markers.names)} if self.markers != USUAL else set[str]()
        return frozenset(self.by_name) | several | kinds | others

    @cached_property
    def has_kinds(self) -> bool:
        """Whether some records are persons and others businesses."""
        return any(field.only for field in self.fields)

    def of_kind(self, kind: str) -> ObjectSchema:
        """The schema as it is for the records of one kind, which cannot be given the fields of the other."""
        return replace(self, fields=tuple(_for_kind(field, kind) for field in self.fields))

    def to_avro(self) -> dict[str, Any]:
        """Return the flat record of `records`. Every field is nullable with default null, so that fields can come and go."""
        return {
            "type": "record",
            "name": self.name,
            "namespace": NAMESPACE,
            "doc": f"The agreed {self.name}, one field for each synced field. The Kafka record's key is the record key.",
            "salmon": {"keyPrefix": self.key_prefix}
            | ({"generation": self.generation} if self.generation else {})
            | self.markers.to_avro(),
            "fields": [_avro_field(field) for field in self.fields],
        }

    @classmethod
    def from_avro(cls, schema: Mapping[str, Any]) -> ObjectSchema:
        """The inverse of to_avro. Raises ConfigError if the schema was not generated by Salmon."""
        try:
            return cls(
                name=schema["name"],
                fields=tuple(_field_of_avro(field) for field in schema["fields"]),
                key_prefix=schema["salmon"]["keyPrefix"],
                generation=schema["salmon"].get("generation", 0),
                markers=Markers.from_avro(schema["salmon"]),
            )
        except KeyError as missing:
            raise ConfigError(
                f"the Avro schema {schema.get('name')!r} lacks {missing}: it was not generated by Salmon. "
                f"Register the generated one, or choose another sync name."
            ) from missing


def schema_of_describe(
    describe: Mapping[str, Any],
    *,
    include: Collection[str] | None = None,
    exclude: Collection[str] = (),
    live: Collection[str] | None = None,
    decimals: bool = False,
    prefixes: Mapping[str, str] | None = None,
    markers: Markers = USUAL,
    apart: Collection[str] = (),
) -> ObjectSchema:
    """
    Choose the fields that are synced, and describe each.

    Args:
        describe: The answer of GET /sobjects/X/describe.
        include: Only these fields; None for all that can be synced.
        exclude: Without these fields.
        live: The fields that the object's change events contain, if that is known; None: work it out from the describe.
        decimals: Whether numbers (double, currency, percent) are decimals, with all their digits, instead of doubles.
        prefixes: Object -> how its Ids begin, for lookups to several objects.
        markers: The names of the object's marker fields.
        apart: Fields that are no data: see never_synced.

    Raises:
        ConfigError: a name in *include* or *exclude* does not exist in the object, or cannot be synced.
    """
    name = describe["name"]
    names = {field["name"] for field in describe["fields"]}
    for option, chosen in (("include", include or ()), ("exclude", exclude)):
        if unknown := sorted(set(chosen) - names):
            raise ConfigError(f"objects.{name}.fields.{option}: {name} has no field {', '.join(unknown)}.")
    kinds = fields_of_one_kind(describe["fields"])
    fields = tuple(
        _field_of_describe(
            field, live=live, decimals=decimals, only=kinds.get(field["name"], ""), prefixes=prefixes or {}
        )
        for field in describe["fields"]
        if why_not_synced(field, apart) is None
        and (include is None or field["name"] in include)
        and field["name"] not in exclude
    )
    if include and (lost := sorted(set(include) - {field.name for field in fields} - set(exclude))):
        raise ConfigError(
            f"objects.{name}.fields.include: {', '.join(lost)} of {name} cannot be synced (see section Types)."
        )
    return ObjectSchema(name=name, fields=fields, key_prefix=describe.get("keyPrefix"), markers=markers)


def why_not_synced(field: Mapping[str, Any], apart: Collection[str] = ()) -> str | None:
    """Return in a few words why a described field cannot be synced; None if it can."""
    if field["name"] in _PER_USER:
        return "differs for each user who reads it"
    if field["name"] in _NOT_FIELDS or field["name"] in apart:
        return "part of the record itself, not synced as a field"
    if field["type"] in _COMPOUND_TYPES or _is_person_name(field):
        return "a compound field: its components are synced instead"
    if field["type"] in _UNSYNCABLE_TYPES or field["type"] not in _KINDS:
        return f"type {field['type']} has no counterpart"
    return None


def _is_person_name(field: Mapping[str, Any]) -> bool:
    """Whether it is the Name of a Contact or Lead, which is put together from components. Account.Name is an ordinary field."""
    return field.get("extraTypeInfo") == "personname" and field["name"] == "Name" and not field["createable"]


def _field_of_describe(
    field: Mapping[str, Any],
    *,
    live: Collection[str] | None,
    decimals: bool,
    only: str,
    prefixes: Mapping[str, str],
) -> FieldSchema:
    kind = _KINDS[field["type"]]
    if kind is Kind.INT and field.get("digits", 0) > _INT_DIGITS_MAX:
        kind = Kind.LONG
    if kind is Kind.DOUBLE and decimals and field.get("precision", 0) > 0:
        kind = Kind.DECIMAL
    # An event may show a formula, but another record's edit changes its value without an event of this one.
    is_formula = field["calculated"] and field.get("calculatedFormula") is not None
    is_live = not is_formula and (field["name"] in live if live is not None else _comes_by_event(field))
    targets = tuple(field.get("referenceTo") or ())
    return FieldSchema(
        name=field["name"],
        type=field["type"],
        kind=kind,
        label=field.get("label", ""),
        create=field["createable"],
        update=field["updateable"],
        required=field["createable"] and not field["nillable"] and not field.get("defaultedOnCreate", False),
        nillable=field.get("nillable", True),
        live=is_live,
        reference_to=targets,
        prefixes=tuple((name, prefixes[name]) for name in targets if len(targets) > 1 and name in prefixes),
        relationship=field.get("relationshipName"),
        length=field.get("length", 0),
        precision=field.get("precision", 0),
        scale=field.get("scale", 0),
        compound=field.get("compoundFieldName"),
        only=only,
    )


def _for_kind(field: FieldSchema, kind: str) -> FieldSchema:
    if field.only and field.only != kind:
        return replace(field, create=False, update=False, required=False)
    if kind == PERSON and field.only and field.name == LAST_NAME:
        return replace(field, required=field.create, nillable=False)  # a person without it is refused
    return field


def _comes_by_event(field: Mapping[str, Any]) -> bool:
    return not field["calculated"] and field["name"] not in _REFRESHED_NAMES


def _avro_field(field: FieldSchema) -> dict[str, Any]:
    return {
        "name": field.name,
        "type": ["null", _avro_type(field)],
        "default": None,
        "doc": f"{field.label or field.name} ({_described_type(field)} {'made by Salmon' if field.computed else 'in Salesforce'})."
        + (" The value is TYPE:KEY." if field.is_polymorphic else ""),
        "salmon": {
            "type": field.type,
            "label": field.label,
            "create": field.create,
            "update": field.update,
            "required": field.required,
            "live": field.live,
            "referenceTo": list(field.reference_to),
            "relationship": field.relationship,
            "length": field.length,
            "precision": field.precision,
            "scale": field.scale,
            "compound": field.compound,
        }
        | ({} if field.nillable else {"nillable": False})
        | ({"prefixes": dict(field.prefixes)} if field.prefixes else {})
        | ({"only": field.only} if field.only else {})
        | ({"computed": True} if field.computed else {})
        | ({"since": field.since} if field.since else {}),
    }


def _described_type(field: FieldSchema) -> str:
    if field.reference_to:
        return f"reference to {' or '.join(field.reference_to)}"
    if field.length:
        return f"{field.type}({field.length})"
    return f"{field.type}({field.precision},{field.scale})" if field.precision else field.type


def _avro_type(field: FieldSchema) -> Any:
    if field.kind is Kind.DECIMAL:
        return {
            "type": "bytes",
            "logicalType": "decimal",
            "precision": max(field.precision, 1),
            "scale": field.scale,
        }
    return _AVRO_TYPES[field.kind]


_AVRO_TYPES: Final[Mapping[Kind, Any]] = {
    Kind.STRING: "string",
    Kind.BOOLEAN: "boolean",
    Kind.INT: "int",
    Kind.LONG: "long",
    Kind.DOUBLE: "double",
    Kind.DATE: {"type": "int", "logicalType": "date"},
    Kind.DATETIME: {"type": "long", "logicalType": "timestamp-millis"},
    Kind.TIME: {"type": "int", "logicalType": "time-millis"},
    Kind.STRINGS: {"type": "array", "items": "string"},
}
_KIND_OF_LOGICAL: Final[Mapping[str, Kind]] = {
    "date": Kind.DATE,
    "timestamp-millis": Kind.DATETIME,
    "time-millis": Kind.TIME,
    "decimal": Kind.DECIMAL,
}


def _field_of_avro(field: Mapping[str, Any]) -> FieldSchema:
    ours = field["salmon"]
    return FieldSchema(
        name=field["name"],
        type=ours["type"],
        kind=_kind_of_avro(field["type"][1]),
        label=ours["label"],
        create=ours["create"],
        update=ours["update"],
        required=ours["required"],
        nillable=ours.get("nillable", True),
        live=ours["live"],
        reference_to=tuple(ours["referenceTo"]),
        prefixes=tuple(ours.get("prefixes", {}).items()),
        relationship=ours["relationship"],
        length=ours["length"],
        precision=ours["precision"],
        scale=ours["scale"],
        compound=ours["compound"],
        only=ours.get("only", ""),
        computed=ours.get("computed", False),
        since=ours.get("since", 0),
    )


def _kind_of_avro(avro: Any) -> Kind:
    if isinstance(avro, str):
        return Kind(avro)
    if avro["type"] == "array":
        return Kind.STRINGS
    return _KIND_OF_LOGICAL[avro["logicalType"]]
