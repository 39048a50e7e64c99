"""
What must hold of a World that has come to rest: merge's five promises, and what convergence alone would not show.

Each function returns what is broken, in words; nothing, if all is well.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Final

from salmon.model.change import ERROR, MONGODB, SALESFORCE, SALESFORCE_ID, Value, WriteOp
from salmon.model.policies import EXISTENCE
from salmon.model.state import Park, State
from salmon.model.steps.misfits import left_alone
from salmon.mongodb.documents import owned_of
from support.world.cuts import Cuts
from support.world.nature import ADDED, EDITABLE, LINK, RANK, History, other
from support.world.play import World
from support.world.views import (
    LABEL,
    MASKED,
    deaths_of_nobody,
    hidden,
    is_wanted,
    mislabelled,
    misplaced,
)

_CUT_EVERY: Final = 16  # schedules: folding through the codecs takes as long as all the rest


def broken(world: World) -> list[str]:
    """Every promise that the settled *world* breaks. Looks again at the end, which folds more changes."""
    found = [
        *(f"differs: {text}" for text in differences(world)),
        *(f"lost edit: {text}" for text in lost_edits(world)),
        *(f"vanished edit: {text}" for text in vanished_edits(world)),
        *(f"vanished value: {text}" for text in vanished_values(world)),
        *(f"false conflict: {text}" for text in false_conflicts(world)),
        *(f"false conflict: {text}" for text in conflicts_of_nobody(world)),
        *(f"false conflict: {text}" for text in conflicts_of_one_side(world)),
        *(f"false conflict: {text}" for text in conflicts_with_defaults(world)),
        *(f"false conflict: {text}" for text in world.merge.of_nobody),
        *(f"astray: {text}" for text in world.merge.gate.astray),
        *(f"mislabelled: {text}" for text in mislabelled(world)),
        *(f"misplaced: {text}" for text in misplaced(world)),
        *(f"astray: {text}" for text in deaths_of_nobody(world)),
        *(f"undone: {text}" for text in undone_deletions(world)),
        *(f"said twice: {text}" for text in world.merge.said_twice),
        *(f"set aside: {text}" for text in unexplained(world)),
    ]
    if not world.knobs.grows and world.merge.replayed() != world.merge.states:
        found.append("the same log gives another state")
    if world.seed % _CUT_EVERY == 0:
        cuts = Cuts(world.merge, Random(world.seed)).play()
        found += [f"cut into other batches: {text}" for text in cuts.differences()]
    found += [f"let go: {text}" for text in world.merge.let_go]
    found += [f"given up as a side went back: {text}" for text in world.merge.given_up]
    found += [f"not quiet: {text}" for text in unrest(world)]
    found += [f"not resolved: {text}" for text in unresolved(world)]
    return found + [f"not sent again: {text}" for text in unsent(world)]


# Convergence.


def differences(world: World) -> Iterator[str]:
    """Where a side, or the published record, is not what was agreed on."""
    states = world.merge.states
    for side in world.sides:
        for key in world.keys(side):
            if key not in states and side != world.knobs.one_way_to:
                yield f"{key}: {side} has a record that merge never heard of"
    for key, state in states.items():
        if key in world.database.twins and state.sides[MONGODB].unknown:
            continue  # nobody has ever told what is in it
        for side in world.sides:
            if side == world.knobs.one_way_to and not _was_owed(world, side, key):
                continue
            yield from (f"{key} {side}: {text}" for text in _differs(world, state, side, key))
        published = world.merge.published.get(key)
        # A reader's schema leaves out the fields that the sync knows no more.
        known = published and {n: v for n, v in published.items() if n in world.merge.rules.schema.by_name}
        if known != (dict(state.canonical) if state.lives else None):
            yield f"{key}: the published record is not the agreed one"


def _was_owed(world: World, side: str, key: str) -> bool:
    """The target of a one-way object may hold what was there before: it is nobody's concern until it is written."""
    return any(k == key for k, _ in world.merge.writes[side])


def _differs(world: World, state: State, side: str, key: str) -> Iterator[str]:
    parked, fields = state.sides[side].parked, world.fields(side, key)
    if EXISTENCE in parked or (side == MONGODB and key in world.database.twins):
        return
    if not state.lives and side == world.knobs.keeps:
        return  # it may be there, and is nobody's concern any more
    if state.lives and not is_wanted(world.merge.rules, side, state):
        if fields is not None and (side, key) not in world.nature.history.born:
            yield "it is there although it is not wanted, and nobody has put it there"
    elif (fields is not None) != state.lives:
        yield f"exists {fields is not None}, agreed {state.lives}"
    elif fields is not None:
        yield from _fields_differ(world, state, side, fields)
        if side == MONGODB and world.knobs.one_way_to is None:
            yield from _owned_differ(world, state, key)


