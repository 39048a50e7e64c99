"""`salmon guard`: deletes that wait for a decision. The work is in salmon.guard."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from salmon.cli.terminal import CONFIG_DEFAULT, ConfigOption, JsonOption, configured, out, print_json
from salmon.errors import ConfigError

if TYPE_CHECKING:
    from salmon.guard.deciding import Desk, WaitingDeletes

KEYS_SHOWN: Final = 10

app = typer.Typer(
    help="Decide about deletes that wait because there were too many at once.", no_args_is_help=True
)
ObjectOption = Annotated[
    list[str] | None, typer.Option("--object", help="Only this sObject; may be repeated. Default: all.")
]
SideOption = Annotated[
    str | None,
    typer.Option("--side", help="Only deletes that would be carried out there: mongodb or salesforce."),
]
ByOption = Annotated[
    str | None,
    typer.Option("--by", help="Who decides; kept in the history. Default: the user of this machine."),
]


@app.command("list")
def list_(
    config: ConfigOption = CONFIG_DEFAULT,
    *,
    object_: ObjectOption = None,
    side: SideOption = None,
    as_json: JsonOption = False,
) -> None:
    """
    Show which deletes wait, and on which side.

    Exit code 0: shown, also if none wait.
    2: Kafka or the registry cannot be reached, or correct what the message names.
    """
    _each(config, object_, side, None, as_json=as_json, done="wait", act=lambda _desk, _waiting: None)


@app.command()
def approve(
    config: ConfigOption = CONFIG_DEFAULT,
    *,
    object_: ObjectOption = None,
    side: SideOption = None,
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """
    Carry out exactly the deletes that wait now. Later deletes are counted from zero.

    Exit code 0: approved, or none wait.
    2: Kafka or the registry cannot be reached, or correct what the message names.
    """
    _each(
        config,
        object_,
        side,
        by,
        as_json=as_json,
        done="approved",
        act=lambda desk, waiting: desk.approve(waiting),
    )


@app.command()
def discard(
    config: ConfigOption = CONFIG_DEFAULT,
    *,
    object_: ObjectOption = None,
    side: SideOption = None,
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """
    Keep the records: the side that deleted them gets them back.

    Exit code 0: discarded, or none wait.
    2: Kafka or the registry cannot be reached, or correct what the message names.
    """
    _each(
        config,
        object_,
        side,
        by,
        as_json=as_json,
        done="discarded",
        act=lambda desk, waiting: desk.discard(waiting),
    )


def _each(
    config: Path,
    objects: list[str] | None,
    side: str | None,
    by: str | None,
    *,
    as_json: bool,
    done: str,
    act: Callable[[Desk, WaitingDeletes], None],
) -> None:
    from salmon.guard.deciding import opened

    settings = configured(config)
    if side is not None and side not in (known := settings.roster.names):
        raise ConfigError(f"--side: {side!r} is not a side. Give one of {', '.join(known)}.")
    if unknown := sorted(set(objects or ()) - settings.objects.keys()):
        raise ConfigError(
            f"--object: {', '.join(unknown)} is not in the configuration. It has {', '.join(settings.objects)}."
        )
    with opened(settings, by=by or getpass.getuser()) as desk:
        found = desk.waiting(objects or (), None if side is None else (side,))
        for waiting in found:
            act(desk, waiting)
    if as_json:
        print_json({done: [waiting.as_dict() for waiting in found]})
        return
    for waiting in found:
        shown = ", ".join(waiting.keys[:KEYS_SHOWN]) + (", ..." if len(waiting.keys) > KEYS_SHOWN else "")
        out().print(
            f"{waiting.object}: {len(waiting.keys):,} deletes on {waiting.side} {done}: {shown}", markup=False
        )
    if not found:
        out().print("No deletes wait.")
