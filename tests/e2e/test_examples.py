"""The examples of deploy/examples: every command of their pages, typed as it stands there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from salmon.devstack import jvm
from salmon.devstack.stack import DevStack
from salmon.ports import free_ports
from support.programs.pages import type_in
from support.proof.evidence import ROOT

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("examples")]

EXAMPLES: Final = ROOT / "deploy" / "examples"
WITHIN_S: Final = 500  # on a busy machine; a minute otherwise


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the commands are typed. Whatever became of them, no server is left."""
    monkeypatch.delenv("SALMON_CONFIG", raising=False)
    yield tmp_path
    if (tmp_path / "play" / "servers").exists():
        DevStack(tmp_path / "play" / "servers").down()


def test_the_crm_of_an_enterprise(folder: Path) -> None:
    """Hierarchies, owners, regions, a conflict, a deletion, a refusal and a filter do what the page says."""
    type_in(EXAMPLES / "enterprise" / "README.md", folder, {"SALMON_REST_PORT": "0"}, within_s=WITHIN_S)
    assert not (folder / "play").exists()


def test_the_back_end_of_a_mobile_app(folder: Path) -> None:
    """What Salesforce says reaches the phone: a refusal with its code and field, a repeated request, a lost race, a change."""
    if shutil.which("curl") is None:
        pytest.skip("the page types curl, which is not installed")
    api, backend = free_ports(2)
    ports = {"SALMON_REST_PORT": "0", "API_PORT": str(api), "BACKEND_PORT": str(backend)}
    type_in(EXAMPLES / "mobile-backend" / "README.md", folder, ports, within_s=WITHIN_S)


@pytest.mark.jvm
@pytest.mark.timeout(1000)
def test_analytics_elsewhere(folder: Path) -> None:
    """Kafka Connect writes what was agreed to files, and DuckDB joins them: what was created counts, what was deleted does not."""
    if lacks := jvm.missing() or (None if shutil.which("javac") else "javac is not installed"):
        pytest.skip(f"Kafka Connect cannot run: {lacks}")
    ports = {"SALMON_REST_PORT": "0", "CONNECT_PORT": str(free_ports(1)[0])}
    quick = {"JAVA_TOOL_OPTIONS": " ".join(jvm.QUICK_START)}
    type_in(EXAMPLES / "analytics" / "README.md", folder, ports | quick, within_s=900)
