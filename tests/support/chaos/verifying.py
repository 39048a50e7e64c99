"""
The product's own verdict, as an operator asks for it: `salmon verify`. The judge compares his with it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from support.chaos.journal import Place
from support.chaos.stage import Stage

_VERIFY_MAX_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Verified:
    """
    What it says.

    Args:
        says: "equal", "different", or why there is no verdict.
        differs: The records that it calls different, or missing somewhere; None without a verdict.
    """

    says: str
    differs: frozenset[Place] | None = None


def salmon_verify(stage: Stage, *options: str) -> Verified:
    """Run the command, and keep what it said in the logs."""
    command = [sys.executable, "-m", "salmon", "verify", "-c", str(stage.config), "--json", *options]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=_VERIFY_MAX_S, check=False)
    except subprocess.TimeoutExpired:
        return Verified(f"no verdict within {_VERIFY_MAX_S:.0f} s")
    log = stage.folder / "logs" / f"verify{''.join(options).replace('--', '-')}.log"
    log.write_text(ended.stdout + ended.stderr, encoding="utf-8")
    try:
        told = json.loads(ended.stdout)
    except ValueError:
        *_, why = ["it said nothing", *ended.stderr.splitlines()]
        return Verified(f"no verdict: exit code {ended.returncode} ({why})")
    return Verified("equal" if told["equal"] else "different", _differing(told["objects"]))


def _differing(objects: Mapping[str, Any]) -> frozenset[Place]:
    return frozenset(
        (name, key)
        for name, verdict in objects.items()
        for key in (
            *(one["key"] for one in verdict["different"]),
            *(key for keys in verdict["missing_in"].values() for key in keys),
        )
    )
