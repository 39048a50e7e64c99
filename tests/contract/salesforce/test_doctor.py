"""`salmon doctor` on the simulator: what an org that is ready gets, and each thing that can be missing, with its mend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from salmon.config.models import SyncConfig
from salmon.doctor.checks import Line, Outcome, examine
from salmon.doctor.doctor import checks_of
from salmon.simulator.server import Simulator
from support.orgs.boxes import Box

ADMINISTRATORS = "X00eAdministrator"


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """An org that is ready."""
    with Simulator.start(
        tmp_path_factory.mktemp("box"), objects=("Account", "Contact"), records={"Account": 3}
    ) as running:
        yield running


@pytest.fixture
def box(simulator: Simulator) -> Iterator[Box]:
    yield (box := Box(simulator))
    box.control("DELETE", "/faults").raise_for_status()


def config(box: Box, *, account: dict[str, Any] | None = None, **changes: Any) -> SyncConfig:
    """A configuration for the box; *changes* are of its `salesforce`, *account* is more of that object's."""
    told = box.simulator.endpoints
    salesforce = {
        "login_url": told.login_url,
        "auth": {
            "flow": "jwt_bearer",
            "client_id": told.client_id,
            "username": told.username,
            "private_key": Path(told.private_key).read_text("ascii"),
        },
        "pubsub": {"endpoint": told.pubsub_endpoint},
        "ca_file": told.ca_file,
    }
    return SyncConfig.model_validate(
        {
            "name": "crm",
            "kafka": {"bootstrap.servers": "127.0.0.1:1"},
            "schema_registry": {"url": "http://127.0.0.1:1"},
            "salesforce": {**salesforce, **changes},
            "mongodb": {"uri": "mongodb://127.0.0.1:1", "database": "crm"},
            "objects": {
                "Account": {"collection": "accounts", **(account or {})},
                "Contact": {"collection": "contacts", "direction": "to_mongodb"},
            },
        }
    )


def looked(settings: SyncConfig) -> dict[str, Line]:
    """The lines of the Salesforce side, by name."""
    with checks_of(settings) as checks:
        ours = [check for check in checks if check.name.startswith(("salesforce", "objects"))]
        return {line.name: line for line in examine(ours)}


def bad(lines: dict[str, Line]) -> dict[str, str]:
    assert all(line.mend for line in lines.values() if line.outcome is not Outcome.OK)
    return {name: line.outcome.value for name, line in lines.items() if line.outcome is not Outcome.OK}


@contextmanager
def without(box: Box, *rights: str) -> Iterator[None]:
    """The administrators' permission set, and so the integration user, lacks these rights."""
    (permission_set,) = [
        row["Id"] for row in box.org.tables["PermissionSet"].live.values() if row["Name"] == ADMINISTRATORS
    ]
    path = f"sobjects/PermissionSet/{permission_set}"
    for value in (False, True):
        body = {f"Permissions{right}": value for right in rights}
        assert box.call("PATCH", path, body).status_code == 204
        if not value:
            try:
                yield
            except BaseException:
                box.call("PATCH", path, dict.fromkeys(body, True))
                raise


def test_an_org_that_is_ready_has_nothing_to_mend(box: Box) -> None:
    """Each line says what was found: who the user is, which org, which version, how much is left."""
    lines = looked(config(box))
    assert bad(lines) == {}
    assert box.org.integration_user.username in lines["salesforce.who"].says
    assert box.org.org_id in lines["salesforce.who"].says
    assert "64.0" in lines["salesforce.api_version"].says
    assert "are left" in lines["salesforce.allowances.api"].says
    assert set(lines) >= {
        f"objects.{name}.{part}"
        for name in ("Account", "Contact")
        for part in ("access", "fields", "markers", "change_events")
    }


def test_the_token_s_lifetime_is_told_where_salesforce_tells_it(box: Box) -> None:
    """To an app that gives its secret; by a JWT nobody is told."""
    told = box.simulator.endpoints
    secret = {
        "flow": "client_credentials",
        "client_id": told.client_id,
        "client_secret": told.client_secret,
    }
    assert "120 min more" in looked(config(box, auth=secret))["salesforce.sign_in"].says
    assert "does not say" in looked(config(box))["salesforce.sign_in"].says


def test_the_way_of_signing_in_is_told_and_until_when_it_works(box: Box) -> None:
    """One that ends is warned of, with its day and what to change."""
    told = box.simulator.endpoints
    lines = looked(config(box))
    assert "by jwt_bearer" in lines["salesforce.sign_in"].says
    assert lines["salesforce.sign_in.flow"].says == "Salesforce has named no end of jwt_bearer."
    person = {
        "username": told.username, "password": told.password, "security_token": told.security_token,
        "client_id": told.client_id, "client_secret": told.client_secret,
    }  # fmt: skip
    for flow, until in (("soap_login", "2027-06-01"), ("username_password", "no day")):
        lines = looked(config(box, auth={"flow": flow, **person}))
        assert bad(lines) == {"salesforce.sign_in.flow": "warn"}
        assert f"by {flow}" in lines["salesforce.sign_in"].says
        assert "120 min more" in lines["salesforce.sign_in"].says
        assert until in lines["salesforce.sign_in.flow"].says
        assert "jwt_bearer" in lines["salesforce.sign_in.flow"].mend


