"""The documentation as a site."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]


def test_the_site_is_built_from_the_pages_where_they_are(tmp_path: Path) -> None:
    """Strictly: a link that leads nowhere ends it. No page asks another server for a font or a script."""
    if find_spec("mkdocs") is None:
        pytest.skip("MkDocs is missing, so the site is not built: `make site` installs it")
    built = subprocess.run(
        [
            sys.executable,
            "-m",
            "mkdocs",
            "build",
            "-f",
            str(ROOT / "deploy/site/mkdocs.yml"),
            "-d",
            str(tmp_path),
        ],
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    for page in ("index.html", "deploy/index.html", "deploy/helm/salmon/index.html", "CHANGELOG.html"):
        text = (tmp_path / page).read_text(encoding="utf-8")
        assert "<title>" in text, page
        assert (
            re.findall(r'<(?:script|link)[^>]+(?:src|href)="https?://[^"]+\.(?:js|css|woff2?)"', text) == []
        )