def _fields_differ(world: World, state: State, side: str, fields: dict[str, Value]) -> Iterator[str]:
    rules = world.merge.rules
    alone = left_alone(state, state.sides[side])
    compared = rules.live[SALESFORCE] - rules.stamps
    compared |= rules.computed.keys() & rules.names[side]
    compared -= state.sides[side].parked.keys() | alone
    for name in sorted(alone & rules.schema.by_name.keys()):
        if not isinstance(fields.get(name), int):
            yield f"{name} {fields.get(name)!r}, known as what could not be taken"
    if side == world.knobs.one_way_to == SALESFORCE:
        compared -= rules.only_of(MONGODB) - set(EDITABLE)
    if side != SALESFORCE and state.sides[SALESFORCE].exists is not True:
        # The rest is not cleared before Salesforce tells.
        compared &= rules.sink_may_set(SALESFORCE, WriteOp.CREATE) | rules.computed.keys()
    shows_masked = MASKED in rules.masked(side) and MASKED in state.canonical
    if MASKED in rules.masked(side) and not shows_masked and state.sides[other(side)].exists is None:
        compared -= {MASKED}  # what its own side alone has ever told is not cleared
    agreed = {**state.canonical, **({MASKED: hidden(state.canonical[MASKED])} if shows_masked else {})}
    for name in sorted(compared):
        if fields.get(name) != agreed.get(name):
            yield f"{name} {fields.get(name)!r}, agreed {agreed.get(name)!r}"


def _owned_differ(world: World, state: State, key: str) -> Iterator[str]:
    owned = owned_of(world.database.documents[key].get("_salmon"))
    record = world.org.by_key(key)
    if owned.get(SALESFORCE_ID) != (record.native_id if record else None):
        yield "its Salesforce Id is wrong"
    refused = any(p.why in (Park.REFUSED, Park.OSCILLATING) for p in state.sides[SALESFORCE].parked.values())
    refused |= any(left_alone(state, side) for side in state.sides.values())
    if (owned.get(ERROR) is not None) != refused:
        yield "its error is wrong"


def unexplained(world: World) -> Iterator[str]:
    """Fields that a side is not sent, in a World in which nobody refused anything."""
    knobs = world.knobs
    told = {(c.contest.key, c.contest.field) for c in world.merge.conflicts if c.winner is None}
    for key, name, side in world.held():
        if (key, name) not in told:
            yield f"{key} {side}: {name} is held, and nobody was told"
    if knobs.refuse_city or knobs.refuse_deletes:
        return
    for key, state in world.merge.states.items():
        for side in world.sides:
            for name, parked in sorted(state.sides[side].parked.items()):
                turned = parked.why is Park.OSCILLATING and _turned_often(world, key, name)
                if parked.why is not Park.HELD and not turned:
                    yield f"{key} {side}: {name}"


def _turned_often(world: World, key: str, name: str) -> bool:
    """
    Whether users of the database set the field so often, and the org's trigger answered each time, or took out so often what
    may not be empty, that nobody can tell that from two automations that undo each other.
    """
    is_masked = name == MASKED and world.knobs.masks is not None
    editors = {world.knobs.masks} if is_masked else set(world.databases)
    edits = [
        change
        for told, change, _ in world.merge.log
        if told == key and change.origin in editors and change.is_event and change.ack is None
    ]
    often = sum(name in (change.changed or {name}) for change in edits) >= world.merge.rules.breaker_rounds
    return often and (is_masked or (world.knobs.normalise and name == "Phone") or name in (RANK, LABEL))


def undone_deletions(world: World) -> Iterator[str]:
    """Records that live although somebody has deleted them, having seen everything, and nobody has edited them since."""
    if world.knobs.holes or world.knobs.keeps or world.knobs.follows or world.knobs.refuse_deletes:
        return
    for key in sorted(world.nature.history.mourned):
        if world.merge.states[key].lives:
            yield f"{key}: somebody has deleted it"


# Edits.


