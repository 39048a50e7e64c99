"""
What a describe says of an object for those who fill it in: labels, help, the values of picklists, and what its children are called.

The sync itself needs none of it, so it is not a part of the object's schema: it is registered beside it, under a subject of its own, and a
new picklist value makes nothing be read again. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

_BASE64: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_BITS: Final = 6


@dataclass(frozen=True, slots=True)
class Choice:
    """An active value of a picklist. *only_with*: the values of the controlling field that it may stand with; None: it has none."""

    value: str
    label: str = ""
    default: bool = False
    only_with: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class DescribedField:
    """
    Args:
        restricted: Whether the org refuses other values of the picklist.
        controller: The field that the picklist depends on.
    """

    label: str = ""
    help: str = ""
    choices: tuple[Choice, ...] = ()
    restricted: bool = False
    controller: str = ""


@dataclass(frozen=True, slots=True)
class Child:
    """The records of *object* that refer to this one by *field*; *name*: what the org calls them."""

    name: str
    object: str
    field: str


@dataclass(frozen=True, slots=True)
class Described:
    """One object."""

    name: str
    label: str = ""
    plural: str = ""
    fields: Mapping[str, DescribedField] = field(default_factory=dict)
    children: tuple[Child, ...] = ()

    def to_registry(self) -> dict[str, Any]:
        """As a registry keeps it: an Avro record without fields, with a property."""
        fields = {
            name: {
                "label": each.label,
                **({"help": each.help} if each.help else {}),
                **({"choices": [_choice_shown(c) for c in each.choices]} if each.choices else {}),
                **({"restricted": True} if each.restricted else {}),
                **({"controller": each.controller} if each.controller else {}),
            }
            for name, each in self.fields.items()
        }
        return {
            "type": "record",
            "name": self.name,
            "namespace": "salmon.described",
            "doc": f"What the org says of {self.name} for those who fill it in. No topic has records of it.",
            "salmon": {
                "label": self.label,
                "plural": self.plural,
                "fields": fields,
                "children": [[each.name, each.object, each.field] for each in self.children],
            },
            "fields": [],
        }

    @classmethod
    def from_registry(cls, schema: Mapping[str, Any]) -> Described:
        """The inverse of to_registry."""
        ours = schema["salmon"]
        fields = {
            name: DescribedField(
                label=each["label"],
                help=each.get("help", ""),
                choices=tuple(_choice(c) for c in each.get("choices", ())),
                restricted=each.get("restricted", False),
                controller=each.get("controller", ""),
            )
            for name, each in ours["fields"].items()
        }
        children = tuple(Child(*each) for each in ours["children"])
        return cls(schema["name"], ours["label"], ours["plural"], fields, children)


def described(describe: Mapping[str, Any]) -> Described:
    """Take it from the answer of GET /sobjects/X/describe."""
    by_name = {each["name"]: each for each in describe["fields"]}
    children = tuple(
        Child(each["relationshipName"], each["childSObject"], each["field"])
        for each in describe.get("childRelationships") or ()
        if each.get("relationshipName")
    )
    return Described(
        describe["name"],
        describe.get("label") or "",
        describe.get("labelPlural") or "",
        {name: _field(each, by_name) for name, each in by_name.items()},
        children,
    )


def _field(field: Mapping[str, Any], by_name: Mapping[str, Mapping[str, Any]]) -> DescribedField:
    controller = by_name.get(field.get("controllerName") or "")
    values = _values_of(controller) if controller else None
    choices = tuple(
        Choice(
            each["value"],
            each.get("label") or "",
            bool(each.get("defaultValue")),
            None if values is None else tuple(_chosen(each.get("validFor") or "", values)),
        )
        for each in field.get("picklistValues") or ()
        if each.get("active", True)
    )
    return DescribedField(
        field.get("label") or "",
        field.get("inlineHelpText") or "",
        choices,
        bool(field.get("restrictedPicklist")),
        controller["name"] if controller and choices else "",
    )


def _values_of(controller: Mapping[str, Any]) -> Sequence[str]:
    """What the bits of `validFor` stand for (SOAP API Developer Guide, Field, Dependent Picklists)."""
    if controller["type"] == "boolean":
        return ("false", "true")
    return [each["value"] for each in controller.get("picklistValues") or ()]


def _chosen(valid_for: str, values: Sequence[str]) -> Sequence[str]:
    """The values whose bit is set. The text is base64: six bits a character, the first bit is that of the first value."""
    places = [_BASE64.find(char) for char in valid_for.rstrip("=")]
    if -1 in places:
        return values
    return [
        value
        for n, value in enumerate(values)
        if n // _BITS < len(places) and places[n // _BITS] & (0x20 >> n % _BITS)
    ]


def _choice_shown(choice: Choice) -> dict[str, Any]:
    return {
        "value": choice.value,
        **({"label": choice.label} if choice.label != choice.value else {}),
        **({"default": True} if choice.default else {}),
        **({} if choice.only_with is None else {"with": list(choice.only_with)}),
    }


def _choice(shown: Mapping[str, Any]) -> Choice:
    only_with = shown.get("with")
    return Choice(
        shown["value"],
        shown.get("label", shown["value"]),
        shown.get("default", False),
        None if only_with is None else tuple(only_with),
    )
