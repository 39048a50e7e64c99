"""
Rules of the org that the control API sets: validation rules, duplicate rules and assignment rules.

They are asked after triggers have run and before the record is saved, validation first (Apex Developer Guide,
"Triggers and Order of Execution"). An assignment rule chooses the owner of a new record, unless the call forbids it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from salmon.simulator.org.objects.object_types import Field
from salmon.simulator.org.refusals import Refusal
from salmon.simulator.org.table import Table
from salmon.simulator.org.transaction import Row

DUPLICATE_MESSAGE = "Use one of these records?"


@dataclass(frozen=True, slots=True)
class ValidationRule:
    """Refuses a record that *fails*, as an administrator's formula would; the message is the administrator's."""

    object_name: str
    name: str
    condition: str
    fails: Callable[[Row], bool]
    message: str
    field: str | None = None


@dataclass(frozen=True, slots=True)
class DuplicateRule:
    """Refuses a record that is equal to another in all *fields*; *allows* lets the caller insist on it."""

    object_name: str
    name: str
    matching_rule: str
    fields: tuple[Field, ...]
    allows: bool
    message: str = DUPLICATE_MESSAGE


@dataclass(frozen=True, slots=True)
class AssignmentRule:
    """Gives each new record of an object to a user."""

    object_name: str
    name: str
    owner_id: str


Rule = ValidationRule | DuplicateRule | AssignmentRule


@dataclass(frozen=True, slots=True)
class DuplicateOptions:
    """
    What the caller said in Sforce-Duplicate-Rule-Header, and the version of the URLs in the answer. *assign*: whether
    assignment rules run (Sforce-Auto-Assign).
    """

    allow_save: bool = False
    record_details: bool = False
    assign: bool = True
    version: str = "64.0"


NOTHING_SAID = DuplicateOptions()


class DuplicatesDetected(Refusal):
    """The record may be there already. A single row is answered with the records found, as recorded."""

    def __init__(
        self, rule: DuplicateRule, table: Table, found: Sequence[Row], options: DuplicateOptions
    ) -> None:
        super().__init__("DUPLICATES_DETECTED", rule.message)
        self._result = _result(rule, table, found, options)

    def as_row_error(self) -> list[dict[str, Any]]:
        """The key is spelt as orgs spell it: duplicateResut."""
        return [{"duplicateResut": self._result, "errorCode": self.code, "message": self.message}]


def check(
    rules: Sequence[Rule],
    table: Table,
    row: Row,
    *,
    record_id: str | None,
    changed: set[str],
    options: DuplicateOptions,
) -> None:
    """
    Ask the rules for *row*, which is about to be saved.

    Raises:
        Refusal: What all validation rules that failed say; or, if none did, the first duplicate rule.
    """
    own = [rule for rule in rules if rule.object_name == table.type.name]
    failed = [
        Refusal("FIELD_CUSTOM_VALIDATION_EXCEPTION", rule.message, *([rule.field] if rule.field else []))
        for rule in own
        if isinstance(rule, ValidationRule) and rule.fails(row)
    ]
    if failed:
        failed[0].also = failed[1:]
        raise failed[0]
    for rule in own:
        if not isinstance(rule, DuplicateRule) or not changed & {field.name for field in rule.fields}:
            continue
        if rule.allows and options.allow_save:
            continue
        if found := _duplicates(rule, table, row, record_id):
            raise DuplicatesDetected(rule, table, found, options)


def owner_of_new(rules: Sequence[Rule], object_name: str, options: DuplicateOptions) -> str | None:
    """The user whom an assignment rule gives a new record of the object to."""
    found = (rule for rule in rules if isinstance(rule, AssignmentRule) and rule.object_name == object_name)
    rule = next(found, None)
    return rule.owner_id if rule is not None and options.assign else None


def _duplicates(rule: DuplicateRule, table: Table, row: Row, record_id: str | None) -> list[Row]:
    wanted = _key(rule, row)
    if None in wanted:  # A blank is equal to nothing.
        return []
    indexed = next((field for field in rule.fields if field.indexed), None)
    if indexed is None:
        candidates = table.rows()
    else:
        candidates = table.rows_of(table.find(indexed, row.get(indexed.name)))
    return [other for other in candidates if other["Id"] != record_id and _key(rule, other) == wanted]


def _key(rule: DuplicateRule, row: Row) -> tuple[Any, ...]:
    values = (row.get(field.name) for field in rule.fields)
    return tuple(value.lower() if isinstance(value, str) else value for value in values)


def _result(
    rule: DuplicateRule, table: Table, found: Sequence[Row], options: DuplicateOptions
) -> Mapping[str, Any]:
    name = table.type.name

    def record(row: Row) -> dict[str, Any]:
        url = f"/services/data/v{options.version}/sobjects/{name}/{row['Id']}"
        shown = {"attributes": {"type": name, "url": url}, "Id": row["Id"]}
        if options.record_details:
            shown |= {field.name: row.get(field.name) for field in rule.fields}
        return shown

    matches = [
        {"additionalInformation": [], "fieldDiffs": [], "matchConfidence": 100.0, "record": record(row)}
        for row in found
    ]
    return {
        "allowSave": rule.allows,
        "duplicateRule": rule.name,
        "duplicateRuleEntityType": name,
        "errorMessage": rule.message,
        "matchResults": [
            {
                "entityType": name,
                "errors": [],
                "matchEngine": "ExactMatchEngine",
                "matchRecords": matches,
                "rule": rule.matching_rule,
                "size": len(matches),
                "success": True,
            }
        ],
    }
