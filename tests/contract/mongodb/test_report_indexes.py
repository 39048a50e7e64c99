"""The indexes of reports on a real mongod: `salmon setup` makes them, the doctor misses them, and MongoDB uses them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from uuid import uuid4

import pytest
from pymongo import MongoClient

from salmon.config.bound_reports import bound_reports, bound_to_org
from salmon.config.models import SyncConfig
from salmon.doctor.checks import Line, Outcome
from salmon.doctor.reports import ReportChecks
from salmon.mongodb.reports.indexes import PREFIX, indexes_of
from salmon.mongodb.reports.pipeline import pipeline_of
from salmon.setup.reports import report_steps
from salmon.setup.steps import Became, Step
from support.at_hand.api_room import describe_of, schemas_of
from support.sync_config import sync_config

AUDIS: Final = {
    "object": "Car__c",
    "filter": 'Make__c == "Audi" && Doors__c > 2',
    "by": "Name",
    "measures": {"cars": "count"},
}
NAME: Final = f"{PREFIX}Make__c_Doors__c"


class Sync:
    """A configuration with reports over a database of its own."""

    def __init__(self, uri: str) -> None:
        self.client: MongoClient[dict[str, Any]] = MongoClient(uri)
        self.name, self._uri = f"reports{uuid4().hex[:8]}", uri
        self.cars = self.client[self.name]["cars"]

    def config(self, **reports: Any) -> SyncConfig:
        said = sync_config(
            mongodb={"uri": self._uri, "database": self.name},
            objects={"Car__c": {"collection": "cars"}},
            reports=reports,
        )
        return SyncConfig.model_validate(said)

    def steps(self, *, dry: bool = False, **reports: Any) -> list[Step]:
        return list(report_steps(self.config(**reports), describe_of, dry=dry))

    def lines(self, **reports: Any) -> dict[str, Line]:
        checks = ReportChecks(self.config(**reports), describe_of).checks()
        return {line.name: line for each in checks for line in each.look()}

    @property
    def held(self) -> set[str]:
        return set(self.cars.index_information())


@pytest.fixture
def sync(uri: str) -> Iterator[Sync]:
    found = Sync(uri)
    yield found
    found.client.drop_database(found.name)
    found.client.close()


def test_setup_makes_what_is_missing_once(sync: Sync) -> None:
    """A dry run says so, and makes nothing; the doctor misses it until it is there."""
    (step,) = sync.steps(dry=True, audis=AUDIS)
    assert (step.name, step.became) == (f"reports.indexes.cars.{NAME}", Became.WOULD_MAKE)
    assert step.says == "Would make the index of cars on Make__c, Doors__c."
    assert sync.held == set()
    missing = sync.lines(audis=AUDIS)["reports.indexes"]
    assert (missing.outcome, missing.mend) == (Outcome.WARN, "Run `salmon setup`, which makes them.")
    assert [step.became for step in sync.steps(audis=AUDIS)] == [Became.MADE]
    assert NAME in sync.held
    assert [step.became for step in sync.steps(audis=AUDIS)] == [Became.THERE]
    assert {each.outcome for each in sync.lines(audis=AUDIS).values()} == {Outcome.OK}


def test_what_no_report_needs_any_more_is_dropped_and_nothing_else(sync: Sync) -> None:
    """An index that another program made stays, and serves if it can."""
    sync.steps(audis=AUDIS)
    sync.cars.create_index([("Make__c", 1), ("Doors__c", 1), ("Name", 1)], name="theirs")
    fiats = {**AUDIS, "filter": 'Name == "a"'}
    said = {step.name.rpartition(".")[2]: step for step in sync.steps(dry=True, fiats=fiats)}
    assert said[NAME].says == f"Would drop the index {NAME} of cars, which no report needs any more."
    sync.steps(fiats=fiats)
    assert sync.held == {"_id_", "theirs", f"{PREFIX}Name"}
    assert [step.became for step in sync.steps(audis=AUDIS)] == [Became.THERE, Became.MADE]
    assert sync.held == {"_id_", "theirs"}, "it begins as the report needs it"


def test_without_the_section_mongodb_is_not_asked(sync: Sync) -> None:
    """With an empty one, what was made for former reports is dropped."""
    sync.steps(audis=AUDIS)
    none = sync_config(mongodb={"uri": "mongodb://127.0.0.1:1", "database": "crm"})
    assert list(report_steps(SyncConfig.model_validate(none), describe_of, dry=False)) == []
    assert [step.became for step in sync.steps()] == [Became.MADE]
    assert sync.held == {"_id_"}


def test_a_report_that_does_not_fit_is_left_to_a_person(sync: Sync) -> None:
    """The others get their indexes, and nothing is dropped, since nobody knows what that one needs."""
    sync.steps(audis=AUDIS)
    broken, other = {**AUDIS, "filter": "Dors__c > 1"}, {**AUDIS, "filter": 'Name == "a"'}
    steps = {step.name: step for step in sync.steps(broken=broken, other=other)}
    assert steps["reports.broken"].became is Became.FAILED
    assert "(did you mean Doors__c?)" in steps["reports.broken"].says
    assert sync.held == {"_id_", NAME, f"{PREFIX}Name"}
    assert sync.lines(broken=broken)["reports.broken"].outcome is Outcome.FAIL


def test_mongodb_that_is_away_is_a_step_and_a_line(sync: Sync) -> None:
    """The org's steps were taken by then."""
    away = {"uri": "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=200", "database": "crm"}
    objects = {"Car__c": {"collection": "cars"}}
    config = SyncConfig.model_validate(sync_config(mongodb=away, objects=objects, reports={"audis": AUDIS}))
    assert [step.became for step in report_steps(config, describe_of, dry=False)] == [Became.FAILED]
    lines = {line.name: line for each in ReportChecks(config, describe_of).checks() for line in each.look()}
    assert lines["reports.indexes"].outcome is Outcome.WARN
    assert lines["reports.indexes"].says.startswith("Not looked at: ")


def test_mongodb_uses_the_index_for_the_report_itself(sync: Sync) -> None:
    """Of a thousand documents it looks at those of the filter alone."""
    config = sync.config(audis=AUDIS)
    sync.steps(audis=AUDIS)
    sync.cars.insert_many({"Make__c": "Audi" if n < 7 else "Fiat", "Doors__c": n} for n in range(1000))
    report = bound_to_org(config, describe_of).usable["audis"]
    plan = sync.client[sync.name].command(
        "explain",
        {
            "aggregate": "cars",
            "pipeline": pipeline_of(report),
            "cursor": {},
            "collation": {"locale": "simple"},
        },
        verbosity="executionStats",
    )
    assert f"'totalDocsExamined': {4}" in str(plan), plan
    assert NAME in str(plan)


def test_one_index_serves_the_reports_that_it_begins_for(sync: Sync) -> None:
    """Two that ask for the same, and one that asks for less."""
    config = sync.config(audis=AUDIS, again=AUDIS, makes={**AUDIS, "filter": 'Make__c in ["Audi", "Fiat"]'})
    reports = bound_reports(config, schemas_of("Car__c")).usable
    assert [each.paths for each in indexes_of(reports.values())] == [("Make__c", "Doors__c")]
