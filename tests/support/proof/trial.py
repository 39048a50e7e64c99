"""
One mutant on trial, in a process of its own: does the World see it, and if not, does a test?

Imports nothing of the product before the mutant is in force.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any, Final

import structlog

from support.proof.evidence import ROOT
from support.proof.mutants import Mutant, MutantError, put_in_force

# Room of the mutated module -> the tests that know its rules.
TESTS: Final = {
    "model": ("tests/unit/model/test_[cfpr]*.py", "tests/property/test_judge.py"),
    "merge": ("tests/unit/merge",),
    "salesforce": ("tests/unit/salesforce",),
    "mongodb": (
        "tests/unit/mongodb",
        "tests/contract/mongodb/test_sink.py",
        "tests/contract/mongodb/test_passed_by.py",
        "tests/contract/mongodb/test_went_back.py",
        "tests/contract/mongodb/test_unique.py",
    ),
    "sink": ("tests/unit/sink",),
    "kafka": ("tests/unit/kafka",),
    "plugin": ("tests/unit/plugin",),
}
_TESTS_FAILED: Final = 1  # pytest's exit code; others say that it could not run


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of it. *after*: schedules played; *test*: the id of a test that fails."""

    after: int
    seed: int | None = None
    broken: tuple[str, ...] = ()
    promise: str = ""
    test: str = ""

    @property
    def caught(self) -> bool:
        return self.seed is not None or bool(self.test)


def try_mutant(mutant: Mutant, seeds: Sequence[int], tests: Collection[str]) -> Verdict:
    """Play *seeds* until the World sees the mutant; run *tests* until one does, where the World does not."""
    put_in_force(mutant)
    from support.proof.playing import play, promise_of, silence

    silence()
    for after, seed in enumerate(seeds, 1):
        found, _ = play(seed, Counter())
        if found:
            return Verdict(after, seed, tuple(found), promise_of(found[0]))
    structlog.reset_defaults()  # some tests listen to the log
    return Verdict(len(seeds), test=failing_test(tests))


def failing_test(tests: Collection[str]) -> str:
    """Run them; the id of the first that fails, or nothing. Of none, pytest would make all there are."""
    if not tests:
        return ""
    import pytest

    class Watching:
        """Notes what fails."""

        failed = ""

        def pytest_runtest_logreport(self, report: Any) -> None:
            if report.failed and not self.failed:
                self.failed = report.nodeid

    watching, said = Watching(), io.StringIO()
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(said), redirect_stderr(said):
        # What a mutant taught hypothesis is nothing that later runs should know.
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = folder
        # Nor do these tests need what stands in the topmost conftest.py: no server is ever started by chance.
        options = [
            "-x",
            f"--confcutdir={ROOT / 'tests' / 'unit'}",
            *("-p", "no:cacheprovider"),
            *("-p", "support.plain_fixtures"),
            *("-p", "support.mongo_fixtures"),
            "--hypothesis-seed=0",
            f"--basetemp={folder}/tests",
        ]
        paths = [str(path) for pattern in tests for path in sorted(ROOT.glob(pattern))]
        code = pytest.main([*options, *paths], plugins=[watching])
    if code not in (pytest.ExitCode.OK, _TESTS_FAILED):
        raise MutantError(f"pytest could not run {', '.join(tests)}: {said.getvalue()[-2000:]}")
    return watching.failed
