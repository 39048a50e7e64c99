"""`salmon flow`: what the configuration makes of a record. It asks no server. The work is in salmon.story.trial."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from salmon.cli.terminal import CONFIG_DEFAULT, ConfigOption, JsonOption, configured, print_json, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from salmon.story.trial import Trial

app = typer.Typer(help="What the configuration makes of a record.", no_args_is_help=True)


@app.callback()
def _flow() -> None:
    """Keeps `test` a command of its own while it is the only one."""


@app.command("test")
def try_record(
    config: ConfigOption = CONFIG_DEFAULT,
    *,
    object_name: Annotated[str, typer.Option("--object", help="The sObject, e.g. Contact.")],
    record: Annotated[
        Path,
        typer.Option(
            help="File with the record: JSON as Salesforce's REST API shows it, a MongoDB document as (extended) JSON, or the fields of a "
            "further side's record."
        ),
    ],
    origin: Annotated[
        str,
        typer.Option(
            "--from", help="The side that the record is from: salesforce, mongodb or a further side."
        ),
    ] = "salesforce",
    schema: Annotated[
        Path | None,
        typer.Option(
            help="File with the object's describe, or with what `salmon schemas generate` made of it. Default, for Account, Contact "
            "and Opportunity: the standard fields."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """
    Show what each side would get of a record that is new, and why. No server is asked.

    The output contains the record's values. Secrets of the configuration that are not set here are not needed, except for the key of a
    mask with `by: hash`: without it, the digests are others than in the sync.

    Exit code 0: shown.
    2: the configuration or the record cannot be used.
    """
    from salmon.errors import ConfigError, UnknownField
    from salmon.story.trial import schema_from, tried

    settings = configured(config, without_values=True)
    if object_name not in settings.objects:
        raise ConfigError(f"--object {object_name}: must be one of {', '.join(settings.objects)}.")
    try:
        text = record.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"--record {record}: cannot be read ({error.strerror}). Name another file."
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"--record {record}: is not valid UTF-8.") from None
    try:
        found = schema_from(object_name, schema, settings.objects[object_name])
        trial = tried(settings, found, text, origin=origin)
    except UnknownField as error:
        if schema is not None:
            raise
        raise ConfigError(
            f"{error} Without --schema, only the standard fields are known. For fields of your own, give --schema the answer of GET"
            f" /services/data/v64.0/sobjects/{object_name}/describe as a file."
        ) from None
    if as_json:
        print_json(trial.as_dict())
    else:
        say(*_lines(trial))


def _lines(trial: Trial) -> Iterator[str]:
    yield f"{trial.object}, from {trial.origin}"
    for each in trial.sides:
        yield f"{each.side} ({each.place}) {'gets' if each.record is not None else 'gets nothing'}"
        if each.record is not None:
            yield from (
                f"    {line}" for line in json.dumps(each.record, indent=2, ensure_ascii=False).splitlines()
            )
        yield from (f"    - {reason}" for reason in each.why)
    yield from (f"note: {note}" for note in trial.notes)
