"""
The outcome of a run as one JSON object, and the file that gathers runs: benchmarks/results/chaos.json.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from support.chaos.journal import Edit, counted
from support.chaos.judge import Verdict
from support.chaos.plan import SERVERS
from support.proof.evidence import ROOT

GATHERED: Final = ROOT / "benchmarks" / "results" / "chaos.json"
_QUESTION: Final = (
    "Whatever is killed, suspended, cut or refused while people and applications edit: is anything lost?"
)
_NAMED_MAX: Final = 20  # places that are named; the counts are of all
# What must not have happened: its entry in the outcome, and how it reads with its number.
_SUMMED: Final = {
    "lost": "edits lost: {}",
    "divergent": "values that differ between the sides: {}",
    "invented": "values that nobody entered: {}",
    "false_conflicts": "conflicts reported without a cause: {}",
    "dead_letters": "dead letters: {}",
    "events_lost": "published events that did not arrive, and of which nobody was told: {}",
    "events_repeated": "published events that arrived more than once: {}",
    "events_invented": "events that arrived and that nobody published: {}",
    "documents_lost": "documents of the outbox that were not published: {}",
    "documents_with_two_events": "documents of the outbox of which there are two events: {}",
    "documents_invented": "events of the outbox that no document has: {}",
    "restarted_by_hand": "processes that did not come back by themselves: {}",
}
_OF_RECORDS: Final = ("lost", "divergent", "invented")

Outcome = dict[str, Any]


def of_edits(edits: Sequence[Edit]) -> dict[str, int]:
    """How many there were, by what the server said, and by kind."""
    return dict(counted(list(edits))) | dict(sorted(Counter(edit.kind for edit in edits).items()))


def of_recovery(took: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    """Kind of fault, or "several" in a row -> how often it was measured, and the seconds until everything was well again."""
    return {
        kind: {"count": len(times), "p50": round(median(times), 2), "max": round(max(times), 2)}
        for kind, times in sorted(took.items())
        if times
    }


def of_verdict(verdict: Verdict) -> Outcome:
    """The counts, and the first places of each."""
    found: dict[str, Sequence[Sequence[str]]] = {
        "lost": verdict.lost,
        "divergent": verdict.divergent,
        "invented": verdict.invented,
        "false_conflicts": verdict.false_conflicts,
    }
    places = {name: [" ".join(place) for place in each[:_NAMED_MAX]] for name, each in found.items() if each}
    return {name: len(each) for name, each in found.items()} | {"places": places}


def is_good(outcome: Outcome) -> bool:
    """Whether a run shows that nothing was lost, and that it could have shown otherwise."""
    return not _failings(outcome)


def why_not_good(outcome: Outcome) -> str:
    """What was wrong with a run, in one sentence."""
    failings = _failings(outcome)
    kept = "no edit was lost, but " if not any(outcome[name] for name in _OF_RECORDS) else ""
    slow = "; a slow machine?" if failings.keys() <= {"quiet", "not_recovered"} else "."
    return f"{kept}{', and '.join(failings.values())}{slow}"


def _failings(outcome: Outcome) -> dict[str, str]:
    """The entries of the outcome that speak against it, each in words."""
    found = {name: words.format(outcome[name]) for name, words in _SUMMED.items() if outcome.get(name)}
    if not outcome["verdicts_equal"]:
        found["verdicts_equal"] = "`salmon verify` found other differences than the judge"
    if not outcome["quiet"]:
        found["quiet"] = "the sync did not come to rest"
    if outcome["not_recovered"]:
        found["not_recovered"] = f"it was not well again in time ({'; '.join(outcome['not_recovered'])})"
    if outcome["editors_failed"]:
        found["editors_failed"] = f"an editor failed ({', '.join(outcome['editors_failed'])})"
    if outcome["interrupted"]:
        found["interrupted"] = "the run was interrupted"
    return found


def record(outcome: Outcome, file: Path = GATHERED) -> None:
    """Add a run to the file, and sum up again. Several runs may end at the same time."""
    file.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        runs = json.loads(file.read_text(encoding="utf-8"))["runs"] if file.exists() else []
        runs.append(outcome)
        new = file.with_suffix(".new")
        gathered = {"question": _QUESTION, "totals": totals(runs), "runs": runs}
        new.write_text(json.dumps(gathered, indent=2) + "\n", encoding="utf-8")
        new.replace(file)
    finally:
        os.close(folder)


def totals(runs: Sequence[Outcome]) -> Outcome:
    """All runs together, and each stack by itself."""
    stacks = sorted({run["stack"] for run in runs})
    return _sum(runs) | {
        "by_stack": {stack: _sum([run for run in runs if run["stack"] == stack]) for stack in stacks}
    }


def hits(run: Outcome) -> Counter[str]:
    """
    Kind of fault -> how many met somebody.

    A run of before misses were counted has every strike in `faults`, whoever it met. Of its kills, at most as many met somebody
    as processes were killed, and that number is taken; the rest are misses. Its suspensions stand as they are: nothing in it
    says whom they met.
    """
    found = Counter[str](run["faults"])
    if "missed" not in run and "kill" in found:
        killed = sum(times for name, times in run["kills"].items() if name not in SERVERS)
        found["kill"] = min(found["kill"], killed)
    return found


def _sum(runs: Sequence[Outcome]) -> Outcome:
    faults, struck = Counter[str](), Counter[str]()
    for run in runs:
        faults.update(hits(run))
        struck.update(run["faults"])
        struck.update(run.get("missed", {}))
    return {
        "runs": len(runs),
        "good": sum(is_good(run) for run in runs),
        "seconds": sum(run["seconds"] for run in runs),
        "kills": sum(sum(run["kills"].values()) for run in runs),
        "faults": faults.total(),
        "missed": (struck - faults).total(),
        "faults_but_kills": faults.total() - faults["kill"] - faults["server-kill"],
        "faults_by_kind": dict(sorted(faults.items())),
        "edits": sum(run["edits"]["acknowledged"] for run in runs),
        # Runs from before events and outboxes were played have no word of them.
        **{name: sum(run.get(name, 0) for run in runs) for name in _SUMMED},
    }
