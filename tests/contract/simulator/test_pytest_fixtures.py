"""The fixtures that this package brings to pytest: the README's example runs as it stands there, in a project of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import salmon

README = Path(salmon.__file__).parent / "simulator" / "README.md"
# Beside the example's own files; in the order of their names.
MORE = {
    "test_a_light": """
import sys

def test_light():
    assert "salmon.simulator.pytest_plugin" in sys.modules
    assert not {"grpc", "uvicorn", "starlette", "salmon.simulator.server"} & set(sys.modules)
""",
    "test_shared": """
def test_writes(salmon_shared_org):
    org = salmon_shared_org.org
    with org.transaction(org.person) as unit:
        unit.insert("Account", {"Name": "A"})

def test_reads(salmon_shared_org):
    assert salmon_shared_org.control("GET", "/state")["objects"]["Account"]["records"] == 21
""",
    "test_wrong": """
import pytest

@pytest.fixture(scope="session")
def salmon_org_options():
    return {"record": {"Account": 1}}

def test_wrong(salmon_org):
    pass
""",
}


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest prints of a project with the README's files and a few more: all in one run, since each start takes seconds."""
    folder = tmp_path_factory.mktemp("project")
    blocks = dict(re.findall(r"```python\n# (\w+)\.py\n(.*?)```", README.read_text("utf-8"), re.DOTALL))
    assert set(blocks) == {"conftest", "test_my_code"}
    for name, text in {**blocks, **MORE}.items():
        (folder / f"{name}.py").write_text(text)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "SALMON"))
    }
    command = [sys.executable, "-m", "pytest", "-v", "--rootdir", str(folder), str(folder)]
    for plugin in ("cacheprovider", "hypothesispytest", "xdist", "timeout"):
        command += ["-p", f"no:{plugin}"]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    return done.stdout + done.stderr


def test_the_example_of_the_readme_passes_as_it_stands(printed: str) -> None:
    """Its conftest.py and its tests, each with an org of its own."""
    assert len(re.findall(r"test_my_code\.py::\w+ PASSED", printed)) == 4, printed


def test_a_shared_org_is_one_for_the_session(printed: str) -> None:
    """What one test wrote, the next one sees, and an org of a test's own does not."""
    assert len(re.findall(r"test_shared\.py::\w+ PASSED", printed)) == 2, printed


def test_a_wrong_option_is_named(printed: str) -> None:
    """In one line, with those that there are."""
    assert "salmon_org_options: unknown record; there are describe_folder, objects, records" in printed


def test_pytest_starts_without_the_org(printed: str) -> None:
    """A project that does not use the fixtures does not pay for them: gRPC and the servers are not imported."""
    assert "test_a_light.py::test_light PASSED" in printed
