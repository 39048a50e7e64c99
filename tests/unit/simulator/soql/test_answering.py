"""SOQL: what is found, in which order, how it is shown, and how mistakes are told."""

from __future__ import annotations

from typing import Any

import pytest

from salmon.simulator.org.refusals import BadRequest
from salmon.simulator.soql.answering import run_query
from support.orgs.orgs import DESCRIBES, OrgAtHand


@pytest.fixture(scope="module")
def at_hand() -> OrgAtHand:
    """Three accounts, contacts on two of them, and one account in the Recycle Bin."""
    at_hand = OrgAtHand()
    acme = at_hand.account(Name="Acme", Phone="1", AnnualRevenue=100, Salmon_Id__c="a", BillingCity="Oslo")
    bolt = at_hand.account(Name="bolt", AnnualRevenue=20.5, Salmon_Id__c="A", ParentId=acme)
    at_hand.account(Name="100%_sure\\", Description="long")
    at_hand.contact(LastName="Baker", FirstName="Ada", AccountId=bolt, Birthdate="1980-05-01")
    at_hand.contact(LastName="O'Brien", AccountId=acme)
    at_hand.contact(LastName="Lone")
    at_hand.delete("Account", at_hand.account(Name="Gone"))
    return at_hand


def found(at_hand: OrgAtHand, text: str, *, with_deleted: bool = False) -> list[dict[str, Any]]:
    """The records, as version 64.0 shows them, without their attributes."""
    result = run_query(at_hand.org, text, with_deleted=with_deleted)
    records = result.records(0, result.total, "64.0")
    for record in records:
        record.pop("attributes", None)
    return records


def names(at_hand: OrgAtHand, rest: str, *, with_deleted: bool = False) -> list[str]:
    """The names of the accounts that `SELECT Name FROM Account <rest>` finds."""
    return [
        record["Name"]
        for record in found(at_hand, f"SELECT Name FROM Account {rest}", with_deleted=with_deleted)
    ]


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("", ["Acme", "bolt", "100%_sure\\"]),
        ("WHERE Name = 'ACME'", ["Acme"]),
        ("WHERE Name != 'acme' AND Phone = null", ["bolt", "100%_sure\\"]),
        ("WHERE Phone != NULL", ["Acme"]),
        ("WHERE Salmon_Id__c = 'A'", ["bolt"]),
        ("WHERE Salmon_Id__c IN ('a', 'A', 'b')", ["Acme", "bolt"]),
        ("WHERE Salmon_Id__c NOT IN ('a')", ["bolt", "100%_sure\\"]),
        ("WHERE AnnualRevenue > 20 AND AnnualRevenue <= 21", ["bolt"]),
        ("WHERE NOT (AnnualRevenue >= 20 OR Name LIKE '1%')", []),
        ("WHERE NOT Name LIKE 'b_lt'", ["Acme", "100%_sure\\"]),
        ("WHERE Name LIKE '100\\%\\_s%'", ["100%_sure\\"]),
        ("WHERE Name = '100%_sure\\\\'", ["100%_sure\\"]),
        ("WHERE Parent.Name = 'Acme'", ["bolt"]),
        ("WHERE IsDeleted = true", []),
        ("WHERE (CreatedDate = TODAY AND CreatedDate > LAST_N_DAYS:1) OR Name = 'x'", []),
        (
            "WHERE CreatedDate >= TODAY AND CreatedDate < 2999-01-01T00:00:00+01:00",
            ["Acme", "bolt", "100%_sure\\"],
        ),
        ("ORDER BY Name DESC", ["bolt", "Acme", "100%_sure\\"]),
        ("ORDER BY AnnualRevenue, Id", ["100%_sure\\", "bolt", "Acme"]),
        ("ORDER BY AnnualRevenue NULLS LAST", ["bolt", "Acme", "100%_sure\\"]),
        ("ORDER BY AnnualRevenue DESC NULLS LAST", ["Acme", "bolt", "100%_sure\\"]),
        ("ORDER BY IsDeleted ASC, Name ASC LIMIT 1 OFFSET 1", ["Acme"]),
        ("ORDER BY Id LIMIT 2", ["Acme", "bolt"]),
        ("LIMIT 0", []),
    ],
)
def test_a_query_finds_what_it_asks_for(at_hand: OrgAtHand, rest: str, expected: list[str]) -> None:
    """Text compares without case unless the field's case counts; nulls come first; the default order is by Id."""
    assert names(at_hand, rest) == expected


