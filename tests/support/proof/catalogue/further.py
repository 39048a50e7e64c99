"""Further sides: what holds for Salesforce's word and for a document's own properties on a third side."""

from __future__ import annotations

from typing import Final

from support.proof.mutants import Mutant

FURTHER: Final = (
    Mutant(
        "a field that Salesforce has not told is cleared on a further side",
        "7: what nobody has told yet is unknown, and not null",
        "model.steps.owed",
        "    if name == SALESFORCE or SALESFORCE not in state.sides or field not in rules.schema.by_name:\n",
        "    if name != MONGODB or SALESFORCE not in state.sides or field not in rules.schema.by_name:\n",
    ),
    Mutant(
        "a second creation names to a further side what only documents have",
        "7: the properties that merge owns are a document's",
        "model.steps.owed",
        "    own = OWNED_BY_MERGE & rules.names[name]\n",
        "    own = OWNED_BY_MERGE\n",
    ),
    Mutant(
        "the short way of a first row tells a further side the Salesforce Id",
        "7: the properties that merge owns are a document's",
        "model.steps.first_load",
        "        side: {**fields, **own} if SALESFORCE_ID in names else dict(fields)\n",
        "        side: {**fields, **own}\n",
    ),
)
