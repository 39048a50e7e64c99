"""
What Salesforce itself calculates when a record is saved: a person's name, and what follows from an opportunity's stage.

Only what every org does (Object Reference, Contact and Opportunity). An org's own formula fields and roll-ups stay
null: the describe does not have their formula in a form that can be run.
"""

from __future__ import annotations

import base64
from collections.abc import Collection
from dataclasses import dataclass

from salmon.simulator.org.objects.object_types import ObjectType
from salmon.simulator.org.saving.person_accounts import name_of
from salmon.simulator.org.transaction import Stored

MutableRow = dict[str, Stored]


@dataclass(frozen=True, slots=True)
class Stage:
    """What an opportunity stage means."""

    probability: float
    forecast: str  # ForecastCategoryName
    closed: bool = False
    won: bool = False


# The stages of a new org (Salesforce Help, "Opportunity Stages").
STAGES = {
    "Prospecting": Stage(10.0, "Pipeline"),
    "Qualification": Stage(10.0, "Pipeline"),
    "Needs Analysis": Stage(20.0, "Pipeline"),
    "Value Proposition": Stage(50.0, "Pipeline"),
    "Id. Decision Makers": Stage(60.0, "Pipeline"),
    "Perception Analysis": Stage(70.0, "Pipeline"),
    "Proposal/Price Quote": Stage(75.0, "Pipeline"),
    "Negotiation/Review": Stage(90.0, "Pipeline"),
    "Closed Won": Stage(100.0, "Closed", closed=True, won=True),
    "Closed Lost": Stage(0.0, "Omitted", closed=True),
}
_OTHER_STAGE = Stage(0.0, "Pipeline")  # an unrestricted picklist takes any text
_FORECAST_CODES = {"Best Case": "BestCase", "Commit": "Forecast"}


def derive(
    object_type: ObjectType, row: MutableRow, changed: Collection[str], said: Collection[str], *, now: str
) -> None:
    """
    Set the computed fields of *row* in place.

    Args:
        object_type: The object of the row.
        row: The record as it is about to be saved.
        changed: Names of the fields whose values differ from before; all of them for a new record.
        said: Names of the fields that were set explicitly: those are not overwritten.
        now: The time of the save, as a datetime field shows it.
    """
    if object_type.has_person_name:
        _set(object_type, row, "Name", name_of(row) or None)
    for name in object_type.base64_fields & set(said):  # Body and BodyLength of Attachment and Document
        body = row.get(name)
        length = None if body is None else len(base64.b64decode(str(body)))
        _set(object_type, row, f"{name}Length", length)
    if object_type.name == "Opportunity":
        _derive_opportunity(object_type, row, changed, said, now)


def _derive_opportunity(
    object_type: ObjectType, row: MutableRow, changed: Collection[str], said: Collection[str], now: str
) -> None:
    if "StageName" in changed:
        stage = STAGES.get(str(row.get("StageName")), _OTHER_STAGE)
        if "Probability" not in said or row.get("Probability") is None:
            _set(object_type, row, "Probability", stage.probability)
        if "ForecastCategoryName" not in said or row.get("ForecastCategoryName") is None:
            _set(object_type, row, "ForecastCategoryName", stage.forecast)
        _set(object_type, row, "IsClosed", stage.closed)
        _set(object_type, row, "IsWon", stage.won)
        if "CreatedDate" in row:
            _set(object_type, row, "LastStageChangeDate", now)
    forecast = str(row.get("ForecastCategoryName") or "Pipeline")
    _set(object_type, row, "ForecastCategory", _FORECAST_CODES.get(forecast, forecast))
    amount, probability = row.get("Amount"), row.get("Probability")
    expected = round(float(amount) * float(probability or 0) / 100, 2) if amount is not None else None
    _set(object_type, row, "ExpectedRevenue", expected)
    if close_date := row.get("CloseDate"):
        year, quarter = int(str(close_date)[:4]), (int(str(close_date)[5:7]) + 2) // 3
        _set(object_type, row, "FiscalYear", year)
        _set(object_type, row, "FiscalQuarter", quarter)
        _set(object_type, row, "Fiscal", f"{year} {quarter}")


def _set(object_type: ObjectType, row: MutableRow, name: str, value: Stored) -> None:
    if object_type.field(name) is None:
        return
    if value is None:
        row.pop(name, None)
    else:
        row[name] = value
