"""Helm, as a command. `make tools` fetches it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

DEPLOY: Final = Path(__file__).parents[3] / "deploy"
CHART: Final = DEPLOY / "helm" / "salmon"
VALUES: Final = DEPLOY / "helm" / "values"

Manifest = dict[str, Any]


def helm(*words: str, values: Mapping[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    """Run it. *values*: more of them, which count most. The test is skipped where there is no Helm."""
    found = Path(sys.executable).parent / "helm"
    program = str(found) if found.exists() else shutil.which("helm")
    if program is None:
        pytest.skip("helm is missing, so the chart is not tested: `make tools` fetches it")
    given = [] if values is None else ["-f", "-"]
    text = None if values is None else yaml.safe_dump(values)
    return subprocess.run(
        [program, *words, *given], input=text, capture_output=True, text=True, check=False, timeout=60
    )


def rendered(file: str = "plain", values: Mapping[str, Any] | None = None) -> list[Manifest]:
    """What the chart makes of a value file, and of more values."""
    if values is None:
        return _rendered(file)
    return _render(file, values)


@cache
def _rendered(file: str) -> list[Manifest]:
    return _render(file, {})


def _render(file: str, values: Mapping[str, Any]) -> list[Manifest]:
    made = helm(
        "template", "crm", str(CHART), "-n", "sync", "-f", str(VALUES / f"{file}.yaml"), values=values
    )
    assert made.returncode == 0, made.stderr
    return [each for each in yaml.safe_load_all(made.stdout) if each is not None]


def of_kind(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    """Name -> manifest."""
    return {each["metadata"]["name"]: each for each in manifests if each["kind"] == kind}


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """The spec of every pod, by the component that it is of."""
    for each in manifests:
        if each["kind"] in {"StatefulSet", "Deployment", "Job"}:
            yield (
                each["metadata"]["labels"]["app.kubernetes.io/component"],
                each["spec"]["template"]["spec"],
            )
