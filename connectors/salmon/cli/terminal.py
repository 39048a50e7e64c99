"""What the commands share: reading the configuration, logging, and printing."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
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
WHEN: Final = "2026-11-25T13:05 (UTC), or how long ago: 30m, 2h, 7d"
EXIT_COULD_NOT: Final = 1
_LINE_MAX: Final = 200


def configured(path: Path, *, without_values: bool = False) -> SyncConfig:
    """
    Read the configuration, and log only errors: standard error is for one sentence. *without_values*: see config.checking.checked().
    """
    from salmon.config import models as config
    from salmon.ops import logs

    quiet_logs()
    settings = config.load(path, without_values=without_values)
    quiet_logs(secrets=logs.secrets_of(settings))
    return settings


def quiet_logs(*, secrets: Collection[str] = ()) -> None:
    """Log only errors; with --debug, everything. *secrets* never appear in a line."""
    from salmon.ops import logs

    level = "debug" if os.environ.get("SALMON_DEBUG") else "error"
    logs.configure(log_format="console", level=level, secrets=secrets)


def moment(text: str | None, option: str) -> int | None:
    """
    Return the time that *option* names, in ms since 1970; None if it was not given.

    Raises:
        ConfigError: it is not a time.
    """
    from salmon.errors import ConfigError
    from salmon.story.formatting import moment_ms

    if text is None:
        return None
    try:
        return moment_ms(text, int(time.time() * 1000))
    except (ValueError, OverflowError):
        raise ConfigError(f"{option}: {text!r} is not a valid time. Give {WHEN}.") from None


def past(text: str | None, option: str = "--since") -> int | None:
    """
    As moment(), of an option that selects what has happened since then.

    Raises:
        ConfigError: it is not a time, or not one in the past.
    """
    from salmon.errors import ConfigError

    at_ms = moment(text, option)
    if at_ms is not None and at_ms >= int(time.time() * 1000):
        raise ConfigError(f"{option}: {text!r} is not in the past, so nothing can match. Give {WHEN}.")
    return at_ms


def not_empty(**options: str | None) -> None:
    """
    Refuse options that were given without a text: a script's variable may not have been set.

    Raises:
        ConfigError: an option is empty.
    """
    from salmon.errors import ConfigError

    for name, text in options.items():
        if text is not None and not text.strip():
            raise ConfigError(f"--{name}: it is empty. Give a value, or leave the option out.")


@contextmanager
def or_could_not() -> Iterator[None]:
    """Where a server does not answer: say so, and end with EXIT_COULD_NOT. The same command can be given again later."""
    from salmon.errors import RetriableError

    try:
        yield
    except RetriableError as error:
        complain(f"salmon: {error}")
        raise typer.Exit(EXIT_COULD_NOT) from None


def typed() -> str:
    """Return what to type for this program in a command that is shown: `salmon`, or how it was started if `salmon` is not found."""
    if shutil.which("salmon"):
        return "salmon"
    started = Path(sys.argv[0])
    return shlex.join([sys.executable, "-m", "salmon"] if started.name == "__main__.py" else [str(started)])


# All output of commands goes through these. Text from outside is escaped, so it cannot control the terminal (salmon.harmless).


def say(*lines: str) -> None:
    """Print lines on standard output. A line break within a line is escaped."""
    print("\n".join(map(harmless, lines)))


def complain(text: str) -> None:
    """Print what went wrong, on standard error."""
    print(harmless_sentences(text), file=sys.stderr)


def out() -> Console:
    """Return standard output: colours and boxes on a terminal, plain text elsewhere."""
    # Without a terminal there is no width, so lines are not wrapped.
    return console(width=None if sys.stdout.isatty() else _LINE_MAX)


def err() -> Console:
    """Return standard error, for progress."""
    return console(stderr=True)


def console(**settings: Any) -> Console:
    """Return a console that escapes its texts. Text with markup must be made with escape(harmless(...))."""
    from rich.console import Console

    class HarmlessConsole(Console):
        def print(self, *objects: Any, **how: Any) -> None:
            super().print(*(harmless(each) if isinstance(each, str) else each for each in objects), **how)

    return HarmlessConsole(highlight=False, emoji=False, **settings)


def table(**settings: Any) -> Table:
    """Return a table that shows the texts of its cells as they are, escaped: `[red]` in a value is no colour. A coloured cell is a rich Text."""
    from rich.table import Table
    from rich.text import Text

    class HarmlessTable(Table):
        def add_row(self, *cells: Any, **how: Any) -> None:
            super().add_row(
                *(Text(harmless(each)) if isinstance(each, str) else each for each in cells), **how
            )

    return HarmlessTable(**settings)


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object on standard output, in one line."""
    print(harmless_json(json.dumps(value, ensure_ascii=False)))
