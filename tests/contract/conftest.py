"""What the contract tests share: a client generated from the public proto, certificates, an org with events, a mongod."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from salmon.simulator.tls import Certificates, make_certificates
from support.broker_fixtures import broker, sync  # noqa: F401 (fixtures)
from support.mongo_fixtures import mongo, source, streaming, uri  # noqa: F401 (fixtures)
from support.orgs.event_box import Box
from support.orgs.pubsub import Wire, generate_client


@pytest.fixture(scope="session")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Wire:
    return generate_client(tmp_path_factory.mktemp("proto"))


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def event_box(wire: Wire, certificates: Certificates) -> Iterator[Box]:
    box = Box(wire, certificates)
    yield box
    box.stop()
