"""`salmon verify`: do both sides and the agreed records match? The comparison itself is in salmon.verify."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from salmon.cli.terminal import (
    CONFIG_DEFAULT,
    ConfigOption,
    JsonOption,
    configured,
    err,
    out,
    print_json,
    table,
)
from salmon.errors import ConfigError

if TYPE_CHECKING:
    from salmon.app.process import Beside
    from salmon.config.models import SyncConfig
    from salmon.ops.metrics import Metrics
    from salmon.runtime.lifecycle import Part
    from salmon.verify.comparing import ObjectVerdict
    from salmon.verify.verifying import VerifyResult, Watcher

# Words for salmon.verify.comparing.Why.
_WHY: Final = {
    "NOT_ANSWERED": "a source has not read it",
    "ON_ITS_WAY": "a write to it has not been confirmed yet",
    "ONE_WAY": "the object is synced in one direction, and its target is never read; edit the record at its source",
    "EDITED": "it was edited again and again meanwhile",
    "LEFT": "all sides were read, and merge found nothing to do",
}
EXIT_DIFFERENT: Final = 1
EXIT_UNDECIDED: Final = 2
_SHOWN_MAX: Final = 20  # records that are named for people; --json names them all


def verify(
    config: ConfigOption = CONFIG_DEFAULT,
    *,
    objects: Annotated[
        list[str] | None, typer.Option("--object", help="Only this object; may be repeated. Default: all.")
    ] = None,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Let the sources read again what differs, and merge decide. A missed edit or deletion then goes to the "
            "other side.",
        ),
    ] = False,
    answer_max_s: Annotated[
        int,
        typer.Option(
            min=1, metavar="SECONDS", help="With --repair: how long to wait for an answer from a source."
        ),
    ] = 60,
    keys: Annotated[
        str | None,
        typer.Option(help="Only these records: record keys or Salesforce Ids, separated by commas."),
    ] = None,
    keys_file: Annotated[
        Path | None, typer.Option(help="Only the records in this file, one key per line.")
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            help="Keep progress in this folder. A run that was interrupted continues there if started again within a day."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """
    Compare Salesforce, MongoDB and the agreed records, field by field.

    It may run while the connectors run, and writes to neither side.
    What differs is read again until nothing changes any more.

    Exit code 0: equal, or equal after --repair. What is refused, on hold or deferred may differ.
    1: different.
    2: could not find out.
    """
    from salmon.verify import verifying

    settings = configured(config)
    named = keys_named(keys, keys_file)
    if named is not None and resume is not None:
        raise ConfigError("--resume cannot be used with --keys or --keys-file. Leave one of them out.")
    wanted = verifying.Wanted(
        objects or (), keys=named, repair=repair, answer_max_s=answer_max_s, folder=resume
    )
    with watcher(shown=not as_json) as watched:
        verdict = verifying.verify(settings, wanted=wanted, watcher=watched)
    if as_json:
        print_json(verdict.as_dict())
    else:
        show(verdict)
    raise typer.Exit(exit_code(verdict))


def scheduled(config_path: Path) -> Beside:
    """Return what runs beside merge: this command, as often as the configuration says."""

    def beside(config: SyncConfig, metrics: Metrics) -> Part | None:
        from salmon.verify import scheduled

        return scheduled.scheduled(config_path, config, metrics)

    return beside


def keys_named(keys: str | None, keys_file: Path | None) -> list[str] | None:
    """
    Return the records that were asked for; None for all.

    Raises:
        ConfigError: the file cannot be read, or there is no key.
    """
    if keys is None and keys_file is None:
        return None
    named = (keys or "").split(",")
    if keys_file is not None:
        try:
            named += keys_file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"--keys-file {keys_file}: cannot be read ({type(error).__name__}). Give a text file in UTF-8 with one "
                f"record key per line."
            ) from None
    found = list(dict.fromkeys(key.strip() for key in named if key.strip()))
    if not found:
        raise ConfigError(
            "--keys: no key was given. Give at least one, or leave out the option to compare all records."
        )
    return found


def exit_code(verdict: VerifyResult) -> int:
    """0: equal; 1: different; 2: some records kept changing, and the others are equal."""
    if verdict.equal:
        return 0
    return EXIT_DIFFERENT if verdict.differs else EXIT_UNDECIDED


@contextmanager
def watcher(*, shown: bool) -> Iterator[Watcher]:
    """Show progress bars on a terminal, one for each reading and each repair. Elsewhere nothing is shown."""
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

        def progressed(name: str, what: str, done: int, total: int) -> None:
            if (name, what) not in tasks:
                doing = what if " " in what else f"reading {what}"  # the name of a side, or of `records`
                tasks[name, what] = progress.add_task(f"{name}: {doing}", total=total)
            progress.update(tasks[name, what], completed=done, total=max(done, total))

        yield progressed


def show(verdict: VerifyResult) -> None:
    """Print the verdict."""
    console = out()
    counts_of = table(box=None, pad_edge=False)
    counts_of.add_column("object")
    own = ("salesforce", "mongodb", "records")
    further = list(dict.fromkeys(w for each in verdict.objects.values() for w in each.counts if w not in own))
    for name in (
        "Salesforce",
        "MongoDB",
        *further,
        "records",
        "equal",
        "differ",
        "missing",
        "parked",
        "refreshed later",
    ):
        counts_of.add_column(name, justify="right")
    for name, each in verdict.objects.items():
        counts = [each.counts.get(where, 0) for where in ("salesforce", "mongodb", *further, "records")]
        numbers = [*counts, each.equal, *each.summary.values(), each.refreshed_later]
        counts_of.add_row(name, *(f"{number:,}" for number in numbers))
    console.print(counts_of)
    for name, each in verdict.objects.items():
        lines = list(differences(each))
        for line in lines[:_SHOWN_MAX]:
            console.print(f"{name} {line}", markup=False)
        if len(lines) > _SHOWN_MAX:
            console.print(f"{name}: and {len(lines) - _SHOWN_MAX:,} more; --json shows all")
        if each.on_their_way:
            console.print(
                f"{name}: {each.on_their_way:,} of them have a write that is not confirmed yet: check that the sinks run "
                f"(salmon status)"
            )
        if each.never_read:
            console.print(
                f"{name}: {each.never_read:,} of them differ only in the target: {_WHY['ONE_WAY']}, or correct it at the target"
            )
    if verdict.nowhere:
        console.print(
            f"Found on neither side and not in `records`: {', '.join(verdict.nowhere[:_SHOWN_MAX])}",
            markup=False,
        )
        from salmon.mongodb.keys import why_no_key

        for refused in filter(None, map(why_no_key, verdict.nowhere[:_SHOWN_MAX])):
            console.print(f"{refused[0]} is not synced: {refused[1]}", markup=False)
    took = f"compared in {verdict.took_s:.1f} s"
    if verdict.equal:
        parked = sum(each.summary["parked"] for each in verdict.objects.values())
        waits = (
            f", except for {parked:,} {'record that waits' if parked == 1 else 'records that wait'} (`salmon why` explains each)"
            if parked
            else ""
        )
        console.print(f"Equal: {'all' if further else 'both'} sides and `records` agree{waits}; {took}.")
    elif verdict.differs:
        console.print(f"Different; {took}.")
    else:
        console.print(f"Could not find out: some records could not be compared; {took}.")


def differences(verdict: ObjectVerdict) -> Iterator[str]:
    """Yield what differs in one object: records by key and fields by name, but never a value."""
    from salmon.verify.comparing import UNWANTED

    for key, sides in verdict.different.items():
        where = "; ".join(f"in {side}: {', '.join(fields)}" for side, fields in sides.items())
        yield f"{key} differs {where}"
    for where, keys in verdict.missing_in.items():
        for key in keys:
            yield f"{key} is missing in {where}"
    for waiting in verdict.parked:
        what = ", ".join(waiting.fields) or "the whole record"
        code = f" ({waiting.code})" if waiting.code else ""
        if waiting.why == UNWANTED:
            yield f"{waiting.key} stays in {waiting.side}, whose filter does not want it: it was born there, or a person has kept it"
            continue
        yield f"{waiting.key} waits in {waiting.side}: {what}, {waiting.why.lower()}{code}"
    for key, why in verdict.remains.items():
        yield f"{key} still differs: {_WHY[why]}"
    for side in sorted(verdict.unanswered):
        yield f"was not read again: {side}-source has not answered; check that it runs (salmon status)"
    if verdict.asked:
        yield f"repair: {verdict.repaired:,} of {verdict.asked:,} are in sync now"
    if verdict.not_looked_at:
        yield f"has {verdict.not_looked_at:,} more records that differed at first and were not compared again"
    if verdict.moving:
        yield f"has {len(verdict.moving):,} records that kept changing: compare again when there are fewer edits"
    if verdict.without_key:
        yield f"has {verdict.without_key:,} documents whose _id cannot be a record key"
    for shown, reason in verdict.keyless:
        yield f"{shown} is not synced: {reason}"
