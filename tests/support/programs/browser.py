"""A real browser for tests: Chromium of the system, driven by Playwright. Where it is missing, the tests that need it are skipped."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

AXE: Final = Path(__file__).parents[2] / "data" / "axe-core" / "axe.min.js"
_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
# WCAG 2.2 at the levels A and AA.
_RULES: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start it; skip the test if it is not installed."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.skip("Chromium is not installed: tests/tools/chromium.sh installs it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        )
        try:
            yield browser
        finally:
            browser.close()


def inaccessible(page: Page, *, only: str | None = None) -> list[str]:
    """What axe-core finds at fault on the page, by WCAG at level AA. *only*: one of its rules."""
    # Not by a script element: the page's own policy must not have to allow it.
    page.evaluate(AXE.read_text(encoding="utf-8"))
    wanted = {"type": "tag", "values": _RULES} if only is None else {"type": "rule", "values": [only]}
    found: Any = page.evaluate(
        "(runOnly) => axe.run(document, {runOnly, resultTypes: ['violations']}).then(r => r.violations)",
        wanted,
    )
    return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found]
