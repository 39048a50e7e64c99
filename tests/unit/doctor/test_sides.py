"""The doctor at further sides: the example as it is installed, and packages that lack something."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

from salmon.config.models import SyncConfig
from salmon.doctor.checks import Line, Outcome, examine
from salmon.doctor.doctor import checks_of
from salmon.doctor.sides import SideChecks
from salmon.runtime import discovery
from support.plugins import install, install_example
from support.sync_config import sync_config

MODULE = textwrap.dedent("""
    from salmon.plugin import NoSettings, SidePlugin

    SIDE = SidePlugin(settings=NoSettings)

    class Source:
        def __init__(self, settings, objects, sync_name): ...
        def stop(self): ...

    class Broken(Source):
        def connect(self):
            raise OSError("a password")
""")


@pytest.fixture
def half(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two packages without a sink."""
    (tmp_path / "half_side.py").write_text(MODULE)
    install(monkeypatch, tmp_path, discovery.SIDES, half="half_side:SIDE", broken="half_side:SIDE")
    install(monkeypatch, tmp_path, discovery.SOURCES, half="half_side:Source", broken="half_side:Broken")


@pytest.fixture
def jsonl(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The example, as pip leaves it."""
    (tmp_path / "plugins").mkdir()
    install_example(monkeypatch, tmp_path / "plugins", "jsonl-side")


def looked_at(side: str, settings: dict[str, Any], **account: Any) -> dict[str, Line]:
    config = SyncConfig.model_validate(
        sync_config(sides={side: settings}, objects={"Account": {"collection": "accounts", **account}})
    )
    return {line.name: line for line in examine(SideChecks(config, side).checks())}


@pytest.mark.usefixtures("jsonl")
def test_a_side_that_is_reached_is_ok(tmp_path: Path) -> None:
    """With what may be expected of it; nothing is written there."""
    (tmp_path / "files").mkdir()
    lines = looked_at("jsonl", {"folder": str(tmp_path / "files")})
    assert {line.outcome for line in lines.values()} == {Outcome.OK}
    assert lines["sides.jsonl.objects"].says == "It has Account."
    assert lines["sides.jsonl.source"].says == (
        "It is installed, and reaches its system. `salmon verify` can compare its records."
    )
    assert "It never overwrites with an older write." in lines["sides.jsonl.sink"].says
    assert list((tmp_path / "files").iterdir()) == []


@pytest.mark.usefixtures("jsonl")
def test_a_side_that_is_not_reached_fails_with_the_plugins_own_mend(tmp_path: Path) -> None:
    """In two parts: what was found, and what to do."""
    line = looked_at("jsonl", {"folder": str(tmp_path / "missing")})["sides.jsonl.source"]
    assert line.outcome is Outcome.FAIL
    assert line.says.endswith("is not a folder that we may write to.")
    assert line.mend == "Make it."


@pytest.mark.usefixtures("jsonl")
def test_a_side_that_no_object_has_is_a_warning(tmp_path: Path) -> None:
    """Its two processes would do nothing."""
    line = looked_at("jsonl", {"folder": str(tmp_path)}, sides=[])["sides.jsonl.objects"]
    assert line.outcome is Outcome.WARN
    assert "Add jsonl to `sides` of an object" in line.mend


@pytest.mark.usefixtures("half")
def test_a_package_that_lacks_a_task_is_named() -> None:
    """And a task that cannot be asked before it runs is no fault."""
    lines = looked_at("half", {})
    assert lines["sides.half.sink"].outcome is Outcome.FAIL
    assert "No installed package offers 'half' (entry point group salmon.sinks" in str(
        lines["sides.half.sink"]
    )
    assert lines["sides.half.source"].outcome is Outcome.OK
    assert "cannot say before it runs" in lines["sides.half.source"].says
    assert "`salmon verify` cannot compare its records" in lines["sides.half.source"].says


@pytest.mark.usefixtures("half")
def test_a_fault_in_a_package_does_not_hide_the_others() -> None:
    """Its words may quote anything, so they are not shown."""
    line = looked_at("broken", {})["sides.broken.source"]
    assert line.outcome is Outcome.FAIL
    assert "OSError" in line.says
    assert "password" not in line.says


@pytest.mark.usefixtures("jsonl")
def test_the_doctor_looks_at_every_further_side(tmp_path: Path) -> None:
    """Beside the org, Kafka, the registry and MongoDB."""
    config = SyncConfig.model_validate(sync_config(sides={"jsonl": {"folder": str(tmp_path)}}))
    with checks_of(config) as checks:
        names = [check.name for check in checks]
    assert names[-3:] == ["sides.jsonl.objects", "sides.jsonl.source", "sides.jsonl.sink"]
