"""`salmon run NAME`: what ends a process, and its exit code."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException

from salmon.app.ending import EXIT_FATAL, EXIT_FENCED, EXIT_OK, EXIT_UNEXPECTED, report_end
from salmon.app.live import Live
from salmon.app.process import _Process, run
from salmon.config import models as configuration
from salmon.errors import (
    ClientLost,
    Fenced,
    PositionLost,
    SchemaOutdated,
    SetupError,
    SignInRefused,
    StartAgain,
    Superseded,
    TopicGone,
    Unavailable,
)
from salmon.kafka.errors import translated
from salmon.ops.rest import HANDED_OVER
from salmon.runtime.lifecycle import Lifecycle
from salmon.runtime.reached import Reached
from support.waiting import until


def test_a_config_that_cannot_be_used_is_one_sentence_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback, and the sentence names the file."""
    assert run("merge", tmp_path / "none.yaml") == EXIT_FATAL
    said = capsys.readouterr().err
    assert said.startswith("salmon: ")
    assert "none.yaml" in said
    assert "Traceback" not in said


def test_a_connector_that_does_not_exist_is_told_with_those_that_do(
    sync_yaml: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A slip of the pen. Which there are says the configuration: further sides have their own."""
    assert run("mongo-sink", sync_yaml) == EXIT_FATAL
    assert "mongodb-sink" in capsys.readouterr().err


def test_each_end_has_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    """2 for what a person mends, 3 for a newer instance, 1 for the rest."""
    assert report_end(SetupError("no such object. Correct the name.")) == EXIT_FATAL
    assert report_end(Superseded("a newer instance lives.")) == EXIT_FENCED
    assert report_end(ValueError("odd")) == EXIT_UNEXPECTED
    assert report_end(TimeoutError("late")) == EXIT_UNEXPECTED


class Become(Exception):
    """What this process would have become."""


@pytest.fixture
def outdated(sync_yaml: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration of a process that finds out at once that a schema has changed; it has the signals for itself."""

    def finds_out(*_: object) -> None:
        raise SchemaOutdated("Account: its schema has changed.")

    def become(*command: object) -> None:
        raise Become(*command, os.environ["SALMON_RESTARTS"])

    monkeypatch.setattr(_Process, "part", finds_out)
    monkeypatch.setattr(Lifecycle, "install", lambda _: None)
    monkeypatch.setattr(os, "execv", become)
    monkeypatch.setenv("SALMON_RESTARTS", "2")
    for left in ("SALMON_INSTANCE", HANDED_OVER):  # for the next program, which here would be the next test
        monkeypatch.setenv(left, "")
    return sync_yaml


def test_a_process_whose_schema_has_changed_becomes_the_one_that_its_command_starts_now(
    outdated: Path,
) -> None:
    """With the arguments of its own start; and it knows how often in a row, so that it does not turn in circles."""
    with pytest.raises(Become) as become:
        run("merge", outdated, port=0)
    program, arguments, tries = become.value.args
    assert (program, arguments) == (sys.executable, [sys.executable, *sys.orig_argv[1:]])
    assert tries == "3"


def test_a_process_that_is_asked_to_stop_does_not_restart(
    outdated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would not know of the signal any more."""
    monkeypatch.setattr(Lifecycle, "is_signalled", True)
    assert run("merge", outdated, port=0) == EXIT_OK


# What begins again, and what ends for good.


@pytest.fixture
def process(tmp_path: Path, sync_yaml: Path, monkeypatch: pytest.MonkeyPatch) -> _Process:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return _Process(
        "merge",
        Live(configuration.load(sync_yaml)),
        port=0,
        ordinal=0,
        drain_deadline_s=1.0,
        config_path=sync_yaml,
    )


@pytest.mark.parametrize(
    "error",
    [
        Fenced("Kafka serves this one no longer"),
        ClientLost("this client can do no more"),
        SchemaOutdated("Account has a newer schema"),
        Unavailable("nobody answers"),
        PositionLost("the topic no longer has this offset"),
        KafkaException(KafkaError(KafkaError._STATE)),
        KafkaException(KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "x", True)),
    ],
)
def test_what_heals_by_itself_ends_no_process(process: _Process, error: Exception) -> None:
    """Whichever way it came up: the process becomes a new one (cases S1, S2); nothing is "unexpected" of Kafka's."""
    assert isinstance(process.consequence_of(error), StartAgain)


@pytest.mark.parametrize(
    "error",
    [
        SetupError("no such object. Correct the name."),
        Superseded("a newer instance lives"),
        ValueError("a mistake of ours"),
        KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)),
    ],
)
def test_what_only_a_person_can_mend_ends_it(process: _Process, error: Exception) -> None:
    """So does what nobody foresaw: whoever started the process starts it again."""
    assert not isinstance(process.consequence_of(error), StartAgain)


