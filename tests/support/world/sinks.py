"""Both sinks: the product's buffer and tasks, over the `writes` log and the World's org and database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, Protocol

from salmon.config.models import ObjectConfig
from salmon.config.sections.capture import CaptureConfig
from salmon.model.change import MONGODB, OWNED_BY_MERGE, SALESFORCE, Change, Op, Write, WriteOp
from salmon.model.schema import ObjectSchema
from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.writing.delivery import carry_out
from salmon.mongodb.writing.places import carry_out_placed
from salmon.plugin.contract import Outcome, OutcomeKind, SinkRecord
from salmon.salesforce.config import ApiBudget
from salmon.salesforce.writing.sink import SalesforceSinkTask
from salmon.sink.buffer import SinkBuffer
from salmon.sink.reporting import QUIET, outcome_change
from salmon.sink.waiting.deferrals import Wait, Waits
from support.world.database import Collection, Database
from support.world.nature import OBJECT, Nature
from support.world.org import Org, OrgCalls
from support.world.views import COLLECTIONS

PLACE = ("writes", 0)
_CLOCK = 30  # so much faster goes the clock of what waits for a lock to end: a schedule is short


class Task(Protocol):
    """What a sink's buffer needs of a task."""

    def begin(self, schema: ObjectSchema, *, clean: bool) -> None: ...
    def caught_up(self) -> None: ...
    def doubt(self) -> None: ...
    def put(self, records: Sequence[SinkRecord]) -> Sequence[Outcome]: ...


class OrgTask(SalesforceSinkTask):
    """The product's task; the org is there already."""

    def __init__(self, org: Org, identities: dict[str, str], *, one_way: bool, polled: bool) -> None:
        config = ObjectConfig(
            collection="things",
            direction="to_salesforce" if one_way else "both",
            capture=CaptureConfig(mode="poll" if polled else "cdc"),
        )
        reached: Any = SimpleNamespace(api_budget=ApiBudget())
        calls: Any = OrgCalls(org)
        super().__init__(reached, {OBJECT: config}, "world", rest=calls)
        self._known = identities

    def connect(self) -> None:
        pass

    def begin(self, schema: ObjectSchema, *, clean: bool) -> None:
        self.start({OBJECT: schema}, self, clean=clean)

    def key(self, _object: str, native_id: str) -> str | None:
        return self._known.get(native_id)

    def native_id(self, _object: str, key: str) -> str | None:
        """What the identity topic says."""
        return next((i for i, k in reversed(self._known.items()) if k == key), None)


@dataclass
class DatabaseTask:
    """The product's bulk writes."""

    database: Database
    shape: DocumentShape | None = None

    def begin(self, schema: ObjectSchema, *, clean: bool) -> None:
        placed = self.database.side == MONGODB and self.database.nature.rules(schema).is_placed
        self.shape = DocumentShape(schema, frozenset({OBJECT}), placed=placed)

    def caught_up(self) -> None:
        pass

    def doubt(self) -> None:
        pass

    def put(self, records: Sequence[SinkRecord]) -> Sequence[Outcome]:
        assert self.shape is not None
        collections: Any = {name: Collection(self.database, name) for name in COLLECTIONS}
        if self.shape.placed:
            is_read = self.database.nature.knobs.one_way_to is None
            return carry_out_placed(collections, self.shape, records, is_read=is_read)
        return carry_out(collections[COLLECTIONS[0]], self.shape, records)


