"""What the filter and the masks of a side do to a record, for `salmon why`. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from salmon.model.rules import Rules
from salmon.model.state import State
from salmon.model.steps.admission import is_wanted, stays_unwanted
from salmon.story.formatting import side_named


def filtered(state: State, rules: Rules) -> Iterator[str]:
    """What a reader should know of a record that is in sync otherwise. Each continues "Account 001... "."""
    for name in state.sides:
        view, there = rules.views.get(name), side_named(name)
        if view is None:
            continue
        text = f" ({view.text})" if view.text else ""
        if stays_unwanted(state, name, rules):
            yield (
                f"does not match the filter of {there}{text}, but stays there: it was created there, or a person has kept it. "
                f"Its edits there are synced; what is edited elsewhere is not written to {there} until it matches."
            )
        elif not is_wanted(state, name, rules):
            yield f"is not in {there}, because it does not match the filter of {there}{text}. Otherwise it is in sync."
        elif masked := sorted(view.masks.keys() & state.canonical.keys()):
            yield f"is in sync; {there} has {', '.join(masked)} masked, so edits of that there are overruled."


def views_of(state: State, name: str, rules: Rules) -> Mapping[str, Any]:
    """What `salmon why --json` says of a side that has a filter or masks; nothing of any other."""
    if (view := rules.views.get(name)) is None:
        return {}
    return {
        "filter": {
            "wants_it": state.lives and is_wanted(state, name, rules),
            "stays_unwanted": stays_unwanted(state, name, rules),
            "is_current": state.sides[name].viewed_by == view.digest,
        },
        "masked": sorted(view.masks),
        "computed": sorted(view.computed),
    }
