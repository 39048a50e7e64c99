"""What cannot be taken, and what was refused and is sent again."""

from __future__ import annotations

from typing import Final

from support.proof.mutants import Mutant

MISFITS: Final = (
    Mutant(
        "what cannot be taken is never told",
        "4a: what was set aside has a place in the state",
        "model.steps.life",
        "    note(work)\n",
        "",
    ),
    Mutant(
        "what cannot be taken is written over",
        "4a: a value that cannot be taken is not overwritten unasked",
        "model.steps.owed",
        "        and n not in alone\n",
        "",
    ),
    Mutant(
        "what cannot be taken is never written over",
        "4a: a later edit takes the place of a value that cannot be taken",
        "model.steps.misfits",
        "    return version.seq > since and not version.baseline\n",
        "    return False\n",
    ),
    Mutant(
        "what was found takes the place of what cannot be taken",
        "4a: a value that cannot be taken is not overwritten unasked: what was merely found elsewhere is no edit",
        "model.steps.misfits",
        "version.seq > since and not version.baseline",
        "version.seq > since",
    ),
    Mutant(
        "a row that still shows it takes a later edit back",
        "4a: a row that shows what we knew says nothing new",
        "model.steps.misfits",
        "        if work.change.is_row and name in x.misfits and name not in _set_by_ours(work):\n"
        "            continue  # the side still holds what we knew\n",
        "",
    ),
    Mutant(
        "who put it over our value has not seen that",
        "4a: what stands where our write has set a value was put there by somebody who had seen that",
        "model.steps.misfits",
        "            work.set_shadow(name, value)\n",
        "            pass\n",
    ),
    Mutant(
        "another one over our value is taken for the former",
        "4a: what stands where our write has set a value was put there since",
        "model.steps.misfits",
        " and name not in _set_by_ours(work):",
        ":",
    ),
    Mutant(
        "what cannot be taken hides an edit that our write overwrote",
        "2: an edit that our own write overwrote before anybody had seen it is told",
        "model.steps.life",
        "    for name in sorted(ours.fields.keys() - OWNED_BY_MERGE):\n",
        "    for name in sorted(ours.fields.keys() - OWNED_BY_MERGE - work.change.misfits.keys()):\n",
    ),
    Mutant(
        "what cannot be taken hides the edits before it",
        "no lost causal edit: a row shows nothing of what was there before a value that cannot be taken",
        "model.fold",
        "            fold_hidden_value(work, name)\n",
        "            pass\n",
    ),
    Mutant(
        "what cannot be taken hides an edit that our write did not go over in the end",
        "no lost causal edit: a row shows nothing of what was there before a value that cannot be taken",
        "model.fold",
        "elif known.edited and known.name in x.misfits and known.name not in judged:",
        "elif False:",
    ),
    Mutant(
        "an edit takes the place of what cannot be taken and was put there after it",
        "4a: a value that cannot be taken is not overwritten unasked",
        "model.steps.values",
        "    stays_there(work, name)\n",
        "",
    ),
    Mutant(
        "an edit that our write overwrote takes the place of what was put over that",
        "4a: a value that cannot be taken is not overwritten unasked",
        "model.fold",
        "            stays_there(work, known.name)\n",
        "",
    ),
    Mutant(
        "what a side may not set stays there",
        "4: a field that X may not set never wins; step 7 puts it right",
        "model.steps.misfits",
        "work.state.seq if _may_win(work, name) else _OVERRULED",
        "work.state.seq",
    ),
    Mutant(
        "what cannot be taken is unknown for ever",
        "4a: of a new record with such a value the rest goes on",
        "model.steps.misfits",
        "    x.unknown -= frozenset(names)\n",
        "",
    ),
    Mutant(
        "a corrected value is still called one that cannot be taken",
        "4a: it is over when its side reports a value that can be taken",
        "model.steps.life",
        "        x.misfits = {name: misfit for name, misfit in x.misfits.items() if name not in spoken}\n",
        "        pass\n",
    ),
    Mutant(
        "a correction to the former value is old news",
        "4: news is what the side did not hold before",
        "model.steps.values",
        "    if corrected and verdict is Verdict.KNOWN:",
        "    if False:",
    ),
    Mutant(
        "a side that mentions what cannot be taken has kept the old value",
        "3: refused in silence is what an event does not mention",
        "model.steps.life",
        "refused_in_silence(work, ours, spoken | change.misfits.keys())",
        "refused_in_silence(work, ours, spoken)",
    ),
    Mutant(
        "a record is made without what it requires",
        "4a: of a new record with such a value the rest goes on where the field may be empty",
        "model.steps.owed",
        "    if side.exists is not True and lacks_required(state, name, rules):\n",
        "    if False:\n",
    ),
    Mutant(
        "what cannot be taken comes back to life",
        "5: a record lives on as a side holds it",
        "model.steps.life",
        "            and name not in work.state.sides[side].misfits\n",
        "",
    ),
    Mutant(
        "a new life begins with what could not be taken in the former",
        "5: DELETE of X: X's shadow is empty",
        "model.steps.life",
        "x.shadow, x.unknown, x.overwritten, x.misfits = {}, frozenset(), (), {}",
        "x.shadow, x.unknown, x.overwritten = {}, frozenset(), ()",
    ),
    Mutant(
        "the document does not say what could not be taken",
        "4a: every view tells what was set aside, the document's error among them",
        "model.steps.owed",
        "(_refusals(salesforce), *sentences(state))",
        "(_refusals(salesforce),)",
    ),
    Mutant(
        "the topic forgets what could not be taken",
        "the same log gives the same state, however it is cut into restarts",
        "merge.states",
        '                if misfit["name"] in names\n            },\n',
        "                if False\n            },\n",
    ),
    # An operator's RETRY.
    Mutant(
        "what was refused is not sent again",
        "6: an operator has what was refused sent again",
        "model.steps.retrying",
        "            del side.parked[name]\n",
        "            pass\n",
    ),
    Mutant(
        "asked for twice, it is sent twice",
        "6: a request to send again is of one write, and has one effect",
        "model.steps.retrying",
        "p.why is Park.REFUSED and p.group == change.ack",
        "p.why is Park.REFUSED",
    ),
    Mutant(
        "what waits for a parent is sent again too",
        "6: a request to send again is of what was refused",
        "model.steps.retrying",
        "p.why is Park.REFUSED and p.group == change.ack",
        "p.group == change.ack",
    ),
)
