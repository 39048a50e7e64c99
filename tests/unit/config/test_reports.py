"""Reports in the configuration: what may be written, and what each fault says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from salmon.config import models as config
from salmon.config.models import SyncConfig
from salmon.config.reports import ReportConfig
from salmon.errors import ConfigError
from salmon.mongodb.reports.report import Group, Measure
from support.sync_config import sync_config

PIPELINE: dict[str, Any] = {"object": "Account", "by": "Industry", "measures": {"accounts": "count"}}


def refused(folder: Path, **keys: Any) -> str:
    """What is said of a file with this report, without the file's name."""
    file = folder / "sync.yaml"
    file.write_text(yaml.safe_dump(sync_config(reports={"pipeline": {**PIPELINE, **keys}})))
    with pytest.raises(ConfigError) as error:
        config.load(file)
    return str(error.value).removeprefix(f"{file}: ")


def test_the_short_and_the_long_form_say_the_same() -> None:
    """A word for a field, a mapping, a list of both; count as a word and as a key."""
    short = ReportConfig.model_validate(PIPELINE)
    long = {**PIPELINE, "by": [{"field": "Industry"}], "measures": {"accounts": {"count": True}}}
    assert short == ReportConfig.model_validate(long)


def test_a_report_has_a_title_and_what_its_object_says() -> None:
    """The name as words, if none is given; its measures with how they are worked out."""
    said = {
        **PIPELINE,
        "by": ["Industry", {"field": "CreatedDate", "every": "month"}],
        "measures": {"most": {"max": "AnnualRevenue"}},
        "sort": "most.desc",
    }
    found = ReportConfig.model_validate(said).report("by_industry", archived=None, collections=("accounts",))
    assert found.title == "By industry"
    assert found.groups == (Group("Industry"), Group("CreatedDate", "month"))
    assert found.measures == (Measure("most", "max", "AnnualRevenue"),)
    assert (found.sort, found.collections) == (("most", True), ("accounts",))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"object": "Acount"}, "reports.pipeline.object: names an object that is not in `objects` (did you mean Account?). Correct it, or sync that object."),
        ({"by": 7}, "reports.pipeline.by.0: is a whole number (int), but must be a mapping"),
        ({"by": []}, "reports.pipeline.by: is a list (list) with 0 entries, but must have 1 or 2"),
        ({"by": ["Name", "Name"]}, "reports.pipeline.by: names Name twice: name another field, or one alone."),
        ({"by": {"field": "CreatedDate", "evry": "day"}}, "reports.pipeline.by.0.evry: unknown key. Did you mean every?"),
        ({"by": {"field": "CreatedDate", "every": "hour"}}, "reports.pipeline.by.0.every: is text (str), but must be 'day', 'week', 'month', 'quarter' or 'year'"),
        ({"measures": {}}, "reports.pipeline.measures: is a mapping (dict), but must have at least 1 item"),
        ({"measures": {"a": "sum"}}, "reports.pipeline.measures.a: is text (str), but must be count, or a mapping such as {sum: Amount}."),
        ({"measures": {"a": {"sum": "A", "avg": "A"}}}, "reports.pipeline.measures.a: must have exactly one of count, sum, avg, min, max"),
        ({"measures": {"a b": "count"}}, "reports.pipeline.measures.a b: "),
        ({"measures": {"Industry": "count"}}, "measures.Industry has the name of a field in `by`: give the measure another name."),
        ({"filter": "Industry = 'A'"}, "reports.pipeline.filter: has a single =: write == (at character 10)."),
        ({"sort": "acounts"}, "sort must be one of accounts, Industry, with or without .desc (did you mean accounts?)."),
        ({"chart": "pie"}, "reports.pipeline.chart: is text (str), but must be 'bar', 'line', 'funnel' or 'table'"),
        ({"chart": "funnel", "by": ["Industry", "Type"]}, "chart: funnel needs one field in `by`; draw two with bar or line."),
        ({"limit": 0}, "reports.pipeline.limit: is a whole number (int), but must be greater than or equal to 1"),
        ({"time_zone": "Berlin"}, "reports.pipeline.time_zone: must be the name of a time zone, e.g. UTC, Europe/Berlin or America/New_York."),
        ({"bay": "Name"}, "reports.pipeline.bay: unknown key. Did you mean by?"),
    ],
)  # fmt: skip
def test_each_fault_names_its_key_and_what_to_do(tmp_path: Path, keys: dict[str, Any], said: str) -> None:
    """With the line, and the type of the value, and never the value."""
    line, _, sentence = refused(tmp_path, **keys).partition(": ")
    assert line.startswith("line ")
    assert said in sentence


def test_a_field_that_is_left_out_is_refused_by_name(tmp_path: Path) -> None:
    """In the filter, a group or a measure; a computed field is there."""
    fields = {"exclude": ["Phone", "Fax"], "computed": {"Full": "Name + '!'"}}
    keys = {
        "filter": "Phone != null",
        "by": ["Full", "Fax"],
        "measures": {"least": {"min": "Phone"}},
    }
    objects = {"Account": {"collection": "accounts", "fields": fields}}
    file = tmp_path / "sync.yaml"
    file.write_text(yaml.safe_dump(sync_config(objects=objects, reports={"r": {**PIPELINE, **keys}})))
    with pytest.raises(ConfigError) as error:
        config.load(file)
    for key, name in (("filter", "Phone"), ("by", "Fax"), ("measures.least", "Phone")):
        assert f"reports.r.{key}: names {name}, which objects.Account.fields leaves out." in str(error.value)
    assert "Full" not in str(error.value)


def test_the_models_alone_refuse_it_too() -> None:
    """For those who do not read a file."""
    with pytest.raises(ValueError, match=r"pipeline\.object names an object that is not in `objects`"):
        SyncConfig.model_validate(sync_config(reports={"pipeline": {**PIPELINE, "object": "Lead"}}))
