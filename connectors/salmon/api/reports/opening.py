"""The reports for one state of the schemas, from opening to closing: what the API and the console work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog
from pymongo.database import Database

from salmon.api.reports.computing import Computing
from salmon.api.reports.following import Following
from salmon.api.streams import Streams
from salmon.config.bound_reports import bound_reports
from salmon.config.models import SyncConfig
from salmon.model.described import Described
from salmon.model.schema import ObjectSchema
from salmon.mongodb.reports.report import BoundReport
from salmon.mongodb.wire.client import Document

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Reports:
    """
    Args:
        usable: Name -> report.
        faults: Name -> what is wrong with a report that does not fit its object.
        streams: Those who follow a report.
    """

    usable: Mapping[str, BoundReport]
    faults: Mapping[str, str]
    computing: Computing
    following: Following
    streams: Streams = field(default_factory=Streams)

    def close(self) -> None:
        """End what runs beside requests. Idempotent."""
        self.following.close()


def opened(
    config: SyncConfig,
    schemas: Mapping[str, ObjectSchema],
    described: Mapping[str, Described],
    database: Database[Document],
    time_bound_ms: Callable[[], int],
) -> Reports:
    """The reports of the configuration, by these schemas. What is wrong with one is logged, and said to who asks for it."""
    found = bound_reports(config, schemas, _choices(described))
    for name, fault in found.faults.items():
        log.warning("report_not_served", report=name, reason=fault)
    computing = Computing(database, found, time_bound_ms)
    return Reports(found.usable, found.faults, computing, Following(database, computing))


def _choices(described: Mapping[str, Described]) -> Mapping[str, Mapping[str, list[str]]]:
    return {
        name: {
            field: [choice.value for choice in each.choices]
            for field, each in of.fields.items()
            if each.choices
        }
        for name, of in described.items()
    }
