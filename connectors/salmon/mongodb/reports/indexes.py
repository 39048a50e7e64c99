"""
The indexes that reports need: one for the values and the bounds that a filter gives. A report without them looks at all documents.

Ours are known by their names. None is made where another one serves, and only ours are ever dropped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pymongo import ASCENDING
from pymongo.database import Database

from salmon.mongodb.reports.report import BoundReport
from salmon.mongodb.wire.client import Document, border

PREFIX: Final = "salmon_report_"
_PATHS_MAX: Final = 5
_NAME_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class ReportIndex:
    """An index on *paths*, in this order."""

    collection: str
    paths: tuple[str, ...]

    @property
    def name(self) -> str:
        text = f"{PREFIX}{'_'.join(self.paths)}"
        if len(text) <= _NAME_MAX:
            return text
        return f"{text[:_NAME_MAX]}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be made, what is there (or another index in its place), and what of ours no report needs any more: its name."""

    missing: tuple[ReportIndex, ...]
    there: tuple[ReportIndex, ...]
    unneeded: tuple[tuple[str, str], ...]  # collection, name


def indexes_of(reports: Iterable[BoundReport]) -> tuple[ReportIndex, ...]:
    """The indexes of all reports. First the given values, then one bound: an index serves no second one (MongoDB Manual, the ESR guideline)."""
    found = {
        ReportIndex(name, paths): None
        for each in reports
        if (paths := (*each.condition.equal, *each.condition.ranged[:1])[:_PATHS_MAX])
        for name in each.report.collections
    }
    return tuple(index for index in found if not _is_served(index, found))


def _is_served(index: ReportIndex, others: Iterable[ReportIndex]) -> bool:
    """Whether a longer index of another report begins with it."""
    return any(
        index != each
        and index.collection == each.collection
        and each.paths[: len(index.paths)] == index.paths
        for each in others
    )


def plan_of(database: Database[Document], wanted: Sequence[ReportIndex], collections: Iterable[str]) -> Plan:
    """
    Compare with what is there. Changes nothing.

    Args:
        collections: Where an index of ours may be.
    """
    missing: list[ReportIndex] = []
    there: list[ReportIndex] = []
    unneeded: list[tuple[str, str]] = []
    with border("looking at indexes"):
        held = {name: list(database[name].list_indexes()) for name in sorted(set(collections))}
    for index in wanted:
        (there if _is_there(index, held.get(index.collection, ())) else missing).append(index)
    names = {(each.collection, each.name) for each in wanted}
    for collection, found in held.items():
        ours = (str(each["name"]) for each in found if str(each["name"]).startswith(PREFIX))
        unneeded += [(collection, name) for name in ours if (collection, name) not in names]
    return Plan(tuple(missing), tuple(there), tuple(unneeded))


def _is_there(index: ReportIndex, held: Iterable[Mapping[str, Any]]) -> bool:
    """Whether it, or an index that begins with it, finds every document."""
    return any(
        [path for path, kind in each["key"].items() if kind in (1, -1)][: len(index.paths)]
        == list(index.paths)
        and not each.get("sparse")
        and "partialFilterExpression" not in each
        and "collation" not in each
        for each in held
    )


def make(database: Database[Document], index: ReportIndex) -> None:
    """Make an index. Writes go on meanwhile."""
    with border(f"making the index {index.name}"):
        database[index.collection].create_index([(path, ASCENDING) for path in index.paths], name=index.name)


def drop(database: Database[Document], collection: str, name: str) -> None:
    """Drop an index of ours."""
    assert name.startswith(PREFIX)
    with border(f"dropping the index {name}"):
        database[collection].drop_index(name)
