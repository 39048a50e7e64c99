"""
What a side does by itself as it carries out a write of ours to another record: no edit, though it changes records.

Salesforce clears the lookups to a record that we delete, deletes what cascades from it, and computes roll-ups again. All
of that happens under our user, and without our marker, which each write of ours to the record itself would change. A
flow in our transaction may do more than that, and is somebody's: what sets a value, or clears one that is no lookup, is
an edit as ever.
"""

from __future__ import annotations

from salmon.model.change import Change, Op
from salmon.model.rules import Rules
from salmon.model.state import SideState


def is_consequence(change: Change, x: SideState, rules: Rules) -> bool:
    """Whether *change*, of the side *x*, only reports what followed of a write of ours. It does not answer one itself."""
    if not change.by_us:
        return False
    match change.op:
        case Op.DELETE:
            return True
        case Op.UPDATE:
            return change.ack is None and _only_clears_references(change, rules.spoken(change), rules)
        case Op.ROW:
            # With the marker that it carried before, nothing of ours was written to it since.
            if x.exists is not True or (change.ack or 0) != x.marker:
                return False
            differing = _differing(change, x, rules)
            return bool(differing) and _only_clears_references(change, differing, rules)
        case _:
            return False


def _only_clears_references(change: Change, names: frozenset[str], rules: Rules) -> bool:
    fields = [rules.schema.by_name[name] for name in names & rules.schema.by_name.keys()]
    return all(
        field.reference_to and change.fields.get(field.name) is None for field in fields if field.settable
    )


def _differing(change: Change, x: SideState, rules: Rules) -> frozenset[str]:
    """What the row shows otherwise than it was reported before; null in a field of which nothing was reported says nothing."""
    return frozenset(
        name
        for name in rules.spoken(change)
        if change.fields.get(name) != (None if name in x.unknown else x.shadow.get(name))
    )
