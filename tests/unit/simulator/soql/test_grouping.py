"""SOQL: groups, aggregates, date functions and date words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from salmon.simulator.org.refusals import BadRequest
from salmon.simulator.soql.answering import run_query
from salmon.simulator.soql.dates import date_span
from support.orgs.boxes import recorded, same_shape
from support.orgs.orgs import OrgAtHand


@pytest.fixture(scope="module")
def at_hand() -> OrgAtHand:
    """Opportunities of two accounts and of none."""
    at_hand = OrgAtHand()
    acme, bolt = (
        at_hand.account(Name="Acme", Industry="Energy"),
        at_hand.account(Name="Bolt", Industry="Energy"),
    )
    for name, account, amount, day, stage in (
        ("A", acme, 100, "2025-01-15", "Prospecting"),
        ("B", acme, 50.5, "2025-02-01", "Closed Won"),
        ("C", bolt, 10, "2025-05-31", "Prospecting"),
        ("D", None, None, "2026-01-04", "Prospecting"),
    ):
        at_hand.insert(
            "Opportunity", Name=name, AccountId=account, Amount=amount, CloseDate=day, StageName=stage
        )
    return at_hand


def groups(at_hand: OrgAtHand, text: str) -> list[dict[str, Any]]:
    """The records without their attributes, which are those of an aggregate."""
    result = run_query(at_hand.org, text)
    records = result.records(0, result.total, "64.0")
    assert all(record.pop("attributes") == {"type": "AggregateResult"} for record in records)
    return records


def test_groups_come_as_recorded(at_hand: OrgAtHand) -> None:
    """A field by its name, an aggregate as expr0; nulls are a group."""
    result = run_query(at_hand.org, "SELECT AccountId, SUM(Amount) FROM Opportunity GROUP BY AccountId")
    real = recorded("restforce_query_aggregate_success_response")["records"]
    records = result.records(0, 9, "64.0")
    assert [record["expr0"] for record in records] == [None, 150.5, 10.0]
    assert list(records[1]) == [name.replace("CampaignId", "AccountId") for name in real[0]]
    assert same_shape(records[1]["expr0"], real[0]["expr0"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "SELECT StageName, COUNT(Id) n, MAX(Amount) FROM Opportunity GROUP BY StageName ORDER BY COUNT(Id) DESC",
            [
                {"StageName": "Prospecting", "n": 3, "expr0": 100.0},
                {"StageName": "Closed Won", "n": 1, "expr0": 50.5},
            ],
        ),
        (
            "SELECT Account.Name, COUNT(Id) FROM Opportunity WHERE AccountId != null GROUP BY Account.Name "
            "HAVING COUNT(Id) > 1 AND Account.Name LIKE 'A%'",
            [{"Name": "Acme", "expr0": 2}],
        ),
        (
            "SELECT AVG(Amount) a, MIN(CloseDate) first, COUNT_DISTINCT(StageName), COUNT(Amount) FROM Opportunity",
            [{"a": 53.5, "first": "2025-01-15", "expr0": 2, "expr1": 3}],
        ),
        ("SELECT SUM(Amount) s FROM Opportunity WHERE Name = 'nobody'", [{"s": None}]),
        ("SELECT StageName FROM Opportunity WHERE Name = 'nobody' GROUP BY StageName", []),
        (
            "SELECT CALENDAR_YEAR(CloseDate) y, CALENDAR_QUARTER(CloseDate) q, COUNT(Id) n FROM Opportunity "
            "GROUP BY CALENDAR_YEAR(CloseDate), CALENDAR_QUARTER(CloseDate) ORDER BY CALENDAR_YEAR(CloseDate) DESC LIMIT 2",
            [{"y": 2026, "q": 1, "n": 1}, {"y": 2025, "q": 1, "n": 2}],
        ),
        (
            "SELECT StageName s, COUNT(Id) n, GROUPING(StageName) g FROM Opportunity GROUP BY ROLLUP(StageName)",
            [
                {"s": "Closed Won", "n": 1, "g": 0},
                {"s": "Prospecting", "n": 3, "g": 0},
                {"s": None, "n": 4, "g": 1},
            ],
        ),
        (
            "SELECT DAY_ONLY(CreatedDate) d FROM Opportunity GROUP BY DAY_ONLY(CreatedDate) HAVING COUNT(Id) > 9",
            [],
        ),
    ],
)
def test_what_groups_answer(at_hand: OrgAtHand, text: str, expected: list[dict[str, Any]]) -> None:
    """Aliases, HAVING, relationship fields, date functions, ROLLUP; without GROUP BY there is always one record."""
    assert groups(at_hand, text) == expected


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("CALENDAR_MONTH(CloseDate) = 1", ["A", "D"]),
        ("DAY_IN_WEEK(CloseDate) = 1", ["D"]),
        ("FISCAL_QUARTER(CloseDate) IN (1, 2) AND FISCAL_YEAR(CloseDate) = 2025", ["A", "B", "C"]),
        ("WEEK_IN_MONTH(CloseDate) = 5", ["C"]),
        ("DAY_IN_YEAR(CloseDate) < 10", ["D"]),
        ("HOUR_IN_DAY(convertTimezone(CreatedDate)) < 24", ["A", "B", "C", "D"]),
        ("DAY_ONLY(CreatedDate) = TODAY", ["A", "B", "C", "D"]),
        ("CreatedDate = THIS_YEAR AND CreatedDate >= LAST_N_WEEKS:2", ["A", "B", "C", "D"]),
    ],
)
def test_date_functions_filter(at_hand: OrgAtHand, where: str, expected: list[str]) -> None:
    """Sunday is the first day; the fiscal year is the calendar year."""
    result = run_query(at_hand.org, f"SELECT Name FROM Opportunity WHERE {where} ORDER BY Name")
    assert [record["Name"] for record in result.records(0, 9, "64.0")] == expected


@pytest.mark.parametrize(
    ("word", "first", "after"),
    [
        ("YESTERDAY", "2026-11-28", "2026-11-29"),
        ("THIS_WEEK", "2026-11-29", "2026-12-06"),
        ("LAST_WEEK", "2026-11-22", "2026-11-29"),
        ("NEXT_MONTH", "2026-12-01", "2027-01-01"),
        ("THIS_QUARTER", "2026-10-01", "2027-01-01"),
        ("LAST_FISCAL_YEAR", "2025-01-01", "2026-01-01"),
        ("LAST_90_DAYS", "2026-08-31", "2026-11-30"),
        ("LAST_N_DAYS:1", "2026-11-28", "2026-11-30"),
        ("NEXT_N_DAYS:2", "2026-11-30", "2026-12-02"),
        ("LAST_N_MONTHS:2", "2026-09-01", "2026-11-01"),
        ("NEXT_N_FISCAL_QUARTERS:1", "2027-01-01", "2027-04-01"),
        ("N_DAYS_AGO:2", "2026-11-27", "2026-11-28"),
        ("N_YEARS_AGO:1", "2025-01-01", "2026-01-01"),
        ("THIS_FISCAL_WEEK", None, None),
        ("LAST_N_DAYS", None, None),
        ("SOON", None, None),
    ],
)
def test_date_words(at_hand: OrgAtHand, word: str, first: str | None, after: str | None) -> None:
    """The time from the first day to the one after the last, seen from a Sunday in November."""
    field = at_hand.org.types["Opportunity"].field("CloseDate")
    assert field is not None
    now_ms = round(datetime(2026, 11, 29, 13, tzinfo=UTC).timestamp() * 1000)
    expected = None if first is None else (first, after)
    assert date_span(field, word, now_ms) == expected


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (
            "SELECT Name, COUNT(Id) FROM Opportunity GROUP BY StageName",
            "Field must be grouped or aggregated: Name",
        ),
        ("SELECT Id, COUNT(Id) FROM Opportunity GROUP BY Id", "Grouped field should not be aggregated: Id"),
        (
            "SELECT COUNT(Id) FROM Opportunity GROUP BY StageName ORDER BY Name",
            "Ordered field must be grouped or aggregated: Name",
        ),
        (
            "SELECT COUNT(Id) FROM Opportunity GROUP BY Description",
            "field 'Description' can not be grouped in a query call",
        ),
        ("SELECT SUM(Name) FROM Opportunity", "field Name does not support aggregate operator SUM"),
        (
            "SELECT COUNT(Id) FROM Opportunity LIMIT 5",
            "Non-grouped query that uses overall aggregate functions cannot also use LIMIT",
        ),
        ("SELECT COUNT(Id) x, MAX(Amount) x FROM Opportunity", "duplicate alias: x"),
        ("SELECT count(), Id FROM Opportunity", "count() must be the only element"),
        (
            "SELECT CALENDAR_YEAR(CloseDate) FROM Opportunity",
            "Field must be grouped or aggregated: CloseDate",
        ),
        ("SELECT Id FROM Opportunity WHERE COUNT(Id) > 1", "Aggregate function is not allowed here: COUNT"),
        ("SELECT Id FROM Opportunity HAVING COUNT(Id) > 1", "HAVING"),
        (
            "SELECT Id FROM Opportunity WITH SECURITY_ENFORCED",
            "WITH SECURITY_ENFORCED is available only in Apex",
        ),
        ("SELECT Id FROM Opportunity WITH USER_MODE LIMIT 1", "WITH USER_MODE is available only in Apex"),
        ("SELECT Id FROM Opportunity WITH DATA CATEGORY A AT b__c", "WITH is not served by the simulator"),
        ("SELECT FORMAT(Amount) FROM Opportunity", "FORMAT is not served by the simulator"),
        (
            "SELECT convertCurrency(Amount) FROM Opportunity",
            "convertCurrency is not served by the simulator",
        ),
        (
            "SELECT Id FROM Opportunity WHERE DISTANCE(Spot__c, GEOLOCATION(1, 2), 'km') < 3",
            "DISTANCE is not served by the simulator",
        ),
        ("SELECT ROUND(Amount) FROM Opportunity", "unexpected token: 'ROUND'"),
        ("SELECT Id FROM Opportunity WHERE CloseDate IN (TODAY, TOMORROW)", "unexpected token: 'TODAY'"),
    ],
)
def test_what_cannot_be_grouped(at_hand: OrgAtHand, text: str, what: str) -> None:
    """MALFORMED_QUERY in the org's words, with the place."""
    with pytest.raises(BadRequest) as refused:
        run_query(at_hand.org, text)
    assert refused.value.code == "MALFORMED_QUERY"
    assert what in refused.value.message
    assert "ERROR at Row:1:Column:" in refused.value.message


def test_a_function_of_the_wrong_field_is_an_invalid_field(at_hand: OrgAtHand) -> None:
    """A date has no hour, and a name no year."""
    for wrong in ("HOUR_IN_DAY(CloseDate) = 1", "CALENDAR_YEAR(Name) = 1"):
        with pytest.raises(BadRequest) as refused:
            run_query(at_hand.org, f"SELECT Id FROM Opportunity WHERE {wrong}")
        assert refused.value.code == "INVALID_FIELD"


def test_labels_and_standard_fields(at_hand: OrgAtHand) -> None:
    """toLabel shows a picklist's label, FIELDS(STANDARD) needs no LIMIT."""
    result = run_query(at_hand.org, "SELECT Name, toLabel(StageName) l FROM Opportunity WHERE Name = 'A'")
    assert result.records(0, 1, "64.0")[0]["l"] == "Prospecting"
    result = run_query(at_hand.org, "SELECT FIELDS(STANDARD) FROM Opportunity")
    assert not any(name.endswith("__c") for name in result.records(0, 1, "64.0")[0])
