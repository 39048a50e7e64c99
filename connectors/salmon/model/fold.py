"""
The fold: one change of one record in; the new state, the writes owed, the conflicts and the record out.

This is all the judgement there is in Salmon: what is an echo, who wins, what is still owed to which side. It is
pure, so the same log gives the same state however it is cut into batches or restarts. A change is folded in up
to seven steps, told below in their order:

1. old news      a repetition, or what a row has told already: it only settles its ack
2. acks          which of our writes it answers: those values are our own, coming back
3. silence       what our write set and the answer does not mention: the side kept its own value
4. values        field by field: agreed, echo, known, first contact, or news that is causal or concurrent
5. life, death   the same for the record as a whole
6. outcomes      what a sink tells of a write that did not simply succeed
7. owed          what each side lacks now (salmon.model.owed)

An edit is causal if its side had seen the canonical value when it made the edit; no clock plays a part in that.
So an edit made after seeing a value is never beaten by that value, however wrong the clocks are. Only two edits
that did not know of each other are a conflict, and only there is a policy asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Final

from salmon.model.change import OPERATOR, OWNED_BY_MERGE, SALESFORCE, Change, Op, Value, Write, WriteOp
from salmon.model.owed import emit, is_whole
from salmon.model.policies import EXISTENCE, Conflict, Contest, Edit, Policy
from salmon.model.rules import Rules
from salmon.model.state import NEVER, Park, Parked, Sent, SideState, State, Version


class Fact(StrEnum):
    """What a fold has to report besides its output: for metrics, logs and a record's story."""

    ACKNOWLEDGED = "ACKNOWLEDGED"  # a write of ours came back
    CREATED = "CREATED"
    EDITED = "EDITED"  # an edit became canonical
    DELETED = "DELETED"
    FIRST_CONTACT = "FIRST_CONTACT"  # both sides had a value: `initial` decided
    OVERRULED = "OVERRULED"  # an edit of a field that its side may not set
    TWIN = "TWIN"  # a second record of the same key: not folded
    PARKED = "PARKED"
    REPEATED = "REPEATED"  # old news


@dataclass(frozen=True, slots=True)
class Report:
    fact: Fact
    side: str
    fields: tuple[str, ...] = ()
    lag_ms: int | None = None  # ACKNOWLEDGED: from the commit of the edit to the commit of its echo


class Published(Enum):
    """What becomes of the key in `records`."""

    UNCHANGED = "unchanged"
    ROW = "row"
    TOMBSTONE = "tombstone"


@dataclass(slots=True)
class Folded:
    """What one change gave. *writes*: side -> a write, or None for a tombstone; sides not named get nothing."""

    state: State
    writes: dict[str, Write | None] = field(default_factory=dict)
    published: Published = Published.UNCHANGED
    conflicts: list[Conflict] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    to_read: set[str] = field(default_factory=set)  # sides that should read the record again


def fold(
    state: State,
    change: Change,
    *,
    object: str,  # noqa: A002
    key: str,
    offset: int,
    rules: Rules,
    correlation: str = "",
) -> Folded:
    """
    Fold one change of one record. *state* itself is left as it is.

    Args:
        state: What is known of the key; salmon.model.state.new_state for a key never seen.
        change: What a side, a sink or an operator tells.
        object: The sObject's name, for conflicts.
        key: The record key, for conflicts.
        offset: The change's place in its partition of `changes`: it gives the seq.
        rules: The object's rules.
        correlation: One word that follows the change into its writes and every log.
    """
    work = _Work(Folded(state.copy()), change, object, key, rules)
    work.state.seq = max(offset, state.seq + 1, (change.ack or 0) + 1)
    if change.op is Op.EDIT:
        _operator_edit(work)
    elif change.origin == rules.one_way_to:
        pass  # the target of a one-way object does not answer: it is taken to have what was emitted
    elif change.is_outcome:
        _outcome(work)
    elif _is_twin(work):
        work.report(Fact.TWIN)
    else:
        _told(work)
    emit(work.out, rules, committed_at=change.committed_at, correlation=correlation)
    if work.state.unpublished and (not work.state.lives or is_whole(work.state, rules)):
        work.state.unpublished = False
        work.out.published = Published.ROW if work.state.lives else Published.TOMBSTONE
    return work.out


