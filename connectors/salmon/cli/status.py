"""`salmon status`: is every process healthy, what is on its way, and what waits. The work is in salmon.status."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from salmon.cli.terminal import CONFIG_DEFAULT, ConfigOption, JsonOption, configured, out, print_json, table

if TYPE_CHECKING:
    from rich.console import Console

    from salmon.errors import ConfigError
    from salmon.status.counting import Count
    from salmon.status.overview import Lag, ObjectStatus, Overview
    from salmon.status.scraping import ProcessReport

EXIT_UNHEALTHY: Final = 1
_STYLES: Final = {"healthy": "green", "starting": "yellow"}


def status(
    config: ConfigOption = CONFIG_DEFAULT,
    *,
    ports_file: Annotated[
        Path | None,
        typer.Option(
            help="What `run all --ports-file` wrote; by default the ports.json beside the configuration, else the "
            "ports that it names."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """
    Show whether each process is healthy, and for each object what is agreed and what is on its way.

    The processes appear within three seconds, even if something hangs; then the objects, from Kafka. If the configuration has a
    fault, the processes are shown too, if their ports are known: they still work with what they read before.

    Exit code 0: all processes are healthy.
    1: one is not, or belongs to another sync.
    2: Kafka or the registry cannot be reached, or the configuration has a fault.
    """
    from salmon.errors import ConfigError, SalmonError
    from salmon.status.overview import Look
    from salmon.status.scraping import places_of

    try:
        settings = configured(config)
    except ConfigError as fault:
        if not config.is_file():
            raise
        _show_without_configuration(config, ports_file, fault, as_json=as_json)
        raise
    look = Look(settings, places_of(settings, config, ports_file))
    if not as_json:
        show_processes(look.processes, out())
    try:
        seen = look.overview()
    except SalmonError as trouble:
        if as_json:
            print_json(look.without_kafka(trouble).as_dict())
        raise
    if as_json:
        print_json(seen.as_dict())
    else:
        show(seen, out())
    raise typer.Exit(0 if seen.healthy else EXIT_UNHEALTHY)


def _show_without_configuration(
    config: Path, ports_file: Path | None, fault: ConfigError, *, as_json: bool
) -> None:
    """Show what the processes report at their ports: those of the ports file, or what the file still says of name and `rest`."""
    from salmon.config.sections.rest import RestConfig
    from salmon.status.counting import NONE
    from salmon.status.overview import Overview
    from salmon.status.scraping import Owner, addresses, ask

    written = _read_loosely(config)
    name, said = written.get("name"), written.get("rest")
    rest = said if isinstance(said, dict) else {}
    host, port = rest.get("host"), rest.get("port")
    where = addresses(
        config_file=config,
        ports_file=ports_file,
        host=host if isinstance(host, str) else RestConfig().host,
        port=port if isinstance(port, int) else RestConfig().port,
        secure=bool(rest.get("tls")),
    )
    processes = tuple(ask(Owner(name if isinstance(name, str) else None), where))
    if as_json:
        print_json(Overview(processes, (), NONE, {}, {}, trouble=str(fault)).as_dict())
    else:
        show_processes(processes, out())


def _read_loosely(config: Path) -> Mapping[str, Any]:
    """What the file contains, as far as it is YAML."""
    from salmon.config import yaml_file
    from salmon.errors import ConfigError

    try:
        written = yaml_file.written_in(config).content
    except ConfigError:
        return {}
    return written if isinstance(written, dict) else {}


def show_processes(seen: Sequence[ProcessReport], console: Console) -> None:
    """Print the processes."""
    from rich.text import Text

    from salmon.status.overview import budgets_of, former_path_writes

    processes = table(box=None, pad_edge=False)
    for heading in ("process", "status", "deferred", "API calls", "where", "says"):
        processes.add_column(heading, justify="right" if heading in _NUMBERS else "left")
    for each in seen:
        processes.add_row(
            each.connector,
            Text(each.status, style=_STYLES.get(each.status, "red")),
            _known(each.counted("salmon_deferred_records")),
            _known(each.counted("salmon_api_calls_total")),
            each.url,
            each.says,
        )
    console.print(processes)
    for each in seen:
        for name, budget in budgets_of(each).items():
            console.print(f"{each.connector}: {_budget(name, budget)}", markup=False)
        for name, count in former_path_writes(each).items():
            console.print(
                f"{each.connector}: {name}: applications have written fields {count:,} times where they were before fields.rename, and there they "
                f"are not synced. /health names the paths. Change the application.",
                markup=False,
            )


def _known(number: int | Count | None) -> str:
    """A number, or that it is not known: 0 would say that there is none."""
    return "-" if number is None else f"{number:,}" if isinstance(number, int) else str(number)


def _budget(name: str, budget: Mapping[str, int | None]) -> str:
    seconds = budget["exhausted_in_seconds"]
    soon = "" if seconds is None else f"; used up in {seconds / 3600:,.1f} h at the pace of the last hour"
    return (
        f"{budget['left'] or 0:,} {name.replace('_', ' ').replace('api', 'API')} are left to Salmon (everybody has used {budget['used'] or 0:,} of"
        f" {budget['allowed'] or 0:,} in 24 hours, this sync {budget['ours'] or 0:,}){soon}"
    )


def show(seen: Overview, console: Console) -> None:
    """Print what is in Kafka."""
    from salmon.status.waiting import MISFIT

    for topic in seen.missing_topics:
        console.print(f"Topic {topic} does not exist. Start the connectors: they create it.", markup=False)
    for topic in seen.made_again:
        console.print(
            f"Topic {topic} is not the one that merge has read so far: Kafka is another cluster, was restored, or the topic was made again. When merge "
            f"runs, it asks the sources to read all records of the object again.",
            markup=False,
        )
    if not seen.objects:
        return
    own = ("mongodb", "salesforce")
    further = list(dict.fromkeys(side for one in seen.objects for side in one.owed if side not in own))
    objects = table(box=None, pad_edge=False)
    objects.add_column("object")
    for heading in (
        "records", "to merge", "to MongoDB", "to Salesforce", *(f"to {side}" for side in further),
        "lag to MongoDB p50 / p99", "to Salesforce p50 / p99", *(f"to {side} p50 / p99" for side in further), "conflicts", "held", "refused", "deferred", "first load",
    ):  # fmt: skip
        objects.add_column(heading, justify="right")
    for one in seen.objects:
        objects.add_row(
            one.name,
            str(one.records),
            str(one.unmerged),
            str(one.owed["mongodb"]),
            str(one.owed["salesforce"]),
            *(str(one.owed[side]) if side in one.owed else "" for side in further),
            _lag(one.lags["to_mongodb"]),
            _lag(one.lags["to_salesforce"]),
            *(_lag(one.lags[f"to_{side}"]) if side in one.owed else "" for side in further),
            _known(one.conflicts),
            *(_known(one.waits(why)) for why in ("held", "refused", "deferred")),
            _loaded(one),
        )
    console.print()
    console.print(objects)
    for one in seen.objects:
        if one.places:
            there = ", ".join(f"{count} in {name}" for name, count in one.places.items())
            console.print(f"{one.name}: documents in its collections: {there}.", markup=False)
        for side, count in one.guarded.items():
            if count:
                console.print(
                    f"{one.name}: {count:,} deletes on {side} wait, because there were too many at once. "
                    f"See them with `salmon guard list`; decide with `salmon guard approve` or `discard`.",
                    markup=False,
                )
        if (misfits := one.waits(MISFIT)) is not None and misfits.records:
            console.print(
                f"{one.name}: {misfits} fields have values that cannot be synced; the other fields of these records are synced. "
                f"`salmon verify` lists the records, `salmon why` says what to correct.",
                markup=False,
            )
        if one.oscillating:
            console.print(
                f"{one.name}: two automations keep undoing each other's value; sync of a field was paused {one.oscillating:,} times. "
                f"merge's log names the fields (fields_oscillate). Correct one of the automations.",
                markup=False,
            )
    console.print()
    console.print(
        f"Dead letters that nobody has dealt with: {_dead_letters(seen)}. Conflicts in the topic: {seen.conflicts}. Held, refused and deferred are the fields that wait "
        f"now; conflicts, API calls and the lags are since the process started. `salmon conflicts list --held` shows what waits for a decision now."
    )


_NUMBERS: Final = frozenset({"deferred", "API calls"})


def _dead_letters(seen: Overview) -> str:
    some = [f"{name} {count}" for name, count in seen.dead_letters.items() if count.records]
    return ", ".join(some) or "none"


def _loaded(one: ObjectStatus) -> str:
    if one.snapshot_read is None:
        return ""
    read, total, left_s = one.snapshot_read, one.snapshot_total, one.snapshot_left_s
    of = "" if total is None else f" of {total:,}"
    polled = "" if one.polled_s is None else f", polled {one.polled_s:,} s ago"
    return f"{read:,}{of}{f', about {math.ceil(left_s / 60)} min left' if left_s else ''}{polled}"


def _lag(lag: Lag) -> str:
    return "-" if lag.p50_s is None else f"{_time(lag.p50_s)} / {_time(lag.p99_s)}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:,.1f} s"
