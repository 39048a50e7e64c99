"""`make prove` and `make mutations` work: every mutant still applies, mutants are caught, and evidence can be compared."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from support.proof.catalogue import MUTANTS, mutant_named
from support.proof.evidence import ROOT
from support.proof.mutants import Mutant, MutantError, put_in_force
from support.proof.trial import TESTS, Verdict, try_mutant

SEEDS = 50


@pytest.fixture(scope="module")
def fresh() -> Iterator[ProcessPoolExecutor]:
    """Runs each call in a process that has imported nothing of the product."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        yield pool


def prove(out: Path, *options: str, hash_seed: int = 0) -> tuple[int, dict[str, Any]]:
    """Run the command; its exit code, and the evidence."""
    command = [sys.executable, "tests/property/prove.py", f"--schedules={SEEDS}", f"--out={out}", *options]
    # Another seed of Python's hashes is what another machine would be: sets come in another order.
    environment = {**os.environ, "PYTHONPATH": "tests", "PYTHONHASHSEED": str(hash_seed)}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert out.exists(), run.stderr
    evidence: dict[str, Any] = json.loads(out.read_text())
    return run.returncode, evidence


# Mutants.


def test_every_mutant_still_applies() -> None:
    """A rule that has moved takes its mutant along: one that changes nothing would show nothing."""
    for mutant in MUTANTS:
        assert mutant.code() is not None
        assert mutant.old != mutant.new
        assert mutant.rule
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_every_mutant_has_tests_that_may_see_it() -> None:
    """A room whose rules are broken, and for which no tests are named, would end the whole run of mutations at its start."""
    assert {mutant.module.partition(".")[0] for mutant in MUTANTS} <= TESTS.keys()


@pytest.mark.parametrize("old", ["a text that is nowhere", "def "])
def test_a_mutant_whose_text_is_not_there_once_is_an_error(old: str) -> None:
    """Never a silent pass."""
    with pytest.raises(MutantError, match="must be there once"):
        Mutant("odd", "none", "model.fold", old, "").code()


def test_a_mutant_that_is_no_python_is_an_error() -> None:
    """It would be caught by everything, and show nothing."""
    with pytest.raises(MutantError, match="no Python"):
        Mutant("odd", "none", "model.fold", "def fold(", "def def fold(").code()


def test_a_rule_is_only_broken_before_its_module_is_imported() -> None:
    """Afterwards the true one is in use already."""
    import salmon.model.fold  # noqa: F401

    with pytest.raises(MutantError, match="imported already"):
        put_in_force(mutant_named("repetitions are folded"))


@pytest.mark.parametrize("name", ["repetitions are folded", "a row that repeats the shadow is news"])
def test_the_world_catches_a_mutant(fresh: ProcessPoolExecutor, name: str) -> None:
    """Within a few schedules, and it says which promise was broken."""
    verdict: Verdict = fresh.submit(try_mutant, mutant_named(name), range(SEEDS), ()).result()
    assert verdict.seed is not None
    assert verdict.promise
    assert verdict.broken


def test_a_test_catches_what_no_schedule_was_played_for(fresh: ProcessPoolExecutor) -> None:
    """It is named by its id."""
    tests = ["tests/unit/model/test_fold_owed.py"]
    verdict: Verdict = fresh.submit(try_mutant, mutant_named("no cap"), (), tests).result()
    assert verdict.seed is None
    assert verdict.test == f"{tests[0]}::test_no_more_than_eight_writes_are_in_flight"


# Evidence.


def test_evidence_is_the_same_wherever_it_is_made_and_another_where_a_rule_is_broken(tmp_path: Path) -> None:
    """However many processes play, and in whatever order a set comes; and what breaks is told, with its seeds."""
    code, evidence = prove(tmp_path / "one.json", "--jobs=2")
    assert (code, evidence["failed"], evidence["broken"]) == (0, 0, {})
    assert (evidence["schedules"], evidence["complete"]) == (SEEDS, True)
    assert evidence["happened"]["changes folded"] > 10 * SEEDS
    assert evidence["happened"]["conflicts"] > 0
    assert evidence["versions"]["commit"]

    _, again = prove(tmp_path / "two.json", "--jobs=1", hash_seed=1)
    assert again["digest"] == evidence["digest"]
    assert again["happened"] == evidence["happened"]

    code, mutated = prove(tmp_path / "mutant.json", "--jobs=1", "--mutant=repetitions are folded")
    assert code == 1
    assert mutated["failed"] == len(mutated["broken"]) > 0
    assert mutated["digest"] != evidence["digest"]