class _Unknown(Enum):
    UNKNOWN = "unknown"  # not told; which is not null


UNKNOWN: Final = _Unknown.UNKNOWN


class Verdict(Enum):
    """What one field of one change means."""

    AGREED = "agreed"
    ECHO = "echo"
    KNOWN = "known"  # the side still holds what we knew
    FIRST_CONTACT = "first contact"
    CAUSAL = "causal"
    CONCURRENT = "concurrent"


class _Unsent(Enum):
    UNSENT = "unsent"


UNSENT: Final = _Unsent.UNSENT


def judge(
    value: Value,
    *,
    canonical: Value,
    shadow: Value | _Unknown,
    ours: Value | _Unsent = UNSENT,
    whole: bool = False,
) -> Verdict:
    """
    Say what one field of one change means. No clock plays a part in it.

    Args:
        value: What the side tells now; None for a field that is cleared or missing.
        canonical: What the sides have agreed on, or are about to.
        shadow: What this side held before, as far as it has told; UNKNOWN where it never has.
        ours: What our write set, if this change answers one that spoke of the field.
        whole: Whether the change shows the record as it is (a row, a creation) and not just what was edited.
    """
    if value == canonical:
        return Verdict.AGREED
    if ours is not UNSENT:
        # A trigger that runs on our write has seen what we sent, not the older shadow; by the shadow, every
        # trigger that tidies a value of ours would look like a conflict.
        if value == ours:
            return Verdict.ECHO
        return Verdict.CAUSAL if ours == canonical else Verdict.CONCURRENT
    if whole and shadow is UNKNOWN:
        return Verdict.FIRST_CONTACT
    if whole and value == shadow:
        return Verdict.KNOWN
    return Verdict.CAUSAL if shadow == canonical else Verdict.CONCURRENT


@dataclass(slots=True)
class _Work:
    """One fold under way: the draft of the new state and what is put out with it."""

    out: Folded
    change: Change
    object: str
    key: str
    rules: Rules

    @property
    def state(self) -> State:
        return self.out.state

    @property
    def x(self) -> SideState:
        """The state of the side that tells."""
        return self.state.sides[self.change.origin]

    @property
    def version(self) -> Version:
        return Version(self.change.committed_at, self.change.origin, self.state.seq)

    def report(self, fact: Fact, *fields: str, lag_ms: int | None = None) -> None:
        self.out.reports.append(Report(fact, self.change.origin, fields, lag_ms))

    def shadow(self, name: str) -> Value | _Unknown:
        return UNKNOWN if name in self.x.unknown else self.x.shadow.get(name)

    def set_shadow(self, name: str, value: Value) -> None:
        _put(self.x.shadow, name, value)

    def take(self, name: str, value: Value, version: Version) -> None:
        """Make *value* canonical. What was refused together with it may be tried again."""
        _put(self.state.canonical, name, value)
        self.state.versions[name] = version
        self.state.unpublished = True
        for side in self.state.sides.values():
            _unpark(side, name)

    def contest(
        self, name: str, policy: Policy, standing: Edit, challenger: Edit, *, tell: bool = True
    ) -> Edit | None:
        contest = Contest(self.object, self.key, name, standing, challenger, self.rules.ties)
        conflict = policy(contest)
        if tell:
            self.out.conflicts.append(conflict)
        return conflict.winner


def _put(values: dict[str, Value], name: str, value: Value) -> None:
    if value is None:
        values.pop(name, None)
    else:
        values[name] = value


def _unpark(side: SideState, name: str) -> None:
    """An edit of a parked field frees all that was refused with it; a held field waits for its resolution."""
    parked = side.parked.get(name)
    if parked is None or parked.why is Park.HELD:
        return
    for other in [n for n, p in side.parked.items() if p.group == parked.group and p.why is parked.why]:
        del side.parked[other]


# What a side tells: events and rows (steps 1 to 5).


