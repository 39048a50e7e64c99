"""Person accounts: whose fields are whose, and what a person is called."""

from __future__ import annotations

from typing import Final

from support.proof.mutants import Mutant

PEOPLE: Final = (
    Mutant(
        "a person's name is written",
        "person accounts: Name is never part of a write that may not hold it",
        "model.schema",
        "    if field.only and field.only != kind:",
        "    if False:",
    ),
    Mutant(
        "a person's name stays as it was",
        "person accounts: Name follows its parts by event alone",
        "model.fold",
        "        with_name(work)\n",
        "",
    ),
    Mutant(
        "a name that the org puts together otherwise is guessed",
        "person accounts: a name that cannot be known is read",
        "model.people",
        "return None if order is None else name_of(parts, order)",
        "return name_of(parts, order or 0)",
    ),
    Mutant(
        "a document says which kind of account it is",
        "person accounts: what there is in the org, the org alone says",
        "model.steps.people",
        "spoken -= {FLAG}",
        "spoken -= set()",
    ),
    Mutant(
        "an edit makes another kind of what is on its way",
        "person accounts: what a creation on its way makes, edits after it do not change",
        "model.steps.people",
        "if FLAG not in known and (made_as := _made_as(state)) is not None:",
        "if (made_as := None) is not None:",
    ),
    Mutant(
        "a person that is created again is a business",
        "person accounts: a record comes back as the kind that it was",
        "model.steps.people",
        "if side.exists is True and (name != change.origin or change.op is Op.UPDATE):",
        "if False:",
    ),
)
