"""`python -m salmon.simulator`: a Salesforce in a box in the foreground, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path

import structlog

from salmon.errors import SalmonError
from salmon.harmless import harmless_sentences
from salmon.simulator.describes import PACKAGED
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
            ports=Ports(options.rest_port, options.pubsub_port, options.control_port),
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
    parser = argparse.ArgumentParser(prog="python -m salmon.simulator", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="for certificates and the private key")
    parser.add_argument("--json", action="store_true", help="print the endpoints as one JSON object")
    parser.add_argument("--describe", type=Path, default=PACKAGED, help="folder of describe files")
    parser.add_argument("--objects", help="comma-separated; default: all of the folder")
    parser.add_argument(
        "--records", action="append", metavar="OBJECT=COUNT", help="records to begin with; repeatable"
    )
    parser.add_argument("--seed", type=int, default=0, help="chooses the records")
    parser.add_argument("--no-marker-fields", action="store_true", help="leave the describes as they are")
    parser.add_argument("--rest-port", type=int, default=0)
    parser.add_argument("--pubsub-port", type=int, default=0)
    parser.add_argument("--control-port", type=int, default=0)
    return parser


if __name__ == "__main__":
    sys.exit(main())
