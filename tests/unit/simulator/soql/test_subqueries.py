"""SOQL: queries inside a query, and lookups that may lead to several objects."""

from __future__ import annotations

from typing import Any

import pytest

from salmon.simulator.org.refusals import BadRequest
from salmon.simulator.soql.answering import run_query
from support.orgs.boxes import recorded, same_shape
from support.orgs.orgs import DESCRIBES, OrgAtHand


@pytest.fixture(scope="module")
def at_hand() -> OrgAtHand:
    """Three accounts; Acme has two contacts and two opportunities, one of them in the Recycle Bin, Bolt one contact."""
    at_hand = OrgAtHand()
    acme, bolt = at_hand.account(Name="Acme"), at_hand.account(Name="Bolt")
    at_hand.account(Name="Cone")
    ada = at_hand.contact(LastName="Ada", AccountId=acme, Email="ada@acme.example")
    at_hand.contact(LastName="Bob", AccountId=acme)
    at_hand.contact(LastName="Cid", AccountId=bolt)
    at_hand.contact(LastName="Dora")
    deal = {"StageName": "Prospecting", "CloseDate": "2026-01-01", "AccountId": acme}
    at_hand.insert("Opportunity", Name="Big", ContactId=ada, Amount=10, **deal)
    at_hand.delete("Opportunity", at_hand.insert("Opportunity", Name="Gone", ContactId=ada, **deal))
    return at_hand


def found(at_hand: OrgAtHand, text: str, *, with_deleted: bool = False) -> list[dict[str, Any]]:
    result = run_query(at_hand.org, text, with_deleted=with_deleted)
    return result.records(0, result.total, "64.0")


def names(at_hand: OrgAtHand, text: str) -> list[str]:
    return [record.get("Name") or record["LastName"] for record in found(at_hand, text)]


def test_children_come_as_recorded(at_hand: OrgAtHand) -> None:
    """The recorded query runs as it is; children are a result of their own, or null where there are none."""
    real = recorded("cci_query_child_subquery")["response"]["body"]["records"]
    mine = found(at_hand, "select FirstName,(select Name from Opportunities) from Contact")
    with_child = next(record for record in real if record["Opportunities"])
    assert [record["Opportunities"] and record["Opportunities"]["totalSize"] for record in mine] == [
        1,
        None,
        None,
        None,
    ]
    assert same_shape(mine[0], with_child)
    assert list(mine[0]) == list(with_child)
    again = found(
        at_hand, "SELECT Id, (SELECT Name FROM opportunities) FROM Contact LIMIT 1", with_deleted=True
    )
    assert again[0]["Opportunities"]["totalSize"] == 2, "queryAll shows those of the Recycle Bin"


def test_children_are_filtered_sorted_and_limited_for_each_parent(at_hand: OrgAtHand) -> None:
    """And may have children and parents of their own."""
    text = (
        "SELECT Name, (SELECT LastName, Account.Name, (SELECT Name FROM Opportunities) FROM Contacts "
        "WHERE LastName != 'x' ORDER BY LastName DESC LIMIT 1) FROM Account ORDER BY Name"
    )
    acme, bolt, cone = found(at_hand, text)
    assert [child["LastName"] for child in acme["Contacts"]["records"]] == ["Bob"]
    assert bolt["Contacts"]["records"][0]["Account"]["Name"] == "Bolt"
    assert bolt["Contacts"]["records"][0]["Opportunities"] is None
    assert cone["Contacts"] is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT Name FROM Account WHERE Id IN (SELECT AccountId FROM Contact)", ["Acme", "Bolt"]),
        ("SELECT Name FROM Account WHERE Id NOT IN (SELECT AccountId FROM Contact)", ["Cone"]),
        (
            "SELECT Name FROM Account WHERE Id IN (SELECT AccountId FROM Contact WHERE LastName LIKE 'A%') AND Name != 'x'",
            ["Acme"],
        ),
        (
            "SELECT LastName FROM Contact WHERE AccountId IN (SELECT Id FROM Account WHERE Name = 'Bolt')",
            ["Cid"],
        ),
        (
            "SELECT LastName FROM Contact WHERE AccountId IN (SELECT AccountId FROM Opportunity) ORDER BY LastName DESC",
            ["Bob", "Ada"],
        ),
        (
            "SELECT Name FROM Account WHERE Id IN (SELECT AccountId FROM Contact) AND Id NOT IN (SELECT AccountId "
            "FROM Opportunity)",
            ["Bolt"],
        ),
        ("SELECT Name FROM Account WHERE Id IN (SELECT Account.ParentId FROM Contact)", []),
    ],
)
def test_semi_and_anti_joins(at_hand: OrgAtHand, text: str, expected: list[str]) -> None:
    """By the ids that another query finds, of live records only."""
    assert names(at_hand, text) == expected


