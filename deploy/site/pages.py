"""A hook of MkDocs: every Markdown page of the repository is a page of the site, and so are the files that pages link to."""

from __future__ import annotations

import posixpath
import re
import subprocess
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from mkdocs.structure.files import File, Files

ROOT: Final = Path(__file__).resolve().parents[2]
LEFT_OUT: Final = ("cases/", "tests/")
LINK: Final = re.compile(r"\]\(([^)\s#]+)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages where they are in the repository, and beside them what they link to."""
    known = subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=True)
    tracked = set(known.stdout.split("\n"))
    pages = sorted(name for name in tracked if name.endswith(".md") and not name.startswith(LEFT_OUT))
    linked = {target for page in pages for target in _links(page) if target in tracked}
    for name in sorted({*pages, *linked}):
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def _links(page: str) -> set[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    folder = posixpath.dirname(page)
    return {posixpath.normpath(posixpath.join(folder, unquote(link))) for link in LINK.findall(text)}
