"""Objects as an org describes them, change events as payloads, and an org that answers from memory, for unit tests."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from salmon.model.schema import ObjectSchema, schema_of_describe
from salmon.salesforce.catalog import SyncedObject
from salmon.salesforce.wire.clock import OrgClock
from salmon.salesforce.wire.pubsub_api.layout import EventLayout, layout_of
from salmon.salesforce.wire.rest import Page
from salmon.simulator.events.cdc_schema import event_schema
from salmon.simulator.org.objects.describes import load_describes

RECORDED = Path(__file__).parents[2] / "data" / "salesforce" / "cdc"
OUR_USER = "005000000000001AAA"
A_USER = "005000000000002AAA"


def recorded(name: str) -> Any:
    """A recorded schema or response."""
    return json.loads((RECORDED / name).read_text("utf-8"))


@cache
def schema(name: str) -> ObjectSchema:
    """The schema of a demo object, with its live fields as its change events have them."""
    return schema_of_describe(load_describes(marker_fields=True)[name], live=layout(name).live)


@cache
def layout(name: str) -> EventLayout:
    """The layout of a demo object's change events."""
    return layout_of(json.loads(event_schema(load_describes(marker_fields=True)[name]).schema_json))


def synced(name: str) -> SyncedObject:
    """A demo object as the catalog gives it."""
    return SyncedObject(
        schema(name), frozenset(f["name"] for f in load_describes(marker_fields=True)[name]["fields"])
    )


def bits(name: str, *fields: str) -> list[str]:
    """The top-level bitmap that names these plain fields."""
    slots = [slot.name for slot in layout(name).slots]
    number = sum(1 << slots.index(field) for field in fields)
    return [f"0x{number:X}"] if number else []


def payload(
    kind: str,
    *ids: str,
    name: str = "Account",
    at: int = 0,
    user: str = A_USER,
    commit: int = 1,
    changed: Sequence[str] | None = None,
    nulled: Sequence[str] = (),
    diff: Sequence[str] = (),
    **fields: Any,
) -> dict[str, Any]:
    """The payload of one change event; *fields* are the top-level ones, *at* its commitTimestamp in ms."""
    header = {
        "entityName": name,
        "recordIds": list(ids),
        "changeType": kind,
        "changeOrigin": "",
        "transactionKey": f"transaction-{commit}",
        "sequenceNumber": 1,
        "commitTimestamp": at,
        "commitNumber": commit,
        "commitUser": user,
        "nulledFields": list(nulled),
        "diffFields": list(diff),
        "changedFields": bits(name, *fields) if changed is None and kind == "UPDATE" else list(changed or ()),
    }
    empty = {slot.name: None for slot in layout(name).slots[1:]}
    return {"ChangeEventHeader": header, **empty, **fields}


def event(number: int, body: Mapping[str, Any]) -> Any:
    """A ConsumerEvent in all that matters; its schema id is the object's name (see `EventSchemas`)."""
    told = SimpleNamespace(
        id=f"event-{number}", schema_id=body["ChangeEventHeader"]["entityName"], payload=body
    )
    return SimpleNamespace(event=told, replay_id=number.to_bytes(8, "big"))


@dataclass(frozen=True)
class AsItIs:
    """An event schema whose payloads need no decoding."""

    layout: EventLayout

    def read(self, body: Any) -> Mapping[str, Any]:
        if not isinstance(body, Mapping):
            raise EOFError  # noqa: TRY004 (what fastavro raises at the end of broken bytes)
        return body


def schema_of(schema_id: str) -> Any:
    """The event schema with this id, which is an object's name."""
    return AsItIs(layout(schema_id))


@dataclass
class MemoryOrg:
    """
    Rest, as far as reading goes, over records in memory, with a clock that tests turn.

    It understands the queries that Salmon asks, and no others.
    """

    now_ms: int = 1_000_000_000_000
    records: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)  # object -> Id -> fields
    deleted: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    queries: list[str] = field(default_factory=list)
    fails_with: Exception | None = None
    hides: dict[str, Exception] = field(default_factory=dict)  # objects that the org refuses to show
    takes_ms: int = 0  # a query moves the clock on by so much
    gone_before_retrieved: set[str] = field(
        default_factory=set
    )  # Ids: deleted as soon as a query has shown them

    def __post_init__(self) -> None:
        self.clock = OrgClock(lambda: self.now_ms / 1000)
        self.look_at_clock()

    def look_at_clock(self) -> None:
        self.clock.saw(formatdate(self.now_ms // 1000, usegmt=True))

    def count(self, name: str) -> int:
        return len(self.records.get(name, {}))

    def count_roughly(self, name: str) -> int:
        return self.count(name)

    def query_bytes(self, soql: str) -> int:
        return len(soql)

    def put(self, name: str, native_id: str, **fields: Any) -> None:
        self.records.setdefault(name, {})[native_id] = {"Id": native_id, **fields}

    def remove(self, name: str, native_id: str, at: str) -> None:
        self.deleted.setdefault(name, {})[native_id] = {
            **self.records[name].pop(native_id),
            "SystemModstamp": at,
        }

    def retrieve(self, name: str, ids: Sequence[str], fields: Sequence[str]) -> Page:
        self.queries.append(f"retrieve {name}")
        there = self.records.get(name, {})
        for native_id in self.gone_before_retrieved & there.keys() & set(ids):
            self.remove(name, native_id, "2001-09-09T01:46:41Z")
        return Page([there[i] for i in ids if i in there], self.now_ms + 1000)

    def pages(self, soql: str, *, deleted: bool = False) -> Iterator[Page]:
        if self.fails_with is not None:
            raise self.fails_with
        self.queries.append(soql)
        self.now_ms += self.takes_ms
        self.look_at_clock()
        words = soql.split()
        name = words[words.index("FROM") + 1]
        if name in self.hides:
            raise self.hides[name]
        rows = (self.deleted if deleted else self.records).get(name, {})
        found = [row for _, row in sorted(rows.items()) if _holds(soql, row)]
        if "COUNT(Id)" in soql:
            found = [{"expr0": len(found)}]
        if "DESC" in words:
            found.reverse()
        limit = int(words[words.index("LIMIT") + 1]) if "LIMIT" in words else None
        yield Page(found[:limit], OrgClock.read_until(self.now_ms // 1000 * 1000, 0))


def _holds(soql: str, row: Mapping[str, Any]) -> bool:
    where = soql.partition(" WHERE ")[2].partition(" ORDER BY ")[0]
    for condition in filter(None, where.split(" AND ")):
        name, operator, value = condition.split(" ", 2)
        match operator:
            case "IN":
                if row.get(name) not in [item.strip("'") for item in value.strip("()").split(",")]:
                    return False
            case ">":
                if not row[name] > value.strip("'"):
                    return False
            case "<=":
                if not row[name] <= value.strip("'"):
                    return False
            case ">=":
                if name in row and not row[name] >= value:  # what has no stamp has just been changed
                    return False
            case "!=":
                if row.get(name) is None:
                    return False
            case "=" if value == "null":
                if row.get(name) is not None:
                    return False
            case "=":
                assert condition == "IsDeleted = true"
    return True
