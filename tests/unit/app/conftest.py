"""The configuration of a process that reaches no server."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def sync_yaml(tmp_path: Path) -> Path:
    path = tmp_path / "sync.yaml"
    path.write_text(
        """
name: crm
kafka: {bootstrap.servers: localhost:9092}
schema_registry: {url: http://localhost:8081}
salesforce:
  login_url: https://login.salesforce.com
  auth: {flow: client_credentials, client_id: app, client_secret: secret}
mongodb: {uri: mongodb://localhost, database: crm}
objects: {Account: {collection: accounts}}
"""
    )
    return path
