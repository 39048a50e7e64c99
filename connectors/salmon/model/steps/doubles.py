"""
Decimals that Salesforce shows as doubles. Pure.

The org keeps decimal digits, but its change events are doubles, and so are most numbers of its REST answers. Of
1234567890.12345678 they show 1234567890.1234567: taken at its word, each echo of ours would be an edit that cuts the
document's number. So a number that is shown as the nearest double of one that we know of is that number. (An edit in
the org that is smaller than what a double can show cannot be distinguished from none.)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from decimal import Decimal

from salmon.model.change import SALESFORCE, Change, Value
from salmon.model.rules import Rules
from salmon.model.state import State


def with_known_digits(change: Change, state: State, rules: Rules) -> Change:
    """The change, with all digits of the decimals that were sent, agreed on or known before."""
    named = rules.decimals & change.fields.keys()
    if change.origin != SALESFORCE or not named or SALESFORCE not in state.sides:
        return change
    x = state.sides[SALESFORCE]
    known = [*(sent.fields for sent in reversed(x.sent.values())), state.canonical, x.shadow, x.kept]
    fields = {name: _among(change.fields[name], name, known) for name in named}
    return replace(change, fields={**change.fields, **fields})


def same_double(one: Value, other: Value) -> bool:
    """Whether both are numbers that a double shows alike."""
    return isinstance(one, Decimal) and isinstance(other, Decimal) and float(one) == float(other)


def _among(shown: Value, name: str, known: Collection[Mapping[str, Value]]) -> Value:
    return next((fields[name] for fields in known if same_double(shown, fields.get(name))), shown)
