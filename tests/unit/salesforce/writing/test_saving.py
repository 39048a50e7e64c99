"""What a call says to the org's duplicate and assignment rules, by object."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from salmon.config.models import ObjectConfig
from salmon.plugin.contract import OutcomeKind
from salmon.salesforce.wire.rest import Rest
from salmon.salesforce.writing.saving import savers
from salmon.salesforce.writing.sink import SalesforceSinkTask
from salmon.simulator.org.objects.describes import load_describes
from support.orgs.rest_wire import Wire
from support.orgs.salesforce_org import CONFIG, CREATE, SCHEMAS, UPDATE, A, Known, WritableOrg, write

DUPLICATES, ASSIGN = "Sforce-Duplicate-Rule-Header", "Sforce-Auto-Assign"


class TellingOrg(WritableOrg):
    """Notes the calls with headers of their own: these, and the objects of their records."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.told: list[tuple[dict[str, str], set[str]]] = []

    def describe(self, name: str) -> Mapping[str, Any]:
        return load_describes(marker_fields=True)[name]

    def collection(self, method: str, records: Any, headers: Any = None) -> Any:
        self.told.append((dict(headers or {}), {record["attributes"]["type"] for record in records}))
        return (self.insert if method == "POST" else self.update)(records)


def objects(**settings: dict[str, bool]) -> dict[str, Any]:
    return {name: ObjectConfig(collection=name.lower(), **each) for name, each in settings.items()}


def started(org: WritableOrg, **settings: dict[str, bool]) -> SalesforceSinkTask:
    task = SalesforceSinkTask(CONFIG, objects(**settings), "crm", rest=org)  # type: ignore[arg-type]
    task.start(SCHEMAS, Known(), clean=True)
    return task


def test_an_object_that_allows_duplicates_says_so_in_calls_of_its_own() -> None:
    """A header holds for a whole call: records of other objects are in another one, with what holds for them."""
    org = TellingOrg()
    org.put("Account", A, Name="A")
    task = started(
        org, Account={}, Contact={"allow_duplicates": True}, Opportunity={"assignment_rules": True}
    )
    outcomes = task.put(
        [
            write(CREATE, "$oid:1", 10, name="Contact", LastName="C"),
            write(CREATE, "$oid:2", 11, Name="B"),
            write(CREATE, "$oid:3", 12, name="Opportunity", Name="O"),
            write(CREATE, "$oid:4", 13, name="Contact", LastName="D"),
            write(UPDATE, A, 14, native_id=A, Phone="1"),
        ]
    )
    assert {outcome.kind for outcome in outcomes} == {OutcomeKind.APPLIED}
    assert sorted(org.told, key=repr) == [
        ({ASSIGN: "TRUE"}, {"Opportunity"}),
        ({DUPLICATES: "allowSave=true"}, {"Contact"}),
    ]
    assert org.kinds().count("insert") == 3, "both contacts in one call, and the account in the third"


def test_an_assignment_rule_is_for_new_records_alone() -> None:
    """On an update it would take the record away from whoever has it by now."""
    org = TellingOrg()
    org.put("Account", A, Name="A")
    task = started(org, Account={"assignment_rules": True, "allow_duplicates": True})
    task.put([write(CREATE, "$oid:1", 10, Name="B"), write(UPDATE, A, 11, native_id=A, Phone="1")])
    allow = {DUPLICATES: "allowSave=true"}
    assert org.told == [({**allow, ASSIGN: "TRUE"}, {"Account"}), (allow, {"Account"})]


def test_the_headers_of_an_object_take_the_place_of_the_general_ones() -> None:
    """What is said for all calls still holds where an object says nothing else."""
    wire = Wire(
        (200, [{"success": True, "id": A, "errors": []}]), (200, [{"success": True, "id": A, "errors": []}])
    )
    rest = Rest(CONFIG, https=wire)  # type: ignore[arg-type]
    own = savers(objects(Lead={"assignment_rules": True}, Account={}), rest)
    assert own.keys() == {"Lead"}
    own["Lead"].insert([{"attributes": {"type": "Lead"}}])
    own["Lead"].update([{"attributes": {"type": "Lead"}, "Id": A}])
    sent = [request["headers"] for _, url, request in wire.asked if "composite" in url]
    assert [headers[ASSIGN] for headers in sent] == ["TRUE", "FALSE"]
    assert all(headers["Sforce-Call-Options"] == "client=Salmon" for headers in sent)
    assert not any(DUPLICATES in headers for headers in sent)


def test_objects_with_the_same_settings_share_their_calls() -> None:
    """Each call counts."""
    same = {"allow_duplicates": True}
    own = savers(objects(Account=same, Contact=same), SimpleNamespace())
    assert own["Account"] is own["Contact"]


def test_an_object_with_assignment_rules_makes_no_bulk_job_wait_for_it() -> None:
    """A job would run no assignment rule: its records are taken by the call, however many wait."""
    task = started(TellingOrg(), Account={"assignment_rules": True}, Contact={})
    backlog = [(name, f"{name}{n}") for name in ("Account",) for n in range(5_000)]
    assert task.batch_for(backlog) < 5_000 <= task.batch_for([("Contact", key) for _, key in backlog])
