"""
Settings for the fields that no event reports (`objects.<sObject>.refresh`): formulas, roll-ups, derived names and dates.
"""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field, field_validator

from salmon.config.sections.durations import checked, seconds_of
from salmon.plugin.marks import LIVE

NEVER: Final = "never"
_LEAST_S: Final = 10.0
_DAY_S: Final = 86_400.0


class RefreshConfig(BaseModel):
    """When fields are read that no event reports: formulas, roll-ups, derived names and dates."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    every: str = Field(
        default="1d",
        description="How often the whole object is read for them, if it has any: a number with s, m, h or d, from 10m to 30d, or "
        "never. It costs one API call for 2,000 records, less by Bulk API 2.0, and is put off while less than a fifth of "
        "salesforce.api_budget is left.",
        json_schema_extra=LIVE,
    )
    after_events: str = Field(
        default="5m",
        description="Records with events are read again sooner, up to 200 of an object each time: a number with s, m, h or d, "
        "from 10s to 1d, or never. 5m: at most 288 API calls a day.",
        json_schema_extra=LIVE,
    )

    @property
    def every_s(self) -> float | None:
        """The same in seconds; None: never."""
        return seconds_of(self.every)

    @property
    def after_events_s(self) -> float | None:
        """The same in seconds; None: never."""
        return seconds_of(self.after_events)

    @field_validator("every")
    @classmethod
    def _seldom(cls, value: str) -> str:
        return value if value == NEVER else checked(value, least_s=600, most_s=30 * _DAY_S)

    @field_validator("after_events")
    @classmethod
    def _soon(cls, value: str) -> str:
        return value if value == NEVER else checked(value, least_s=_LEAST_S, most_s=_DAY_S)
