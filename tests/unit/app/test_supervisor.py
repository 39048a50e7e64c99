"""`run all`: five children, restarted when they crash, stopped together."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import sys
import textwrap
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from salmon.app import supervisor as run_all
from salmon.app.asked import is_ready
from salmon.app.supervisor import NOT_LIVE_MAX, Child, Supervisor, choose_ports, command_of
from salmon.errors import ConfigError
from salmon.kafka.topics import CONNECTORS
from salmon.runtime.instance import ordinal_of
from support.waiting import until

# A child that notes each start in a file, and ends as its argument says: a code, or when it is told to stop.
CHILD = textwrap.dedent(
    """
    import pathlib, signal, sys, time
    note, code = pathlib.Path(sys.argv[1]), sys.argv[2]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with note.open("a") as file:
        file.write("started\\n")
    if code != "run":
        sys.exit(int(code))
    while True:
        time.sleep(0.05)
    """
)


def child(folder: Path, name: str, code: str) -> Child:
    return Child(name, [sys.executable, "-c", CHILD, str(folder / name), code], port=1)


def starts(folder: Path, name: str) -> int:
    note = folder / name
    return note.read_text().count("\n") if note.exists() else 0


def when(holds: Callable[[], bool]) -> threading.Event:
    """It is set as soon as *holds* is true."""
    seen = threading.Event()

    def watch() -> None:
        until(holds)
        seen.set()

    threading.Thread(target=watch, daemon=True).start()
    return seen


class LowRandom(random.Random):
    """No wait between restarts."""

    def uniform(self, a: float, b: float) -> float:
        return a


def run_in_main(children: list[Child], until: threading.Event | None = None, **more: object) -> int:
    """Run a supervisor; *until* makes it stop, as a signal would."""
    supervisor = Supervisor(children, rng=LowRandom(), drain_deadline_s=5.0, **more)  # type: ignore[arg-type]
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    if until is not None:

        def stop() -> None:
            until.wait(20)
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=stop, daemon=True).start()
    try:
        return supervisor.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_crashed_child_is_started_again_and_a_signal_stops_all(tmp_path: Path) -> None:
    """Exit code 1 is a crash; the others are not disturbed, and all end in good order."""
    enough = when(lambda: starts(tmp_path, "crashing") >= 3)
    ports = tmp_path / "ports.json"
    children = [child(tmp_path, "steady", "run"), child(tmp_path, "crashing", "1")]
    run_in_main(children, enough, ports_file=ports)
    assert starts(tmp_path, "steady") == 1
    assert set(json.loads(ports.read_text())) == {"steady", "crashing"}
    assert all(each.process is None for each in children)


def test_a_ports_file_that_can_be_written_no_more_ends_nobody(tmp_path: Path) -> None:
    """Its folder was removed, or the disk is full: that is said, and the processes are started again as before."""
    folder = tmp_path / "gone"
    enough = when(lambda: starts(tmp_path, "crashing") >= 3)
    children = [child(tmp_path, "steady", "run"), child(tmp_path, "crashing", "1")]
    with capture_logs() as logs:
        run_in_main(children, enough, ports_file=folder / "ports.json")
    assert enough.is_set()
    assert any(line["event"] == "ports_file_not_written" for line in logs)


def test_a_ports_file_that_cannot_be_written_is_refused_before_anything_starts(
    tmp_path: Path, sync_yaml: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence, exit code 2."""
    assert run_all.run_all(sync_yaml, port=0, ports_file=tmp_path / "none" / "ports.json") == 2
    assert "--ports-file" in capsys.readouterr().err


def test_a_supervisor_that_fails_stops_its_children_first(tmp_path: Path) -> None:
    """Nobody else would start them again, or end them."""
    children = [child(tmp_path, "steady", "run")]

    def fails(_host: str, _port: int) -> bool:
        raise RuntimeError("a fault of ours")

    with pytest.raises(RuntimeError, match="a fault of ours"):
        run_in_main(children, is_ready=fails)
    assert children[0].ended() is not None or children[0].process is None


def test_a_child_that_cannot_be_started_now_is_started_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine has no memory for one more process."""
    start, failures = Child.start, [OSError(12, "Cannot allocate memory")]

    def once(self: Child, environment: dict[str, str], now: float) -> None:
        if failures:
            raise failures.pop()
        start(self, environment, now)

    monkeypatch.setattr(Child, "start", once)
    enough = when(lambda: starts(tmp_path, "steady") == 1)
    assert run_in_main([child(tmp_path, "steady", "run")], enough) == 0
    assert starts(tmp_path, "steady") == 1


@pytest.mark.parametrize("code", [2, 3])
def test_what_only_a_person_can_mend_ends_them_all(tmp_path: Path, code: int) -> None:
    """Configuration errors and fenced instances are never started again; the exit code is theirs."""
    children = [child(tmp_path, "steady", "run"), child(tmp_path, "hopeless", str(code))]
    assert run_in_main(children) == code
    assert starts(tmp_path, "hopeless") == 1


def test_ports_follow_each_other_or_are_free(tmp_path: Path) -> None:
    """Five in a row from the first, or five that nobody has."""
    free = choose_ports("127.0.0.1", 0)
    assert set(free) == set(CONNECTORS)
    assert len(set(free.values())) == 5


def test_a_taken_port_is_named() -> None:
    """The sentence says which, and the mend."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(ConfigError, match=f"{port}.*--port 0"):
            choose_ports("127.0.0.1", port, patience_s=0)


