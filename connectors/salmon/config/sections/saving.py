"""
Settings for how Salesforce saves what Salmon writes to an object (`objects.<sObject>`): which of the org's own rules have a say,
and which fields say that it was Salmon.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from salmon.model.markers import USUAL, Markers

# Custom fields, perhaps of a namespace: Acme__Sync_Key__c.
_FieldName = Annotated[
    str, Field(pattern=r"^(?:[A-Za-z][A-Za-z0-9]{0,14}__)?[A-Za-z](?:_?[A-Za-z0-9]){0,39}__c$", max_length=80)
]


class MarkersConfig(BaseModel):
    """
    The names of Salmon's own two fields of the object, where an admin has made them under other names than `salmon setup` gives.
    To change them in a running sync: stop salesforce-sink, copy the values of the old fields, and start all processes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seq: _FieldName = Field(
        default=USUAL.seq,
        description="A field Number(18, 0): the number of Salmon's last write to the record.",
    )
    key: _FieldName = Field(
        default=USUAL.key,
        description="A field Text(255), External ID, Unique and case-sensitive: the key of a record that came from MongoDB.",
    )

    @model_validator(mode="after")
    def _two(self) -> Self:
        if self.seq.lower() == self.key.lower():
            raise ValueError("seq and key must be two fields")
        return self

    @property
    def names(self) -> Markers:
        return Markers(self.seq, self.key)


class SavingConfig(BaseModel):
    """Whether duplicate rules that only warn, and assignment rules, count for what Salmon writes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    markers: MarkersConfig = MarkersConfig()
    allow_duplicates: bool = Field(
        default=False,
        description="true: Salesforce also saves a record that a duplicate rule of the org only warns of, as a person does who "
        "clicks Save again. false: it is refused and reported. A rule that blocks refuses it in both cases.",
    )
    assignment_rules: bool = Field(
        default=False,
        description="true: the org's active assignment rule chooses the owner of each record that Salmon creates (Lead and Case; "
        "of an Account, the territory), whatever OwnerId says; creations are then never written by Bulk API 2.0. false: no "
        "assignment rule runs.",
    )
