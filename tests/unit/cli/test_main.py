"""What a person or a script meets who types `salmon`: exit codes, and one sentence instead of a traceback."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from salmon import __version__
from salmon.cli import main as command_line
from salmon.errors import ConfigError, Fenced, SalmonError, Unavailable

HEAVY = (
    *("grpc", "pymongo", "confluent_kafka", "requests", "pydantic", "starlette", "rich.progress"),
    *("salmon.model", "salmon.story"),
)


def salmon(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command line in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["salmon", *arguments])
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_the_version_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """For bug reports and for scripts."""
    assert salmon(monkeypatch, "--version") == 0
    assert capsys.readouterr().out.startswith(f"salmon {__version__}")


@pytest.mark.parametrize(
    ("error", "code"),
    [(ConfigError("kafka: wrong."), 2), (Unavailable("nobody answers."), 2), (Fenced("a newer one."), 3)],
)
def test_each_of_our_errors_is_one_sentence_and_an_exit_code(
    error: SalmonError, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever branch it is of: the message says what happened and the mend."""
    monkeypatch.delenv(command_line.DEBUG_VARIABLE, raising=False)
    assert command_line.exit_code_of(error) == code
    assert capsys.readouterr() == ("", f"salmon: {error}\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("verify", "--keys", "\udcff\udcfe"),
        ("verify", "--keys=a,\udcff"),
        ("why", "Account", "\udcff"),
        ("retry", "--object", "Account", "--key", "\udcff"),
        ("conflicts", "list", "--key", "\udcff"),
        ("conflicts", "show", "Account", "\udcff"),
        ("guard", "approve", "--object", "\udcff"),
        ("guard", "discard", "--by", "\udcff"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_an_argument_that_is_not_utf8_is_one_sentence(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python hands such bytes on as lone surrogates, which nothing can encode. They are refused before anything is read."""
    assert salmon(monkeypatch, *arguments) == 2
    number = next(number for number, text in enumerate(arguments, 1) if "\udcff" in text)
    assert capsys.readouterr() == (
        "",
        f"salmon: argument {number} of the command line is not valid UTF-8. Write keys, names and texts in UTF-8.\n",
    )


def test_debug_shows_where_an_error_came_from(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The traceback is for those who ask."""
    monkeypatch.setenv(command_line.DEBUG_VARIABLE, "1")
    command_line.exit_code_of(ConfigError("kafka: wrong."))
    assert "ConfigError" in capsys.readouterr().err


def test_an_error_that_nobody_foresaw_is_told_as_such(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is our fault, not the caller's: exit code 1."""
    monkeypatch.delenv(command_line.DEBUG_VARIABLE, raising=False)
    assert command_line.exit_code_of(KeyError("x")) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_a_configuration_that_is_not_there_ends_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Of every command that reads one."""
    monkeypatch.delenv(command_line.DEBUG_VARIABLE, raising=False)
    missing = str(tmp_path / "sync.yaml")
    for arguments in (["verify"], ["status"], ["run", "merge"], ["run", "all"]):
        assert salmon(monkeypatch, *arguments, "-c", missing) == 2
        told = capsys.readouterr()
        assert missing in told.err
        assert len(told.err.splitlines()) == 1
        assert told.out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "merge", "--ports-file", "p"],
        ["run", "all", "--ordinal", "1"],
        ["verify", "--nonsense"],
        ["swim"],
    ],
)
def test_options_that_do_not_go_together_are_refused(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The shell's convention: exit code 2, and what is wrong on standard error."""
    assert salmon(monkeypatch, *arguments) == 2
    assert capsys.readouterr().out == ""


def test_ctrl_c_ends_a_command_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    """As shells expect of a program that SIGINT ended."""

    def interrupted(*_: object, **__: object) -> Callable[[], None]:
        raise KeyboardInterrupt

    monkeypatch.setattr("salmon.config.models.load", interrupted)
    assert salmon(monkeypatch, "verify") == 130


def test_help_waits_for_no_heavy_library() -> None:
    """What a command needs is imported when it runs."""
    script = f"import sys, salmon.cli.main; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    shown = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert shown.stdout.strip() == ""


def test_a_command_that_ends_does_not_look_through_its_modules_for_garbage() -> None:
    """That would take as long as a third of the command; the exit code is the command's."""
    script = (
        "import atexit, gc, sys; sys.argv = ['salmon', 'verify', '-c', 'nowhere.yaml']; "
        "from salmon.__main__ import program; atexit.register(lambda: print(gc.get_freeze_count() > 0)); program()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert (ended.returncode, ended.stdout) == (2, "True\n")


@pytest.mark.parametrize("command", [("conflicts", "list"), ("retry",)])
def test_a_wrong_time_is_the_same_sentence_everywhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    """It is found before anything is asked; with the ways to write a time."""
    assert salmon(monkeypatch, *command, "--since", "yesterday") == 2
    assert capsys.readouterr().err == (
        "salmon: --since: 'yesterday' is not a valid time. Give 2026-11-25T13:05 (UTC), or how long ago: 30m, 2h, 7d.\n"
    )


@pytest.mark.parametrize(
    "command",
    [("conflicts", "list"), ("conflicts", "show"), ("conflicts", "resolve"), ("guard", "list"), ("guard", "approve"),
     ("guard", "discard")],
)  # fmt: skip
def test_the_help_of_what_an_operator_decides_lists_the_exit_codes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    """Scripts rely on them."""
    assert salmon(monkeypatch, *command, "--help") == 0
    shown = capsys.readouterr().out
    assert "Exit code 0: " in shown
    assert " 2: " in shown
