"""
Random schedules of both sides, their users, triggers, sources and sinks: do merge's promises hold in every one?

SALMON_SCHEDULES says how many are played (2,000 if it does not). A seed that fails is told with what went wrong:
`World(seed).run()` plays it again, and it becomes a named story beside the rules of the fold.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Final

import pytest

from salmon.model.change import MONGODB, SALESFORCE, Change, Op, Write, WriteOp
from salmon.model.fold import Fact, Folded
from salmon.model.policies import EXISTENCE, LAST_WRITER_WINS, Contest, Edit
from salmon.model.steps import went_back
from salmon.salesforce.reading.whole.run import Run
from support.at_hand.stories import born_in_mongodb, only_oslo
from support.world import World
from support.world.nature import ADDED, EDITABLE, OBJECT, Knobs
from support.world.org import FOLLOWS
from support.world.promises import broken, differences
from support.world.views import Gate

SCHEDULES: Final = int(os.environ.get("SALMON_SCHEDULES", "2000"))
CHUNKS: Final = 8  # tests that several workers share


def played(seed: int) -> tuple[World | None, list[str]]:
    """Play the schedule of *seed*; one that breaks down is as wrong as one that ends wrong."""
    try:
        world = World(seed).run()
        return world, broken(world)
    except Exception as failure:  # noqa: BLE001  # told with its seed, like any other fault
        return None, [f"{type(failure).__name__}: {failure}"]


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_schedule_keeps_the_promises(chunk: int) -> None:
    """Both sides agree, no causal edit is lost, no conflict is false, and the log can be folded again."""
    faults: dict[int, list[str]] = {}
    conflicts = rejections = 0
    for seed in range(chunk, SCHEDULES, CHUNKS):
        world, found = played(seed)
        if world is not None:
            conflicts += len(world.merge.conflicts)
            rejections += world.merge.facts[Fact.PARKED]
        if found:
            faults[seed] = found
            print(f"seed {seed}: {found}")  # pytest shows it: the next story to tell
    assert not faults, f"{len(faults)} schedules broke a promise, e.g. {dict(list(faults.items())[:3])}"
    if SCHEDULES >= 100 * CHUNKS:
        assert conflicts, "schedules without one conflict would show little"
        assert rejections, "nor would those without one refusal"


@pytest.mark.parametrize("seed", range(20))
def test_automations_that_undo_each_other_come_to_rest_and_are_told(seed: int) -> None:
    """The org stores a phone number its way and an application another, in a World of users, crashes and repetitions."""
    world = World(seed, Knobs(normalise=True, insists=True, crashes=0.05, repeats=0.1, restarts=0.05)).run()
    assert list(differences(world)) == [], "but for what is parked"
    assert world.merge.facts[Fact.OSCILLATING]
    assert world.merge.replayed() == world.merge.states


# The watchers see what they watch for.


def settled() -> World:
    """A World without deletions, refusals or repetitions, come to rest and in order."""
    world = World(7, Knobs(deletes=0, repeats=0, crashes=0)).run()
    assert broken(world) == []
    return world


def first_key(world: World) -> str:
    return world.keys(MONGODB)[0]


IN_PARTS: Final = Knobs(parts=True, rows=0.4, crashes=0.1, repeats=0.1, holes=0.05, deletes=0.1)


def test_ranges_of_ids_that_are_read_by_themselves_keep_the_promises(monkeypatch: pytest.MonkeyPatch) -> None:
    """In any order, each as far as it is, over kills, holes, edits and deletions in what is read and in what is not."""
    unlike = 0
    stored = Run.to_position

    def seen(run: Run) -> dict[str, Any]:
        nonlocal unlike
        unlike += any(late.done and not early.done for early, late in pairwise(run.parts))
        return stored(run)

    monkeypatch.setattr(Run, "to_position", seen)
    for seed in range(40):
        assert broken(World(seed, IN_PARTS).run()) == [], f"seed {seed}"
    assert unlike, "a later range was read before an earlier one"


def test_a_range_that_is_left_out_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The judge's own test: a source that takes the last range for read as soon as it begins."""
    cut_at = Run.cut_at

    def hasty(run: Run, cuts: Sequence[str]) -> Run:
        cut = cut_at(run, cuts)
        return replace(cut, parts=(*cut.parts[:-1], replace(cut.parts[-1], done=True)))

    monkeypatch.setattr(Run, "cut_at", hasty)
    assert any(broken(World(seed, IN_PARTS).run()) for seed in range(40))


@pytest.mark.parametrize("seed", range(10))
def test_a_document_that_is_created_twice_is_in_no_conflict_with_itself(seed: int) -> None:
    """Somebody sets a field between the two creations, which say the same of it, and again after the second."""
    world = World(seed, Knobs(rows=0, deletes=0, repeats=0, crashes=0)).run()
    told, key = len(world.merge.conflicts), world.overlap_creations()
    assert key is not None
    sink = world.sinks[MONGODB]
    sink.read(len(world.merge.writes[MONGODB]))
    while sink.put():
        pass
    stands = world.fields(MONGODB, key) or {}
    assert "Phone" in stands, "the second creation leaves it alone"
    again = world.nature.token("Phone", stands["Phone"])
    world.edit(MONGODB, key, {"Phone": again})
    world.settle()
    assert world.merge.conflicts[told:] == []
    assert world.merge.states[key].canonical["Phone"] == again
    assert broken(world) == []