def lost_edits(world: World) -> Iterator[str]:
    """
    Agreed values that somebody had seen and then changed: their edit was beaten by what they had seen. Where events are
    lost for good, an edit may be among them.
    """
    if world.knobs.holes:
        return
    history = world.nature.history
    # Where its own side has taken an edit out of a field that may not be empty, that is no wish to clear it.
    taken_out = {value for value in history.cleared if history.places.get(value) == RANK}
    found = history.found | {value for value in history.derived if history.parents[value] in history.found}
    changed = {
        seen
        for value in history.authored - found - history.unheard - taken_out - world.merge.not_folded
        for seen in _known_to(history, value)
    }
    for key, state in world.merge.states.items():
        if key in world.database.twins:
            continue  # nothing is taken of either document
        for name in (*EDITABLE, LINK, RANK):
            value = state.canonical.get(name)
            if (
                name in _set_back(world)
                or _was_saved_early(world, value)
                or value in history.derived | history.chosen | world.merge.hidden_by_late_calls
            ):
                continue  # what is set back, chosen, or derived from an equal value, may be there again
            if value in changed and not _is_parked(state, name):
                yield f"{key}.{name}: {value!r} is agreed though somebody who saw it changed it"


def vanished_edits(world: World) -> Iterator[str]:
    """
    Edits that nobody who saw them changed, that are not agreed, and that no conflict tells of.

    Where records die, events are lost, or a side sets values back, edits go with them; what was there before the sync
    is no edit.
    """
    if world.knobs.deletes or world.knobs.holes:
        return
    history = world.nature.history
    agreed = {value for state in world.merge.states.values() for value in state.canonical.values()}
    told = {edit.value for c in world.merge.conflicts for edit in (c.contest.standing, c.contest.challenger)}
    seen = set(history.parents.values()) | history.cleared
    # Who edits what a side shows masked changes the value behind it, if the mask has ended by the time that this is told.
    seen |= {value for value in history.authored if hidden(value) in seen}
    # An edit that an event told before any row did is told apart from what was there before.
    heard = {value for value, side in history.unsure.items() if (side, value) in world.merge.heard}
    found = history.found - heard
    for value in history.authored - seen - agreed - told - found - history.unheard - world.merge.not_folded:
        name = history.places[value]
        if name in _set_back(world) or name == ADDED:
            continue
        if history.records.get(value) in world.database.twins:
            continue  # it is in one of two documents, of which nothing is taken
        if value in world.merge.hidden_by_late_calls or (
            value in history.derived and _is_outdated(world, value)
        ):
            continue
        if value in history.beaten_late & world.merge.overtaken:
            continue  # by the row that overtook both events, the record was never touched
        if (value not in world.merge.overtaken or value in world.merge.once_agreed) and history.beaten.get(
            value, set()
        ) & world.merge.acks_overtaken:
            continue  # by the row, the next author saw it; that our write came between, its event tells too late
        yield f"{name}: {value!r} is gone, and nobody was told"


def vanished_values(world: World) -> Iterator[str]:
    """
    What was in the added field before the sync knew it, that nobody has changed or cleared, and in whose place is nothing.
    What the target of a one-way object held before is nobody's concern.
    """
    knobs, history = world.knobs, world.nature.history
    if not knobs.grows or knobs.fades or knobs.holes or knobs.one_way_to or ADDED in _set_back(world):
        return
    told = {edit.value for c in world.merge.conflicts for edit in (c.contest.standing, c.contest.challenger)}
    seen = set(history.parents.values()) | history.cleared | told
    for value in sorted(v for v, name in history.places.items() if name == ADDED and isinstance(v, str)):
        state = world.merge.states.get(history.records.get(value, ""))
        if value in seen or state is None or not state.lives or ADDED in state.canonical:
            continue
        if history.records[value] in world.database.twins:
            continue  # it is in one of two documents, of which nothing is taken
        if value in history.unheard or _left_before_it_was_known(world, history.records[value]):
            continue  # its side went back, or lost the record, before the sync knew the field
        if (history.records[value], ADDED) not in history.emptied and not _is_parked(state, ADDED):
            yield f"{history.records[value]}: {value!r} is gone, and nothing took its place"


def _left_before_it_was_known(world: World, key: str) -> bool:
    """
    Whether a filter, or a place that is none, has taken the record off a side by a write of the time when the sync did not know the
    added field yet. With the record goes all that is in it; of a field that nobody has told of, nobody can keep the value.
    """
    merge = world.merge
    sides = {side for side in (world.knobs.filters, world.knobs.places and MONGODB) if side}
    return any(
        of == key
        and write is not None
        and write.op is WriteOp.DELETE
        and ADDED not in merge.schemas[number].by_name
        for side in sides
        for (of, write), number in zip(merge.writes[side], merge.written_by[side], strict=True)
    )


