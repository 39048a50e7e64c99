"""Logs: one JSON object a line, and no secret in any form."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator

import pytest
import structlog
from pydantic import BaseModel, SecretStr

from salmon.ops import logs

KEY = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\nabcdefghijklmnopqrstu\n-----END PRIVATE KEY-----\n"
SECRETS = ("pa ss/word", "s3cr3t-token", KEY)


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[pytest.CaptureFixture[str]]:
    root, salmon = logging.getLogger(), logging.getLogger("salmon")
    handlers, level, own = list(root.handlers), root.level, salmon.level
    logs.configure(log_format="json", level="info", secrets=SECRETS, connector="merge")
    yield capsys
    logging.captureWarnings(False)
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


@pytest.mark.parametrize(
    "token",
    [
        "00D000000000001!AQ8AQx0123456789_.01234567890123456789",
        "5Aep861TSESvWeug_xvFHRBTTbf_YrTWgEyjBJrfxlJ",
        "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiIzTVZHOTl4In0.c2lnbmF0dXJl-_",
    ],
)
def test_a_token_that_no_configuration_has_leaves_in_no_line(token: str) -> None:
    """Sessions begin while the process runs; an error of a library might quote one."""
    line = "refused: Bearer {}, at https://acme.my.salesforce.com"
    assert logs.Redaction(())(None, "", line.format(token)) == line.format("***")


def test_a_line_below_the_level_is_never_built(lines: pytest.CaptureFixture[str]) -> None:
    """No processor sees it, so it costs next to nothing; once the level is lowered while the process runs, it is written."""
    built: list[str] = []
    process = structlog.get_config()["processors"]

    def noted(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        built.append(str(event["event"]))
        return event

    structlog.configure(processors=[noted, *process])
    logging.getLogger("salmon").setLevel(logging.WARNING)
    log = structlog.get_logger("salmon.x")
    log.debug("write_finished", key="001A")
    log.info("write_finished", key="001A")
    assert built == []
    logging.getLogger("salmon").setLevel(logging.DEBUG)
    log.debug("write_finished", key="001A")
    log.info("partition_taken")
    assert built == ["write_finished", "partition_taken"]
    assert lines.readouterr().err.count("\n") == 2


def test_a_warning_of_python_is_a_line_like_all_others(lines: pytest.CaptureFixture[str]) -> None:
    """It does not go raw to standard error (case S10)."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("an old call", UserWarning, stacklevel=1)
    assert "an old call" in json.loads(lines.readouterr().err)["event"]


# A server that speaks no TLS: gRPC would tell the terminal of each handshake.
_GRPC = """
import socket, threading
from salmon.ops import logs
logs.configure(log_format="json")
import grpc
server = socket.create_server(("127.0.0.1", 0))
def serve():
    while True:
        client, _ = server.accept()
        client.sendall(b"HTTP/1.0 400 no")
        client.close()
threading.Thread(target=serve, daemon=True).start()
channel = grpc.secure_channel(f"127.0.0.1:{server.getsockname()[1]}", grpc.ssl_channel_credentials())
try:
    channel.unary_unary("/a/b", bytes, bytes)(b"", timeout=20)
except grpc.RpcError as error:
    print(error.code().name)
"""


def test_grpc_writes_no_lines_of_its_own() -> None:
    """What it has to say comes as an error, and is told once, by us (case S10)."""
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    ended = subprocess.run(
        [sys.executable, "-c", _GRPC],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.stdout, ended.stderr) == ("UNAVAILABLE\n", "")


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


@pytest.mark.parametrize(
    ("uri", "secret"),
    [
        ("mongodb://user:pa／ss@host/", "pa／ss"),
        ("mongodb://user:p：q@host/db", "p：q"),
        ("mongodb://user:pa[ss@host/", "pa[ss"),
        ("mongodb://user:pa/ss@host/", "pa/ss"),
        ("mongodb://user:pa?ss@host/?w=1", "pa?ss"),
        ("mongodb://user:pa@ss@host", "pa@ss"),
        ("mongodb://user:p+a%2Fss@host/?w=1&appName=a@b", "p+a/ss"),
        ("mongodb://host/?tls=true&tlsCertificateKeyFilePassword=of%20a%20file", "of a file"),
        ("mongodb://host/?proxyHost=a;proxyPassword=of-a-proxy", "of-a-proxy"),
        ("mongodb://k:v123@host/?authMechanismProperties=A:b,AWS_SESSION_TOKEN:tok%2Fen", "tok/en"),
    ],
)
def test_a_password_inside_of_a_connection_string_is_found_whatever_its_signs(uri: str, secret: str) -> None:
    """Also one that Python's own parser of URLs refuses, one that should have been escaped, and those among the options."""

    class Config(BaseModel):
        uri: SecretStr

    assert secret in logs.secrets_of(Config(uri=SecretStr(uri)))
