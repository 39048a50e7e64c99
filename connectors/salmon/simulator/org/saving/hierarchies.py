"""
Hierarchies: of the standard lookups that make trees, none may lead back to where it began.

That an org refuses it, and the code, is known; the words are ours. Custom lookups of an object to itself may go in circles.
"""

from __future__ import annotations

from salmon.simulator.org.objects.object_types import Field
from salmon.simulator.org.refusals import Refusal
from salmon.simulator.org.table import Table

HIERARCHIES = frozenset({"ParentId", "ReportsToId", "ManagerId"})


def check_hierarchy(table: Table, field: Field, record_id: str | None, parent_id: str) -> None:
    """Raises Refusal if *parent_id* is the record itself, or one that stands below it."""
    if record_id is None or field.name not in HIERARCHIES or table.type.name not in field.reference_to:
        return
    above: str | None = parent_id
    seen: set[str] = set()
    while above is not None and above not in seen:
        if above == record_id:
            message = f"{field.label}: attempt to create a circular dependency: {parent_id}"
            raise Refusal("CIRCULAR_DEPENDENCY", message, field.name)
        seen.add(above)
        row = table.live.get(above)
        value = None if row is None else row.get(field.name)
        above = None if value is None else str(value)
