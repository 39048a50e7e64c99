"""
The contract between a connector's task and the worker that runs it.

A source task turns a side's reports into changes; a sink task carries out writes. The worker owns Kafka,
transactions, retries, dead letters and offsets; a task owns its side's wire and knows nothing of Kafka.
Tasks are blocking and are called from one thread, except for stop(), which comes from any.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Protocol, runtime_checkable

from salmon.calls import Calls, Peer, Probe
from salmon.errors import SetupError
from salmon.model.change import Change, Value, Write
from salmon.model.schema import ObjectSchema

# A source's opaque bookmark for one of its partitions ("stream", "snapshot/Account", ...): a JSON object.
Position = Mapping[str, Any]
# A source stores under this and the object's name how far it has read the object: without it, it has not begun to.
FIRST_READ: Final = "snapshot/"
# The same, and a budget's name: how much of it was used.
USED: Final = "used/"
# What is owed to a record, by its object and key: the newest write that is not finished.
OwedTo = Callable[[str, str], Write | None]


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """A change on its way to the object's `changes` topic, under the record's key."""

    object: str
    key: str
    change: Change


@dataclass(frozen=True, slots=True)
class IdentityRecord:
    """A Salesforce Id and the key of its record, for records whose key is not their Id. None: forgotten."""

    object: str
    native_id: str
    key: str | None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A report that never becomes a change: its bytes as they came, and why."""

    object: str
    key: str
    original: bytes
    error: Exception
    stage: str = "TASK_POLL"  # Kafka Connect's stage names


@dataclass(frozen=True, slots=True)
class EventRecord:
    """A platform event on its way to its own topic. *key*: its EventUuid. *original*: its payload, as it came."""

    event: str
    key: str
    fields: Mapping[str, Value]
    original: bytes
    published_at: int = 0  # ms since 1970; 0 if it does not say


@dataclass(frozen=True, slots=True)
class SourceBatch:
    """What one poll brought. All of it is committed in one transaction, or none of it."""

    records: Sequence[SourceRecord] = ()
    # Partition -> the position after these records; None forgets the partition. Partitions not named keep theirs.
    positions: Mapping[str, Position | None] = field(default_factory=dict)
    identities: Sequence[IdentityRecord] = ()
    dead_letters: Sequence[DeadLetter] = ()
    answered: frozenset[int] = frozenset()  # ids of the signals that these records answer in full
    events: Sequence[EventRecord] = ()


class SignalKind(StrEnum):
    READ = "READ"  # read these records again
    SNAPSHOT = "SNAPSHOT"  # read the whole object again, absences included
    APPROVE = "APPROVE"  # to a sink: carry out the deletes that its guard holds back


@dataclass(frozen=True, slots=True)
class Signal:
    """A request to a connector. *id* is its offset in the signals topic: what `SourceBatch.answered` names."""

    id: int
    kind: SignalKind
    object: str
    keys: tuple[str, ...] = ()
    # Where the asker knows them; else the source finds the record by its key.
    native_ids: tuple[str, ...] = ()
    reason: str = ""
    # APPROVE: of each partition of `writes`, the offset after the last that is meant.
    until: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class SnapshotProgress:
    """How far the reading of one object has come. *total*: the side's own estimate. *left_s*: how long the rest takes, as it seems."""

    object: str
    read: int
    total: int | None
    done: bool
    left_s: float | None = None
    by_bulk: bool = False  # by the side's API for large amounts
    # Of an object without events, which is polled: how old what was reported may be, in seconds. None: it has events.
    polled_s: float | None = None


@dataclass(frozen=True, slots=True)
class WaitingObject:
    """An object that waits, or something that all of them wait for. *since_s*: for how long. *sentence*: why, and what to do."""

    object: str
    since_s: float
    sentence: str


@dataclass(frozen=True, slots=True)
class BudgetState:
    """How what we may use of a side's allowance stands now, in the last 24 hours."""

    name: str  # e.g. api_calls
    allowed: int  # to everybody
    used: int  # by everybody, as the side said last
    ours: int  # by this sync
    left: int  # that this sync may still use
    level: int  # 0: nothing waits; 1 to 3: more and more of what can wait; 4: everything does
    exhausted_in_s: float | None = None  # at the pace of the last hour; None: not in sight


class SourceTask(Protocol):
    """The worker's view of a source: start once, poll until told to stop, stop from any thread."""

    def start(self, positions: Mapping[str, Position], identities: Mapping[str, Mapping[str, str]]) -> None:
        """
        Resume after *positions* (partition -> position; empty on the very first start: snapshot first).

        *identities* is what earlier polls returned: object -> {Salesforce Id: record key}.
        Raises FatalError for what only a person can mend, RetriableError for what heals by itself.
        """

    def poll(self, timeout_s: float) -> SourceBatch:
        """Return what arrived within *timeout_s*; an empty batch is a normal answer."""

    def request(self, signal: Signal) -> None:
        """Take a request; its answer comes in the stream's order, in some later batch."""

    def progress(self) -> Sequence[SnapshotProgress]:
        """How far the snapshots have come; for status and metrics."""

    def stop(self) -> None:
        """Unblock poll() and return at once. Idempotent; called from any thread."""


