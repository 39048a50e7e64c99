"""`salmon simulator` (or `python -m salmon.simulator`): a simulated Salesforce org in the foreground, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, NoReturn

import structlog
import yaml

from salmon.errors import SalmonError
from salmon.harmless import harmless_sentences
from salmon.scratch import scratch
from salmon.simulator import control
from salmon.simulator.for_sync import salesforce_block
from salmon.simulator.org.objects.describes import MARKER_NAMES, PACKAGED, chosen_objects
from salmon.simulator.org.objects.platform_events import is_platform_event
from salmon.simulator.server import Ports, Simulator

_ENDING = (signal.SIGTERM, signal.SIGINT)
_PROGRAM: Final = "salmon simulator"
_EXIT_BAD_INPUT: Final = 2
_PORT_MAX: Final = 65_535
_RECORDS_MAX: Final = 10_000_000  # of one object; the org keeps them in memory
_KEEPALIVE_MAX_S: Final = 270  # Pub/Sub API, "Subscribe RPC Method"


def main(arguments: list[str] | None = None) -> int:
    """Run a box; print its endpoints as one JSON object on standard output once it serves."""
    options = _parser().parse_args(arguments)
    named = {name: count for name, count in options.records if name is not None}
    try:
        objects = chosen_objects(options.describe, options.objects, named)
    except SalmonError as error:
        return _refused(error)
    counts = [count for name, count in options.records if name is None]
    with_records = (name for name, describe in objects.items() if not is_platform_event(describe))
    records = {**(dict.fromkeys(with_records, counts[-1]) if counts else {}), **named}
    # Standard output is for the endpoints.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    # Threads inherit the mask, so none of the servers' takes the signal that is waited for below.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    with ExitStack() as stack:
        folder = options.dir or stack.enter_context(scratch("simulator"))
        try:
            simulator = Simulator.start(
                folder,
                ports=Ports(
                    options.rest_port, options.pubsub_port, options.control_port, options.advertised_rest_port
                ),
                describe_folder=options.describe,
                objects=tuple(objects),
                records=records,
                random_seed=options.seed,
                change_events=not options.no_change_events,
                marker_fields=not options.no_marker_fields,
                marker_names=options.marker_names,
                person_accounts=options.person_accounts,
                keepalive_s=options.keepalive_s,
            )
        except SalmonError as error:
            return _refused(error)
        stack.enter_context(simulator)
        _print_endpoints(simulator.endpoints.as_dict(), as_json=options.json)
        signal.sigwait(_ENDING)
    return 0


def _print_endpoints(endpoints: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(endpoints), flush=True)  # noqa: T201
        return
    for name, value in endpoints.items():
        print(f"{name:22} {value}")  # noqa: T201
    block = yaml.safe_dump({"salesforce": salesforce_block(endpoints)}, sort_keys=False, width=110)
    print(f"\n# For the YAML file of a sync:\n{block}", end="", flush=True)  # noqa: T201


def _refused(error: SalmonError) -> int:
    print(harmless_sentences(str(error)), file=sys.stderr)  # noqa: T201
    return _EXIT_BAD_INPUT


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with an option in one sentence, without the list of all options."""

    def error(self, message: str) -> NoReturn:
        self.exit(_EXIT_BAD_INPUT, f"{harmless_sentences(f'{self.prog}: {message}')}\n")


def _whole(most: int) -> Callable[[str], int]:
    """A whole number from 0 to *most*."""

    def number(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and int(text) <= most):
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {most}")
        return int(text)

    return number


def _keepalive(text: str) -> float:
    with suppress(ValueError):
        if 0 < float(text) <= _KEEPALIVE_MAX_S:
            return float(text)
    raise argparse.ArgumentTypeError(
        f"{text!r} is not a number of seconds, above 0 and up to {_KEEPALIVE_MAX_S}"
    )


def _names(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of objects. Write Account,Contact")
    return names


def _two_names(text: str) -> tuple[str, str]:
    names = _names(text)
    if len(names) != 2 or not all(name.endswith("__c") for name in names):
        raise argparse.ArgumentTypeError(f"{text!r} is not two custom fields. Write Sync_Seq__c,Sync_Key__c")
    return names[0], names[1]


def _count(text: str) -> tuple[str | None, int]:
    """The object and its number of records; None for all objects."""
    name, equals, count = text.rpartition("=")
    try:
        if name or not equals:
            return name or None, _whole(_RECORDS_MAX)(count)
    except argparse.ArgumentTypeError:
        pass
    raise argparse.ArgumentTypeError(
        f"{text!r} is not OBJECT=COUNT or COUNT, with a COUNT up to {_RECORDS_MAX}. Write Account=2000, or 2000 for all objects"
    )


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=_PROGRAM,
        description=__doc__,
        epilog=control.in_words(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    port = _whole(_PORT_MAX)
    parser.add_argument(
        "--dir",
        type=Path,
        help="folder for the certificates and the private key; default: a temporary folder that is removed at the end",
    )
    parser.add_argument("--json", action="store_true", help="print the addresses as one JSON object")
    parser.add_argument("--describe", type=Path, default=PACKAGED, help="folder with describe files")
    parser.add_argument(
        "--objects", type=_names, help="objects, separated by commas; default: all in the folder"
    )
    parser.add_argument(
        "--records",
        action="append",
        type=_count,
        default=[],
        metavar="[OBJECT=]COUNT",
        help="records at the start, of one object or of each; may be repeated",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed for the random records")
    parser.add_argument(
        "--no-change-events", action="store_true", help="do not select the objects for Change Data Capture"
    )
    parser.add_argument(
        "--no-marker-fields", action="store_true", help="do not add Salmon's marker fields to the describes"
    )
    parser.add_argument(
        "--marker-names",
        type=_two_names,
        default=MARKER_NAMES,
        metavar="SEQ,KEY",
        help="names of Salmon's marker fields, as `objects.<sObject>.markers` of a sync may give them",
    )
    parser.add_argument(
        "--person-accounts",
        action="store_true",
        help="let accounts be persons; describe files need not have it",
    )
    parser.add_argument(
        "--keepalive-s",
        type=_keepalive,
        default=60.0,
        metavar="SECONDS",
        help=f"how often an idle event stream hears something, up to {_KEEPALIVE_MAX_S} as in an org; default: 60",
    )
    parser.add_argument("--rest-port", type=port, default=0, help="default: any free port")
    parser.add_argument("--pubsub-port", type=port, default=0)
    parser.add_argument("--control-port", type=port, default=0)
    parser.add_argument(
        "--advertised-rest-port",
        type=port,
        default=0,
        help="port of a proxy in front of REST, if there is one",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
