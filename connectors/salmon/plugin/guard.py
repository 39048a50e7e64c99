"""
What a write does to the record that a side has: the rules of a guarded sink, for a side that keeps markers. Pure.

The marker is the seq of the last write of ours that a record carries. A side whose sink asks `due` in the same step in which it
writes (under a lock, or in a transaction) never carries a write out twice, and never over a newer one. Such a side may call itself
guarded (salmon.plugin.sides). MongoDB's sink follows the same rules, in MongoDB's own words (salmon.mongodb.writing.delivery).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from salmon.model.change import Value, Write, WriteOp
from salmon.plugin.contract import Outcome, OutcomeKind

_APPLIED: Final = Outcome(OutcomeKind.APPLIED)
_SKIPPED: Final = Outcome(OutcomeKind.SKIPPED)
_GONE: Final = Outcome(OutcomeKind.GONE, code="NotFound", reason="The record does not exist.")
_EXISTS: Final = Outcome(
    OutcomeKind.EXISTS,
    code="Unmarked",
    reason="The record exists, but it is not the one that Salmon knows.",
)


@dataclass(frozen=True, slots=True)
class Due:
    """
    What to do about a write.

    Args:
        outcome: What to return for it, once that is done.
        writes: Whether there is anything to do. If so, the record gets the write's seq as its marker, or is deleted.
        deletes: Whether the record is deleted.
        fields: What to set; None clears a field. The others stay as they are.
    """

    outcome: Outcome
    writes: bool = False
    deletes: bool = False
    fields: Mapping[str, Value] | None = None


def due(write: Write, marker: int | None, names: Collection[str]) -> Due:
    """
    Decide what a write does.

    Args:
        marker: Of the record that the side has; 0 if the record carries none. None: the side has no such record.
        names: All fields of the object.
    """
    if marker is None:
        return _set(write.fields) if write.op is WriteOp.CREATE else Due(_GONE)
    if marker >= write.seq:
        done_now = marker == write.seq and write.op is not WriteOp.DELETE
        return Due(_APPLIED if done_now else _SKIPPED)
    match write.op:
        case WriteOp.CREATE:
            if not marker:
                return Due(_EXISTS)
            fields, knows = changes_in(write, marker)
            spoken = names if knows is None else knows & frozenset(names)
            return _set(dict.fromkeys(spoken) | dict(fields))
        case WriteOp.UPDATE:
            return _set(write.fields) if marker or not write.expected else Due(_EXISTS)
        case WriteOp.DELETE:
            is_it = marker >= write.expected
            return Due(_APPLIED, writes=True, deletes=True) if is_it else Due(_EXISTS)


def _set(fields: Mapping[str, Value]) -> Due:
    return Due(_APPLIED, writes=True, fields=fields)


def changes_in(write: Write, marker: int) -> tuple[Mapping[str, Value], frozenset[str] | None]:
    """
    What a creation changes in a record that an older write has made: the fields to set, and which fields it speaks of; None: of all. Of
    these, it clears those that it does not set.

    If an earlier creation has made the record, what both say is there already. Where it is not, somebody has edited it since,
    and it must not be overwritten.
    """
    if write.differs is None or marker < write.expected:
        return write.fields, write.knows
    fields = {name: value for name, value in write.fields.items() if name in write.differs}
    return fields, write.differs if write.knows is None else write.differs & write.knows
