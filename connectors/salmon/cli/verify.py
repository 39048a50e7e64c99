"""`salmon verify`: do both sides and `records` agree? The comparison itself is in salmon.verify."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final

import typer

from salmon.cli.terminal import CONFIG_DEFAULT, ConfigOption, JsonOption, configured, err, out, print_json

if TYPE_CHECKING:
    from salmon.verify.comparing import ObjectVerdict
    from salmon.verify.verifying import Verdict, Watcher

EXIT_DIFFERENT: Final = 1
EXIT_UNDECIDED: Final = 2
_SHOWN_MAX: Final = 20  # records that are named for people; --json names them all


def verify(
    config: ConfigOption = CONFIG_DEFAULT,
    *,
    objects: Annotated[
        list[str] | None, typer.Option("--object", help="Only this object; may be given again.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """
    Compare Salesforce, MongoDB and the agreed records, field by field.

    Exit code 0: equal. 1: they differ. 2: could not tell. It reads only, and may run beside the connectors: what
    differs is read again until nothing moves any more.
    """
    from salmon.verify import verifying

    settings = configured(config)
    with watcher(shown=not as_json) as watched:
        verdict = verifying.verify(settings, objects or (), watcher=watched)
    if as_json:
        print_json(verdict.as_dict())
    else:
        show(verdict)
    raise typer.Exit(exit_code(verdict))


def exit_code(verdict: Verdict) -> int:
    """0: equal; 1: different; 2: some records were edited all the while, and the others are equal."""
    if verdict.equal:
        return 0
    return EXIT_DIFFERENT if verdict.differs else EXIT_UNDECIDED


@contextmanager
def watcher(*, shown: bool) -> Iterator[Watcher]:
    """Progress bars on a terminal, one for each reading; elsewhere nothing."""
    if not (shown and sys.stderr.isatty()):
        yield lambda *_: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:34}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err(), transient=True) as progress:
        tasks: dict[tuple[str, str], TaskID] = {}

        def told(name: str, what: str, done: int, total: int) -> None:
            if (name, what) not in tasks:
                tasks[name, what] = progress.add_task(f"{name}: reading {what}", total=total)
            progress.update(tasks[name, what], completed=done, total=max(done, total))

        yield told


def show(verdict: Verdict) -> None:
    """The verdict for people."""
    from rich.table import Table

    console = out()
    table = Table(box=None, pad_edge=False)
    table.add_column("object")
    for name in (
        "Salesforce",
        "MongoDB",
        "records",
        "equal",
        "differ",
        "missing",
        "parked",
        "refreshed later",
    ):
        table.add_column(name, justify="right")
    for name, each in verdict.objects.items():
        missing = sum(map(len, each.missing_in.values()))
        counts = [each.counts[where] for where in ("salesforce", "mongodb", "records")]
        numbers = [*counts, each.equal, len(each.different), missing, len(each.parked), each.refreshed_later]
        table.add_row(name, *(f"{number:,}" for number in numbers))
    console.print(table)
    for name, each in verdict.objects.items():
        lines = list(differences(each))
        for line in lines[:_SHOWN_MAX]:
            console.print(f"{name} {line}", markup=False)
        if len(lines) > _SHOWN_MAX:
            console.print(f"{name}: and {len(lines) - _SHOWN_MAX:,} more; --json names them all")
        if each.on_their_way:
            console.print(
                f"{name}: {each.on_their_way:,} of them have a write on its way: see whether the sinks run "
                f"(salmon status)"
            )
    took = f"compared in {verdict.took_s:.1f} s"
    console.print(
        f"Equal: both sides and `records` agree; {took}." if verdict.equal else f"Different; {took}."
    )


def differences(verdict: ObjectVerdict) -> Iterator[str]:
    """What differs in one object: records by key, fields by name, and never a value."""
    for key, sides in verdict.different.items():
        told = "; ".join(f"in {side}: {', '.join(fields)}" for side, fields in sides.items())
        yield f"{key} differs {told}"
    for where, keys in verdict.missing_in.items():
        for key in keys:
            yield f"{key} is missing in {where}"
    for waiting in verdict.parked:
        what = ", ".join(waiting.fields) or "the whole record"
        code = f" ({waiting.code})" if waiting.code else ""
        yield f"{waiting.key} waits in {waiting.side}: {what}, {waiting.why.lower()}{code}"
    if verdict.moving:
        yield f"has {len(verdict.moving):,} records that were edited all the while: compare again when it is quieter"
    if verdict.without_key:
        yield f"has {verdict.without_key:,} documents whose _id cannot be a record key"
