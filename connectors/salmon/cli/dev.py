"""
`salmon dev up` and `salmon dev down`: a stack for one machine, in the background.

What it is made of is said in salmon.devstack.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from salmon.cli.terminal import err, print_json, say, typed
from salmon.errors import ConfigError

app = typer.Typer(
    help="A stack for one machine: Kafka, a registry, MongoDB and a simulated org.", no_args_is_help=True
)

_FOLDER: Final = Path(".salmon/dev")
Folder = Annotated[Path, typer.Option("--dir", help="Where its data and logs are.")]


@app.command()
def up(
    folder: Folder = _FOLDER,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, for scripts.")] = False,
    describe: Annotated[
        Path | None, typer.Option(help="Folder of describe files; default: Account, Contact, Opportunity.")
    ] = None,
    objects: Annotated[
        str, typer.Option(help="Comma-separated; default: all that there are describe files of.")
    ] = "",
    seed: Annotated[int, typer.Option(help="Chooses the records of the org.")] = 0,
    records: Annotated[
        str, typer.Option(help="Records to begin with: Account=2000,Contact=5000, or one number for each.")
    ] = "",
    jvm: Annotated[
        bool,
        typer.Option(
            "--jvm", help="Apache Kafka and Apicurio (for developers; needs Java 17, Maven, a checkout)."
        ),
    ] = False,
) -> None:
    """Start the stack in the background, wait until it serves, and tell where everything is."""
    from salmon.devstack.stack import DevOptions, DevStack
    from salmon.runtime import logs

    logs.configure(log_format="console", level="warning")
    options = DevOptions(
        describe=None if describe is None else str(describe.absolute()),
        objects=_names(objects),
        seed=seed,
        records=_counts(records),
        jvm=jvm,
    )
    # On standard error, and only for people: what scripts read stays one JSON object.
    with err().status("Starting Kafka, the schema registry, MongoDB and the simulated org ..."):
        answer = DevStack(folder, options).up()
    if as_json:
        print_json(answer)
    else:
        _tell(answer, folder)


@app.command()
def down(
    folder: Folder = _FOLDER,
    purge: Annotated[bool, typer.Option("--purge", help="Remove its data, too.")] = False,
) -> None:
    """End the stack. Its data stay, but for the org's, which are in memory only."""
    from salmon.devstack.stack import DevStack
    from salmon.runtime import logs

    logs.configure(log_format="console", level="warning")
    was_running = DevStack(folder).down(purge=purge)
    ended = "ended" if was_running else "no stack was running"
    err().print(f"{folder}: {ended}{', data removed' if purge else ''}.", markup=False)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in (part.strip() for part in text.split(",")) if name)


def _counts(text: str) -> Mapping[str, int] | int | None:
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return int(text)
    counts = {}
    for part in _names(text):
        name, _, count = part.partition("=")
        if not (name and count.isascii() and count.isdigit()):
            raise ConfigError(
                f"--records: {part!r} is no count of an object. Write Account=2000,Contact=5000, or 1000."
            )
        counts[name] = int(count)
    return counts


def _tell(answer: Mapping[str, Any], folder: Path) -> None:
    org = answer["salesforce"]
    lines = {
        "Kafka": answer["kafka"]["bootstrap_servers"],
        "Schema registry": answer["schema_registry"]["url"],
        "MongoDB": f"{answer['mongodb']['uri']} (database {answer['mongodb']['database']})",
        "Salesforce": f"{org['instance_url']} (username {org['username']})",
        "  its controls": org["control_url"],
        "  its CA": org["ca_file"],
        "Configuration": answer["config"],
    }
    for name, value in lines.items():
        say(f"{name:16} {value}")
    say("", f"Next: {typed()} run all -c {answer['config']}", f"End:  {typed()} dev down --dir {folder}")