def _is_twin(work: _Work) -> bool:
    """A second record of the same key, e.g. an undelete of one that has been created anew meanwhile."""
    live, told = work.x.native_id, work.change.native_id
    return work.x.exists is True and live is not None and told is not None and told != live


def _told(work: _Work) -> None:
    change, x = work.change, work.x
    old = _is_old_news(change, x)
    ours, late = _acknowledge(work)
    if change.is_row or change.op is not Op.UPDATE:
        x.held = False
    if old and change.is_event:
        work.report(Fact.REPEATED)
        return
    if change.op in (Op.DELETE, Op.ABSENT):
        if not old:
            _ends(work, ours)
    elif old or late:
        _tell_unknown(work, overwrite=not old)
    else:
        _lives(work, ours)
    if change.is_event:
        x.order, x.commit_time = max(x.order, change.order), max(x.commit_time, change.commit_time)
    elif change.as_of is not None:
        x.as_of = max(x.as_of, change.as_of)
        x.row_since_write, x.burst = True, 0


def _is_old_news(change: Change, x: SideState) -> bool:
    """Step 1. Rows and events of one key interleave freely; what a row has covered must not be judged again."""
    if change.is_event:
        return change.order <= x.order or change.commit_time <= x.as_of
    assert change.as_of is not None, "a row says up to when it knows"
    return change.as_of < max(x.commit_time, x.as_of)


def _acknowledge(work: _Work) -> tuple[Sent | None, bool]:
    """
    Step 2. Return the write of ours that the change answers, and whether it is a late echo of one answered before.

    A row's marker, and an event's ack, answer the write of that seq and, as each write says all that was owed,
    every earlier one. A delete carries no marker: it answers the newest delete in flight.
    """
    change, x = work.change, work.x
    if change.op is Op.DELETE:
        seq = max((s for s, sent in x.sent.items() if sent.op is WriteOp.DELETE), default=None)
    else:
        seq = change.ack
    if seq is not None and seq in x.sent:
        ours = x.sent[seq]
        _settle(x, seq)
        lag = change.committed_at - ours.committed_at if change.committed_at and ours.committed_at else None
        work.report(Fact.ACKNOWLEDGED, lag_ms=lag)
        return ours, False
    # A side without a guard may repeat a write after it was answered. A guarded one cannot: there, a copied or
    # restored record took the marker along, and so it is with a row whose marker was settled long ago.
    late = (
        seq is not None
        and change.is_event
        and change.op is not Op.DELETE
        and change.origin not in work.rules.guarded
        and seq <= x.settled
    )
    return None, late


def _settle(x: SideState, seq: int) -> None:
    x.sent = {s: sent for s, sent in x.sent.items() if s > seq}
    x.settled = max(x.settled, seq)
    x.burst = min(x.burst, len(x.sent))


def _tell_unknown(work: _Work, *, overwrite: bool) -> None:
    """An old row tells only what is unknown of its side; a late echo sets the shadow. Neither is news."""
    change, x = work.change, work.x
    if x.exists is False and not overwrite:
        return
    for name in work.rules.spoken(change.origin, change.op, change.changed):
        if overwrite:
            work.set_shadow(name, change.fields.get(name))
        elif name in x.unknown:
            _value(work, name, None)
    x.unknown -= work.rules.spoken(change.origin, change.op, change.changed)
    if x.exists is None:
        _exists(work)


