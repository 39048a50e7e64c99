"""Who may use the API: keys, tokens, scopes, and what is served without any of them."""

from __future__ import annotations

from typing import Any
from unittest.mock import MagicMock

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from salmon.api.access import Access
from salmon.api.grants import caller
from salmon.api.keys import StoredKeys, hash_of, new_key
from salmon.api.records import changes, routes
from salmon.config.sections.api import ApiConfig
from salmon.errors import Unavailable
from support.at_hand.api_room import LOCAL, api_of, client_of, echo, settings
from support.at_hand.console_room import console_of

KEY = new_key()


def with_key(*scopes: str, **keys: Any) -> TestClient:
    """A client of an API that knows one key."""
    api = api_of("Account", keys={"shop": {"hash": hash_of(KEY), "scopes": list(scopes)}}, **keys)
    return client_of(api, echo)


def test_without_credentials_this_machine_may_do_everything() -> None:
    """A developer begins without any ceremony."""
    client = client_of(api_of("Account"), echo)
    assert client.get("/who").json() == "local"
    assert client.post("/write").status_code == 200
    assert client.post("/console").status_code == 200


def test_without_credentials_nobody_else_is_served() -> None:
    """A name that points to 127.0.0.1 would let a web page read all records by its visitor's browser."""
    answer = client_of(api_of("Account"), echo).get("/who", headers={"host": "evil.example"})
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "not-local"


@pytest.mark.parametrize(
    "header", ["Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP"]
)
def test_without_credentials_a_proxy_is_not_this_machine(header: str) -> None:
    """It passes on what others send, often with a Host of its own: localhost."""
    answer = client_of(api_of("Account"), echo).get("/who", headers={header: "1"})
    assert (answer.status_code, answer.json()["code"]) == (403, "not-local")
    assert with_key("*:*").get("/who", headers={header: "1", "X-API-Key": KEY}).status_code == 200


def test_without_credentials_another_machine_is_not_served_whatever_it_calls_us() -> None:
    """Anybody can write localhost into Host."""
    app = client_of(api_of("Account"), echo).app
    assert TestClient(app, base_url=LOCAL, client=("192.0.2.7", 5)).get("/who").status_code == 403
    assert TestClient(app, base_url=LOCAL, client=("::1", 5)).get("/who").status_code == 200


@pytest.mark.parametrize(
    "host", ["[", "[::1", "[x]:80", "127.0.0.1:port", "127.0.0.1:99999", "a@127.0.0.1", "a/b", "\xff\u2100"]
)
@pytest.mark.parametrize("path", ["/who", "/console", "/console/", "/health", "/docs", "/nowhere"])
def test_a_malformed_host_is_the_clients_fault_everywhere(host: str, path: str) -> None:
    """400 with a problem that names the header, whoever asks for what."""
    raw = {"host": host.encode()}
    for client in (client_of(api_of("Account"), echo), with_key("*:*", "operator")):
        answer = client.get(path, headers={**raw, "x-api-key": KEY.encode()})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "Host")


_HEADERS = (
    "host", "origin", "authorization", "x-api-key", "cookie", "prefer", "if-match", "if-none-match", "idempotency-key", "content-type",
    "content-length", "last-event-id", "forwarded", "sec-fetch-site", "accept", "range", "access-control-request-method",
)  # fmt: skip
_MALFORMED = (
    b"",
    b"[",
    b"]:",
    b"\xff\xfe",
    b"\x00",
    b"a" * 9_000,
    b'=;=,;"',
    b"Bearer a.b.c",
    b"Basic /w==",
    b"multipart/form-data",
    b"-1",
)


@pytest.mark.parametrize("name", _HEADERS)
def test_no_header_is_a_fault_of_ours(name: str) -> None:
    """Whatever is in it, on the API and on the console, whoever sends it."""
    said: tuple[dict[str, Any], ...] = ({}, {"keys": {"shop": {"hash": hash_of(KEY), "scopes": ["*:*"]}}})
    for keys in said:
        client, _ = console_of(api_of("Account", database=MagicMock(), **keys), routes.router, changes.router)
        for value in _MALFORMED:
            for method, path in (
                ("GET", "/api/v1"),
                ("POST", "/api/v1/Account"),
                ("POST", "/console/login"),
                ("GET", "/console"),
            ):
                raw = {"x-api-key": KEY.encode(), "content-type": b"application/json", name: value}
                answer = client.request(method, path, headers=raw, content=b"[")
                assert answer.status_code < 500, (value, method, path)


def test_an_origin_that_is_none_is_another_one() -> None:
    """Half an IPv6 address, or no origin at all."""
    client = client_of(api_of("Account"), echo)
    for origin in ("http://[", "null", ""):
        assert client.post("/write", headers={"origin": origin}).status_code == 403
    assert with_key("*:*").post("/write", headers={"origin": "null", "host": ""}).status_code == 403


