"""A MongoDB that hangs: a real mongod that is suspended, seen through a process's own /health."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from salmon.calls import Calls
from salmon.devstack.mongod import EmbeddedMongod
from salmon.errors import SetupError
from salmon.mongodb.reading.source import MongoSourceTask
from salmon.ops.health import Health
from support.at_hand.connect_rest import Worker
from support.mongo import OBJECTS, SCHEMAS, Log, Mongo
from support.waiting import until


@pytest.fixture
def mongod(tmp_path: Path) -> Iterator[EmbeddedMongod]:
    """One of our own, since it is suspended."""
    server = EmbeddedMongod(tmp_path / "data", tmp_path / "mongod.log")
    try:
        server.start()
    except SetupError as missing:
        pytest.skip(str(missing))
    yield server
    server.stop()


@pytest.fixture
def health() -> Health:
    """Of a process whose patience is a second, not half a minute."""
    return Health(calls=Calls(patience_s=1.0))


@pytest.fixture
def said(health: Health) -> Iterator[Any]:
    """Asks a path of the process's REST server."""
    server = Worker("mongodb-source", health=health).server
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield lambda path: requests.get(f"{server.url}{path}", timeout=5)
    server.stop()
    thread.join(5)


def test_a_mongod_that_is_suspended_shows_in_health_and_nobody_is_killed_for_it(
    mongod: EmbeddedMongod, health: Health, said: Any
) -> None:
    """Nothing fails and nothing is tried again: a call has no answer, and that is told (case S5)."""
    mongo = Mongo(mongod.uri)
    source, log = MongoSourceTask(mongo.config, OBJECTS, "test"), Log()
    source.watch(health.calls)
    source.use(SCHEMAS)
    try:
        log.begin(source)
        log.until_read(source)
        health.running()
        assert said("/health/ready").status_code == 200

        os.kill(mongod.processes[0].pid, signal.SIGSTOP)
        until(lambda: said("/health").json()["degraded"], "the silence is seen", within_s=15)
        [waiting] = said("/health").json()["waiting_for"]
        assert waiting["what"] == "mongodb"
        assert "MongoDB has not answered for" in waiting["sentence"]
        assert (said("/health/ready").status_code, said("/health/live").status_code) == (503, 200)

        os.kill(mongod.processes[0].pid, signal.SIGCONT)
        until(lambda: said("/health/ready").status_code == 200, "it answers again", within_s=15)
        assert said("/health").json()["waiting_for"] == []
    finally:
        os.kill(mongod.processes[0].pid, signal.SIGCONT)
        source.close()
        mongo.client.close()
