"""Sides whose history went back, and positions that are empty."""

from __future__ import annotations

from typing import Final

from support.proof.mutants import Mutant

_RULE: Final = "4a: a side whose history went back is noticed, told, and read anew"
_EMPTY: Final = "4a: a start at the beginning of a stream that was once heard is a hole"

HISTORY: Final = (
    Mutant(
        "a restored side's older values are edits",
        _RULE,
        "model.fold",
        "        if change.is_row and work.rules.one_way_to is None and went_back.is_known(work):\n",
        "        if False:\n",
    ),
    Mutant(
        "what the restored origin of a one-way object lacks, or shows again, is no news",
        "4a: a side whose history went back is noticed; the origin of a one-way object alone says what is true",
        "model.fold",
        "        if change.is_row and work.rules.one_way_to is None and went_back.is_known(work):\n",
        "        if change.is_row and went_back.is_known(work):\n",
    ),
    Mutant(
        "a record of the time that an org has lost makes a twin of the one that it shows",
        _RULE,
        "model.fold",
        "    if work.change.op is Op.ROW and work.change.history != work.x.history:\n",
        "    if False:\n",
    ),
    Mutant(
        "every row of a restored side is no news",
        _RULE,
        "model.fold",
        "        x.history = change.history\n",
        "",
    ),
    Mutant(
        "by the clock of the time before, what a restored side tells is old",
        _RULE,
        "model.fold",
        "        went_back.forget_order(x)\n",
        "",
    ),
    Mutant(
        "a first row forgets of which history it is",
        _RULE,
        "model.steps.first_load",
        "        history=change.history,\n",
        "",
    ),
    Mutant(
        "what a restored side lacks it still has",
        _RULE,
        "model.steps.went_back",
        "    x.exists, x.native_id, x.marker, x.held = False, None, 0, False\n",
        "",
    ),
    Mutant(
        "a restored side's formulas are overruled",
        _RULE,
        "model.steps.went_back",
        "        if name in work.rules.only_of(change.origin):\n",
        "        if False:\n",
    ),
    Mutant(
        "a write in flight when the side went back is not said anew",
        _RULE,
        "model.steps.went_back",
        "    x.row_since_write, x.burst = True, 0\n",
        "",
    ),
    Mutant(
        "what a restored side holds and cannot be taken is not noticed",
        _RULE,
        "model.steps.went_back",
        "    note(work)\n",
        "",
    ),
    Mutant(
        "a corrected value that a restore brings back is left alone",
        _RULE,
        "model.steps.went_back",
        "    restored = overrule(x, corrected)\n",
        "    restored = corrected\n",
    ),
    Mutant(
        "who corrects what a restore brought back is taken to have seen what is agreed",
        _RULE,
        "model.steps.went_back",
        "        x.shadow.pop(name, None)  # whoever edits it now has not seen what is agreed\n",
        "        pass\n",
    ),
    Mutant(
        "what a restored side lacks still holds what could not be taken",
        _RULE,
        "model.steps.went_back",
        "    x.shadow, x.unknown, x.parked, x.misfits = {}, frozenset(), {}, {}\n",
        "    x.shadow, x.unknown, x.parked = {}, frozenset(), {}\n",
    ),
    Mutant(
        "a write that is repeated after a restore is an edit",
        _RULE,
        "model.fold",
        "            went_back.may_repeat(change, x)\n",
        "            False\n",
    ),
    Mutant(
        "what a creation of before makes again is an edit",
        _RULE,
        "model.steps.went_back",
        "    is_owed = x.exists is False and work.state.lives\n",
        "    is_owed = False\n",
    ),
    Mutant(
        "what a creation of before makes again is an edit as soon as a second row shows it",
        _RULE,
        "model.steps.went_back",
        "(x.marker < seq or (x.marker == seq and bool(x.in_flight)))",
        "x.marker < seq",
    ),
    Mutant(
        "a record that is restored from the recycle bin after a refresh shows a repeated write",
        _RULE,
        "model.steps.went_back",
        "        return x.marker < seq and not _is_as_it_was_told(work)\n",
        "        return x.marker < seq\n",
    ),
    Mutant(
        "what an update of before sets again is an edit",
        _RULE,
        "model.steps.went_back",
        "        return x.marker < seq and not _is_as_it_was_told(work)\n",
        "        return False\n",
    ),
    Mutant(
        "after a restore, a document saved with its marker is a repetition",
        _RULE,
        "model.steps.went_back",
        "    return x.marker < change.ack <= x.settled and (change.op is Op.UPDATE or not x.order)\n",
        "    return change.ack <= x.settled and (change.op is Op.UPDATE or not x.order)\n",
    ),
    Mutant(
        "long after a restore, a copy that is brought back with its marker is a repetition",
        _RULE,
        "model.steps.went_back",
        "    return x.marker < change.ack <= x.settled and (change.op is Op.UPDATE or not x.order)\n",
        "    return x.marker < change.ack <= x.settled\n",
    ),
    Mutant(
        "after a restore and an edit, a write that is repeated on a document without a marker is an edit",
        _RULE,
        "model.steps.went_back",
        "    return x.marker < change.ack <= x.settled and (change.op is Op.UPDATE or not x.order)\n",
        "    return x.marker < change.ack <= x.settled and (x.marker > 0 or not x.order)\n",
    ),
    Mutant(
        "MongoDB's position is believed without its last event",
        _RULE,
        "mongodb.reading.subscription",
        "        if seen is not None:\n            self._require_event(seen)\n",
        "",
    ),
    Mutant(
        "a fresh MongoDB is believed to be the old one",
        _RULE,
        "mongodb.reading.source",
        "        if after is not None and not feed.proven and all_differ(self._ids, ids):\n",
        "        if False:\n",
    ),
    Mutant(
        "another org's position is taken up",
        _RULE,
        "salesforce.reading.feed",
        "            stored = None  # nothing in it is of this org\n",
        "            pass\n",
    ),
    Mutant(
        "rows that were read without a position are not read again",
        _EMPTY,
        "salesforce.reading.feed",
        "        if self._lost or was_read:\n",
        "        if self._lost:\n",
    ),
    Mutant(
        "a first response that comes late is taken for a later one",
        _EMPTY,
        "salesforce.reading.feed",
        "        if self._place != NO_PLACE:\n",
        "        if True:\n",
    ),
    Mutant(
        "a missing position is a first start",
        _EMPTY,
        "salesforce.reading.feed",
        "        self._lost = was_forgotten\n",
        "        self._lost = False\n",
    ),
)
