"""A simulated org for the tests of one file. A file that needs another one defines *simulator* itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from salmon.simulator.server import Simulator
from support.boxes import Box


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """Without records."""
    with Simulator.start(tmp_path_factory.mktemp("box")) as running:
        yield running


@pytest.fixture
def box(simulator: Simulator) -> Box:
    return Box(simulator)
