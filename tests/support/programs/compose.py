"""Reads deploy/compose.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

FILE: Final = Path(__file__).parents[3] / "deploy" / "compose.yaml"
SYNC: Final = FILE.parent / "compose" / "sync.yaml"
Service = dict[str, Any]


def services() -> dict[str, Service]:
    """Every service, with what it takes over from others."""
    found: dict[str, Service] = yaml.safe_load(FILE.read_text(encoding="utf-8"))["services"]
    return found


def of_salmon() -> dict[str, Service]:
    """Those of our image."""
    return {name: each for name, each in services().items() if each["image"].startswith("salmon:")}


def argv(service: Service) -> list[str]:
    """What its container runs, as an engine reads it: `$$` is a dollar."""
    words = [*service.get("entrypoint", ["salmon"]), *service["command"]]
    return [word.replace("$$", "$") for word in words]
