"""Reports over a real mongod: equal to a plain computation over the same documents, shown to those who may see them, and followed."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import math
import re
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from threading import Event
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from salmon.api.grants import caller
from salmon.api.handle import Api
from salmon.api.keys import hash_of
from salmon.api.problems import Problem
from salmon.api.reports import routes
from salmon.api.reports.computing import Computing, Result
from salmon.api.reports.following import Following
from salmon.api.reports.showing import as_dict
from salmon.api.streams import OF_ONE_MAX
from salmon.errors import Unavailable
from salmon.mongodb.reports.report import BoundReport
from support.at_hand.api_room import api_of, client_of
from support.at_hand.console_room import console_of

WITHIN_S: Final = 30.0
MAKES: Final = ("Audi", "Fiat")  # the org's order
MOMENTS: Final = st.datetimes(datetime(2023, 12, 20), datetime(2024, 4, 10)).map(  # noqa: DTZ001 - Hypothesis wants none
    lambda each: each.replace(microsecond=0, tzinfo=UTC)
)
CARS: Final = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "Make__c": st.sampled_from([*MAKES, "Lada", "", None, 7]),
            "Name": st.sampled_from(["a", "b", "=1+1"]),
            "Price__c": st.sampled_from([0.1, 0.2, 3.25, -4.0, 5, float("nan"), "x"]),
            "Doors__c": st.sampled_from([2, 4, None]),
            "Built__c": MOMENTS.map(lambda each: each.replace(hour=0, minute=0, second=0)),
            "Seen__c": MOMENTS,
            "Electric__c": st.booleans(),
        },
    ),
    max_size=25,
)
MEASURES: Final = {
    "cars": "count",
    "worth": {"sum": "Price__c"},
    "mean": {"avg": "Price__c"},
    "cheapest": {"min": "Price__c"},
    "latest": {"max": "Seen__c"},
    "doors": {"sum": "Doors__c"},
}  # fmt: skip
Serve = Callable[..., TestClient]


@pytest.fixture
def made() -> Iterator[list[Api]]:
    """What a test has made, and what is closed after it."""
    found: list[Api] = []
    yield found
    for each in found:
        each.reports.close()


@pytest.fixture
def serve_reports(database: Any, made: list[Api]) -> Serve:
    """Serves reports on Car__c."""

    def serve(reports: dict[str, Any], **more: Any) -> TestClient:
        whole = {
            name: {"object": "Car__c", "measures": {"cars": "count"}, **each}
            for name, each in reports.items()
        }
        api = api_of(
            "Car__c", database=database, reports=whole, rate_per_s=100_000, rate_burst=100_000, **more
        )
        made.append(api)
        return client_of(api, routes.router)

    return serve


def rows_of(client: TestClient, name: str) -> list[dict[str, Any]]:
    answer = client.get(f"/api/v1/reports/{name}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["rows"]
    return found


def text_in(document: dict[str, Any], name: str) -> str | None:
    value = document.get(name)
    return value if isinstance(value, str) and value else None


def number_in(document: dict[str, Any], name: str) -> float | None:
    value = document.get(name)
    is_number = isinstance(value, int | float) and math.isfinite(value)
    return value if is_number else None


def bucket(moment: datetime | None, every: str, zone: str = "UTC") -> str | None:
    """The first day of the time that a moment is in, by a calendar of its own."""
    if moment is None:
        return None
    day = moment.astimezone(ZoneInfo(zone)).date()
    match every:
        case "week":
            day -= timedelta(days=day.weekday())
        case "month":
            day = day.replace(day=1)
        case "quarter":
            day = day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)
        case "year":
            day = day.replace(month=1, day=1)
    return day.isoformat()


def measured(documents: list[dict[str, Any]]) -> dict[str, Any]:
    prices = [each for doc in documents if (each := number_in(doc, "Price__c")) is not None]
    seen = [each for doc in documents if (each := doc.get("Seen__c")) is not None]
    return {
        "cars": len(documents),
        "worth": pytest.approx(math.fsum(prices)),
        "mean": pytest.approx(math.fsum(prices) / len(prices)) if prices else None,
        "cheapest": min(prices, default=None),
        "latest": max(seen).isoformat(timespec="milliseconds").replace("+00:00", "Z") if seen else None,
        "doors": sum(doc.get("Doors__c") or 0 for doc in documents),
    }


@given(held=CARS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_report_is_what_a_plain_computation_says(
    serve_reports: Serve, database: Any, held: list[dict[str, Any]]
) -> None:
    """By a picklist in the org's order, by each length of time in two zones, by two fields, and filtered; over any documents."""
    cars = database["car__c"]
    cars.delete_many({})
    if held:
        cars.insert_many([dict(each) for each in held])
    times = {
        f"{field[:1]}{every}": ({"field": field, "every": every}, zone)
        for field, zone in (("Built__c", "UTC"), ("Seen__c", "America/New_York"))
        for every in ("day", "week", "month", "quarter", "year")
    }
    client = serve_reports(
        {
            "make": {"by": "Make__c", "measures": MEASURES},
            "dear": {"by": "Make__c", "measures": MEASURES, "filter": "Price__c > 1 || Electric__c"},
            "both": {"by": ["Electric__c", "Make__c"], "measures": MEASURES},
            **{
                name: {"by": by, "time_zone": zone, "limit": 2000, "chart": "line"}
                for name, (by, zone) in times.items()
            },
        }
    )
    for name, chosen in (
        ("make", held),
        ("dear", [d for d in held if (number_in(d, "Price__c") or 0) > 1 or d.get("Electric__c")]),
    ):
        groups = defaultdict(list)
        for each in chosen:
            groups[text_in(each, "Make__c")].append(each)
        order = [each for each in (*MAKES, "Lada", None) if each in groups]
        assert rows_of(client, name) == [{"Make__c": each, **measured(groups[each])} for each in order]
    pairs = defaultdict(list)
    for each in held:
        pairs[each.get("Electric__c"), text_in(each, "Make__c")].append(each)
    shown = {(row["Electric__c"], row["Make__c"]): row for row in rows_of(client, "both")}
    assert shown == {
        key: {"Electric__c": key[0], "Make__c": key[1], **measured(some)} for key, some in pairs.items()
    }
    for name, (by, zone) in times.items():
        counts: dict[str | None, int] = defaultdict(int)
        for each in held:
            counts[bucket(each.get(by["field"]), by["every"], zone)] += 1
        rows = rows_of(client, name)
        starts = [row[by["field"]] for row in rows]
        told = {row[by["field"]]: row["cars"] for row in rows}
        assert {start: count for start, count in told.items() if count} == counts
        days = [date.fromisoformat(each) for each in starts if each is not None]
        assert days == sorted(days)
        assert all(
            bucket(datetime(d.year, d.month, d.day, 12, tzinfo=UTC), by["every"]) == d.isoformat()
            for d in days
        )
        if by["every"] == "day" and days:
            assert len(days) == (days[-1] - days[0]).days + 1, "a day on which nothing was is there, too"


