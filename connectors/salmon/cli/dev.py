"""
`salmon dev up` and `salmon dev down`: Kafka, registry, MongoDB and a simulated org on this machine, in the background.

The servers themselves are in salmon.devstack.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from salmon.cli.terminal import err, print_json, say, typed
from salmon.errors import ConfigError

app = typer.Typer(
    help="Start or stop Kafka, a schema registry, MongoDB and a simulated org on this machine.",
    no_args_is_help=True,
)

_FOLDER: Final = Path(".salmon/dev")
# What these servers cannot do but real ones can. Whoever tests outages with them should know.
_ORG_LIMITS: Final = "The org keeps its records in memory: if it is killed, they are lost."
_EMBEDDED_LIMITS: Final = (
    "Kafka keeps its records in memory until `dev down` stops it: if it is killed, they are lost. It does not end the\n"
    f"transaction of a process that died; the next start of that process does. {_ORG_LIMITS}"
)
_JVM_LIMITS: Final = (
    f"Apicurio keeps the schemas in memory: if it is killed, the records can no longer be read. {_ORG_LIMITS}"
)
Folder = Annotated[Path, typer.Option("--dir", help="Folder for data and logs.")]


@app.command()
def up(
    folder: Folder = _FOLDER,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, for scripts.")] = False,
    as_env: Annotated[
        bool,
        typer.Option(
            "--env", help='Print shell commands that set the addresses: eval "$(... dev up --env)".'
        ),
    ] = False,
    describe: Annotated[
        Path | None, typer.Option(help="Folder of describe files. Default: Account, Contact, Opportunity.")
    ] = None,
    objects: Annotated[
        str, typer.Option(help="Objects, separated by commas. Default: all with a describe file.")
    ] = "",
    seed: Annotated[int, typer.Option(help="Seed for the org's random records.")] = 0,
    records: Annotated[
        str,
        typer.Option(help="Records at the start: Account=2000,Contact=5000, or one number for all objects."),
    ] = "",
    jvm: Annotated[
        bool,
        typer.Option("--jvm", help="Use Apache Kafka and Apicurio (needs Java 17, Maven and a clone)."),
    ] = False,
    bare_org: Annotated[
        bool,
        typer.Option(
            "--bare-org",
            help="An org without Salmon's fields and without change events, to rehearse `salmon doctor` and `salmon setup`.",
        ),
    ] = False,
    person_accounts: Annotated[
        bool, typer.Option("--person-accounts", help="An org in which accounts may be persons.")
    ] = False,
) -> None:
    """Start the servers in the background, wait until they answer, and print all addresses."""
    from salmon.devstack.environment import exports
    from salmon.devstack.stack import DevOptions, DevStack
    from salmon.ops import logs

    if as_json and as_env:
        raise ConfigError("--json and --env are two forms of the same answer. Give one of them.")
    logs.configure(log_format="console", level="warning")
    options = DevOptions(
        describe=None if describe is None else str(describe.absolute()),
        objects=_names(objects),
        seed=seed,
        records=_counts(records),
        jvm=jvm,
        bare_org=bare_org,
        person_accounts=person_accounts,
    )
    # On standard error, and only for people: scripts get one JSON object.
    with err().status("Starting Kafka, the schema registry, MongoDB and the simulated org ..."):
        answer = DevStack(folder, options).up()
    if as_json:
        print_json(answer)
    elif as_env:
        say(*exports(answer))
    else:
        _print_addresses(
            answer,
            folder,
            _EMBEDDED_LIMITS if not jvm else _JVM_LIMITS,
            following="doctor" if bare_org else "run all",
        )


@app.command()
def down(
    folder: Folder = _FOLDER,
    purge: Annotated[bool, typer.Option("--purge", help="Also delete the data.")] = False,
) -> None:
    """Stop the servers. Kafka and MongoDB keep their data; the org's records are lost."""
    from salmon.devstack.stack import DevStack
    from salmon.ops import logs

    logs.configure(log_format="console", level="warning")
    was_running = DevStack(folder).down(purge=purge)
    ended = "stopped" if was_running else "nothing was running"
    err().print(f"{folder}: {ended}{', data deleted' if purge else ''}.", markup=False)


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
                f"--records: {part!r} is not OBJECT=COUNT. Write Account=2000,Contact=5000, or 1000."
            )
        counts[name] = int(count)
    return counts


def _print_addresses(answer: Mapping[str, Any], folder: Path, limits: str, *, following: str) -> None:
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
    say("", *limits.splitlines(), "")
    say(f"Next: {typed()} {following} -c {answer['config']}", f"End:  {typed()} dev down --dir {folder}")
