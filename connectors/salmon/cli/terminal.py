"""What the commands share: reading the configuration, logging, and printing."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from salmon.harmless import harmless, harmless_json, harmless_sentences

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from salmon.config.models import SyncConfig

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", help="The sync's YAML file.", envvar="SALMON_CONFIG")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]
CONFIG_DEFAULT: Final = Path("sync.yaml")
_LINE_MAX: Final = 200


def configured(path: Path) -> SyncConfig:
    """Read the configuration, and keep the log to what is wrong: standard error is for one sentence."""
    from salmon.config import models as config
    from salmon.ops import logs

    quiet_logs()
    settings = config.load(path)
    quiet_logs(secrets=logs.secrets_of(settings))
    return settings


def quiet_logs(*, secrets: Collection[str] = ()) -> None:
    """Logs of errors only; with --debug, of everything. *secrets* never leave in a line."""
    from salmon.ops import logs

    level = "debug" if os.environ.get("SALMON_DEBUG") else "error"
    logs.configure(log_format="console", level=level, secrets=secrets)


def typed() -> str:
    """What to type for this program, so that a command that is shown can be copied: its path where `salmon` is not found."""
    return "salmon" if shutil.which("salmon") else sys.argv[0]


# All that a command shows goes through one of these: what came from elsewhere is shown, and never sent (salmon.harmless).


def say(*lines: str) -> None:
    """Lines on standard output; a line end within one is no line end."""
    print("\n".join(map(harmless, lines)))


def complain(text: str) -> None:
    """What went wrong, on standard error."""
    print(harmless_sentences(text), file=sys.stderr)


def out() -> Console:
    """Standard output: colours and boxes on a terminal, plain text elsewhere."""
    # Without a terminal nobody has a width: lines are as long as they are.
    return console(width=None if sys.stdout.isatty() else _LINE_MAX)


def err() -> Console:
    """Standard error, for progress."""
    return console(stderr=True)


def console(**settings: Any) -> Console:
    """A console that escapes the texts it is given. What has markup of its own is made of escape(harmless(...))."""
    from rich.console import Console

    class HarmlessConsole(Console):
        def print(self, *objects: Any, **how: Any) -> None:
            super().print(*(harmless(each) if isinstance(each, str) else each for each in objects), **how)

    return HarmlessConsole(highlight=False, **settings)


def table(**settings: Any) -> Table:
    """A table that escapes the texts of its cells; markup in them counts."""
    from rich.table import Table

    class HarmlessTable(Table):
        def add_row(self, *cells: Any, **how: Any) -> None:
            super().add_row(*(harmless(each) if isinstance(each, str) else each for each in cells), **how)

    return HarmlessTable(**settings)


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object on standard output, in one line."""
    print(harmless_json(json.dumps(value, ensure_ascii=False)))
