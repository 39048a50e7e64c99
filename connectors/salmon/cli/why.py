"""`salmon why`: the history of one record, and what it waits for. The work is in salmon.story."""

from __future__ import annotations

import time
from typing import Annotated, Final

import typer

from salmon.cli.conflicts import watched
from salmon.cli.terminal import CONFIG_DEFAULT, ConfigOption, JsonOption, configured, print_json, say

EXIT_WAITS: Final = 1


def why(
    object_name: Annotated[str, typer.Argument(metavar="OBJECT", help="The sObject, e.g. Account.")],
    key: Annotated[
        str,
        typer.Argument(
            metavar="KEY", help="The record key, a Salesforce Id (15 or 18 characters), or an _id."
        ),
    ],
    config: ConfigOption = CONFIG_DEFAULT,
    *,
    limit: Annotated[
        int, typer.Option(min=1, max=100_000, help="How many entries to show, the last ones.")
    ] = 50,
    as_json: JsonOption = False,
) -> None:
    """
    Show the history of one record: edits, writes, conflicts, refusals; what it waits for, and why.

    The output contains the record's values.

    Exit code 0: in sync. For an object that is synced in one direction: everything was sent.
    1: it waits for something, or is not known.
    2: could not find out.
    """
    from salmon.story.lookup import Lookup
    from salmon.story.reading import lines, story_of

    lookup = Lookup(configured(config))
    lookup.check_object(object_name)  # before Kafka is asked
    with lookup, watched("reading the topics", shown=not as_json) as progress:
        story = story_of(lookup, object_name, key, now_ms=int(time.time() * 1000), progress=progress)
    if as_json:
        print_json(story.as_dict(limit))
    else:
        say(*lines(story, limit))
    raise typer.Exit(0 if story.now.settled else EXIT_WAITS)