def test_a_child_is_started_by_the_command_line_that_people_use() -> None:
    """`salmon run NAME -c FILE --port N`."""
    command = command_of("merge", "sync.yaml", 8083, ["--log-format", "json"])
    assert command[1:] == [
        *("-m", "salmon", "run", "merge", "-c", "sync.yaml", "--port", "8083"),
        *("--log-format", "json"),
    ]


def test_the_ordinal_is_said_or_read_off_the_pods_name() -> None:
    """$SALMON_ORDINAL, else a StatefulSet's pod name, else 0; a laptop's name says nothing."""
    assert ordinal_of({"SALMON_ORDINAL": "4"}, "x") == 4
    assert ordinal_of({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "mongodb-sink-2") == 2
    assert ordinal_of({}, "laptop-7") == 0
    with pytest.raises(ConfigError):
        ordinal_of({"SALMON_ORDINAL": "two"}, "x")


def test_it_says_once_that_all_are_ready(tmp_path: Path) -> None:
    """Whoever types `run all` sees when to begin; a process that starts later than others is waited for."""
    looks: list[int] = []
    told = threading.Event()

    def is_ready(_host: str, port: int) -> bool:
        looks.append(port)
        if len(looks) == 4:
            told.set()
        return len(looks) != 2

    children = [child(tmp_path, name, "run") for name in ("one", "two")]
    with capture_logs() as said:
        run_in_main(children, told, is_ready=is_ready)
    ready = [entry for entry in said if entry["event"] == "all_are_ready"]
    assert [entry["connectors"] for entry in ready] == [["one", "two"]]
    assert len(looks) == 4, "two looks at two processes, and none once that is told"


@pytest.mark.parametrize(("status", "ready"), [(200, True), (503, False)])
def test_a_process_is_ready_when_its_health_says_so(status: int, ready: bool) -> None:
    """And not because it answers, or while nobody does."""

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Health) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        assert is_ready("127.0.0.1", server.server_port) is ready
    assert not is_ready("127.0.0.1", server.server_port)


def test_the_source_that_tells_the_schemas_starts_before_the_others(tmp_path: Path) -> None:
    """They would take the schemas of an earlier configuration, which they find in the registry."""
    told, seen = threading.Event(), list[int]()

    def is_ready(_host: str, _port: int) -> bool:
        seen.append(starts(tmp_path, "other"))
        if starts(tmp_path, "other"):
            told.set()
        return starts(tmp_path, "describing") > 0 and len(seen) > 2

    children = [child(tmp_path, name, "run") for name in ("other", "describing")]
    run_in_main(children, told, is_ready=is_ready, first="describing")
    assert seen[:3] == [0, 0, 0], "it was not started before the first was ready"
    assert starts(tmp_path, "other") == 1


def test_the_others_do_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The org may be down, and MongoDB's edits are still taken in."""
    monkeypatch.setattr(run_all, "FIRST_ALONE_S", 0.1)
    told = when(lambda: starts(tmp_path, "other") > 0)
    children = [child(tmp_path, name, "run") for name in ("describing", "other")]
    run_in_main(children, told, is_ready=lambda *_: False, first="describing")
    assert starts(tmp_path, "other") == 1


def test_the_others_do_not_wait_for_one_that_crashes_again_and_again(tmp_path: Path) -> None:
    """Each of its starts would begin the wait anew, and it is never ready."""
    told = when(lambda: starts(tmp_path, "other") > 0)
    children = [child(tmp_path, "describing", "1"), child(tmp_path, "other", "run")]
    run_in_main(children, told, is_ready=lambda *_: False, first="describing")
    assert starts(tmp_path, "other") == 1


def test_a_child_that_was_ready_is_started_again_and_knows_it(tmp_path: Path) -> None:
    """It was killed: what it has reached before, its successor waits for (case S4)."""
    note = tmp_path / "reached"
    script = f"import os, pathlib\npathlib.Path({str(note)!r}).write_text(os.environ.get('SALMON_WAS_READY', ''))\n{CHILD}"
    (only,) = children = [
        Child("child", [sys.executable, "-c", script, str(tmp_path / "child"), "run"], port=1)
    ]
    killed: list[int] = []

    def kill_first() -> bool:
        if not killed and only.is_ready and starts(tmp_path, "child") and only.process:
            killed.append(only.process.pid)
            only.process.kill()
        return starts(tmp_path, "child") == 2

    looks = {"is_ready": lambda *_: True, "is_live": lambda *_: True, "live_look_s": 0.01}
    assert run_in_main(children, when(kill_first), **looks) == 0
    assert note.read_text() == "1"