def test_deleted_records_are_seen_by_query_all_alone(at_hand: OrgAtHand) -> None:
    """With IsDeleted to tell them by; an index must not hide them."""
    assert names(at_hand, "WHERE IsDeleted = true", with_deleted=True) == ["Gone"]
    [gone] = found(at_hand, "SELECT Id FROM Account WHERE Name = 'Gone'", with_deleted=True)
    assert names(at_hand, f"WHERE Id IN ('{gone['Id']}')", with_deleted=True) == ["Gone"]
    assert names(at_hand, f"WHERE Id = '{gone['Id']}'") == []


def test_keyset_paging_by_id_meets_every_record_once(at_hand: OrgAtHand) -> None:
    """The way snapshots read."""
    met, last = [], ""
    while page := found(
        at_hand,
        f"SELECT Id, Name FROM Account WHERE Id > '{last}' ORDER BY Id LIMIT 2"
        if last
        else "SELECT Id, Name FROM Account ORDER BY Id LIMIT 2",
    ):
        met += [record["Name"] for record in page]
        last = page[-1]["Id"]
    assert met == ["Acme", "bolt", "100%_sure\\"]


def test_a_range_of_ids_holds_its_upper_end_where_it_says_so(at_hand: OrgAtHand) -> None:
    """The way parts of a large object are read; a second bound narrows it, whichever is given first."""
    first, second, third = (record["Id"] for record in found(at_hand, "SELECT Id FROM Account ORDER BY Id"))

    def between(condition: str) -> list[str]:
        return [record["Id"] for record in found(at_hand, f"SELECT Id FROM Account WHERE {condition}")]

    assert between(f"Id > '{first}' AND Id <= '{second}'") == [second]
    assert between(f"Id > '{first}' AND Id < '{third}'") == [second]
    assert between(f"Id <= '{third}' AND Id < '{second}'") == [first]
    assert between(f"Id < '{second}' AND Id <= '{third}'") == [first]
    assert between(f"Id < '{second}' OR Id = '{third}'") == [first, third], (
        "a bound of an alternative is none"
    )


def test_parents_come_inline_with_attributes_of_their_own(at_hand: OrgAtHand) -> None:
    """And null where there is none; several steps are possible."""
    result = run_query(
        at_hand.org,
        "select lastname, account.name, Account.Parent.Salmon_Id__c from contact order by LastName",
    )
    baker, lone, obrien = result.records(0, 3, "64.0")
    assert baker["Account"]["attributes"]["type"] == "Account"
    assert baker["Account"]["Parent"]["Salmon_Id__c"] == "a"
    assert list(baker) == ["attributes", "LastName", "Account"], (
        "in the order asked for, spelt as in the describe"
    )
    assert lone["Account"] is None
    assert obrien["Account"]["Parent"] is None


def test_compound_addresses_are_made_of_their_parts(at_hand: OrgAtHand) -> None:
    """The compound field is an object, or null when all parts are."""
    acme, bolt, _ = found(at_hand, "SELECT BillingAddress, BillingCity FROM Account")
    assert acme["BillingCity"] == "Oslo"
    assert acme["BillingAddress"]["city"] == "Oslo"
    assert acme["BillingAddress"]["latitude"] is None
    assert bolt["BillingAddress"] is None


def test_counting(at_hand: OrgAtHand) -> None:
    """count() is a number without records; count(field) is a record and leaves nulls out."""
    result = run_query(at_hand.org, "SELECT count() FROM Account")
    assert (result.total, result.records(0, 9, "64.0")) == (3, [])
    result = run_query(at_hand.org, "SELECT count(Id), COUNT(Phone) phones FROM Account")
    assert result.records(0, 9, "64.0") == [
        {"attributes": {"type": "AggregateResult"}, "expr0": 3, "phones": 1},
    ]


