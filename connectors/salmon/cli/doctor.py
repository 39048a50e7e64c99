"""`salmon doctor`: is everything as the sync needs it, and if not, what is to be done? The work is in salmon.doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import typer

from salmon.cli.terminal import CONFIG_DEFAULT, ConfigOption, JsonOption, configured, out, print_json, say

if TYPE_CHECKING:
    from rich.console import Console

    from salmon.doctor.checks import Line

EXIT_FAILS: Final = 1
_STYLES: Final = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor(config: ConfigOption = CONFIG_DEFAULT, *, as_json: JsonOption = False) -> None:
    """
    Look at everything that the sync needs, and say of each thing whether it is right, and if not, what to do.

    It looks at the org (sign-in, permissions, objects, fields, change events, allowances, clocks), Kafka, the schema registry,
    MongoDB and the further sides. It changes nothing, and may be run at any time. What is missing in the org, `salmon setup` can make.

    Exit code 0: all lines are ok or warn.
    1: a line is fail: the sync cannot work so.
    2: the configuration cannot be used.
    """
    from salmon.doctor.checks import Outcome
    from salmon.doctor.doctor import as_dict, diagnose, worst

    settings = configured(config)
    lines = []
    for line in diagnose(settings):
        lines.append(line)
        if not as_json:
            show(line, out())
    if as_json:
        print_json(as_dict(settings, lines))
    else:
        counts = {each: sum(line.outcome is each for line in lines) for each in Outcome}
        say("", ", ".join(f"{count} {each.value}" for each, count in counts.items()) + ".")
    raise typer.Exit(EXIT_FAILS if worst(lines) is Outcome.FAIL else 0)


def show(line: Line, console: Console) -> None:
    """Print one line, and below it what to do."""
    from rich.markup import escape

    from salmon.harmless import harmless

    outcome = line.outcome.value
    told = escape(harmless(f"{line.what}: {line.says}"))
    console.print(f"[{_STYLES[outcome]}]{outcome:4}[/]  {told}", soft_wrap=True)
    if line.mend:
        console.print(escape(harmless(f"      Do: {line.mend}")), soft_wrap=True)
