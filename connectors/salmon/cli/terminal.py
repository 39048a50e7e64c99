"""What the one-shot commands share: the configuration and logging of a command that a person or a script types."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from salmon.runtime.config import SyncConfig

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", help="The sync's YAML file.", envvar="SALMON_CONFIG")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]
CONFIG_DEFAULT: Final = Path("sync.yaml")
_LINE_MAX: Final = 200


def configured(path: Path) -> SyncConfig:
    """Read the configuration, and keep the log to what is wrong: standard error is for one sentence."""
    from salmon.runtime import config, logs

    quiet_logs()
    settings = config.load(path)
    quiet_logs(secrets=logs.secrets_of(settings))
    return settings


def quiet_logs(*, secrets: Collection[str] = ()) -> None:
    """Logs of errors only; with --debug, of everything. *secrets* never leave in a line."""
    from salmon.runtime import logs

    level = "debug" if os.environ.get("SALMON_DEBUG") else "error"
    logs.configure(log_format="console", level=level, secrets=secrets)


def typed() -> str:
    """What to type for this program, so that a command that is shown can be copied: its path where `salmon` is not found."""
    return "salmon" if shutil.which("salmon") else sys.argv[0]


def out() -> Console:
    """Standard output: colours and boxes on a terminal, plain text elsewhere."""
    from rich.console import Console

    # Without a terminal nobody has a width: lines are as long as they are.
    return Console(width=None if sys.stdout.isatty() else _LINE_MAX, highlight=False)


def err() -> Console:
    """Standard error, for progress."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object on standard output, in one line."""
    print(json.dumps(value, ensure_ascii=False))
