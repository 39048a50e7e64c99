"""What a request asks: a page of records, and what it prefers of the answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import bson
from bson.codec_options import CodecOptions
from fastapi import Request

from salmon.api.grants import Caller
from salmon.api.handle import Api, ApiObject
from salmon.api.problems import Problem, at_fault
from salmon.api.records.filters import filters_of
from salmon.api.records.matching import query_of
from salmon.api.records.paging import Order, after, order_of, sort_of
from salmon.api.records.selecting import Selection, selection_of
from salmon.config.sections.api import ApiConfig
from salmon.mongodb.wire.client import Document, border

RESERVED: Final = frozenset({"select", "order", "limit", "cursor"})
PARAMETERS_MAX: Final = 100
SYNCED: Final = "wait=synced"
RECORDS_MAX: Final = 10_000  # of one page, with those that are embedded
BYTES_MAX: Final = 32_000_000
_ESTIMATED_MAX: Final = 10_000  # records that an estimate counts at most, with filters


@dataclass(frozen=True, slots=True)
class Prefers:
    """The header Prefer (RFC 7240)."""

    count: str = ""
    synced: bool = False
    minimal: bool = False
    seconds: float | None = None

    @classmethod
    def of(cls, request: Request) -> Prefers:
        said = {
            part.strip().lower() for part in request.headers.get("prefer", "").replace(";", ",").split(",")
        }
        count = next((word for word in ("exact", "estimated") if f"count={word}" in said), "")
        waits = [part.partition("=")[2] for part in said if part.startswith("timeout=")]
        seconds = float(waits[0]) if waits and waits[0].isdecimal() and len(waits[0]) < 4 else None
        return cls(count, SYNCED in said, "return=minimal" in said, seconds)


@dataclass(frozen=True, slots=True)
class Listing:
    """A request for a list."""

    api: Api
    selection: Selection
    query: dict[str, Any]
    order: Order
    limit: int
    cursor: str | None

    @classmethod
    def of(cls, api: Api, of: ApiObject, request: Request, caller: Caller) -> Listing:
        said = request.query_params.multi_items()
        if len(said) > PARAMETERS_MAX:
            raise at_fault("query", "too-many", f"has more than {PARAMETERS_MAX} parameters")
        named = request.query_params
        filters = filters_of((name, text) for name, text in said if name not in RESERVED)
        return cls(
            api,
            selection_of(api, of, named.get("select"), caller),
            query_of(filters, of),
            order_of(named.get("order"), of),
            _limit(named.get("limit"), api),
            named.get("cursor"),
        )

    def read(self, count: str) -> tuple[list[Document], int | None]:
        """The documents of the page, and one more if there is any; and how many records there are in all. Blocks."""
        of = self.selection.of
        first, *others = self.api.collections(of.name)
        page = self.query if self.cursor is None else _both(self.query, after(self.order, self.cursor))
        paths = [each.path for each in self.order]
        with border("reading records"):
            if self.selection.embedded or others:
                pipeline = gathered(of.settings.places, page, sort_of(self.order), self.limit + 1)
                pipeline += self.selection.stages(self.api, paths)
                batches = first.aggregate_raw_batches(pipeline, maxTimeMS=time_bound_ms(self.api))
            else:
                projection = self.selection.projection(paths)
                found = first.find_raw_batches(page, projection, sort=list(sort_of(self.order).items()))
                batches = found.limit(self.limit + 1).max_time_ms(time_bound_ms(self.api))
            documents = bounded(batches, first.codec_options, self.selection)
            return documents, self._counted(count)

    def _counted(self, count: str) -> int | None:
        if not count:
            return None
        collections = self.api.collections(self.selection.of.name)
        bound_ms = time_bound_ms(self.api)
        if count == "estimated" and not self.query:
            return sum(each.estimated_document_count(maxTimeMS=bound_ms) for each in collections)
        bound = {"limit": _ESTIMATED_MAX} if count == "estimated" else {}
        counted = [each.count_documents(self.query, maxTimeMS=bound_ms, **bound) for each in collections]  # type: ignore[arg-type]
        return sum(counted)


def gathered(
    places: Sequence[str], query: dict[str, Any], sort: Mapping[str, int], limit: int
) -> list[dict[str, Any]]:
    """The stages that find the first documents of all collections of an object. They are run on the first one."""
    part: list[dict[str, Any]] = [{"$match": query}, {"$sort": sort}, {"$limit": limit}]
    others = [{"$unionWith": {"coll": each, "pipeline": part}} for each in places[1:]]
    return [*part, *others, *(part[1:] if others else ())]


def bounded(batches: Iterable[Any], options: CodecOptions[Document], selection: Selection) -> list[Document]:
    """
    The documents of a cursor's raw batches, which are bytes (PyMongo's types say: documents).

    Raises:
        Problem: 413, as soon as they are too large, or too many with those that are embedded.
    """
    found: list[Document] = []
    size = records = 0
    for batch in batches:
        size += len(batch)
        if size > BYTES_MAX:
            raise _too_much(f"has more than {BYTES_MAX // 1_000_000} MB")
        documents = bson.decode_all(batch, options)
        records += sum(selection.count(each) for each in documents) if selection.embedded else len(documents)
        if records > RECORDS_MAX:
            raise _too_much(f"has more than {RECORDS_MAX} records, with those that are embedded")
        found += documents
    return found


def _too_much(what: str) -> Problem:
    return Problem(413, "too-much", f"The page {what}. Ask for a lower limit, or for less in `select`.")


def _both(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {"$and": [one, other]} if one else other


def time_bound_ms(api: Api) -> int:
    return bound_ms(api.settings)


def bound_ms(settings: ApiConfig) -> int:
    """After how long MongoDB gives up a query."""
    return max(1, round(settings.query_max_s * 1000))


def _limit(text: str | None, api: Api) -> int:
    most = api.settings.limit_max
    if text is None:
        return api.settings.limit_default
    if not text.isascii() or not text.isdecimal() or len(text) > 6 or not 1 <= int(text) <= most:
        raise at_fault("limit", "out-of-range", f"must be a whole number from 1 to {most} (api.limit_max)")
    return int(text)
