"""
Break each rule of the product in turn, and show what sees it: the World's schedules, or a test.

Convergence alone catches only half of the mutants; the table says which promise was broken, and after how many
schedules. The exit code is 0 only if every mutant was caught.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

# Nothing of the product is imported here: each mutant must be in force before its module is.
from support.proof.catalogue import MUTANTS, mutant_named
from support.proof.crew import cores, played
from support.proof.evidence import machine, versions
from support.proof.mutants import Mutant, MutantError
from support.proof.trial import TESTS, Verdict, failing_test, try_mutant

RESULTS: Final = Path(__file__).parents[2] / "benchmarks" / "results"
# What every trial imports besides the product; a process that has it is forked for each.
_PRELOADED: Final = [
    *(
        "pytest",
        "hypothesis",
        "structlog",
        "fastavro",
        "confluent_kafka",
        "pymongo",
        "bson",
        "grpc",
        "requests",
    ),
    *("pydantic", "simple_salesforce", "rocksdict"),
]


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--schedules", type=int, default=1_000, help="that a mutant may survive")
    options.add_argument("--jobs", type=int, default=cores(), help="processes")
    options.add_argument("--only", action="append", help="a mutant's name; may be given more than once")
    options.add_argument(
        "--stale",
        action="store_true",
        help="only those that are new, or have another text, since the table that is there; the others keep their rows",
    )
    options.add_argument("--out", type=Path, default=RESULTS, help="where mutations.md and mutations.json go")
    options.add_argument("--commit", help="of the product, where git cannot tell")
    chosen = options.parse_args()
    mutants = [mutant_named(name) for name in chosen.only] if chosen.only else list(MUTANTS)
    known = _known_rows(chosen.out / "mutations.json") if chosen.stale else {}
    kept = {mutant.name: known[mutant.name] for mutant in mutants if _is_told(mutant, known)}
    mutants = [mutant for mutant in mutants if mutant.name not in kept]
    console, began_s = Console(stderr=True, highlight=False), time.monotonic()
    for mutant in mutants:
        mutant.code()  # One that no longer applies is told before anything else is done.
    made_with, rows = versions(chosen.commit), dict(kept)
    with _progress(console) as progress:
        seeds = _sound_seeds(chosen.schedules, chosen.jobs, progress)
        left_out = sorted(set(range(chosen.schedules)) - set(seeds))
        for mutant, verdict in _tried(mutants, seeds, chosen.jobs, progress):
            rows[mutant.name] = _row(mutant, verdict, made_with["commit"])
            if not verdict.caught:
                progress.console.print(f"survives: {mutant.name}", markup=False)
            told = {
                "question": (__doc__ or "").strip().splitlines()[0],
                "schedules": chosen.schedules,
                "left_out": left_out,
                "mutants": [rows[mutant.name] for mutant in MUTANTS if mutant.name in rows],
                "caught": sum(row["caught"] for row in rows.values()),
                "versions": made_with,
                "machine": machine(),
                "wall_s": round(time.monotonic() - began_s, 1),
            }
            _write(told, chosen.out)  # after each: --stale goes on from here if the run is interrupted
    survivors = sum(not rows[mutant.name]["caught"] for mutant in mutants)
    console.print(f"{len(mutants) - survivors} of {len(mutants)} mutants were caught; see {chosen.out}")
    return 1 if survivors else 0


def _write(told: dict[str, Any], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mutations.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    (folder / "mutations.md").write_text(_table(told), encoding="utf-8")


def _sound_seeds(count: int, jobs: int, progress: Progress) -> list[int]:
    """The seeds that break nothing as long as no rule is broken: only these can show anything."""
    bar = progress.add_task("without a mutant", total=count, told="")
    unsound: dict[int, list[str]] = {}
    for part in played(range(count), jobs=jobs):
        unsound |= part.broken
        progress.update(bar, advance=len(part.digests), told=f"{len(unsound)} left out")
    return [seed for seed in range(count) if seed not in unsound]


def _tried(
    mutants: Sequence[Mutant], seeds: Sequence[int], jobs: int, progress: Progress
) -> Iterator[tuple[Mutant, Verdict]]:
    """Each mutant's verdict, as they come. The tests must pass without any."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    rooms = sorted({_room(mutant) for mutant in mutants})
    bar = progress.add_task("mutants", total=len(mutants) + len(rooms), told="")
    survivors = 0
    with ProcessPoolExecutor(jobs, mp_context=context, max_tasks_per_child=1) as pool:
        try:
            controls = {pool.submit(failing_test, TESTS[room]): room for room in rooms}
            trials: dict[Future[Verdict], Mutant] = {
                pool.submit(try_mutant, mutant, seeds, TESTS[_room(mutant)]): mutant for mutant in mutants
            }
            for control in as_completed(controls):
                if failed := control.result():
                    raise MutantError(
                        f"{failed} fails without any mutant, so it shows nothing. Mend it first."
                    )
                progress.advance(bar)
            for trial in as_completed(trials):
                verdict = trial.result()
                survivors += not verdict.caught
                progress.update(bar, advance=1, told=f"{survivors} survive")
                yield trials[trial], verdict
        finally:
            pool.shutdown(cancel_futures=True)


