"""The broker that the workers' contract is held against."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from support.kafka import embedded_broker
from support.runtime import Sync


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with embedded_broker(tmp_path_factory.mktemp("broker")) as kafka:
        yield kafka


@pytest.fixture
def sync(kafka: dict[str, Any]) -> Sync:
    return Sync(kafka)
