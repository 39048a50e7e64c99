"""
The judge: both sides against the journal and against each other, field by field. Pure.

He asks nobody of the product: what stands on the sides he is given as stock clients read it (reading.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from support.chaos.journal import Expected, FieldPlace, Place

RECORD: Final = "(the record)"  # in place of a field's name, where all of a record is meant

Side = Mapping[Place, Mapping[str, Any]]


@dataclass(slots=True)
class Verdict:
    """
    What the judge found. Places are (object, record key, field).

    Args:
        lost: Both sides agree on what nobody may have meant: an acknowledged edit is gone, or a deletion was undone.
        divergent: The sides do not agree.
        invented: Records that are there although nobody made them.
        false_conflicts: Conflicts on fields that nobody edited concurrently.
    """

    lost: list[FieldPlace] = field(default_factory=list)
    divergent: list[FieldPlace] = field(default_factory=list)
    invented: list[Place] = field(default_factory=list)
    false_conflicts: list[FieldPlace] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.lost or self.divergent or self.invented or self.false_conflicts)

    @property
    def divergent_records(self) -> frozenset[Place]:
        """What a comparison of the sides alone can find."""
        return frozenset((object_name, key) for object_name, key, _ in self.divergent)


def judge(salesforce: Side, mongodb: Side, expected: Expected, conflicts: Iterable[FieldPlace]) -> Verdict:
    """
    Compare.

    Args:
        salesforce, mongodb: Record -> field -> value in plain form. A field that is not named is empty.
        expected: What may stand, by the journal.
        conflicts: Where the sync reported conflicts.
    """
    verdict = Verdict()
    for place in sorted({*salesforce, *mongodb, *expected.lives}):
        _judge_record(verdict, place, salesforce.get(place), mongodb.get(place), expected)
    verdict.false_conflicts = sorted(set(conflicts) - expected.raced)
    verdict.invented = _beyond_the_nameless(verdict.invented, expected)
    return verdict


def _judge_record(
    verdict: Verdict,
    place: Place,
    in_salesforce: Mapping[str, Any] | None,
    in_mongodb: Mapping[str, Any] | None,
    expected: Expected,
) -> None:
    if (in_salesforce is None) != (in_mongodb is None):
        verdict.divergent.append((*place, RECORD))
        return
    may = expected.lives.get(place)
    if may is None:
        verdict.invented.append(place)
    elif (in_salesforce is not None) not in may:
        verdict.lost.append((*place, RECORD))
    if in_salesforce is None or in_mongodb is None:
        return
    allowed = expected.values.get(place, {})
    for name in sorted({*in_salesforce, *in_mongodb, *allowed}):
        one, other = in_salesforce.get(name), in_mongodb.get(name)
        if one != other:
            verdict.divergent.append((*place, name))
        elif name in allowed and one not in allowed[name]:
            verdict.lost.append((*place, name))


def _beyond_the_nameless(strangers: list[Place], expected: Expected) -> list[Place]:
    """Strangers for whom there is no creation whose answer never came."""
    left, beyond = dict(expected.nameless), []
    for place in strangers:
        if left.get(place[0], 0) > 0:
            left[place[0]] -= 1
        else:
            beyond.append(place)
    return beyond