def _is_outdated(world: World, value: Value) -> bool:
    """What a trigger made of a value that has been edited, or beaten, since."""
    history = world.nature.history
    origin = history.parents[value]
    siblings = [other for other, seen in history.parents.items() if seen == origin and other != value]
    told = {edit.value for c in world.merge.conflicts for edit in (c.contest.standing, c.contest.challenger)}
    return bool(siblings) or origin in told or origin in history.cleared or origin in history.found


def _set_back(world: World) -> set[str]:
    """Fields that a trigger, a refusal or a record's second life may set back to a value that was there before."""
    if world.knobs.deletes:
        return {*EDITABLE, ADDED, LINK, RANK}
    if world.knobs.refuse_city and not world.knobs.names_fault:
        return {*EDITABLE, ADDED, RANK}
    return {"City"} if world.knobs.keep_city or world.knobs.refuse_city else set()


def _is_parked(state: State, name: str) -> bool:
    return any(name in side.parked for side in state.sides.values())


def false_conflicts(world: World) -> Iterator[str]:
    """
    Conflicts between two values of which one's author had seen the other. Where nobody can know what the author of an
    edit saw, a conflict that is told is the lesser evil; and so is one with the value that such a conflict agreed on.
    """
    history = world.nature.history
    guessed: set[tuple[str, str, Value]] = set()
    for conflict in world.merge.conflicts:
        contest = conflict.contest
        key_and_field = contest.key, contest.field
        # A row shows what a trigger made of a write of long ago: or did somebody type it?
        is_guess = conflict in world.merge.guesses or contest.challenger.value in history.derived
        is_guess = is_guess or (
            contest.standing.side in world.databases and _was_saved_early(world, contest.standing.value)
        )
        if is_guess or (*key_and_field, contest.standing.value) in guessed:
            guessed |= {(*key_and_field, conflict.winner.value)} if conflict.winner else set()
            continue
        if contest.field in {EXISTENCE, ADDED, *_set_back(world)}:
            continue
        standing, challenger = contest.standing.value, contest.challenger.value
        if {standing, challenger} & history.chosen:
            continue
        if standing in _known_to(history, challenger) or challenger in _known_to(history, standing):
            yield f"{contest.key}.{contest.field}: {standing!r} / {challenger!r}"


def _was_saved_early(world: World, value: Value) -> bool:
    """
    Whether an application saved a whole document with *value* in it before its first row was read: nobody can tell what it
    changed in it. An example: both sides have 1 from before the sync, somebody in Salesforce sets 2, and an application saves
    the document with the 1 in it. The event looks as if the 1 were new, so the 2 seems to be in conflict with an edit, which
    may win. What somebody has set since the sync began is told as such by its own event, and is no excuse.
    """
    history = world.nature.history
    was_there = value in history.found and value not in history.unsure
    return (
        world.knobs.early
        and was_there
        and any((side, value) in world.merge.heard for side in world.databases)
    )


def _known_to(history: History, value: Value) -> set[Value]:
    """
    What merge can know that the author of *value* had seen, or that the authors of that had. An example of what it cannot:
    a database is restored, somebody sets 3 there before the first row, and then 4. The row's 3 looks like an older value,
    and the agreed 2 is on its way in its place, when the 4 comes: whether its author had seen the 2, nobody can tell. It is
    the same where the row shows what cannot be taken, and nobody had told of that before.
    """
    known: set[Value] = set()
    for seen in history.ancestors(value):
        if seen in history.unheard:
            break
        known.add(seen)
    return known


def conflicts_of_nobody(world: World) -> Iterator[str]:
    """
    Contests of life and death in which nobody has edited the record on the side that is said to have edited it, or deleted it
    on the side that is said to have deleted it. Where a refusal, or a call that came late, looks like an edit, that cannot be
    told.
    """
    knobs, history = world.knobs, world.nature.history
    if knobs.on_reject == "revert" and (knobs.refuse_city or knobs.refuse_deletes):
        return
    for conflict in world.merge.conflicts:
        contest = conflict.contest
        if contest.field != EXISTENCE or world.merge.late_calls.get(contest.key):
            continue
        alive, dead = contest.standing, contest.challenger
        if not alive.value:
            alive, dead = dead, alive
        if alive.side in world.sides and (alive.side, contest.key) not in history.touched:
            yield f"{contest.key}: nobody has edited it in {alive.side}"
        if dead.side in world.sides and (dead.side, contest.key) not in history.ended:
            yield f"{contest.key}: nobody has deleted it in {dead.side}"