@dataclass(frozen=True, slots=True)
class SinkRecord:
    """A write with its object and record key."""

    object: str
    key: str
    write: Write

    @property
    def id(self) -> tuple[str, str]:
        """Object and record key."""
        return self.object, self.key


class OutcomeKind(StrEnum):
    APPLIED = "APPLIED"  # the side confirmed it; it comes back through the source as an echo
    SKIPPED = "SKIPPED"  # the side already holds this write or a newer one
    REFUSED = "REFUSED"  # never: it goes to the dead letter queue; `fields` are those at fault, if named
    GONE = "GONE"  # an UPDATE or DELETE of a record that is not there
    EXISTS = "EXISTS"  # a CREATE of one that is there without our marker; a DELETE of another life
    DEFERRED = "DEFERRED"  # `fields` refer to records that are not there yet: `waits_for`
    RETRY_LATER = "RETRY_LATER"  # nothing is wrong with the write: put it again after a backoff


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What became of one write.

    DEFERRED may be partly applied: the fields not named were written where the references may be empty
    (*applied* says so), and only the named ones wait.
    """

    kind: OutcomeKind
    fields: frozenset[str] = frozenset()
    code: str = ""  # the side's own error code, e.g. STRING_TOO_LONG
    reason: str = ""  # one sentence without record values
    native_id: str | None = None  # the record's id on that side, where the side returned it
    # (object, record key) of the missing parents (DEFERRED), or of the record that keeps a unique value (REFUSED).
    waits_for: tuple[tuple[str, str], ...] = ()
    applied: bool = False
    again_s: float | None = None  # put again after so long; DEFERRED: by merge; None: after a backoff
    said: str = field(default="", repr=False)  # REFUSED: its own words; they may quote the record


class Identities(Protocol):
    """Both ways between record keys and Salesforce Ids, for synced objects; kept by the worker."""

    def native_id(self, object: str, key: str) -> str | None:  # noqa: A002
        """The Salesforce Id of a record whose key is not its Id; None where no entry is known."""

    def key(self, object: str, native_id: str) -> str | None:  # noqa: A002
        """The record key of a Salesforce Id, where the record's key is not its Id."""


class SinkTask(Protocol):
    """The worker's view of a sink."""

    def start(self, schemas: Mapping[str, ObjectSchema], identities: Identities, *, clean: bool) -> None:
        """
        Connect and prepare. *schemas*: object -> schema. *clean*: the last instance stopped in good order, so
        that no write can have been carried out without its offset being committed.
        """

    def put(self, records: Sequence[SinkRecord]) -> Sequence[Outcome]:
        """
        Carry out *records* (at most one of each key) and return one outcome for each, in their order.

        Raises RetriableError when the side cannot be reached: nothing is known then of any of them,
        and the worker puts the same ones again.
        """

    def stop(self) -> None:
        """Unblock put() and return at once. Idempotent; called from any thread."""


# What an entry point names: a class, or a function, that makes a task.


class SourceFactory(Protocol):
    """An entry point of the group `salmon.sources`."""

    def __call__(self, settings: Any, objects: Mapping[str, Any], sync_name: str, /) -> SourceTask:
        """
        Make the task; nothing is reached yet.

        Args:
            settings: The side's own section of the configuration, as its model.
            objects: Object -> its settings, as the configuration has them now: an entry is replaced when settings change that may.
            sync_name: Of the sync, for the names of connections and for logs.
        """


class SinkFactory(Protocol):
    """An entry point of the group `salmon.sinks`."""

    def __call__(self, settings: Any, objects: Mapping[str, Any], sync_name: str, /) -> SinkTask:
        """Make the task, as SourceFactory does."""


# What a task may offer beyond that. The worker looks whether it does.


@runtime_checkable
class Connects(Protocol):
    """Can reach its side, and find what only a person can mend, before it is started. It changes nothing: `salmon doctor` asks it, too."""

    def connect(self) -> None: ...


@runtime_checkable
class DescribesObjects(Protocol):
    """A source that describes the objects: what it says is registered for everybody. After connect()."""

    def schemas(self) -> Mapping[str, ObjectSchema]: ...


@runtime_checkable
class KeepsSchemas(Protocol):
    """
    A source that describes the objects, and that goes on with the others while one of them cannot be used. That one waits,
    with the schema that was registered last, until the side has it again as it is needed.
    """

    def use_registered(self, schemas: Mapping[str, ObjectSchema]) -> None:
        """
        Take the schemas that are registered, if this sync has worked before. An object without one has never worked: if it
        cannot be used, connect() raises FatalError. Before connect().
        """

    def keep_registered(self, name: str, why: SetupError) -> ObjectSchema:
        """
        Let an object wait whose new schema the registry refuses. Return the schema that is registered; raise *why* if
        there is none. After connect(), before start().
        """


