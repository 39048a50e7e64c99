"""`salmon match`: find the records that both sides have, and give them common keys. The work is in salmon.match."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    or_could_not,
    out,
    print_json,
    say,
    table,
)
from salmon.errors import ConfigError

if TYPE_CHECKING:
    from salmon.config.models import SyncConfig
    from salmon.match.matching import Became, Found, Wanted

EXIT_NOT_DONE: Final = 1
_WHAT: Final = {
    "salesforce": "reading Salesforce",
    "mongodb": "reading MongoDB",
    "applied": "writing keys",
}


def match(
    config: ConfigOption = CONFIG_DEFAULT,
    *,
    apply: Annotated[
        bool, typer.Option("--apply", help="Write the keys of the pairs in the files into Salesforce.")
    ] = False,
    waive: Annotated[
        bool,
        typer.Option(
            "--waive", help="Load the objects named by --object as they are, without (more) matching."
        ),
    ] = False,
    objects: Annotated[
        list[str] | None,
        typer.Option("--object", help="Only this object; may be repeated. Default: all that have `match`."),
    ] = None,
    folder: Annotated[Path, typer.Option(help="Folder of the files.")] = Path("matching"),
    api_share: Annotated[
        float,
        typer.Option(
            min=0.01,
            max=1.0,
            help="Stop when more than this share of the org's daily API calls is used up, by whomever.",
        ),
    ] = 0.9,
    as_json: JsonOption = False,
) -> None:
    """
    Before the first load: find the records that both sides have already, by the fields in objects.<Object>.match.

    Without --apply or --waive, both sides are read, and nothing is written but files: of each object the pairs, the doubts, and what only
    one side has. Look at them. Move lines between pairs and doubts, or delete them. Then run it with --apply. It may be stopped and
    run again at any time. An object is loaded when all its pairs are applied and no doubts are left in their file.

    Exit code 0: done; an object that was applied or waived is loaded from now on.
    1: there are doubts, some pairs could not be applied, or a server did not answer: the lines say what to do.
    2: correct what the message names.
    """
    from salmon.match.matching import Wanted
    from salmon.match.matching import waive as waive_

    if apply and waive:
        raise ConfigError("--apply and --waive exclude each other. Give one of them.")
    settings = configured(config)
    with or_could_not():
        if waive:
            _say_waived(waive_(settings, objects or ()), as_json=as_json)
            return
        with _progress(quiet=as_json) as watch:
            wanted = Wanted(folder, objects or (), api_share, watch)
            is_done = (_apply if apply else _find)(settings, wanted, as_json=as_json)
    raise typer.Exit(0 if is_done else EXIT_NOT_DONE)


def _find(settings: SyncConfig, wanted: Wanted, *, as_json: bool) -> bool:
    from salmon.match.matching import find

    found = find(settings, wanted)
    is_done = not any(each.has_doubts for each in found.values())
    if as_json:
        objects = {name: each.as_dict() for name, each in found.items()}
        print_json({"folder": str(wanted.folder), "objects": objects})
    else:
        _show_found(found)
        say("", *_next_steps(found, wanted.folder))
    return is_done


def _show_found(found: Mapping[str, Found]) -> None:
    shown = table(box=None, pad_edge=False)
    heads = (
        "matched already",
        "pairs",
        "in doubt (Salesforce)",
        "in doubt (MongoDB)",
        "only Salesforce",
        "only MongoDB",
    )
    shown.add_column("object")
    for head in heads:
        shown.add_column(head, justify="right")
    for name, each in found.items():
        counts = (
            each.matched,
            each.pairs,
            each.doubts_in_salesforce,
            each.doubts_in_mongodb,
            each.only_salesforce,
            each.only_mongodb,
        )
        shown.add_row(name, *(f"{count:,}" for count in counts))
    out().print(shown)


def _next_steps(found: Mapping[str, Found], folder: Path) -> Iterator[str]:
    yield f"Nothing was changed. The files are in {folder}."
    doubtful = [name for name, each in found.items() if each.has_doubts]
    if doubtful:
        yield (
            f"{', '.join(doubtful)}: move each line of the doubts that is a pair to the pairs, and delete the others; these become two "
            f"records on each side."
        )
    yield f"Then run `salmon match --apply --folder {folder}`."


def _apply(settings: SyncConfig, wanted: Wanted, *, as_json: bool) -> bool:
    from salmon.match.matching import apply

    became = apply(settings, wanted)
    is_done = all(each.is_complete for each in became.values())
    if as_json:
        print_json({"complete": is_done, "objects": {name: each.as_dict() for name, each in became.items()}})
    else:
        say(*(line for name, each in became.items() for line in _lines(name, each, wanted.folder)))
    return is_done


def _lines(name: str, became: Became, folder: Path) -> Iterator[str]:
    applied = became.applied
    if became.loaded:
        yield f"{name}: it was matched before, and the sync has begun to load it. Keys never change, so nothing was written."
        return
    yield f"{name}: {applied.written:,} keys written, {applied.there:,} were there."
    for reason, count in applied.reasons.items():
        yield f"  {count:,} refused: {reason}."
    if applied.refused:
        yield f"  See {folder / name}.refused.csv. Correct them, or delete their lines from the pairs, and run this again."
    if became.doubts:
        yield (
            f"  {became.doubts:,} lines are left in {folder / name}.doubts.csv. Move those that are pairs to the pairs, delete the others, "
            f"and run this again. To load {name} as it is: `salmon match --waive --object {name}`."
        )
    if became.is_complete:
        yield f"  {name} is matched. It is loaded from now on, or when the objects that it refers to are matched, too."
    else:
        yield f"  {name} still waits."


def _say_waived(waived: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        print_json({"waived": list(waived)})
    else:
        say(
            *(
                f"{name} waits no more. What has no common key is created on the other side."
                for name in waived
            )
        )


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[str, str, int], None]]:
    """Show on a terminal what is done, and how many records so far."""
    if quiet or not sys.stderr.isatty():
        yield lambda *_: None
        return
    with err().status("matching") as status:

        def watch(name: str, what: str, count: int) -> None:
            status.update(f"{name}: {_WHAT[what]}, {count:,} records")

        yield watch
