"""`salmon snapshot`: read whole objects again, or some records. The work is in salmon.story.rereading."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from salmon.cli.terminal import (
    CONFIG_DEFAULT,
    ConfigOption,
    JsonOption,
    configured,
    not_empty,
    or_could_not,
    print_json,
    say,
)

if TYPE_CHECKING:
    from salmon.story.rereading import Asked


def snapshot(
    config: ConfigOption = CONFIG_DEFAULT,
    *,
    object_name: Annotated[
        str | None, typer.Option("--object", help="Only this object. Default: all.")
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            help="Only records for which this SOQL condition holds, e.g. \"Industry = 'Energy'\"; needs --object."
        ),
    ] = None,
    side: Annotated[str, typer.Option(help="Which side to read: salesforce or mongodb.")] = "salesforce",
    as_json: JsonOption = False,
) -> None:
    """
    Read records of one side again, while the sync goes on. What was missed goes to the other side.

    It is safe to run this twice. Edits that the sync knows are not undone. Deletions are found when a whole object is read.
    `salmon verify --repair` reads only what differs.

    Exit code 0: asked. The source reads them when it runs; `salmon status` shows how far it is with whole objects.
    1: Kafka, the registry or Salesforce did not answer; try again.
    2: correct what the message names.
    """
    from salmon.app.sync import Sync
    from salmon.salesforce.wire.rest import Rest
    from salmon.story.rereading import check, read_again

    not_empty(where=where)
    settings = configured(config)
    with or_could_not():
        sync = Sync(settings, client_id="salmon-snapshot")
        check(sync, side=side, name=object_name, where=where)  # before Kafka is asked
        with sync:
            asked = read_again(
                sync, side=side, name=object_name, where=where, org=lambda: Rest(settings.salesforce)
            )
    if as_json:
        print_json(asked.as_dict())
    else:
        say(*_lines(asked))


def _lines(asked: Asked) -> Iterator[str]:
    for name, count in asked.objects.items():
        if count == 0:
            yield f"{name}: no record is selected, so nothing is read."
        elif count is None:
            yield f"{name}: all records are read again."
        else:
            yield f"{name}: {count:,} {'record is' if count == 1 else 'records are'} read again."
    if any(count != 0 for count in asked.objects.values()):
        yield f"{asked.side}-source was asked; it begins at once if it runs."
