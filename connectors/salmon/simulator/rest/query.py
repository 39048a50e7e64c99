"""query and queryAll with their cursors, getUpdated and getDeleted (REST API Developer Guide)."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from salmon.simulator.org.clock import datetime_text
from salmon.simulator.org.ids import make_id
from salmon.simulator.org.org import Org
from salmon.simulator.org.refusals import BadRequest
from salmon.simulator.org.table import Table
from salmon.simulator.rest.web import Answer, Call
from salmon.simulator.soql.answering import Result, run_query

PAGE_MAX = 2000
PAGE_MIN = 200  # the least that batchSize may ask for
CURSOR_LIFE_MS = 2 * 24 * 3600 * 1000
CURSORS_MAX = 100
UPDATED_REACH_MS = 30 * 24 * 3600 * 1000
DELETED_REACH_MS = 15 * 24 * 3600 * 1000
REPLICATED_IDS_MAX = 600_000
_MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class _Cursor:
    result: Result
    page: int
    opened_ms: int


class Cursors:
    """The open query cursors of an org; beyond a hundred the oldest dies."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cursors: OrderedDict[str, _Cursor] = OrderedDict()
        self._opened = 0

    def first_page(self, call: Call, *, with_deleted: bool) -> Answer:
        """GET /query?q= and /queryAll?q="""
        text = call.params.get("q")
        if not text:
            raise BadRequest("MALFORMED_QUERY", "SOQL query is required: give it as the parameter q")
        wanted = call.option("Sforce-Query-Options", "batchSize")
        page = min(max(int(wanted), PAGE_MIN), PAGE_MAX) if wanted and wanted.isdigit() else PAGE_MAX

        def pager(found: Result, version: str) -> dict[str, Any]:
            locator = self._opened_for(found, page, call.org)
            return _shown(found, version, locator, start=0, page=page)

        result = run_query(call.org, text, with_deleted=with_deleted, pager=pager, user=call.user)
        return Answer(200, pager(result, call.version))

    def _opened_for(self, result: Result, page: int, org: Org) -> str:
        """The locator of a new cursor; no text if one page is enough."""
        if result.total <= page or not (result.rows or result.aggregates):
            return ""
        with self._lock:
            self._opened += 1
            locator = make_id("01g", self._opened)
            self._cursors[locator] = _Cursor(result, page, org.clock.now_ms())
            while len(self._cursors) > CURSORS_MAX:
                self._cursors.popitem(last=False)
        return locator

    def next_page(self, call: Call, locator: str) -> Answer:
        """GET /query/01g...-2000"""
        name, _, start = locator.partition("-")
        with self._lock:
            cursor = self._cursors.get(name)
        too_old = cursor is not None and call.org.clock.now_ms() - cursor.opened_ms > CURSOR_LIFE_MS
        if cursor is None or too_old or not start.isdigit() or int(start) >= cursor.result.total:
            raise BadRequest("INVALID_QUERY_LOCATOR", "invalid query locator")
        return Answer(200, _shown(cursor.result, call.version, name, start=int(start), page=cursor.page))


def _shown(result: Result, version: str, locator: str, *, start: int, page: int) -> dict[str, Any]:
    end = min(start + page, result.total)
    body: dict[str, Any] = {"totalSize": result.total, "done": not locator or end >= result.total}
    if not body["done"]:
        body["nextRecordsUrl"] = f"/services/data/v{version}/query/{locator}-{end}"
    body["records"] = result.records(start, end, version)
    return body


def updated(call: Call, object_name: str) -> Answer:
    """GET /sobjects/X/updated/?start=&end="""
    table = _replicated(call, object_name)
    start, end, covered = _span(call, UPDATED_REACH_MS)
    with call.org.lock:
        rows = table.rows()
    ids = [str(row["Id"]) for row in rows if start <= str(row.get("SystemModstamp") or "") < end]
    _check_count(len(ids))
    return Answer(200, {"ids": ids, "latestDateCovered": covered})


def deleted(call: Call, object_name: str) -> Answer:
    """
    GET /sobjects/X/deleted/?start=&end=

    What was deleted for good is not listed. earliestDateAvailable tells when that last happened (SOAP API Developer Guide,
    "GetDeletedResult"), so that a client whose window begins before it knows that the list is incomplete.
    """
    table = _replicated(call, object_name)
    start, end, covered = _span(call, DELETED_REACH_MS)
    with call.org.lock:
        rows = list(table.bin.values())
    stamped = [(str(row.get("SystemModstamp") or ""), str(row["Id"])) for row in rows]
    found = [{"id": each_id, "deletedDate": when} for when, each_id in sorted(stamped) if start <= when < end]
    _check_count(len(found))
    oldest = datetime_text(max(call.org.clock.now_ms() - DELETED_REACH_MS, table.purged_ms))
    return Answer(
        200, {"deletedRecords": found, "earliestDateAvailable": oldest, "latestDateCovered": covered}
    )


def _replicated(call: Call, object_name: str) -> Table:
    """The table, if its changes may be asked for. Raises BadRequest; that an org refuses is known, the words are ours."""
    table = call.table(object_name)
    if not table.type.describe.get("replicateable", True):
        what = f"entity type {table.type.name} is not replicateable"
        raise BadRequest("INVALID_TYPE_FOR_OPERATION", what)
    return table


def _check_count(count: int) -> None:
    if count > REPLICATED_IDS_MAX:
        raise BadRequest("EXCEEDED_ID_LIMIT", f"too many ids in the window: {count}; ask for a shorter one")


def _span(call: Call, reach_ms: int) -> tuple[str, str, str]:
    """Start and end as stamps, without their seconds, and how far the answer will be complete."""
    start_ms, end_ms = (_minute(call.params.get(name, "")) for name in ("start", "end"))
    now_ms = call.org.clock.now_ms()
    if end_ms - start_ms < _MINUTE_MS:
        raise BadRequest(
            "INVALID_REPLICATION_DATE", "endDate must be at least one minute greater than startDate"
        )
    if start_ms < now_ms - reach_ms:
        raise BadRequest("INVALID_REPLICATION_DATE", "startDate before org replication enabled date")
    if start_ms > now_ms:
        raise BadRequest("INVALID_REPLICATION_DATE", "startDate is in the future")
    covered_ms = min(end_ms, now_ms // _MINUTE_MS * _MINUTE_MS)
    return datetime_text(start_ms), datetime_text(end_ms), datetime_text(covered_ms)


def _minute(text: str) -> int:
    try:
        # A "+" that was not encoded arrives as a space.
        moment = datetime.fromisoformat(text.strip().replace(" ", "+"))
    except ValueError:
        raise BadRequest("INVALID_REPLICATION_DATE", f"not a date and time: {text!r}") from None
    if moment.tzinfo is None:
        raise BadRequest("INVALID_REPLICATION_DATE", f"a time zone is missing: {text!r}")
    return int(moment.timestamp() * 1000) // _MINUTE_MS * _MINUTE_MS
