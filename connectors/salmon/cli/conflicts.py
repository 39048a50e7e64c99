"""`salmon conflicts`: who edited the same field at the same time, who won, and what waits for a decision."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from salmon.cli.terminal import (
    CONFIG_DEFAULT,
    WHEN,
    ConfigOption,
    JsonOption,
    configured,
    err,
    moment,
    not_empty,
    out,
    past,
    print_json,
    say,
    table,
)

if TYPE_CHECKING:
    from salmon.config.models import SyncConfig
    from salmon.kafka.tables import Progress
    from salmon.story.conflicts import ListedConflict
    from salmon.story.lookup import Lookup
    from salmon.story.resolving import Resolved

EXIT_NOT_AGREED: Final = 1
_VALUE_SHOWN_MAX: Final = 40  # characters of a value in a table

app = typer.Typer(
    name="conflicts",
    help="List, show and resolve conflicts: several sides edited the same field without knowing of each other.",
    no_args_is_help=True,
)

_ObjectOption = Annotated[str | None, typer.Option("--object", help="Only this object.")]
_KeyOption = Annotated[
    str | None, typer.Option("--key", help="Only the record with this key, Salesforce Id or _id.")
]
_FieldOption = Annotated[
    str | None,
    typer.Option(
        "--field", help="Only this field; $exists: one side deleted the record, the other edited it."
    ),
]


@app.command("list")
def _list(
    config: ConfigOption = CONFIG_DEFAULT,
    *,
    object_name: _ObjectOption = None,
    key: _KeyOption = None,
    field: _FieldOption = None,
    since: Annotated[str | None, typer.Option(help=f"Only since this time: {WHEN}.")] = None,
    until: Annotated[str | None, typer.Option(help=f"Only before this time: {WHEN}.")] = None,
    held: Annotated[bool, typer.Option("--held", help="Only those that wait for a decision.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many to show, newest first.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """
    List conflicts, newest first, with both values.

    Exit code 0: listed, also if there are none.
    2: Kafka or the registry cannot be reached, or correct what the message names.
    """
    from salmon.story.conflicts import ConflictFilter, listed

    not_empty(key=key, field=field)
    asked = ConflictFilter(
        object_name,
        field=field,
        since_ms=past(since),
        until_ms=moment(until, "--until"),
        held=held,
        text=key,
    )
    with (
        _opened(configured(config), object_name) as lookup,
        watched("reading conflicts", shown=not as_json) as progress,
    ):
        found = listed(lookup, asked, limit=limit, progress=progress)
        rows = [as_dict(lookup, each) for each in found.conflicts]
    if as_json:
        print_json({"conflicts": rows, "more": found.more})
        return
    shown = table(box=None, pad_edge=False)
    for heading in ("id", "at", "object", "key", "field", "stood", "came", "policy", "won"):
        shown.add_column(heading)
    for each in rows:
        cells = [each["id"], each["at"], each["object"], each["key"], each["field"]]
        cells += [_short(each["standing"]), _short(each["challenger"]), each["policy"], _won(each)]
        shown.add_row(*cells)
    if rows:
        out().print(shown)
    else:
        say("No conflict waits for a decision." if held else "No conflicts.")
    if found.more:
        say(f"... and {found.more:,} older ones: --limit shows more.")


@app.command("show")
def _show(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="ID | OBJECT KEY [FIELD]", help="An id from `salmon conflicts list`, or a record."
        ),
    ],
    config: ConfigOption = CONFIG_DEFAULT,
    *,
    as_json: JsonOption = False,
) -> None:
    """
    Show one conflict by its id, or the newest one of a record, and what is agreed now.

    Exit code 0: shown.
    2: there is no such conflict, Kafka or the registry cannot be reached, or correct what the message names.
    """
    from salmon.errors import ConfigError
    from salmon.story.conflicts import ConflictFilter, check_id, listed, one

    if len(what) > 3:
        raise typer.BadParameter(
            "give an id, or OBJECT KEY, or OBJECT KEY FIELD", param_hint="ID | OBJECT KEY [FIELD]"
        )
    if len(what) == 1:
        check_id(what[0])
    name = what[0] if len(what) > 1 else None
    with (
        _opened(configured(config), name, given_as="") as lookup,
        watched("reading conflicts", shown=not as_json) as progress,
    ):
        if len(what) == 1:
            entry = one(lookup, what[0], progress=progress)
        else:
            key, _ = lookup.key_and_state(what[0], what[1], progress=progress)
            field = what[2] if len(what) == 3 else None
            found = listed(lookup, ConflictFilter(what[0], key, field), limit=1, progress=progress).conflicts
            if not found:
                raise ConfigError(
                    f"{' '.join(what)}: no conflict is recorded. Conflicts are kept for the topic's retention time, by default seven days."
                )
            entry = found[0]
        seen = {**as_dict(lookup, entry), "now": _now(lookup, entry)}
    if as_json:
        print_json(seen)
    else:
        say(*_lines(seen))


@app.command("resolve")
def _resolve(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="OBJECT KEY FIELD...", help="The record and its fields; leave out with --held."
        ),
    ] = None,
    config: ConfigOption = CONFIG_DEFAULT,
    *,
    take: Annotated[
        str | None,
        typer.Option(help="salesforce or mongodb: the value of that side. Anything else: the value itself."),
    ] = None,
    value: Annotated[
        str | None,
        typer.Option(
            help="The value itself, also if it is the word salesforce or mongodb; empty: clear the field."
        ),
    ] = None,
    held: Annotated[
        bool,
        typer.Option(
            "--held", help="Everything that waits for a decision; narrow it with --object, --key, --field."
        ),
    ] = False,
    object_name: _ObjectOption = None,
    key: _KeyOption = None,
    field: _FieldOption = None,
    by: Annotated[
        str | None, typer.Option(help="Who decides; kept in the history. Default: the user of this machine.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; kept in the record's history.")] = "",
    wait_s: Annotated[
        float, typer.Option("--wait", min=0, help="How many seconds to wait until merge has applied it.")
    ] = 30.0,
    as_json: JsonOption = False,
) -> None:
    """
    Decide a conflict: the value becomes the agreed value and goes to every side.

    If one side deleted the record and the other edited it, decide FIELD $exists: `--take` the side that is right.

    Exit code 0: done.
    1: recorded, but merge has not applied it yet.
    2: refused; nothing was changed.
    """
    from salmon.story.conflicts import ConflictFilter
    from salmon.story.resolving import Take, decide, decide_all, enter

    if held == bool(what) or (what and len(what) < 3):
        raise typer.BadParameter("give OBJECT KEY FIELD..., or --held", param_hint="OBJECT KEY FIELD...")
    not_empty(key=key, field=field)
    settings = configured(config)
    taken = Take.of(take, value, settings.roster.names)
    opened = _opened(settings, what[0], given_as="") if what else _opened(settings, object_name)
    with opened as lookup, watched("reading conflicts", shown=not as_json) as progress:
        if what:
            decisions = [decide(lookup, what[0], what[1], what[2:], taken, progress=progress)]
        else:
            asked = ConflictFilter(object_name, field=field, held=True, text=key)
            decisions = decide_all(lookup, asked, taken, progress=progress)
        resolved = enter(lookup, decisions, by=by or getpass.getuser(), reason=reason, wait_s=wait_s)
        rows = [_resolved_dict(lookup, each) for each in resolved]
    if as_json:
        print_json({"resolved": rows, "done": all(each.done for each in resolved)})
    else:
        for each in rows:
            say(each["says"])
        if not rows:
            say("No conflict waits for a decision.")
    raise typer.Exit(0 if all(each.done for each in resolved) else EXIT_NOT_AGREED)


@contextmanager
def _opened(settings: SyncConfig, name: str | None, *, given_as: str = "--object") -> Iterator[Lookup]:
    """Open the sync. Before Kafka is asked, it is checked that the sync has the object; None: no object was named."""
    from salmon.story.lookup import Lookup

    lookup = Lookup(settings)
    if name is not None:
        lookup.check_object(name, given_as=given_as)
    with lookup:
        yield lookup


def as_dict(lookup: Lookup, entry: ListedConflict) -> dict[str, Any]:
    """Return a conflict with its values in a readable form."""
    contest = entry.conflict.contest
    known = contest.object in lookup.config.objects
    schema = lookup.rules(contest.object).schema if known else None
    return entry.as_dict(schema.by_name.get(contest.field) if schema else None)


def _now(lookup: Lookup, entry: ListedConflict) -> dict[str, Any] | None:
    from salmon.model.policies import EXISTENCE
    from salmon.story.formatting import shown, when

    contest = entry.conflict.contest
    state = lookup.states(contest.object, [contest.key], since_ms=entry.at_ms).get(contest.key)
    if state is None:
        return None
    field = lookup.rules(contest.object).schema.by_name.get(contest.field)
    exists = contest.field == EXISTENCE
    version = state.life if exists else state.versions.get(contest.field, state.life)
    return {
        "lives": state.lives,
        "agreed": state.lives if exists else shown(state.canonical.get(contest.field), field),
        "origin": version.origin or None,
        "committed_at": when(version.committed_at) if version.committed_at else None,
    }


def _lines(seen: dict[str, Any]) -> Iterator[str]:
    from salmon.story.formatting import side_named

    yield f"{seen['object']} {seen['key']} {seen['field']}: conflict {seen['id']} at {seen['at']}"
    for name in ("standing", "challenger"):
        edit = seen[name]
        yield f"  {side_named(edit['side'])}: {edit['value']!r}, committed {edit['committed_at'] or 'at an unknown time'}"
    fault = f" could not decide: {seen['fault']}" if seen["fault"] else ""
    yield f"  policy {seen['policy']}{fault}; {'on hold' if seen['winner'] is None else side_named(seen['winner']) + ' won'}"
    now = seen["now"]
    if now is None:
        yield "  now: Salmon no longer knows the record"
    elif not now["lives"]:
        yield "  now: the record is deleted"
    else:
        yield f"  agreed now: {now['agreed']!r}, by {side_named(now['origin'] or 'nobody')}"
    if seen["waits"]:
        yield (
            f"  It waits for a decision: salmon conflicts resolve {seen['object']} '{seen['key']}' '{seen['field']}' "
            f"--take salesforce|mongodb|VALUE"
        )


def _resolved_dict(lookup: Lookup, resolved: Resolved) -> dict[str, Any]:
    from salmon.story.formatting import quoted, shown

    decision = resolved.decision
    schema = lookup.rules(decision.object).schema.by_name
    record = f"{decision.object} {decision.key}"
    if resolved.after is None:
        says = f"{record}: recorded. Merge has not applied it yet: check that merge runs (salmon status)."
    elif not resolved.done:
        says = (
            f"{record}: recorded, but edited again since: see `salmon why {decision.object} {decision.key}`."
        )
    elif decision.lives is not None:
        says = f"{record}: {'is kept, and created again where it is missing' if decision.lives else 'is deleted on every side'}."
    else:
        agreed = ", ".join(f"{n} is {quoted(v, schema[n])}" for n, v in decision.fields.items())
        says = f"{record}: agreed: {agreed}. Both sides get it."
    return {
        "object": decision.object,
        "key": decision.key,
        "fields": {name: shown(value, schema[name]) for name, value in decision.fields.items()},
        "lives": decision.lives,
        "settles": [each.id for each in decision.settles],
        "done": resolved.done,
        "says": says,
    }


def _short(edit: dict[str, Any]) -> str:
    text = str(edit["value"])
    return f"{edit['side']}: {text if len(text) <= _VALUE_SHOWN_MAX else text[:_VALUE_SHOWN_MAX] + '...'}"


def _won(entry: dict[str, Any]) -> str:
    if entry["winner"] is not None:
        return str(entry["winner"])
    return "waits" if entry["waits"] else "was settled"


@contextmanager
def watched(what: str, *, shown: bool) -> Iterator[Progress | None]:
    """A progress bar on a terminal; elsewhere nothing."""
    if not (shown and sys.stderr.isatty()):
        yield None
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err(), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