def _room(mutant: Mutant) -> str:
    return mutant.module.partition(".")[0]


def _known_rows(file: Path) -> dict[str, dict[str, Any]]:
    """The rows of an earlier table, by the mutants' names."""
    told = json.loads(file.read_text(encoding="utf-8"))
    return {row["mutant"]: {"commit": told["versions"]["commit"], **row} for row in told["mutants"]}


def _is_told(mutant: Mutant, known: Mapping[str, dict[str, Any]]) -> bool:
    row = known.get(mutant.name)
    return row is not None and row["caught"] and (row["old"], row["new"]) == (mutant.old, mutant.new)


def _row(mutant: Mutant, verdict: Verdict, commit: str) -> dict[str, Any]:
    return {
        "mutant": mutant.name,
        "rule": mutant.rule,
        "module": f"salmon.{mutant.module}",
        "old": mutant.old,
        "new": mutant.new,
        "caught": verdict.caught,
        "promise": verdict.promise,
        "schedules": verdict.after,
        "seed": verdict.seed,
        "broken": list(verdict.broken),
        "test": verdict.test,
        "commit": commit,
    }


def _table(told: dict[str, Any]) -> str:
    rows = told["mutants"]
    by_world = sum(row["seed"] is not None for row in rows)
    commits = Counter(row["commit"] for row in rows)
    of_commits = ", ".join(f"{commit} ({count})" for commit, count in commits.most_common())
    lines = [
        "# Every rule, broken",
        "",
        "Each row is the product with one rule broken in one place (`tests/support/proof/catalogue`; the very text is in",
        "`mutations.json`), and what saw it: a promise that one of the World's schedules broke, with how many were played",
        "until then, or, where the World did not see it, a test. Written by `make mutations`.",
        "",
        f"{len(rows)} mutants, {told['caught']} caught: {by_world} by the World within {told['schedules']} schedules, "
        f"{told['caught'] - by_world} by a test alone. Commits (and how many rows each gave): {of_commits}.",
        "",
        "| mutant | the rule that it breaks | caught by | schedules |",
        "|---|---|---|---|",
    ]
    for row in rows:
        lines.append(f"| {row['mutant']} | {row['rule']} | {_caught_by(row)} | {row['schedules']} |")
    return "\n".join(lines) + "\n"


def _caught_by(row: dict[str, Any]) -> str:
    if row["seed"] is not None:
        return f"{row['promise']}"
    if row["test"]:
        path, _, test = row["test"].rpartition("::")
        return (
            f"`{path.rpartition('/')[2]}`: {test.partition('[')[0].removeprefix('test_').replace('_', ' ')}"
        )
    return "**nothing: it survives**"


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"),
        TimeElapsedColumn(),
        console=console,
    )


if __name__ == "__main__":
    sys.exit(main())