def test_without_signing_in_nothing_else_is_looked_at(box: Box) -> None:
    """One line fails, with what to check; the others say that it comes first."""
    told = box.simulator.endpoints
    wrong = {"flow": "client_credentials", "client_id": told.client_id, "client_secret": "hush"}
    lines = looked(config(box, auth=wrong))
    assert [name for name, line in lines.items() if line.outcome is Outcome.FAIL] == ["salesforce.sign_in"]
    assert all("comes first" in line.says for line in lines.values() if line.outcome is Outcome.WARN)
    assert "hush" not in str(lines)


def test_an_api_version_that_the_org_lacks_is_told_with_the_newest(box: Box) -> None:
    """Nothing answers by such a version, so nothing else is looked at."""
    lines = looked(config(box, api_version="99.0"))
    line = lines["salesforce.api_version"]
    assert line.outcome is Outcome.FAIL
    assert line.mend == "Set salesforce.api_version to 68.0."
    assert lines["objects.Account"].outcome is Outcome.WARN


def test_an_org_without_the_api_is_told_once(box: Box) -> None:
    """Not by every line that would need it."""
    box.org.settings.change({"api_enabled": False})
    try:
        lines = looked(config(box))
    finally:
        box.org.settings.reset()
    assert [name for name, line in lines.items() if line.outcome is Outcome.FAIL] == [
        "salesforce.api_version"
    ]
    assert "API_DISABLED_FOR_ORG" in lines["salesforce.api_version"].says
    assert "may use the API" in lines["salesforce.api_version"].mend


def test_rights_over_all_data_are_told_or_those_over_each_object(box: Box) -> None:
    """To read all is needed; to write all is only advised, and for objects that are written at all."""
    with without(box, "ViewAllData", "ModifyAllData"):
        lines = looked(config(box))
        assert bad(lines) == {
            "salesforce.permissions.view_all": "fail",
            "salesforce.permissions.modify_all": "warn",
        }
        assert "Account, Contact" in lines["salesforce.permissions.view_all"].mend
        assert "Records of Account:" in lines["salesforce.permissions.modify_all"].says
        set_id = box.create("PermissionSet", Name="By_Object", Label="By object")
        user_id = box.org.integration_user.user_id
        box.create("PermissionSetAssignment", PermissionSetId=set_id, AssigneeId=user_id)
        for name in ("Account", "Contact"):
            rights = dict.fromkeys(("PermissionsRead", "PermissionsViewAllRecords"), True)
            box.create("ObjectPermissions", ParentId=set_id, SobjectType=name, **rights)
        assert bad(looked(config(box))) == {"salesforce.permissions.modify_all": "warn"}


@pytest.mark.parametrize(
    ("right", "line", "outcome"),
    [("ApiEnabled", "api_enabled", "fail"), ("ViewSetup", "view_setup", "warn")],
)
def test_a_right_that_is_missing_is_named(box: Box, right: str, line: str, outcome: str) -> None:
    """As Setup calls it."""
    with without(box, right):
        assert bad(looked(config(box))) == {f"salesforce.permissions.{line}": outcome}


def test_what_the_user_does_not_see_is_told(box: Box) -> None:
    """A whole object, or a marker field."""
    box.control("POST", "/faults", {"fault": "hide", "object": "Contact"}).raise_for_status()
    assert bad(looked(config(box))) == {"objects.Contact.access": "fail"}
    box.control("DELETE", "/faults")
    box.control("POST", "/faults", {"fault": "hide", "object": "Account", "fields": ["Salmon_Id__c"]})
    lines = looked(config(box))
    assert bad(lines) == {"objects.Account.markers": "fail"}
    assert "no Salmon_Id__c that" in lines["objects.Account.markers"].says


@pytest.mark.parametrize(
    ("on", "outcome", "says"),
    [
        ("Phone", "ok", "by Name and Phone"),
        ("Fone", "fail", "no field Fone"),
        ("OwnerId", "fail", "refers to other"),
    ],
)
def test_the_fields_to_match_by_are_looked_at(box: Box, on: str, outcome: str, says: str) -> None:
    """One that is not synced, or that has another value on the other side, is told before `salmon match` is run."""
    line = looked(config(box, account={"match": {"on": ["Name", on]}}))["objects.Account.match"]
    assert (line.outcome.value, says in line.says, bool(line.mend)) == (outcome, True, outcome == "fail"), (
        line
    )


