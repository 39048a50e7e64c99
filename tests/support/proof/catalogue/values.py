"""What a value means on each side: fields that may not be empty, digits, Ids and numbers in several forms."""

from __future__ import annotations

from typing import Final

from support.proof.mutants import Mutant

VALUES: Final = (
    Mutant(
        "where no events come, a lookup that the org has cleared counts as somebody's edit",
        "4: what the org clears as we delete its target is nobody's edit",
        "model.steps.values",
        "    is_ours = change.origin in work.rules.eventless or (\n",
        "    is_ours = (\n",
    ),
    Mutant(
        "a document that lacks its owner clears it",
        "4: a field that may not be empty is not cleared by a document that lacks it",
        "model.rules",
        "return side != SALESFORCE and name in self.never_empty",
        "return False",
    ),
    Mutant(
        "a checkbox that is missing says nothing",
        "4: a checkbox that is missing is false",
        "model.rules",
        "field.name: False if field.kind is Kind.BOOLEAN else None",
        "field.name: None",
    ),
    Mutant(
        "the echo of a long number is an edit",
        "4: the nearest double of a known decimal is that decimal, where Salesforce shows it",
        "model.steps.doubles",
        "return next((fields[name] for fields in known if same_double(shown, fields.get(name))), shown)",
        "return shown",
    ),
    Mutant(
        "a number that would lose digits is rounded",
        "the digits that the document has are sent, or the value is set aside",
        "model.convert",
        "    if not kept:\n",
        "    if False:\n",
    ),
    Mutant(
        "a date of any year is sent",
        "a date that Salesforce cannot hold is refused alone, before it is sent",
        "model.convert",
        "return not _DAY_MIN <= value <= _DAY_MAX",
        "return False",
    ),
    Mutant(
        "equal numbers of two types are two keys",
        "identity is by value: what MongoDB takes for equal is one key",
        "mongodb.keys",
        "if value.is_finite() and value == (whole := int(value)) and _INT64_MIN <= whole <= _INT64_MAX:",
        "if isinstance(number, int) and (whole := number) == value:",
    ),
    Mutant(
        "an Id in 15 characters is no Id",
        "identity is by value: an Id in 15 characters and in 18 is the same",
        "salesforce.writing.references",
        "return whole if target in field.reference_to else None",
        "return whole if target in field.reference_to and whole == value else None",
    ),
    Mutant(
        "null is sent where the org takes none",
        "never null to what describe calls not nillable",
        "salesforce.writing.references",
        "if value is None and not field.nillable:",
        "if False:",
    ),
    Mutant(
        "another order of the choices is another value",
        "identity is by value: a multi-select picklist is a set",
        "model.convert",
        'tuple(sorted(set(chosen) - {""}))',
        "tuple(dict.fromkeys(each for each in chosen if each))",
    ),
    Mutant(
        "a state keeps the order of the choices",
        "identity is by value: a multi-select picklist is a set, also in a state of before",
        "merge.states",
        "                row[name] = choices(row[name])\n",
        "                row[name] = tuple(row[name])\n",
    ),
    Mutant(
        "a target is looked for under every object",
        "a lookup that can point to several objects keeps the target's type together with its key",
        "salesforce.writing.references",
        "names = (target.type,) if target.type else field.reference_to",
        "names = field.reference_to",
    ),
    Mutant(
        "a document holds the key without the object",
        "a lookup that can point to several objects keeps the target's type together with its key, in the document",
        "mongodb.targets",
        "return {TYPE: target.type, ID: shown_id} if target.type else shown_id",
        "return shown_id",
    ),
    Mutant(
        "what a queue owns says nothing of it",
        "a lookup that can point to several objects keeps the target's type, also of one that is not synced",
        "salesforce.identity",
        'next((each for each, known in field.prefixes if known == prefix), "")',
        '""',
    ),
)
