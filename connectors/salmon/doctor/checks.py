"""
The contract of a check, and the runner: each check is bounded in time, and none waits for another without need.

A check looks at one thing and returns lines. What is looked at is in the other modules of this room; another system's
checks are added to salmon.doctor.doctor, and need nothing but what is here.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from salmon.errors import SalmonError

PATIENCE_S: Final = 10.0
AT_ONCE: Final = 8
# Where an error's first sentence ends, which says what happened; the others say what to do.
_SENTENCE_END: Final = re.compile(r"(?<!e\.g)\.\s+(?=[A-Z`])")


class Outcome(StrEnum):
    """What a line says. *fail*: the sync cannot work so. *warn*: it can, but a person should know."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Line:
    """
    What was found of one precondition.

    Args:
        name: For scripts; never changes, e.g. salesforce.sign_in or objects.Account.markers.
        what: For people: what was looked at.
        says: What was found, in a sentence. No record values, no secrets.
        mend: What to do about it; empty if nothing is to be done.
    """

    name: str
    what: str
    outcome: Outcome
    says: str
    mend: str = ""


def ok(name: str, what: str, says: str) -> Line:
    """Return a line that says that all is well."""
    return Line(name, what, Outcome.OK, says)


def warn(name: str, what: str, says: str, mend: str) -> Line:
    """Return a line that says what a person should know."""
    return Line(name, what, Outcome.WARN, says, mend)


def fail(name: str, what: str, says: str, mend: str) -> Line:
    """Return a line that says what keeps the sync from working."""
    return Line(name, what, Outcome.FAIL, says, mend)


def told_by(name: str, what: str, error: SalmonError, *, outcome: Outcome = Outcome.FAIL) -> Line:
    """Return the line of an error: its first sentence says what happened, the others what to do."""
    found = _SENTENCE_END.split(str(error), maxsplit=1)
    says, mend = (found[0] + ".", found[1]) if len(found) > 1 else (str(error), "")
    if says.partition(" ")[0].isalpha():  # not the name of a key
        says = says[0].upper() + says[1:]
    return Line(name, what, outcome, says, mend or "Try again; if it lasts, ask whoever runs that server.")


@dataclass(frozen=True, slots=True)
class Check:
    """
    Looks at one thing.

    Args:
        name, what: Of the line that is told where the check itself cannot: it hangs, or raises an error.
        look: Looks, and returns one line or more. It runs in a thread of its own. Its SalmonErrors become a line.
        after: The name of a check without which this one makes no sense: if that one fails, this one is not made.
    """

    name: str
    what: str
    look: Callable[[], Iterable[Line]]
    after: str = ""


@dataclass(slots=True)
class _Run:
    check: Check
    done: threading.Event = field(default_factory=threading.Event)
    lines: Sequence[Line] = ()
    skipped: bool = False

    @property
    def stands_in_the_way(self) -> bool:
        """Whether what comes after it makes no sense."""
        return self.skipped or any(line.outcome is Outcome.FAIL for line in self.lines)


def examine(
    checks: Sequence[Check], *, patience_s: float = PATIENCE_S, at_once: int = AT_ONCE
) -> Iterator[Line]:
    """
    Make all checks, at most *at_once* at a time, and return their lines in the order of *checks*, each as soon as it is known.

    A check that takes longer than *patience_s* fails, and is left to itself: its thread does not keep the program alive.
    """
    runs = {check.name: _Run(check) for check in checks}
    assert len(runs) == len(checks), "the name of a check is its own"
    slots = threading.Semaphore(at_once)
    for run in runs.values():
        former = runs[run.check.after] if run.check.after else None
        threading.Thread(target=_watch, args=(run, former, slots, patience_s), daemon=True).start()
    for run in runs.values():
        run.done.wait()
        yield from run.lines


def _watch(run: _Run, former: _Run | None, slots: threading.Semaphore, patience_s: float) -> None:
    """Wait until the check may be made, make it, and wait for its end, but not for ever."""
    check = run.check
    if former is not None:
        former.done.wait()
        if former.stands_in_the_way:
            run.lines = [
                warn(
                    check.name,
                    check.what,
                    f"Not looked at: {former.check.what} comes first.",
                    "Mend that first.",
                )
            ]
            run.skipped = True
            run.done.set()
            return
    with slots:
        found: list[Sequence[Line]] = []
        looking = threading.Thread(target=lambda: found.append(_looked(check)), daemon=True)
        looking.start()
        looking.join(patience_s)
    run.lines = (
        found[0]
        if found
        else [
            fail(
                check.name,
                check.what,
                f"No answer within {patience_s:g} s.",
                "Check the address, the network, and that the server runs; then try again.",
            )
        ]
    )
    run.done.set()


def _looked(check: Check) -> Sequence[Line]:
    try:
        return list(check.look())
    except SalmonError as error:
        return [told_by(check.name, check.what, error)]
    except Exception as error:  # noqa: BLE001 - one check that is at fault must not hide what the others say
        return [
            fail(
                check.name,
                check.what,
                f"The answer is not as it is documented ({type(error).__name__}).",
                "Check for a proxy in between, and the address. If it is the server itself that answers, please report this.",
            )
        ]