def test_an_object_that_is_not_selected_has_no_change_events(box: Box) -> None:
    """The mend is setup, or where an admin selects it."""
    box.control("POST", "/faults", {"fault": "cdc", "object": "Contact", "on": False})
    try:
        lines = looked(config(box))
    finally:
        box.control("POST", "/faults", {"fault": "cdc", "object": "Contact", "on": True})
    assert bad(lines) == {"objects.Contact.change_events": "fail"}
    assert "Change Data Capture" in lines["objects.Contact.change_events"].mend


def test_a_custom_channel_is_looked_at(box: Box) -> None:
    """That it is there, carries each synced object, and has no filter, by which a record could vanish unseen."""

    def make(kind: str, full_name: str, metadata: dict[str, Any]) -> str:
        answer = box.call("POST", f"tooling/sobjects/{kind}", {"FullName": full_name, "Metadata": metadata})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def line() -> Line:
        settings = config(box)
        pubsub = {"endpoint": settings.salesforce.pubsub.endpoint, "channel": "/data/Sync__chn"}
        return looked(config(box, pubsub=pubsub))["salesforce.selection"]

    assert (line().outcome, "Account, Contact" in line().says) == (Outcome.FAIL, True)
    channel = make("PlatformEventChannel", "Sync__chn", {"channelType": "data", "label": "Sync"})
    of_channel = {"eventChannel": "Sync__chn"}
    make("PlatformEventChannelMember", "S_1", {**of_channel, "selectedEntity": "AccountChangeEvent"})
    assert "does not carry Contact." in line().says
    filtered = {"selectedEntity": "ContactChangeEvent", "filterExpression": "LastName = 'Doe'"}
    member = make("PlatformEventChannelMember", "S_2", {**of_channel, **filtered})
    assert "filters for ContactChangeEvent" in line().says
    path = f"tooling/sobjects/PlatformEventChannelMember/{member}"
    assert box.call("PATCH", path, {"Metadata": {"filterExpression": ""}}).status_code == 204
    assert line().outcome is Outcome.OK
    assert box.call("DELETE", f"tooling/sobjects/PlatformEventChannel/{channel}").status_code == 204


def test_little_that_is_left_is_a_warning_and_nothing_a_failure(box: Box) -> None:
    """Of API requests as of event deliveries, as the limits resource shows them."""
    usage = box.org.usage
    before = dict(usage.allowances)
    usage.spend("DailyApiRequests", 1_000)
    try:
        usage.allowances["DailyApiRequests"] = usage.calls_today() + 60
        usage.allowances["DailyDeliveredPlatformEvents"] = 0
        lines = looked(config(box))
    finally:
        usage.allowances.update(before)
    assert bad(lines) == {"salesforce.allowances.api": "warn", "salesforce.allowances.events": "fail"}
    assert "0 of 0 are left" in lines["salesforce.allowances.events"].says


def test_a_budget_that_leaves_nothing_to_salmon_is_a_failure(box: Box) -> None:
    """More calls are kept for others than the org allows."""
    lines = looked(config(box, api_budget={"floor": 10**9}))
    assert bad(lines) == {"salesforce.allowances.budget": "fail"}
    assert "salesforce.api_budget.floor" in lines["salesforce.allowances.budget"].mend


def test_a_clock_that_is_off_is_told(box: Box) -> None:
    """By how much."""
    box.control("POST", "/faults", {"fault": "clock_skew", "s": 90}).raise_for_status()
    lines = looked(config(box))
    assert bad(lines) == {"salesforce.clock": "warn"}
    assert "behind the org's" in lines["salesforce.clock"].says


def test_others_who_may_edit_the_marker_fields_are_counted(box: Box) -> None:
    """The integration user is none of them."""
    set_id = box.create("PermissionSet", Name="Too_Much", Label="Too much")
    box.create(
        "FieldPermissions", ParentId=set_id, SobjectType="Account", Field="Account.Salmon_Id__c",
        PermissionsRead=True, PermissionsEdit=True,
    )  # fmt: skip
    user_id, person = box.org.integration_user.user_id, box.org.person.user_id
    box.create("PermissionSetAssignment", PermissionSetId=set_id, AssigneeId=user_id)
    assert bad(looked(config(box))) == {}
    assignment = box.create("PermissionSetAssignment", PermissionSetId=set_id, AssigneeId=person)
    lines = looked(config(box))
    assert bad(lines) == {"objects.Account.markers.others": "warn"}
    assert lines["objects.Account.markers.others"].says.startswith(
        "Other users who may edit Salmon_Id__c: 1."
    )
    box.call("DELETE", f"sobjects/PermissionSetAssignment/{assignment}")
