"""Fixtures of tests with a real mongod; a plugin, so that mutants are tried with them too, where the topmost conftest is not read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from salmon.mongodb.reading.source import MongoSourceTask
from support.mongo import Log, Mongo, running_mongod


@pytest.fixture(scope="session")
def uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One mongod for all tests of this process."""
    with running_mongod(tmp_path_factory.mktemp("mongod")) as uri:
        yield uri


@pytest.fixture
def mongo(uri: str) -> Iterator[Mongo]:
    mongo = Mongo(uri)
    yield mongo
    mongo.close()


@pytest.fixture
def source(mongo: Mongo) -> Iterator[MongoSourceTask]:
    task = mongo.source()
    yield task
    task.stop()
    task.close()


@pytest.fixture
def streaming(source: MongoSourceTask) -> Log:
    """What is told of a source whose snapshots are done."""
    log = Log()
    log.begin(source)
    log.until_read(source)
    return log
