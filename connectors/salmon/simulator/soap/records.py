"""
What the SOAP API does with records: create, update, upsert, delete, and what no other API can: undelete, merge, convertLead
and emptyRecycleBin.

A call is one transaction. Each record has a result of its own, in the order of the schema; with AllOrNoneHeader one that is
refused undoes the others. Which code an id that is not in the Recycle Bin is refused with is our reading for emptyRecycleBin.
Source: SOAP API Developer Guide ("create()" to "undelete()", "AllOrNoneHeader", "DuplicateRuleHeader", "CallOptions").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from salmon.simulator.bulk.ingest import value_of
from salmon.simulator.org.ids import id18
from salmon.simulator.org.org import Org
from salmon.simulator.org.refusals import Refusal, invalid_cross_reference, rolled_back
from salmon.simulator.org.saving.converting import Conversion, convert
from salmon.simulator.org.saving.merging import merge
from salmon.simulator.org.saving.records import Unit
from salmon.simulator.org.saving.rules import DuplicateOptions
from salmon.simulator.org.sessions import User
from salmon.simulator.org.table import Table
from salmon.simulator.rest.composing.collections import Repeats, create_work, update_work, upsert_work
from salmon.simulator.rest.rows import external_id_field
from salmon.simulator.soap.xml import child, children, local, text

RECORDS_MAX: Final = 200
_NIL: Final = "{http://www.w3.org/2001/XMLSchema-instance}nil"
_TYPE: Final = "{http://www.w3.org/2001/XMLSchema-instance}type"

Result = dict[str, Any]


class RecordCalls:
    """One call about records, of a user. *version*: of the path."""

    def __init__(self, org: Org, user: User, version: str, header: Element | None) -> None:
        self._org = org
        self._user = user
        client = text(header, "CallOptions", "client").strip()
        self._origin = f"com/salesforce/api/soap/{version}" + (f";client={client}" if client else "")
        self._all_or_none = text(header, "AllOrNoneHeader", "allOrNone").strip().lower() == "true"
        allow_save = text(header, "DuplicateRuleHeader", "allowSave").strip().lower() == "true"
        self._duplicates = DuplicateOptions(allow_save=allow_save, version=version)
        self._seen: set[Any] = set()
        self._repeats = Repeats(org.settings.duplicate_updates_max)
        self._calls: Mapping[str, tuple[str, Callable[[Unit, Element], Result]]] = {
            "create": ("sObjects", self._create),
            "update": ("sObjects", self._update),
            "upsert": ("sObjects", self._upsert),
            "delete": ("ids", self._delete),
            "undelete": ("ids", self._undelete),
            "emptyRecycleBin": ("ids", self._empty),
            "merge": ("request", self._merge),
            "convertLead": ("leadConverts", self._convert),
        }
        self._purged: list[tuple[Table, str]] = []
        self._external_id = ""

    def serves(self, name: str) -> bool:
        """Whether this call is about records."""
        return name in self._calls

    def answer(self, name: str, call: Element) -> str:
        """
        The response to a call.

        Raises:
            Refusal: The call as a whole is wrong.
        """
        items_name, do = self._calls[name]
        # jsforce calls the requests of merge mergeRequests; the org takes any name for the one parameter that it has.
        items = [each for each in call if name == "merge" or local(each.tag) == items_name]
        self._external_id = next(
            (each.text or "" for each in call if local(each.tag).lower() == "externalidfieldname"), ""
        )
        if len(items) > RECORDS_MAX:
            message = f"record limit reached. cannot submit more than {RECORDS_MAX} records into this call"
            raise Refusal("EXCEEDED_ID_LIMIT", message)
        results: list[Result] = []
        with self._org.transaction(self._user, self._origin, self._duplicates) as unit:
            for item in items:
                try:
                    results.append(do(unit, item))
                except Refusal as refusal:
                    results.append({"errors": refusal.as_collection_errors(), "success": False})
            if self._all_or_none and not all(result["success"] for result in results):
                unit.rollback()
                self._purged.clear()
                undone = {"errors": rolled_back().as_collection_errors(), "success": False}
                results = [undone if result["success"] else result for result in results]
        with self._org.lock:
            for table, record_id in self._purged:
                table.purge([record_id], self._org.clock.now_ms())
        return f"<{name}Response>{''.join(map(_result, results))}</{name}Response>"

    def _create(self, unit: Unit, item: Element) -> Result:
        table, body = self._record(item)
        return create_work(table, body)(unit)

    def _update(self, unit: Unit, item: Element) -> Result:
        table, body = self._record(item)
        return update_work(table, body, repeats=self._repeats)(unit)

    def _upsert(self, unit: Unit, item: Element) -> Result:
        table, body = self._record(item)
        name = self._external_id or "Id"
        field = table.type.field("Id") if name.lower() == "id" else external_id_field(table, name)
        assert field is not None, "every object has an Id"
        return upsert_work(table, field, body, self._seen)(unit)

    def _delete(self, unit: Unit, item: Element) -> Result:
        table, record_id = self._named(item.text)
        unit.delete(table.type.name, record_id)
        return _done(record_id)

    def _undelete(self, unit: Unit, item: Element) -> Result:
        table, record_id = self._named(item.text)
        unit.undelete(table.type.name, record_id)
        return _done(record_id)

    def _empty(self, _unit: Unit, item: Element) -> Result:
        table, record_id = self._named(item.text)
        if record_id not in table.bin:
            raise Refusal("DELETE_FAILED", "Entity is not in the recycle bin")
        self._purged.append((table, record_id))
        return _done(record_id)

    def _merge(self, _unit: Unit, item: Element) -> Result:
        master = child(item, "masterRecord")
        if master is None:
            raise Refusal("MISSING_ARGUMENT", "masterRecord not specified in a merge call")
        table, body = self._record(master)
        given = next((value for key, value in body.items() if key.lower() == "id"), None)
        body = {key: value for key, value in body.items() if key.lower() != "id"}
        named, winner = self._named(given)
        if named is not table:
            raise Refusal("MALFORMED_ID", f"malformed id {given}", "Id")
        losers = [self._named(each.text) for each in children(item, "recordToMergeIds")]
        if any(other is not table for other, _ in losers):
            raise Refusal("MERGE_FAILED", "records of different types cannot be merged")
        # For itself: a merge that is refused leaves nothing of it behind.
        with self._org.transaction(self._user, self._origin, self._duplicates) as unit:
            untold = self._org.settings.merge_moves_untold
            moved = merge(
                self._org, unit, table, winner, [each for _, each in losers], body=body, untold=untold
            )
        return {
            "errors": [],
            "id": winner,
            "mergedRecordIds": [each for _, each in losers],
            "success": True,
            "updatedRelatedIds": moved,
        }

    def _convert(self, _unit: Unit, item: Element) -> Result:
        table, lead_id = self._named(text(item, "leadId"))
        said = Conversion(
            text(item, "convertedStatus").strip(),
            id18(text(item, "accountId").strip()) or "",
            id18(text(item, "contactId").strip()) or "",
            text(item, "opportunityName").strip(),
            id18(text(item, "ownerId").strip()) or "",
            without_opportunity=text(item, "doNotCreateOpportunity").strip().lower() == "true",
        )
        # For itself, as a merge.
        with self._org.transaction(self._user, self._origin, self._duplicates) as unit:
            made = convert(self._org, unit, table, lead_id, said, now_ms=self._org.clock.now_ms())
        return {
            "accountId": made.account_id,
            "contactId": made.contact_id,
            "errors": [],
            "leadId": lead_id,
            "opportunityId": made.opportunity_id,
            "success": True,
        }

    def _named(self, given: str | None) -> tuple[Table, str]:
        record_id = id18((given or "").strip())
        if record_id is None:
            raise Refusal("MALFORMED_ID", f"malformed id {given or ''}")
        if (table := self._org.by_prefix.get(record_id[:3])) is None:
            raise invalid_cross_reference()
        return table, record_id

    def _record(self, item: Element) -> tuple[Table, dict[str, Any]]:
        """The table and the body of an sObject. Its type is its first element, or an attribute in the enterprise API."""
        name = text(item, "type").strip() or item.get(_TYPE, "").rpartition(":")[2]
        table = self._org.tables.get(self._org.object_name(name) or "")
        if table is None:
            raise Refusal("INVALID_TYPE", f"sObject type '{name}' is not supported.")
        body: dict[str, Any] = {}
        for each in item:
            if (key := local(each.tag)) == "type":
                continue
            if key == "fieldsToNull":
                body[(each.text or "").strip()] = None
            elif len(each):  # a parent, named by an external id of its own
                parent = {local(part.tag): part.text for part in each if local(part.tag) != "type"}
                of = text(each, "type").strip()
                body[key] = {**({"attributes": {"type": of}} if of else {}), **parent}
            elif each.get(_NIL) not in {
                "true",
                "1",
            }:  # what is nil is not said; only fieldsToNull clears a field
                field = table.type.field(key)
                body[key] = each.text or "" if field is None else value_of(field, each.text or "")
        return table, body


def _done(record_id: str) -> Result:
    return {"errors": [], "id": record_id, "success": True}


def _result(result: Result) -> str:
    """In the order of the schema, which is that of the alphabet."""
    names = {*result} if "leadId" in result else {*result, "id"}
    return f"<result>{''.join(_element(name, result.get(name)) for name in sorted(names))}</result>"


def _element(name: str, value: Any) -> str:
    if value is None:
        return f'<{name} xsi:nil="true"/>'
    if isinstance(value, list):
        return "".join(_element(name, each) for each in value)
    if isinstance(value, dict):
        ordered = "".join(_element(key, value[key]) for key in sorted(value))
        return f"<{name}>{ordered}</{name}>"
    shown = str(value).lower() if isinstance(value, bool) else escape(str(value))
    return f"<{name}>{shown}</{name}>"
