"""simple-salesforce, unchanged, against the simulator: what works there works with a real org."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from simple_salesforce import api, exceptions

from salmon.simulator.server import Simulator
from salmon.simulator.tls import make_key_pair
from support.orgs.boxes import Diverted, trusting_session

Salesforce: Any = api.Salesforce  # its own types do not know that any attribute is an object of the org


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    folder = tmp_path_factory.mktemp("box")
    with Simulator.start(folder, records={"Account": 30, "Contact": 450, "Opportunity": 10}) as running:
        yield running


@pytest.fixture
def salesforce(simulator: Simulator) -> Any:
    """Logged in by JWT bearer at login.salesforce.com."""
    return Salesforce(
        username=simulator.endpoints.username,
        consumer_key=simulator.endpoints.client_id,
        privatekey_file=simulator.endpoints.private_key,
        domain="login",
        session=diverted(simulator, "login.salesforce.com"),
    )


def diverted(simulator: Simulator, *names: str) -> requests.Session:
    session = trusting_session(simulator)
    for name in names:
        session.mount(f"https://{name}", Diverted(simulator, name))
    return session


def test_a_jwt_in_a_file_logs_in(simulator: Simulator, salesforce: Any) -> None:
    """At login.salesforce.com, with a certificate for that name; from there on at the instance URL."""
    assert salesforce.sf_instance in simulator.endpoints.instance_url
    assert salesforce.query("SELECT count() FROM Account")["totalSize"] >= 30


def test_client_credentials_log_in_at_the_my_domain_host(simulator: Simulator) -> None:
    """The other flow that needs no password."""
    salesforce = Salesforce(
        consumer_key=simulator.endpoints.client_id,
        consumer_secret=simulator.endpoints.client_secret,
        domain="salmon.my",
        session=diverted(simulator, "salmon.my.salesforce.com"),
    )
    assert salesforce.describe()["sobjects"]


def test_a_session_from_elsewhere_will_do(simulator: Simulator) -> None:
    """session_id and instance_url, with a port; and the CA as a file, as users have it."""
    user = simulator.org.person
    salesforce = Salesforce(
        session_id=simulator.org.sessions.open(user),
        instance_url=simulator.endpoints.instance_url,
        session=trusting_session(simulator),
        version="64.0",
    )
    created = salesforce.Account.create({"Name": "By hand"})
    assert salesforce.Account.get(created["id"])["CreatedById"] == user.user_id


def test_the_environment_may_name_the_ca(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """REQUESTS_CA_BUNDLE is all that a script needs."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", simulator.endpoints.ca_file)
    salesforce = Salesforce(
        session_id=simulator.org.sessions.open(simulator.org.person),
        instance_url=simulator.endpoints.instance_url,
    )
    assert salesforce.limits()["DailyApiRequests"]["Remaining"] > 0


def test_a_wrong_key_does_not_log_in(simulator: Simulator, tmp_path: Path) -> None:
    """The assertion is really verified."""
    make_key_pair(tmp_path / "other.key")
    with pytest.raises(exceptions.SalesforceAuthenticationFailed, match="invalid_grant"):
        Salesforce(
            username=simulator.endpoints.username,
            consumer_key=simulator.endpoints.client_id,
            privatekey_file=str(tmp_path / "other.key"),
            session=diverted(simulator, "login.salesforce.com"),
        )


def test_the_life_of_a_record(salesforce: Any) -> None:
    """Create, get, update, delete, and what is said of it afterwards."""
    contacts = salesforce.Contact
    created = contacts.create({"LastName": "Baker", "Email": "Baker@acme.example", "Phone": " 1 "})
    assert created == {"id": created["id"], "success": True, "errors": []}
    assert contacts.update(created["id"], {"FirstName": "Ada"}) == 204
    shown = contacts.get(created["id"])
    assert (shown["Name"], shown["Phone"], shown["attributes"]["type"]) == ("Ada Baker", "1", "Contact")
    assert contacts.delete(created["id"]) == 204
    with pytest.raises(exceptions.SalesforceResourceNotFound, match="entity is deleted"):
        contacts.get(created["id"])
    with pytest.raises(exceptions.SalesforceMalformedRequest, match="REQUIRED_FIELD_MISSING"):
        contacts.create({"FirstName": "Nobody"})


