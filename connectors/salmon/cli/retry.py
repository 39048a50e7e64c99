"""`salmon retry`: send again what was refused, after the reason is removed. The work is in salmon.story.retrying."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from salmon.cli.conflicts import watched
from salmon.cli.terminal import (
    CONFIG_DEFAULT,
    WHEN,
    ConfigOption,
    JsonOption,
    configured,
    not_empty,
    or_could_not,
    past,
    print_json,
    say,
)

if TYPE_CHECKING:
    from salmon.story.retrying import RefusedWrite

_KEYS_SHOWN: Final = 5


def retry(
    config: ConfigOption = CONFIG_DEFAULT,
    *,
    object_name: Annotated[str | None, typer.Option("--object", help="Only this object.")] = None,
    code: Annotated[
        str | None, typer.Option(help="Only writes that were refused with this error code.")
    ] = None,
    field: Annotated[str | None, typer.Option(help="Only writes in which this field was refused.")] = None,
    since: Annotated[str | None, typer.Option(help=f"Only refusals since this time: {WHEN}.")] = None,
    key: Annotated[str | None, typer.Option(help="Only the record with this key; needs --object.")] = None,
    by: Annotated[
        str | None, typer.Option(help="Who asks; kept in the history. Default: the user of this machine.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; kept in the record's history.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be sent.")] = False,
    as_json: JsonOption = False,
) -> None:
    """
    Send again what a side refused, after you have removed the reason, e.g. a validation rule or a missing permission.

    Without options: everything that was refused. It is safe to run this twice.
    Values that could not be synced are read again. What is refused again waits again.

    Exit code 0: sent, or nothing to send.
    1: Kafka or the registry did not answer; try again.
    2: correct what the message names.
    """
    from salmon.story.lookup import Lookup
    from salmon.story.retrying import RefusalFilter, check, refusals, send_again

    not_empty(object=object_name, key=key, code=code, field=field)
    asked = RefusalFilter(object_name, key, code, field, past(since))
    lookup = Lookup(configured(config))
    check(lookup, asked)  # before Kafka is asked
    with or_could_not(), lookup:
        with watched("reading states", shown=not as_json) as progress:
            found = refusals(lookup, asked, progress=progress)
        if not as_json:
            say(*_lines(found))
        if not dry_run:
            send_again(lookup, found, by=by or getpass.getuser(), reason=reason)
    records = len({(each.object, each.key) for each in found})
    if as_json:
        print_json(
            {
                "refused": [each.as_dict() for each in found],
                "records": records,
                "sent": 0 if dry_run else records,
                "dry_run": dry_run,
            }
        )
    elif found and dry_run:
        say("Nothing was sent, because of --dry-run.")
    elif found:
        say("Merge sends them again, at once if it runs. `salmon why` shows the result for a record.")


def _lines(found: Sequence[RefusedWrite]) -> Iterator[str]:
    """Print how much will be sent, before it is sent."""
    from salmon.story.formatting import side_named

    if not found:
        yield "Nothing to send again: no refused write matches."
        return
    records = len({(each.object, each.key) for each in found})
    yield f"{records:,} {'record waits' if records == 1 else 'records wait'} because of a refusal:"
    kinds: dict[tuple[str, str, bool, str], dict[str, None]] = {}
    for each in found:
        code = " or ".join(filter(None, each.codes)) or "without a code"
        kinds.setdefault((each.object, each.side, each.misfit, code), {})[each.key] = None
    for (name, side, misfit, code), keys in sorted(kinds.items()):
        shown = ", ".join(list(keys)[:_KEYS_SHOWN]) + (", ..." if len(keys) > _KEYS_SHOWN else "")
        what = f"not synced from {side_named(side)}" if misfit else f"refused by {side_named(side)}"
        yield f"  {name}: {len(keys):,} {what}, {code}: {shown}"
