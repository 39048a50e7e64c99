"""The `salesforce` block of a sync's configuration that signs in to a simulated org. What its keys mean is in salmon.config.models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def salesforce_block(endpoints: Mapping[str, str]) -> dict[str, Any]:
    """What stands under `salesforce`. *endpoints*: of the org, as `salmon simulator --json` prints them."""
    # Paths of a file are relative to the sync's folder, and those of the endpoints to ours.
    key, ca_file = (str(Path(endpoints[name]).resolve()) for name in ("private_key", "ca_file"))
    return {
        "login_url": endpoints["login_url"],
        "auth": {
            "flow": "jwt_bearer",
            "client_id": endpoints["client_id"],
            "username": endpoints["username"],
            "private_key": f"${{file:{key}}}",
        },
        "pubsub": {"endpoint": endpoints["pubsub_endpoint"]},
        "ca_file": ca_file,
    }