def test_decimals_keep_all_their_digits(serve_reports: Serve, database: Any) -> None:
    """Also where an application has written doubles."""
    database["car__c"].insert_many(
        [{"Price__c": Decimal128("0.10")}, {"Price__c": 0.2}, {"Price__c": Decimal128("1E+3")}]
    )
    client = serve_reports(
        {"worth": {"by": "Make__c", "measures": {"worth": {"sum": "Price__c"}, "most": {"max": "Price__c"}}}},
        objects={"Car__c": {"numbers": "decimal"}},
    )
    assert rows_of(client, "worth") == [{"Make__c": None, "worth": 1000.3, "most": 1000}]


def test_only_the_greatest_are_shown_and_it_is_said(serve_reports: Serve, database: Any) -> None:
    """With `sort` and `limit`; there are more rows than that."""
    database["car__c"].insert_many([{"Name": name} for name in "aaabbcd"])
    client = serve_reports(
        {"names": {"by": "Name", "sort": "cars.desc", "limit": 2}, "all": {"by": "Name", "sort": "Name.desc"}}
    )
    body = client.get("/api/v1/reports/names").json()
    assert ([row["Name"] for row in body["rows"]], body["more"]) == (["a", "b"], True)
    body = client.get("/api/v1/reports/all").json()
    assert ([row["Name"] for row in body["rows"]], body["more"]) == (["d", "c", "b", "a"], False)