def test_all_fields_at_once(at_hand: OrgAtHand) -> None:
    """FIELDS(ALL) shows every field of the describe, FIELDS(CUSTOM) the custom ones."""
    [acme] = found(at_hand, "SELECT FIELDS(ALL) FROM Account LIMIT 1")
    assert list(acme) == [field["name"] for field in at_hand.org.describe("Account")["fields"]]
    [acme] = found(at_hand, "SELECT FIELDS(CUSTOM) FROM Account LIMIT 1")
    assert all(name.endswith("__c") for name in acme)


def test_choices_of_a_multi_select_picklist() -> None:
    """INCLUDES takes alternatives, each of which may ask for several at once."""
    at_hand = OrgAtHand(DESCRIBES)
    for chosen in ("four;five", "six", None):
        at_hand.insert("Whizbang", Picklist_Multiselect_Field=chosen)
    base = "SELECT count() FROM Whizbang WHERE Picklist_Multiselect_Field"
    assert run_query(at_hand.org, f"{base} INCLUDES ('four;five', 'six')").total == 2
    assert run_query(at_hand.org, f"{base} INCLUDES ('four;six')").total == 0
    assert run_query(at_hand.org, f"{base} EXCLUDES ('six')").total == 2


@pytest.mark.parametrize(
    ("text", "code", "place", "what"),
    [
        ("SELECT Id FROM", "MALFORMED_QUERY", "Column:15", "unexpected token: '<EOF>'"),
        ("SELECT Id Name Phone FROM Account", "MALFORMED_QUERY", "Column:16", "unexpected token: 'Phone'"),
        (
            "SELECT Id Name FROM Account",
            "MALFORMED_QUERY",
            "Column:8",
            "only aggregate expressions use field aliasing",
        ),
        ("SELECT Id FROM Account WHERE Name = 'x", "MALFORMED_QUERY", "Column:37", "unexpected token: '''"),
        (
            "SELECT Id FROM Account LIMIT 1 garbage",
            "MALFORMED_QUERY",
            "Column:32",
            "unexpected token: 'garbage'",
        ),
        ("SELECT Id, Id FROM Account", "MALFORMED_QUERY", "Column:12", "duplicate field selected: Id"),
        (
            "SELECT FIELDS(ALL) FROM Account",
            "MALFORMED_QUERY",
            "Column:25",
            "must have a LIMIT of at most 200",
        ),
        (
            "SELECT Nope FROM Account",
            "INVALID_FIELD",
            "Column:8",
            "No such column 'Nope' on entity 'Account'.",
        ),
        (
            "SELECT Nope.Name FROM Account",
            "INVALID_FIELD",
            "Column:8",
            "Didn't understand relationship 'Nope'",
        ),
        ("SELECT Id FROM XYZZY", "INVALID_TYPE", "Column:16", "sObject type 'XYZZY' is not supported."),
        (
            "SELECT Id FROM Account WHERE CreatedDate > '2024-01-01'",
            "INVALID_FIELD",
            "Column:30",
            "value of filter criterion for field 'CreatedDate' must be of type dateTime and should not be enclosed",
        ),
        (
            "SELECT Id FROM Account WHERE Description = 'x'",
            "INVALID_FIELD",
            "Column:30",
            "can not be filtered",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(
    at_hand: OrgAtHand, text: str, code: str, place: str, what: str
) -> None:
    """The code is what a program acts on, the place is for people."""
    with pytest.raises(BadRequest) as refused:
        run_query(at_hand.org, text)
    assert refused.value.code == code
    assert f"ERROR at Row:1:{place}\n" in refused.value.message
    assert what in refused.value.message


def test_the_message_points_at_the_word_as_the_recorded_one_does() -> None:
    """A line of the query, a caret below the word, the place, the reason."""
    with pytest.raises(BadRequest) as refused:
        run_query(OrgAtHand().org, "select count() from XYZZY")
    assert refused.value.message.startswith(
        "\nselect count() from XYZZY\n                    ^\nERROR at Row:1:Column:21\nsObject type 'XYZZY' is not supported."
    )
