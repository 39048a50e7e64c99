"""Deletions that an org refuses: a record that others refer to by a lookup that forbids it (`restrictedDelete`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from salmon.simulator.org.objects.object_types import Field
from salmon.simulator.org.refusals import Refusal
from salmon.simulator.org.table import Table

Children = Sequence[tuple[Table, Field]]


def check_restricted(doomed: Mapping[str, Table], children: Mapping[str, Children]) -> None:
    """
    Whether all of *doomed* (id -> its table) may be deleted together; *children* are the lookups to each object.

    Raises:
        Refusal: DELETE_FAILED, in the words of an org, with the names of those that stand in the way.
    """
    for record_id, table in doomed.items():
        for child_table, field in children.get(table.type.name, ()):
            if (child_table.type.name, field.name) not in table.type.restricts:
                continue
            left = [each for each in child_table.find(field, record_id) if each not in doomed]
            if left:
                plural = str(child_table.type.describe.get("labelPlural") or child_table.type.label).lower()
                raise Refusal(
                    "DELETE_FAILED",
                    f"Your attempt to delete {_name(table, record_id)} could not be completed because it is "
                    f"associated with the following {plural}.: {_names(child_table, left)}\n",
                )


def _names(table: Table, ids: Collection[str]) -> str:
    return ", ".join(_name(table, each) for each in ids)


def _name(table: Table, record_id: str) -> str:
    field = table.type.name_field
    value = None if field is None else table.live[record_id].get(field.name)
    return str(value if value is not None else record_id)
