"""The configuration of a sync that a test does not reach anything of, as it would be in the file."""

from __future__ import annotations

from typing import Any


def sync_config(**keys: Any) -> dict[str, Any]:
    """All that must be said, about one object. *keys*: top-level keys that are to be otherwise, or are added."""
    return {
        "name": "crm",
        "kafka": {"bootstrap.servers": "localhost:9092"},
        "schema_registry": {"url": "http://localhost:8081"},
        "salesforce": {"auth": {"flow": "client_credentials", "client_id": "a", "client_secret": "b"}},
        "mongodb": {"uri": "mongodb://localhost", "database": "crm"},
        "objects": {"Account": {"collection": "accounts"}},
        **keys,
    }
