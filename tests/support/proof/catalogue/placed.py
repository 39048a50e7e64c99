"""Several collections of one object: a document is in the one that the agreed record belongs into, with all that is in it."""

from __future__ import annotations

from typing import Final

from support.proof.mutants import Mutant

PLACED: Final = (
    Mutant(
        "what no collection is for is wanted",
        "Places: a record that no collection is for leaves, as if a filter said so",
        "model.views",
        "            return self.places is None or self.places(record) is not None\n",
        "            return True\n",
    ),
    Mutant(
        "a document is owed the place that it has",
        "Places: the agreed record says where its document belongs",
        "model.steps.owed",
        "        own[PLACE] = rules.views[MONGODB].place(state.canonical) or _place_of(state.sides[MONGODB])\n",
        "        own[PLACE] = _place_of(state.sides[MONGODB]) or rules.views[MONGODB].place(state.canonical)\n",
    ),
    Mutant(
        "a document that has moved is a new one",
        "Places: a move is an update, and no new life: what was seen before it still counts",
        "model.steps.placed",
        "    return replace(change, op=Op.UPDATE) if state.sides[MONGODB].exists is True else change\n",
        "    return change\n",
    ),
    Mutant(
        "the end of a copy is the end of the record",
        "Places: the end of a document in another collection says nothing of the record",
        "model.steps.placed",
        "    return known not in (None, place) if change.op is Op.DELETE else ",
        "    return False if change.op is Op.DELETE else ",
    ),
    Mutant(
        "an edit of either of two documents is taken",
        "Places: of two documents with one _id nothing is taken",
        "model.steps.placed",
        "    if PLACE in x.misfits:\n        return True\n",
        "",
    ),
    Mutant(
        "an edit in any collection is one of the record",
        "Places: an event is folded only if the document is known to be where it comes from",
        "model.steps.placed",
        " else told is not Op.CREATE and known != place\n",
        " else False\n",
    ),
    Mutant(
        "nobody looks again at a document whose event was not folded",
        "Places: the row says what the event could not",
        "model.fold",
        "        work.out.to_read.add(change.origin)\n        work.report(Fact.ELSEWHERE)\n",
        "        work.report(Fact.ELSEWHERE)\n",
    ),
    Mutant(
        "an event that was not folded is news when it is told again",
        "1: what was told is old news",
        "model.fold",
        "        x.order = change.order  #",
        "        x.order = x.order  #",
    ),
    Mutant(
        "merge writes although there are two documents",
        "Places: nothing is written to either of two documents",
        "model.steps.owed",
        "    if PLACE in side.misfits:\n        return None  #",
        "    if False:\n        return None  #",
    ),
    Mutant(
        "a look tries again a move that was refused",
        "7: what was refused waits for an edit",
        "model.fold",
        "            own = OWNED_BY_MERGE - {PLACE} if change.is_row else OWNED_BY_MERGE\n",
        "            own = OWNED_BY_MERGE\n",
    ),
    Mutant(
        "a move that was refused is never tried again",
        "7: an edit may be the cure of a refusal",
        "model.steps.placed",
        "    work.state.sides[MONGODB].parked.pop(PLACE, None)\n",
        "",
    ),
    Mutant(
        "the target of a one-way object that has two documents is tried for ever",
        "Places: a refusal that names the place alone is one of the whole record",
        "model.steps.outcomes",
        "    at_fault = settable if change.changed == frozenset({PLACE}) else (change.changed or settable) & settable\n",
        "    at_fault = (change.changed or settable) & settable\n",
    ),
    Mutant(
        "what is left in a collection that the object has no longer is deleted",
        "Places: that a collection leaves the configuration is nobody's deletion",
        "model.steps.life",
        "    if left_behind:\n        return",
        "    if False:\n        return",
    ),
    Mutant(
        "what was seen in the collection of now is taken for left behind",
        "Places: that a collection leaves the configuration is nobody's deletion",
        "model.steps.placed",
        "    return max(x.as_of, x.commit_time) <= int(change.source[SINCE])\n",
        "    return True\n",
    ),
    Mutant(
        "what happened in a collection before it was the object's is news",
        "Places: what a copy's events tell from before the configuration named it is no news of the record",
        "mongodb.reading.events",
        "    return time_of(event) <= since\n",
        "    return False\n",
    ),
    Mutant(
        "a deletion is taken at its word",
        "Places: a move is no deletion, even if the source is killed between its two events",
        "mongodb.reading.placed",
        ' else operation == "delete" and places > 0\n',
        " else False\n",
    ),
    Mutant(
        "a second document with the _id is taken for a move",
        "Places: an insert is reported after a look into all collections",
        "mongodb.reading.placed",
        '    return places > 1 if operation == "insert" else ',
        '    return False if operation == "insert" else ',
    ),
    Mutant(
        "of two documents, a row shows one",
        "Places: several documents with one _id are reported, and nothing of them",
        "mongodb.reading.placed",
        "    if len(found) > 1:\n",
        "    if len(found) > 2:\n",
    ),
    Mutant(
        "a document moves without a guard",
        "Places: the guard of a move is that of an update",
        "mongodb.writing.places",
        "    if marker is None:\n        return EXISTS if write.expected else None\n"
        "    if _is_odd(write, marker) or marker < write.seq:\n",
        "    if True:\n",
    ),
    Mutant(
        "a creation does not look into the other collections",
        "Places: a creation over a document that a former one has made moves it",
        "mongodb.writing.places",
        "        elif not at or goes_to in at:\n",
        "        elif not at or goes_to in at or record.write.op is WriteOp.CREATE:\n",
    ),
    Mutant(
        "a moved document has only what Salmon knows of it",
        "Places: the application's own properties go along",
        "mongodb.writing.places",
        "    document = copy.deepcopy(dict(document))\n",
        '    document = {"_id": document["_id"], MARKER: document.get(MARKER, {})}\n',
    ),
    Mutant(
        "the sink writes to one of two documents",
        "Places: nothing is written to either of two documents",
        "mongodb.writing.places",
        "        if len(at) > 1:\n",
        "        if len(at) > 2:\n",
    ),
    Mutant(
        "an end that tells no place is the end of the record",
        "Places: the end of a document may be half of a move, which a source with another configuration cannot see",
        "model.steps.placed",
        "    if change.op is Op.DELETE and _may_be_a_move(work):\n        return True\n",
        "",
    ),
    Mutant(
        "a look that finds nothing while a move is on its way is believed",
        "Places: what a look does not find while a move is on its way may be in a collection that its source does not know",
        "model.fold",
        "    if placed.is_too_early(work):\n        work.report(Fact.ELSEWHERE)\n        return\n",
        "",
    ),
)
