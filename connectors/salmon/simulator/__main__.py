"""`salmon simulator` (or `python -m salmon.simulator`): a simulated Salesforce org in the foreground, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path

import structlog

from salmon.errors import SalmonError
from salmon.harmless import harmless_sentences
from salmon.simulator.org.describes import PACKAGED
from salmon.simulator.server import Ports, Simulator

_ENDING = (signal.SIGTERM, signal.SIGINT)


def main(arguments: list[str] | None = None) -> int:
    """Run a box; print its endpoints as one JSON object on standard output once it serves."""
    options = _parser().parse_args(arguments)
    # Standard output is for the endpoints.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    # Threads inherit the mask, so none of the servers' takes the signal that is waited for below.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    records = {}
    for item in options.records or ():
        name, _, count = item.partition("=")
        records[name] = int(count)
    try:
        simulator = Simulator.start(
            options.dir,
            ports=Ports(
                options.rest_port, options.pubsub_port, options.control_port, options.advertised_rest_port
            ),
            describe_folder=options.describe,
            objects=options.objects.split(",") if options.objects else None,
            records=records,
            random_seed=options.seed,
            marker_fields=not options.no_marker_fields,
        )
    except SalmonError as error:
        print(harmless_sentences(str(error)), file=sys.stderr)  # noqa: T201
        return 2
    with simulator:
        endpoints = simulator.endpoints.as_dict()
        if options.json:
            print(json.dumps(endpoints), flush=True)  # noqa: T201
        else:
            for name, value in endpoints.items():
                print(f"{name:22} {value}", flush=True)  # noqa: T201
        signal.sigwait(_ENDING)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="salmon simulator", description=__doc__)
    parser.add_argument(
        "--dir", type=Path, required=True, help="folder for the certificates and the private key"
    )
    parser.add_argument("--json", action="store_true", help="print the addresses as one JSON object")
    parser.add_argument("--describe", type=Path, default=PACKAGED, help="folder with describe files")
    parser.add_argument("--objects", help="objects, separated by commas; default: all in the folder")
    parser.add_argument(
        "--records", action="append", metavar="OBJECT=COUNT", help="records at the start; may be repeated"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed for the random records")
    parser.add_argument(
        "--no-marker-fields", action="store_true", help="do not add Salmon's marker fields to the describes"
    )
    parser.add_argument("--rest-port", type=int, default=0, help="default: any free port")
    parser.add_argument("--pubsub-port", type=int, default=0)
    parser.add_argument("--control-port", type=int, default=0)
    parser.add_argument(
        "--advertised-rest-port",
        type=int,
        default=0,
        help="port of a proxy in front of REST, if there is one",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
