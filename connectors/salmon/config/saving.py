"""
Settings for how Salesforce saves what Salmon writes to an object (`objects.<sObject>`): which of the org's own rules have a say.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class SavingConfig(BaseModel):
    """Whether duplicate rules that only warn, and assignment rules, count for what Salmon writes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
