"""
A custom field as the Tooling and Metadata APIs name it, and the same field as the describe shows it.

Source: Metadata API Developer Guide, "CustomField"; the refusals are in the words that deployments get.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from salmon.simulator.org.objects.describes import FIELD_DEFAULTS
from salmon.simulator.org.refusals import Refusal

Json = dict[str, Any]

_NAME: Final = re.compile(r"[A-Za-z](?:_?[A-Za-z0-9])*__c")
# Metadata type -> type of the describe, and what has to be said of such a field.
_TYPES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "Text": ("string", ("length",)), "TextArea": ("textarea", ()),
    "LongTextArea": ("textarea", ("length", "visibleLines")), "Html": ("textarea", ("length", "visibleLines")),
    "Number": ("double", ("precision", "scale")), "Currency": ("currency", ("precision", "scale")),
    "Percent": ("percent", ("precision", "scale")), "Checkbox": ("boolean", ("defaultValue",)), "Date": ("date", ()),
    "DateTime": ("datetime", ()), "Time": ("time", ()), "Email": ("email", ()), "Phone": ("phone", ()),
    "Url": ("url", ()), "Picklist": ("picklist", ("valueSet",)),
    "MultiselectPicklist": ("multipicklist", ("valueSet", "visibleLines")),
    "Lookup": ("reference", ("referenceTo", "relationshipName")),
}  # fmt: skip
_LENGTHS: Final = {
    "TextArea": 255,
    "Email": 80,
    "Phone": 40,
    "Url": 255,
    "Picklist": 255,
    "MultiselectPicklist": 4099,
}
_SOAP_TYPES: Final = {
    "boolean": "xsd:boolean", "date": "xsd:date", "datetime": "xsd:dateTime", "time": "xsd:time",
    "double": "xsd:double", "currency": "xsd:double", "percent": "xsd:double", "reference": "tns:ID",
}  # fmt: skip
_MAY_BE_EXTERNAL_ID: Final = frozenset({"Text", "Number", "Email"})
_NUMBERS: Final = frozenset({"Number", "Currency", "Percent"})
_LONG: Final = frozenset({"LongTextArea", "Html"})


def name_of(full_name: Any) -> tuple[str, str]:
    """
    Object and field of a full name like Account.My_Field__c.

    Raises:
        Refusal: It is missing, or no name that a custom field can have.
    """
    if not isinstance(full_name, str) or not full_name:
        raise Refusal("REQUIRED_FIELD_MISSING", "Required fields are missing: [FullName]", "FullName")
    object_name, _, field_name = full_name.partition(".")
    if not _NAME.fullmatch(field_name) or len(field_name) > 43:
        message = (
            "The Field Name field can only contain underscores and alphanumeric characters. It must be unique, begin "
            "with a letter, not include spaces, not end with an underscore, and not contain two consecutive underscores."
        )
        raise Refusal("FIELD_INTEGRITY_EXCEPTION", message, "DeveloperName")
    return object_name, field_name


def described(field_name: str, metadata: Mapping[str, Any]) -> Json:
    """
    The field of a describe that *metadata* makes.

    Raises:
        Refusal: Something that the type needs is missing, or something else is said that it cannot have.
    """
    kind = metadata.get("type")
    label = metadata.get("label")
    if not isinstance(kind, str) or not kind:
        raise _wrong("Must specify a non-empty type for the CustomField")
    if not isinstance(label, str) or not label.strip():
        raise _wrong("Must specify a non-empty label for the CustomField")
    if kind not in _TYPES:
        raise _wrong(f"The simulator does not make fields of type {kind}; it makes {', '.join(_TYPES)}")
    type_, needed = _TYPES[kind]
    for name in needed:
        if metadata.get(name) is None:
            raise _wrong(f"Must specify '{name}' for a CustomField of type {kind}")
    for name, allowed in (("externalId", _MAY_BE_EXTERNAL_ID), ("unique", _MAY_BE_EXTERNAL_ID)):
        if metadata.get(name) and kind not in allowed:
            raise _wrong(f"Can not specify '{name}' for a CustomField of type {kind}")
    field: Json = {
        **FIELD_DEFAULTS, "name": field_name, "label": label, "type": type_, "custom": True,
        "soapType": _SOAP_TYPES.get(type_, "xsd:string"), "inlineHelpText": metadata.get("inlineHelpText"),
        "nillable": not metadata.get("required"), "externalId": bool(metadata.get("externalId")),
        "unique": bool(metadata.get("unique")), "caseSensitive": bool(metadata.get("caseSensitive")),
        "idLookup": bool(metadata.get("externalId")), "permissionable": not metadata.get("required"),
    }  # fmt: skip
    if kind in _NUMBERS:
        precision, scale = (_whole(metadata, name, kind) for name in ("precision", "scale"))
        if not 0 < precision <= 18 or not 0 <= scale < 18 or scale > precision:
            raise _wrong(
                f"precision must be from 1 to 18, and scale not above it, for a CustomField of type {kind}"
            )
        field |= {"precision": precision, "scale": scale, "groupable": False}
    elif kind == "Checkbox":
        default = str(metadata["defaultValue"]).lower() == "true"
        field |= {"nillable": False, "defaultedOnCreate": True, "defaultValue": default}
    elif kind == "Lookup":
        field |= {
            "length": 18, "byteLength": 18, "referenceTo": [str(metadata["referenceTo"])],
            "relationshipName": f"{metadata['relationshipName']}__r",
        }  # fmt: skip
    elif kind in {"Picklist", "MultiselectPicklist"}:
        field |= _values(metadata["valueSet"])
    length = _length(kind, metadata)
    if length:
        field |= {"length": length, "byteLength": length if kind == "MultiselectPicklist" else 3 * length}
    if kind in _LONG:
        field |= {"filterable": False, "sortable": False, "groupable": False, "htmlFormatted": kind == "Html"}
        field["extraTypeInfo"] = "richtextarea" if kind == "Html" else "plaintextarea"
    return field


def metadata_of(field: Mapping[str, Any]) -> Json:
    """What the Metadata API would say of a custom field that is in a describe."""
    names = {type_: kind for kind, (type_, _needed) in reversed(list(_TYPES.items()))}
    kind = names.get(field["type"], "Text")
    if field["type"] == "textarea" and (field.get("length") or 0) > 255:
        kind = "Html" if field.get("htmlFormatted") else "LongTextArea"
    metadata: Json = {
        "type": kind, "label": field.get("label"), "inlineHelpText": field.get("inlineHelpText"),
        "required": not field.get("nillable", True) and kind != "Checkbox",
        "externalId": bool(field.get("externalId")), "unique": bool(field.get("unique")),
        "caseSensitive": bool(field.get("caseSensitive")),
    }  # fmt: skip
    if kind in _NUMBERS:
        metadata |= {"precision": field.get("precision"), "scale": field.get("scale")}
    if kind in {"Text", *_LONG}:
        metadata["length"] = field.get("length")
    if kind == "Checkbox":
        metadata["defaultValue"] = str(bool(field.get("defaultValue"))).lower()
    if kind == "Lookup":
        metadata |= {
            "referenceTo": next(iter(field.get("referenceTo") or ()), None),
            "relationshipName": str(field.get("relationshipName") or "").removesuffix("__r"),
        }
    return metadata


def _length(kind: str, metadata: Mapping[str, Any]) -> int:
    if kind in {"Text", *_LONG}:
        length, (least, most) = (
            _whole(metadata, "length", kind),
            (1, 255) if kind == "Text" else (256, 131_072),
        )
        if not least <= length <= most:
            raise _wrong(
                f"Value too small or too large for a CustomField of type {kind}: length must be {least} to {most}"
            )
        return length
    return _LENGTHS.get(kind, 0)


def _whole(metadata: Mapping[str, Any], name: str, kind: str) -> int:
    value = metadata[name]
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(f"'{name}' must be a whole number for a CustomField of type {kind}")
    return value


def _values(value_set: Any) -> Json:
    definition = value_set.get("valueSetDefinition") if isinstance(value_set, dict) else None
    values = definition.get("value") if isinstance(definition, dict) else None
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise _wrong("The simulator makes picklists of a valueSetDefinition with its values only")
    names = [value.get("fullName") or value.get("valueName") for value in values]
    shown = [
        {
            "active": value.get("isActive") is not False, "defaultValue": bool(value.get("default")),
            "label": value.get("label") or name, "validFor": None, "value": name,
        }
        for name, value in zip(names, values, strict=True)
    ]  # fmt: skip
    return {"picklistValues": shown, "restrictedPicklist": bool(value_set.get("restricted"))}


def _wrong(message: str) -> Refusal:
    return Refusal("FIELD_INTEGRITY_EXCEPTION", message, "Metadata")
