"""
Merging of records, as a person does it who finds the same account twice.

The winner gets the values that the caller chose, and everything that named a loser names the winner; losers go to the Recycle
Bin, and say there whom they have become (MasterRecordId). Change events are an UPDATE of the winner and of what was moved to
it, and a DELETE of each loser.
Sources: SOAP API Developer Guide, "merge()"; Change Data Capture Developer Guide ("Merged Records").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from salmon.simulator.org.refusals import Refusal
from salmon.simulator.org.saving.person_accounts import CONTACT_ID, is_person
from salmon.simulator.org.saving.records import Tables, Unit
from salmon.simulator.org.table import Table

LOSERS_MAX: Final = 2
_MASTER: Final = "MasterRecordId"


def merge(
    org: Tables,
    unit: Unit,
    table: Table,
    winner_id: str,
    losers: Sequence[str],
    *,
    body: Mapping[str, Any],
    untold: bool = False,
) -> list[str]:
    """
    Merge *losers* into the winner, and give it the values of *body*, within a unit of its own.

    Returns the records that name the winner now in a loser's place; with *untold*, no event tells that they do.

    Raises:
        Refusal: these records cannot be merged, or the winner cannot have these values. The caller rolls the unit back.
    """
    if not table.type.describe.get("mergeable"):
        raise Refusal("INVALID_TYPE_FOR_OPERATION", f"entity type {table.type.name} does not support merge")
    if not 1 <= len(losers) <= LOSERS_MAX or len({winner_id, *losers}) <= len(losers):
        raise Refusal(
            "MERGE_FAILED", f"name one or {LOSERS_MAX} records to merge, each once and none the master record"
        )
    winner = table.alive(winner_id)
    rows = [table.alive(loser) for loser in losers]
    if any(is_person(row) != is_person(winner) for row in rows):
        raise Refusal("MERGE_FAILED", "a person account and a business account cannot be merged")
    unit.update(table.type.name, winner_id, body)
    moved: list[str] = []
    for loser, row in zip(losers, rows, strict=True):
        for child_table, field in org.children(table.type.name):
            for child_id in child_table.find(field, loser):
                if child_id == row.get(CONTACT_ID):
                    continue  # the contact behind a person goes with it
                # What was below a loser is below the winner; the winner itself is then at the top.
                itself = child_id == winner_id
                target = None if itself else winner_id
                unit.point(child_table, child_id, field.name, target, untold=untold and not itself)
                moved.append(child_id)
        if table.type.field(_MASTER) is not None:
            unit.point(table, loser, _MASTER, winner_id)
        unit.delete(table.type.name, loser)
    return [each for each in dict.fromkeys(moved) if each not in losers and each != winner_id]
