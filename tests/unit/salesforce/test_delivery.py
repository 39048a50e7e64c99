"""Batches of writes, carried out on an org in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from pydantic import SecretStr

from salmon.errors import RequestRejected, SetupError, Unavailable
from salmon.model.change import Value, Write, WriteOp
from salmon.model.connector import OutcomeKind, SinkRecord
from salmon.salesforce.config import Auth, SalesforceConfig
from salmon.salesforce.rest import COLLECTION_ROWS, Page, RowError, RowResult
from salmon.salesforce.sink import SalesforceSinkTask
from support.salesforce import MemoryOrg, schema

A, B, C = (f"00100000000000{number}AAA" for number in (1, 2, 3))
CONFIG = SalesforceConfig(
    auth=Auth(flow="client_credentials", client_id="id", client_secret=SecretStr("hush"))
)
SCHEMAS = {name: schema(name) for name in ("Account", "Contact", "Opportunity")}
CREATE, UPDATE, DELETE = WriteOp.CREATE, WriteOp.UPDATE, WriteOp.DELETE


class WritableOrg(MemoryOrg):
    """Takes Collections calls, and can be told to fail."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.calls: list[tuple[str, list[str]]] = []
        self.refuses: dict[str, RowError] = {}  # by Id, or by Name of a new record
        self.spoils: set[str] = set()  # names of fields that make a whole call fail
        self.breaks: str | None = None  # before | after: an insert or update that gets no answer
        self._next = Counter[str]()

    @property
    def usage(self) -> None:
        return None

    def describe(self, name: str) -> Mapping[str, Any]:
        raise AssertionError("not asked")

    def insert(self, records: Sequence[Mapping[str, Any]]) -> Sequence[RowResult]:
        self._call("insert", records)
        return self._answered([self._insert(record) for record in records])

    def update(self, records: Sequence[Mapping[str, Any]]) -> Sequence[RowResult]:
        self._call("update", records)
        return self._answered([self._update(record) for record in records])

    def delete(self, ids: Sequence[str]) -> Sequence[RowResult]:
        self.calls.append(("delete", list(ids)))
        results = []
        for native_id in ids:
            there = next((name for name, rows in self.records.items() if native_id in rows), None)
            if there is None:
                results.append(RowResult(False, None, (RowError("ENTITY_IS_DELETED"),)))
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
        self._next[name] += 1
        native_id = f"{SCHEMAS[name].key_prefix}{self._next[name]:012}NEW"
        rows[native_id] = {"Id": native_id, **{n: v for n, v in record.items() if n != "attributes"}}
        return RowResult(True, native_id)

    def _update(self, record: Mapping[str, Any]) -> RowResult:
        if (error := self.refuses.get(record["Id"])) is not None:
            return RowResult(False, None, (error,))
        row = self.records.get(record["attributes"]["type"], {}).get(record["Id"])
        if row is None:
            return RowResult(False, None, (RowError("ENTITY_IS_DELETED"),))
        row.update({n: v for n, v in record.items() if n != "attributes"})
        return RowResult(True, record["Id"])


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


class Rig:
    def __init__(self, *, clean: bool = True) -> None:
        self.org = WritableOrg()
        self.known = Known()
        self.task = SalesforceSinkTask(CONFIG, {}, "crm", rest=self.org)  # type: ignore[arg-type]
        self.task.start(SCHEMAS, self.known, clean=clean)

    def put(self, *records: SinkRecord) -> list[OutcomeKind]:
        return [outcome.kind for outcome in self.task.put(records)]

    def restarted(self) -> None:
        """The same org, after the task was killed."""
        self.task = SalesforceSinkTask(CONFIG, {}, "crm", rest=self.org)  # type: ignore[arg-type]
        self.task.start(SCHEMAS, self.known, clean=False)


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


def test_each_write_sets_its_marker() -> None:
    """So that its event says which write it answers; a creation carries its key, too."""
    rig = Rig()
    rig.org.put("Account", A, Name="A")
    assert rig.put(write(CREATE, "$oid:1", 10, Name="B"), write(UPDATE, A, 11, native_id=A, Phone=None)) == [
        OutcomeKind.APPLIED,
        OutcomeKind.APPLIED,
    ]
    new = rig.org.records["Account"]["001000000000001NEW"]
    assert (new["Salmon_Id__c"], new["Salmon_Seq__c"]) == ("$oid:1", 10)
    old = rig.org.records["Account"][A]
    assert (old["Phone"], old["Salmon_Seq__c"]) == (None, 11)
    assert rig.org.kinds() == ["insert", "update"], "and nothing was looked at"


