"""A lead that is converted by the SOAP API, as its caller and as a subscriber to change events see it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from salmon.simulator.server import Simulator
from support.orgs.boxes import Box
from support.orgs.describes import describe
from support.orgs.event_box import ALL
from support.orgs.pubsub import Client
from support.orgs.soap import session, soap, texts

CLOSED = "Closed - Converted"


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """An org with leads, which the packaged describes do not have."""
    folder: Path = tmp_path_factory.mktemp("describes")
    for name in ("Account", "Contact", "Opportunity", "Lead"):
        (folder / f"{name}.json").write_text(json.dumps(describe(name)))
    with Simulator.start(tmp_path_factory.mktemp("box"), describe_folder=folder) as running:
        yield running


def lead(box: Box) -> str:
    return box.create("Lead", LastName="Ruiz", FirstName="Ana", Company="Acme", City="Lima")


def convert(
    box: Box, lead_id: str, status: str = CLOSED, more: str = "", header: str = ""
) -> requests.Response:
    """One call of convertLead."""
    said = f"<p:leadId>{lead_id}</p:leadId><p:convertedStatus>{status}</p:convertedStatus>{more}"
    call = f"<p:convertLead><p:leadConverts>{said}</p:leadConverts></p:convertLead>"
    answer = soap(box, call, session(box.token) + header, "64.0")
    assert answer.status_code == 200, answer.text
    return answer


def test_a_lead_becomes_three_records_and_says_so(box: Box) -> None:
    """The answer names them, and so does the lead; REST shows all four."""
    lead_id = lead(box)
    made = texts(convert(box, lead_id))
    assert list(made) == ["accountId", "contactId", "leadId", "opportunityId", "success"]
    assert (made["leadId"], made["success"]) == (lead_id, "true")

    def shown(name: str, record_id: str | None, *fields: str) -> list[object]:
        row = box.call("GET", f"sobjects/{name}/{record_id}?fields={','.join(fields)}").json()
        return [row[each] for each in fields]

    assert shown("Account", made["accountId"], "Name", "BillingCity") == ["Acme", "Lima"]
    assert shown("Contact", made["contactId"], "LastName", "AccountId") == ["Ruiz", made["accountId"]]
    assert shown("Opportunity", made["opportunityId"], "Name", "AccountId") == ["Acme", made["accountId"]]
    assert shown("Lead", lead_id, "IsConverted", "Status", "ConvertedContactId") == [
        True,
        CLOSED,
        made["contactId"],
    ]


def test_its_events_are_one_transaction_that_ends_with_the_lead(box: Box, client: Client) -> None:
    """Account, contact and opportunity are created, then the lead is updated; that update does not show LastModifiedDate."""
    lead_id = lead(box)
    stream = client.subscribe(ALL, preset="EARLIEST")
    heard: list[list[str]] = []
    while [lead_id] not in heard:  # of what came before
        heard = [client.decode(each)["ChangeEventHeader"]["recordIds"] for each in stream.response().events]
    made = texts(convert(box, lead_id, header="<p:CallOptions><p:client>seller</p:client></p:CallOptions>"))
    events = [client.decode(each) for each in stream.events(4)]
    headers = [each["ChangeEventHeader"] for each in events]
    assert [(each["entityName"], each["changeType"], each["recordIds"]) for each in headers] == [
        ("Account", "CREATE", [made["accountId"]]),
        ("Contact", "CREATE", [made["contactId"]]),
        ("Opportunity", "CREATE", [made["opportunityId"]]),
        ("Lead", "UPDATE", [lead_id]),
    ]
    assert [each["sequenceNumber"] for each in headers] == [1, 2, 3, 4]
    assert len({each["transactionKey"] for each in headers}) == 1
    assert {each["changeOrigin"] for each in headers} == {"com/salesforce/api/soap/64.0;client=seller"}
    assert events[3]["IsConverted"] is True
    assert events[3]["ConvertedAccountId"] == made["accountId"]
    assert "LastModifiedDate" not in events[3]


def test_who_is_named_is_taken_and_no_opportunity_is_made_unless_wanted(box: Box) -> None:
    """As a person does who knows the customer already."""
    account = box.create("Account", Name="There")
    contact = box.create("Contact", LastName="Old", AccountId=account)
    named = f"<p:accountId>{account}</p:accountId><p:contactId>{contact}</p:contactId>"
    without = "<p:doNotCreateOpportunity>true</p:doNotCreateOpportunity>"
    made = texts(convert(box, lead(box), more=named + without))
    assert (made["accountId"], made["contactId"], made["opportunityId"]) == (account, contact, None)
    assert box.org.get("Contact", contact)["LastName"] == "Old"  # type: ignore[index]


def test_what_is_refused_changes_nothing(box: Box) -> None:
    """A status that there is not, a record that is no lead, and a lead that was converted before."""
    lead_id, account = lead(box), box.create("Account", Name="A")
    before = box.call("GET", "query", params={"q": "SELECT COUNT() FROM Account"}).json()["totalSize"]
    assert texts(convert(box, lead_id, "Nonsense"))["statusCode"] == "INVALID_STATUS"
    assert texts(convert(box, account))["statusCode"] == "INVALID_ID_FIELD"
    assert box.org.get("Lead", lead_id)["IsConverted"] is False  # type: ignore[index]
    assert texts(convert(box, lead_id))["success"] == "true"
    assert texts(convert(box, lead_id))["statusCode"] == "CANNOT_UPDATE_CONVERTED_LEAD"
    after = box.call("GET", "query", params={"q": "SELECT COUNT() FROM Account"}).json()["totalSize"]
    assert after == before + 1
