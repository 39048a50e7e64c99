"""
One batch of merge: changes in, all records of one transaction out. Nothing here talks to Kafka.

The new states of a batch are kept apart from the working copy until the transaction has committed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from salmon.errors import DataError, RecordTooLarge
from salmon.kafka.codecs.serdes import Changes, ConflictRecord, Conflicts, Records, Signals, Writes
from salmon.kafka.output import Output
from salmon.kafka.topics import Topics
from salmon.merge.states import States
from salmon.merge.store import Store
from salmon.model import sides
from salmon.model.change import OWNED_BY_MERGE, Change, Write, WriteOp
from salmon.model.fold import Fact, Folded, Published, Report, fold
from salmon.model.policies import Conflict
from salmon.model.reducing import without_largest, without_values
from salmon.model.rules import Rules
from salmon.model.state import SideState, State
from salmon.model.steps.first_load import fold_first_row
from salmon.plugin.contract import Signal, SignalKind

_KEYS_A_SIGNAL: Final = 500
_NAMED: Final = frozenset({Fact.PARKED, Fact.OSCILLATING, Fact.MISFIT, Fact.RESTORED})
MISFIT: Final = "misfit"  # a reason in addition to those of salmon.model.state.Park


@dataclass(frozen=True)
class ObjectCodecs:
    """The rules of an object, and the codecs of its topics."""

    rules: Rules
    changes: Changes
    writes: Mapping[str, Writes]  # by side
    records: Records
    states: States


@dataclass
class Batch:
    """The records of one transaction. Call add() for one change after the other, in the log's order."""

    topics: Topics
    conflicts_codec: Conflicts
    signals_codec: Signals
    outputs: list[Output] = field(default_factory=list)
    drafts: dict[tuple[str, int], dict[str, State]] = field(default_factory=dict)
    # By object and key: the newest state of each, however often it was folded.
    states: dict[tuple[str, str], Output] = field(default_factory=dict)
    # (side, object) -> the records that the side has to read again: key -> the side's Id, if it is known.
    to_read: dict[tuple[str, str], dict[str, str | None]] = field(default_factory=dict)
    reports: list[tuple[str, Report]] = field(default_factory=list)  # with the object's name
    # Reports whose records the log names, with the object's name and the key: fields that are parked now, or given back to a side.
    named: list[tuple[str, str, Report]] = field(default_factory=list)
    conflicts: list[tuple[str, Conflict]] = field(default_factory=list)  # with the object's name
    # (object, side, reason, is parked now) -> number of fields that were parked, or that wait no longer.
    parkings: Counter[tuple[str, str, str, bool]] = field(default_factory=Counter)

    def add(
        self,
        codecs: ObjectCodecs,
        store: Store,
        *,
        key: str,
        value: bytes,
        partition: int,
        offset: int,
        at: int = 0,
    ) -> None:
        """
        Fold one change of one record, and add all that follows from it. If anything fails, nothing is added.

        Args:
            value: The change as Avro, from the log.
            partition, offset: Where it is in the log.
            at: The timestamp of its record in the log, in ms since 1970; 0 if it has none.

        Raises:
            DataError: it is not a valid change, or its result cannot be encoded.
            Unavailable: the registry does not answer.
        """
        name, rules = codecs.rules.schema.name, codecs.rules
        change, reported = codecs.changes.decode_with_row(value)
        known = self.drafts.get((name, partition), {}).get(key) or store.get(key)
        is_new = known.seq == 0
        correlation = change.source.get("correlation") or f"{name}/{partition}/{offset}"
        folded = is_new and fold_first_row(change, offset=offset, rules=rules, correlation=correlation)
        folded = folded or fold(
            known, change, object=name, key=key, offset=offset, rules=rules, correlation=correlation, at=at
        )
        # The row is encoded once for all records that contain it. For a new record that was agreed as reported, the bytes
        # of the change are used.
        canonical = folded.state.canonical
        row = (
            reported
            if reported is not None and is_new and canonical == change.fields
            else codecs.records.body(canonical)
        )
        outputs = [
            *self._outputs_of(codecs, key, change, folded, row, partition=partition, correlation=correlation)
        ]
        state = Output(
            self.topics.state(name), key, codecs.states.encode(folded.state, row), partition=partition
        )
        self.drafts.setdefault((name, partition), {})[key] = folded.state
        self.states[name, key] = state
        self.outputs += outputs
        for side in sorted(folded.to_read):
            self.to_read.setdefault((side, name), {})[key] = folded.state.sides[side].native_id
        self.reports += [(name, report) for report in folded.reports]
        self.named += [(name, key, report) for report in folded.reports if report.fact in _NAMED]
        self.conflicts += [(name, conflict) for conflict in folded.conflicts]
        self._count_parked(name, known, folded.state)

    def requests(self) -> Iterator[Output]:
        """Build the signals that ask a side to read records again of which it has reported only a part."""
        for (side, name), records in self.to_read.items():
            # A signal contains the Ids of all its records, or of none.
            for known in (True, False):
                keys = [key for key, native_id in records.items() if (native_id is not None) is known]
                for start in range(0, len(keys), _KEYS_A_SIGNAL):
                    yield self._request(side, name, keys[start : start + _KEYS_A_SIGNAL])

    def _request(self, side: str, name: str, keys: Sequence[str]) -> Output:
        known = self.to_read[side, name]
        native_ids = tuple(native_id for key in keys if (native_id := known[key]) is not None)
        reason = "only a part of its fields is known"
        signal = Signal(0, SignalKind.READ, name, keys=tuple(keys), native_ids=native_ids, reason=reason)
        topic = self.topics.signals(sides.named(side).source)
        return Output(topic, keys[0], self.signals_codec.encode(signal), partition=0)

    def _count_parked(self, name: str, before: State, after: State) -> None:
        for side, later in after.sides.items():
            earlier = before.sides[side]
            if earlier.parked == later.parked and earlier.misfits.keys() == later.misfits.keys():
                continue
            was, now = _waiting(earlier), _waiting(later)
            for _, why in was - now:
                self.parkings[name, side, why, False] += 1
            for _, why in now - was:
                self.parkings[name, side, why, True] += 1

    def _outputs_of(
        self,
        codecs: ObjectCodecs,
        key: str,
        change: Change,
        folded: Folded,
        row: bytes,
        *,
        partition: int,
        correlation: str,
    ) -> Iterator[Output]:
        """Build the records that follow from one fold, except for the state."""
        name = codecs.rules.schema.name
        records = self.topics.records(name)
        if folded.published is Published.ROW:
            yield Output(records, key, codecs.records.with_head(row), partition=partition)
        elif folded.published is Published.TOMBSTONE:
            yield Output(records, key, None, partition=partition)
        for side, write in folded.writes.items():
            yield Output(
                self.topics.writes(side, name),
                key,
                _written(codecs, side, write, folded, row),
                partition=partition,
            )
        for conflict in folded.conflicts:
            record = ConflictRecord(conflict, folded.state.seq, correlation)
            yield Output(self.topics.conflicts, key, self.conflicts_codec.encode(record))
        twin = any(report.fact is Fact.TWIN for report in folded.reports)
        # A twin gets its own Id as its key, unless that is the key that the two share.
        if twin and change.native_id is not None and change.native_id != key:
            yield Output(self.topics.changes(name), change.native_id, codecs.changes.encode(change))


def _waiting(side: SideState) -> set[tuple[str, str]]:
    """Return (field, reason) of the fields that wait on a side."""
    parked = {(name, parked.why.value.lower()) for name, parked in side.parked.items()}
    return parked | {(name, MISFIT) for name in side.misfits}


def _written(
    codecs: ObjectCodecs, side: str, write: Write | None, folded: Folded, row: bytes
) -> bytes | None:
    """Encode a write. Most creations contain the whole row, which is available as bytes."""
    if write is None:
        return None
    fields = {name: value for name, value in write.fields.items() if name not in OWNED_BY_MERGE}
    is_whole = write.op is WriteOp.CREATE and fields == folded.state.canonical
    return codecs.writes[side].encode(write, row if is_whole else None)


def reductions(codecs: ObjectCodecs, value: bytes, error: DataError) -> Iterator[Change]:
    """Yield the change with more and more of its values left out; nothing if the bytes are not a change."""
    reduce = without_largest if isinstance(error, RecordTooLarge) else without_values
    try:
        change = codecs.changes.decode(value)
    except DataError:
        return
    while (less := reduce(change, codecs.rules.schema)) is not None:
        change = less
        yield change
