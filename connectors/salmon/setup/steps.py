"""
The contract of a step of `salmon setup`: one thing that a sync needs, and what became of it.

A step makes what is missing and leaves alone what is there: so setup can be run again at any time, also after a crash.
Another system's steps are added to salmon.setup.setting_up, and need nothing but what is here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Became(StrEnum):
    """What became of a step."""

    THERE = "there"  # nothing was to be done
    MADE = "made"
    WOULD_MAKE = "would make"  # with --dry-run
    BY_HAND = "by hand"  # only a person can do it, or may
    FAILED = "failed"  # something is in the way, and is left as it is


@dataclass(frozen=True, slots=True)
class Step:
    """
    One step.

    Args:
        name: For scripts; never changes, e.g. objects.Account.Salmon_Id__c.
        became: What became of it.
        says: What there is, was made, or is in the way, in a sentence.
        mend: What a person has to do; empty if nothing.
    """

    name: str
    became: Became
    says: str
    mend: str = ""

    @property
    def needs_a_person(self) -> bool:
        return self.became in (Became.BY_HAND, Became.FAILED)
