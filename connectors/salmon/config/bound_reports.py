"""The reports of a sync, bound to the fields of its objects: what the API, `salmon doctor` and `salmon setup` work with. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from salmon.config.models import SyncConfig
from salmon.errors import ConfigError
from salmon.model.schema import ObjectSchema
from salmon.mongodb.reports.report import BoundReport, Known, bound
from salmon.mongodb.shapes import shape_of

Choices = Mapping[str, Mapping[str, Sequence[str]]]  # object -> picklist -> its values in the org's order


@dataclass(frozen=True)
class BoundReports:
    """
    Args:
        usable: Name -> report.
        faults: Name -> what is wrong with a report, whose object's fields are not as it needs them.
    """

    usable: Mapping[str, BoundReport]
    faults: Mapping[str, str]


def bound_reports(
    config: SyncConfig, schemas: Mapping[str, ObjectSchema], choices: Choices | None = None
) -> BoundReports:
    """Bind each report of the configuration. *schemas*: of those objects that have one."""
    known: dict[str, Known] = {}
    troubles: dict[str, str] = {}
    for name, schema in schemas.items():
        if (settings := config.objects.get(name)) is None:
            continue
        try:
            shape = shape_of(config.objects, name, schema)
        except ConfigError as error:
            troubles[name] = str(error)
        else:
            known[name] = Known(shape, settings.places, (choices or {}).get(name, {}))
    usable: dict[str, BoundReport] = {}
    faults: dict[str, str] = {}
    for name, report in config.reports.items():
        settings = config.objects[report.object]
        try:
            if report.object in troubles:
                raise ConfigError(troubles[report.object])
            usable[name] = bound(
                report.report(name, archived=settings.deletes.field, collections=settings.places), known
            )
        except ConfigError as error:
            faults[name] = str(error)
    return BoundReports(usable, faults)
