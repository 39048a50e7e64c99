"""Reports as CSV: whatever a record holds, a spreadsheet takes it for data, and numbers stay numbers."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from salmon.api.grants import caller
from salmon.api.reports.computing import Result
from salmon.api.reports.showing import as_csv, as_dict
from salmon.config.bound_reports import bound_reports
from salmon.config.models import SyncConfig
from salmon.mongodb.reports.rows import Row
from support.at_hand.api_room import schemas_of
from support.sync_config import sync_config

STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
SEPARATORS = (";", ",", "|", "\t", "\r", "\n")


def result(name: Any, worth: Any) -> Result:
    """A report with one row."""
    report = {"object": "Car__c", "by": "Name", "measures": {"worth": {"sum": "Price__c"}}}
    config = SyncConfig.model_validate(
        sync_config(objects={"Car__c": {"collection": "cars"}}, reports={"r": report})
    )
    bound = bound_reports(config, schemas_of("Car__c")).usable["r"]
    return Result(bound, [Row((name,), (worth,), (name,))], {}, more=False, at_s=0.0, began=0.0)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


PARTS = st.one_of(st.sampled_from([*STARTS, *SEPARATORS, " ", "\xa0", "\x0b"]), TEXTS)


@given(text=st.lists(PARTS, max_size=6).map("".join))
@example("foo;=1+cmd|' /C calc'!A0")
@example("\xa0=1")
@example("a\t \x0b＝1")
def test_no_text_begins_a_formula(text: str) -> None:
    """Whatever a spreadsheet takes for a separator; and what it was can be read from it."""
    _, (name, _) = csv.reader(io.StringIO(as_csv(result(text, 1), None), newline=""))
    is_number = text.isascii() and text.removeprefix("-").replace(".", "", 1).isdigit()
    if is_number:
        assert name == text
        return
    assert not name.startswith(STARTS)
    for cell in re.split(f"[{''.join(SEPARATORS)}]", name):
        assert not cell.lstrip().startswith(STARTS)
    assert name.replace("'", "") == text.replace("'", "")


@given(
    worth=st.one_of(st.integers(-(10**12), 10**12), st.floats(-1e9, 1e9), st.just("-12345678901234567.89"))
)
def test_numbers_stay_numbers(worth: Any) -> None:
    """Below zero, too, and decimals that JSON writes as text."""
    _, (_, told) = csv.reader(io.StringIO(as_csv(result("a", worth), None)))
    assert told == str(worth)


def test_what_is_empty_is_empty() -> None:
    """In CSV nothing, in JSON null."""
    assert as_csv(result(None, None), None) == "Name,worth\r\n,\r\n"
    assert as_dict(result(None, None), caller("somebody", ()))["rows"] == [{"Name": None, "worth": None}]
