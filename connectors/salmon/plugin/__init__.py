"""
What the author of a source, sink, policy, transform or predicate imports, and nothing else. CONTRIBUTING.md says how to begin.

    contract     what a task does for the worker, and what it may offer beside that
    sides        what a package says of a side
    guard        the rules of a guarded sink
    transforms   what a package says of a transform or a predicate
"""

from salmon.errors import (
    ConfigError,
    DataError,
    FatalError,
    RetriableError,
    SchemaMismatch,
    SetupError,
    Unavailable,
)
from salmon.model.change import NOT_OF_TYPE, Change, Misfit, Op, Value, Write, WriteOp
from salmon.model.convert import from_json, to_json
from salmon.model.policies import EXISTENCE, Contest, Edit
from salmon.model.rules import SEQ_MAX
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.plugin.contract import (
    FIRST_READ,
    DeadLetter,
    Identities,
    Outcome,
    OutcomeKind,
    Position,
    Signal,
    SignalKind,
    SinkRecord,
    SnapshotProgress,
    SourceBatch,
    SourceRecord,
)
from salmon.plugin.guard import Due, due
from salmon.plugin.showing import ShowsRecords
from salmon.plugin.sides import SidePlugin
from salmon.plugin.transforms import NoSettings, PredicatePlugin, TransformPlugin

__all__ = [
    "EXISTENCE",
    "FIRST_READ",
    "NOT_OF_TYPE",
    "SEQ_MAX",
    "Change",
    "ConfigError",
    "Contest",
    "DataError",
    "DeadLetter",
    "Due",
    "Edit",
    "FatalError",
    "FieldSchema",
    "Identities",
    "Kind",
    "Misfit",
    "NoSettings",
    "ObjectSchema",
    "Op",
    "Outcome",
    "OutcomeKind",
    "Position",
    "PredicatePlugin",
    "RetriableError",
    "SchemaMismatch",
    "SetupError",
    "ShowsRecords",
    "SidePlugin",
    "Signal",
    "SignalKind",
    "SinkRecord",
    "SnapshotProgress",
    "SourceBatch",
    "SourceRecord",
    "TransformPlugin",
    "Unavailable",
    "Value",
    "Write",
    "WriteOp",
    "due",
    "from_json",
    "to_json",
]
