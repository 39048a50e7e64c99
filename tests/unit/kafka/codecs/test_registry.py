"""The registry's client where the registry is not well: what is tried again, and what stops the process."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from structlog.testing import capture_logs

from salmon.calls import Calls, Peer
from salmon.errors import SetupError, Unavailable
from salmon.kafka.codecs.registry import SchemaRefused, SchemaRegistry
from support.programs.certificates import Authority

SCHEMA = {"type": "record", "name": "A", "fields": []}
FORMER = {"type": "record", "name": "A", "fields": [{"name": "Old", "type": "string"}]}


class Scripted:
    """A server that gives the answers it was told to, one after the other, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, Any]] = []
        self.asked: list[tuple[str, str, Any]] = []
        self.headers: list[dict[str, str]] = []
        told = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = json.loads(self.rfile.read(length)) if length else None
                told.asked.append((self.command, self.path, body))
                told.headers.append(dict(self.headers))
                status, content = told.answers.pop(0) if len(told.answers) > 1 else told.answers[0]
                payload = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            do_GET = do_POST = do_PUT = answer  # noqa: N815  # the names http.server looks for

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def server() -> Iterator[Scripted]:
    server = Scripted()
    yield server
    server.server.shutdown()
    server.server.server_close()


NOT_FOUND = (404, {"error_code": 40401, "message": "Subject not found"})


def test_a_new_subject_gets_our_compatibility(server: Scripted) -> None:
    """A registry's default may allow what a sink that was down for a month could not read."""
    server.answers = [NOT_FOUND, (200, {"id": 7}), (200, {})]
    assert SchemaRegistry(server.url).register("crm.offsets-value", SCHEMA) == 7
    assert server.asked[1:] == [
        (
            "POST",
            "/subjects/crm.offsets-value/versions",
            {"schema": json.dumps(SCHEMA, separators=(",", ":"))},
        ),
        ("PUT", "/config/crm.offsets-value", {"compatibility": "BACKWARD_TRANSITIVE"}),
    ]


@pytest.mark.parametrize("ours", [{"format": 3}, {"salmon": {"keyPrefix": "001"}}])
def test_a_registry_that_drops_our_properties_is_named_once(server: Scripted, ours: dict[str, Any]) -> None:
    """Without them nothing would keep a process from records of a newer one; a registry that keeps them is not mentioned."""
    for kept, warnings in ({**SCHEMA, **ours}, 0), (SCHEMA, 1):
        registry = SchemaRegistry(server.url)
        with capture_logs() as logged:
            for number in (7, 8):
                server.answers = [
                    NOT_FOUND,
                    (200, {"id": number}),
                    (200, {}),
                    (200, {"schema": json.dumps(kept)}),
                ]
                registry.register(f"crm.{number}-value", {**SCHEMA, **ours})
        found = [each for each in logged if each["event"] == "schema_properties_dropped"]
        assert [(each["registry"], each["properties"]) for each in found] == [
            (server.url, list(ours))
        ] * warnings


def test_an_instance_that_does_not_know_a_schema_yet_stops_no_registration(server: Scripted) -> None:
    """It was taken by another one a moment ago."""
    unknown = (404, {"error_code": 40403, "message": "Schema not found"})
    server.answers = [NOT_FOUND, (200, {"id": 7}), (200, {}), unknown]
    assert SchemaRegistry(server.url).register("crm.state-value", {**SCHEMA, "format": 3}) == 7


def test_a_subject_that_is_there_keeps_its_compatibility(server: Scripted) -> None:
    """An operator may have chosen a stronger one."""
    server.answers = [(200, {"id": 6, "schema": json.dumps(FORMER)}), (200, {"id": 7})]
    SchemaRegistry(server.url).register("crm.offsets-value", SCHEMA)
    assert [method for method, _, _ in server.asked] == ["GET", "POST"]


def test_what_is_the_latest_already_is_not_written_again(server: Scripted) -> None:
    """After `salmon schemas register`, an account that may only read is enough for a process."""
    server.answers = [(200, {"id": 6, "schema": json.dumps(SCHEMA)}), (403, {})]
    assert SchemaRegistry(server.url).register("crm.offsets-value", SCHEMA) == 6
    assert [method for method, _, _ in server.asked] == ["GET"]


def test_an_account_that_may_only_read_uses_an_earlier_version(server: Scripted) -> None:
    """While a new Salmon is rolled out, processes of the former version still start."""
    server.answers = [
        (200, {"id": 6, "schema": json.dumps(FORMER)}),
        (403, {}),
        (200, [1, 2]),
        (200, {"id": 5, "schema": json.dumps(SCHEMA)}),
        (200, {"id": 6, "schema": json.dumps(FORMER)}),
    ]
    assert SchemaRegistry(server.url).register("crm.offsets-value", SCHEMA) == 5