@pytest.mark.parametrize(
    "refused",
    [
        SignInRefused("salesforce.auth: refused to sign in."),
        translated(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED), "reading"),
        translated(KafkaError(KafkaError._SSL), "reading"),
    ],
)
def test_a_server_that_refuses_us_for_the_first_time_is_an_outage_if_it_has_let_us_in(
    process: _Process, refused: Exception
) -> None:
    """
    An org whose sign-in answers 401 for a minute, a right or a certificate that is missing for an hour (case S4); one that
    has never let us in is told at once.
    """
    assert process.consequence_of(refused) is refused
    process.health.running()
    assert isinstance(process.consequence_of(refused), StartAgain)


def test_a_hangup_reads_the_file_of_the_process_again(process: _Process, sync_yaml: Path) -> None:
    """What its parts share follows, and so does what is built later."""
    sync_yaml.write_text(sync_yaml.read_text() + "errors: {limit.consecutive: 7}\n")
    process._lifecycle.reload()
    assert process._live.config.errors.limit_consecutive == 7
    assert process._live.tolerance.consecutive == 7


def test_a_topic_that_was_deleted_is_named_where_kafka_speaks_of_numbers(
    process: _Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own word is OUT_OF_ORDER_SEQUENCE_NUMBER, which says nothing to anybody (case S14)."""
    lost = ClientLost("OUT_OF_ORDER_SEQUENCE_NUMBER")
    assert process.consequence_of(lost) is lost
    gone = TopicGone("crm.changes.Account: deleted while the sync ran.")
    monkeypatch.setattr(process._topics, "missing_topic", lambda: gone)
    assert process.consequence_of(lost) is gone


def test_a_process_that_stops_does_not_ask_kafka_why_it_was_left_alone(
    process: _Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kafka may be away, and the time to stop is short (case S8)."""
    monkeypatch.setattr(Lifecycle, "is_signalled", True)
    monkeypatch.setattr(process._topics, "missing_topic", pytest.fail)
    lost = ClientLost("the session has timed out")
    assert process.consequence_of(lost) is lost


def test_a_process_that_is_told_to_stop_while_kafka_is_away_stops_in_good_order(
    sync_yaml: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it could not commit is repeated; no stack trace, no exit code 1 (case S8)."""
    monkeypatch.setattr(Lifecycle, "install", lambda _: None)

    def part(process: _Process, _retrying: object) -> None:
        process._lifecycle.stop("SIGTERM")
        work = process._lifecycle._running[1].part
        until(work._stop.is_set)  # type: ignore[attr-defined]
        raise Unavailable("committing: nobody answers")

    monkeypatch.setattr(_Process, "part", part)
    assert run("merge", sync_yaml, port=0) == EXIT_OK
    assert "Traceback" not in capsys.readouterr().err


def test_kafka_that_was_reached_once_is_waited_for_after_a_restart(tmp_path: Path) -> None:
    """A kill -9 while Kafka is away must not make a mistake in the configuration of it (case S4)."""
    ours = Reached(str(tmp_path), "crm", ("localhost:9092", "http://localhost:8081"))
    assert not ours.before()
    ours.note()
    assert Reached(str(tmp_path), "crm", ("localhost:9092", "http://localhost:8081")).before()
    assert not Reached(str(tmp_path), "crm", ("elsewhere:9092", "http://localhost:8081")).before()
    assert not Reached(str(tmp_path), "other", ("localhost:9092", "http://localhost:8081")).before()
