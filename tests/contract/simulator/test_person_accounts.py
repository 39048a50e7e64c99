"""Person accounts of the simulated org: an account and its contact, by REST and in change events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from salmon.simulator.server import Simulator
from support.orgs.boxes import Box
from support.orgs.event_box import ALL
from support.orgs.pubsub import Client
from support.orgs.soap import merge, session, soap, texts


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """With person accounts enabled, and some businesses."""
    folder = tmp_path_factory.mktemp("box")
    with Simulator.start(folder, records={"Account": 20}, person_accounts=True) as running:
        yield running


def row(box: Box, object_name: str, record_id: str) -> dict[str, Any]:
    found = box.call("GET", f"sobjects/{object_name}/{record_id}").json()
    assert isinstance(found, dict), found
    return found


def events(box: Box, client: Client, count: int) -> list[dict[str, Any]]:
    """The newest events of the org, decoded."""
    found = [client.decode(each) for each in client.subscribe(ALL, preset="EARLIEST").events(len_of_bus(box))]
    return found[-count:]


def len_of_bus(box: Box) -> int:
    return sum(1 for _ in box.simulator.bus.read(0))


def test_an_account_with_a_last_name_is_a_person_with_a_contact_of_its_own(box: Box) -> None:
    """Its name follows from the parts; the contact has the person's fields under their own names."""
    account_id = box.create(
        "Account",
        FirstName="Ada",
        LastName="Byron",
        PersonEmail="ada@example.com",
        PersonMailingCity="London",
    )
    account = row(box, "Account", account_id)
    assert (account["Name"], account["IsPersonAccount"]) == ("Ada Byron", True)
    contact = row(box, "Contact", account["PersonContactId"])
    assert (contact["Name"], contact["LastName"], contact["IsPersonAccount"]) == ("Ada Byron", "Byron", True)
    assert (contact["Email"], contact["MailingCity"]) == ("ada@example.com", "London")
    assert contact["AccountId"] == account_id
    box.call("PATCH", f"sobjects/Account/{account_id}", {"LastName": "King", "PersonEmail": None})
    contact = row(box, "Contact", account["PersonContactId"])
    assert (contact["Name"], contact["Email"]) == ("Ada King", None)
    assert row(box, "Account", account_id)["Name"] == "Ada King"
    assert box.call("DELETE", f"sobjects/Account/{account_id}").status_code == 204
    assert box.call("GET", f"sobjects/Contact/{contact['Id']}").status_code == 404


def test_businesses_are_as_they_were(box: Box) -> None:
    """Those that were there, and new ones."""
    [filled] = box.call("GET", "query?q=SELECT+COUNT(Id)+n+FROM+Account+WHERE+IsPersonAccount=false").json()[
        "records"
    ]
    assert filled["n"] >= 20
    business = row(box, "Account", box.create("Account", Name="Works Ltd."))
    assert (business["IsPersonAccount"], business["PersonContactId"], business["LastName"]) == (
        False,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("fields", "code", "says"),
    [
        (
            {"Name": "X", "LastName": "Y"},
            "INVALID_FIELD_FOR_INSERT_UPDATE",
            "bad field names on insert/update call: Name",
        ),
        ({"FirstName": "X"}, "REQUIRED_FIELD_MISSING", "[LastName]"),
        ({"Name": "X", "PersonEmail": "x@example.com"}, "INVALID_FIELD_FOR_INSERT_UPDATE", "PersonEmail"),
        (
            {"LastName": "X", "PersonContactId": "003000000000001AAA"},
            "INVALID_FIELD_FOR_INSERT_UPDATE",
            "PersonContactId",
        ),
    ],
    ids=["name of a person", "no last name", "email of a business", "contact id"],
)
def test_an_account_is_a_person_or_a_business(box: Box, fields: dict[str, Any], code: str, says: str) -> None:
    """What belongs to the other kind is refused in the org's words."""
    [error] = box.call("POST", "sobjects/Account", fields).json()
    assert error["errorCode"] == code
    assert says in error["message"]


