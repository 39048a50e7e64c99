"""Logs: one JSON object a line, and no secret in any form."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from pydantic import BaseModel, SecretStr

from salmon.runtime import logs

KEY = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\nabcdefghijklmnopqrstu\n-----END PRIVATE KEY-----\n"
SECRETS = ("pa ss/word", "s3cr3t-token", KEY)


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[pytest.CaptureFixture[str]]:
    root, salmon = logging.getLogger(), logging.getLogger("salmon")
    handlers, level, own = list(root.handlers), root.level, salmon.level
    logs.configure(log_format="json", level="info", secrets=SECRETS, connector="merge")
    yield capsys
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
    salmon.setLevel(own)


def test_an_event_is_one_json_line_with_its_facts(lines: pytest.CaptureFixture[str]) -> None:
    """The event, its facts, the connector, the level and the time."""
    structlog.get_logger("salmon.x").info("source_started", objects=["Account"])
    line = json.loads(lines.readouterr().err)
    assert (line["event"], line["objects"], line["connector"]) == ("source_started", ["Account"], "merge")
    assert line["level"] == "info"
    assert line["timestamp"]


@pytest.mark.parametrize("form", ["pa ss/word", "pa%20ss%2Fword", "pa+ss%2Fword", "s3cr3t-token", KEY])
def test_a_secret_leaves_in_no_form(lines: pytest.CaptureFixture[str], form: str) -> None:
    """As it is, in a URL, escaped in JSON; in a fact, in a traceback, from a foreign library."""
    structlog.get_logger("salmon.x").warning("failed", uri=f"mongodb://u:{form}@host")
    logging.getLogger("pymongo").error("cannot connect with %s", form)
    try:
        raise ValueError(form)
    except ValueError:
        structlog.get_logger("salmon.x").exception("ended")
    said = lines.readouterr().err
    assert said.count("\n") == 3
    for secret in ("ss/word", "ss%2Fword", "s3cr3t", "MIIEvQIBADANBgkqhkiG9w0BAQ", "abcdefghijklmnopqrstu"):
        assert secret not in said


def test_secrets_are_found_wherever_a_configuration_holds_them() -> None:
    """In blocks, in mappings, and the password inside of a connection string on its own."""

    class Block(BaseModel):
        password: SecretStr = SecretStr("inner")

    class Config(BaseModel):
        block: Block = Block()
        kafka: dict[str, object] = {"sasl.password": SecretStr("kafka-secret"), "client.id": "plain"}
        uri: SecretStr = SecretStr("mongodb://user:p%40ss@host/db")

    assert logs.secrets_of(Config()) == {
        "inner",
        "kafka-secret",
        "mongodb://user:p%40ss@host/db",
        "p%40ss",
        "p@ss",
    }
