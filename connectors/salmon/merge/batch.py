"""
One batch of merge: changes in, everything that one transaction will say out. Nothing here talks to Kafka.

The states that a batch makes are kept apart from the working copy until the transaction has committed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from salmon.kafka.serdes import Changes, ConflictRecord, Conflicts, Records, Signals, Writes
from salmon.kafka.topics import Topics
from salmon.merge.states import States
from salmon.model.change import Change, Write
from salmon.model.connector import Signal, SignalKind
from salmon.model.fold import Fact, Folded, Published, Report, fold
from salmon.model.policies import Conflict
from salmon.model.rules import Rules
from salmon.model.state import State, new_state


@dataclass(frozen=True)
class ObjectCodecs:
    """What one object's records are made with."""

    rules: Rules
    changes: Changes
    writes: Mapping[str, Writes]  # by side
    records: Records
    states: States


@dataclass(frozen=True, slots=True)
class Output:
    """A record to produce; None as its value is a tombstone."""

    topic: str
    key: str
    value: bytes | None
    partition: int | None = None


@dataclass
class Store:
    """The working copy of one partition's states: bytes as they were read, until a key is first needed."""

    codec: States
    rules: Rules
    raw: dict[str, bytes] = field(default_factory=dict)
    states: dict[str, State] = field(default_factory=dict)

    def get(self, key: str) -> State:
        """The state of *key*; a new one for a key never seen."""
        if (state := self.states.get(key)) is not None:
            return state
        if (data := self.raw.get(key)) is not None:
            return self.codec.decode(data)
        return new_state(self.rules.names)

    def put(self, states: Mapping[str, State]) -> None:
        self.states.update(states)
        for key in states:
            self.raw.pop(key, None)

    def __len__(self) -> int:
        return len(self.states) + len(self.raw)


@dataclass
class Batch:
    """What one transaction will say. `add` one change after the other, in the log's order."""

    topics: Topics
    conflicts_codec: Conflicts
    signals_codec: Signals
    outputs: list[Output] = field(default_factory=list)
    drafts: dict[tuple[str, int], dict[str, State]] = field(default_factory=dict)
    reports: list[tuple[str, Report]] = field(default_factory=list)  # with the object's name
    conflicts: list[tuple[str, Conflict]] = field(default_factory=list)

    def add(
        self, codecs: ObjectCodecs, store: Store, *, key: str, change: Change, partition: int, offset: int
    ) -> None:
        """Fold one change of one record and take in what it gives."""
        name = codecs.rules.schema.name
        drafts = self.drafts.setdefault((name, partition), {})
        correlation = change.source.get("correlation") or f"{name}/{partition}/{offset}"
        folded = fold(
            drafts.get(key) or store.get(key),
            change,
            object=name,
            key=key,
            offset=offset,
            rules=codecs.rules,
            correlation=correlation,
        )
        drafts[key] = folded.state
        self.reports += [(name, report) for report in folded.reports]
        self.conflicts += [(name, conflict) for conflict in folded.conflicts]
        self._publish(codecs, key, folded, partition)
        for side, write in folded.writes.items():
            self._write(codecs, side, key, write, partition)
        for conflict in folded.conflicts:
            record = ConflictRecord(conflict, folded.state.seq, correlation)
            self.outputs.append(Output(self.topics.conflicts, key, self.conflicts_codec.encode(record)))
        for side in folded.to_read:
            self._ask(name, side, key, folded)
        if any(report.fact is Fact.TWIN for report in folded.reports):
            self._part(codecs, key, change)

    def states(self, codecs: Mapping[str, ObjectCodecs]) -> list[Output]:
        """The new states, one for each key however often it was folded."""
        return [
            Output(self.topics.state(name), key, codecs[name].states.encode(state), partition)
            for (name, partition), drafts in self.drafts.items()
            for key, state in drafts.items()
        ]

    def _publish(self, codecs: ObjectCodecs, key: str, folded: Folded, partition: int) -> None:
        topic = self.topics.records(codecs.rules.schema.name)
        if folded.published is Published.ROW:
            self.outputs.append(Output(topic, key, codecs.records.encode(folded.state.canonical), partition))
        elif folded.published is Published.TOMBSTONE:
            self.outputs.append(Output(topic, key, None, partition))

    def _write(self, codecs: ObjectCodecs, side: str, key: str, write: Write | None, partition: int) -> None:
        value = None if write is None else codecs.writes[side].encode(write)
        self.outputs.append(Output(self.topics.writes(side, codecs.rules.schema.name), key, value, partition))

    def _ask(self, name: str, side: str, key: str, folded: Folded) -> None:
        """Have the side's source read the record again."""
        native_id = folded.state.sides[side].native_id
        signal = Signal(
            0,
            SignalKind.READ,
            name,
            keys=(key,),
            native_ids=(native_id,) if native_id else (),
            reason="told only in part",
        )
        self.outputs.append(
            Output(self.topics.signals(f"{side}-source"), key, self.signals_codec.encode(signal), partition=0)
        )

    def _part(self, codecs: ObjectCodecs, key: str, change: Change) -> None:
        """A twin gets its own Id as its key, unless that is the very key it must part from."""
        if change.native_id is not None and change.native_id != key:
            topic = self.topics.changes(codecs.rules.schema.name)
            self.outputs.append(Output(topic, change.native_id, codecs.changes.encode(change)))
