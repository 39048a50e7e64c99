"""`salmon demo`: a whole sync on this machine, from an empty folder to the final comparison. The demo itself is in salmon.demo."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from salmon.cli.terminal import JsonOption, print_json, quiet_logs, say, typed

if TYPE_CHECKING:
    from types import FrameType

    from salmon.demo.stage import Stage

EXIT_NOT_PROVEN: Final = 1
_ENDINGS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
_AGAIN_S: Final = 0.5
_RECORDS_MIN: Final = 60  # fewest records of each object: the acts need records of their own


def demo(
    *,
    folder: Annotated[
        Path | None, typer.Option("--dir", help="Folder for data and logs. Default: a temporary folder.")
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=5, max=3600, help="How many seconds both sides are edited.")
    ] = 20.0,
    rate: Annotated[float, typer.Option(min=0.5, max=200, help="Edits per second on each side.")] = 10.0,
    scale: Annotated[
        float, typer.Option(min=0.01, max=20, help="Multiplies the records: 2,000 + 5,000 + 3,000.")
    ] = 1.0,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave everything running, and print how to look into it.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """
    Try Salmon on this machine: a simulated org, Kafka and MongoDB are synced, edited on both sides at once, and compared.

    Exit code 0: every promise was kept.
    1: one was not.
    """
    from salmon.cli.audience import audience_of
    from salmon.demo.play import Options, Play
    from salmon.demo.stage import Stage
    from salmon.devstack.stack import DEMO_RECORDS

    quiet_logs()
    records = {name: max(_RECORDS_MIN, round(count * scale)) for name, count in DEMO_RECORDS.items()}
    with _closing(Stage(folder, records)) as stage, audience_of(as_json=as_json) as audience:
        result = Play(stage, Options(records, seconds, rate), audience).run()
        if keep:
            stage.keep()
        answer = result.as_dict() | ({"look": look(stage)} if keep else {})
        audience.ended(result)
        if as_json:
            print_json(answer)
        elif keep:
            for name, value in look(stage).items():
                say(f"{name:18} {value}")
    raise typer.Exit(0 if result.proven else EXIT_NOT_PROVEN)


def look(stage: Stage) -> dict[str, Any]:
    """Print where everything is that still runs, and how to end it."""
    config = stage.config
    topics = config.topic_names
    shown: dict[str, Any] = {
        "MongoDB": f"{stage.stack['mongodb']['uri']} (database {config.mongodb.database})",
        "Kafka": stage.stack["kafka"]["bootstrap_servers"],
        "schema registry": stage.stack["schema_registry"]["url"],
        "topics": ", ".join(
            [*(topics.records(name) for name in config.objects), topics.conflicts, topics.offsets]
        ),
        "Salesforce": f"{stage.org['instance_url']} (CA {stage.org['ca_file']})",
        "its controls": f"{stage.org['control_url']}/state",
        "configuration": stage.stack["config"],
        "logs": str(stage.log_file),
    }
    shown |= {name: f"{url}/metrics" for name, url in stage.addresses().items()}
    api = stage.api_address
    shown |= {
        "console": f"{api}/console/",
        "reports": f"{api}/console/reports",
        "API": f"{api}/docs",
        "an example": f"curl '{api}/api/v1/Account?select=Name,Contacts(LastName)&limit=3'",
    }
    config_path, salmon = stage.stack["config"], typed()
    shown["status"] = f"{salmon} status -c {config_path}"
    shown["conflicts"] = f"{salmon} conflicts list -c {config_path}"
    shown["comparison"] = f"{salmon} verify -c {config_path}"
    # The connectors write to the folder until they have ended.
    ended = f"kill {stage.pid}; tail --pid={stage.pid} -f /dev/null"
    shown["to end it"] = f"{ended}; {salmon} dev down --purge --dir {stage.folder}"
    return shown


@contextmanager
def _closing(stage: Stage) -> Iterator[Stage]:
    """End everything that was started, also after Ctrl-C or SIGTERM. A second signal does not interrupt that."""
    signals: list[int] = []

    def end(number: int, _frame: FrameType | None) -> None:
        signals.append(number)
        # An exception in a finalizer or in a callback of a C library is lost. So it is raised again until it arrives.
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
        sys.exit(128 + signals[0])

    before = {number: signal.signal(number, end) for number in _ENDINGS}
    try:
        yield stage
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number in _ENDINGS:
            signal.signal(number, signal.SIG_IGN)
        try:
            stage.close()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
