"""A release: the wheel and the sdist, built offline with what is installed here."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path
from typing import Final

import pytest

from salmon import __version__

ROOT: Final = Path(__file__).parents[2]
COMMIT: Final = "0123456789abcdef0123456789abcdef01234567"
WHEEL: Final = f"salmon_connect-{__version__}-py3-none-any.whl"
SDIST: Final = f"salmon_connect-{__version__}.tar.gz"
OF_A_BUILD: Final = (
    "pyproject.toml",
    "constraints.txt",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    ".gitignore",
)


def build(
    sources: Path, into: Path, *options: str, commit: str = COMMIT, compiled: bool = False
) -> dict[str, str]:
    """File -> its digest, of what hatchling builds of *sources*. *compiled*: for this kind of machine alone."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(into), *options],
        cwd=sources,
        env={**os.environ, "SALMON_COMMIT": commit, "SALMON_COMPILE": "yes" if compiled else "no"},
        capture_output=True,
        check=True,
    )
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in into.iterdir()}


def cloned(clone: Path) -> Path:
    """Copy what a build needs, and nothing that was compiled here."""
    for name in ("connectors", "schemas-avro"):
        shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    (clone / "deploy").mkdir()
    for name in (*OF_A_BUILD, "deploy/build_hook.py"):
        shutil.copyfile(ROOT / name, clone / name)
    return clone


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release") / "dist"
    build(ROOT, folder)
    return folder


def test_a_release_is_built_the_same_again_elsewhere(dist: Path, tmp_path: Path) -> None:
    """In another folder, at another time, with new files: whoever has the commit can check what was published."""
    clone = cloned(tmp_path / "clone")
    os.utime(clone / "README.md", (0, 1_000_000_000))
    here = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in dist.iterdir()}
    assert build(clone, tmp_path / "again") == here
    assert set(here) == {WHEEL, SDIST}


def test_the_wheel_of_the_sdist_is_the_wheel(dist: Path, tmp_path: Path) -> None:
    """Those who build from the sdist get the same package, and the commit with it."""
    with tarfile.open(dist / SDIST) as archive:
        archive.extractall(tmp_path, filter="data")
    sources = tmp_path / SDIST.removesuffix(".tar.gz")
    made = build(sources, tmp_path / "again", "-t", "wheel", commit="")
    assert made == {WHEEL: hashlib.sha256((dist / WHEEL).read_bytes()).hexdigest()}


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler, so the codec is not compiled")
def test_a_wheel_with_the_compiled_codec_is_for_this_kind_of_machine(tmp_path: Path) -> None:
    """And the same again elsewhere: nothing in it tells the folder or the day."""
    once = build(cloned(tmp_path / "here"), tmp_path / "once", "-t", "wheel", compiled=True)
    again = build(cloned(tmp_path / "elsewhere"), tmp_path / "again", "-t", "wheel", compiled=True)
    assert once == again
    [wheel] = once
    assert wheel != WHEEL
    assert sysconfig.get_platform().replace("-", "_").replace(".", "_") in wheel or "manylinux" in wheel
    with zipfile.ZipFile(tmp_path / "once" / wheel) as archive:
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        assert f"salmon/kafka/codecs/compiled{suffix}" in archive.namelist()


def test_the_package_index_takes_what_is_built(dist: Path) -> None:
    """Metadata and description, as strictly as they can be checked beforehand."""
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, dist.iterdir())]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_wheel_has_the_commit_the_schemas_and_nothing_of_the_tests(dist: Path) -> None:
    """What is installed is the package alone."""
    with zipfile.ZipFile(dist / WHEEL) as wheel:
        names = wheel.namelist()
        assert wheel.read("salmon/COMMIT").decode() == f"{COMMIT}\n"
    assert "salmon/schemas_avro/fixed/change.avsc" in names
    assert {name.split("/")[0] for name in names} == {"salmon", f"salmon_connect-{__version__}.dist-info"}


def test_the_version_is_the_same_everywhere_and_the_changelog_has_a_place_for_it() -> None:
    """pyproject.toml, the package, the chart, and the head of the changelog."""
    assert f'version = "{__version__}"' in (ROOT / "pyproject.toml").read_text()
    chart = (ROOT / "deploy/helm/salmon/Chart.yaml").read_text()
    assert f"\nversion: {__version__}\nappVersion: {__version__}\n" in chart
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert "\n## Unreleased\n" in changelog or f"\n## {__version__}" in changelog
