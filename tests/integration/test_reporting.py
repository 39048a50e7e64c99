"""
deploy/examples/reporting beside a sync at work: its reports are what the org's records say, and they move, in a browser, too.

SALMON_SCREENSHOTS names a folder for pictures of the pages; `make screenshots` sets it.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import requests
import yaml
from playwright.sync_api import expect

from salmon.ports import free_ports
from support.plugins import EXAMPLES
from support.programs.browser import chromium, inaccessible
from support.ring import Ring, running_ring
from support.stacks import Stack
from support.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("embedded")]

EXAMPLE: Final = EXAMPLES / "reporting"
FIELDS: Final = "Id, StageName, Amount, CloseDate, IsClosed, LeadSource"


@dataclass(frozen=True)
class Reporting:
    """The example, with a simulated org."""

    ring: Ring
    url: str

    def get(self, path: str, **more: Any) -> requests.Response:
        return self.ring.http.get(f"{self.url}{path}", timeout=30, **more)

    def rows(self, name: str) -> list[dict[str, Any]]:
        answer = self.get(f"/api/v1/reports/{name}")
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["rows"]
        return found

    def opportunities(self) -> list[dict[str, Any]]:
        """As the org has them."""
        found: list[dict[str, Any]] = self.ring.sf.query_all(f"SELECT {FIELDS} FROM Opportunity")["records"]
        return found


@pytest.fixture(scope="module")
def reporting(embedded_stack: Stack) -> Iterator[Reporting]:
    """The objects, reports and the API are those of the example; the servers are the test's."""
    example = yaml.safe_load((EXAMPLE / "sync.yaml").read_text())
    (port,) = free_ports(1)
    with running_ring(
        embedded_stack, "reporting", records={"Account": 12, "Contact": 30, "Opportunity": 60}
    ) as ring:
        said = yaml.safe_load(ring.config_path.read_text())
        said |= {name: example[name] for name in ("objects", "reports", "api")}
        ring.config_path.write_text(yaml.safe_dump(said))
        ring.reload()
        ring.start()
        ring.wait_equal()
        ring.ports["api"] = port
        ring.processes["api"] = ring.spawn("api", port)
        ring.wait_ready("api")
        found = Reporting(ring, f"http://127.0.0.1:{port}")
        until(lambda: found.get("/api/v1/reports").status_code == 200, "the API serves")
        yield found
        assert ring.stop("api") == {"api": 0}, "SIGTERM ends those who look, and ends in order"


def test_each_call_of_its_readme_is_answered(reporting: Reporting) -> None:
    """As it stands there."""
    calls = re.findall(
        r"^curl.* 'http://127\.0\.0\.1:8090([^']+)'", (EXAMPLE / "README.md").read_text(), re.MULTILINE
    )
    assert len(calls) == 4
    for path in calls:
        with reporting.get(path, stream=True) as answer:
            assert answer.status_code == 200, path
    names = [each["name"] for each in reporting.get("/api/v1/reports").json()["reports"]]
    assert names == list(reporting.ring.config.reports)


def test_the_reports_say_what_the_orgs_records_say(reporting: Reporting) -> None:
    """Each computed once more from Salesforce's answer to a query."""
    by_stage: dict[str, list[float]] = defaultdict(list)
    by_month: dict[str, list[float]] = defaultdict(list)
    by_both: dict[tuple[str, str | None], int] = defaultdict(int)
    for each in reporting.opportunities():
        month = f"{each['CloseDate'][:7]}-01"
        if not each["IsClosed"]:
            by_stage[each["StageName"]].append(each["Amount"] or 0)
            by_both[month, each["LeadSource"]] += 1
        elif each["StageName"] == "Closed Won":
            by_month[month].append(each["Amount"] or 0)
    stages = {row["StageName"]: (row["amount"], row["deals"]) for row in reporting.rows("pipeline_by_stage")}
    assert stages == {name: (pytest.approx(sum(some)), len(some)) for name, some in by_stage.items()}
    won = [row for row in reporting.rows("won_by_month") if row["deals"]]
    assert [row["CloseDate"] for row in won] == sorted(by_month)
    assert [row["amount"] for row in won] == [
        pytest.approx(sum(by_month[month])) for month in sorted(by_month)
    ]
    both = {
        (row["CloseDate"], row["LeadSource"]): row["deals"]
        for row in reporting.rows("pipeline_by_month_and_source")
    }
    assert both == by_both
    contacts: dict[str | None, int] = defaultdict(int)
    for each in reporting.ring.sf.query_all("SELECT AccountId FROM Contact")["records"]:
        contacts[each["AccountId"]] += 1
    names = {
        each["Id"]: each["Name"]
        for each in reporting.ring.sf.query_all("SELECT Id, Name FROM Account")["records"]
    }
    rows = reporting.rows("contacts_by_account")
    assert {row["AccountId"]: row["contacts"] for row in rows} == contacts
    assert {row["AccountId"]: row["Account.Name"] for row in rows if row["AccountId"]} == {
        key: names[key] for key in contacts if key
    }
    told = list(
        csv.DictReader(io.StringIO(reporting.get("/api/v1/reports/contacts_by_account?format=csv").text))
    )
    assert [int(each["contacts"]) for each in told] == [row["contacts"] for row in rows]