def test_records_without_a_value_come_last_and_hide_no_others(serve_reports: Serve, database: Any) -> None:
    """However many there are, and by whatever the rows are sorted."""
    database["car__c"].insert_many(
        [{"Notes__c": f"{n}"} for n in range(9)] + [{"Name": "a", "Doors__c": 1}, {"Name": "b"}]
    )
    by = {"by": ["Name", "Notes__c"], "measures": {"cars": "count", "doors": {"max": "Doors__c"}}, "limit": 2}
    client = serve_reports(
        {"names": by, "doors": {**by, "sort": "doors"}, "least": {**by, "sort": "Name.desc"}}
    )
    assert [row["Name"] for row in rows_of(client, "names")] == ["a", "b"]
    assert [row["Name"] for row in rows_of(client, "doors")] == ["a", "b"]
    assert [row["Name"] for row in rows_of(client, "least")] == ["b", "a"]


def test_a_lookup_has_the_name_of_its_record(serve_reports: Serve, database: Any) -> None:
    """Those with most come first. Who may not read the target, gets the key alone."""
    truck, bus, odd = ObjectId(), "a01000000000001AAA", Decimal128("0.1")
    database["car__c"].insert_many(
        [{"_id": truck, "Name": "Truck"}, {"_id": bus, "Name": "Bus"}, {"_id": odd, "Name": "Odd"}]
    )
    database["car__c"].insert_many([{"Pulled_By__c": each} for each in (bus, bus, truck, truck, truck, odd)])
    client = serve_reports({"pulled": {"by": "Pulled_By__c", "filter": "has(Pulled_By__c)"}})
    assert rows_of(client, "pulled") == [
        {"Pulled_By__c": f"$oid:{truck}", "Pulled_By__r.Name": "Truck", "cars": 3},
        {"Pulled_By__c": bus, "Pulled_By__r.Name": "Bus", "cars": 2},
        {"Pulled_By__c": "$dec:0.1", "Pulled_By__r.Name": "Odd", "cars": 1},
    ]


def test_the_names_of_records_are_for_those_who_may_read_them(database: Any, made: list[Api]) -> None:
    """Contacts by account, for a key that reads contacts alone: the account's key, and not its name."""
    key = "salmon_" + "x" * 40
    keys = {
        "some": {"hash": hash_of(key), "scopes": ["Contact:read"]},
        "all": {"hash": hash_of(f"{key}all"), "scopes": ["*:read"]},
    }
    report = {"object": "Contact", "by": "AccountId", "measures": {"contacts": "count"}}
    api = api_of("Account", "Contact", database=database, reports={"contacts": report}, keys=keys)
    made.append(api)
    database["account"].insert_one({"_id": "001000000000001AAA", "Name": "Acme"})
    database["contact"].insert_one({"AccountId": "001000000000001AAA"})
    client = client_of(api, routes.router)
    whole: dict[str, Any] = {"AccountId": "001000000000001AAA", "Account.Name": "Acme", "contacts": 1}
    alone = {name: value for name, value in whole.items() if name != "Account.Name"}
    for secret, row in ((f"{key}all", whole), (key, alone)):
        headers = {"X-API-Key": secret}
        assert client.get("/api/v1/reports/contacts", headers=headers).json()["rows"] == [row]
        file = client.get("/api/v1/reports/contacts?format=csv", headers=headers).text
        assert ("Acme" in file) is ("Account.Name" in row)


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "America/New_York"])
@pytest.mark.parametrize("every", ["day", "week", "month", "quarter", "year"])
def test_the_ends_of_the_calendar_break_no_report(
    serve_reports: Serve, database: Any, every: str, zone: str
) -> None:
    """In some time zones such a moment has no date, so it counts as none."""
    ends = [datetime(1, 1, 1, 0, 30, tzinfo=UTC), datetime(9999, 12, 31, 23, 30, tzinfo=UTC)]
    seen = datetime(2024, 2, 1, 12, tzinfo=UTC)
    database["car__c"].insert_many([{"Seen__c": each} for each in [*ends, seen]])
    by = {"field": "Seen__c", "every": every}
    rows = rows_of(serve_reports({"r": {"by": by, "time_zone": zone}}), "r")
    assert rows == [{"Seen__c": bucket(seen, every, zone), "cars": 1}, {"Seen__c": None, "cars": 2}]


