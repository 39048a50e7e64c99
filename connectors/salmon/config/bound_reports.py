"""The reports of a sync, bound to the fields of its objects: what the API, `salmon doctor` and `salmon setup` work with. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from salmon.config.models import SyncConfig
from salmon.errors import ConfigError, RequestRejected
from salmon.model.schema import ObjectSchema, schema_of_describe
from salmon.mongodb.reports.report import BoundReport, Known, bound
from salmon.mongodb.shapes import shape_of
from salmon.salesforce.marker_fields import apart_in

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


def bound_to_org(config: SyncConfig, describe: Callable[[str], Mapping[str, Any]]) -> BoundReports:
    """
    Bind each report to the fields that the org has now, before the sync has registered any schema.

    Args:
        describe: Returns the org's describe of an object. Raises RequestRejected: it has none, or hides it.
    """
    schemas: dict[str, ObjectSchema] = {}
    troubles: dict[str, str] = {}
    for name in sorted({each.object for each in config.reports.values()}):
        settings = config.objects[name]
        try:
            schema = schema_of_describe(
                describe(name),
                include=settings.fields.include,
                exclude=settings.fields.exclude,
                decimals=settings.numbers == "decimal",
                markers=settings.markers.names,
                apart=apart_in(config.objects),
            )
            schemas[name] = schema.with_computed(settings.computed(schema))
        except RequestRejected as error:
            troubles[name] = (
                f"The org has no object {name}, or hides it from the integration user ({error.said})."
            )
        except ConfigError as error:
            troubles[name] = str(error)
    return bound_reports(config, schemas, troubles=troubles)


def bound_reports(
    config: SyncConfig,
    schemas: Mapping[str, ObjectSchema],
    choices: Choices | None = None,
    troubles: Mapping[str, str] | None = None,
) -> BoundReports:
    """
    Bind each report of the configuration.

    Args:
        schemas: Of those objects that have one.
        troubles: Object -> why it has none.
    """
    known: dict[str, Known] = {}
    troubles = dict(troubles or {})
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
