"""Settings of comparing both sides on a schedule."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field, field_validator

from salmon.config.sections.durations import checked, seconds_of

_VERIFY_EVERY_S_MIN: Final = 10.0


class VerifyConfig(BaseModel):
    """Comparing both sides and `records` on a schedule, beside merge."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    every: str | None = Field(
        default=None,
        description="How often merge's first replica runs `salmon verify` and shows the result in its metrics: a number "
        "with s, m, h or d, e.g. 24h. Without it: never. Each run reads the whole org once (2,000 records per API call).",
    )

    @property
    def every_s(self) -> float | None:
        """The same in seconds."""
        return None if self.every is None else seconds_of(self.every)

    @field_validator("every")
    @classmethod
    def _a_duration(cls, value: str | None) -> str | None:
        return None if value is None else checked(value, least_s=_VERIFY_EVERY_S_MIN)
