"""
Change and write: the one shape both sides are translated into.

A change says what happened on a side, or what became of a write; a write commands one side. How they
are laid out in bytes is kafka.serdes' business, and what they mean is fold's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Final

# A field's value, as Avro's primitive of its type: text; numbers; date in days and datetime in ms since 1970
# (UTC); time in ms since midnight; a multi-select picklist as a tuple. None: cleared or missing, the same.
Value = str | bool | int | float | Decimal | tuple[str, ...] | None

SALESFORCE: Final = "salesforce"
MONGODB: Final = "mongodb"
OPERATOR: Final = "operator"
SIDES: Final = (SALESFORCE, MONGODB)

# Two properties of a MongoDB document that merge owns and shadows like fields. In `changes` and `writes` they
# travel among the fields under these names, which no Salesforce field can have.
SALESFORCE_ID: Final = "$salesforce_id"  # the record's 18-character Id, once it has one
ERROR: Final = "$error"  # why Salesforce refused the record's latest write; None once it took one
# In a change's source: the fields of which a part was left out (the time of day, of a date), with commas between.
CUT: Final = "cut"
OWNED_BY_MERGE: Final = frozenset({SALESFORCE_ID, ERROR})


class Op(StrEnum):
    """What a change tells."""

    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    ROW = "ROW"  # read: this is the whole record
    ABSENT = "ABSENT"  # looked for and not found
    REFUSED = "REFUSED"  # outcomes of the write `ack`, which only sinks tell
    GONE = "GONE"
    EXISTS = "EXISTS"
    DEFERRED = "DEFERRED"
    RETRY = "RETRY"
    EDIT = "EDIT"  # an operator's


EVENTS: Final = frozenset({Op.CREATE, Op.UPDATE, Op.DELETE})
ROWS: Final = frozenset({Op.ROW, Op.ABSENT})
OUTCOMES: Final = frozenset({Op.REFUSED, Op.GONE, Op.EXISTS, Op.DEFERRED, Op.RETRY})


# Codes of a Misfit.
NOT_OF_TYPE: Final = "NOT_OF_TYPE"  # its field's type has no such value
NO_RECORD_KEY: Final = "NO_RECORD_KEY"  # of a reference: nothing can have that key
TOO_LARGE: Final = "TOO_LARGE"  # for Kafka
REFUSED_BY_KAFKA: Final = "REFUSED_BY_KAFKA"  # its brokers refuse the record with that value
MISFIT_CODES: Final = frozenset({NOT_OF_TYPE, NO_RECORD_KEY, TOO_LARGE, REFUSED_BY_KAFKA})


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why the value that a side holds in a field could not be taken. It names the kind of value, never the value."""

    code: str  # one of MISFIT_CODES
    reason: str  # one sentence, with the field and the mend
    since: int = 0  # in a state: the seq of the change that reported it; see salmon.model.misfits


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to one record on one side. Its object and record key are those of the Kafka record."""

    origin: str  # the side that tells it (for outcomes: the side that was written to), or "operator"
    op: Op
    committed_at: int = (
        0  # ms, that side's wall clock: for policies and lag only; 0 = not known, loses to any
    )
    commit_time: int = (
        0  # that side's commit clock: Salesforce commitTimestamp; MongoDB clusterTime (t<<32|i)
    )
    order: bytes = b""  # rises with that side's events; compared within one side and key only
    as_of: int | None = None  # rows: every commit with a commit_time up to this is in the row
    native_id: str | None = None  # the side's own id of the record (Salesforce: 18 characters)
    ack: int | None = None  # events, outcomes: the seq of the write this answers; rows: the marker they carry
    # The fields it speaks of. None: all that this kind can speak of (rows: every field; CREATE: every live
    # field; MongoDB: every field). Null in a field that is not named means "not said", never "cleared".
    changed: frozenset[str] | None = None
    fields: Mapping[str, Value] = field(
        default_factory=dict
    )  # without nulls where `changed` names them anyway
    # Fields that hold a value which could not be taken. They are not among those it speaks of: neither null nor unsaid.
    misfits: Mapping[str, Misfit] = field(default_factory=dict)
    source: Mapping[str, str] = field(default_factory=dict)  # what else the side told; never judged by
    # The fields that it could have told of, where its writer has an older schema than its reader; None: all of them. Of
    # the others it says nothing, neither that they are null nor, by its silence, that they are as they were.
    knows: frozenset[str] | None = None
    # Whether the side names the user that Salmon writes as for it: our own write, or what the side did because of one.
    by_us: bool = False
    # Which history of its side it is of. Another than before: the side's history went back (restored from a backup, or
    # refreshed), and its clock and order may have begun anew. Empty as long as that never happened. Not of outcomes.
    history: str = ""

    @property
    def is_event(self) -> bool:
        return self.op in EVENTS

    @property
    def is_row(self) -> bool:
        return self.op in ROWS

    @property
    def is_outcome(self) -> bool:
        return self.op in OUTCOMES


class WriteOp(StrEnum):
    """What a write asks of a side."""

    CREATE = "CREATE"  # the side is not known to have the record; fields: all but nulls
    UPDATE = "UPDATE"  # fields: only those that differ, perhaps none; None clears
    DELETE = "DELETE"


@dataclass(frozen=True, slots=True)
class Write:
    """
    A command to one side. It says everything that is still owed to the side for its key and supersedes all
    earlier commands of that key; a tombstone in its place says that nothing is owed.
    """

    seq: int
    op: WriteOp
    # UPDATE, DELETE: the marker that the record carries as far as its side has told; 0 for none.
    expected: int = 0
    native_id: str | None = None
    fields: Mapping[str, Value] = field(default_factory=dict)
    committed_at: int = 0  # ms, of the change that caused it: for lag
    correlation: str = ""  # of the change that caused it: one word from edit to write in every log
    # The fields that its writer knew, where that has an older schema than its reader; None: all of them. Of the others
    # it says nothing: a CREATE does not clear them.
    knows: frozenset[str] | None = None
