"""What happens to records that cannot be processed. The keys are Kafka Connect's, where it has one."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from salmon.plugin.marks import LIVE
from salmon.runtime.error_limit import Tolerance

_NEVER = -1


class ErrorsConfig(BaseModel):
    """What happens to records that cannot be processed. An outage is none of this: it is waited out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tolerance: Literal["all", "none"] = Field(
        default="all",
        description="all: a record that cannot be processed goes to the dead letter queue, and the others go on. none: a "
        "connector stops at it, and tries it again until it can be processed.",
        json_schema_extra=LIVE,
    )
    retry_timeout_ms: int = Field(
        default=_NEVER,
        ge=_NEVER,
        le=2_592_000_000,
        alias="retry.timeout",
        description="For how many milliseconds a write is tried again that a side cannot take now, while it takes others. After "
        "that it counts as refused. -1: without end. Meanwhile only later writes of the same record wait.",
        json_schema_extra=LIVE,
    )
    retry_delay_max_ms: int = Field(
        default=60_000,
        ge=100,
        le=3_600_000,
        alias="retry.delay.max.ms",
        description="The longest wait between two tries of such a write, in milliseconds. The waits grow, with full jitter.",
        json_schema_extra=LIVE,
    )
    limit_consecutive: int = Field(
        default=1_000,
        ge=0,
        alias="limit.consecutive",
        description="When so many records in a row could not be processed, nothing more is set aside: the connector tries "
        "again until the cause is gone. 0: no limit.",
        json_schema_extra=LIVE,
    )
    limit_ratio: float = Field(
        default=0.5,
        gt=0,
        le=1,
        alias="limit.ratio",
        description="The same, when more than this share of the last records could not be processed. 1: no limit.",
        json_schema_extra=LIVE,
    )
    limit_window: int = Field(
        default=2_000,
        ge=10,
        le=1_000_000,
        alias="limit.window",
        description="How many records limit.ratio looks at, at least.",
        json_schema_extra=LIVE,
    )

    def tolerated(self) -> Tolerance:
        """The same, for the workers."""
        never = self.retry_timeout_ms == _NEVER
        return Tolerance(
            tolerates=self.tolerance == "all",
            consecutive=self.limit_consecutive,
            ratio=self.limit_ratio,
            window=self.limit_window,
            retry_timeout_s=None if never else self.retry_timeout_ms / 1000,
            retry_delay_max_s=self.retry_delay_max_ms / 1000,
        )
