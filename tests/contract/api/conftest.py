"""What the API's contract tests share: a client of it, on a real mongod."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient
from pymongo import MongoClient

from salmon.api.records import idempotency, routes
from salmon.mongodb.config import MongoConfig
from salmon.mongodb.wire.client import Document, database_of
from support.at_hand.api_room import Serve, api_of, client_of


@pytest.fixture
def database(uri: str) -> Iterator[Any]:
    """A database of this test's own."""
    client: MongoClient[Document] = MongoClient(uri)
    name = f"api{uuid4().hex[:8]}"
    try:
        yield database_of(client, MongoConfig.model_validate({"uri": uri, "database": name}))
    finally:
        client.drop_database(name)
        client.close()


@pytest.fixture
def serve(database: Any) -> Serve:
    """Serves the API of some objects; without any name, of Car__c."""

    def serve(*names: str, **more: Any) -> TestClient:
        api = api_of(
            *(names or ("Car__c",)), database=database, rate_per_s=100_000, rate_burst=100_000, **more
        )
        idempotency.prepare(database, 3600)
        return client_of(api, routes.router)

    return serve


@pytest.fixture
def cars(database: Any) -> Any:
    """The documents of Car__c."""
    return database["car__c"]


@pytest.fixture
def client(serve: Serve) -> TestClient:
    return serve()
