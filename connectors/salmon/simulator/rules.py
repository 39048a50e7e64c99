"""Reads the rules of the org that the control API is given: validation, duplicate and assignment rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from salmon.simulator.org.org import Org
from salmon.simulator.org.refusals import Refusal
from salmon.simulator.org.saving.rules import (
    DUPLICATE_MESSAGE,
    AssignmentRule,
    DuplicateRule,
    Rule,
    ValidationRule,
)
from salmon.simulator.soql.answering import row_test


class BadRule(ValueError):
    """A rule that cannot be; the message says what is wrong with it."""


def parse_rule(org: Org, body: Mapping[str, Any]) -> Rule:
    """
    A rule from the control API.

    Raises:
        BadRule: An object or field does not exist, the condition is none, or the shape is another one.
    """
    kind, name = str(body.get("rule")), str(body.get("object"))
    if kind not in {"validation", "duplicate", "assignment"}:
        raise BadRule("rule must be validation, duplicate or assignment")
    if name not in org.objects:
        raise BadRule(f"object must be one of {', '.join(org.objects)}")
    if kind == "assignment":
        return _assignment(org, name, body)
    return _validation(org, name, body) if kind == "validation" else _duplicate(org, name, body)


def _validation(org: Org, name: str, body: Mapping[str, Any]) -> ValidationRule:
    condition, message = body.get("when"), body.get("message")
    if not isinstance(condition, str) or not isinstance(message, str) or not message:
        raise BadRule(
            'a validation rule needs "when", a SOQL condition that is true for a wrong record, and "message"'
        )
    try:
        fails = row_test(org, name, condition)
    except Refusal as refusal:
        raise BadRule(f"when is no condition: {refusal.message.strip()}") from None
    field = None if body.get("field") is None else _field(org, name, body["field"]).name
    return ValidationRule(name, str(body.get("name", "Rule")), condition, fails, message, field)


def _duplicate(org: Org, name: str, body: Mapping[str, Any]) -> DuplicateRule:
    fields, action = body.get("fields"), str(body.get("action", "allow"))
    if not isinstance(fields, list) or not fields or action not in {"allow", "block"}:
        raise BadRule('a duplicate rule needs "fields", a list, and "action": allow or block')
    return DuplicateRule(
        object_name=name,
        name=str(body.get("name", f"Standard_{name}_Duplicate_Rule")),
        matching_rule=str(body.get("matching_rule", f"Standard_{name}_Match_Rule_v1_1")),
        fields=tuple(_field(org, name, each) for each in fields),
        allows=action == "allow",
        message=str(body.get("message", DUPLICATE_MESSAGE)),
    )


def _assignment(org: Org, name: str, body: Mapping[str, Any]) -> AssignmentRule:
    owner = str(body.get("owner"))
    if org.types[name].field("OwnerId") is None:
        raise BadRule(f"records of {name} have no owner")
    if owner not in org.users:
        raise BadRule('an assignment rule needs "owner", the Id of a user')
    return AssignmentRule(name, str(body.get("name", f"Standard {name} assignment")), owner)


def _field(org: Org, name: str, field_name: Any) -> Any:
    field = org.types[name].field(str(field_name))
    if field is None:
        raise BadRule(f"{name} has no field {field_name!r}")
    return field
