"""Records that a duplicate rule refuses: which record each is like, and who is waited for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from salmon.errors import RequestRejected
from salmon.model.change import Write
from salmon.plugin.contract import Outcome, OutcomeKind, SinkRecord
from salmon.salesforce.wire.rest import RowError
from salmon.salesforce.writing.likeness import ASKED_MAX, LIKE
from support.orgs.salesforce_org import CREATE, DELETE, UPDATE, A, B, SinkRig, WritableOrg, write

APPLIED, LATER, REFUSED = OutcomeKind.APPLIED, OutcomeKind.RETRY_LATER, OutcomeKind.REFUSED
BASE = "/services/data/v64.0"


class RulingOrg(WritableOrg):
    """Refuses records with certain names as duplicates, and says of one alone which record it is like."""

    base = BASE

    def __post_init__(self) -> None:
        super().__post_init__()
        self.like: dict[str, tuple[str, str]] = {}  # Name -> object, Id
        self.spelling = "duplicateResut"
        self.trouble: Exception | None = None
        self.composites = 0

    def rule(self, name: str, object_name: str, native_id: str) -> None:
        self.like[name] = object_name, native_id
        self.refuses[name] = self.refuses[A] = RowError(LIKE)

    def ask(self, method: str, below: str, *, resource: str, body: Any = None) -> Any:
        if resource != "composite":
            return super().ask(method, below, resource=resource)
        if self.trouble is not None:
            raise self.trouble
        self.composites += 1
        return {"compositeResponse": [self._alone(each) for each in body["compositeRequest"]]}

    def _alone(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        name, body = request["url"].removeprefix(f"{BASE}/sobjects/").split("/"), request["body"]
        assert request["method"] == ("PATCH" if len(name) == 2 else "POST")
        assert "attributes" not in body
        if (found := self.like.get(body["Name"])) is None:
            return {"httpStatusCode": 201, "body": {"id": f"001{'9' * 12}AAA", "success": True}}
        match = {"record": {"attributes": {"type": found[0]}, "Id": found[1]}}
        result = {"matchResults": [{"matchRecords": [match]}]}
        return {"httpStatusCode": 400, "body": [{"errorCode": LIKE, self.spelling: result}]}


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> SinkRig:
    """B is there, under the key of a document."""
    monkeypatch.setattr("support.orgs.salesforce_org.WritableOrg", RulingOrg)
    rig = SinkRig()
    rig.org.put("Account", A, Name="A", Salmon_Seq__c=1)
    rig.org.put("Account", B, Name="B", Salmon_Id__c="$oid:b", Salmon_Seq__c=1)
    return rig


def org_of(rig: SinkRig) -> RulingOrg:
    assert isinstance(rig.org, RulingOrg)
    return rig.org


def owing(rig: SinkRig, *owed: SinkRecord) -> None:
    writes: dict[tuple[str, str], Write] = {(each.object, each.key): each.write for each in owed}
    rig.task.look_up(lambda name, key: writes.get((name, key)))


def one(rig: SinkRig, record: SinkRecord) -> Outcome:
    (outcome,) = rig.task.put([record])
    return outcome


@pytest.mark.parametrize("spelling", ["duplicateResut", "duplicateResult"])
def test_a_refusal_names_the_record_that_it_depends_on(rig: SinkRig, spelling: str) -> None:
    """So it is put again when that one is written to; however the org spells it."""
    org_of(rig).rule("Like B", "Account", B)
    org_of(rig).spelling = spelling
    outcome = one(rig, write(CREATE, "$oid:1", Name="Like B"))
    assert (outcome.kind, outcome.code, outcome.waits_for) == (REFUSED, LIKE, (("Account", "$oid:b"),))
    assert "Account $oid:b" in outcome.reason


def test_while_a_write_is_owed_to_that_record_nothing_is_refused(rig: SinkRig) -> None:
    """It may be the very one that makes them differ, or deletes the other."""
    org_of(rig).rule("Like B", "Account", B)
    for owed in (write(UPDATE, "$oid:b", 12, Name="Other"), write(DELETE, "$oid:b", 13)):
        owing(rig, owed)
        assert one(rig, write(CREATE, "$oid:1", Name="Like B")).kind is LATER
    owing(rig)
    assert one(rig, write(CREATE, "$oid:1", Name="Like B")).kind is REFUSED


def test_an_update_is_never_like_itself_and_its_refusal_waits_for_the_other(rig: SinkRig) -> None:
    """Orgs list the record itself among those that match."""
    org_of(rig).rule("Like B", "Account", B)
    outcome = one(rig, write(UPDATE, A, native_id=A, Name="Like B"))
    assert (outcome.kind, outcome.waits_for) == (REFUSED, (("Account", "$oid:b"),))
    org_of(rig).like["Like A"] = "Account", A
    assert one(rig, write(UPDATE, A, 11, native_id=A, Name="Like A")).waits_for == ()


def test_who_is_saved_alone_is_saved(rig: SinkRig) -> None:
    """The other record was corrected in between."""
    org_of(rig).refuses["Free"] = RowError(LIKE)
    outcome = one(rig, write(CREATE, "$oid:1", Name="Free"))
    assert (outcome.kind, outcome.native_id) == (APPLIED, f"001{'9' * 12}AAA")


def test_a_record_of_an_object_that_is_not_synced_is_named(rig: SinkRig) -> None:
    """Nobody tells when it is corrected: `salmon retry` then."""
    org_of(rig).rule("Like a lead", "Lead", "00Q000000000001AAA")
    outcome = one(rig, write(CREATE, "$oid:1", Name="Like a lead"))
    assert (outcome.kind, outcome.waits_for) == (REFUSED, ())
    assert "Lead 00Q000000000001AAA" in outcome.reason


def test_an_org_that_does_not_say_refuses_as_before_and_thousands_cost_few_calls(rig: SinkRig) -> None:
    """25 a call, and four calls a batch."""
    org = org_of(rig)
    org.rule("Like B", "Account", B)
    batch = [write(CREATE, f"$oid:{number}", number, Name="Like B") for number in range(10, 160)]
    outcomes = rig.task.put(batch)
    assert {each.kind for each in outcomes} == {REFUSED}
    assert sum(bool(each.waits_for) for each in outcomes) == ASKED_MAX
    assert org.composites == 4
    org.trouble = RequestRejected("no", code="FUNCTIONALITY_NOT_ENABLED")
    outcome = one(rig, write(CREATE, "$oid:1", Name="Like B"))
    assert (outcome.kind, outcome.code, outcome.waits_for) == (REFUSED, LIKE, ())
