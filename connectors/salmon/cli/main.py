"""
`salmon`: the commands, their exit codes, and how errors are printed.

Each command is in a module of its own, imported when it runs: `salmon --help` must not wait for gRPC. Exit codes:
0 yes, or done; 1 no, or an unexpected error; 2 a person must correct something, named in one sentence on standard
error; 3 replaced by a newer instance; 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from salmon import __version__
from salmon.cli import (
    api as api_commands,
)
from salmon.cli import (
    config as config_commands,
)
from salmon.cli import (
    conflicts,
    demo,
    dev,
    dlq,
    doctor,
    flow,
    guard,
    match,
    retry,
    schemas,
    setup,
    snapshot,
    status,
    verify,
    why,
)
from salmon.cli.terminal import complain, say
from salmon.errors import ConfigError, Fenced, SalmonError, Superseded
from salmon.harmless import harmless_traceback

EXIT_UNFORESEEN: Final = 1
EXIT_FATAL: Final = 2
EXIT_FENCED: Final = 3
EXIT_INTERRUPTED: Final = 130
# Set by --debug, and inherited by the processes that a command starts.
DEBUG_VARIABLE: Final = "SALMON_DEBUG"

app = typer.Typer(
    name="salmon",
    help="Two-way, near-real-time sync between Salesforce and MongoDB over Apache Kafka.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)
app.command("setup")(setup.setup)
app.command("verify")(verify.verify)
app.command("status")(status.status)
app.command("why")(why.why)
app.command("retry")(retry.retry)
app.command("snapshot")(snapshot.snapshot)
app.command("match")(match.match)
app.add_typer(api_commands.app, name="api")
app.add_typer(config_commands.app, name="config")
app.add_typer(conflicts.app, name="conflicts")
app.add_typer(dev.app, name="dev")
app.add_typer(dlq.app, name="dlq")
app.add_typer(flow.app, name="flow")
app.add_typer(guard.app, name="guard")
app.add_typer(schemas.app, name="schemas")


def main() -> None:
    """Run the command that was typed, and exit with its code."""
    try:
        _require_text(sys.argv[1:])
        app(prog_name="salmon")
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - any error ends here, as one sentence
        sys.exit(exit_code_of(error))


def _require_text(arguments: Sequence[str]) -> None:
    """Refuse bytes that are not UTF-8, for all commands: neither a topic nor a side can hold them."""
    for number, argument in enumerate(arguments, start=1):
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise ConfigError(
                f"argument {number} of the command line is not valid UTF-8. Write keys, names and texts in UTF-8."
            ) from None


def exit_code_of(error: Exception) -> int:
    """Print in one sentence what went wrong, and return the exit code. With --debug, also print where."""
    if os.environ.get(DEBUG_VARIABLE):
        for line in harmless_traceback(error).splitlines():
            complain(line)
    if isinstance(error, SalmonError):
        complain(f"salmon: {error}")
        return EXIT_FENCED if isinstance(error, Superseded | Fenced) else EXIT_FATAL
    hint = "This is a fault in Salmon. Run `salmon --debug ...` to see where, and please report it."
    complain(f"salmon: unexpected error: {type(error).__name__}: {error}. {hint}")
    return EXIT_UNFORESEEN


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"salmon {__version__}")
        raise typer.Exit


@app.callback()
def _salmon(
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"


@app.command("run")
def _run(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="salesforce-source, mongodb-source, merge, mongodb-sink or salesforce-sink; or api. Or all: these five, "
            "and api if the file has the section api, each as a process.",
        ),
    ],
    config: Annotated[
        Path, typer.Option("--config", "-c", help="The sync's YAML file.", envvar="SALMON_CONFIG")
    ] = Path("sync.yaml"),
    *,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help="Port of /health and /metrics; 0: any free port. With all: the first of five ports. Default: rest.port of the "
            "file (api: api.port), which is also where `salmon status` looks: with another port, give it --ports-file.",
        ),
    ] = None,
    ports_file: Annotated[
        Path | None,
        typer.Option(help="With all: write the address of each process to this file, as JSON."),
    ] = None,
    ordinal: Annotated[
        int | None,
        typer.Option(min=0, help="Number of this replica of NAME, from 0. Default: from the pod's name."),
    ] = None,
    log_format: Annotated[
        Literal["auto", "json", "console"], typer.Option(help="auto: console on a terminal, json elsewhere.")
    ] = "auto",
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"] | None,
        typer.Option(help="Least severity to log. Default: log.level of the file.", show_default=False),
    ] = None,
) -> None:
    """Run one connector, or all of them on this machine, until SIGTERM or Ctrl-C."""
    if name == "all":
        if ordinal is not None:
            raise typer.BadParameter(
                "only for one connector; `run all` starts one instance of each", param_hint="--ordinal"
            )
        from salmon.app.supervisor import run_all

        code = run_all(config, port=port, ports_file=ports_file, log_format=log_format, log_level=log_level)
    elif ports_file is not None:
        raise typer.BadParameter("only for `run all`", param_hint="--ports-file")
    elif name == "api":
        from salmon.api.process import run as serve
        from salmon.runtime.watchdog import LastResort

        code = serve(config, port=port, log_format=log_format, log_level=log_level, last_resort=LastResort())
    else:
        from salmon.app.process import run
        from salmon.cli.verify import scheduled
        from salmon.runtime.watchdog import LastResort

        code = run(
            name,
            config,
            port=port,
            ordinal=ordinal,
            log_format=log_format,
            log_level=log_level,
            beside=scheduled(config),
            last_resort=LastResort(),
        )
    raise typer.Exit(code)


@app.command(
    "simulator",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def _simulator(context: typer.Context) -> None:
    """Run a simulated Salesforce org in the foreground; `salmon simulator --help` shows its options."""
    from salmon.simulator.__main__ import main as simulate

    raise typer.Exit(simulate(context.args))


if __name__ == "__main__":
    main()