def test_several_collections_are_one_object(serve_reports: Serve, database: Any) -> None:
    """The documents of all of them count, in one group."""
    places = [{"collection": "fast", "filter": "Electric__c"}, {"collection": "slow"}]
    database["fast"].insert_many([{"Make__c": "Audi", "Doors__c": 2, "Electric__c": True}] * 1)
    database["slow"].insert_many([{"Make__c": "Audi", "Doors__c": 4}, {"Make__c": "Fiat", "Doors__c": 1}])
    client = serve_reports(
        {"doors": {"by": "Make__c", "measures": {"doors": {"sum": "Doors__c"}}, "filter": "Doors__c > 1"}},
        objects={"Car__c": {"collections": places}},
    )
    assert rows_of(client, "doors") == [{"Make__c": "Audi", "doors": 6}]


def test_what_was_deleted_and_archived_does_not_count(serve_reports: Serve, database: Any) -> None:
    """The mark of deletes.mode archive says which."""
    database["car__c"].insert_many(
        [{"Name": "a", "Electric__c": True}, {"Name": "a"}, {"Name": "b", "Electric__c": False}]
    )
    archive = {"deletes": {"mode": "archive", "field": "Electric__c"}}
    client = serve_reports({"names": {"by": "Name"}}, objects={"Car__c": archive})
    assert rows_of(client, "names") == [{"Name": "a", "cars": 1}, {"Name": "b", "cars": 1}]


def test_a_spreadsheet_takes_a_text_for_text(serve_reports: Serve, database: Any) -> None:
    """What would be a formula has an apostrophe; numbers stay numbers, also below zero."""
    texts = ["=cmd()", "+1", "@a", "-x", "  =1", 'fine, "quoted"', "＝1"]
    database["car__c"].insert_many([{"Name": text, "Price__c": -2.5} for text in texts])
    client = serve_reports(
        {"names": {"by": "Name", "measures": {"cars": "count", "worth": {"sum": "Price__c"}}}}
    )
    answer = client.get("/api/v1/reports/names?format=csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="names.csv"'
    head, *rows = csv.reader(io.StringIO(answer.text))
    assert head == ["Name", "cars", "worth"]
    assert {row[0] for row in rows} == {"'=cmd()", "'+1", "'@a", "'-x", "'  =1", 'fine, "quoted"', "'＝1"}
    assert {row[2] for row in rows} == {"-2.5"}
    assert client.get("/api/v1/reports/names", headers={"Accept": "text/csv"}).text == answer.text


def test_who_may_not_read_the_object_may_not_read_its_report(serve_reports: Serve) -> None:
    """Neither in the list, nor itself, nor as a stream."""
    key = "salmon_" + "x" * 40
    keys = {"some": {"hash": hash_of(key), "scopes": ["Account:read"]}}
    client = serve_reports({"names": {"by": "Name"}}, keys=keys)
    headers = {"X-API-Key": key}
    assert client.get("/api/v1/reports", headers=headers).json() == {"reports": []}
    for path in ("names", "names?format=csv", "names/live"):
        answer = client.get(f"/api/v1/reports/{path}", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "not-allowed"), path
        assert client.get(f"/api/v1/reports/{path}").status_code == 401


def test_what_is_wrong_with_a_report_is_for_those_who_may_read_its_object(serve_reports: Serve) -> None:
    """It names fields of the object. Others learn no more than of a report that fits."""
    keys = {
        name: {"hash": hash_of(f"salmon_{name}"), "scopes": [f"{of}:read"]}
        for name, of in (("some", "Account"), ("all", "Car__c"))
    }
    client = serve_reports({"broken": {"by": "No_Such_Field__c"}}, keys=keys)
    for path in ("broken", "broken/live"):
        told = {
            name: client.get(f"/api/v1/reports/{path}", headers={"X-API-Key": f"salmon_{name}"})
            for name in keys
        }
        assert (told["all"].status_code, told["all"].json()["code"]) == (409, "report-not-possible")
        assert (told["some"].status_code, told["some"].json()["code"]) == (403, "not-allowed")
        assert "No_Such_Field__c" not in told["some"].text


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("nothing", 404, "not-found"),
        ("nothing/live", 404, "not-found"),
        ("names?format=xml", 400, "unknown-word"),
        ("names?$where=1", 400, "unknown-parameter"),
        ("broken", 409, "report-not-possible"),
    ],
)
def test_what_cannot_be_is_a_problem(serve_reports: Serve, path: str, status: int, code: str) -> None:
    """It names what is wrong; of a report that does not fit its object, the key."""
    client = serve_reports({"names": {"by": "Name"}, "broken": {"by": {"field": "Name", "every": "day"}}})
    answer = client.get(f"/api/v1/reports/{path}")
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    if status == 409:
        assert (
            "reports.broken.by: has every: day for Name, which is a string and no date"
            in answer.json()["detail"]
        )