def test_exit_code_2_of_one_that_was_ready_ends_nothing_for_good(tmp_path: Path) -> None:
    """
    It has worked, so its troubles may pass, and the four others do not stop for it. However often it ends before it is
    ready again, it is started again (case S4): a person who corrects what it names need not start anything.
    """
    child = Child("c", ["true"], port=1)
    supervisor = Supervisor([child], rng=LowRandom(), clock=lambda: 100.0)
    child.checked(live=True, ready=True)
    for _ in range(50):
        child.process = Ended(2)  # type: ignore[assignment]
        assert supervisor._note_ended() is None
        assert child.start_at is not None
        child.start({}, 100.0)
    child.checked(live=True, ready=True)
    child.process = Ended(3)  # type: ignore[assignment]
    assert supervisor._note_ended() == 3, "the child has found out that a newer instance runs"


class Ended:
    """A process that has ended."""

    pid = 1

    def __init__(self, code: int) -> None:
        self._code = code

    def poll(self) -> int:
        return self._code


# Ignores SIGTERM, as one does whose main thread hangs in a library.
DEAF = CHILD.replace("lambda *_: sys.exit(0)", "signal.SIG_IGN")


def test_a_child_that_hangs_is_replaced(tmp_path: Path) -> None:
    """It does not say that it is live, and does not hear SIGTERM; the other one is left alone (case S3)."""
    hanging = Child("hanging", [sys.executable, "-c", DEAF, str(tmp_path / "hanging"), "run"], port=2)
    children = [child(tmp_path, "steady", "run"), hanging]
    replaced = when(lambda: starts(tmp_path, "hanging") == 2)
    with capture_logs() as said:
        run_in_main(
            children,
            replaced,
            is_live=lambda _host, port: port == 1 or hanging.crashes > 0 or not starts(tmp_path, "hanging"),
            is_ready=lambda *_: False,
            live_look_s=0.01,
            not_live_max=3,
            hung_grace_s=0.05,
        )
    assert [each["name"] for each in said if each["event"] == "connector_hangs"] == ["hanging"]
    assert starts(tmp_path, "steady") == 1


def test_a_supervisor_that_was_suspended_kills_nobody() -> None:
    """The clock has moved on by an hour, and it has looked once, in vain: looks are counted, no time (case S1)."""
    now = [100.0]
    child = Child("c", ["true"], port=1)
    child.process = Running()  # type: ignore[assignment]
    supervisor = Supervisor([child], clock=lambda: now[0], is_live=lambda *_: False)
    supervisor.check(child)
    now[0] += 3600
    supervisor.check(child)
    supervisor._replace_hung()
    assert child.kill_at is None
    for _ in range(NOT_LIVE_MAX):
        supervisor.check(child)
    supervisor._replace_hung()
    assert child.kill_at is not None, "one that goes on not answering is replaced"


class Running(Ended):
    """A process that runs, and hears nothing."""

    def __init__(self) -> None:
        super().__init__(0)

    def poll(self) -> None:  # type: ignore[override]
        return None

    def send_signal(self, _number: int) -> None:
        pass


def test_an_answer_of_the_process_before_says_nothing_about_the_next() -> None:
    """It was asked before it was replaced."""
    child = Child("c", ["true"], port=1)
    child.process = Running()  # type: ignore[assignment]

    def is_live(*_: object) -> bool:
        child.process = Running()  # type: ignore[assignment]
        return False

    Supervisor([child], is_live=is_live).check(child)
    assert child.not_live == 0


# Says when it has started; only later can it handle a SIGHUP, as a process that still imports its modules.
LATE = textwrap.dedent(
    """
    import pathlib, signal, sys, time
    folder = pathlib.Path(sys.argv[1])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    (folder / "started").touch()
    while not (folder / "go on").exists():
        time.sleep(0.02)
    signal.signal(signal.SIGHUP, lambda *_: (folder / "reloaded").touch())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    while True:
        time.sleep(0.05)
    """
)


def test_a_hangup_is_passed_on_and_is_not_lost_on_a_child_that_still_starts(tmp_path: Path) -> None:
    """It would end a process that cannot handle it yet. It waits, and is delivered as soon as the child can."""
    late = Child("late", [sys.executable, "-c", LATE, str(tmp_path)], port=1)

    def hang_up() -> bool:
        if (tmp_path / "started").exists() and not (tmp_path / "go on").exists():
            os.kill(os.getpid(), signal.SIGHUP)
            until(passed_on.is_set)
            (tmp_path / "go on").touch()
        return (tmp_path / "reloaded").exists()

    passed_on = threading.Event()

    class Noted(Supervisor):
        def _reload(self) -> None:
            super()._reload()
            passed_on.set()

    supervisor = Noted([late], rng=LowRandom(), drain_deadline_s=5.0, has_terminal=lambda: False)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    reloaded = when(hang_up)

    def stop() -> None:
        reloaded.wait(60)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()
    try:
        assert supervisor.run() == 0
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert reloaded.is_set()
    assert late.crashes == 0
