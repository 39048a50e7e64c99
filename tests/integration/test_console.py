"""
The console in a real Chromium beside a sync at work: each page, each action, and that everybody can use it.

SALMON_SCREENSHOTS names a folder for pictures of the pages; `make screenshots` sets it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page, expect

from salmon.ports import free_ports
from support.programs.browser import chromium, inaccessible
from support.ring import Ring, running_ring
from support.stacks import Stack
from support.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("embedded")]

RECORDS: Final = {"Account": 16, "Contact": 6, "Opportunity": 4}
PAGES: Final = (
    "", "records", "records?q=co", "conflicts", "conflicts?show=all", "refused", "objects", "guard", "flows", "doctor", "verify"
)  # fmt: skip
REFUSED: Final = "FIELD_CUSTOM_VALIDATION_EXCEPTION"


@dataclass(frozen=True)
class Site:
    """The console of a ring, and the records of which something is to be seen."""

    ring: Ring
    browser: Browser
    url: str
    held: str  # waits for a decision about Site
    typed: str  # waits for a decision, too
    refused: str  # whose Fax was refused
    replayed: str  # the same
    corrected: str  # the same
    deleted: list[str]  # that the guard holds back

    def open(self, path: str = "", *, refusals: str | None = None, **settings: Any) -> Page:
        """
        A page in a browser of its own, which fails if the browser complains, e.g. of what the policy forbids.

        Args:
            refusals: What it may complain of: a form is refused on purpose.
        """
        context = self.browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **settings})
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: pytest.fail(f"{path}: {error}"))
        page.on(
            "console",
            lambda line: (
                pytest.fail(f"{path}: {line.text}")
                if line.type == "error" and (refusals is None or refusals not in line.text)
                else None
            ),
        )
        page.goto(f"{self.url}/{path}", wait_until="domcontentloaded")
        return page


@pytest.fixture(scope="module")
def site(embedded_stack: Stack) -> Iterator[Site]:
    """A sync with conflicts that wait, writes that were refused, and deletes that wait."""
    account = {"conflicts": {"default": "hold"}, "delete_guard": {"deletes_max": 2, "beyond": "pause"}}
    with chromium() as browser, running_ring(
        embedded_stack, "console", records=RECORDS, objects={"Account": account}
    ) as ring:  # fmt: skip
        ring.start()
        ring.wait_equal()
        held, typed, *more = ring.ids("Account")
        (refused, replayed, corrected), others = more[:3], more[3:]
        with ring.trigger(object="Account", when={"field": "Fax"}, refuse=True):
            for key in (refused, replayed, corrected):
                ring.db.accounts.update_one({"_id": key}, {"$set": {"Fax": "666"}})
                ring.wait_document("accounts", key, lambda seen: seen["_salmon"].get("error"))
        ring.stop("merge")
        for key in (held, typed):
            ring.sf.Account.update(key, {"Site": "<b>Rome</b>"})
            ring.db.accounts.update_one({"_id": key}, {"$set": {"Site": "Oslo"}})
        deleted = others[:7]
        ring.db.accounts.delete_many({"_id": {"$in": deleted}})
        ring.start("merge")
        ports = {name: {"url": f"http://127.0.0.1:{port}"} for name, port in ring.ports.items()}
        (ring.config_path.parent / "ports.json").write_text(json.dumps(ports))
        (port,) = free_ports(1)
        ring.processes["api"] = ring.spawn("api", port)
        url = f"http://127.0.0.1:{port}/console"

        def is_there() -> bool:
            health = ring.health(port)
            return (
                health.get("status") == "healthy" and ring.http.get(f"{url}/", timeout=10).status_code == 200
            )

        until(is_there, "the console is served", within_s=60)
        until(lambda: ring.conflicts == 2, "the conflicts are recorded", within_s=60)
        # Those that came first were within the limit.
        until(lambda: len(held_back(ring, url, deleted)) >= 4, "most of the deletes wait", within_s=60)
        deleted = held_back(ring, url, deleted)
        found = Site(ring, browser, url, held, typed, refused, replayed, corrected, deleted)
        yield found


def held_back(ring: Ring, url: str, keys: list[str]) -> list[str]:
    """Those whose deletion waits, as the console says."""
    text = ring.http.get(f"{url}/guard", timeout=20).text
    return [key for key in keys if key in text]


def shoot(page: Page, name: str) -> None:
    """A picture for the documentation, if one is wanted."""
    if folder := os.environ.get("SALMON_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=False)


def test_the_overview_shows_each_process_and_follows_by_itself(site: Site) -> None:
    """Edits are seen as pace, and a process that stops, within seconds and without anybody loading the page again."""
    page = site.open()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    expect(page.locator(".verdict")).to_contain_text("All processes are healthy.")
    expect(page.locator("svg.ring")).to_have_attribute("aria-label", re.compile("mongodb-sink is healthy"))
    expect(page.locator("table").nth(1)).to_contain_text("Account")
    expect(page.locator(".chart polyline").first).to_be_attached(timeout=30_000)
    contacts = site.ring.db[site.ring.config.objects["Contact"].places[0]]
    contacts.update_many({}, {"$set": {"Title": "Head of rivers"}})
    expect(page.locator(".figures dd").first).not_to_contain_text(re.compile(r"^0\.0"), timeout=30_000)
    shoot(page, "console-overview")
    site.ring.stop("mongodb-sink")
    expect(page.locator(".verdict")).to_contain_text("1 of 5 processes are not healthy.", timeout=30_000)
    site.ring.start("mongodb-sink")
    ports = {name: {"url": f"http://127.0.0.1:{port}"} for name, port in site.ring.ports.items()}
    (site.ring.config_path.parent / "ports.json").write_text(json.dumps(ports))
    expect(page.locator(".verdict")).to_contain_text("All processes are healthy.", timeout=60_000)


def test_everybody_can_use_every_page(site: Site) -> None:
    """axe-core finds nothing at fault by WCAG AA, in light and in dark, and nothing hangs over the edge of a phone."""
    page = site.open(viewport={"width": 360, "height": 740}, color_scheme="light")
    for path in (*PAGES, f"records/Account/{site.held}", f"records/Account/{site.refused}"):
        page.emulate_media(color_scheme="light")
        page.goto(f"{site.url}/{path}", wait_until="domcontentloaded")
        assert inaccessible(page) == [], path
        page.emulate_media(color_scheme="dark")
        assert inaccessible(page, only="color-contrast") == [], f"{path} in the dark"
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 360, f"{path} is {width} wide"


def test_a_record_is_found_by_its_name_by_keyboard_alone(site: Site) -> None:
    """From the top of any page: the search, the record, both values and what happened."""
    name = site.ring.row("Account", site.held)["Name"]
    page = site.open()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.type(name)
    page.keyboard.press("Enter")
    page.get_by_role("link", name=site.held, exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.locator(".verdict")).to_contain_text("waits for a decision")
    values = page.locator("tr.differs", has_text="Site")
    expect(values).to_contain_text("Oslo")
    expect(values).to_contain_text("<b>Rome</b>")
    expect(page.locator(".timeline")).to_contain_text("conflict on Site")
    shoot(page, "console-record")
    page.emulate_media(color_scheme="dark")
    shoot(page, "console-record-dark")


def letter_of(page: Page, key: str) -> None:
    """Open the dead letter of a record, from the list."""
    page.get_by_role("row").filter(has=page.get_by_role("checkbox")).filter(has_text=key).get_by_role(
        "link"
    ).click()
    expect(page.get_by_role("heading", name="Dead letter")).to_be_visible()


def test_a_dead_letter_is_corrected_and_sent(site: Site) -> None:
    """What a side refused becomes the agreed value as it was typed; a correction that cannot be says why, and nothing is lost of it."""
    page = site.open("refused", refusals="status of 400")
    letter_of(page, site.corrected)
    page.get_by_role("link", name="Correct and send").click()
    assert inaccessible(page) == []
    fields = page.get_by_label("Its fields (YAML)")
    expect(fields).to_have_value(re.compile("Fax: '666'"))
    fields.fill("Fux: '5'")
    with page.expect_response(lambda answer: answer.status == 400):
        page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("alert")).to_contain_text("not a synced field")
    expect(fields).to_have_value("Fux: '5'")
    fields.fill("Fax: '555 0101'")
    page.get_by_label("Why").fill("it was a typing error")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("status")).to_contain_text("The corrected fields are agreed")
    site.ring.wait_row("Account", site.corrected, lambda row: row["Fax"] == "555 0101")
    site.ring.wait_document("accounts", site.corrected, lambda seen: seen["Fax"] == "555 0101")
    page.goto(f"{site.url}/records/Account/{site.corrected}")
    expect(page.locator(".timeline")).to_contain_text("because: it was a typing error")


def test_a_dead_letter_is_replayed(site: Site) -> None:
    """It asks once, says what a replay does, and the write goes to the org again."""
    page = site.open("refused")
    letter_of(page, site.replayed)
    page.get_by_role("link", name="Replay").click()
    page.get_by_label("Why").fill("the rule is gone")
    page.get_by_role("button", name="Replay").click()
    expect(page.get_by_role("status")).to_contain_text("1 dead letter replayed.")
    site.ring.wait_row("Account", site.replayed, lambda row: row["Fax"] == "666")


def test_what_was_refused_is_shown_by_its_code_and_sent_again(site: Site) -> None:
    """After the rule is gone: retry, with a reason, and Salesforce has the value; the history says who and why."""
    page = site.open("refused")
    expect(page.locator("table").first).to_contain_text(REFUSED)
    page.get_by_role("link", name=re.compile("^salesforce-sink")).first.click()
    expect(page.get_by_role("heading", name="Dead letter")).to_be_visible()
    page.go_back()
    page.get_by_role("link", name=re.compile("^Retry Account")).click()
    assert inaccessible(page) == []
    page.get_by_label("Why").fill("the rule is gone")
    page.get_by_role("button", name="Send again").click()
    expect(page.get_by_role("heading", name="Sent again")).to_be_visible()
    site.ring.wait_row("Account", site.refused, lambda row: row["Fax"] == "666")
    page.goto(f"{site.url}/records/Account/{site.refused}")
    expect(page.locator(".timeline")).to_contain_text("local had the refused part of write")
    expect(page.locator(".timeline")).to_contain_text("because: the rule is gone")


def test_a_dead_letter_is_discarded(site: Site) -> None:
    """It is asked once, and then the list is empty."""
    page = site.open("refused")
    page.get_by_role("checkbox", name=re.compile("^Mark salesforce-sink")).first.check()
    page.get_by_role("button", name="Discard those that are marked").click()
    page.get_by_role("button", name="Discard").click()
    expect(page.get_by_role("status")).to_contain_text("1 dead letter discarded.")
    page.goto(f"{site.url}/refused")
    expect(page.locator("main")).to_contain_text("No dead letters.")


def test_a_conflict_is_decided_by_a_value_that_is_typed(site: Site) -> None:
    """Neither side is right: what the person types is agreed, and both sides get it."""
    page = site.open("conflicts")
    page.get_by_label("Record key").fill(site.typed)
    page.get_by_role("button", name="Filter").click()
    page.get_by_role("button", name="Decide those that are marked").click()
    page.get_by_label("This value:").check()
    page.get_by_label("The value (empty clears the field)").fill("Bergen <i>")
    page.get_by_label("Why").fill("both were wrong")
    page.get_by_role("button", name="Decide").click()
    expect(page.get_by_role("heading", name="Decided")).to_be_visible()
    site.ring.wait_row("Account", site.typed, lambda row: row["Site"] == "Bergen <i>")
    site.ring.wait_document("accounts", site.typed, lambda seen: seen["Site"] == "Bergen <i>")
    page.goto(f"{site.url}/records/Account/{site.typed}")
    expect(page.locator(".timeline")).to_contain_text("because: both were wrong")


def test_a_conflict_is_decided(site: Site) -> None:
    """Both values are shown, one is chosen, and both sides have it; then no conflict waits."""
    page = site.open("conflicts")
    shoot(page, "console-conflicts")
    page.get_by_role("button", name="Decide those that are marked").click()
    expect(page.locator(".lines")).to_contain_text("MongoDB: Oslo")
    page.get_by_label("MongoDB is right").check()
    page.get_by_label("Why").fill("the customer said so")
    page.get_by_role("button", name="Decide").click()
    expect(page.get_by_role("heading", name="Decided")).to_be_visible()
    site.ring.wait_row("Account", site.held, lambda row: row["Site"] == "Oslo")
    page.goto(f"{site.url}/conflicts")
    expect(page.locator("main")).to_contain_text("No conflict waits for a decision.")


def test_a_record_is_read_again(site: Site) -> None:
    """Its history then has a row of each side."""
    page = site.open(f"records/Account/{site.held}")
    page.get_by_role("link", name="Read again").click()
    page.get_by_role("button", name="Read again").click()
    expect(page.get_by_role("status")).to_contain_text("Salesforce, MongoDB: the source was asked.")


def test_deletes_that_wait_are_discarded_and_the_records_come_back(site: Site) -> None:
    """Nobody wanted to delete them: the page says which, and MongoDB has them again."""
    page = site.open("guard")
    shoot(page, "console-guard")
    page.get_by_role("link", name="Discard: keep the records").first.click()
    page.get_by_role("button", name="Keep the records").click()
    expect(page.get_by_role("heading", name="Decided")).to_be_visible()
    for key in site.deleted:
        site.ring.wait_document("accounts", key, lambda seen: "Name" in seen)
    until(lambda: not held_back(site.ring, site.url, site.deleted), "no delete waits any more", within_s=60)


def test_deletes_that_wait_are_approved_and_the_records_are_gone(site: Site) -> None:
    """Somebody wanted to delete them this time: the page asks once, and the org has them no more."""
    site.ring.db.accounts.delete_many({"_id": {"$in": site.deleted}})
    wanted = ", ".join(f"'{key}'" for key in site.deleted)
    query = f"SELECT Id FROM Account WHERE Id IN ({wanted})"

    def are_held_back() -> bool:
        """Those that came first may be within the limit."""
        held = held_back(site.ring, site.url, site.deleted)
        there = site.ring.sf.query(query)["records"]
        return bool(held) and {each["Id"] for each in there} <= {*held}

    until(are_held_back, "the deletes wait", within_s=60)
    page = site.open("guard")
    approve = page.get_by_role("link", name="Approve: delete them").first

    def are_shown() -> bool:
        """The sink tells that it pauses a moment after the deletes have reached it: a person loads the page again."""
        if not approve.is_visible():
            page.reload()
        return approve.is_visible()

    until(are_shown, "the deletes are shown", within_s=60)
    approve.click()
    expect(page.locator(".lines")).to_contain_text("This cannot be undone here.")
    page.get_by_role("button", name="Delete in Salesforce").click()
    expect(page.get_by_role("heading", name="Decided")).to_be_visible()
    assert site.ring.wait_query(query, 0) == []


def test_the_sides_are_compared(site: Site) -> None:
    """It asks once, shows its progress, and says in the end that both sides match."""
    page = site.open("verify")
    page.get_by_role("button", name="Compare").click()
    page.get_by_role("button", name="Compare").click()
    page.get_by_role("link", name="Back").click()
    expect(page.locator(".verdict")).to_contain_text("Equal", timeout=60_000)
    assert inaccessible(page) == []


def test_the_doctor_looks_at_everything(site: Site) -> None:
    """Each check with its outcome, and what to do."""
    page = site.open("doctor")
    page.get_by_role("button", name="Check now").click()
    expect(page.locator(".checks")).to_contain_text("Kafka", timeout=60_000)
    assert inaccessible(page) == []
