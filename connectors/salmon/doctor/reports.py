"""The reports: does each fit the fields of its object, and are the indexes there that their filters need."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from pymongo import timeout

from salmon.config.bound_reports import bound_to_org
from salmon.config.models import SyncConfig
from salmon.doctor.checks import Check, Line, fail, ok, warn
from salmon.doctor.salesforce import API_VERSION
from salmon.errors import SalmonError
from salmon.mongodb.reports.indexes import indexes_of, plan_of
from salmon.mongodb.reports.report import BoundReport
from salmon.mongodb.wire.client import close, connect, database_of

_ANSWER_S: Final = 8.0
_NAME: Final = "reports"


class ReportChecks:
    """*describe*: returns the org's describe of an object."""

    def __init__(self, config: SyncConfig, describe: Callable[[str], Mapping[str, Any]]) -> None:
        self._config, self._describe = config, describe

    def checks(self) -> Sequence[Check]:
        """One, if there are reports."""
        return (Check(_NAME, "Reports", self._look, after=API_VERSION),) if self._config.reports else ()

    def _look(self) -> Iterator[Line]:
        found = bound_to_org(self._config, self._describe)
        for name, fault in found.faults.items():
            yield fail(f"{_NAME}.{name}", f"Report {name}", fault, f"Correct reports.{name}.")
        for name, report in found.usable.items():
            yield ok(f"{_NAME}.{name}", f"Report {name}", f"It fits the fields of {report.report.object}.")
        yield from self._indexes(found.usable.values())

    def _indexes(self, reports: Iterable[BoundReport]) -> Iterator[Line]:
        name, what = f"{_NAME}.indexes", "Reports: indexes"
        if not (wanted := indexes_of(reports)):
            return
        try:
            with timeout(_ANSWER_S):
                client = connect(self._config.mongodb, app="salmon-doctor")
                try:
                    database = database_of(client, self._config.mongodb)
                    plan = plan_of(database, wanted, {each.collection for each in wanted})
                finally:
                    close(client)
        except SalmonError as error:
            yield warn(name, what, f"Not looked at: {error}", "Mend MongoDB first.")
            return
        if plan.missing:
            named = "; ".join(f"{each.collection}: {', '.join(each.paths)}" for each in plan.missing)
            yield warn(
                name,
                what,
                f"Missing, so that reports read whole collections: {named}.",
                "Run `salmon setup`, which makes them.",
            )
        else:
            yield ok(name, what, f"All {len(wanted)} that the filters need are there.")