@dataclass
class Sink:
    """One sink: where it stands in its log, and what it has read."""

    nature: Nature
    side: str
    task: Task
    schemas: list[ObjectSchema]  # all that there have been so far
    written_by: list[int]  # of each of `log`, which of them its writer had
    tell: Callable[[str, Change], None]
    ask: Callable[[str, str | None], None]  # a signal to the side's source
    log: list[tuple[str, Write | None]] = field(default_factory=list)
    before_late: Callable[[], None] = lambda: (
        None
    )  # a call of a dead instance is about to be carried out late
    repeated: Callable[[SinkRecord], None] = lambda _: None  # ... and was
    schema_number: int = 0  # which of them is this process's
    committed: int = 0
    late: list[SinkRecord] = field(
        default_factory=list
    )  # calls of a dead instance that are still on their way
    carried_out: int = 0
    deleted: set[str] = field(default_factory=set)  # keys of records that it has ever deleted
    waits: Waits = field(default_factory=Waits)  # in `offsets`, so they outlive an instance

    def __post_init__(self) -> None:
        self.start(clean=True)

    @property
    def schema(self) -> ObjectSchema:
        return self.schemas[self.schema_number]

    def start(self, *, clean: bool) -> None:
        """A new instance, behind what was committed."""
        self._open()
        self.clean = clean
        self.task.begin(self.schema, clean=clean)

    def renew(self) -> None:
        """End in good order, and begin again with the newest schema: what is finished is committed, and whether anything is in doubt is noted."""
        self._commit()
        self.schema_number = len(self.schemas) - 1
        self.start(clean=self.clean and not self.buffer.leaves_gaps())

    def take_over(self) -> None:
        """Another instance, at work for long, goes on behind what was committed."""
        self.task.caught_up()
        self._open()
        self.clean = False
        self.task.doubt()

    def read(self, count: int) -> None:
        """Read on in the log; what a later record of its key has superseded may have been compacted away."""
        for _ in range(min(count, len(self.log) - self.at)):
            if self.written_by[self.at] > self.schema_number:
                self.renew()  # what was written by a newer schema is read by it
                return
            key, write = self.log[self.at]
            compacted = self.nature.chance(0.3) and any(k == key for k, _ in self.log[self.at + 1 :])
            if compacted:
                self.buffer.pass_over(PLACE, self.at)
            else:
                value = None if write is None else str(self.at).encode()
                self.buffer.add(PLACE, self.at, (OBJECT, key), value)
            self.at += 1

    def put(self) -> bool:
        """Carry out some of what is owed; whether there was anything."""
        if self.late and self.nature.chance(0.5):
            self._late()
        self._ask_again()
        if not self.buffer.count:
            if self.at >= self.owed_at_start:
                self.task.caught_up()
                self.clean = True
            return False
        crashes = self.nature.knobs.crashes
        if self.nature.chance(crashes / 2):
            self.start(clean=False)  # killed before it wrote
            return True
        self.buffer.renew(self.buffer.now())
        commands = self.buffer.take(self.nature.random.randint(1, 3)) or []
        records = [self._record(int(command.value)) for command in commands]
        outcomes = self.task.put(records)
        self.carried_out += len(records)
        deleted = [record.key for record in records if record.write.op is WriteOp.DELETE]
        self.nature.history.ended |= {(self.side, key) for key in deleted if key in self.deleted}
        self.deleted.update(deleted)
        if self.nature.chance(crashes):
            # Killed after it wrote and before Kafka knew; a call may even be carried out once more, late.
            # (The target of a one-way object would never tell.)
            one_way = self.nature.knobs.one_way_to is not None
            if self.side == SALESFORCE and not one_way and self.nature.chance(0.3):
                self.late += records
            if self.nature.chance(0.5):
                self.start(clean=False)
            else:
                self.take_over()
            return True
        done, again = [], []
        for command, record, outcome in zip(commands, records, outcomes, strict=True):
            if outcome.kind is OutcomeKind.RETRY_LATER:
                again.append(command)
                continue
            done.append(command)
            self._report(record, outcome)
            if outcome.kind in (OutcomeKind.GONE, OutcomeKind.EXISTS):
                self.ask(record.key, outcome.native_id or record.write.native_id)
        self.buffer.land(done, again)
        self._commit()
        return True

    def finish(self) -> None:
        """Carry out all that is in the log, and let Kafka know, also of what needed no call because it is owed no more."""
        while self.at < len(self.log) or self.buffer.count:
            self.read(len(self.log))
            while self.put():
                pass
        self._commit()

    @property
    def quiet(self) -> bool:
        return self.at == len(self.log) and not self.buffer.count and not self.late and not self.waits

    def _commit(self) -> None:
        self.committed = self.buffer.positions(moved_only=False)[PLACE]

    def _open(self) -> None:
        self.buffer = SinkBuffer(clock=lambda: 0.0)
        self.buffer.open(PLACE, self.committed)
        self.at, self.owed_at_start = self.committed, len(self.log)

    def _record(self, offset: int) -> SinkRecord:
        key, write = self.log[offset]
        assert write is not None
        known = self.schema.by_name.keys() | OWNED_BY_MERGE  # a reader's schema leaves the others out
        fields = {name: value for name, value in write.fields.items() if name in known}
        writers = self.schemas[self.written_by[offset]].by_name.keys() | OWNED_BY_MERGE
        knows = None if known <= writers else frozenset(known & writers)
        if write.knows is not None:
            knows = write.knows if knows is None else write.knows & knows
        return SinkRecord(OBJECT, key, replace(write, fields=fields, knows=knows))

    def _report(self, record: SinkRecord, outcome: Outcome) -> None:
        """As the product's OutcomeEncoder does."""
        if outcome.kind is OutcomeKind.DEFERRED:
            self.waits.put(self.waits.deferred(record, outcome, 0, self._now_ms))
        if outcome.kind not in QUIET:
            self.tell(record.key, outcome_change(self.side, record, outcome))
        if outcome.kind is not OutcomeKind.DEFERRED and (wait := self.waits.timed(record)) is not None:
            self.waits.drop(wait.id)
            if not wait.asked:
                self._send_again(wait)

    def _ask_again(self) -> None:
        """Merge shall send again what was locked; what it does not answer is over."""
        for wait in self.waits.due(self._now_ms):
            self.waits.drop(wait.id)
            if not wait.asked:
                self.waits.put(wait.after_asking(self._now_ms))
                self._send_again(wait)

    def _send_again(self, wait: Wait) -> None:
        self.tell(wait.key, Change(self.side, Op.RETRY, ack=wait.seq, changed=wait.fields or None))

    @property
    def _now_ms(self) -> int:
        return self.nature.time.ms * _CLOCK

    def _late(self) -> None:
        """
        The org carries out an update that a dead instance had sent, after its successor has gone on.

        If the record still carries that very marker, or if a row overtakes the event that tells of it, nobody could tell
        the repetition from a user's edit: that is left out here, and told in the design's list of limits.
        """
        record = self.late.pop(0)
        self.before_late()
        task: Any = self.task
        org: Org = task._rest.org
        found = org.by_key(record.key)
        if found is not None and record.write.op.value == "UPDATE" and found.seq != record.write.seq:
            body = {"Id": record.write.native_id, "Salmon_Seq__c": record.write.seq, **record.write.fields}
            self.nature.history.beaten_late.update(found.fields.get(name) for name in record.write.fields)
            org.update([body])
            self.repeated(record)
