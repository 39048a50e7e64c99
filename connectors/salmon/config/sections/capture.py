"""
Settings for how changes of an object are noticed in Salesforce (`objects.<sObject>.capture`).
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from salmon.config.sections.durations import checked, seconds_of
from salmon.plugin.marks import LIVE

_EVERY_S_MIN: Final = 2.0
_EVERY_S_MAX: Final = 86_400.0


class CaptureConfig(BaseModel):
    """How changes of an object are noticed in Salesforce. A plain word is the mode."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["cdc", "poll"] = Field(
        default="cdc",
        description="cdc: by Change Data Capture. poll: by queries, for objects that have no change events or are not to be "
        "selected for them.",
    )
    every: str = Field(
        default="5m",
        description="poll: how often the object is queried: a number with s, m, h or d, from 2s to 1d. Each time costs two API "
        "calls (5m: about 600 a day), and one more for each 2,000 records that changed.",
        json_schema_extra=LIVE,
    )

    @property
    def every_s(self) -> float:
        """The same in seconds."""
        return seconds_of(self.every) or _EVERY_S_MAX

    @field_validator("every")
    @classmethod
    def _a_duration(cls, value: str) -> str:
        return checked(value, least_s=_EVERY_S_MIN, most_s=_EVERY_S_MAX)
