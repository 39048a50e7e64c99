"""Merge: the product's fold over one log, its states in a compacted topic, its writes in the sinks' logs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from salmon.model.change import OPERATOR, SALESFORCE, Change, Op, Value, Write, WriteOp
from salmon.model.fold import Fact, Folded, Published, fold
from salmon.model.policies import EXISTENCE, Conflict
from salmon.model.rules import Rules
from salmon.model.schema import ObjectSchema
from salmon.model.state import NEVER, Park, State, new_state
from support.world.codecs import codecs_of
from support.world.nature import OBJECT
from support.world.org import FOLLOWS
from support.world.views import Gate

Writes = list[tuple[str, Write | None]]


@dataclass(frozen=True)
class LateCall:
    """An old call of a dead sink, which the org has carried out after its successor has gone on."""

    seq: int
    names: frozenset[str]  # that it set, and that the newer writes set which its marker hides
    commit_time: int


@dataclass
class Merge:
    """One partition of merge, folding each change as it comes."""

    rules: Rules
    ask: Callable[[str, str], None]  # side, key: its source shall read the record
    writes: dict[str, Writes] = field(default_factory=dict)
    # Of each of `writes`, which of `schemas` its writer had; and all that there have been.
    written_by: dict[str, list[int]] = field(default_factory=dict)
    schemas: list[ObjectSchema] = field(default_factory=list)
    log: list[tuple[str, Change, Rules]] = field(default_factory=list)
    states: dict[str, State] = field(default_factory=dict)
    published: dict[str, dict[str, Value] | None] = field(default_factory=dict)
    conflicts: list[Conflict] = field(default_factory=list)
    facts: Counter[str] = field(default_factory=Counter)
    # Told of records that their side had not told of as a whole, or of events that a row had overtaken: what the author
    # of such an edit saw, nobody can know for sure. Nor what is read of a record over which an old call of a dead sink
    # was carried out once more: by its marker, all that differs was edited since.
    guesses: list[Conflict] = field(default_factory=list)
    # Told by a row that may show what any of several creations of ours has made. An example: one with a Phone of 1 is on its
    # way, and then one without a Phone. The row shows the marker of the second, and a Phone of 2. Either the second made the
    # record, and the org filled that in, or the first one did, and somebody has set it since. Where neither has a Phone, the
    # same: somebody may have set the 2 between the two, and its event will be old news.
    of_unknown_makers: list[Conflict] = field(default_factory=list)
    # First told by a row of a record that a creation of ours has made, and that somebody has modified since; or in a record brought back.
    perhaps_edited: set[Value] = field(default_factory=set)
    said_twice: list[str] = field(default_factory=list)  # writes that were on their way already
    # Conflicts of which one half is nobody's edit, and lives that nobody has begun.
    of_nobody: list[str] = field(default_factory=list)
    consequences: set[tuple[str, int]] = field(
        default_factory=set
    )  # key, and seq that such a change was given
    refusals: set[tuple[str, int]] = field(default_factory=set)  # key, and seq that such an outcome was given
    let_go: list[str] = field(default_factory=list)  # held fields that nobody has decided on
    given_up: list[str] = field(
        default_factory=list
    )  # what was agreed, and a side's older values have changed
    late_calls: dict[str, list[LateCall]] = field(default_factory=lambda: defaultdict(list))  # of each key
    # What was in the fields of such a call where a row has overtaken the call's event: by the row's marker, the call was
    # never repeated, no newer write was ever carried out, and all that differs was edited.
    hidden_by_late_calls: set[Value] = field(default_factory=set)
    # The events of calls that the org has carried out once more since it was refreshed, of the record that a row shows.
    carried_out_again: Callable[[Change], Iterator[Change]] = lambda _: iter(())
    once_agreed: set[Value] = field(default_factory=set)
    overtaken: set[Value] = field(default_factory=set)  # what events told that rows had overtaken
    heard: set[tuple[str, Value]] = field(default_factory=set)  # side, and what events told before any row
    not_folded: set[Value] = field(default_factory=set)  # what events told that only a row can say
    acks_overtaken: set[tuple[str, int]] = field(default_factory=set)  # key, and seq that these answered
    known: set[Value] = field(default_factory=set)  # all that it was ever told
    misfits: set[tuple[str, str]] = field(default_factory=set)  # key and field of what could not be
    began_anew: Callable[[], None] = lambda: (
        None
    )  # a side tells of a record for the first time since it went back
    now: Callable[[], int] = lambda: 0  # ms: the timestamp that the log gives a record; 0 for none
    times: list[int] = field(default_factory=list)  # of the records of `log`
    gate: Gate = field(default_factory=Gate)
    _newest: dict[tuple[str, str], tuple[object, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.schemas.append(self.rules.schema)
        for side in self.rules.sides:
            self.writes[side], self.written_by[side] = [], []

    def tell(self, key: str, change: Change) -> None:
        """A change arrives in the log, and is folded."""
        if change.is_row or change.is_outcome or change.ack is not None or change.op is Op.DELETE:
            self._newest.pop((change.origin, key), None)
        if not change.is_outcome and change.origin != OPERATOR:
            state = self.states.get(key)
            if change.history != (state.sides[change.origin].history if state else ""):
                self.began_anew()
            self.perhaps_edited.update(self._perhaps_edited(key, change))
            untaken = self._not_taken(key, change)
            self.known.update(value for name, value in change.fields.items() if name not in untaken)
            self.misfits.update((key, name) for name in change.misfits)
        was_known = self._was_known(key, change)
        out = self._fold(key, change)
        repeated = any(report.fact is Fact.REPEATED for report in out.reports)
        elsewhere = any(report.fact is Fact.ELSEWHERE for report in out.reports)
        shown_late = change.is_row and any(change.ack == call.seq for call in self.late_calls[key])
        if not was_known or repeated or shown_late:
            self.guesses += out.conflicts
        self.guesses += self._after_what_was_left_out(key, change, out)
        self.of_unknown_makers += self._of_unknown_makers(key, change, out)
        self.guesses += self._of_what_a_guess_holds(key, change, out)
        self.guesses += self._of_lost_echoes(key, change, out)
        if elsewhere:
            self.not_folded.update(change.fields.values())
        if repeated:
            self.overtaken.update(change.fields.values())
            self.acks_overtaken.add((key, change.ack or 0))
        elif change.is_event and change.ack is None and change.origin != OPERATOR and not elsewhere:
            known = {} if key not in self.states else self.states[key].sides[change.origin].shadow
            self.heard.update((change.origin, v) for n, v in change.fields.items() if v != known.get(n))
        self.hidden_by_late_calls.update(self._hidden_by_late_calls(key, change, out))
        unmarked = self._shown_without_its_marker(key, change)
        self.hidden_by_late_calls |= unmarked
        self.guesses += [c for c in out.conflicts if c.contest.challenger.value in unmarked]
        self.of_nobody += [
            *self._of_consequences(key, change, out),
            *self._of_rows_without_news(key, change, out),
        ]
        if change.op is Op.REFUSED:
            self.refusals.add((key, out.state.seq))
        if change.origin != OPERATOR:
            self.let_go += _let_go(key, self.states.get(key), out.state, self.rules)
        self.given_up += self._given_up(key, change, out)
        self.gate.watch(key, self.states.get(key), out, self.rules)
        self.states[key] = out.state
        for side, write in out.writes.items():
            self._write(side, key, write)
        self.conflicts += out.conflicts
        self.facts.update(report.fact for report in out.reports)
        for side in out.to_read:
            self.ask(side, key)
        if out.published is Published.ROW:
            self.published[key] = dict(out.state.canonical)
            self.once_agreed.update(out.state.canonical.values())
        elif out.published is Published.TOMBSTONE:
            self.published[key] = None
        twin = any(report.fact is Fact.TWIN for report in out.reports)
        if twin and change.native_id is not None and change.native_id != key:
            self.tell(change.native_id, change)

    def called_late(self, key: str, event: Change) -> None:
        """*event*: of a call that a dead sink had sent, and that the org has carried out after newer ones."""
        assert event.ack is not None
        hidden = (
            write for k, write in self.writes[SALESFORCE] if k == key and write and write.seq >= event.ack
        )
        names = frozenset(name for write in hidden for name in write.fields)
        self.late_calls[key].append(LateCall(event.ack, names, event.commit_time))

    def restart(self) -> None:
        """Go on with what the topic holds, as a new instance does."""
        codec = codecs_of(self.rules).states
        for key, state in self.states.items():
            again = codec.decode(codec.encode(state))
            assert again == state, f"{key}: the topic holds another state"
            self.states[key] = again

    def change_rules(self, rules: Rules) -> None:
        """Go on with other fields than the states were written with."""
        before, after = codecs_of(self.rules).states, codecs_of(rules).states
        self.rules = rules
        self.schemas.append(rules.schema)
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

    def _not_taken(self, key: str, change: Change) -> frozenset[str]:
        """
        Fields of an old event of which their side has told nothing yet. Its source did not know them when it told the event, nor
        what came after, so they may have been changed since: only a row says what is there. Where no events come, what an old row
        shows is told by nothing else.
        """
        if (state := self.states.get(key)) is None:
            return frozenset()
        x = state.sides[change.origin]
        if change.is_row and change.origin in self.rules.eventless:
            old = change.as_of is not None and change.as_of < x.as_of
            return self.rules.names[change.origin] - x.unknown if old else frozenset()
        if not change.is_event:
            return frozenset()
        old = change.order <= x.order or change.commit_time <= x.as_of
        return x.unknown if old and change.history == x.history else frozenset()

    def _of_lost_echoes(self, key: str, change: Change, out: Folded) -> Iterator[Conflict]:
        """
        Conflicts with an edit that set what a write of ours had set, where the event of that write never came: nobody can tell it
        from a document that was saved with our value in it.
        """
        if (state := self.states.get(key)) is None or not change.is_event or change.ack is None:
            return
        x = state.sides[change.origin]
        restated = {
            known.name: known.edit
            for known in x.overwritten
            if known.seq != change.ack and known.edited and known.edit == x.shadow.get(known.name)
        }
        for conflict in out.conflicts:
            field, challenger = conflict.contest.field, conflict.contest.challenger
            if field in restated and challenger.value == restated[field]:
                yield conflict

    def _after_what_was_left_out(self, key: str, change: Change, out: Folded) -> Iterator[Conflict]:
        """
        Of held fields, of which a row does not say whether what was on its way to them was carried out before. The same goes
        for fields that the write which the row answers left out: they held what cannot be taken, or waited for a record that
        was locked. An example: a Name of 1 is on its way, then the record is locked for a newer write, and the next one says
        the Phone alone. The row shows its marker, and a Name of 2: was that set before the 1 was there, or in its place?
        """
        if (state := self.states.get(key)) is None or not change.is_row:
            return
        side = state.sides[change.origin]
        sent = {n for s, each in side.sent.items() if s <= (change.ack or 0) for n in each.fields}
        answered = side.sent.get(change.ack or 0)
        left_out = sent - (answered.fields.keys() if answered else set())
        for conflict in out.conflicts:
            name = conflict.contest.field
            if name in left_out or (name in sent and side.holds(name)):
                yield conflict

    def _perhaps_edited(self, key: str, change: Change) -> Iterator[Value]:
        """
        What a row shows for the first time: of what our creation did not name, it does not say who has set it. That our user was
        the last to modify the record says so where there was one creation: between two, somebody may have edited what the first
        has made, and the event that tells which one it was comes after an edit on the other side was judged. And all that is in a record
        which somebody has brought back: that is what they want.
        """
        state = self.states.get(key)
        if change.op is Op.CREATE and change.ack is None:
            yield from change.fields.values()
        if state is None or not change.is_row:
            return
        sent = state.sides[change.origin].sent
        creations = [s for s, w in sent.items() if w.op is WriteOp.CREATE and s <= (change.ack or 0)]
        if len(creations) > (1 if change.by_us else 0):
            yield from (value for value in change.fields.values() if value not in self.known)

    def _of_unknown_makers(self, key: str, change: Change, out: Folded) -> Iterator[Conflict]:
        """Of fields that the creation does not name that a row answers, where an earlier one is on its way too."""
        state = self.states.get(key)
        if state is None or not change.is_row:
            return
        sent = state.sides[change.origin].sent
        creations = {s: w for s, w in sent.items() if w.op is WriteOp.CREATE and s <= (change.ack or 0)}
        answered = creations.pop(change.ack or 0, None)
        if answered is not None and creations:
            yield from (c for c in out.conflicts if c.contest.field not in answered.fields)

    def _of_consequences(self, key: str, change: Change, out: Folded) -> Iterator[str]:
        """Conflicts, and a new life, because of what the org did by itself as it carried out a write of ours."""
        if FOLLOWS in change.source:
            self.consequences.add((key, out.state.seq))
            before = self.states.get(key)
            if before is not None and out.state.lives > before.lives:
                yield f"{key} lives again"
        for conflict in out.conflicts:
            halves = conflict.contest.standing.seq, conflict.contest.challenger.seq
            if any((key, seq) in self.consequences for seq in halves):
                yield f"{key}.{conflict.contest.field} is in conflict"

    def _given_up(self, key: str, change: Change, out: Folded) -> Iterator[str]:
        """What is agreed no longer, or in conflict, because of the first row of a side whose history went back."""
        state = self.states.get(key)
        if state is None or not change.is_row or change.history == state.sides[change.origin].history:
            return
        x = state.sides[change.origin]
        if x.exists is None or (not state.lives and state.life is NEVER):
            return  # nothing was agreed with that side
        if out.state.lives != state.lives:
            yield f"{key}: lives {state.lives}, and then {out.state.lives}"
        yield from (f"{key}.{conflict.contest.field} is in conflict" for conflict in out.conflicts)
        told = self.rules.schema.of_org.by_name.keys() - x.unknown
        for name in sorted(told - self.rules.only_of(change.origin)):
            if out.state.canonical.get(name) != state.canonical.get(name):
                yield f"{key}.{name}"

    def _of_rows_without_news(self, key: str, change: Change, out: Folded) -> Iterator[str]:
        """Contests of a deletion by a row that shows what its side had told, and fields of which it had told nothing."""
        state = self.states.get(key)
        contests = [c for c in out.conflicts if c.contest.field == EXISTENCE and c.contest.challenger.value]
        if not (contests and change.is_row and state is not None and state.sides[change.origin].exists):
            return
        x = state.sides[change.origin]
        if all(change.fields.get(n) == x.shadow.get(n) for n in self.rules.schema.by_name.keys() - x.unknown):
            yield f"{key}: a row without news is in conflict"

    def _of_what_a_guess_holds(self, key: str, change: Change, out: Folded) -> Iterator[Conflict]:
        """Of fields that are on hold because of a guess: each further edit there is told as the same conflict."""
        state = self.states.get(key)
        if not out.conflicts or state is None or change.origin == OPERATOR:
            return
        guessed = {c.contest.field for c in self.guesses if c.contest.key == key and c.winner is None}
        side = state.sides[change.origin]
        yield from (c for c in out.conflicts if c.contest.field in guessed and side.holds(c.contest.field))

    def _hidden_by_late_calls(self, key: str, change: Change, out: Folded) -> Iterator[Value]:
        """What a late call's fields were and are, by a row that has overtaken its event, or an event that such a row has."""
        state = self.states.get(key)
        if state is None or change.origin != SALESFORCE:
            return
        x = state.sides[SALESFORCE]
        is_overtaken = change.is_event and change.order > x.order and change.commit_time <= x.as_of
        for call in self.late_calls[key]:
            if change.is_row and change.ack == call.seq and x.commit_time < call.commit_time:
                for values in (state.canonical, out.state.canonical):
                    yield from (values[name] for name in call.names & values.keys())
            elif is_overtaken and (x.marker == call.seq or call.commit_time <= x.as_of):
                yield from (change.fields[name] for name in call.names & change.fields.keys())

    def _shown_without_its_marker(self, key: str, change: Change) -> set[Value]:
        """
        What a row shows anew of a call that the org has carried out once more since it was refreshed, where the row has overtaken
        the call's event and shows the marker of a newer one. With the markers of before, the sink's guard has gone. By the row,
        nobody can tell what the repetition has set from a user's edit; the README says so, of a side that was restored.
        """
        state = self.states.get(key)
        if state is None or not change.is_row or change.origin != SALESFORCE:
            return set()
        since, until, shown = state.sides[SALESFORCE].commit_time, change.as_of or 0, change.ack or 0
        return {
            value
            for event in self.carried_out_again(change)
            if since < event.commit_time <= until and (event.ack or 0) < shown
            for name, value in change.fields.items()
            if name in (event.changed or ()) and event.fields.get(name) == value != state.canonical.get(name)
        }

    def _fold(self, key: str, change: Change) -> Folded:
        offset = len(self.log)
        self.log.append((key, change, self.rules))
        self.times.append(self.now())
        state = self.states.get(key) or new_state(self.rules.names)
        at = self.times[offset]
        return fold(state, change, object=OBJECT, key=key, offset=offset, rules=self.rules, at=at)

    def _write(self, side: str, key: str, write: Write | None) -> None:
        self.writes[side].append((key, write))
        self.written_by[side].append(len(self.schemas) - 1)
        if write is None:
            self._newest.pop((side, key), None)
            return
        says = (write.op, dict(write.fields))
        if self._newest.get((side, key)) == says and self.rules.one_way_to is None:
            self.said_twice.append(
                f"{key} {side}: {write.op} of {sorted(write.fields)} is on its way already"
            )
        self._newest[side, key] = says


def _let_go(key: str, before: State | None, after: State, rules: Rules) -> Iterator[str]:
    """
    Fields that are no longer held although both sides have the record, and not the same value; or we have taken the record off the
    side, and nobody has decided anything by that. As a mask begins, nothing is left to decide about its field, and whatever is
    folded next ends that, be it an event of the side itself. With its history, a side loses what was on hold in that.
    """
    if before is None or not (before.lives and after.lives):
        return
    for name, side in after.sides.items():
        was = before.sides[name]
        for field_name, parked in was.parked.items():
            if parked.why is not Park.HELD or side.holds(field_name) or field_name in rules.masked(name):
                continue
            is_gone = was.exists is True and side.exists is False and was.history == side.history
            is_taken_away = is_gone and was.awaits(WriteOp.DELETE)
            differs = side.shadow.get(field_name) != after.canonical.get(field_name)
            if is_taken_away or (side.exists and differs):
                yield f"{key} {name}: {field_name}"


__all__ = ["Merge", "WriteOp"]