@pytest.mark.parametrize("side", [SALESFORCE, MONGODB])
def test_a_side_that_differs_is_seen(side: str) -> None:
    """A value that nobody told merge of."""
    world = settled()
    world.edit(side, first_key(world), {"Name": "changed behind our back"})
    assert any("differs" in text for text in broken(world))


def test_a_record_that_only_one_side_has_is_seen() -> None:
    """A document that was lost without an event."""
    world = settled()
    del world.database.documents[first_key(world)]
    assert any("differs" in text for text in broken(world))


def test_a_published_record_that_is_not_the_agreed_one_is_seen() -> None:
    """What `records` says is part of the promise."""
    world = settled()
    world.merge.published[first_key(world)] = {"Name": "of yesterday"}
    assert any("differs" in text for text in broken(world))


def test_an_edit_that_is_beaten_by_what_its_author_saw_is_seen() -> None:
    """Somebody saw the agreed value and changed it; the agreed value came back all the same."""
    world = settled()
    state = next(state for state in world.merge.states.values() if state.canonical.get("Name"))
    world.nature.history.wrote("newer", "Name", state.canonical["Name"])
    found = broken(world)
    assert any("lost edit" in text for text in found)
    assert any("vanished edit" in text for text in found), "nobody was told of it, either"


def test_a_conflict_between_edits_that_knew_of_each_other_is_seen() -> None:
    """One of the two was made by somebody who had seen the other."""
    world = settled()
    child, seen = next(
        (child, seen) for child, seen in world.nature.history.parents.items() if seen is not None
    )
    standing, challenger = Edit(SALESFORCE, seen, 1), Edit(MONGODB, child, 2)
    contest = Contest(OBJECT, first_key(world), EDITABLE[0], standing, challenger, SALESFORCE)
    world.merge.conflicts.append(LAST_WRITER_WINS(contest))
    assert any("false conflict" in text for text in broken(world))


def test_a_contest_over_what_nobody_has_edited_is_seen() -> None:
    """The org cleared a lookup, or a field is merely new to the sync; and yet that is said to be an edit."""
    world = settled()
    key = first_key(world)
    world.nature.history.touched.discard((SALESFORCE, key))
    standing, challenger = Edit(MONGODB, False, 1), Edit(SALESFORCE, True, 2)
    contest = Contest(OBJECT, key, EXISTENCE, standing, challenger, SALESFORCE)
    world.merge.conflicts.append(LAST_WRITER_WINS(contest))
    assert any("nobody has edited it" in text for text in broken(world))


@pytest.mark.parametrize("side", [SALESFORCE, MONGODB])
def test_what_is_given_up_as_a_side_goes_back_is_seen(side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The side lacks a record that is agreed on, and somebody takes that for a deletion."""
    monkeypatch.setattr(went_back, "is_known", lambda _: False)
    world = settled()
    lost = Change(side, Op.ABSENT, as_of=1, history="of a backup")
    world.merge.tell(first_key(world), lost)
    world.settle()
    assert any("given up" in text for text in broken(world))


@pytest.mark.parametrize("history", ["", "restored"])
def test_a_guest_that_is_taken_off_its_side_is_seen(history: str) -> None:
    """But not where it had ended there, and a side whose history went back shows it again."""
    guest = born_in_mongodb(only_oslo(), City="Bergen")
    after = guest.state.copy()
    before = after.copy()
    before.sides[MONGODB].exists = False
    after.sides[MONGODB].history = history
    gate = Gate()
    gate.watch(guest.key, before, Folded(after, {MONGODB: Write(200, WriteOp.DELETE)}), guest.rules)
    assert any("never entered" in text for text in gate.astray) == (history == "")


def test_a_cleared_lookup_that_is_half_of_a_conflict_is_seen() -> None:
    """Here somebody says that the org did by itself what in truth a user did, and that is in conflict."""
    world = settled()
    key = first_key(world)
    world.delete(MONGODB, key)
    while world.database_source.turn():
        pass
    log = world.org.log
    world.edit(SALESFORCE, key, {"Name": "of a user"})
    log[-1] = replace(log[-1], change=replace(log[-1].change, source={FOLLOWS: ""}))
    world.settle()
    assert any("is in conflict" in text for text in broken(world))


def test_a_value_of_the_added_field_that_vanishes_is_seen() -> None:
    """It was there before the sync knew the field; nobody has cleared it, and nothing has taken its place."""
    world = World(7, Knobs(deletes=0, repeats=0, crashes=0, grows=True)).run()
    assert broken(world) == []
    key, state = next((k, s) for k, s in world.merge.states.items() if s.lives)
    world.nature.history.places["forgotten"], world.nature.history.records["forgotten"] = ADDED, key
    state.canonical.pop(ADDED, None)
    world.nature.history.emptied.clear()
    assert any("vanished value" in text for text in broken(world))


def test_a_log_that_gives_another_state_is_seen() -> None:
    """One change is missing when the log is folded again."""
    world = settled()
    del world.merge.log[0]
    assert any("another state" in text for text in broken(world))


def test_a_seed_tells_the_same_story_again() -> None:
    """Else no failure could be looked into."""
    first, second = World(11).run(), World(11).run()
    assert [change for _, change, _ in first.merge.log] == [change for _, change, _ in second.merge.log]