def _lives(work: _Work, ours: Sent | None) -> None:
    """The change shows a record that is there: CREATE, UPDATE or ROW."""
    change, x, state = work.change, work.x, work.state
    had = x.exists
    spoken = work.rules.spoken(change.origin, change.op, change.changed)
    if change.op is Op.CREATE:
        # Nothing of an earlier life counts; what events do not carry is unknown until it is read.
        x.shadow, x.unknown = {}, work.rules.names[change.origin] - spoken
        x.parked = {n: p for n, p in x.parked.items() if n != EXISTENCE}
    elif change.op is Op.UPDATE and had is False:
        # A life whose beginning nobody told of: the rest of it must be read.
        x.shadow, x.unknown = {}, work.rules.names[change.origin]
        work.out.to_read.add(change.origin)
    if change.is_row or change.op is Op.CREATE or change.ack is not None:
        x.marker = change.ack or 0
    _exists(work)

    if not state.lives and state.life is not NEVER:
        born = change.op is Op.CREATE or (change.op is Op.ROW and had is False)
        if ours is not None or not born:
            _told_of_the_dead(work, ours, spoken)
            return
        _begin(work, work.version)  # a new life: canonical starts empty
    elif not state.lives:
        _begin(work, work.version if change.is_event else _baseline(work))
    if ours is not None and change.is_event:
        _refused_in_silence(work, ours, spoken)
    for name in spoken:
        _value(work, name, ours)
    x.unknown -= spoken


def _exists(work: _Work) -> None:
    work.x.exists = True
    if work.change.native_id is not None:
        work.x.native_id = work.change.native_id


def _begin(work: _Work, version: Version) -> None:
    work.state.canonical, work.state.versions = {}, {}
    work.state.lives, work.state.life = True, version
    work.state.unpublished = True
    work.report(Fact.CREATED)


def _baseline(work: _Work) -> Version:
    return Version(work.change.committed_at, work.change.origin, work.state.seq, baseline=True)


def _refused_in_silence(work: _Work, ours: Sent, spoken: frozenset[str]) -> None:
    """
    Step 3. The side took our write and does not mention a field that we set: a trigger or flow kept the old value.

    That is an edit of the side, made after it saw what we sent.
    """
    silent = (ours.fields.keys() & work.rules.live[work.change.origin]) - spoken - OWNED_BY_MERGE
    for name in silent:
        kept, sent = work.shadow(name), ours.fields[name]
        if not isinstance(kept, _Unknown) and kept != sent == work.state.canonical.get(name):
            work.take(name, kept, work.version)
            work.report(Fact.EDITED, name)


def _value(work: _Work, name: str, ours: Sent | None) -> None:
    """Step 4, for one field that the change speaks of."""
    change, state = work.change, work.state
    value, canonical, shadow = change.fields.get(name), state.canonical.get(name), work.shadow(name)
    work.set_shadow(name, value)
    if name in OWNED_BY_MERGE:
        return
    sent: Value | _Unsent = ours.fields.get(name, UNSENT) if ours is not None else UNSENT
    whole = change.is_row or change.op is Op.CREATE
    verdict = judge(value, canonical=canonical, shadow=shadow, ours=sent, whole=whole)
    if verdict is Verdict.AGREED:
        work.x.parked.pop(name, None)  # it holds the agreed value by itself: nothing waits any more
        if name not in state.versions and value is not None:
            state.versions[name] = work.version
        return
    if verdict in (Verdict.ECHO, Verdict.KNOWN):
        return
    knows = work.state.sides[SALESFORCE].exists is True if SALESFORCE in work.state.sides else False
    if not work.rules.may_win(change.origin, name, known_to_salesforce=knows):
        if verdict is not Verdict.FIRST_CONTACT:
            work.report(Fact.OVERRULED, name)
        return
    if ours is not None and ours.op is WriteOp.CREATE and sent is UNSENT and canonical is not None:
        settable = work.rules.sink_may_set(change.origin, WriteOp.CREATE)
        if name not in settable:
            return  # the side's own default for what our creation could not set: nobody's edit
    standing = state.versions.get(name, NEVER)
    if verdict is Verdict.FIRST_CONTACT:
        _first_contact(work, name, value, standing)
    elif verdict is Verdict.CAUSAL or (shadow is UNKNOWN and standing.baseline):
        # Of a field whose old value nobody told, an edit beats what was merely found on the other side.
        work.take(name, value, work.version)
        work.report(Fact.EDITED, name)
    else:
        _concurrent(work, name, value, standing)


