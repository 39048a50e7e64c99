"""Recorded describes of real orgs: those that the product brings along, and those in tests/data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from salmon.simulator.org.objects.describes import PACKAGED
from salmon.simulator.org.objects.spelling import spelled

AT_HAND: Final = Path(__file__).parents[2] / "data" / "salesforce" / "describe"

OBJECTS: Final = tuple(sorted(path.stem for folder in (PACKAGED, AT_HAND) for path in folder.glob("*.json")))


def describe(name: str) -> dict[str, Any]:
    """The recorded answer of GET /sobjects/<name>/describe."""
    (path,) = (
        folder / f"{name}.json" for folder in (PACKAGED, AT_HAND) if (folder / f"{name}.json").exists()
    )
    described = json.loads(path.read_text())
    assert isinstance(described, dict)
    return described


def batch_apex_error_event() -> dict[str, Any]:
    """A describe of a standard event that only the platform fires, by the Platform Events Developer Guide: no real one is at hand."""
    system = "ReplayId CreatedDate*:datetime CreatedById*:reference:User:CreatedBy EventUuid"
    own = (
        "AsyncApexJobId DoesExceedJobScopeMaxLength:boolean ExceptionType JobScope:textarea Message Phase RequestId "
        "StackTrace:textarea"
    )
    return spelled("BatchApexErrorEvent", "0eB", f"{system} {own}", writable=False)
