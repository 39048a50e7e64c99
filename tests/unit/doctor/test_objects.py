"""What the doctor makes of a describe: access, fields by direction, types without a counterpart, marker fields."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from salmon.config.models import ObjectConfig
from salmon.doctor.checks import Line, Outcome, examine
from salmon.doctor.objects import ObjectChecks
from salmon.errors import RequestRejected
from salmon.salesforce.wire.administration import Administration
from salmon.simulator.org.objects.describes import with_marker_fields
from support.orgs.describes import OBJECTS, describe


class Described:
    """An administration that knows one describe, and nothing of other users."""

    def __init__(self, described: Mapping[str, Any]) -> None:
        self._described = described
        self.rest = self

    def describe(self, name: str) -> Mapping[str, Any]:
        assert name == self._described["name"]
        return self._described

    @property
    def sign_in(self) -> Described:
        return self

    def token(self) -> Any:
        return SimpleNamespace(user_id="005000000000001AAA")

    def editors(self, name: str, field: str, *, other_than: str) -> int:
        raise RequestRejected("not shown to this user", code="INVALID_TYPE")


class NoEvents:
    def schema_of_topic(self, topic: str) -> Mapping[str, Any]:
        raise RequestRejected(f"{topic} is not there", code="topic.not.found")


def looked(described: Mapping[str, Any], **config: Any) -> dict[str, Line]:
    """The lines by their names, without the object's."""
    name = described["name"]
    settings = ObjectConfig.model_validate({"collection": "c", **config})
    administration = cast(Administration, Described(described))
    checks = ObjectChecks(name, settings, administration, NoEvents()).checks()
    lines = examine([check.__class__(check.name, check.what, check.look) for check in checks])
    return {line.name.removeprefix(f"objects.{name}."): line for line in lines}


def changed(described: Mapping[str, Any], field: str, **changes: Any) -> dict[str, Any]:
    fields = [{**each, **changes} if each["name"] == field else each for each in described["fields"]]
    return {**described, "fields": fields}


@pytest.fixture
def account() -> dict[str, Any]:
    return dict(with_marker_fields(describe("Account")))


@pytest.mark.parametrize("name", OBJECTS)
def test_the_recorded_describes_of_real_orgs_give_no_false_alarm(name: str) -> None:
    """
    Standard objects as they are, with the marker fields: nothing to mend but the change events, which are not there. (Nobody
    can delete a user.)
    """
    lines = looked(with_marker_fields(describe(name)))
    told = {part: line.outcome.value for part, line in lines.items() if line.outcome is not Outcome.OK}
    assert told == {"change_events": "fail"} | ({"access": "warn"} if name == "User" else {})


@pytest.mark.parametrize("capture", ["poll", {"mode": "poll", "every": "5m"}])
def test_a_polled_object_needs_no_change_events_and_its_cost_is_told(
    account: dict[str, Any], capture: Any
) -> None:
    """Two calls each time; the object need not be selected."""
    line = looked(account, capture=capture)["change_events"]
    assert line.outcome is Outcome.OK
    assert "576 API calls a day" in line.says


def test_an_object_without_stamps_cannot_be_polled(account: dict[str, Any]) -> None:
    """Nothing else tells what has changed."""
    fields = [each for each in account["fields"] if each["name"] != "SystemModstamp"]
    line = looked({**account, "fields": fields}, capture="poll")["polling"]
    assert line.outcome is Outcome.FAIL
    assert "SystemModstamp" in line.says


def test_an_object_whose_describe_has_no_id_cannot_be_synced(account: dict[str, Any]) -> None:
    """As the source says as well, which would keep that object waiting (case V10)."""
    assert "id" not in looked(account)
    fields = [each for each in account["fields"] if each["name"] != "Id"]
    line = looked({**account, "fields": fields})["id"]
    assert line.outcome is Outcome.FAIL
    assert "describe of Account has no field Id" in line.says
    assert "proxy" in line.mend


