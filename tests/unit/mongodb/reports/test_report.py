"""A report is held against the fields of its object: all that does not fit is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from salmon.config.bound_reports import bound_reports
from salmon.config.models import SyncConfig
from salmon.mongodb.reports.report import BoundReport
from support.at_hand.api_room import schemas_of
from support.sync_config import sync_config

COUNT = {"cars": "count"}


def found(report: dict[str, Any], **settings: Any) -> BoundReport | str:
    """The report, or what is wrong with it."""
    objects = {"Car__c": {"collection": "cars", **settings}}
    whole = {"object": "Car__c", "by": "Name", "measures": COUNT, **report}
    config = SyncConfig.model_validate(sync_config(objects=objects, reports={"r": whole}))
    bound = bound_reports(config, schemas_of("Car__c"), {"Car__c": {"Make__c": ["Fiat", "Audi"]}})
    return bound.usable.get("r") or bound.faults["r"]


@pytest.mark.parametrize(
    ("report", "said"),
    [
        ({"by": "Nam"}, "reports.r.by: names Nam, but Car__c has no field Nam that is synced (did you mean Name?). Correct the name, or sync the field."),
        ({"by": ["Make__c", "Nam"]}, "reports.r.by.1: names Nam"),
        ({"by": {"field": "Name", "every": "month"}}, "reports.r.by: has every: month for Name, which is a string and no date. Remove `every`."),
        ({"by": "Seen__c"}, "reports.r.by: groups by Seen__c, which has a time of day. Write {field: Seen__c, every: day}, or a longer time."),
        ({"by": "Colours__c"}, "reports.r.by: groups by Colours__c, a multi-select picklist: a record would be in several groups."),
        ({"measures": {"a": {"sum": "Name"}}}, "reports.r.measures.a: is the sum of Name, which is a string and no number. Use count, or name a number."),
        ({"measures": {"a": {"avg": "Seen__c"}}}, "reports.r.measures.a: is the avg of Seen__c, which is a datetime and no number."),
        ({"measures": {"a": {"min": "Electric__c"}}}, "reports.r.measures.a: is the min of Electric__c, but a boolean is neither less nor more."),
        ({"measures": {"a": {"max": "Pulled_By__c"}}}, "reports.r.measures.a: is the max of Pulled_By__c, but a reference is neither less nor more."),
        ({"measures": {"a": {"max": "Seen__c"}}}, "reports.r.chart: is bar, but no measure is a number. Use table, or add e.g. records: count."),
        ({"filter": "Dors__c > 1"}, "reports.r.filter: names Dors__c, but Car__c has no field Dors__c that is synced (did you mean Doors__c?)."),
        ({"filter": "Doors__c + 1 > 1"}, "reports.r.filter: calculates with +, which MongoDB does in another way: make a computed field of it"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(report: dict[str, Any], said: str) -> None:
    """With the key, the type that the field has, and what to do."""
    assert said in str(found(report))


def test_everything_that_is_wrong_is_said_at_once() -> None:
    """A line for each fault."""
    said = str(found({"by": "Nam", "filter": "Dors__c > 1", "measures": {"a": {"sum": "Name"}}}))
    assert [line.strip().split(":")[0] for line in said.splitlines()] == [
        "reports.r.filter",
        "reports.r.by",
        "reports.r.measures.a",
    ]


@pytest.mark.parametrize(
    "report", [{"by": "Notes__c"}, {"filter": "Notes__c != null"}, {"measures": {"cars": "count", "a": {"min": "Notes__c"}}}]
)  # fmt: skip
@pytest.mark.parametrize("side", ["mongodb", "salesforce"])
def test_a_field_that_is_masked_for_a_side_is_in_no_report(report: dict[str, Any], side: str) -> None:
    """Neither shown nor counted by: a total, or a group, would tell what the mask hides."""
    said = found(report, transforms=[{"mask": {"fields": ["Notes__c"]}, "to": side}])
    assert "names Notes__c, which is masked for a side" in str(said)


def test_a_field_of_another_type_in_documents_is_refused() -> None:
    """MongoDB would sum up texts."""
    said = found(
        {"measures": {"a": {"sum": "Doors__c"}}}, transforms=[{"type": "Cast", "spec": "Doors__c:string"}]
    )
    assert "names Doors__c, to which `transforms` give another type in documents" in str(said)


def test_a_picklist_has_the_orgs_order_and_a_lookup_a_name() -> None:
    """Of an object that is synced; of another one, the key is all that there is."""
    report = found({"by": ["Make__c", "Pulled_By__c"]})
    assert isinstance(report, BoundReport)
    assert dict(report.groups[0].places) == {"Fiat": 0, "Audi": 1}
    assert [each.column for each in report.labels] == ["Pulled_By__r.Name"]
    owner = found({"by": "OwnerId"})
    assert isinstance(owner, BoundReport)
    assert owner.labels == ()