def test_a_new_schema_of_an_account_that_may_only_read_concerns_its_object_alone(server: Scripted) -> None:
    """The others go on; one sentence says who has to do what."""
    server.answers = [
        (200, {"id": 6, "schema": json.dumps(FORMER)}),
        (403, {}),
        (200, [2]),
        (200, {"id": 6, "schema": json.dumps(FORMER)}),
    ]
    with pytest.raises(
        SchemaRefused, match=r"this account may not register it .*Run `salmon schemas register`"
    ):
        SchemaRegistry(server.url).register("crm.a-value", SCHEMA)


def test_if_an_instance_does_not_answer_the_next_one_is_asked(server: Scripted) -> None:
    """And it stays with the one that answers."""
    server.answers = [(200, {"schema": json.dumps(SCHEMA)})]
    registry = SchemaRegistry(f"http://127.0.0.1:1/, {server.url}/")
    assert [registry.schema_by_id(number) for number in (7, 8)] == [SCHEMA, SCHEMA]
    assert [path for _, path, _ in server.asked] == ["/schemas/ids/7", "/schemas/ids/8"]


def test_a_token_is_sent_as_a_bearers(server: Scripted) -> None:
    """Of an identity provider, as Confluent Cloud and Apicurio take it."""
    server.answers = [NOT_FOUND]
    SchemaRegistry(server.url, token="abc").latest("a-value")
    assert server.headers[0]["Authorization"] == "Bearer abc"


def test_a_certificate_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """With its keys, before anything is asked."""
    for file in ("own.crt", "own.key"):
        (tmp_path / file).write_text("name: crm")
    with pytest.raises(SetupError, match=r"certificate_file and key_file: .*own\.crt .* cannot be used"):
        SchemaRegistry(
            "https://127.0.0.1:1", certificate=(str(tmp_path / "own.crt"), str(tmp_path / "own.key"))
        )


def test_a_registry_signs_us_in_by_our_certificate(tmp_path: Path) -> None:
    """Mutual TLS: without a certificate of its CA the server does not talk to us."""
    ca = Authority(tmp_path)
    of_server, ours = ca.gives("registry"), ca.gives("salmon")
    server = Scripted()
    server.answers = [NOT_FOUND]
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca.ca_file)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(of_server.certificate_file, of_server.key_file)
    server.server.socket = context.wrap_socket(server.server.socket, server_side=True)
    url = server.url.replace("http:", "https:")
    try:
        pair = (ours.certificate_file, ours.key_file)
        assert SchemaRegistry(url, ca_file=ca.ca_file, certificate=pair).latest("a-value") is None
        with pytest.raises((Unavailable, SetupError)):
            SchemaRegistry(url, ca_file=ca.ca_file, attempts=1).latest("a-value")
    finally:
        server.server.shutdown()
        server.server.server_close()
    assert len(server.asked) == 1


def test_a_registry_that_keeps_its_settings_to_itself_does_not_stop_us(server: Scripted) -> None:
    """Some do not let every client set a compatibility; values can be written all the same."""
    server.answers = [NOT_FOUND, (200, {"id": 7}), (405, {"message": "no"})]
    assert SchemaRegistry(server.url).register("a-value", SCHEMA) == 7


def test_what_was_registered_is_not_registered_again(server: Scripted) -> None:
    """A restarted task asks its client, not the registry."""
    server.answers = [NOT_FOUND, (200, {"id": 7}), (200, {})]
    registry = SchemaRegistry(server.url)
    assert registry.register("a-value", SCHEMA) == registry.register("a-value", SCHEMA) == 7
    assert len(server.asked) == 3


def test_a_hiccup_is_healed_by_asking_again(server: Scripted) -> None:
    """A registry behind a load balancer answers 502 while it is deployed."""
    server.answers = [(502, b"<html>"), (429, {}), (200, {"schema": json.dumps(SCHEMA)})]
    assert SchemaRegistry(server.url).schema_by_id(7) == SCHEMA


def test_an_outage_is_told_after_some_tries(server: Scripted) -> None:
    """The worker then decides how long to wait."""
    server.answers = [(503, b"")]
    with pytest.raises(Unavailable, match=rf"{server.url} answers 503"):
        SchemaRegistry(server.url, attempts=3).schema_by_id(7)
    assert len(server.asked) == 3


