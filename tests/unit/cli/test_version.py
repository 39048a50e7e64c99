"""`salmon --version`: which commit runs here?"""

from __future__ import annotations

from pathlib import Path

from salmon import __version__
from salmon.cli.version import version


def test_a_built_package_says_its_commit(tmp_path: Path) -> None:
    """As deploy/build_hook.py wrote it."""
    (tmp_path / "COMMIT").write_text("0123456789abcdef0123456789abcdef01234567\n")
    assert version(tmp_path) == f"salmon {__version__} (0123456789ab)"


def test_a_folder_that_is_neither_built_nor_a_clone_says_the_version_alone(tmp_path: Path) -> None:
    """An archive of the sources, say."""
    package = tmp_path / "connectors" / "salmon"
    package.mkdir(parents=True)
    assert version(package) == f"salmon {__version__}"
    (tmp_path / ".git").mkdir()
    assert version(package) == f"salmon {__version__}", "a folder .git that git cannot read"