def test_an_edit_in_salesforce_reaches_who_looks(reporting: Reporting) -> None:
    """As an event, without asking again; with several tries, the quickest takes about a second."""
    key = next(each["Id"] for each in reporting.opportunities() if not each["IsClosed"])
    took = []
    with reporting.get("/api/v1/reports/pipeline_by_stage/live", stream=True) as answer:
        events = (
            json.loads(line.removeprefix(b"data: "))
            for line in answer.iter_lines(chunk_size=None)
            if line.startswith(b"data: ")
        )
        before = next(events)
        for number in range(1, 4):
            began = time.monotonic()
            reporting.ring.sf.Opportunity.update(key, {"StageName": "Qualification", "Amount": number * 1e6})
            after = next(each for each in events if each["rows"] != before["rows"])
            took.append(time.monotonic() - began)
            total = sum(
                each["Amount"] or 0
                for each in reporting.opportunities()
                if each["StageName"] == "Qualification"
            )
            assert amount_of(after, "Qualification") == pytest.approx(total)
            before = after
    assert min(took) < 3, took


def amount_of(report: dict[str, Any], stage: str) -> float:
    return next(float(row["amount"]) for row in report["rows"] if row["StageName"] == stage)


def test_the_pages_are_for_everybody_and_move(reporting: Reporting) -> None:
    """In a real browser: axe-core finds nothing at fault in light and dark, a phone is wide enough, and an edit in Salesforce is seen."""
    names = list(reporting.ring.config.reports)
    with chromium() as browser:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: pytest.fail(f"{error}"))
        page.on("console", lambda line: pytest.fail(line.text) if line.type == "error" else None)
        for path in ("", *(f"/{name}" for name in names)):
            page.set_viewport_size({"width": 360, "height": 740})
            page.emulate_media(color_scheme="light")
            page.goto(f"{reporting.url}/console/reports{path}", wait_until="domcontentloaded")
            assert inaccessible(page) == [], path
            page.emulate_media(color_scheme="dark")
            assert inaccessible(page, only="color-contrast") == [], f"{path} in the dark"
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
        page.set_viewport_size({"width": 1280, "height": 900})
        page.emulate_media(color_scheme="light")
        page.goto(f"{reporting.url}/console/reports", wait_until="domcontentloaded")
        page.get_by_role("link", name="Pipeline by stage").click()
        expect(page.get_by_role("img", name=re.compile("Pipeline by stage, as a funnel: "))).to_be_visible()
        if folder := os.environ.get("SALMON_SCREENSHOTS"):
            page.screenshot(path=Path(folder) / "console-report.png")
        key = next(each["Id"] for each in reporting.opportunities() if not each["IsClosed"])
        reporting.ring.sf.Opportunity.update(key, {"StageName": "Needs Analysis", "Amount": 77_000_000})
        amounts = [
            each["Amount"] or 0 for each in reporting.opportunities() if each["StageName"] == "Needs Analysis"
        ]
        row = page.get_by_role("row", name=re.compile("^Needs Analysis"))
        expect(row).to_contain_text(f"{round(sum(amounts), 2):,}", timeout=30_000)
        context.close()
