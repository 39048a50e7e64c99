"""
Finds conflict policies by name: Salmon's own, those that let a further side win, and plugins by entry point.

A plugin is a function that takes a contest; salmon.model.policies.Policy says what it may return. There is an
example to install in deploy/examples/longest-text.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Final

from salmon.errors import ConfigError
from salmon.model.policies import POLICIES, Policy, side_wins
from salmon.runtime import discovery

GROUP: Final = "salmon.policies"


def known() -> tuple[str, ...]:
    """List the names that a configuration may use, Salmon's own first."""
    others = entry_points(group=GROUP).names | set(discovery.further_sides())
    return (*POLICIES, *sorted(others - POLICIES.keys()))


def policy_named(name: str, where: str) -> Policy:
    """
    Return the policy of that name.

    Args:
        where: The configuration key that names it, for errors.

    Raises:
        ConfigError: there is no such policy, or the plugin cannot be used.
    """
    if name in POLICIES:
        return POLICIES[name]
    if name in discovery.further_sides():
        return side_wins(name)
    found = next(iter(entry_points(group=GROUP, name=name)), None)
    if found is None:
        raise ConfigError(
            f"{where}: the policy {name!r} does not exist. Choose one of {', '.join(known())}, or install the plugin that "
            f"offers it (entry point group {GROUP})."
        )
    try:
        decide = found.load()
    except Exception as error:
        raise ConfigError(
            f"{where}: the policy {name!r} ({found.value}) cannot be imported ({type(error).__name__}). Install the "
            f"plugin again."
        ) from error
    if not callable(decide):
        raise ConfigError(
            f"{where}: the policy {name!r} ({found.value}) is a {type(decide).__name__}, but must be a function that "
            f"takes a contest. Correct the plugin's entry point."
        )
    return Policy(name, decide)
