"""
Play chaos: the five processes under load, one fault every few seconds, and a judge of its own afterwards.

    make chaos SECONDS=600 SEED=1 STACK=embedded ARGS="--faults kill,stop,http --record"

Prints one JSON object. Exit code 0: nothing is lost, divergent or invented, no conflict is false, nothing was set
aside, everything was well again in time, and `salmon verify` says the same. 1: something is wrong, and the folder with all
logs is kept. 2: bad input. (`make` itself ends with 2 in either case; CONTRIBUTING.md, Chaos.)
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaException

from salmon.errors import SalmonError
from support.chaos import options, plan, reading, results
from support.chaos.options import BadInput, Options
from support.chaos.playing import play
from support.chaos.warden import watched_over

EXIT_GOOD: Final = 0
EXIT_FOUND: Final = 1
EXIT_BAD_INPUT: Final = 2
_SHOWN_FAULTS: Final = 50


def main() -> int:
    try:
        chosen = options.parsed(sys.argv[1:])
    except BadInput as error:
        say(str(error))
        return EXIT_BAD_INPUT
    if chosen.plan_only:
        return show_plan(chosen)
    enough = threading.Event()

    def interrupted(_number: int, _frame: object) -> None:
        if enough.is_set():
            raise KeyboardInterrupt  # the second one ends it now, and everything that was started
        enough.set()
        say("Ending faults and edits; what was done so far is judged. Ctrl-C again gives it up.")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupted)
    folder = chosen.folder or Path(tempfile.mkdtemp(prefix="salmon-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with watched_over():
            outcome = play(chosen, folder, say, enough)
    except (SalmonError, KafkaException, *reading.FAILURES) as error:
        say(f"The run could not be played or judged: {error} Its folder is kept: {folder}")
        return EXIT_FOUND
    except KeyboardInterrupt:
        say(f"Given up. Its folder is kept: {folder}")
        return EXIT_FOUND
    good = results.is_good(outcome)
    print(json.dumps(outcome, indent=2))
    if chosen.record:
        results.record(outcome)
    if good and chosen.folder is None:
        shutil.rmtree(folder, ignore_errors=True)
    elif not good:
        say(f"Not good: {results.why_not_good(outcome)} Logs, the journal and verdict.txt are in {folder}")
    return EXIT_GOOD if good else EXIT_FOUND


def show_plan(chosen: Options) -> int:
    """The first faults that would come."""
    for fault in plan.faults(chosen.wanted, chosen.supervisor):
        print(f"{fault.number:3} after {fault.pause_s:.1f} s: {fault}")
        if fault.number == _SHOWN_FAULTS:
            break
    return EXIT_GOOD


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