def test_a_creation_never_overwrites_what_somebody_else_made() -> None:
    """A record with that key and without our marker is one that nobody has read."""
    rig = Rig()
    rig.org.put("Account", A, Name="by hand", Salmon_Id__c="$oid:1")
    (outcome,) = rig.task.put([write(CREATE, "$oid:1", Name="ours")])
    assert (outcome.kind, outcome.native_id) == (OutcomeKind.EXISTS, A)
    assert rig.org.records["Account"][A]["Name"] == "by hand"


def test_a_creation_that_was_carried_out_before_is_no_second_record() -> None:
    """Killed after the insert, before the commit: the same write is skipped, a newer one becomes an update."""
    rig = Rig()
    rig.put(write(CREATE, "$oid:1", 10, Name="B"))
    rig.restarted()
    assert rig.put(write(CREATE, "$oid:1", 10, Name="B")) == [OutcomeKind.SKIPPED]
    assert rig.put(write(CREATE, "$oid:1", 12, Name="C")) == [OutcomeKind.APPLIED]
    (row,) = rig.org.records["Account"].values()
    assert (row["Name"], row["Salmon_Seq__c"]) == ("C", 12)


def test_a_creation_over_our_own_leaves_what_an_update_may_not_set() -> None:
    """Some fields can be set once, when a record is made."""
    once = [field.name for field in schema("Opportunity").fields if field.create and not field.update]
    rig = Rig()
    rig.put(write(CREATE, "$oid:1", 10, name="Opportunity", Name="A"))
    rig.put(write(CREATE, "$oid:1", 12, name="Opportunity", Name="B", ContactId="003000000000001AAA"))
    (row,) = rig.org.records["Opportunity"].values()
    assert once == ["ContactId"]
    assert row["Name"] == "B"
    assert "ContactId" not in row


def test_an_unclean_start_reads_markers_once_for_each_key() -> None:
    """An older write that comes again is skipped; the next of the key needs no look."""
    rig = Rig(clean=False)
    rig.org.put("Account", A, Name="A", Salmon_Seq__c=20)
    assert rig.put(write(UPDATE, A, 19, native_id=A, Phone="old")) == [OutcomeKind.SKIPPED]
    assert rig.put(write(UPDATE, A, 21, native_id=A, Phone="new")) == [OutcomeKind.APPLIED]
    assert rig.org.kinds() == ["query", "update"]


def test_when_all_that_was_owed_at_the_start_is_put_nothing_is_looked_at_any_more() -> None:
    """Nobody else can have carried out what came later."""
    rig = Rig(clean=False)
    rig.org.put("Account", A, Name="A")
    rig.task.caught_up()
    rig.put(write(UPDATE, A, native_id=A, Phone="1"))
    assert rig.org.kinds() == ["update"]


@pytest.mark.parametrize(
    ("breaks", "again"), [("before", OutcomeKind.APPLIED), ("after", OutcomeKind.SKIPPED)]
)
def test_an_answer_that_never_came_is_settled_by_reading(breaks: str, again: OutcomeKind) -> None:
    """Nobody hopes: the marker says whether the write was carried out."""
    rig = Rig()
    rig.org.put("Account", A, Name="A")
    rig.org.breaks = breaks
    with pytest.raises(Unavailable):
        rig.put(write(UPDATE, A, native_id=A, Phone="1"))
    rig.org.breaks = None
    assert rig.put(write(UPDATE, A, native_id=A, Phone="1")) == [again]
    assert rig.org.records["Account"][A]["Phone"] == "1"
    rig.org.calls.clear()
    rig.put(write(UPDATE, A, 11, native_id=A, Phone="2"))
    assert rig.org.kinds() == ["update"], "and then it is sure again"


def test_a_deletion_looks_at_the_record_before() -> None:
    """What was restored or made anew since lives another life."""
    rig = Rig()
    rig.org.put("Account", A, Name="A", Salmon_Seq__c=5)
    rig.org.put("Account", B, Name="B")
    kinds = rig.put(
        write(DELETE, A, native_id=A, expected=5),
        write(DELETE, B, native_id=B, expected=5),
        write(DELETE, C, native_id=C),
    )
    assert kinds == [OutcomeKind.APPLIED, OutcomeKind.EXISTS, OutcomeKind.GONE]
    assert list(rig.org.records["Account"]) == [B]
    assert rig.org.kinds() == ["query", "delete"]


def test_a_deletion_of_what_was_just_created_finds_it_by_its_key() -> None:
    """Merge does not know the Id yet, and may not have to."""
    rig = Rig()
    rig.put(write(CREATE, "$oid:1", 10, Name="A"))
    assert rig.put(write(DELETE, "$oid:1", 11, expected=10)) == [OutcomeKind.APPLIED]
    assert rig.org.records["Account"] == {}