def _first_contact(work: _Work, name: str, value: Value, standing: Version) -> None:
    """A row tells of a field for the first time. Null says nothing; two values are decided by `initial`."""
    canonical = work.state.canonical.get(name)
    if value is None:
        return
    if canonical is None and standing.baseline:
        work.take(name, value, _baseline(work))
        return
    # An edit that somebody made meanwhile is never beaten by what was found.
    if standing.baseline and work.rules.initial == work.change.origin:
        work.take(name, value, _baseline(work))
    work.report(Fact.FIRST_CONTACT, name)


def _concurrent(work: _Work, name: str, value: Value, standing: Version) -> None:
    change, state = work.change, work.state
    winner = work.contest(
        name,
        work.rules.policy_of(name),
        Edit(standing.origin, state.canonical.get(name), standing.committed_at),
        challenger := Edit(change.origin, value, change.committed_at),
    )
    if winner is challenger:
        work.take(name, value, work.version)
        work.report(Fact.EDITED, name)
    elif winner is None:
        work.x.parked[name] = Parked(Park.HELD, state.seq)
        work.report(Fact.PARKED, name)


def _told_of_the_dead(work: _Work, ours: Sent | None, spoken: frozenset[str]) -> None:
    """
    Step 5. The side shows a record that is deleted elsewhere: it had not seen that when this was committed.

    What answers our own write is no edit. An edit of the side contests the deletion, and if it wins, the record
    lives on as that side has it.
    """
    change, x, state = work.change, work.x, work.state
    fresh, first = [], True
    for name in spoken - OWNED_BY_MERGE:
        value, shadow = change.fields.get(name), work.shadow(name)
        first = first and shadow is UNKNOWN
        if value != shadow and (shadow is not UNKNOWN or value is not None) and _is_edit(work, name):
            fresh.append(name)
    for name in spoken:
        work.set_shadow(name, change.fields.get(name))
    x.unknown -= spoken
    if ours is not None or not fresh:
        return
    standing, challenger = Edit(state.life.origin, False, state.life.committed_at), _alive(work)
    if first and change.is_row:
        lives_on = work.rules.initial == change.origin
        work.report(Fact.FIRST_CONTACT, EXISTENCE)
    else:
        lives_on = work.contest(EXISTENCE, work.rules.policy, standing, challenger) is challenger
    if lives_on:
        _revive(work, change.origin, work.version)


def _is_edit(work: _Work, name: str) -> bool:
    return name not in work.rules.stamps and work.rules.may_win(
        work.change.origin, name, known_to_salesforce=True
    )


def _alive(work: _Work) -> Edit:
    return Edit(work.change.origin, True, work.change.committed_at)


def _revive(work: _Work, side: str, version: Version) -> None:
    """Let the record live as *side* holds it."""
    _begin(work, version)
    for name, value in work.state.sides[side].shadow.items():
        if name not in OWNED_BY_MERGE:
            work.take(name, value, version)


def _ends(work: _Work, ours: Sent | None) -> None:
    """Step 5. DELETE or ABSENT: the side no longer has the record, or never had."""
    change, x, state = work.change, work.x, work.state
    had, unseen = x.exists, _unseen(work)
    x.exists, x.native_id, x.marker = False, None, 0
    x.shadow, x.unknown, x.parked = {}, frozenset(), {}
    if not state.lives or (ours is not None and ours.op is WriteOp.DELETE):
        return  # known, or our own doing; if canonical lives, step 7 creates it anew
    if had is False or (had is None and change.op is Op.ABSENT):
        return  # it never had it: nothing was deleted
    if unseen:
        newest = max((state.versions.get(name, state.life) for name in unseen), key=lambda v: v.committed_at)
        challenger = Edit(change.origin, False, change.committed_at)
        standing = Edit(newest.origin or state.life.origin, True, newest.committed_at)
        edited = any(not state.versions.get(name, state.life).baseline for name in unseen)
        if work.contest(EXISTENCE, work.rules.policy, standing, challenger, tell=edited) is not challenger:
            return  # the edit wins: step 7 creates the record anew
    _die(work, work.version)


