"""
The reports of the demo, and an act that shows one moving: an edit in the org, and how soon the report shows it.

The API serves the report; the act looks at it as a dashboard does, by server-sent events.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import requests
import yaml

from salmon.demo.acts import NotSo, Scene
from salmon.devstack import private

PIPELINE: Final = "pipeline_by_stage"
CONFIGURED: Final[Mapping[str, Mapping[str, Any]]] = {
    PIPELINE: {
        "object": "Opportunity",
        "title": "Pipeline by stage",
        "filter": "IsClosed == false",
        "by": "StageName",
        "measures": {"amount": {"sum": "Amount"}, "deals": "count"},
        "chart": "funnel",
    },
    "won_by_month": {
        "object": "Opportunity",
        "title": "Won by month",
        "filter": "IsWon == true",
        "by": {"field": "CloseDate", "every": "month"},
        "measures": {"amount": {"sum": "Amount"}, "deals": "count"},
        "chart": "line",
    },
    "contacts_by_account": {
        "object": "Contact",
        "title": "Contacts by account",
        "by": "AccountId",
        "measures": {"contacts": "count"},
        "chart": "bar",
        "limit": 20,
    },
}
_STAGE: Final = "Prospecting"
_MORE: Final = 1_000_000.0
_CONNECT_S: Final = 5.0


def add(config: Path) -> None:
    """Give the sync the reports, and the API that serves them. *config*: the sync.yaml, which is written again."""
    said = yaml.safe_load(config.read_text(encoding="utf-8"))
    said |= {"reports": {name: dict(each) for name, each in CONFIGURED.items()}, "api": {}}
    private.written(config, yaml.safe_dump(said, sort_keys=False, width=110))


class Dashboard:
    """Looks at a report, in a thread of its own, until it is left."""

    def __init__(self, address: str, report: str, within_s: float) -> None:
        self._session = requests.Session()
        self._session.trust_env = False
        url = f"{address}/api/v1/reports/{report}/live"
        self._answer = self._session.get(url, stream=True, timeout=(_CONNECT_S, within_s))
        self._answer.raise_for_status()
        self._came, self._left = threading.Condition(), threading.Event()
        self._seen: list[tuple[float, Mapping[str, Any]]] = []
        threading.Thread(target=self._look, name="dashboard", daemon=True).start()

    def leave(self) -> None:
        """The thread ends with the next event. Nobody waits for it: closing what it reads would."""
        self._left.set()

    def until(
        self, what: str, look: Callable[[Mapping[str, Any]], bool], within_s: float
    ) -> tuple[float, Mapping[str, Any]]:
        """The first answer of which *look* is true, and when it came. Raises NotSo."""
        with self._came:
            found = self._came.wait_for(
                lambda: next((each for each in self._seen if look(each[1])), None), within_s
            )
        if not found:
            raise NotSo(f"this did not happen within {within_s:.0f} s: {what}")
        return found

    def _look(self) -> None:
        with self._session, self._answer, suppress(requests.RequestException):
            for line in self._answer.iter_lines(chunk_size=None):
                if self._left.is_set():
                    return
                if line.startswith(b"data: "):
                    with self._came:
                        self._seen.append((time.monotonic(), json.loads(line.removeprefix(b"data: "))))
                        self._came.notify_all()


def report_moves(scene: Scene) -> str:
    """An edit in the org changes a report that somebody looks at."""
    dashboard = scene.until("the API serves", lambda: _looking(scene))
    assert dashboard is not None, "until() returns something true"
    try:
        before = _amount(dashboard.until("the report", lambda _: True, scene.within_s)[1])
        key = scene.another("Opportunity")
        held = scene.in_org("Opportunity", key)
        has = (held["Amount"] or 0.0) if held["StageName"] == _STAGE else 0.0
        wanted = before + _MORE - has
        began = time.monotonic()
        scene.edit_in_org("Opportunity", key, StageName=_STAGE, Amount=_MORE)
        came, after = dashboard.until(
            f"the report {PIPELINE} with the amount",
            lambda body: abs(_amount(body) - wanted) < 1,
            scene.within_s,
        )
        return (
            f"an edit in Salesforce changed the report {after['title']} in {(came - began) * 1000:,.0f} ms: {_STAGE} "
            f"is {_amount(after):,.0f} instead of {before:,.0f}"
        )
    finally:
        dashboard.leave()


def _looking(scene: Scene) -> Dashboard | None:
    """A dashboard; None as long as the API does not serve."""
    try:
        return Dashboard(scene.api_address, PIPELINE, scene.within_s)
    except requests.RequestException:
        return None


def _amount(body: Mapping[str, Any]) -> float:
    """The sum of the stage."""
    return next((float(row["amount"]) for row in body["rows"] if row["StageName"] == _STAGE), 0.0)


ACT: Final = ("report_moves", "A report moves while somebody looks at it", report_moves)