def test_an_update_of_a_record_that_is_gone_is_told() -> None:
    """And nothing is created in its place."""
    assert Rig().put(write(UPDATE, A, native_id=A, Phone="1")) == [OutcomeKind.GONE]


def test_children_are_deleted_before_their_parents() -> None:
    """A parent's deletion takes its children along, which would then be gone."""
    rig = Rig()
    rig.org.put("Account", A, Name="A")
    rig.org.put("Contact", "003000000000001AAA", LastName="C", AccountId=A)
    rig.put(
        write(DELETE, A, native_id=A),
        write(DELETE, "003000000000001AAA", name="Contact", native_id="003000000000001AAA"),
    )
    assert rig.org.calls[-1] == ("delete", ["003000000000001AAA", A])


# References.


def test_a_contact_and_its_account_in_one_batch() -> None:
    """Whichever comes first in the batch, the parent is created first and the child gets its Id."""
    rig = Rig()
    kinds = rig.put(
        write(CREATE, "$oid:c", name="Contact", LastName="C", AccountId="$oid:a"),
        write(CREATE, "$oid:a", Name="A"),
    )
    assert kinds == [OutcomeKind.APPLIED, OutcomeKind.APPLIED]
    (contact,) = rig.org.records["Contact"].values()
    assert contact["AccountId"] == "001000000000001NEW"


def test_a_chain_of_parents_of_one_object() -> None:
    """Round after round, each when its parent is there."""
    rig = Rig()
    kinds = rig.put(
        write(CREATE, "$c", Name="C", ParentId="$b"),
        write(CREATE, "$b", Name="B", ParentId="$a"),
        write(CREATE, "$a", Name="A"),
    )
    assert kinds == [OutcomeKind.APPLIED] * 3
    assert rig.org.kinds() == ["insert"] * 3


def test_a_parent_that_is_not_there_defers_the_whole_write() -> None:
    """Nothing is carried out in part: merge sends the rest as a write of its own."""
    rig = Rig()
    (outcome,) = rig.task.put([write(CREATE, "$oid:c", name="Contact", LastName="C", AccountId="$oid:a")])
    assert (outcome.kind, outcome.fields, outcome.waits_for) == (
        OutcomeKind.DEFERRED,
        frozenset({"AccountId"}),
        (("Account", "$oid:a"),),
    )
    assert rig.org.calls == []


def test_records_that_refer_to_each_other_are_deferred() -> None:
    """Neither can be first; merge parks the references and sends the rest."""
    rig = Rig()
    assert rig.put(
        write(CREATE, "$a", Name="A", ParentId="$b"), write(CREATE, "$b", Name="B", ParentId="$a")
    ) == [
        OutcomeKind.DEFERRED,
        OutcomeKind.DEFERRED,
    ]


def test_a_record_that_is_its_own_parent_is_deferred_and_waits_for_itself() -> None:
    """Its Id is not there before it is."""
    (outcome,) = Rig().task.put([write(CREATE, "$a", Name="A", ParentId="$a")])
    assert outcome.waits_for == (("Account", "$a"),)


def test_a_child_of_a_refused_parent_waits() -> None:
    """The parent may be mended and come later."""
    rig = Rig()
    rig.org.refuses["bad"] = RowError("STRING_TOO_LONG", ("Name",))
    kinds = rig.put(
        write(CREATE, "$oid:a", Name="bad"),
        write(CREATE, "$oid:c", name="Contact", LastName="C", AccountId="$oid:a"),
    )
    assert kinds == [OutcomeKind.REFUSED, OutcomeKind.DEFERRED]


@pytest.mark.parametrize(
    ("value", "sent"),
    [("$oid:a", B), (A, A), ("005000000000001AAA", "005000000000001AAA")],
)
def test_references_become_ids(value: str, sent: str) -> None:
    """By identity, by a key that is an Id, or as they are where the target is not synced."""
    rig = Rig()
    rig.known.ids["Account", "$oid:a"] = B
    field = "OwnerId" if value.startswith("005") else "AccountId"
    rig.put(SinkRecord("Contact", "$oid:c", Write(10, CREATE, fields={"LastName": "C", field: value})))
    (contact,) = rig.org.records["Contact"].values()
    assert contact[field] == sent


def test_an_id_of_another_object_is_no_parent() -> None:
    """A contact's Id in AccountId would be refused; it is not there as an account."""
    (outcome,) = Rig().task.put(
        [write(CREATE, "$c", name="Contact", LastName="C", AccountId="003000000000001AAA")]
    )
    assert outcome.kind is OutcomeKind.DEFERRED