def test_an_object_that_is_not_there_is_told_with_the_orgs_own_words(
    account: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has to give access finds them in the org's pages (case V10)."""

    def refused(_: Described, name: str) -> Mapping[str, Any]:
        raise RequestRejected(name, code="NOT_FOUND", words="The requested resource does not exist")

    monkeypatch.setattr(Described, "describe", refused)
    line = looked(account)["access"]
    assert line.outcome is Outcome.FAIL
    assert "(NOT_FOUND: The requested resource does not exist)" in line.says


def test_direction_decides_what_access_is_needed(account: dict[str, Any]) -> None:
    """Who only reads from the org need not create, edit or delete there."""
    closed = {**account, "createable": False, "deletable": False}
    line = looked(closed)["access"]
    assert line.outcome is Outcome.FAIL
    assert "Create and Delete" in line.says
    assert "Create and Delete of Account" in line.mend
    assert looked(closed, direction="to_mongodb")["access"].outcome is Outcome.OK
    assert looked({**account, "queryable": False}, direction="to_mongodb")["access"].outcome is Outcome.FAIL


def test_transforms_must_fit_the_orgs_fields(account: dict[str, Any]) -> None:
    """Before anything starts: an expression names a field that is there, and compares it with what it can be compared with."""
    assert "transforms" not in looked(account)
    assert looked(account, transforms=[{"filter": "Phone != null"}])["transforms"].outcome is Outcome.OK
    line = looked(account, transforms=[{"filter": "Fonc != null"}, {"filter": "Phone > 5"}])["transforms"]
    assert line.outcome is Outcome.FAIL
    assert "has no field Fonc" in line.says


def test_a_field_that_the_config_names_must_be_there(account: dict[str, Any]) -> None:
    """Misspelt, or hidden: both look the same to the user, and the mend says both."""
    line = looked(account, fields={"include": ["Name", "Fonc"]})["fields"]
    assert line.outcome is Outcome.FAIL
    assert "Fonc" in line.says
    assert "Correct the name" in line.mend
    assert "Read of the field" in line.mend


def test_a_field_that_the_user_may_only_read_is_named_where_the_direction_needs_more(
    account: dict[str, Any],
) -> None:
    """Field-level security shows in the describe. From Salesforce to MongoDB, reading is enough."""
    readonly = changed(account, "Phone", createable=False, updateable=False)
    line = looked(readonly)["fields"]
    assert line.outcome is Outcome.WARN
    assert "may only read Phone:" in line.says
    assert looked(readonly, direction="to_mongodb")["fields"].outcome is Outcome.OK
    assert looked(readonly, fields={"exclude": ["Phone"]})["fields"].outcome is Outcome.OK


def test_a_field_that_new_records_need_must_be_synced(account: dict[str, Any]) -> None:
    """Or records of MongoDB cannot come to the org."""
    line = looked(account, fields={"exclude": ["Name"]})["required"]
    assert line.outcome is Outcome.WARN
    assert line.says.startswith("Name:")
    assert "required" not in looked(account, fields={"exclude": ["Name"]}, direction="to_mongodb")


def test_fields_without_a_counterpart_are_reported_until_they_are_excluded(account: dict[str, Any]) -> None:
    """base64, anyType and complexvalue: not synced, and nobody should find that out later."""
    odd = account
    for field, kind in (("Site", "base64"), ("Fax", "anyType"), ("Sic", "complexvalue")):
        odd = changed(odd, field, type=kind)
    line = looked(odd)["unsynced"]
    assert line.outcome is Outcome.WARN
    assert "Fax (anyType)" in line.says
    assert "Site (base64)" in line.says
    assert "Sic (complexvalue)" in line.says
    assert "unsynced" not in looked(odd, fields={"exclude": ["Fax", "Site", "Sic"]})


@pytest.mark.parametrize(
    ("field", "changes", "words"),
    [
        ("Salmon_Id__c", {"externalId": False}, "unique external id"),
        ("Salmon_Id__c", {"unique": False}, "unique external id"),
        ("Salmon_Id__c", {"caseSensitive": False}, "case-sensitive"),
        ("Salmon_Id__c", {"length": 80}, "255 characters"),
        ("Salmon_Id__c", {"type": "textarea"}, "255 characters"),
        ("Salmon_Seq__c", {"precision": 10}, "18 digits"),
        ("Salmon_Seq__c", {"scale": 2}, "18 digits"),
        ("Salmon_Seq__c", {"type": "string"}, "18 digits"),
    ],
)
def test_a_marker_field_of_another_kind_fails_and_setup_leaves_it(
    account: dict[str, Any], field: str, changes: dict[str, Any], words: str
) -> None:
    """Type, external id, unique, case, length: each is told with what would come of it."""
    line = looked(changed(account, field, **changes))[f"markers.{field}"]
    assert line.outcome is Outcome.FAIL
    assert words in line.says
    assert "never changes a field" in line.mend


def test_marker_fields_that_are_missing_or_closed_are_for_setup() -> None:
    """Both are told in one line, with what an admin would make by hand."""
    bare = describe("Account")
    line = looked(bare)["markers"]
    assert line.outcome is Outcome.FAIL
    assert "no Salmon_Seq__c and no Salmon_Id__c" in line.says
    assert "salmon setup" in line.mend
    assert "Number(18, 0)" in line.mend
    closed = changed(with_marker_fields(bare), "Salmon_Seq__c", updateable=False)
    assert "may not edit Salmon_Seq__c" in looked(closed)["markers"].says