def _unseen(work: _Work) -> list[str]:
    """The fields whose agreed value the side had not seen: what a deletion there could not know of."""
    x, state = work.x, work.state
    return [
        name
        for name in work.rules.settable_by_others(work.change.origin)
        if name not in x.parked
        and (
            state.canonical.get(name) is not None
            if name in x.unknown
            else x.shadow.get(name) != state.canonical.get(name)
        )
    ]


def _die(work: _Work, version: Version) -> None:
    work.state.canonical, work.state.versions = {}, {}
    work.state.lives, work.state.life = False, version
    work.state.unpublished = True
    for side in work.state.sides.values():
        side.parked = {}
    work.report(Fact.DELETED)


# What sinks and operators tell (step 6).


def _outcome(work: _Work) -> None:
    change, x = work.change, work.x
    assert change.ack is not None, "an outcome names the write that it is of"
    if change.op is Op.RETRY:
        x.parked = {n: p for n, p in x.parked.items() if p.why is not Park.DEFERRED or not _named(change, n)}
        return
    ours = x.sent.get(change.ack)
    if ours is None:
        return  # superseded and answered since: what it says is no longer so
    _settle(x, change.ack)
    match change.op:
        case Op.GONE | Op.EXISTS:
            x.held = True
        case Op.DEFERRED:
            _park(work, ours, Park.DEFERRED)
        case Op.REFUSED:
            _refused(work, ours)


def _named(change: Change, name: str) -> bool:
    return change.changed is None or name in change.changed


def _at_fault(work: _Work, ours: Sent) -> frozenset[str]:
    """The write's fields that the outcome names; all of them where it names none of them."""
    named = ours.fields.keys() & (work.change.changed or frozenset())
    return frozenset(named or ours.fields.keys()) - OWNED_BY_MERGE


def _park(work: _Work, ours: Sent, why: Park) -> None:
    """
    Set aside what is at fault, so that the rest can be sent again.

    A refused creation that would then lack what is required, or have nothing to say, is set aside as a whole.
    """
    at_fault = _at_fault(work, ours)
    source = work.change.source
    parked = Parked(why, work.change.ack or 0, source.get("code", ""), source.get("reason", ""))
    for name in at_fault:
        work.x.parked[name] = parked
    rest = ours.fields.keys() - at_fault - OWNED_BY_MERGE
    hopeless = ours.op is WriteOp.CREATE and (not rest or not at_fault.isdisjoint(work.rules.required))
    if why is Park.REFUSED and (hopeless or ours.op is WriteOp.DELETE):
        # Any edit of the record may be the cure, also of a field that was empty and not in the write.
        for name in work.rules.names[work.change.origin] - OWNED_BY_MERGE:
            work.x.parked.setdefault(name, parked)
        work.x.parked[EXISTENCE] = parked
    work.report(Fact.PARKED, *sorted(at_fault))


def _refused(work: _Work, ours: Sent) -> None:
    x, state = work.x, work.state
    if work.rules.on_reject == "keep" or ours.op is WriteOp.CREATE:
        _park(work, ours, Park.REFUSED)
    elif ours.op is WriteOp.DELETE:
        if not state.lives:
            _revive(work, work.change.origin, work.version)
    else:
        for name in _at_fault(work, ours):
            if name in x.unknown:
                x.parked[name] = Parked(
                    Park.REFUSED, work.change.ack or 0, work.change.source.get("code", "")
                )
            elif state.canonical.get(name) == ours.fields[name]:
                work.take(name, x.shadow.get(name), work.version)
                work.report(Fact.EDITED, name)


def _operator_edit(work: _Work) -> None:
    """An operator's choice: causal by definition, and it resolves whatever was held."""
    change, state = work.change, work.state
    assert change.origin == OPERATOR
    if not state.lives:
        return
    for name in work.rules.spoken(SALESFORCE, Op.ROW, change.changed) - OWNED_BY_MERGE:
        for side in state.sides.values():
            if name in side.parked and side.parked[name].why is Park.HELD:
                del side.parked[name]
        work.take(name, change.fields.get(name), work.version)
        work.report(Fact.EDITED, name)


def names_of(rules: Rules) -> Mapping[str, frozenset[str]]:
    """What new_state needs."""
    return rules.names