def test_a_key_that_lives_again_leads_to_its_new_record() -> None:
    """A record that was deleted in Salesforce and edited in MongoDB: its key is its former Id."""
    rig = Rig()
    assert rig.put(write(CREATE, A, Name="lives again")) == [OutcomeKind.APPLIED]
    rig.put(write(CREATE, "$c", name="Contact", LastName="C", AccountId=A))
    (contact,) = rig.org.records["Contact"].values()
    assert contact["AccountId"] == "001000000000001NEW"


# Results.


def test_one_bad_record_spoils_no_other() -> None:
    """Each result is its own write's."""
    rig = Rig()
    for native_id in (A, B, C):
        rig.org.put("Account", native_id, Name="x")
    rig.org.refuses[B] = RowError("STRING_TOO_LONG", ("Phone",))
    rig.org.refuses[C] = RowError("UNABLE_TO_LOCK_ROW")
    kinds = rig.put(*(write(UPDATE, i, native_id=i, Phone="1") for i in (A, B, C)))
    assert kinds == [OutcomeKind.APPLIED, OutcomeKind.REFUSED, OutcomeKind.RETRY_LATER]


def test_a_record_that_spoils_a_whole_call_is_found() -> None:
    """Some errors fail the call, and all in it; halving finds the culprit, and the rest is carried out."""
    rig = Rig()
    rig.org.spoils.add("Fax")
    for number in range(8):
        rig.org.put("Account", f"00100000000000{number}AAA", Name="x")
    records = [write(UPDATE, i, native_id=i, Phone="1") for i in sorted(rig.org.records["Account"])]
    records[5] = write(UPDATE, records[5].key, native_id=records[5].key, Fax="1")
    kinds = rig.put(*records)
    assert kinds == [OutcomeKind.APPLIED] * 5 + [OutcomeKind.REFUSED] + [OutcomeKind.APPLIED] * 2


def test_a_missing_parent_and_a_missing_record_are_told_apart() -> None:
    """The same code stands for both; a look tells which."""
    rig = Rig()
    rig.org.put("Contact", "003000000000001AAA", LastName="C")
    for native_id in ("003000000000001AAA", "003000000000002AAA"):
        rig.org.refuses[native_id] = RowError("INVALID_CROSS_REFERENCE_KEY")
    kinds = rig.put(
        *(
            write(UPDATE, i, name="Contact", native_id=i, AccountId=A)
            for i in ("003000000000001AAA", "003000000000002AAA")
        )
    )
    assert kinds == [OutcomeKind.REFUSED, OutcomeKind.GONE]


def test_a_failure_without_a_reason_is_given_up_after_some_tries() -> None:
    """It would hold up its key for ever."""
    rig = Rig()
    rig.org.put("Account", A, Name="A")
    rig.org.refuses[A] = RowError("UNKNOWN_EXCEPTION")
    kinds = [rig.put(write(UPDATE, A, native_id=A, Phone="1"))[0] for _ in range(5)]
    assert kinds == [OutcomeKind.RETRY_LATER] * 4 + [OutcomeKind.REFUSED]


def test_a_field_that_came_after_the_start_asks_for_a_restart() -> None:
    """The write is right, and this process too old for it."""
    (outcome,) = Rig().task.put([write(CREATE, "$a", New__c="x")])
    assert (outcome.kind, outcome.code) == (OutcomeKind.RETRY_LATER, "SCHEMA_CHANGED")


def test_a_call_is_never_too_big_and_never_names_a_record_twice() -> None:
    """Two keys of one Id (a twin) go by two calls."""
    rig = Rig()
    rig.org.put("Account", A, Name="A")
    many = [write(CREATE, f"${number}", Name="x") for number in range(COLLECTION_ROWS + 1)]
    rig.put(
        *many, write(UPDATE, A, native_id=A, Phone="1"), write(UPDATE, "twin", 11, native_id=A, Phone="2")
    )
    assert [len(ids) for _, ids in rig.org.calls] == [COLLECTION_ROWS, 1, 1, 1]


def test_a_task_that_is_stopped_makes_no_further_call() -> None:
    """What was not sent is put by its successor."""
    rig = Rig()
    rig.task.stop()
    with pytest.raises(Unavailable, match="stopped"):
        rig.put(write(CREATE, "$a", Name="A"))
    assert rig.org.calls == []


def test_markers_that_are_hidden_are_a_matter_for_people() -> None:
    """Without them no write is safe."""
    rig = Rig(clean=False)
    rig.org.fails_with = RequestRejected("no", code="INVALID_FIELD")
    with pytest.raises(SetupError, match="marker fields"):
        rig.put(write(UPDATE, A, native_id=A, Phone="1"))