def test_a_registry_that_is_not_there_is_told_with_its_key() -> None:
    """Nobody listens on port 1."""
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1 does not answer.*schema_registry\.url"):
        SchemaRegistry("http://127.0.0.1:1", attempts=1).latest("a-value")


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_password_is_nothing_to_try_again(server: Scripted, status: int) -> None:
    """And is told with the keys to look at."""
    server.answers = [(status, {})]
    with pytest.raises(SetupError, match=r"schema_registry\.username and schema_registry\.password"):
        SchemaRegistry(server.url, username="u", password="hunter2").latest("a-value")
    assert len(server.asked) == 1


def test_the_password_is_sent_and_never_told(server: Scripted) -> None:
    """Basic authentication, on every request."""
    server.answers = [(500, {})]
    with pytest.raises(Unavailable) as failed:
        SchemaRegistry(server.url, username="u", password="hunter2", attempts=2).latest("a-value")
    assert [headers["Authorization"] for headers in server.headers] == ["Basic dTpodW50ZXIy"] * 2
    assert "hunter2" not in str(failed.value)


def test_something_else_at_the_url_is_told(server: Scripted) -> None:
    """A web page instead of a registry, as with a path that is missing from the URL."""
    server.answers = [(200, b"<html>")]
    with pytest.raises(SetupError, match=r"answers 200 to GET /subjects.*schema_registry\.url"):
        SchemaRegistry(server.url).latest("a-value")


def test_an_incompatible_schema_is_told_with_the_registrys_reasons(server: Scripted) -> None:
    """Which subject, why, and the mend."""
    server.answers = [
        (200, {"id": 6, "schema": json.dumps(FORMER)}),
        (409, {"error_code": 409, "message": "incompatible"}),
        (200, {"is_compatible": False, "messages": ["READER_FIELD_MISSING_DEFAULT_VALUE: Phone"]}),
    ]
    with pytest.raises(
        SetupError, match=r"crm\.a-value: .*READER_FIELD_MISSING_DEFAULT_VALUE: Phone.*sync name"
    ):
        SchemaRegistry(server.url).register("crm.a-value", SCHEMA)


def test_a_schema_that_the_registry_cannot_read_is_told(server: Scripted) -> None:
    """422, with its own words."""
    server.answers = [NOT_FOUND, (422, {"error_code": 42201, "message": "Invalid schema"})]
    with pytest.raises(SetupError, match="refuses the schema: Invalid schema"):
        SchemaRegistry(server.url).register("a-value", SCHEMA)


def test_a_ca_file_that_is_not_there_is_told() -> None:
    """With its key, before anything is asked."""
    with pytest.raises(SetupError, match=r"schema_registry\.ca_file: the file /no/such/ca\.pem"):
        SchemaRegistry("https://127.0.0.1:1", ca_file="/no/such/ca.pem")


def test_a_ca_file_without_a_certificate_is_told(tmp_path: Path) -> None:
    """The key file, say, in place of the authority's; and not only when a server is met."""
    (tmp_path / "ca.pem").write_text("name: crm")
    with pytest.raises(SetupError, match=r"schema_registry\.ca_file: .* has no certificate"):
        SchemaRegistry("https://127.0.0.1:1", ca_file=str(tmp_path / "ca.pem"))


def test_a_url_that_is_none_is_told() -> None:
    """Where the configuration was made by a program, not read from YAML."""
    with pytest.raises(SetupError, match=r"not a valid URL.*schema_registry\.url"):
        SchemaRegistry("registry:8081").latest("a-value")


def test_a_subject_may_have_any_name(server: Scripted) -> None:
    """Nothing of it is taken for a part of the path."""
    server.answers = [NOT_FOUND]
    SchemaRegistry(f"{server.url}/apis/ccompat/v7/").latest("a/b value")
    assert server.asked[0][1] == "/apis/ccompat/v7/subjects/a%2Fb%20value/versions/latest"


WRONG_PATH = [
    (404, {"error_code": 404, "message": "HTTP 404 Not Found"}),
    (404, {"detail": "Not Found"}),
    (404, b"<html>nginx</html>"),
    (404, b"[]"),
]


@pytest.mark.parametrize("answer", WRONG_PATH)
def test_a_wrong_path_is_a_mistake_in_the_configuration_and_no_missing_subject(
    server: Scripted, answer: tuple[int, Any]
) -> None:
    """It would be waited for for ever; one sentence names the key and the mend (case S10)."""
    server.answers = [answer]
    registry = SchemaRegistry(server.url)
    for ask in (lambda: registry.latest("a-value"), lambda: registry.schema_by_id(7)):
        with pytest.raises(SetupError, match=r"answers 404 to GET .*Set schema_registry\.url"):
            ask()


