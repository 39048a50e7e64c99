"""What happens to the other side's record when one is deleted, and when many are."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from salmon.plugin.marks import LIVE


class DeletesConfig(BaseModel):
    """What happens to a deletion. A plain word is the mode."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["propagate", "ignore", "archive"] = Field(
        default="propagate",
        description="propagate: what is deleted on one side is deleted on the other. ignore: the other side keeps its record, "
        "which is on its own from then on: its edits are not synced, until the record is created again where it was deleted. "
        "archive: the same, and the record that is kept gets a mark (`field`). `records` has a tombstone in any case.",
    )
    field: str | None = Field(
        default=None,
        description="archive: the mark, a checkbox of the object that is synced and that Salesforce lets us set, e.g. "
        "`Archived__c`. It is set to true in the record that is kept.",
    )
    side: Literal["both", "salesforce", "mongodb"] = Field(
        default="both",
        description="ignore, archive: the side that keeps its records. What is deleted there is deleted on the other side, if "
        "that is not to keep its records, too. both: Salesforce and MongoDB; a further side does not keep its records.",
    )
    grace_s: float = Field(
        default=2.0,
        ge=0,
        le=3_600,
        description="How long a deletion waits before it is carried out. If a record with the same key is created "
        "meanwhile, that counts as an edit: the other side's record stays, with its Id and its related records. 0: no wait.",
        json_schema_extra=LIVE,
    )

    @model_validator(mode="after")
    def _mark_of_archive(self) -> Self:
        if (self.mode == "archive") != (self.field is not None):
            raise ValueError(
                "mode archive needs `field`, the checkbox that marks a record that is kept"
                if self.field is None
                else "has `field`, which is for mode archive only: remove it, or set the mode"
            )
        return self


class DeleteGuardConfig(BaseModel):
    """When to stop believing deletes: a broken script looks exactly like a user who deletes everything."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    deletes_max: int = Field(
        default=500,
        ge=1,
        description="Most deletes of this object on one side within window_s, before the guard acts.",
        json_schema_extra=LIVE,
    )
    window_s: float = Field(
        default=600,
        gt=0,
        le=86_400,
        description="Sliding window, by the time of the deletion on the other side.",
        json_schema_extra=LIVE,
    )
    share_max: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="The guard also acts when more than this share of the object's records is deleted within window_s.",
        json_schema_extra=LIVE,
    )
    share_floor: int = Field(
        default=20,
        ge=0,
        description="This many deletes are always allowed, however few records there are (share_max only).",
        json_schema_extra=LIVE,
    )
    beyond: Literal["pause", "alert", "allow"] = Field(
        default="pause",
        description="What the guard does. pause: further deletes of the object wait for `salmon guard approve` or "
        "`discard`. alert: they are carried out and reported. allow: the guard is off.",
        json_schema_extra=LIVE,
    )
