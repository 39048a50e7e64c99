"""An org in memory that takes writes, and a sink task on it, for unit tests."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from pydantic import SecretStr

from salmon.errors import RequestRejected, Unavailable
from salmon.model.change import Value, Write, WriteOp
from salmon.plugin.contract import OutcomeKind, SinkRecord
from salmon.salesforce.config import Auth, SalesforceConfig
from salmon.salesforce.wire.rest import COLLECTION_ROWS, Page, RowError, RowResult
from salmon.salesforce.writing.sink import SalesforceSinkTask
from support.orgs.salesforce import OUR_USER, MemoryOrg, schema

A, B, C = (f"00100000000000{number}AAA" for number in (1, 2, 3))
CONFIG = SalesforceConfig(
    auth=Auth(flow="client_credentials", client_id="id", client_secret=SecretStr("hush"))
)
SCHEMAS = {name: schema(name) for name in ("Account", "Contact", "Opportunity")}
CREATE, UPDATE, DELETE = WriteOp.CREATE, WriteOp.UPDATE, WriteOp.DELETE


TRIGGER_FAILED = RowError(
    "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", (), "Handler: System.LimitException: Too many SOQL queries: 101"
)


class WritableOrg(MemoryOrg):
    """Takes Collections calls, and can be told to fail."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.calls: list[tuple[str, list[str]]] = []
        self.refuses: dict[str, RowError] = {}  # by Id, or by Name of a new record
        self.rules: set[str] = set()  # fields that a rule refuses, whose error names none
        self.forbids: tuple[str, str] | None = (
            None  # an object and its lookup to others, which forbids to delete them
        )
        self.unique: str | None = None  # a field of which no two records may have the same value
        self.bulk_max: int | None = None  # a trigger fails for all records of a call with more
        self.throws_at: set[str] = set()  # Names at which a trigger throws, and takes its whole call with it
        self.spoils: set[str] = set()  # names of fields that make a whole call fail
        self.cannot_read: str | None = None  # a value that makes a whole call fail
        self.breaks: str | None = None  # before | after: an insert or update that gets no answer
        self._next = Counter[str]()
        self._one_call = threading.Lock()  # calls may come at the same time
        self.sign_in = SimpleNamespace(token=lambda: SimpleNamespace(user_id=OUR_USER))

    def ask(self, method: str, below: str, *, resource: str) -> Any:
        assert resource == "bulk jobs"
        return {"records": []}

    @property
    def usage(self) -> None:
        return None

    def describe(self, name: str) -> Mapping[str, Any]:
        raise AssertionError("not asked")

    def insert(self, records: Sequence[Mapping[str, Any]]) -> Sequence[RowResult]:
        self._call("insert", records)
        if self._trigger_fails(records):
            return self._answered([RowResult(False, None, (TRIGGER_FAILED,))] * len(records))
        with self._one_call:
            return self._answered([self._insert(record) for record in records])

    def update(self, records: Sequence[Mapping[str, Any]]) -> Sequence[RowResult]:
        self._call("update", records)
        if self._trigger_fails(records):
            return self._answered([RowResult(False, None, (TRIGGER_FAILED,))] * len(records))
        with self._one_call:
            return self._answered([self._update(record) for record in records])

    def delete(self, ids: Sequence[str]) -> Sequence[RowResult]:
        self.calls.append(("delete", list(ids)))
        results = []
        for native_id in ids:
            there = next((name for name, rows in self.records.items() if native_id in rows), None)
            name, field = self.forbids or ("", "")
            if there is None:
                results.append(RowResult(False, None, (RowError("ENTITY_IS_DELETED"),)))
            elif any(row.get(field) == native_id for row in self.records.get(name, {}).values()):
                results.append(RowResult(False, None, (RowError("DELETE_FAILED", (), "Sie hängen daran"),)))
            else:
                self.remove(there, native_id, "2001-09-09T01:46:40Z")
                results.append(RowResult(True, native_id))
        return results

    def pages(self, soql: str, *, deleted: bool = False) -> Iterator[Page]:
        self.calls.append(("query", [soql.partition(" FROM ")[2].partition(" ")[0]]))
        return super().pages(soql, deleted=deleted)

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.calls]

    def _call(self, kind: str, records: Sequence[Mapping[str, Any]]) -> None:
        assert 0 < len(records) <= COLLECTION_ROWS
        self.calls.append((kind, [record.get("Id") or record["Salmon_Id__c"] for record in records]))
        if self.breaks == "before":
            raise Unavailable("no answer")
        if any(name in self.spoils for record in records for name in record):
            raise RequestRejected("refused", code="INVALID_FIELD", fields=())
        if self.cannot_read and any(self.cannot_read in record.values() for record in records):
            raise RequestRejected("refused", code="JSON_PARSER_ERROR", fields=())

    def _trigger_fails(self, records: Sequence[Mapping[str, Any]]) -> bool:
        too_many = self.bulk_max is not None and len(records) > self.bulk_max
        return too_many or any(record.get("Name") in self.throws_at for record in records)

    def _answered(self, results: list[RowResult]) -> list[RowResult]:
        if self.breaks == "after":
            raise Unavailable("no answer")
        return results

    def _insert(self, record: Mapping[str, Any]) -> RowResult:
        name = record["attributes"]["type"]
        if (error := self.refuses.get(str(record.get("Name")))) is not None:
            return RowResult(False, None, (error,))
        rows = self.records.setdefault(name, {})
        if any(row.get("Salmon_Id__c") == record["Salmon_Id__c"] for row in rows.values()):
            return RowResult(False, None, (RowError("DUPLICATE_VALUE"),))
        if (clash := self._clash(name, record, None)) is not None:
            return clash
        self._next[name] += 1
        native_id = f"{SCHEMAS[name].key_prefix}{self._next[name]:012}NEW"
        rows[native_id] = {"Id": native_id, **{n: v for n, v in record.items() if n != "attributes"}}
        return RowResult(True, native_id)

    def _update(self, record: Mapping[str, Any]) -> RowResult:
        if not self.rules.isdisjoint(record):
            return RowResult(False, None, (RowError("FIELD_CUSTOM_VALIDATION_EXCEPTION"),))
        if (error := self.refuses.get(record["Id"])) is not None:
            return RowResult(False, None, (error,))
        row = self.records.get(record["attributes"]["type"], {}).get(record["Id"])
        if row is None:
            return RowResult(False, None, (RowError("ENTITY_IS_DELETED"),))
        if (clash := self._clash(record["attributes"]["type"], record, record["Id"])) is not None:
            return clash
        row.update({n: v for n, v in record.items() if n != "attributes"})
        return RowResult(True, record["Id"])

    def _clash(self, name: str, record: Mapping[str, Any], own_id: str | None) -> RowResult | None:
        field = self.unique or ""
        value = record.get(field)
        for row in self.records.get(name, {}).values():
            if value is not None and row.get(field) == value and row["Id"] != own_id:
                message = f"Wert doppelt: {field} steht schon in {row['Id'][:15]}"
                return RowResult(False, None, (RowError("DUPLICATE_VALUE", (), message),))
        return None


