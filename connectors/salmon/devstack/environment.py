"""The addresses of a stack as environment variables, for a configuration that names them as `${env:...}`. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any


def variables(answer: Mapping[str, Any]) -> dict[str, str]:
    """
    Each variable and its value.

    Args:
        answer: What DevStack.up() returned.
    """
    # Not MONGODB_URI: that is how a MongoDB that runs already is given to the next stack.
    return {
        "KAFKA_BOOTSTRAP_SERVERS": answer["kafka"]["bootstrap_servers"],
        "SCHEMA_REGISTRY_URL": answer["schema_registry"]["url"],
        "MONGODB_CONNECTION_URI": answer["mongodb"]["uri"],
        "MONGODB_DATABASE": answer["mongodb"]["database"],
        **{f"SALESFORCE_{name.upper()}": value for name, value in answer["salesforce"].items()},
    }


def exports(answer: Mapping[str, Any]) -> list[str]:
    """The lines of a shell that set them: `eval "$(salmon dev up --env)"`."""
    return [f"export {name}={shlex.quote(value)}" for name, value in variables(answer).items()]
