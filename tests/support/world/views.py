"""Filters, masks, a computed field and places of the World, which may change while the sync runs; and what must hold of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from salmon.model.change import MONGODB, OPERATOR, PLACE, SIDES, Change, Op, Value, WriteOp
from salmon.model.fold import Folded
from salmon.model.policies import EXISTENCE
from salmon.model.rules import Rules
from salmon.model.state import State
from salmon.model.steps.admission import is_current
from salmon.model.views import Compute, Places, View, Wants

if TYPE_CHECKING:
    from support.world.nature import Knobs
    from support.world.play import World

MASKED: Final = "Phone"
COLLECTIONS: Final = ("accounts", "partners")  # of the database; the second one, where the object has several
OWN: Final = "Own"  # a property of a document that is the application's
LABEL: Final = "Label"  # made of Name and City, if anything is
# A record is not wanted whose Name begins with the first of these; after the filter has changed, with the second.
_UNWANTED: Final = ("k", "a")
CHANGES: Final = ("", "another", "ends", "begins")


def views_of(knobs: Knobs, *, changed: bool) -> Mapping[str, View]:
    """The views of all sides, before or after they have *changed*."""
    made = _filters_and_masks(knobs, changed=changed)
    if knobs.places:
        swapped = changed and knobs.views_change == "another"
        plain = made.get(MONGODB) or View("places")
        placed = replace(
            plain,
            digest=f"{plain.digest} in {swapped}",
            places=_placing(swapped=swapped),
            collections=frozenset(COLLECTIONS),
        )
        made = {**made, MONGODB: placed}
    if not knobs.computes:
        return made
    sign = "+" if changed and knobs.views_change else "-"
    plain = made.get(MONGODB) or View("label")
    return {
        **made,
        MONGODB: replace(plain, digest=f"{plain.digest} {sign}", computed={LABEL: _labelled(sign)}),
    }


def _placing(*, swapped: bool) -> Places:
    """By the number in a record's Name; one of them in ten is in neither collection."""

    def place(record: Mapping[str, Value]) -> str | None:
        digits = "".join(each for each in str(record.get("Name", "")) if each.isdigit())
        number = int(digits or 0)
        return None if number % 10 == 7 else COLLECTIONS[number % 2 != swapped]

    return place


def misplaced(world: World) -> Iterator[str]:
    """Documents that are not where the agreed record belongs, and what an application has lost of its own."""
    if not world.knobs.places:
        return
    database, view = world.database, world.merge.rules.views[MONGODB]
    for key, state in world.merge.states.items():
        side = state.sides[MONGODB]
        is_twice = key in database.twins
        if is_twice != (PLACE in side.misfits):
            yield f"{key}: twice {is_twice}, told {PLACE in side.misfits}"
        belongs = view.place(state.canonical)
        there = database.places.get(key)
        waits = is_twice or PLACE in side.parked or EXISTENCE in side.parked
        is_due = state.lives and not waits and is_wanted(world.merge.rules, MONGODB, state)
        if is_due and there and belongs and there != belongs:
            yield f"{key}: is in {there}, belongs into {belongs}"
    for key, document in database.documents.items():
        if document.get(OWN) != database.own.get(key):
            yield f"{key}: the application has {document.get(OWN)!r}, and had set {database.own.get(key)!r}"


def _labelled(sign: str) -> Compute:
    def label(record: Mapping[str, Value]) -> Value:
        name, city = record.get("Name"), record.get("City")
        return None if name is None else f"{name}{sign}{city or ''}"

    return label


def mislabelled(world: World) -> Iterator[str]:
    """Records whose label is not made of what is agreed on."""
    for key, state in world.merge.states.items():
        for name, of in world.merge.rules.computed.items():
            if state.lives and state.canonical.get(name) != of(state.canonical):
                yield f"{key}: {name} is {state.canonical.get(name)!r}"


def _filters_and_masks(knobs: Knobs, *, changed: bool) -> Mapping[str, View]:
    if (knobs.views_change == "ends" and changed) or (knobs.views_change == "begins" and not changed):
        return {}
    letter = _UNWANTED[changed and knobs.views_change == "another"]
    made: dict[str, View] = {}
    for side in dict.fromkeys((*SIDES, knobs.filters, knobs.masks)):
        if side is None:
            continue
        masks = {MASKED: hidden} if knobs.masks == side else {}
        if knobs.filters == side:
            made[side] = View(f"{letter} {[*masks]}", _wanting(letter), masks)
        elif masks:
            made[side] = View("masks", None, masks)
    return made


def _wanting(letter: str) -> Wants:
    return lambda record: not str(record.get("Name", "")).lower().startswith(letter)


def hidden(value: Value) -> Value:
    """What a side holds in place of *value*: never what anybody has written."""
    return f"#{value}"


@dataclass
class Gate:
    """Watches what goes to sides with filters: a record that is not wanted costs no write, but for the one that takes it away."""

    admitted: set[tuple[str, str]] = field(default_factory=set)  # side and key of what has ever matched
    astray: list[str] = field(default_factory=list)

    def watch(self, key: str, before: State | None, out: Folded, rules: Rules) -> None:
        for side in rules.sides:
            if not out.state.lives:
                continue
            if before is not None and _is_shown_again(before, out.state, side):
                self.admitted.add((side, key))
            if is_wanted(rules, side, out.state):
                self.admitted.add((side, key))
            elif (write := out.writes.get(side)) is None or (write.op is WriteOp.UPDATE and not write.fields):
                continue  # such a one calls back a deletion that is on its way
            elif write.op is not WriteOp.DELETE:
                self.astray.append(f"{key}: {write.op} to {side}, which does not want it")
            elif (side, key) not in self.admitted:
                self.astray.append(f"{key}: is taken off {side}, where it has never entered")


def _is_shown_again(before: State, after: State, side: str) -> bool:
    """
    Whether a side whose history went back shows what had ended there. It is gone there by what is agreed, whoever has ended it, so it
    is taken away once more. An example: a document that its filter never wanted, which our deletion has met before an edit of the
    document brought the record back elsewhere.
    """
    was, now = before.sides[side], after.sides[side]
    return now.history != was.history and was.exists is False and now.exists is True


def is_wanted(rules: Rules, side: str, state: State) -> bool:
    view = rules.views.get(side)
    return view is None or bool(view.admits(state.canonical))


def judge_again(world: World, *, at_most: int) -> None:
    """Merge has records judged again whose filters or masks have changed since: some now, some later, some twice."""
    keys = [k for k, s in sorted(world.merge.states.items()) if not is_current(s, world.merge.rules)]
    for key in keys[:at_most]:
        world.merge.tell(key, Change(OPERATOR, Op.RETRY, committed_at=world.nature.time.ms))


def deaths_of_nobody(world: World) -> Iterator[str]:
    """Records that are deleted although nobody has deleted them: they have merely left a side."""
    knobs = world.knobs
    if (
        not (knobs.filters or knobs.places or knobs.leaves)
        or knobs.holes
        or knobs.goes_back
        or knobs.follows
        or knobs.polled
    ):
        return
    for key, state in world.merge.states.items():
        origin = state.life.origin
        if not state.lives and origin in world.sides and (origin, key) not in world.nature.history.ended:
            yield f"{key}: as if somebody had deleted it in {origin}"
