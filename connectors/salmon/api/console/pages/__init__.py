"""The pages of the console, each with the addresses that it has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from fastapi import APIRouter

from salmon.api.console.pages import (
    conflicts,
    doctor,
    flows,
    guard,
    letters,
    objects,
    overview,
    records,
    refused,
    reports,
    verify,
)
from salmon.api.console.parts import Parts

PAGES: Final[Sequence[Callable[[Parts], APIRouter]]] = (
    overview.routes,
    records.routes,
    conflicts.routes,
    refused.routes,
    letters.routes,
    objects.routes,
    reports.routes,
    guard.routes,
    flows.routes,
    doctor.routes,
    verify.routes,
)
