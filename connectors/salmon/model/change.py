"""
Change and write: the common shape into which both sides are translated.

A change reports what happened on a side, or the outcome of a write. A write is a command to one side. Their layout in
bytes is for kafka.codecs.serdes; what they mean is for model.fold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Final

# A field's value, as Avro's primitive of its type: text; numbers; date in days and datetime in ms since 1970
# (UTC); time in ms since midnight; a multi-select picklist as a tuple. None: cleared or missing, which are the same.
Value = str | bool | int | float | Decimal | tuple[str, ...] | None

SALESFORCE: Final = "salesforce"
MONGODB: Final = "mongodb"
OPERATOR: Final = "operator"
SIDES: Final = (SALESFORCE, MONGODB)

# What merge owns of a MongoDB document, and tracks like fields. In `changes` and `writes` it is among the fields, under these
# names, which no Salesforce field can have.
SALESFORCE_ID: Final = "$salesforce_id"  # the record's 18-character Id, once it has one
ERROR: Final = "$error"  # why Salesforce refused the record's latest write; None after it accepted one
# Key in a change's source: the fields of which a part was left out (a date's time of day), separated by commas.
CUT: Final = "cut"
# Key in the source of MongoDB's ABSENT: the cluster time since which its object is looked for in other collections than before, and the
# names of those that it has only since then, with NUL between them, which no name contains. A record that was last reported earlier was
# elsewhere. See salmon.model.steps.placed.
SINCE: Final = "$since"
PLACE: Final = "$collection"  # where the document is, of an object that has several collections
OWNED_BY_MERGE: Final = frozenset({SALESFORCE_ID, ERROR, PLACE})


class Op(StrEnum):
    """What a change reports."""

    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    ROW = "ROW"  # the whole record, as it was read
    ABSENT = "ABSENT"  # the record was looked for and not found
    REFUSED = "REFUSED"  # from here: outcomes of the write `ack`, reported by sinks only
    GONE = "GONE"
    EXISTS = "EXISTS"
    DEFERRED = "DEFERRED"
    RETRY = "RETRY"
    EDIT = "EDIT"  # an operator's edit


EVENTS: Final = frozenset({Op.CREATE, Op.UPDATE, Op.DELETE})
ROWS: Final = frozenset({Op.ROW, Op.ABSENT})
OUTCOMES: Final = frozenset({Op.REFUSED, Op.GONE, Op.EXISTS, Op.DEFERRED, Op.RETRY})


# Codes of a Misfit.
NOT_OF_TYPE: Final = "NOT_OF_TYPE"  # the value does not fit the field's type
NO_RECORD_KEY: Final = "NO_RECORD_KEY"  # a reference that cannot be the key of any record
TOO_LARGE: Final = "TOO_LARGE"  # too large for Kafka
REFUSED_BY_KAFKA: Final = "REFUSED_BY_KAFKA"  # the brokers refuse the record with that value
TWICE: Final = (
    "TWICE"  # of PLACE: several collections have a document with the `_id`. Also the code of an outcome
)
MISFIT_CODES: Final = frozenset({NOT_OF_TYPE, NO_RECORD_KEY, TOO_LARGE, REFUSED_BY_KAFKA, TWICE})


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why the value that a side holds in a field cannot be synced. It names the kind of value, never the value."""

    code: str  # one of MISFIT_CODES
    reason: str  # one sentence: the field, what is wrong, and what to do
    since: int = 0  # in a state: the seq of the change that reported it; see salmon.model.steps.misfits


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to one record on one side. The object and the record key are in the Kafka record's topic and key."""

    origin: str  # the side that reports it (for outcomes: the side that was written to), or "operator"
    op: Op
    # In ms, by that side's wall clock: for policies and lag only. 0: not known; it loses to any other.
    committed_at: int = 0
    # By that side's commit clock: Salesforce commitTimestamp; MongoDB clusterTime (t<<32|i).
    commit_time: int = 0
    order: bytes = b""  # rises with that side's events; compared only within one side and key
    as_of: int | None = None  # rows: the row includes every commit with a commit_time up to this
    native_id: str | None = None  # the side's own id of the record (Salesforce: 18 characters)
    ack: int | None = None  # events, outcomes: the seq of the write this answers; rows: the marker they carry
    # The fields that it reports. None: all that this kind can report (rows: every field; CREATE: every live field;
    # MongoDB: every field). A field that is not named here was not mentioned; that does not mean cleared.
    changed: frozenset[str] | None = None
    # A field that `changed` names and that is not in here is null.
    fields: Mapping[str, Value] = field(default_factory=dict)
    # Fields whose value cannot be synced. They are not among the reported fields: neither null nor unmentioned.
    misfits: Mapping[str, Misfit] = field(default_factory=dict)
    source: Mapping[str, str] = field(
        default_factory=dict
    )  # what else the side reported; only SINCE decides anything
    # If the writer has an older schema than the reader: the fields that the writer knew. None: all of them. The change
    # says nothing about the others: neither that they are null nor that they are unchanged.
    knows: frozenset[str] | None = None
    # Whether the side names Salmon's own user as the author: our write, or what the side did because of it.
    by_us: bool = False
    # The id of the side's history. It differs from the one before if the side's history went back (restored from a backup,
    # or refreshed); its clock and order may have started again then. Empty until that happens. Outcomes have none.
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

    CREATE = "CREATE"  # as far as is known, the side does not have the record; fields: all that are not null
    UPDATE = "UPDATE"  # fields: only those that differ, perhaps none; None clears a field
    DELETE = "DELETE"


@dataclass(frozen=True, slots=True)
class Write:
    """
    A command to one side. It contains everything that the side still lacks for this key, and supersedes all earlier
    commands of the key. A tombstone in its place means that the side lacks nothing.
    """

    seq: int
    op: WriteOp
    # UPDATE, DELETE: the marker that the record carries, by the side's last report; 0 for none. CREATE: see `differs`.
    expected: int = 0
    native_id: str | None = None
    fields: Mapping[str, Value] = field(default_factory=dict)
    committed_at: int = 0  # ms, of the change that caused it: for lag
    correlation: str = ""  # of the change that caused it: the same id in every log from edit to write
    # The fields that the write speaks of. None: all of them. It does not mention the others: a CREATE does not clear them. They
    # are those that were added to the sync after it, or after an earlier CREATE that may have made the record.
    knows: frozenset[str] | None = None
    # CREATE, after others that are still on their way: the fields in which it differs from any of them. If one of them (marker
    # `expected` or newer) has made the record, the rest is there already, or was edited since: it is left alone. None: no others.
    differs: frozenset[str] | None = None
