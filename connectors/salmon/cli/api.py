"""`salmon api`: keys for applications. The API itself is `salmon run api`."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from salmon.cli.terminal import JsonOption, print_json, say
from salmon.errors import ConfigError

app = typer.Typer(help="Keys for applications of `salmon run api`.", no_args_is_help=True)


@app.command("new-key")
def new_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the application or person, e.g. shop.")],
    scope: Annotated[
        list[str],
        typer.Option(
            help="What it may do: OBJECT:VERB, e.g. Account:read or *:write; viewer, operator. Several times."
        ),
    ],
    *,
    as_json: JsonOption = False,
) -> None:
    """Make a key, and print the entry for `api.keys` of the file. The key itself is shown here, and never again."""
    from salmon.api import keys
    from salmon.config.sections.api import NAME_PATTERN, is_scope

    if not re.fullmatch(NAME_PATTERN, name):
        raise ConfigError("NAME: must have up to 64 letters, digits or the signs _ . @ -")
    if wrong := [each for each in scope if not is_scope(each)]:
        raise ConfigError(
            f"--scope {wrong[0]}: must be OBJECT:VERB, e.g. Account:read, or viewer or operator."
        )
    key = keys.new_key()
    entry = {"hash": keys.hash_of(key), "scopes": scope}
    if as_json:
        print_json({"name": name, "key": key, "entry": entry})
        return
    say(
        f"The key, for the application: {key}",
        "The entry, for the file:",
        "api:",
        "  keys:",
        f'    {name}: {{hash: "{entry["hash"]}", scopes: [{", ".join(repr(each) for each in scope)}]}}',
    )
