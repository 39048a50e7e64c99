"""The control API describes itself, from the table that it is made of."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from salmon.simulator import control
from salmon.simulator.__main__ import main
from salmon.simulator.control_faults import FAULTS
from salmon.simulator.server import Simulator
from support.orgs.boxes import Box


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    with Simulator.start(tmp_path_factory.mktemp("box"), objects=["Account"]) as running:
        yield Box(running)


def test_the_root_lists_every_resource_and_every_fault(box: Box) -> None:
    """No fault is missing, and none is listed that the org does not know."""
    listed = box.control("GET", "/").json()
    assert {(each["method"], each["path"]) for each in listed["resources"]} >= {
        ("GET", "/state"), ("GET", "/settings"), ("POST", "/rules"), ("POST", "/allowances"), ("POST", "/instance"),
        ("POST", "/refresh_tokens"), ("POST", "/triggers"), ("POST", "/faults"), ("DELETE", "/faults"),
    }  # fmt: skip
    assert {each["fault"] for each in listed["faults"]} == box.simulator.org.faults.known


@pytest.mark.parametrize(
    "resource", control.RESOURCES, ids=lambda each: f"{each.method} {each.path.strip('/')}"
)
def test_every_example_works_as_it_stands(box: Box, resource: control.Resource) -> None:
    """What the list shows as a body is accepted."""
    body = json.loads(resource.body) if resource.body else None
    box.control("POST", "/events", {"event": "Order_Event__e", "fields": {"Number__c": "Text"}})
    assert box.control(resource.method, resource.path.format(event="Order_Event__e"), body).ok


def test_the_help_shows_the_control_api(capsys: pytest.CaptureFixture[str]) -> None:
    """All resources and faults are in `salmon simulator --help`."""
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert all(f"  {each.method} {each.path}" in shown for each in control.RESOURCES)
    assert all(f"\n  {name}" in shown for name in FAULTS)
