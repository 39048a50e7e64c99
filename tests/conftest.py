"""What all tests share: the stacks that real processes run on, each started once in a session."""

from __future__ import annotations

import faulthandler
import gc
import os
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from salmon.devstack import jvm
from support.leaks import leaks
from support.plain_fixtures import clock, logs_as_before, no_logger_is_cached  # noqa: F401 (fixtures)
from support.ring import Ring, running_ring
from support.stacks import EMBEDDED, JVM, STACKS, Stack, running_stack

_CRASHES = "SALMON_TEST_CRASHES"  # a folder; the workers of pytest-xdist inherit it


def pytest_configure() -> None:
    # A test's broker does little, too: compiling its hot paths well takes twice the CPU.
    os.environ.setdefault("KAFKA_JVM_PERFORMANCE_OPTS", " ".join(jvm.QUICK_START))
    os.environ.setdefault(_CRASHES, tempfile.mkdtemp(prefix="salmon-test-crashes-"))


def pytest_sessionstart(session: pytest.Session) -> None:
    """Keep what a worker's threads were doing when it crashed. Otherwise only its name would be known."""
    if worker := getattr(session.config, "workerinput", None):
        file = Path(os.environ[_CRASHES], worker["workerid"]).open("w")  # noqa: SIM115 - open until the end
        faulthandler.enable(file)
        session.config.add_cleanup(file.close)
        session.config.add_cleanup(faulthandler.disable)


def pytest_sessionfinish() -> None:
    """Let the ends of workers be short: pytest collects garbage ten times then, which takes seconds with all that was imported."""
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show it at the end, where it is read."""
    for file in sorted(Path(os.environ[_CRASHES]).iterdir()):
        if text := file.read_text():
            terminalreporter.section(f"the threads of {file.name} when it crashed")
            terminalreporter.write(text)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Whatever a test has the product write in its own process, no token is in it. What processes write, support.ring searches."""
    report = yield
    written = "\n".join(text for _, text in report.sections)
    if report.when == "teardown" and report.passed and (found := leaks(written, ())):
        report.outcome = "failed"
        report.longrepr = f"a token was written, here shown as <LEAK>: {found[:5]}"
    return report


@pytest.fixture(scope="session", params=STACKS)
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Each of the two stacks; the test runs once on each."""
    with running_stack(request.param, tmp_path_factory.mktemp(request.param)) as stack:
        yield stack


@pytest.fixture(scope="session")
def embedded_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The embedded one, for tests that need no other."""
    with running_stack(EMBEDDED, tmp_path_factory.mktemp(EMBEDDED)) as stack:
        yield stack


@pytest.fixture(scope="session")
def jvm_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Apache Kafka and Apicurio, for tests that need these."""
    with running_stack(JVM, tmp_path_factory.mktemp(JVM)) as stack:
        yield stack


@pytest.fixture(scope="module")
def ring(stack: Stack, request: pytest.FixtureRequest) -> Iterator[Ring]:
    """A sync that has taken its snapshots; the tests of one module share it, so each uses records of its own."""
    name = request.module.__name__.rpartition(".")[2].removeprefix("test_")
    with running_ring(stack, name) as ring:
        ring.start()
        ring.wait_equal()
        yield ring
