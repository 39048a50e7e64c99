"""Signing in to the simulator as Salmon does: each flow, what each can be refused for, and what happens to a token in use."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from salmon.errors import RetriableError, SalmonError, SignInRefused, Unavailable
from salmon.salesforce.config import SalesforceConfig
from salmon.salesforce.reading.source import SalesforceSourceTask
from salmon.salesforce.wire.pubsub_api.pubsub import PubSub
from salmon.salesforce.wire.rest import Rest
from salmon.salesforce.wire.signing_in.auth import SignIn
from salmon.salesforce.wire.signing_in.grants import ENDINGS
from salmon.simulator.server import Simulator
from support.chaos.proxy import Proxies
from support.orgs.boxes import Box
from support.orgs.event_stream import TOPIC, brings_an_event, stream
from support.orgs.salesforce_box import configured
from support.waiting import until

FLOWS = ("jwt_bearer", "client_credentials", "refresh_token", "username_password", "soap_login")


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator.start(tmp_path_factory.mktemp("box"), objects=["Account"], keepalive_s=0.1) as running:
        yield running


@pytest.fixture
def box(simulator: Simulator) -> Iterator[Box]:
    box = Box(simulator)
    yield box
    box.control("DELETE", "/settings")
    box.control("DELETE", "/faults")
    simulator.org.instance.move(simulator.endpoints.instance_url)


def auth(box: Box, flow: str) -> dict[str, str]:
    told = box.simulator.endpoints
    app = {"client_id": told.client_id, "client_secret": told.client_secret}
    person = {
        "username": told.username, "password": told.password, "security_token": told.security_token,
    }  # fmt: skip
    match flow:
        case "jwt_bearer":
            key = Path(told.private_key).read_text("ascii")
            keys = {"client_id": told.client_id, "username": told.username, "private_key": key}
        case "client_credentials":
            keys = app
        case "refresh_token":
            body = {"user": "integration", "client_id": told.client_id}
            token = box.control("POST", "/refresh_tokens", body).json()["refresh_token"]
            keys = {**app, "refresh_token": str(token)}
        case "username_password":
            keys = {**app, **person}
        case _:
            keys = person
    return {"flow": flow, **keys}


def config(box: Box, keys: Mapping[str, str], **changes: Any) -> SalesforceConfig:
    told = box.simulator.endpoints
    whole = {
        "login_url": told.login_url,
        "auth": keys,
        "pubsub": {"endpoint": told.pubsub_endpoint},
        "ca_file": told.ca_file,
    }
    return SalesforceConfig.model_validate({**whole, **changes})


def logins(box: Box) -> int:
    """How often the box was asked for a token, or by SOAP."""
    calls = box.control("GET", "/calls").json()["api"]
    return int(calls.get("oauth", 0))


@contextmanager
def clients(settings: SalesforceConfig) -> Iterator[tuple[Rest, PubSub]]:
    rest = Rest(settings)
    pubsub = PubSub(settings, rest.sign_in)
    try:
        yield rest, pubsub
    finally:
        pubsub.close()
        rest.close()


# The flows.


@pytest.mark.parametrize("flow", FLOWS)
def test_each_flow_lets_the_integration_user_in(box: Box, flow: str) -> None:
    """For REST and the Pub/Sub API, by one sign-in; a flow that ends is told in the log, once, with its day and the mend."""
    keys = auth(box, flow)
    before = logins(box)
    with capture_logs() as logs, clients(config(box, keys)) as (rest, pubsub):
        assert rest.count("Account") >= 0
        assert pubsub.schema_of_topic(TOPIC)["name"] == "AccountChangeEvent"
        token = rest.sign_in.token()
        assert (token.organization_id, token.user_id) == (box.org.org_id, box.org.integration_user.user_id)
        assert token.instance_url == box.simulator.endpoints.instance_url
        assert logins(box) == before + 1
        rest.sign_in.renew(token)
    warned = [each for each in logs if each["event"] == "salesforce_flow_ends"]
    assert len(warned) == (flow in ENDINGS)
    assert all("jwt_bearer" in each["reason"] for each in warned)
    assert flow != "soap_login" or "2027-06-01" in warned[0]["reason"]


def test_an_app_without_a_secret_may_renew_by_a_refresh_token(box: Box) -> None:
    """Where the app does not require one."""
    keys = auth(box, "refresh_token")
    del keys["client_secret"]
    assert SignIn(config(box, keys)).token().user_id == box.org.integration_user.user_id


def test_soap_login_asks_the_last_version_that_has_it(box: Box) -> None:
    """Whichever version the rest of Salmon speaks: from 65.0 on, there is none."""
    settings = config(box, auth(box, "soap_login"), api_version="66.0")
    assert SignIn(settings).token().lives_s == 7200


def test_characters_that_xml_has_a_use_for_may_be_in_a_password(box: Box) -> None:
    """As they may in one of any flow."""
    user_id = box.org.integration_user.user_id
    keys = {**auth(box, "soap_login"), "password": "<a&b>\"'ü1"}
    known = box.org.passwords[user_id]
    box.org.passwords[user_id] = keys["password"]
    try:
        assert SignIn(config(box, keys)).token()
    finally:
        box.org.passwords[user_id] = known


# Refusals.


def switched(**settings: Any) -> Callable[[Box], None]:
    return lambda box: box.control("POST", "/settings", settings).raise_for_status()


def nothing(box: Box) -> None:
    """The configuration is at fault."""


REFUSALS: list[tuple[str, Callable[[Box], None], dict[str, str], type[SalmonError], str]] = [
    ("jwt_bearer", switched(app_approved=False), {}, SignInRefused, "invalid_app_access"),
    ("jwt_bearer", nothing, {"username": "nobody@x"}, SignInRefused, "pre-authorised"),
    ("jwt_bearer", nothing, {"client_id": "nobody"}, SignInRefused, r"salesforce\.auth\.client_id"),
    ("client_credentials", nothing, {"client_secret": "hush"}, SignInRefused, "client_secret to its secret"),
    ("refresh_token", nothing, {"refresh_token": "hush"}, SignInRefused, "approve the app again"),
    ("refresh_token", nothing, {"client_secret": "hush"}, SignInRefused, "client_secret to its secret"),
    ("refresh_token", switched(refresh_token_rotation=True), {}, SignInRefused, "rotation off"),
    ("username_password", switched(password_flow=False), {}, SignInRefused, "new orgs block them"),
    ("username_password", nothing, {"password": "hush"}, SignInRefused, "security_token"),
    ("soap_login", nothing, {"password": "hush"}, SignInRefused, "INVALID_LOGIN"),
    ("soap_login", nothing, {"security_token": ""}, SignInRefused, "LOGIN_MUST_USE_SECURITY_TOKEN"),
    ("soap_login", switched(soap_login=False), {}, SignInRefused, "allows SOAP"),
    ("soap_login", switched(soap_fault="INSUFFICIENT_ACCESS"), {}, SignInRefused, "Use Any API Auth"),
    ("soap_login", switched(soap_fault="SERVER_UNAVAILABLE"), {}, Unavailable, "SERVER_UNAVAILABLE"),
    ("soap_login", switched(soap_fault="REQUEST_LIMIT_EXCEEDED"), {}, RetriableError, "too many sign-ins"),
    ("soap_login", switched(api_enabled=False), {}, SignInRefused, "API_DISABLED_FOR_ORG"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("flow", "prepare", "changes", "raised", "told"),
    REFUSALS,
    ids=[f"{each[0]} {each[4]}" for each in REFUSALS],
)
def test_a_refusal_says_what_to_do_and_shows_no_secret(
    box: Box,
    flow: str,
    prepare: Callable[[Box], None],
    changes: dict[str, str],
    raised: type[SalmonError],
    told: str,
) -> None:
    """Neither in the sentence, nor in the log, nor in a traceback."""
    keys = {**auth(box, flow), **changes}
    prepare(box)
    sign_in = SignIn(config(box, keys))
    with capture_logs() as logs, pytest.raises(raised, match=told) as caught:
        sign_in.token()
    shown = (
        "".join(traceback.format_exception(caught.value))
        + repr(logs)
        + repr(sign_in)
        + repr(config(box, keys))
    )
    names = ("client_secret", "private_key", "refresh_token", "password", "security_token")
    assert [name for name in names if keys.get(name) and keys[name] in shown] == []


@pytest.mark.parametrize("flow", ["username_password", "soap_login"])
def test_a_wrong_password_is_not_tried_again_and_again(box: Box, flow: str) -> None:
    """After ten in a row Salesforce locks the user out: Salmon waits for as long as that lasts, and says so."""
    sign_in_at = [0.0]
    sign_in = SignIn(config(box, {**auth(box, flow), "password": "hush"}), monotonic_s=lambda: sign_in_at[0])
    before = logins(box)
    for expected in ("security_token", "again in 15 min", "again in 15 min"):
        with pytest.raises(SignInRefused, match=expected):
            sign_in.token()
    assert logins(box) == before + 1
    sign_in_at[0] = 901
    with pytest.raises(SignInRefused):
        sign_in.token()
    assert logins(box) == before + 2


def test_nor_is_it_by_a_source_that_begins_again_and_again(box: Box) -> None:
    """Whose clients are new ones each time."""
    keys = {**auth(box, "soap_login"), "password": "hush"}
    task = SalesforceSourceTask(config(box, keys), configured("Account"), "crm")
    before = logins(box)
    for _ in range(3):
        with pytest.raises(SignInRefused):
            task.connect()
    task.close()
    assert logins(box) == before + 1


# Clocks.


@pytest.mark.parametrize("fast_s", [-600, -100, 100, 600])
def test_a_jwt_is_dated_by_the_orgs_clock_where_ours_is_off(box: Box, fast_s: float) -> None:
    """The refusal shows what time it is there; later sign-ins know it already."""
    off_s = box.org.clock.now_ms() / 1000 - time.time()
    box.control("POST", "/settings", {"jwt_by_org_clock": True})
    box.control("POST", "/faults", {"fault": "clock_skew", "s": fast_s - off_s})
    sign_in = SignIn(config(box, auth(box, "jwt_bearer")))
    token = sign_in.token()
    before = logins(box)
    sign_in.renew(token)
    assert logins(box) == before + 1


# Tokens in use.


@pytest.mark.parametrize("ends_streams", [False, True])
def test_a_revoked_session_is_renewed_once_for_all_who_use_it(box: Box, ends_streams: bool) -> None:
    """In the middle of everything: eight threads and an event stream find it refused, and one sign-in serves them all."""
    box.control("POST", "/settings", {"revocation_ends_streams": ends_streams})
    with clients(config(box, auth(box, "client_credentials"))) as (rest, pubsub), stream(pubsub) as events:
        rest.count("Account")
        before = logins(box)
        box.control("POST", "/faults", {"fault": "revoke_sessions"})
        counted: list[int] = []
        threads = [threading.Thread(target=lambda: counted.append(rest.count("Account"))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(counted) == 8
        pubsub.schema_of_topic(TOPIC)
        brings_an_event(box, events)
        assert logins(box) == before + 1


def test_who_waits_for_a_sign_in_that_fails_does_not_make_it_again(box: Box) -> None:
    """An outage is asked once for all who wait, and told to all of them."""
    sign_in = SignIn(config(box, auth(box, "client_credentials")))
    box.control("POST", "/faults", {"fault": "latency", "api": "oauth", "ms": 400}).raise_for_status()
    box.control("POST", "/faults", {"fault": "http", "api": "oauth", "status": 503}).raise_for_status()
    told: list[SalmonError] = []

    def ask() -> None:
        try:
            sign_in.token()
        except Unavailable as error:
            told.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == 8
    assert len({id(error) for error in told}) == 1, "one answer for all"


def test_an_org_that_moves_is_followed(box: Box) -> None:
    """REST by the next call; the event stream is opened again there, though its old one still stands."""
    told = box.simulator.endpoints
    with clients(config(box, auth(box, "jwt_bearer"))) as (rest, pubsub), stream(pubsub) as events:
        rest.count("Account")
        new = told.instance_url.replace("127.0.0.1", "localhost")
        with capture_logs() as logs:
            assert box.control("POST", "/instance", {"url": new}).status_code == 200
            rest.count("Account")
            assert rest.sign_in.token().instance_url == new
            until(lambda: any(each["event"] == "stream_follows_org" for each in logs), "the stream follows")
        brings_an_event(box, events)
        moved = [each for each in logs if each["event"] == "salesforce_moved"]
        assert [(each["from_url"], each["to_url"]) for each in moved] == [(told.instance_url, new)]


def test_an_org_whose_old_host_is_gone_is_found_at_its_new_one(box: Box) -> None:
    """Nobody at the old host says that the org has left: whoever cannot reach it asks the login host, once a minute."""
    told = box.simulator.endpoints
    port = int(told.instance_url.rpartition(":")[2])
    now = [1000.0]
    with Proxies() as proxies:
        old = proxies.open("old", ("127.0.0.1", port))
        box.org.instance.url = f"https://127.0.0.1:{old.port}"
        settings = config(box, auth(box, "client_credentials"))
        rest = Rest(settings, SignIn(settings, monotonic_s=lambda: now[0]))
        rest.count("Account")
        proxies.cut("old")
        before = logins(box)
        now[0] += 61
        for _ in range(3):
            with pytest.raises(Unavailable, match="cannot be reached"):
                rest.count("Account")
        assert logins(box) == before + 1, "an outage costs one sign-in a minute"
        box.org.instance.url = told.instance_url
        now[0] += 61
        with pytest.raises(Unavailable, match="cannot be reached"):
            rest.count("Account")
        assert rest.count("Account") >= 0
        rest.close()