def test_what_a_page_elsewhere_embeds_is_not_served() -> None:
    """A picture or a script of ours, which a browser fetches without saying the origin; a link is followed."""
    client = client_of(api_of("Account"), echo)
    embedded = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    followed = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client.get("/who", headers=embedded).json()["code"] == "other-origin"
    assert client.get("/who", headers=followed).status_code == 200
    assert client.post("/write", headers=followed).status_code == 403
    app = client_of(api_of("Account", cors_origins=["https://app.example"]), echo)
    named = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors", "origin": "https://app.example"}
    assert app.get("/who", headers=named).status_code == 200


def test_an_address_for_others_needs_credentials() -> None:
    """The configuration is refused: everybody could read and write all records."""
    with pytest.raises(ValidationError, match="needs keys, keys_collection or oidc"):
        settings(host="0.0.0.0")
    assert settings(host="0.0.0.0", keys={"a": {"hash": hash_of(KEY), "scopes": ["*:read"]}}).has_credentials


def test_taking_the_last_key_out_of_the_file_lets_nobody_in() -> None:
    """Without a restart, the API would else take everybody for an operator on this machine."""
    counting = [settings(keys={"shop": {"hash": hash_of(KEY), "scopes": ["*:*", "operator"]}})]
    access = Access(lambda: counting[0])
    client = client_of(api_of("Account", access=lambda _: access), echo)
    assert client.get("/who", headers={"X-API-Key": KEY}).json() == "shop"
    counting[0] = settings()
    assert client.get("/who").status_code == 401
    assert client.post("/console").status_code == 401
    assert client.get("/who", headers={"X-API-Key": KEY}).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [{"X-API-Key": KEY}, {"Authorization": f"Bearer {KEY}"}],
    ids=["its own header", "bearer"],
)
def test_a_key_is_shown_in_a_header(headers: dict[str, str]) -> None:
    """As programs do it."""
    assert with_key("Account:read").get("/who", headers=headers).json() == "shop"


def test_a_key_is_the_password_for_a_browser() -> None:
    """Browsers ask their user, because the answer asks for Basic authentication."""
    client = with_key("viewer")
    assert client.get("/console").headers["www-authenticate"].startswith("Basic ")
    assert client.get("/console", auth=("anyone", KEY)).json() == "shop"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": "salmon_wrong"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Digest abc"},
        {"X-API-Key": "\xff"},
    ],
    ids=str,
)
def test_without_a_good_key_nothing_is_served(headers: dict[str, str]) -> None:
    """Whatever else is shown instead."""
    raw = {name: text.encode("latin-1") for name, text in headers.items()}
    answer = with_key("*:*").get("/who", headers=raw)
    assert answer.status_code == 401
    assert answer.json()["code"] == "not-signed-in"


def test_health_and_metrics_need_no_key() -> None:
    """Probes and Prometheus have none."""
    client = with_key("*:*")
    assert client.get("/health/live").status_code == 200
    assert client.get("/metrics").status_code == 200


def test_a_scope_allows_one_verb_on_one_object() -> None:
    """Least privilege: what is not named is refused, with the scope that it needs."""
    client = with_key("Account:read", "Contact:*")
    headers = {"X-API-Key": KEY}
    assert client.get("/who", headers=headers).status_code == 200
    refused = client.post("/write", headers=headers)
    assert refused.status_code == 403
    assert "Account:update" in refused.json()["detail"]
    assert client.get("/console", headers=headers).status_code == 403


def test_a_viewer_looks_and_an_operator_acts() -> None:
    """The roles of the console."""
    assert with_key("viewer").post("/console", headers={"X-API-Key": KEY}).status_code == 403
    operator = with_key("operator")
    assert operator.get("/console", headers={"X-API-Key": KEY}).status_code == 200
    assert operator.post("/console", headers={"X-API-Key": KEY}).status_code == 200


def test_write_is_all_three_writes_and_a_star_is_all() -> None:
    """The short forms of scopes."""
    writer = caller("a", ["Account:write"])
    assert [writer.may(verb, "Account") for verb in ("read", "create", "update", "delete")] == [
        False,
        True,
        True,
        True,
    ]
    everywhere = caller("a", ["*:read"])
    assert everywhere.may("read", "Lead")
    assert not everywhere.may("delete", "Lead")


@pytest.mark.parametrize("scope", ["Account", "Account:erase", "Acc ount:read", ":read", "admin", ""])
def test_a_scope_that_says_nothing_is_refused(scope: str) -> None:
    """A misspelt one would allow less than meant, or more."""
    with pytest.raises(ValidationError, match="OBJECT:VERB"):
        settings(keys={"a": {"hash": hash_of(KEY), "scopes": [scope]}})