@pytest.mark.parametrize(
    ("text", "code", "what"),
    [
        (
            "SELECT Id, (SELECT Id FROM Nothings) FROM Account",
            "INVALID_TYPE",
            "Didn't understand relationship 'Nothings' in FROM part of query call.",
        ),
        (
            "SELECT Id, (SELECT count() FROM Contacts) FROM Account",
            "MALFORMED_QUERY",
            "not supported in subqueries",
        ),
        (
            "SELECT Id FROM Account WHERE Name = 'x' OR Id IN (SELECT AccountId FROM Contact)",
            "MALFORMED_QUERY",
            "Semi join sub-selects are not allowed with the 'OR' operator",
        ),
        (
            "SELECT Id FROM Account WHERE NOT Id IN (SELECT AccountId FROM Contact)",
            "MALFORMED_QUERY",
            "Semi join sub-selects are only allowed at the top level WHERE expressions",
        ),
        (
            "SELECT Id FROM Account WHERE Id IN (SELECT AccountId FROM Contact WHERE Id IN (SELECT ContactId FROM Opportunity))",
            "MALFORMED_QUERY",
            "Nesting of semi join sub-selects is not supported",
        ),
        (
            "SELECT Id FROM Account WHERE Id IN (SELECT AccountId FROM Contact) AND Id IN (SELECT AccountId FROM Opportunity) "
            "AND Id NOT IN (SELECT ParentId FROM Account)",
            "MALFORMED_QUERY",
            "Maximum 2 semi join sub-selects are allowed",
        ),
        (
            "SELECT Id FROM Account WHERE Id IN (SELECT Id FROM Account)",
            "MALFORMED_QUERY",
            "The inner and outer selects should not be on the same object type",
        ),
        (
            "SELECT Id FROM Account WHERE Id IN (SELECT Account.Parent.ParentId FROM Contact)",
            "MALFORMED_QUERY",
            "inner select field cannot have more than one level of relationships",
        ),
        (
            "SELECT Id FROM Account WHERE Id IN (SELECT ContactId FROM Opportunity)",
            "MALFORMED_QUERY",
            "should point to the same object type",
        ),
        (
            "SELECT Id FROM Account WHERE Name IN (SELECT AccountId FROM Contact)",
            "MALFORMED_QUERY",
            "cannot use: 'Name'",
        ),
        (
            "SELECT Id FROM Account WHERE Id IN (SELECT LastName FROM Contact)",
            "MALFORMED_QUERY",
            "it is no id field",
        ),
        (
            "SELECT Id FROM Account WHERE Id IN (SELECT AccountId FROM Contact LIMIT 1)",
            "MALFORMED_QUERY",
            "LIMIT",
        ),
        (
            "SELECT Id FROM Account WHERE Id IN (SELECT Id FROM XYZZY)",
            "INVALID_TYPE",
            "'XYZZY' is not supported",
        ),
    ],
)
def test_what_a_subquery_may_not_be(at_hand: OrgAtHand, text: str, code: str, what: str) -> None:
    """With the place, as everywhere in SOQL."""
    with pytest.raises(BadRequest) as refused:
        run_query(at_hand.org, text)
    assert (refused.value.code, what in refused.value.message) == (code, True)
    assert "ERROR at Row:1:Column:" in refused.value.message


@pytest.fixture(scope="module")
def meetings() -> OrgAtHand:
    """Events with a lead and with nobody, in an org of other describes."""
    at_hand = OrgAtHand(DESCRIBES)
    lead = at_hand.insert("Lead", LastName="Lead", Company="Leaders", Title="Dr", Status="Open")
    base = {"DurationInMinutes": 5, "ActivityDateTime": "2026-01-01T10:00:00Z"}
    at_hand.insert("Event", Subject="With a lead", WhoId=lead, **base)
    at_hand.insert("Event", Subject="Alone", **base)
    return at_hand


def test_typeof_shows_other_fields_for_each_kind_of_record(meetings: OrgAtHand) -> None:
    """Under the name of the relationship, with the record's own attributes."""
    text = "SELECT Subject, TYPEOF Who WHEN Lead THEN Company, LastName ELSE Name END FROM Event ORDER BY Subject"
    alone, met = found(meetings, text)
    assert alone["Who"] is None
    assert met["Who"]["attributes"]["type"] == "Lead"
    assert {name: value for name, value in met["Who"].items() if name != "attributes"} == {
        "Company": "Leaders",
        "LastName": "Lead",
    }
    for wrong, code in (
        ("TYPEOF Who WHEN Account THEN Name END", "INVALID_TYPE"),
        ("TYPEOF Who ELSE Name END", "MALFORMED_QUERY"),
        ("TYPEOF Who WHEN Lead THEN Nope END", "INVALID_FIELD"),
        ("TYPEOF Who WHEN Lead THEN Name ELSE Company END", "INVALID_FIELD"),
    ):
        with pytest.raises(BadRequest) as refused:
            run_query(meetings.org, f"SELECT {wrong} FROM Event")
        assert refused.value.code == code, wrong


def test_a_lookup_that_may_lead_to_several_objects_leads_to_a_name(meetings: OrgAtHand) -> None:
    """It has what they share, and Type; a field of one of them only is no column of it."""
    [record] = found(meetings, "SELECT Who.Name, Who.Type, Who.Title FROM Event WHERE Who.Type = 'Lead'")
    assert (record["Who"]["Name"], record["Who"]["Type"], record["Who"]["Title"]) == ("Lead", "Lead", "Dr")
    with pytest.raises(BadRequest, match="No such column 'Company' on entity 'Name'"):
        run_query(meetings.org, "SELECT Who.Company FROM Event")
