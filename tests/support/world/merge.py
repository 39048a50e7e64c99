"""Merge: the product's fold over one log, its states in a compacted topic, its writes in the sinks' logs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from salmon.kafka.registry import Registry
from salmon.merge.states import States
from salmon.model.change import SIDES, Change, Op, Value, Write, WriteOp
from salmon.model.fold import Fact, Folded, Published, fold
from salmon.model.policies import Conflict
from salmon.model.rules import Rules
from salmon.model.state import State, new_state
from support.registries import MemoryRegistry
from support.world.nature import OBJECT

Writes = list[tuple[str, Write | None]]
_TOPIC = "world.state.Account"


@dataclass
class Merge:
    """One partition of merge, folding each change as it comes."""

    rules: Rules
    ask: Callable[[str, str], None]  # side, key: its source shall read the record
    writes: dict[str, Writes] = field(default_factory=lambda: {side: [] for side in SIDES})
    log: list[tuple[str, Change, Rules]] = field(default_factory=list)
    states: dict[str, State] = field(default_factory=dict)
    published: dict[str, dict[str, Value] | None] = field(default_factory=dict)
    conflicts: list[Conflict] = field(default_factory=list)
    facts: Counter[str] = field(default_factory=Counter)
    # Told of records that their side had not told of as a whole, or of events that a row had overtaken: what the author
    # of such an edit saw, nobody can know for sure.
    guesses: list[Conflict] = field(default_factory=list)
    said_twice: list[str] = field(default_factory=list)  # writes that were on their way already
    registry: Registry = field(default_factory=MemoryRegistry)
    now: Callable[[], int] = lambda: 0  # ms: the timestamp that the log gives a record; 0 for none
    times: list[int] = field(default_factory=list)  # of the records of `log`
    _newest: dict[tuple[str, str], tuple[object, ...]] = field(default_factory=dict)

    def tell(self, key: str, change: Change) -> None:
        """A change arrives in the log, and is folded."""
        if change.is_row or change.is_outcome or change.ack is not None or change.op is Op.DELETE:
            self._newest.pop((change.origin, key), None)
        was_known = self._was_known(key, change)
        out = self._fold(key, change)
        if not was_known or any(report.fact is Fact.REPEATED for report in out.reports):
            self.guesses += out.conflicts
        self.states[key] = out.state
        for side, write in out.writes.items():
            self._write(side, key, write)
        self.conflicts += out.conflicts
        self.facts.update(report.fact for report in out.reports)
        for side in out.to_read:
            self.ask(side, key)
        if out.published is Published.ROW:
            self.published[key] = dict(out.state.canonical)
        elif out.published is Published.TOMBSTONE:
            self.published[key] = None
        twin = any(report.fact is Fact.TWIN for report in out.reports)
        if twin and change.native_id is not None and change.native_id != key:
            self.tell(change.native_id, change)

    def restart(self) -> None:
        """Go on with what the topic holds, as a new instance does."""
        codec = States(self.rules, self.registry, _TOPIC)
        for key, state in self.states.items():
            again = codec.decode(codec.encode(state))
            assert again == state, f"{key}: the topic holds another state"
            self.states[key] = again

    def grow(self, rules: Rules) -> None:
        """Go on with more fields than the states were written with."""
        before, after = States(self.rules, self.registry, _TOPIC), States(rules, self.registry, _TOPIC)
        self.rules = rules
        self.states = {key: after.decode(before.encode(state)) for key, state in self.states.items()}

    def replayed(self) -> dict[str, State]:
        """The same log again, from nothing."""
        states: dict[str, State] = {}
        for offset, (key, change, rules) in enumerate(self.log):
            state = states.get(key) or new_state(rules.names)
            at = self.times[offset]
            states[key] = fold(state, change, object=OBJECT, key=key, offset=offset, rules=rules, at=at).state
        return states

    @property
    def written(self) -> int:
        """Writes emitted so far, tombstones aside."""
        return sum(write is not None for log in self.writes.values() for _, write in log)

    def _was_known(self, key: str, change: Change) -> bool:
        state = self.states.get(key)
        side = state.sides.get(change.origin) if state else None
        return side is not None and side.exists is not None and not side.unknown

    def _fold(self, key: str, change: Change) -> Folded:
        offset = len(self.log)
        self.log.append((key, change, self.rules))
        self.times.append(self.now())
        state = self.states.get(key) or new_state(self.rules.names)
        at = self.times[offset]
        return fold(state, change, object=OBJECT, key=key, offset=offset, rules=self.rules, at=at)

    def _write(self, side: str, key: str, write: Write | None) -> None:
        self.writes[side].append((key, write))
        if write is None:
            self._newest.pop((side, key), None)
            return
        says = (write.op, dict(write.fields))
        if self._newest.get((side, key)) == says and self.rules.one_way_to is None:
            self.said_twice.append(
                f"{key} {side}: {write.op} of {sorted(write.fields)} is on its way already"
            )
        self._newest[side, key] = says


__all__ = ["Merge", "WriteOp"]