@runtime_checkable
class ReportsEvents(Protocol):
    """A source that also reports events of its side, each kind to a topic of its own. An event that cannot be read waits alone."""

    def listen(self, events: Sequence[str]) -> None:
        """Report these events. Before connect()."""

    def event_schemas(self) -> Mapping[str, ObjectSchema]:
        """The schemas of those events that can be read, as the side has them now. After connect()."""

    def use_event_schemas(self, schemas: Mapping[str, ObjectSchema], refused: Mapping[str, str]) -> None:
        """Take the schemas as they are registered. *refused*: event -> why the registry refuses it. Before start()."""


@runtime_checkable
class HoldsObjects(Protocol):
    """A source that can leave objects alone for now, as if they were not in the configuration. Without it, it waits as a whole."""

    def hold(self, objects: Collection[str]) -> None:
        """Report nothing of these objects. After connect(), before start(), at most once."""


@runtime_checkable
class ComparesRecords(Protocol):
    """A source that can only find out that a record is gone by comparing what its side has with what is agreed to be there."""

    def use_records(self, keys_of: Callable[[str], Collection[str]]) -> None:
        """
        Take how to ask which records of an object are agreed to exist: it reads them from Kafka, so it may take long, and raise
        RetriableError. May be asked from any thread. Before start().
        """


@runtime_checkable
class UsesSchemas(Protocol):
    """A source that needs the objects' schemas before start()."""

    def use(self, schemas: Mapping[str, ObjectSchema]) -> None: ...


@runtime_checkable
class SizesBatches(Protocol):
    """
    A sink that says how much it wants at once. Other sinks get up to 500 records, one call at a time.

    Attributes:
        batch_max: Number of records in one call of put().
        concurrency: Number of calls of put() at the same time, each with other keys.
    """

    batch_max: int
    concurrency: int


@runtime_checkable
class TakesBacklogs(Protocol):
    """A sink that wants more at once where very many wait."""

    def batch_for(self, ready: Collection[tuple[str, str]]) -> int:
        """How many to give to one call of put(), of so many that wait: each as (object, key). Called from any thread; quick."""


@runtime_checkable
class CatchesUp(Protocol):
    """A sink that wants to know when everything is put that was owed when it started, or last took partitions."""

    def caught_up(self) -> None: ...


@runtime_checkable
class Doubts(Protocol):
    """
    A sink that must know when partitions were taken after its start: their last owner may have carried out writes
    whose offsets were never committed. What is put from then on may be a repetition, until caught_up().
    """

    def doubt(self) -> None: ...


@runtime_checkable
class LooksUp(Protocol):
    """
    A sink that asks what else is owed to its side: the newest write to a record, by its object and key, that is not
    finished, whichever instance is to carry it out; None where nothing is. Where that cannot be said, a deletion is owed:
    it may give any value up. May be asked within put().
    """

    def look_up(self, owed: OwedTo) -> None: ...


@runtime_checkable
class CountsCalls(Protocol):
    """Counts its calls to the side, by resource."""

    def api_calls(self) -> Mapping[str, int]: ...


class SharedBudget(Protocol):
    """
    What the sync may use of an allowance of its side. Its processes tell each other how much each has used. Calls may come from any
    thread.
    """

    name: str

    def states(self) -> Sequence[BudgetState]:
        """How it stands; empty before that is known."""

    def to_store(self) -> Position | None:
        """What this process has used, if that has changed since the last call."""

    def take(self, process: str, used: Position | None) -> None:
        """Take what another process has stored; or, if *process* is empty, this one before it was restarted."""


@runtime_checkable
class HasBudgets(Protocol):
    """May not use all of its side's allowances. After connect()."""

    def budgets(self) -> Sequence[SharedBudget]: ...


@runtime_checkable
class Watched(Protocol):
    """Reports its calls to the side, so that a side that hangs is noticed. Before everything else."""

    def watch(self, calls: Calls) -> Mapping[Peer, Probe]:
        """Report every call from now on; return how each peer can be asked while nothing else asks it."""


@runtime_checkable
class Notes(Protocol):
    """Has something to say to a person, though all is well; empty where it has not. For health."""

    def note(self) -> str: ...


@runtime_checkable
class ReportsWaiting(Protocol):
    """Goes on with the other objects while one waits for a person. For health."""

    def waiting(self) -> Sequence[WaitingObject]: ...


@runtime_checkable
class Closes(Protocol):
    """Holds connections, to be given up when nothing is polled or put any more."""

    def close(self) -> None: ...
