"""Filters, masks, computed fields, and sides that keep what is deleted elsewhere: DESIGN 4, what is said after rule 7."""

from __future__ import annotations

from typing import Final

from support.proof.mutants import Mutant

FILTERS: Final = (
    Mutant(
        "a computed value stays as it was first made",
        "Computed fields: documents have what is made of the agreed values",
        "model.steps.computed",
        "        if value != work.state.canonical.get(name):\n",
        "        if name not in work.state.canonical:\n",
    ),
    Mutant(
        "what an application enters in a computed field stays there",
        "Computed fields: an edit is overruled, and set right again",
        "model.rules",
        "        own = {SALESFORCE: every - self.schema.computed, MONGODB: every | {SALESFORCE_ID, ERROR}}\n",
        "        made = every - self.schema.computed\n"
        "        own = {SALESFORCE: made, MONGODB: made | {SALESFORCE_ID, ERROR}}\n",
    ),
    Mutant(
        "the org is taken to lack what is computed",
        "Computed fields: Salesforce does not have them",
        "model.rules",
        "        own = {SALESFORCE: every - self.schema.computed, MONGODB: every | {SALESFORCE_ID, ERROR}}\n",
        "        own = {SALESFORCE: every, MONGODB: every | {SALESFORCE_ID, ERROR}}\n",
    ),
    Mutant(
        "edits in turn of what a value is made of are taken for an oscillation of it",
        "Computed fields: what is made of edits is nobody's edit",
        "model.steps.work",
        "        self._agree(name, value, self.version)\n",
        "        self.take(name, value, self.version)\n",
    ),
    Mutant(
        "a value that can no longer be made stays in a document of which the org knows nothing",
        "Computed fields: what cannot be made is cleared",
        "model.steps.owed",
        " or field in rules.computed:\n",
        ":\n",
    ),
    Mutant(
        "what does not match is sent all the same",
        "Filters: a record that a side does not want costs no write",
        "model.steps.owed",
        "    if not is_wanted(state, name, rules):\n        return _owed_to_leave(name, side, rules)\n",
        "",
    ),
    Mutant(
        "no record ever enters a side that has told that it lacks it",
        "Filters: it enters a side as it begins to match",
        "model.steps.admission",
        "    return state.sides[name].entered if admitted is None else admitted\n",
        "    return bool(admitted) and state.sides[name].exists is not False\n",
    ),
    Mutant(
        "what was born where it is not wanted is taken away",
        "Filters: a record that has never matched stays where it was born",
        "model.steps.owed",
        "    if side.entered or any(map(_creates, in_flight)):\n",
        "    if side.exists is True or any(map(_creates, in_flight)):\n",
    ),
    Mutant(
        "a look that missed our creation makes a guest of the record",
        "Filters: what our creation makes is taken away when it no longer matches",
        "model.steps.life",
        "    x.entered = x.entered and x.awaits(WriteOp.CREATE)\n",
        "    x.entered = False\n",
    ),
    Mutant(
        "what was born anew after ours had left is taken away",
        "Filters: a record that has never matched in this life stays where it was born",
        "model.steps.life",
        "    x.entered = x.entered and x.awaits(WriteOp.CREATE)\n",
        "",
    ),
    Mutant(
        "edits that a look has overtaken go with the record that we took away",
        "Filters: an edit on the side that a record leaves is an edit of the record",
        "model.steps.taken_away",
        "    if not (change.origin in rules.views and is_ours and told_by_row and work.state.lives):\n",
        "    if True:\n",
    ),
    Mutant(
        "a repeated creation of what has left stays",
        "Filters: what a repetition made again is taken away once more",
        "model.fold",
        "    x.entered = change.origin in work.rules.views\n    if change.is_row",
        "    if change.is_row",
    ),
    Mutant(
        "with another filter, what came by the former one stays",
        "Filters: what a side had before it had a filter is taken away where it does not match",
        "model.steps.admission",
        "                side.entered = side.exists is True or side.awaits(WriteOp.CREATE)\n",
        "                side.entered = False\n",
    ),
    Mutant(
        "a lookup is lost as its target leaves the org",
        "Filters: what the org does as a record leaves it is no edit of others",
        "model.steps.values",
        "    if cleared and name in work.rules.parents_leave:\n",
        "    if False:\n",
    ),
    Mutant(
        "what the org deletes with a record that leaves it is deleted everywhere",
        "Filters: what the org does as a record leaves it is no deletion of others",
        "model.steps.life",
        "    elif work.is_consequence and work.rules.parents_leave:\n",
        "    elif False:\n",
    ),
    Mutant(
        "a masked value can win",
        "Masks: the field is one-way to the side that holds it masked",
        "model.rules",
        "        if name in self.masked(side):\n            return False\n",
        "",
    ),
    Mutant(
        "a side gets the value itself",
        "Masks: the side holds the masked value",
        "model.steps.owed",
        "    agreed = rules.seen_by(name, state.canonical)\n",
        "    agreed = state.canonical\n",
    ),
    Mutant(
        "a mask contests a deletion",
        "Masks: what a side cannot have seen is not unseen",
        "model.steps.life",
        "    agreed = work.rules.seen_by(work.change.origin, state.canonical)\n    unseen = [",
        "    agreed = state.canonical\n    unseen = [",
    ),
    Mutant(
        "a record that comes back has the mask for its value",
        "Masks: only sides that hold the value can say what it is",
        "model.steps.life",
        "    of_others: set[str] = set(masked)\n",
        "    of_others: set[str] = set()\n",
    ),
    Mutant(
        "a side that keeps its records is told of deletions",
        "deletes: ignore, archive: the side's record stays",
        "model.steps.owed",
        "    if not state.lives and name in rules.keeps:\n        return _owed_a_mark(side, rules.keeps[name], rules.live[name])\n",
        "",
    ),
    Mutant(
        "an edit of a record that was kept contests its deletion",
        "deletes: ignore, archive: the record that is kept is on its own",
        "model.steps.life",
        " or not fresh or change.origin in work.rules.keeps:\n",
        " or not fresh:\n",
    ),
)
