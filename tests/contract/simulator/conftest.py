"""A simulated org for the tests of one file. A file that needs another one defines *simulator* itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from salmon.simulator.server import Simulator
from support.orgs.boxes import Box
from support.orgs.pubsub import Client, Wire


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """Without records."""
    with Simulator.start(tmp_path_factory.mktemp("box")) as running:
        yield running


@pytest.fixture
def box(simulator: Simulator) -> Box:
    return Box(simulator)


@pytest.fixture
def client(box: Box, wire: Wire) -> Iterator[Client]:
    """A client of the Pub/Sub API with the box's session."""
    told = box.simulator.endpoints
    one = Client(wire, told.pubsub_endpoint, Path(told.ca_file), token=box.token, tenant=box.org.org_id)
    yield one
    one.close()
