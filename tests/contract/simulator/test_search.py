"""The simulator's search, recent items, and the objects that every org has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from salmon.simulator.server import Simulator
from support.orgs.boxes import VERSION, Box, recorded


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator.start(tmp_path_factory.mktemp("box")) as running:
        box = Box(running)
        box.create("Account", Name="Acme Rockets", Phone="415 555 0101")
        box.create("Account", Name="Bolt", Description="sells to Acme")
        box.create("Contact", LastName="Acme-Jones", Email="jo@rockets.example")
        yield running


def search(box: Box, text: str) -> list[Any]:
    answer = box.call("GET", "search", params={"q": text})
    assert answer.status_code == 200, answer.text
    return [record.get("Name") or record["attributes"]["type"] for record in answer.json()["searchRecords"]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FIND {Acme}", ["Account", "Account", "Contact"]),
        ("FIND {acme} IN NAME FIELDS RETURNING Account(Name), Contact(Name)", ["Acme Rockets", "Acme-Jones"]),
        ("FIND {rock*} RETURNING Account(Id, Name), Contact", ["Acme Rockets", "Contact"]),
        ("FIND {rock} RETURNING Account(Id, Name), Contact", []),
        ("FIND {jo@rockets.example} IN EMAIL FIELDS", ["Contact"]),
        ("FIND {555} IN PHONE FIELDS RETURNING Account(Name)", ["Acme Rockets"]),
        ('FIND {"Acme Rockets"} RETURNING Account(Name)', ["Acme Rockets"]),
        ("FIND {acme AND NOT rockets} RETURNING Account(Name)", ["Bolt"]),
        ("FIND {(bolt OR rockets) acme} RETURNING Account(Name ORDER BY Name DESC LIMIT 1)", ["Bolt"]),
        ("FIND {acme} RETURNING Account(Name WHERE Name LIKE 'B%')", ["Bolt"]),
        ("FIND {acme} RETURNING Account(Name), Contact(Name) LIMIT 1", ["Acme Rockets"]),
    ],
)
def test_a_search_finds_words(box: Box, text: str, expected: list[str]) -> None:
    """Whole words without case; * for the rest of one; only what RETURNING names, by its conditions."""
    assert sorted(search(box, text)) == sorted(expected)


@pytest.mark.parametrize(
    ("text", "code", "what"),
    [
        ("FIND Acme", "MALFORMED_SEARCH", "The search term must be enclosed in braces."),
        ("FIND {a}", "MALFORMED_SEARCH", "search term must be longer than one character: a"),
        ("FIND {acme} IN MY FIELDS", "MALFORMED_SEARCH", "unexpected token: MY"),
        ("FIND {(acme}", "MALFORMED_SEARCH", "parenthesis"),
        ("FIND {acme AND ) bolt}", "MALFORMED_SEARCH", "empty part"),
        ("FIND {acme} RETURNING XYZZY", "INVALID_TYPE", "sObject type 'XYZZY' is not supported."),
        (
            "FIND {acme} RETURNING Account(Nope)",
            "INVALID_FIELD",
            "No such column 'Nope' on entity 'Account'.",
        ),
        ("FIND {acme} RETURNING Account(Id) GARBAGE", "MALFORMED_QUERY", "unexpected token: 'GARBAGE'"),
    ],
)
def test_what_is_no_search(box: Box, text: str, code: str, what: str) -> None:
    """The words of an org; names are refused as in a query, with the place."""
    answer = box.call("GET", "search", params={"q": text})
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, code)
    assert what in answer.json()[0]["message"]


def test_parameterized_search_by_get_and_by_post(box: Box) -> None:
    """The same search, once as parameters and once as a body."""
    by_get = box.call(
        "GET", "parameterizedSearch?q=Acme&sobject=Account&Account.fields=id,name&Account.limit=1&in=NAME"
    )
    body = {
        "q": "Acme",
        "in": "NAME",
        "fields": ["id", "name"],
        "sobjects": [{"name": "Account", "limit": 1}],
    }
    by_post = box.call("POST", "parameterizedSearch", body)
    assert by_get.json() == by_post.json()
    [record] = by_get.json()["searchRecords"]
    assert (record["Name"], set(record)) == ("Acme Rockets", {"attributes", "Id", "Name"})
    assert box.call("GET", "parameterizedSearch").json()[0]["errorCode"] == "MISSING_ARGUMENT"
    assert (
        box.call("GET", "/services/data/v36.0/search?q=FIND {Bolt}").json()[0]["attributes"]["type"]
        == "Account"
    )


def test_recent_items_are_what_the_user_wrote_last(box: Box) -> None:
    """The latest first, of all objects or of one, without those deleted; a header keeps a write out of it."""
    first, second = box.create("Account", Name="First"), box.create("Contact", LastName="Second")
    box.call("PATCH", f"sobjects/Account/{first}", {"Phone": "1"})
    box.call("POST", "sobjects/Account", {"Name": "Hidden"}, headers={"Sforce-Mru": "updateMru=false"})
    recent = box.call("GET", "recent?limit=2").json()
    assert [(each["Id"], each["Name"]) for each in recent] == [(first, "First"), (second, "Second")]
    assert recent[0]["attributes"] == {
        "type": "Account",
        "url": f"/services/data/v{VERSION}/sobjects/Account/{first}",
    }
    box.call("DELETE", f"sobjects/Account/{first}")
    items = box.call("GET", "sobjects/Contact").json()["recentItems"]
    assert items[0]["Id"] == second
    assert first not in [each["Id"] for each in box.call("GET", "recent").json()]


def test_the_organization_has_the_recorded_fields(box: Box) -> None:
    """By query and by row; nobody may create another."""
    [found] = box.call(
        "GET", "query?q=SELECT Id, Name, IsSandbox, OrganizationType FROM Organization"
    ).json()["records"]
    assert found["Id"] == box.org.org_id
    row = box.call("GET", f"sobjects/Organization/{box.org.org_id}").json()
    assert list(row) == list(recorded("organization_record"))
    refused = box.call("POST", "sobjects/Organization", {"Name": "Another"})
    assert refused.json()[0]["errorCode"] == "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"


def test_record_types_users_and_profiles_are_there(box: Box) -> None:
    """Those of the describes; owners are users, and have a profile."""
    [kind] = box.call("GET", "query?q=SELECT Id, DeveloperName, SobjectType FROM RecordType").json()[
        "records"
    ]
    assert (kind["DeveloperName"], kind["SobjectType"], kind["Id"]) == (
        "Household",
        "Account",
        "01254000001upcKAAQ",
    )
    text = "SELECT Owner.Name, Owner.Profile.Name, CreatedBy.Username FROM Account LIMIT 1"
    [account] = box.call("GET", "query", params={"q": text}).json()["records"]
    assert account["Owner"]["attributes"]["type"] == "User"
    assert account["Owner"]["Profile"]["Name"] == "System Administrator"
    user = box.call("GET", f"sobjects/User/Username/{account['CreatedBy']['Username']}").json()
    assert user["Id"] == box.org.integration_user.user_id
    names = [each["name"] for each in box.call("GET", "sobjects").json()["sobjects"]]
    assert "RecordType" in names
    assert "UserChangeEvent" not in names


def test_layouts_say_which_fields_there_are(box: Box) -> None:
    """All of an object, or that of one record type; Name is required, and an unknown record type is not found."""
    whole = box.call("GET", "sobjects/Account/describe/layouts").json()
    assert {each["name"] for each in whole["recordTypeMappings"]} == {"Master", "Household"}
    one = box.call("GET", "sobjects/Account/describe/layouts/012000000000000AAA").json()
    assert one == whole["layouts"][0]
    items = [item for row in one["detailLayoutSections"][0]["layoutRows"] for item in row["layoutItems"]]
    required = [item["layoutComponents"][0]["value"] for item in items if item["required"]]
    assert "Name" in required
    assert box.call("GET", "sobjects/Account/describe/layouts/012000000000001AAA").status_code == 404


@pytest.mark.parametrize(
    ("path", "names"),
    [
        (
            "sobjects/Account/describe/compactLayouts",
            {"compactLayouts", "defaultCompactLayoutId", "recordTypeCompactLayoutMappings", "urls"},
        ),
        ("sobjects/Account/describe/approvalLayouts", {"approvalLayouts"}),
        ("sobjects/Account/listviews", {"done", "listviews", "nextRecordsUrl", "size", "sobjectType"}),
        ("theme", {"themeItems"}),
    ],
)
def test_what_is_shown_to_people_is_that_of_an_org_without_any(box: Box, path: str, names: set[str]) -> None:
    """jsforce asks for all of it; an object that is not there is not found."""
    answer = box.call("GET", path)
    assert (answer.status_code, set(answer.json())) == (200, names)
    assert box.call("GET", "sobjects/XYZZY/listviews").status_code == 404
    for empty in ("tabs", "quickActions", "sobjects/Account/quickActions"):
        assert box.call("GET", empty).json() == []
