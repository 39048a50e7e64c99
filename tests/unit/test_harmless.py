"""What came from elsewhere is shown on a terminal, and never sent to it (case X1)."""

from __future__ import annotations

import ast
import io
import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
import structlog
from bson.errors import InvalidDocument
from confluent_kafka import KafkaError, KafkaException
from pymongo.errors import BulkWriteError

from salmon.app import ending
from salmon.cli import main, terminal
from salmon.errors import ConfigError, SchemaMismatch, SetupError
from salmon.harmless import (
    harmless,
    harmless_error,
    harmless_json,
    harmless_sentences,
    harmless_traceback,
)
from salmon.ops import logs

# Clears the screen, sets the title, rings, begins a line, C1's CSI, turns the reading direction, ends a line in Unicode.
EVIL = "a\x1b[2J\x1b]0;x\x07b\r\nsalmon: all is well\x9b31m\x7f\u202ec\u2066\u2028d\x00"


def is_harmless(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n")) and "\nsalmon: all is well" not in text


def test_all_that_cannot_be_seen_is_written_out() -> None:
    """As Python would; what can be seen stays as it is, in any language."""
    assert harmless("Zoë Müller 東京 🐟 'x' \\") == "Zoë Müller 東京 🐟 'x' \\"
    assert harmless("\x1b\x07\n\t\x9b\u202e\U000e0041\ud800") == r"\x1b\x07\n\t\x9b\u202e\U000e0041\ud800"
    assert harmless("a\nb", keep="\n") == "a\nb"
    assert is_harmless(harmless(EVIL))


def test_json_says_the_same_and_holds_nothing_that_is_sent() -> None:
    """C1 and reading directions are not JSON's own business, but a terminal's."""
    text = harmless_json(json.dumps({EVIL: [EVIL, "Zoë \U000e0041"]}, ensure_ascii=False))
    assert text.isprintable()
    assert json.loads(text) == {EVIL: [EVIL, "Zoë \U000e0041"]}
    assert "Zoë" in text


def test_the_faults_of_a_configuration_keep_their_lines_and_no_other_error_does() -> None:
    """A server's text must not look like a sentence of ours."""
    assert harmless_sentences("x has 2 faults:\n  a\n  b") == "x has 2 faults:\n  a\n  b"
    assert "\n" not in harmless_sentences(f"refused: {EVIL}")


def test_lines_tables_consoles_and_json_escape_what_they_are_given(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each way by which a command shows anything."""
    terminal.say(EVIL, "two")
    terminal.out().print(EVIL, markup=False)
    rows = terminal.table(box=None)
    rows.add_column("x")
    rows.add_row(EVIL)
    terminal.out().print(rows)
    terminal.err().print(EVIL, markup=False)
    terminal.print_json({"x": EVIL})
    terminal.complain(EVIL)
    shown = capsys.readouterr()
    assert is_harmless(shown.out), shown.out
    assert is_harmless(shown.err), shown.err
    assert "\ntwo\n" in shown.out


def test_what_looks_like_markup_in_a_value_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """A closing tag without its opening one would end the command, a link would be the terminal's own, `:fish:` another text."""
    like_markup = "[/b] [red]a[/red] [link=https://evil.example]b[/link] :fish: c\\"
    rows = terminal.table(box=None, pad_edge=False)
    rows.add_column("x")
    rows.add_row(like_markup)
    terminal.out().print(rows)
    terminal.out().print(like_markup, markup=False)
    assert capsys.readouterr().out.split("\n") == ["x".ljust(len(like_markup)), like_markup, like_markup, ""]


@pytest.mark.parametrize("error", [SetupError(EVIL), ConfigError(EVIL), RuntimeError(EVIL)])
def test_errors_are_told_harmlessly(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """By every command, with and without --debug, and by the processes themselves."""
    for debug in ("", "1"):
        monkeypatch.setenv("SALMON_DEBUG", debug)
        main.exit_code_of(error)
    if not isinstance(error, RuntimeError):
        ending.report_end(error)
    assert is_harmless(capsys.readouterr().err)


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_log_lines_are_harmless(monkeypatch: pytest.MonkeyPatch, log_format: logs.LogFormat) -> None:
    """Keys, reasons, tracebacks, and what foreign libraries say."""
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        logs.configure(log_format=log_format)
        try:
            raise ValueError(EVIL)
        except ValueError:
            structlog.get_logger("salmon.test").error("odd", key=EVIL, keys=[EVIL], exc_info=True)
        logging.getLogger("urllib3").warning("%s", EVIL)
    finally:
        root.handlers[:], root.level = before
        structlog.reset_defaults()
    assert "odd" in said.getvalue()
    lines = said.getvalue().split("\n")
    assert all(line.isprintable() for line in lines), said.getvalue()


PLANTED = "Ada Lovelace"


@pytest.mark.parametrize(
    "error",
    [
        KeyError(PLANTED),
        ValueError(f"invalid literal for int() with base 10: {PLANTED!r}"),
        BulkWriteError({"writeErrors": [{"op": {"Name": PLANTED}}]}),
        InvalidDocument(f"Invalid document {{'Name': {PLANTED!r}}}"),
        requests.ConnectionError(f"/query?q=SELECT+Id+WHERE+Name='{PLANTED}'"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_unexpected_error_is_told_without_the_record_that_it_quotes(error: Exception) -> None:
    """Where it came from and what it is; also as the cause of another."""
    try:
        try:
            raise error
        except Exception as cause:
            raise RuntimeError("the sink ended") from cause
    except RuntimeError as ended:
        told = harmless_traceback(ended)
    assert PLANTED not in told
    assert f"{type(error).__name__} (its message is left out" in told
    assert "RuntimeError: the sink ended" in told
    assert "test_harmless.py" in told


def test_errors_that_quote_no_record_keep_their_message() -> None:
    """Ours, librdkafka's, and those of Python that are about the program or a file."""
    assert harmless_error(SchemaMismatch("Name: not a number")) == "SchemaMismatch: Name: not a number"
    assert harmless_error(TypeError("f() takes 1 argument")) == "TypeError: f() takes 1 argument"
    assert "No such file" in harmless_error(FileNotFoundError(2, "No such file", "/etc/x"))
    assert "_TIMED_OUT" in harmless_error(KafkaException(KafkaError(KafkaError._TIMED_OUT)))


def test_no_command_prints_past_the_terminal_module() -> None:
    """The one place is the one place: neither print nor a console of its own."""
    folder = Path(terminal.__file__).parent
    for file in sorted(folder.glob("*.py")):
        if file.name == "terminal.py":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            assert not _prints(node), (
                f"{file.name}:{getattr(node, 'lineno', 0)} prints by itself; use terminal.say"
            )


def _prints(node: Any) -> bool:
    name = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
    return name in {"print", "Console", "Table"}