def test_the_contact_of_a_person_cannot_be_written(box: Box) -> None:
    """Neither changed nor deleted: the account is."""
    contact = row(box, "Account", box.create("Account", LastName="Solo"))["PersonContactId"]
    for method, body in (("PATCH", {"Phone": "1"}), ("DELETE", None)):
        [error] = box.call(method, f"sobjects/Contact/{contact}", body).json()
        assert error["errorCode"] == "INSUFFICIENT_ACCESS_OR_READONLY"


def test_a_person_has_two_events_of_one_transaction_and_a_name_of_parts(box: Box, client: Client) -> None:
    """Name is a record for a person and text for a business, in one stream; the bits say which parts changed."""
    business = box.create("Account", Name="Works Ltd.")
    person = box.create("Account", FirstName="Ada", LastName="Byron")
    box.call("PATCH", f"sobjects/Account/{person}", {"LastName": "King", "Industry": "Energy"})
    box.call("PATCH", f"sobjects/Account/{business}", {"Name": "Works & Sons"})
    made, account, contact, changed, contact_changed, renamed = events(box, client, 6)
    assert made["Name"] == "Works Ltd."
    assert account["Name"] == {"Salutation": None, "FirstName": "Ada", "LastName": "Byron"}
    headers = [each["ChangeEventHeader"] for each in (account, contact)]
    assert [each["entityName"] for each in headers] == ["Account", "Contact"]
    assert headers[0]["transactionKey"] == headers[1]["transactionKey"]
    assert account["PersonContactId"] == headers[1]["recordIds"][0]
    assert changed["Name"] == {"Salutation": None, "FirstName": None, "LastName": "King"}
    bits = changed["ChangeEventHeader"]["changedFields"]
    assert "1-0x04" in bits, "LastName, and not the field Name itself"
    assert int(bits[0], 16) & 2 == 0
    assert contact_changed["Name"]["LastName"] == "King"
    assert renamed["Name"] == "Works & Sons"
    assert int(renamed["ChangeEventHeader"]["changedFields"][0], 16) & 2 == 2


def test_soap_says_that_the_org_has_them(box: Box) -> None:
    """In the user's info at login, where clients look."""
    told = box.simulator.endpoints
    body = (
        '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/" xmlns:u="urn:partner.soap.sforce.com"><e:Body>'
        f"<u:login><u:username>{told.username}</u:username><u:password>{told.password}{told.security_token}</u:password>"
        "</u:login></e:Body></e:Envelope>"
    )
    answer = box.http.post(
        f"{told.login_url}/services/Soap/u/59.0",
        body,
        headers={"Content-Type": "text/xml", "SOAPAction": "login"},
    )
    assert "<orgHasPersonAccounts>true<" in answer.text


def test_persons_merge_with_persons_and_businesses_with_businesses(box: Box) -> None:
    """The contact behind a person who is merged goes with the account; the two kinds do not mix."""
    winner, loser = (box.create("Account", FirstName=name, LastName="Byron") for name in ("Ada", "Augusta"))
    business = box.create("Account", Name="Analytical Engines")
    contact = row(box, "Account", loser)["PersonContactId"]
    child = box.create("Account", Name="Below", ParentId=business)
    mixed = soap(box, merge(winner, business), session(box.token), "64.0")
    assert texts(mixed)["statusCode"] == "MERGE_FAILED"
    assert row(box, "Account", child)["ParentId"] == business
    assert texts(soap(box, merge(winner, loser), session(box.token), "64.0"))["success"] == "true"
    for object_name, gone in (("Account", loser), ("Contact", contact)):
        assert box.call("GET", f"sobjects/{object_name}/{gone}").status_code == 404
    assert row(box, "Account", winner)["Name"] == "Ada Byron"