def conflicts_of_one_side(world: World) -> Iterator[str]:
    """
    Contests of life and death between a deletion and an edit of one and the same side: there, one came after the other.
    """
    for conflict in world.merge.conflicts:
        contest = conflict.contest
        if contest.field == EXISTENCE and contest.standing.side == contest.challenger.side:
            yield f"{contest.key}: edited and deleted in {contest.standing.side}"


def conflicts_with_defaults(world: World) -> Iterator[str]:
    """
    Contests of a value that the org has filled in by itself as it carried out a write of ours: nobody has edited that. Where a
    refusal has reverted a field (`on_reject: revert`), that is the org's decision, whatever it holds there: an edit that was made
    without knowing of the refusal is in conflict with it, and not with the default.
    """
    filled = world.nature.history.filled - world.merge.perhaps_edited
    for conflict in world.merge.conflicts:
        contest = conflict.contest
        is_reverted = (contest.key, contest.standing.seq) in world.merge.refusals
        if is_reverted or conflict in world.merge.of_unknown_makers:
            continue
        if {contest.standing.value, contest.challenger.value} & filled:
            yield f"{contest.key}.{contest.field}: {contest.standing.value!r} / {contest.challenger.value!r}"


# Quiet.


def unrest(world: World) -> Iterator[str]:
    """What is written, judged or changed although nobody has done anything: old events and new rows say nothing."""
    merge = world.merge
    written, conflicts = merge.written, len(merge.conflicts)
    agreed = {key: (state.lives, dict(state.canonical)) for key, state in merge.states.items()}
    rollups = {n for n in merge.rules.schema.by_name if n not in merge.rules.live[SALESFORCE]}
    world.tell_again()
    world.look_again()
    # What no event carries is told by the rows: that is news, and may be written.
    if merge.written != written and not rollups:
        yield f"{merge.written - written} writes"
    if len(merge.conflicts) != conflicts:
        yield "a conflict"
    for key, state in merge.states.items():
        before = agreed.get(key, (False, {}))
        ignored = rollups | merge.rules.stamps | _untold(world, state)
        if state.lives != before[0] or _without(state.canonical, ignored) != _without(before[1], ignored):
            yield f"{key} has changed"
    yield from (f"then differs: {text}" for text in differences(world))
    # Now that all is told, nothing is left to say.
    written = merge.written
    world.look_again()
    if merge.written != written:
        yield f"{merge.written - written} writes, at the second look"


def _untold(world: World, state: State) -> set[str]:
    """
    The added field, where a side holds in it what cannot be taken. An event of the time before its source knew the field left
    it out, and its repetition names it. No row has shown that value, so it is news: the last one that can be taken.
    """
    hidden = any(ADDED in side.misfits for side in state.sides.values())
    return {ADDED} if world.knobs.grows and hidden else set()


def _without(fields: dict[str, Value], names: frozenset[str] | set[str]) -> dict[str, Value]:
    return {n: v for n, v in fields.items() if n not in names}


# What is held.


def unresolved(world: World) -> Iterator[str]:
    """What is still held, or differs, or is in conflict once an operator has decided on all that was held."""
    if not (held := world.held()):
        return
    if world.knobs.polled:
        world.knobs.follows = (
            0  # what the org deletes with a record of ours looks like anybody's deletion to a poll
        )
    conflicts = len(world.merge.conflicts)
    for key, name, side in held:
        world.resolve(key, name, side)
    world.settle()
    yield from (f"{key} {side}: {name} is held" for key, name, side in world.held())
    yield from (f"differs: {text}" for text in differences(world))
    if len(world.merge.conflicts) != conflicts and not world.knobs.normalise:
        yield "a conflict"


# What was refused.


def unsent(world: World) -> Iterator[str]:
    """What is still refused, or differs, once nobody refuses anything and an operator has had all of it sent again."""
    knobs = world.knobs
    if not (knobs.refuse_city or knobs.refuse_deletes):
        return
    knobs.refuse_city = knobs.refuse_deletes = False
    world.retry(all_of_it=True)
    world.settle()
    yield from (f"differs: {text}" for text in differences(world))
    for key, state in world.merge.states.items():
        for side, told in state.sides.items():
            refused = sorted(name for name, parked in told.parked.items() if parked.why is Park.REFUSED)
            yield from (f"{key} {side}: {name} is parked" for name in refused)
