"""Settings of the log."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from salmon.plugin.marks import LIVE

LogLevel = Literal["debug", "info", "warning", "error"]


class LogConfig(BaseModel):
    """What each process logs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: LogLevel = Field(
        default="info", description="Least severity to log; --log-level overrides it.", json_schema_extra=LIVE
    )