def test_a_page_of_another_origin_cannot_write() -> None:
    """A browser that has signed in sends its password with whatever a page makes it send."""
    client = with_key("*:*", cors_origins=["https://app.example"])
    headers = {"X-API-Key": KEY}
    assert client.post("/write", headers={**headers, "origin": "https://evil.example"}).status_code == 403
    assert client.post("/write", headers={**headers, "origin": "https://app.example"}).status_code == 200
    assert client.post("/write", headers={**headers, "origin": "http://127.0.0.1:8090"}).status_code == 200


def test_no_page_of_another_origin_may_read_unless_it_is_named() -> None:
    """CORS is off by default."""
    headers = {"X-API-Key": KEY, "origin": "https://app.example"}
    assert "access-control-allow-origin" not in with_key("*:*").get("/who", headers=headers).headers
    named = with_key("*:*", cors_origins=["https://app.example"]).get("/who", headers=headers)
    assert named.headers["access-control-allow-origin"] == "https://app.example"


def test_each_key_has_its_own_limit() -> None:
    """One application that runs wild does not take the others with it."""
    other = new_key()
    api = api_of(
        "Account",
        keys={
            "wild": {"hash": hash_of(KEY), "scopes": ["*:read"]},
            "calm": {"hash": hash_of(other), "scopes": ["*:read"]},
        },
        rate_per_s=0.001,
        rate_burst=3,
    )
    client = client_of(api, echo)
    statuses = [client.get("/who", headers={"X-API-Key": KEY}).status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    assert int(client.get("/who", headers={"X-API-Key": KEY}).headers["retry-after"]) >= 1
    assert client.get("/who", headers={"X-API-Key": other}).status_code == 200


def test_guessing_is_slowed_down() -> None:
    """After twenty wrong keys from one address, and a good key still works from there."""
    client = with_key("*:*")
    statuses = {client.get("/who", headers={"X-API-Key": f"salmon_{n}"}).status_code for n in range(30)}
    assert statuses == {401, 429}
    assert client.get("/who", headers={"X-API-Key": KEY}).status_code == 200


class Stored:
    """A collection of keys."""

    def __init__(self) -> None:
        self.documents: list[dict[str, Any]] = []
        self.away = False

    def read(self) -> list[dict[str, Any]]:
        if self.away:
            raise Unavailable("MongoDB is away")
        return self.documents


def test_keys_may_be_in_a_collection() -> None:
    """A key that is added or taken away counts within seconds, and an outage takes none away."""
    stored, now = Stored(), [0.0]
    keys = StoredKeys(stored.read, clock=lambda: now[0])

    def access(said: Any) -> Access:
        return Access(said, stored=keys)

    client = client_of(api_of("Account", access=access, keys_collection="api_keys"), echo)
    headers = {"X-API-Key": KEY}
    assert client.get("/who", headers=headers).status_code == 401
    stored.documents = [{"_id": "shop", "hash": hash_of(KEY), "scopes": ["Account:read"]}, {"_id": "broken"}]
    now[0] += 11
    assert client.get("/who", headers=headers).json() == "shop"
    stored.away = True
    now[0] += 11
    assert client.get("/who", headers=headers).json() == "shop"
    stored.away, stored.documents = False, []
    now[0] += 11
    assert client.get("/who", headers=headers).status_code == 401


@pytest.mark.parametrize("name", ["", "oidc:ann", "address:1.2.3.4", "a b", "shop\n", "x" * 65, 7])
def test_a_stored_key_has_a_name_as_in_the_file(name: Any) -> None:
    """One called like a user of the provider would share its limit, and be taken for it in the audit."""
    stored = Stored()
    stored.documents = [{"_id": name, "hash": hash_of(KEY), "scopes": ["*:read"]}]
    assert StoredKeys(stored.read).keys() == {}


def test_a_key_of_the_file_takes_precedence_over_a_stored_one_of_its_name() -> None:
    """Whoever may write to the collection gives nobody the name of a key of the file."""
    stored = Stored()
    stored.documents = [{"_id": "shop", "hash": hash_of(KEY), "scopes": ["*:*", "operator"]}]
    own = new_key()

    def access(said: Any) -> Access:
        return Access(said, stored=StoredKeys(stored.read))

    keys = {"shop": {"hash": hash_of(own), "scopes": ["Account:read"]}}
    client = client_of(api_of("Account", access=access, keys=keys, keys_collection="api_keys"), echo)
    assert client.get("/who", headers={"X-API-Key": KEY}).status_code == 401
    assert client.get("/who", headers={"X-API-Key": own}).json() == "shop"


def test_a_key_is_nowhere_but_with_its_owner() -> None:
    """What is stored cannot be turned back, and the model shows none."""
    assert KEY not in hash_of(KEY)
    assert KEY not in repr(
        ApiConfig.model_validate({"keys": {"a": {"hash": hash_of(KEY), "scopes": ["*:*"]}}})
    )
