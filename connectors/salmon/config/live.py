"""
What a change of the file means for a process that runs: which settings count at once, and which need a restart.

The models mark the settings that may change while a process runs (marks.LIVE): those that only say when and how much. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel

from salmon.plugin.marks import is_live

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Changed:
    """A setting that has another value now. *live*: it counts without a restart."""

    key: str
    live: bool


def changes(old: BaseModel, new: BaseModel, prefix: str = "") -> Iterator[Changed]:
    """What differs between two configurations, by key; an object or an event that came or went is one change."""
    for name, field in type(old).model_fields.items():
        key = f"{prefix}{field.alias or name}"
        yield from _changes(getattr(old, name), getattr(new, name), key, live=is_live(field))


def _changes(old: Any, new: Any, key: str, *, live: bool) -> Iterator[Changed]:
    if isinstance(old, BaseModel) and type(old) is type(new):
        yield from changes(old, new, f"{key}.")
    elif isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in dict.fromkeys((*old, *new)):
            if name not in old or name not in new:
                yield Changed(f"{key}.{name}", live)
            else:
                yield from _changes(old[name], new[name], f"{key}.{name}", live=live)
    elif old != new:
        yield Changed(key, live)


def with_live_of(old: M, new: M) -> M:
    """*old*, with the settings of *new* that may change while a process runs."""
    update = {}
    for name, field in type(old).model_fields.items():
        was, now = getattr(old, name), getattr(new, name)
        update[name] = now if is_live(field) else _with_live(was, now)
    return old.model_copy(update=update)


def _with_live(old: Any, new: Any) -> Any:
    if isinstance(old, BaseModel) and type(old) is type(new):
        return with_live_of(old, new)
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return {name: _with_live(each, new[name]) if name in new else each for name, each in old.items()}
    return old
