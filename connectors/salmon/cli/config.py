"""`salmon config`: is the file right, what does it mean, and what may it contain? It asks no server. The work is in salmon.config."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from salmon.cli.terminal import (
    CONFIG_DEFAULT,
    ConfigOption,
    JsonOption,
    complain,
    out,
    print_json,
    quiet_logs,
    say,
    table,
)
from salmon.errors import ConfigError

if TYPE_CHECKING:
    from salmon.config.checking import Checked, Fault
    from salmon.config.explained import Setting
    from salmon.config.models import SyncConfig

EXIT_FAULTY: Final = 2

app = typer.Typer(
    help="Check and explain the sync's YAML file, without asking any server.", no_args_is_help=True
)


@app.command()
def validate(config: ConfigOption = CONFIG_DEFAULT, *, as_json: JsonOption = False) -> None:
    """
    Check the file: every fault at once, each with its line, its key, and what to do.

    It reads the environment and the files that the file refers to, and asks no server; `salmon doctor` does that. What is not there,
    e.g. a secret that only the pods have, is named in a note: all else is checked without it.

    Exit code 0: the file is valid.
    2: it has faults, or cannot be read.
    """
    try:
        checked = _checked(config, without_values=True)
    except ConfigError as unreadable:
        if not as_json:
            raise
        # There is no key and no line: the file as a whole cannot be read.
        print_json(_validity(config, [{"line": None, "key": "", "sentence": str(unreadable)}]))
        raise typer.Exit(EXIT_FAULTY) from None
    if as_json:
        print_json(_validity(config, _listed(checked.faults), _listed(checked.notes)))
    else:
        if checked.faults:
            complain(f"salmon: {checked.sentences()}")
        else:
            say(f"{config}: valid. {_summary(checked.config)}".rstrip())
        for each in checked.notes:
            say(f"note: {each} That is enough where the processes run; the rest was checked without it.")
    raise typer.Exit(EXIT_FAULTY if checked.faults else 0)


@app.command()
def explain(
    key: Annotated[
        str | None,
        typer.Argument(
            metavar="KEY",
            help="A setting or a group of settings, e.g. errors or objects.Account.deletes.grace_s. Default: all.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = CONFIG_DEFAULT,
    *,
    as_json: JsonOption = False,
) -> None:
    """
    Show each setting, with the value that counts and where that comes from: a line of the file, the environment, a file, or the default.

    With KEY it also says what the setting means, what it accepts, and whether a change of it needs a restart. Secrets are not shown.

    Exit code 0: shown.
    2: the file has faults, or there is no such setting.
    """
    from salmon.config.explained import explained

    checked = _checked(config)
    settings = explained(checked, hides=_hides(checked.usable()))
    found = _matching(settings, key)
    if as_json:
        print_json({"file": str(config), "settings": [asdict(each) for each in found]})
    elif key is None:
        shown = table(box=None, pad_edge=False)
        for heading in ("KEY", "VALUE", "FROM"):
            shown.add_column(heading, overflow="fold")
        for each in found:
            shown.add_row(each.key, each.value, each.source)
        out().print(shown)
    else:
        for each in found:
            say(*_sentences(each))


@app.command()
def schema() -> None:
    """
    Print a JSON Schema of the file, for editors: they complete the keys, and underline what does not fit.

    Save it, e.g. as salmon.schema.json, and begin your file with the line
    `# yaml-language-server: $schema=salmon.schema.json` (VS Code, Vim, Emacs, JetBrains).
    """
    from salmon.config.json_schema import json_schema

    print_json(json_schema())


def _checked(file: Path, *, without_values: bool = False) -> Checked[SyncConfig]:
    from salmon.config.checking import checked
    from salmon.config.models import SyncConfig

    quiet_logs()
    return checked(file, SyncConfig, env=os.environ, without_values=without_values)


def _validity(file: Path, faults: Sequence[Any], notes: Sequence[Any] = ()) -> dict[str, Any]:
    return {"file": str(file), "valid": not faults, "faults": faults, "notes": list(notes)}


def _listed(faults: Sequence[Fault]) -> list[dict[str, Any]]:
    return [{"line": each.line, "key": ".".join(each.key), "sentence": each.sentence} for each in faults]


def _summary(settings: SyncConfig | None) -> str:
    """What is synced; empty if a value that is not here is needed to tell."""
    if settings is None:
        return ""
    objects, events = ", ".join(settings.objects), ", ".join(settings.events)
    return f"{settings.name} syncs {objects}{f'; events: {events}' if events else ''}."


def _hides(settings: SyncConfig) -> Callable[[str], bool]:
    """A second safeguard: a secret in a place where none belongs."""
    from salmon.ops import logs

    redacted = logs.Redaction(logs.secrets_of(settings))
    return lambda text: bool(redacted(None, "", text) != text)


def _matching(settings: Sequence[Setting], key: str | None) -> Sequence[Setting]:
    """The settings that *key* names. Raises ConfigError if there are none."""
    if key is None:
        return settings
    found = [each for each in settings if f"{each.key}.".startswith(f"{key}.")]
    if not found:
        groups = {each.key[:end] for each in settings for end in _ends(each.key)}
        close = difflib.get_close_matches(key, sorted(groups), n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise ConfigError(f"config explain: there is no setting {key}.{hint} Without KEY, all are shown.")
    return found


def _ends(key: str) -> list[int]:
    return [place for place, sign in enumerate(f"{key}.") if sign == "."]


def _sentences(setting: Setting) -> list[str]:
    value = setting.value or "not set"
    lines = [f"{setting.key}: {value} ({setting.source})", f"    {setting.meaning}"]
    if setting.accepts:
        lines.append(f"    Accepts: {setting.accepts}.")
    change = "counts on SIGHUP, without a restart" if setting.reload else "needs a restart of the processes"
    return [*lines, f"    A change {change}."]