def test_a_query_that_takes_too_long_is_given_up(serve_reports: Serve, database: Any) -> None:
    """api.query_max_s: MongoDB stops it, and the answer says to try again."""
    database["car__c"].insert_many([{"Name": f"{n}", "Notes__c": "x" * 500} for n in range(20_000)])
    client = serve_reports(
        {"names": {"by": "Notes__c", "filter": 'Notes__c.contains("y") || Notes__c.endsWith("z")'}},
        query_max_s=0.001,
    )
    answer = client.get("/api/v1/reports/names")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")


def test_the_description_has_the_reports(serve_reports: Serve) -> None:
    """By name, with their forms."""
    description = serve_reports({"names": {"by": "Name"}}).get("/openapi.json").json()
    operation = description["paths"]["/api/v1/reports/{name}"]["get"]
    assert operation["parameters"][0]["schema"]["enum"] == ["names"]
    assert "text/csv" in operation["responses"]["200"]["content"]
    assert "rows" in description["components"]["schemas"]["ReportBody"]["properties"]


# Those who look


async def looks(api: Api, name: str, who: str) -> AsyncIterator[list[dict[str, Any]]]:
    """The rows of each event that a viewer gets."""

    def shown(result: Result) -> list[str]:
        return [json.dumps(as_dict(result, None))]

    answer = await routes.stream_of(api.reports, name, caller(who, ()), shown, is_over=api.closing.is_set)
    try:
        async for text in answer.body_iterator:
            for line in str(text).splitlines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))["rows"]
    finally:
        await answer._ended()


async def until_all_see(viewers: list[AsyncIterator[Any]], rows: Any) -> None:
    """Wait until the newest event of each viewer has these rows."""

    async def sees(viewer: AsyncIterator[Any]) -> None:
        async for seen in viewer:
            if seen == rows:
                return

    await asyncio.wait_for(asyncio.gather(*map(sees, viewers)), WITHIN_S)