@pytest.mark.parametrize("answer", [*WRONG_PATH, (401, {}), (200, b"<html>")])
def test_a_registry_that_has_worked_is_waited_for_whatever_it_says_later(
    server: Scripted, answer: tuple[int, Any]
) -> None:
    """It is being moved, or a proxy stands in for it: an outage (cases S4 and S10)."""
    server.answers = [NOT_FOUND, answer]
    registry = SchemaRegistry(server.url, attempts=1)
    assert registry.latest("a-value") is None
    with pytest.raises(Unavailable, match=r"schema_registry\.(url|username)"):
        registry.latest("a-value")


def test_a_user_who_may_read_and_not_write_is_a_mistake_in_the_configuration(server: Scripted) -> None:
    """To register has never worked, though to look has."""
    server.answers = [NOT_FOUND, (403, {})]
    with pytest.raises(SetupError, match=r"refuses access\. Check schema_registry\.username"):
        SchemaRegistry(server.url).register("a-value", SCHEMA)


def test_what_is_tried_again_writes_no_lines_of_a_library(
    server: Scripted, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever calls says in one sentence what fails, and since when (case S10)."""
    server.answers = [(503, b"")]
    with caplog.at_level("DEBUG", logger="salmon"), pytest.raises(Unavailable):
        SchemaRegistry(server.url).latest("a-value")
    assert (capsys.readouterr().out, capsys.readouterr().err) == ("", "")
    assert [record for record in caplog.records if not record.name.startswith("urllib3")] == []


def test_a_registry_that_hangs_is_asked_once_and_is_seen() -> None:
    """A try that has waited for its whole time-out is not made five times in a row (case S5)."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        calls = Calls()
        registry = SchemaRegistry(f"http://127.0.0.1:{deaf.getsockname()[1]}", timeout_s=0.2, calls=calls)
        with pytest.raises(Unavailable, match="does not answer"):
            registry.latest("a-value")
        deaf.settimeout(0)
        deaf.accept()
        with pytest.raises(BlockingIOError):
            deaf.accept()
    assert calls.unheard_s(Peer.REGISTRY) == float("inf")


NOT_A_REGISTRYS = [
    *({}, None, [], "x", 5, [{"id": 1}], {"id": "x", "schema": "{}"}, {"id": True, "schema": "{}"}),
    *({"id": 1.5, "schema": "{}"}, {"id": None}, {"id": 1, "schema": "garbage"}, {"id": 1, "schema": None}),
    {"id": 1, "schema": {"type": "record"}},
]


@pytest.mark.parametrize("body", NOT_A_REGISTRYS, ids=json.dumps)
def test_json_that_is_not_a_registrys_is_refused_like_a_wrong_status(server: Scripted, body: Any) -> None:
    """Another server at the URL, or a proxy: one sentence with the key; and it does not count as an answer that worked."""
    server.answers = [(200, body)]
    registry = SchemaRegistry(server.url)
    for _ in range(2):
        with pytest.raises(SetupError, match=r"answers 200 to GET /subjects.*schema_registry\.url"):
            registry.latest("a-value")


@pytest.mark.parametrize("body", NOT_A_REGISTRYS, ids=json.dumps)
def test_json_that_is_not_a_registrys_is_waited_for_if_the_call_worked_before(
    server: Scripted, body: Any
) -> None:
    """The registry has changed, not the configuration."""
    server.answers = [(200, {"id": 6, "schema": json.dumps(SCHEMA)}), (200, body)]
    registry = SchemaRegistry(server.url, attempts=1)
    registry.latest("a-value")
    with pytest.raises(Unavailable, match="answers 200 to GET"):
        registry.latest("a-value")


def test_json_that_is_not_a_registrys_is_refused_by_every_call(server: Scripted) -> None:
    """Where a schema is asked for by its id, and where one is registered."""
    server.answers = [(200, {"id": 1})]
    with pytest.raises(SetupError, match="answers 200 to GET /schemas/ids/7"):
        SchemaRegistry(server.url).schema_by_id(7)
    server.answers = [NOT_FOUND, (200, {"schema": "{}"})]
    with pytest.raises(SetupError, match="answers 200 to POST"):
        SchemaRegistry(server.url).register("a-value", SCHEMA)
    server.answers = [NOT_FOUND, (409, {"message": "incompatible"}), (200, [])]
    with pytest.raises(SetupError, match="written so far: incompatible"):
        SchemaRegistry(server.url).register("a-value", SCHEMA)