class Known:
    """Identities that tests fill."""

    def __init__(self) -> None:
        self.ids: dict[tuple[str, str], str] = {}

    def native_id(self, object: str, key: str) -> str | None:  # noqa: A002
        return self.ids.get((object, key))

    def key(self, object: str, native_id: str) -> str | None:  # noqa: A002
        return next(
            (key for (name, key), known in self.ids.items() if (name, known) == (object, native_id)), None
        )


class SinkRig:
    """A sink task on an org in memory."""

    def __init__(self, *, clean: bool = True) -> None:
        self.org = WritableOrg()
        self.known = Known()
        self.now_s = 0.0
        self.task = self._task()
        self.task.start(SCHEMAS, self.known, clean=clean)

    def put(self, *records: SinkRecord) -> list[OutcomeKind]:
        return [outcome.kind for outcome in self.task.put(records)]

    def restarted(self) -> None:
        """The same org, after the task was killed."""
        self.task = self._task()
        self.task.start(SCHEMAS, self.known, clean=False)

    def _task(self) -> SalesforceSinkTask:
        return SalesforceSinkTask(CONFIG, {}, "crm", rest=self.org, clock=lambda: self.now_s)  # type: ignore[arg-type]


def write(
    op: WriteOp,
    key: str,
    seq: int = 10,
    *,
    name: str = "Account",
    native_id: str | None = None,
    expected: int = 0,
    **fields: Value,
) -> SinkRecord:
    return SinkRecord(name, key, Write(seq, op, expected, native_id, fields))
