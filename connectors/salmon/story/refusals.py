"""
What Salesforce refused of an edit in MongoDB, with its own words. Pure; salmon.story.reading fetches the changes.

The state of a record has the codes and the fields alone: the words may quote the record, so only `changes` has them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from salmon.model.change import MONGODB, SALESFORCE, Change, Op
from salmon.story.evidence import At


@dataclass(frozen=True, slots=True)
class RefusedEdit:
    """
    A write that an edit has caused, and that Salesforce refused.

    Args:
        seq: Of the write.
        fields: At fault; none: the record as a whole.
        said: The org's own words, which may be none. They may quote the record.
    """

    seq: int
    fields: tuple[str, ...]
    code: str
    reason: str
    said: str


def refusals_after(changes: Iterable[At[Change]], after: int) -> tuple[RefusedEdit, ...] | None:
    """
    What was refused of the first edit in MongoDB after this moment by its commit clock, and of later ones. None: there is no such edit.

    Args:
        changes: Of one record, in their order.
    """
    began: int | None = None
    found: list[RefusedEdit] = []
    for item in changes:
        change = item.what
        if began is None:
            if change.origin == MONGODB and change.is_event and change.commit_time > after:
                began = item.offset
        elif change.origin == SALESFORCE and change.op is Op.REFUSED and (change.ack or 0) >= began:
            said = change.source
            found.append(
                RefusedEdit(
                    change.ack or 0,
                    tuple(sorted(change.changed or ())),
                    said.get("code", ""),
                    said.get("reason", ""),
                    said.get("said", ""),
                )
            )
    return None if began is None else tuple(found)