def test_upsert_by_external_id(salesforce: Any) -> None:
    """Created, then updated; found by the same name."""
    accounts = salesforce.Account
    assert accounts.upsert("Salmon_Id__c/k-1", {"Name": "One"}) == 201
    assert accounts.upsert("Salmon_Id__c/k-1", {"Name": "Two"}) == 200
    assert accounts.get_by_custom_id("Salmon_Id__c", "k-1")["Name"] == "Two"
    with pytest.raises(exceptions.SalesforceResourceNotFound):
        accounts.get_by_custom_id("Salmon_Id__c", "k-2")


def test_queries_page_by_page_and_all_at_once(simulator: Simulator, salesforce: Any) -> None:
    """More than one page at the smallest page size; deleted records on request."""
    text = "SELECT Id, LastName, Account.Name FROM Contact WHERE LastName != 'x' ORDER BY Id"
    first = salesforce.query(text, headers={"Sforce-Query-Options": "batchSize=200"})
    assert (len(first["records"]), first["done"]) == (200, False)
    second = salesforce.query_more(first["nextRecordsUrl"], identifier_is_url=True)
    assert second["records"][0]["Id"] > first["records"][-1]["Id"]
    everything = salesforce.query_all(text)
    assert everything["totalSize"] == len(everything["records"]) == len(simulator.org.table("Contact").live)
    doomed = salesforce.Account.create({"Name": "Doomed"})["id"]
    salesforce.Account.delete(doomed)
    [gone] = salesforce.query(
        "SELECT Id FROM Account WHERE IsDeleted = true AND Name = 'Doomed'", include_deleted=True
    )["records"]
    assert gone["Id"] == doomed
    with pytest.raises(exceptions.SalesforceMalformedRequest, match="MALFORMED_QUERY"):
        salesforce.query("SELECT Id FROM")


def test_collections_through_restful(salesforce: Any) -> None:
    """simple-salesforce has no method of its own for them: restful() takes any path."""
    made = salesforce.restful(
        "composite/sobjects",
        method="POST",
        json={
            "allOrNone": False,
            "records": [
                {"attributes": {"type": "Account"}, "Name": "A"},
                {"attributes": {"type": "Account"}},
                {"attributes": {"type": "Contact"}, "LastName": "C"},
            ],
        },
    )
    assert [result["success"] for result in made] == [True, False, True]
    assert made[1]["errors"][0]["statusCode"] == "REQUIRED_FIELD_MISSING"
    rows = salesforce.restful(
        "composite/sobjects/Account", params={"ids": f"{made[0]['id']},001Sm00000000zz", "fields": "Name"}
    )
    assert rows[0]["Name"] == "A"
    assert rows[1] is None


def test_descriptions(simulator: Simulator, salesforce: Any) -> None:
    """Of one object, of all, and the short one."""
    described = salesforce.Opportunity.describe()
    assert len(described["fields"]) == 42
    assert described["urls"]["sobject"] == "/services/data/v59.0/sobjects/Opportunity"
    names = {each["name"] for each in salesforce.describe()["sobjects"]}
    assert names == {name + suffix for name in simulator.org.objects for suffix in ("", "ChangeEvent")} | {
        "Group",
        "Organization",
        "Profile",
        "RecordType",
        "User",
        "PermissionSet",
        "PermissionSetAssignment",
        "FieldPermissions",
        "ObjectPermissions",
        "EntityDefinition",
        "FieldDefinition",
        "UserPermissionAccess",
    }
    assert salesforce.Account.metadata()["objectDescribe"]["keyPrefix"] == "001"


def test_what_changed_and_what_was_deleted(salesforce: Any) -> None:
    """getUpdated and getDeleted, by the minute."""
    changed = salesforce.Account.create({"Name": "Changed"})["id"]
    doomed = salesforce.Account.create({"Name": "Doomed"})["id"]
    salesforce.Account.delete(doomed)
    start, end = datetime.now(UTC) - timedelta(minutes=2), datetime.now(UTC) + timedelta(minutes=2)
    updated = salesforce.Account.updated(start, end)
    assert changed in updated["ids"]
    assert doomed not in updated["ids"]
    deleted = salesforce.Account.deleted(start, end)
    assert doomed in [each["id"] for each in deleted["deletedRecords"]]
    assert set(deleted) == {"deletedRecords", "earliestDateAvailable", "latestDateCovered"}


def test_the_allowance_is_told_with_every_answer(salesforce: Any) -> None:
    """simple-salesforce parses Sforce-Limit-Info."""
    salesforce.limits()
    assert salesforce.api_usage["api-usage"].total == 1_000_000
    assert salesforce.api_usage["api-usage"].used > 0
