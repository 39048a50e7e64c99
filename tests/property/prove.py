"""
Play schedules of the World by the hundred thousand on all cores, and write down what came of it.

The evidence file says what happened in them, which seeds broke a promise, and a digest of how they all ended: who
plays the same seeds of the same commit elsewhere gets the same digest. The exit code is 0 only if nothing broke.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

# Nothing of the product is imported before a mutant is in force.
from support.proof.catalogue import mutant_named
from support.proof.crew import cores, played
from support.proof.evidence import machine, versions
from support.proof.mutants import Mutant, put_in_force

EVIDENCE: Final = Path(__file__).parents[2] / "benchmarks" / "results" / "prove.json"
_TOLD_MAX: Final = 100  # seeds whose faults are written down in words
_INTERRUPTED: Final = 130  # as shells say it
# What schedules must have met, or they show nothing of it.
_WANTED: Final = (
    *(
        f"changes: {op}"
        for op in ("CREATE", "UPDATE", "DELETE", "ROW", "ABSENT", "REFUSED", "GONE", "EXISTS")
    ),
    *(
        "conflicts",
        "facts: CONSEQUENCE",
        "facts: PARKED",
        "facts: REPEATED",
        "facts: FIRST_CONTACT",
        "facts: TWIN",
        "facts: RESTORED",
    ),
    *("sources: holes", "sources: started anew", "sinks: started anew", "merge: started anew"),
)


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--schedules", type=int, default=100_000, help="how many are played")
    options.add_argument("--first", type=int, default=0, help="the first seed")
    options.add_argument("--jobs", type=int, default=cores(), help="processes")
    options.add_argument("--out", type=Path, default=EVIDENCE, help="the evidence file")
    options.add_argument("--commit", help="of the product, where git cannot tell")
    options.add_argument("--seed", type=int, help="tell the story of this seed, and nothing else")
    options.add_argument(
        "--mutant", help="break a rule first, by its name in benchmarks/results/mutations.md"
    )
    chosen = options.parse_args()
    mutant = mutant_named(chosen.mutant) if chosen.mutant else None
    if chosen.seed is not None:
        return tell(chosen.seed, mutant)
    return prove(
        range(chosen.first, chosen.first + chosen.schedules),
        jobs=chosen.jobs,
        out=chosen.out,
        commit=chosen.commit,
        mutant=mutant,
    )


def tell(seed: int, mutant: Mutant | None) -> int:
    """The story of one seed, and what it broke."""
    if mutant is not None:
        put_in_force(mutant)
    from support.proof.story import Story

    story = Story(seed)
    for line in story.lines():
        print(line)
    return 1 if story.broken else 0


def prove(seeds: range, *, jobs: int, out: Path, commit: str | None, mutant: Mutant | None) -> int:
    """Play them all, write the evidence, and say what broke."""
    console = Console(stderr=True, highlight=False)
    stop: list[int] = []

    def interrupted(number: int, _frame: object) -> None:
        stop.append(number)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # the second one ends it now
        console.print("Playing what is begun to its end; Ctrl-C again gives it up.")

    signal.signal(signal.SIGINT, interrupted)
    began_s, digest = time.monotonic(), hashlib.sha256()
    broken: dict[int, list[str]] = {}
    happened: Counter[str] = Counter()
    with _progress(console) as progress:
        bar = progress.add_task("schedules", total=len(seeds), faults="nothing broke")
        for part in played(seeds, jobs=jobs, mutant=mutant, enough=lambda: bool(stop)):
            for one in part.digests:
                digest.update(one)
            for seed, faults in part.broken.items():
                console.print(f"seed {seed}: {'; '.join(faults)}", markup=False)
            broken |= part.broken
            happened += part.happened
            said = f"[red]{len(broken)} broke a promise" if broken else "nothing broke"
            progress.update(bar, advance=len(part.digests), faults=said)
    count = happened["schedules"]
    evidence = {
        "question": (__doc__ or "").strip().splitlines()[0],
        "schedules": count,
        "first_seed": seeds.start,
        "complete": count == len(seeds),
        "failed": len(broken),
        "broken": {seed: broken[seed] for seed in sorted(broken)[:_TOLD_MAX]},
        "digest": digest.hexdigest(),
        "happened": dict(sorted(happened.items())),
        "versions": versions(commit),
        "machine": machine(),
        "wall_s": round(time.monotonic() - began_s, 1),
        "cpu_s": round(_cpu_s(), 1),
        **({"mutant": mutant.name} if mutant else {}),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(evidence, indent=2) + "\n", encoding="utf-8")
    _say(console, evidence, broken, out)
    if stop:
        return _INTERRUPTED
    return 1 if broken else 0


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[faults]}"),
        TimeRemainingColumn(),
        console=console,
    )


def _say(console: Console, evidence: dict[str, Any], broken: dict[int, list[str]], out: Path) -> None:
    if broken:
        console.print(f'To replay one: make prove ARGS="--seed {min(broken)}"')
    if missing := [name for name in _WANTED if not evidence["happened"].get(name)]:
        console.print(f"Never happened, so nothing is shown of it: {', '.join(missing)}")
    console.print(
        f"{evidence['schedules']} schedules, {evidence['happened'].get('changes folded', 0)} changes folded, "
        f"{len(broken)} broke a promise; digest {evidence['digest'][:16]}...; written to {out}"
    )


def _cpu_s() -> float:
    """Ours and that of all processes that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


if __name__ == "__main__":
    sys.exit(main())
