"""The indexes in MongoDB that the filters of reports need: made where they are missing, and dropped where no report needs them any more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from pymongo.database import Database

from salmon.config.bound_reports import bound_to_org
from salmon.config.models import SyncConfig
from salmon.errors import SalmonError
from salmon.mongodb.reports.indexes import ReportIndex, drop, indexes_of, make, plan_of
from salmon.mongodb.wire.client import Document, close, connect, database_of
from salmon.setup.steps import Became, Step

_AGAIN: Final = "Then run `salmon setup` again. Until then, the reports are worked out without indexes."


def report_steps(
    config: SyncConfig, describe: Callable[[str], Mapping[str, Any]], *, dry: bool
) -> Iterator[Step]:
    """
    Take the steps. There are none without a section `reports`, and MongoDB is not asked then.

    Args:
        describe: See bound_to_org().
    """
    if "reports" not in config.model_fields_set:
        return
    found = bound_to_org(config, describe)
    for name, fault in found.faults.items():
        yield Step(f"reports.{name}", Became.FAILED, fault, f"Correct the report {name}. {_AGAIN}")
    try:
        client = connect(config.mongodb, app="salmon-setup")
    except SalmonError as error:
        yield Step("reports.mongodb", Became.FAILED, str(error), _AGAIN)
        return
    try:
        database = database_of(client, config.mongodb)
        # A report that is at fault may need indexes that nobody can name now: then none is dropped.
        yield from _indexes(
            config, database, indexes_of(found.usable.values()), dry=dry, drops=not found.faults
        )
    except SalmonError as error:
        yield Step("reports.indexes", Became.BY_HAND, str(error), _AGAIN)
    finally:
        close(client)


def _indexes(
    config: SyncConfig, database: Database[Document], wanted: Sequence[ReportIndex], *, dry: bool, drops: bool
) -> Iterator[Step]:
    plan = plan_of(database, wanted, [name for each in config.objects.values() for name in each.places])
    became = Became.WOULD_MAKE if dry else Became.MADE
    for index in plan.there:
        yield Step(
            _name(index.collection, index.name),
            Became.THERE,
            f"An index of {index.collection} on {', '.join(index.paths)}.",
        )
    for index in plan.missing:
        if not dry:
            make(database, index)
        says = (
            f"{'Would make' if dry else 'Made'} the index of {index.collection} on {', '.join(index.paths)}."
        )
        yield Step(_name(index.collection, index.name), became, says)
    for collection, name in plan.unneeded if drops else ():
        if not dry:
            drop(database, collection, name)
        says = f"{'Would drop' if dry else 'Dropped'} the index {name} of {collection}, which no report needs any more."
        yield Step(_name(collection, name), became, says)


def _name(collection: str, index: str) -> str:
    return f"reports.indexes.{collection}.{index}"
