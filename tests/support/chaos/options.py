"""What was asked for on the command line, or one clear sentence about what is wrong with it."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from support.chaos import plan
from support.chaos.plan import KINDS, STACKS, SUPERVISORS, TARGETS, Wanted

SECONDS_MIN: Final = 10
SECONDS_MAX: Final = 86_400
STOP_MAX_S: Final = 600
SLOWER_MAX: Final = 10
_SEED_MAX: Final = 2**63 - 1


class BadInput(Exception):
    """Something that was asked for makes no sense; the message is for the person who asked."""


@dataclass(frozen=True, slots=True)
class Options:
    """
    A run.

    Args:
        record: Add the outcome to the file that gathers runs.
        hasty: Whether applications also touch what Salesforce is about to fill in (editors.World).
        folder: For data and logs; None for a temporary one, which is removed if all was well.
        slower: How many times slower this machine is than one that nobody else uses: so much longer a recovery may take.
    """

    wanted: Wanted
    supervisor: str
    record: bool
    folder: Path | None
    plan_only: bool
    hasty: bool
    slower: float = 1.0


def parsed(arguments: Sequence[str]) -> Options:
    """
    Read the command line.

    Raises:
        BadInput: with one sentence that names what is wrong, and what would be right.
    """
    said = _parser().parse_args(arguments)
    kinds = _names("--faults", said.faults, KINDS) or KINDS
    targets = _names("--only", said.only, TARGETS)
    wanted = Wanted(
        _seed(said.seed),
        _number("SECONDS", said.seconds, SECONDS_MIN, SECONDS_MAX),
        _one_of("STACK", said.stack, STACKS),
        kinds,
        targets,
        said.relentless,
        None
        if said.stop_max is None
        else _number("--stop-max", said.stop_max, plan.STOPPED_MIN_S, STOP_MAX_S),
    )
    if wanted.stopped_max_s is not None and wanted.stopped_max_s > wanted.seconds / 2:
        raise BadInput(
            f"--stop-max {wanted.stopped_max_s:g} is more than half of SECONDS, so that one suspension could fill the run; "
            f"set SECONDS to {2 * wanted.stopped_max_s:g} or more."
        )
    supervisor = (
        _one_of("--supervisor", said.supervisor, SUPERVISORS)
        if said.supervisor
        else plan.supervisor(wanted.seed)
    )
    if next(plan.faults(wanted, supervisor), None) is None:
        raise BadInput(
            f"--faults and --only leave no fault that the {wanted.stack} stack can do under the supervisor {supervisor}; "
            f"ask for more of them."
        )
    folder = None if said.dir is None else Path(said.dir).absolute()
    if folder is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(f"--dir {folder} is not an empty folder; name another one.")
    slower = _number("--slower", said.slower, 1, SLOWER_MAX)
    return Options(wanted, supervisor, said.record, folder, said.plan, said.hasty, slower)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{message[:1].upper()}{message[1:]}; see --help.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="make chaos",
        description="Play faults against the five processes under load, and judge what came of it.",
    )
    parser.add_argument(
        "--seconds", default="60", help=f"how long edits and faults last, {SECONDS_MIN} or more"
    )
    parser.add_argument("--seed", default="1", help="chooses faults and edits")
    parser.add_argument("--stack", default=plan.EMBEDDED, help=" or ".join(STACKS))
    parser.add_argument("--faults", help=f"only these kinds, with commas between: {', '.join(KINDS)}")
    parser.add_argument("--only", help=f"only against these: {', '.join(TARGETS)}")
    parser.add_argument(
        "--supervisor", help=f"{' or '.join(SUPERVISORS)}; drawn from the seed if it is not given"
    )
    parser.add_argument(
        "--record", action="store_true", help="add the outcome to benchmarks/results/chaos.json"
    )
    parser.add_argument("--dir", help="folder for data and logs; it is kept")
    parser.add_argument(
        "--hasty",
        action="store_true",
        help="applications also touch what Salesforce is about to fill in or to clear",
    )
    parser.add_argument(
        "--relentless",
        action="store_true",
        help="faults come sooner, and do not wait until everything is well again",
    )
    parser.add_argument(
        "--stop-max",
        help=f"the longest suspension in seconds, up to {STOP_MAX_S}; 60 and at most a tenth of the run if it is not given",
    )
    parser.add_argument(
        "--slower",
        default="1",
        help="a recovery may take so many times the 15 s that are promised: for a machine that others use, too",
    )
    parser.add_argument(
        "--plan", action="store_true", help="print the faults that would come, and do nothing"
    )
    return parser


def _number(what: str, text: str, least: float, most: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not least <= number <= most:
        raise BadInput(f"{what} must be a number from {least} to {most}, not {text!r}.")
    return number


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > _SEED_MAX:
        raise BadInput(f"SEED must be a whole number from 0 to {_SEED_MAX}, not {text!r}.")
    return int(text)


def _one_of(what: str, said: str, known: Sequence[str]) -> str:
    if said not in known:
        raise BadInput(f"{what} must be {' or '.join(known)}, not {said!r}.")
    return said


def _names(option: str, said: str | None, known: Sequence[str]) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in (said or "").split(",") if name.strip()))
    if said is not None and not names:
        raise BadInput(f"{option} names nothing; name one or more of {', '.join(known)}.")
    for name in names:
        if name not in known:
            raise BadInput(f"{option} names {name!r}, which is unknown; there are {', '.join(known)}.")
    return names
