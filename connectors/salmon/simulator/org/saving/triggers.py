"""
Triggers of the org: what an Apex trigger or flow of a customer would do inside the transaction of our write.

A trigger fires when a call sets the field it waits for. It then sets another field (or the same) from a template,
or refuses the record, for that field or for the record as a whole. Triggers do not fire one another.

A template is text with fields of the record in braces, each through any number of filters:
`{Phone|e164}`, `{LastName|upper}, {FirstName|trim|title}`; `{{` and `}}` are braces. A null field is empty text, and an
empty result is null. Filters: trim, upper, lower, title, digits, e164 (ten digits become +1..., eleven that begin
with 1 become +..., what already begins with + keeps its digits; anything else is left as it is).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from salmon.simulator.org.objects.object_types import Field, ObjectType
from salmon.simulator.org.refusals import Refusal
from salmon.simulator.org.saving.values import stored_value
from salmon.simulator.org.transaction import Stored

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")


def _e164(text: str) -> str:
    digits = re.sub(r"\D", "", text)
    if text.strip().startswith("+"):
        return f"+{digits}"
    if len(digits) == 10:
        return f"+1{digits}"
    return f"+{digits}" if len(digits) == 11 and digits.startswith("1") else text


_FILTERS: dict[str, Callable[[str], str]] = {
    "trim": str.strip,
    "upper": str.upper,
    "lower": str.lower,
    "title": str.title,
    "digits": lambda text: re.sub(r"\D", "", text),
    "e164": _e164,
}


class BadTrigger(ValueError):
    """A trigger that cannot be; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """One trigger: either *sets* or *refuses*."""

    object_name: str
    when: Field
    sets: tuple[tuple[Field, str], ...] = ()  # field, template
    refuses: bool = False
    names_field: bool = True  # the error is at the field; else at the record, as at the top of its page

    def fires_on(self, fields_set: Iterable[str]) -> bool:
        """Whether a call that sets these fields fires it."""
        return self.when.name in fields_set

    def run(self, row: dict[str, Stored]) -> set[str]:
        """Set fields of *row* in place and return their names, or raise Refusal."""
        if self.refuses:
            message = f"{self.when.label}: this value was refused by a rule of the org"
            at = (self.when.name,) if self.names_field else ()
            raise Refusal("FIELD_CUSTOM_VALIDATION_EXCEPTION", message, *at)
        for field, template in self.sets:
            value = stored_value(field, render(template, row))
            if value is None:
                row.pop(field.name, None)
            else:
                row[field.name] = value
        return {field.name for field, _template in self.sets}


def parse_trigger(objects: Mapping[str, ObjectType], body: Mapping[str, Any]) -> Trigger:
    """
    A trigger from the control API: {"object", "when": {"field"}, "set": {field: template} or "refuse": true}. With "refuse": "record",
    the refusal names no field.

    Raises:
        BadTrigger: An object, field or filter does not exist, or the shape is another one.
    """
    object_type = objects.get(str(body.get("object")))
    if object_type is None:
        raise BadTrigger(f"object must be one of {', '.join(objects)}")
    when = body.get("when")
    if not isinstance(when, Mapping) or set(when) != {"field"}:
        raise BadTrigger('when must be {"field": NAME}')
    field = _field(object_type, when["field"])
    sets, refuses = body.get("set"), body.get("refuse", False)
    if refuses in (True, "record") and sets is None:
        return Trigger(object_type.name, field, refuses=True, names_field=refuses is True)
    if refuses is not False or not isinstance(sets, Mapping) or not sets:
        raise BadTrigger('give either "set": {FIELD: TEMPLATE} or "refuse": true or "record"')
    parsed = []
    for name, template in sets.items():
        if not isinstance(template, str):
            raise BadTrigger(f"the template of {name} must be text")
        for placeholder in _PLACEHOLDER.findall(template):
            if placeholder:
                _field(object_type, placeholder.split("|")[0].strip())
                _filters(placeholder)
        parsed.append((_field(object_type, name), template))
    return Trigger(object_type.name, field, tuple(parsed))


def render(template: str, row: Mapping[str, Stored]) -> str:
    """The template filled in from *row*."""

    def fill(match: re.Match[str]) -> str:
        if match[0] in {"{{", "}}"}:
            return match[0][0]
        value = row.get(match[1].split("|")[0].strip())
        text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        for apply in _filters(match[1]):
            text = apply(text)
        return text

    return _PLACEHOLDER.sub(fill, template)


def _filters(placeholder: str) -> list[Callable[[str], str]]:
    names = [name.strip() for name in placeholder.split("|")[1:]]
    if unknown := [name for name in names if name not in _FILTERS]:
        raise BadTrigger(f"no filter {unknown[0]!r}; there are {', '.join(_FILTERS)}")
    return [_FILTERS[name] for name in names]


def _field(object_type: ObjectType, name: Any) -> Field:
    field = object_type.field(str(name))
    if field is None:
        raise BadTrigger(f"{object_type.name} has no field {name!r}")
    return field
