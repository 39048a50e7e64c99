"""
A part of the fold: the agreed values that nobody enters, because they are made from others.

They are agreed on like all others, and published; Salesforce does not have these fields. What a side enters in one is overruled,
as in a formula of the org, and step 7 sets it right again.
"""

from __future__ import annotations

from salmon.model.change import Value
from salmon.model.steps.work import Work
from salmon.model.views import Compute


def settle(work: Work) -> None:
    """Work the values out again from what is agreed on now. Made values are never made from one another."""
    if not work.state.lives:
        return
    for name, of in work.rules.computed.items():
        value = _made(of, work)
        if value != work.state.canonical.get(name):
            work.make(name, value)


def _made(of: Compute, work: Work) -> Value:
    try:
        return of(work.state.canonical)
    except Exception:  # noqa: BLE001 - a fault in how a value is made (salmon.transforms.computed reports it) must not keep the record
        return None