def test_viewers_see_a_change_within_a_second_and_share_one_answer(
    database: Any, made: list[Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An edit, a deletion, a burst of edits, and a new name of the record that a lookup points to; the same events reach all."""
    cars, asked, whole = database["car__c"], Counter[str](), Computing._computed

    def counted(self: Computing, bound: BoundReport) -> Result:
        asked[bound.name] += 1
        return whole(self, bound)

    monkeypatch.setattr(Computing, "_computed", counted)
    report = {
        "object": "Car__c",
        "by": "Pulled_By__c",
        "filter": "has(Pulled_By__c)",
        "measures": {"cars": "count"},
    }
    api = api_of("Car__c", database=database, reports={"pulled": report})
    made.append(api)
    cars.insert_one({"_id": "truck", "Name": "Truck"})

    def row(count: int, name: str = "Truck") -> list[dict[str, Any]]:
        return [{"Pulled_By__c": "truck", "Pulled_By__r.Name": name, "cars": count}]

    async def play() -> list[float]:
        viewers = [looks(api, "pulled", f"viewer {n}") for n in range(4)]
        await until_all_see(viewers, [])
        took = []
        for count in (1, 2, 3):
            began = time.monotonic()
            await asyncio.to_thread(cars.insert_one, {"_id": f"car {count}", "Pulled_By__c": "truck"})
            await until_all_see(viewers, row(count))
            took.append(time.monotonic() - began)
        before = asked.total()
        for n in range(200):
            await asyncio.to_thread(cars.insert_one, {"_id": n, "Pulled_By__c": "truck"})
        await until_all_see(viewers, row(203))
        assert asked.total() - before < 40, "neither for each edit, nor for each viewer"
        await asyncio.to_thread(cars.delete_many, {"_id": {"$type": "int"}})
        await until_all_see(viewers, row(3))
        await asyncio.to_thread(cars.update_one, {"_id": "truck"}, {"$set": {"Name": "Lorry"}})
        await until_all_see(viewers, row(3, "Lorry"))
        assert api.reports.streams.count == 4
        for each in viewers:
            await each.aclose()  # type: ignore[attr-defined]
        return took

    took = asyncio.run(play())
    assert min(took) < 1.0, took
    assert api.reports.streams.count == 0
    assert api.reports.following._viewers == {}, "nobody looks, so nothing is followed"


def test_a_viewer_has_a_bound(database: Any, made: list[Api]) -> None:
    """So many streams of one key, and no more."""
    api = api_of(
        "Car__c",
        database=database,
        reports={"names": {"object": "Car__c", "by": "Name", "measures": {"cars": "count"}}},
    )
    made.append(api)

    async def play() -> None:
        viewers = [looks(api, "names", "one") for _ in range(OF_ONE_MAX)]
        for each in viewers:
            assert await anext(each) == []
        with pytest.raises(Problem) as refused:
            await anext(looks(api, "names", "one"))
        assert refused.value.code == "too-many-streams"
        for each in viewers:
            await each.aclose()  # type: ignore[attr-defined]

    asyncio.run(play())


def test_viewers_are_shown_the_truth_after_the_stream_broke(
    database: Any, made: list[Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    """MongoDB ends the stream of changes with the database's collections; it is opened again, and nothing is missed."""
    api = api_of(
        "Car__c",
        database=database,
        reports={"names": {"object": "Car__c", "by": "Name", "measures": {"cars": "count"}}},
    )
    made.append(api)
    cars = database["car__c"]
    cars.insert_one({"Name": "a"})
    broken: list[Any] = []
    listen = Following._listen

    def breaks(self: Following, collections: Any) -> None:
        if not broken:
            broken.append(True)
            raise Unavailable("MongoDB is away.")
        listen(self, collections)

    monkeypatch.setattr(Following, "_listen", breaks)

    async def play() -> None:
        viewer = looks(api, "names", "one")
        await until_all_see([viewer], [{"Name": "a", "cars": 1}])
        await asyncio.to_thread(cars.insert_one, {"Name": "a"})
        await until_all_see([viewer], [{"Name": "a", "cars": 2}])
        await viewer.aclose()  # type: ignore[attr-defined]

    asyncio.run(play())
    assert broken == [True]


def test_a_stream_ends_when_others_follow_the_reports(database: Any, made: list[Api]) -> None:
    """A schema has changed: the viewer comes back, and is shown the report by the new one, and not the old one for ever."""
    api = api_of(
        "Car__c",
        database=database,
        reports={"names": {"object": "Car__c", "by": "Name", "measures": {"cars": "count"}}},
    )
    made.append(api)

    async def play() -> list[Any]:
        viewer = looks(api, "names", "one")
        first = [await anext(viewer)]
        await asyncio.to_thread(api.reports.close)
        return first + [each async for each in viewer]

    assert asyncio.run(asyncio.wait_for(play(), WITHIN_S)) == [[]]


def test_a_slow_report_does_not_keep_the_others_back(
    database: Any, made: list[Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One hangs in MongoDB; who looks at the other one sees it move."""
    hangs, whole = Event(), Computing._computed
    slow = {"object": "Car__c", "by": "Make__c", "measures": {"cars": "count"}}
    api = api_of("Car__c", database=database, reports={"slow": slow, "quick": {**slow, "by": "Name"}})
    made.append(api)
    began: list[str] = []

    def computed(self: Computing, bound: BoundReport) -> Result:
        began.append(bound.name)
        if began.count("slow") > 1 and bound.name == "slow":
            assert hangs.wait(WITHIN_S)
        return whole(self, bound)

    monkeypatch.setattr(Computing, "_computed", computed)

    async def play() -> None:
        waiting, viewer = looks(api, "slow", "one"), looks(api, "quick", "two")
        assert await anext(waiting) == []
        await until_all_see([viewer], [])
        for count in (1, 2):
            await asyncio.to_thread(database["car__c"].insert_one, {"Name": "a"})
            await until_all_see([viewer], [{"Name": "a", "cars": count}])
        hangs.set()
        await until_all_see([waiting], [{"Make__c": None, "cars": 2}])
        for each in (waiting, viewer):
            await each.aclose()  # type: ignore[attr-defined]

    asyncio.run(play())


# The console


def test_the_console_draws_a_report_and_has_its_numbers_beneath(database: Any, made: list[Api]) -> None:
    """In words for those who do not see the chart, and as a file. No value is a program, and nothing is inline."""
    tag = "<script>alert(1)</script>"
    database["car__c"].insert_many(
        [{"Name": tag, "Make__c": "Audi", "Price__c": 1250.5}, {"Make__c": "Fiat"}]
    )
    reports: dict[str, dict[str, Any]] = {
        "makes": {"by": "Make__c", "measures": MEASURES, "chart": "funnel", "title": "By make"},
        "names": {"by": "Name", "chart": "bar"},
        "days": {"by": {"field": "Built__c", "every": "month"}, "chart": "line"},
        "broken": {"by": "Nam"},
    }
    whole = {
        name: {"object": "Car__c", "measures": {"cars": "count"}, **each} for name, each in reports.items()
    }
    api = api_of("Car__c", database=database, reports=whole)
    made.append(api)
    console, _ = console_of(api)
    listed = console.get("/console/reports").text
    assert ">By make</a>" in listed
    assert "broken does not fit its object: reports.broken.by: names Nam" in listed
    for name in ("makes", "names", "days"):
        page = console.get(f"/console/reports/{name}")
        assert page.status_code == 200, page.text
        assert tag not in page.text
        assert not re.search(r"<script(?! src=)|<style|\sstyle=|\son[a-z]+=", page.text)
        assert f'sse-connect="/console/reports/{name}/live"' in page.text
    makes = console.get("/console/reports/makes").text
    assert "By make, as a funnel: Audi 1, Fiat 1. The table has all values." in makes
    assert '<td class="number">1,250.5</td>' in makes
    file = console.get("/console/reports/makes/csv")
    assert file.headers["content-disposition"] == 'attachment; filename="makes.csv"'
    assert file.text.splitlines()[1].startswith("Audi,1,1250.5,")
    assert console.get("/console/reports/nothing").status_code == 404
    assert "There is no such report." in console.get("/console/reports/nothing/live").text


def test_a_key_without_a_role_sees_no_report_in_the_console(database: Any, made: list[Api]) -> None:
    """As with every page of it."""
    key = "salmon_" + "x" * 40
    keys = {"app": {"hash": hash_of(key), "scopes": ["Car__c:read"]}}
    report = {"object": "Car__c", "by": "Name", "measures": {"cars": "count"}}
    api = api_of("Car__c", database=database, reports={"names": report}, keys=keys)
    made.append(api)
    console, _ = console_of(api)
    for path in ("reports", "reports/names", "reports/names/live", "reports/names/csv"):
        assert console.get(f"/console/{path}", headers={"X-API-Key": key}).status_code == 403, path
