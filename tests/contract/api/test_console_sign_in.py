"""Signing in to the console at an identity provider: a real one, over HTTP, and at the end a real browser."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import uvicorn
from fastapi.testclient import TestClient
from playwright.sync_api import expect

from salmon.api.access import Access
from salmon.api.console.signing_in import ATTEMPT_COOKIE
from salmon.api.console.visitors import COOKIE
from salmon.api.oidc import Provider, fetched
from salmon.ports import free_ports
from support.at_hand.api_room import api_of
from support.at_hand.console_room import console_of
from support.programs.browser import chromium, inaccessible
from support.programs.oidc_provider import CLIENT_ID, CLIENT_SECRET, OidcProvider, oidc_provider
from support.waiting import until

BACK: Final = "http://127.0.0.1:8090/console/oidc/back"
GRANTS: Final = {"sales-admins": ["operator"], "sales": ["viewer"]}


@pytest.fixture
def provider() -> Iterator[OidcProvider]:
    with oidc_provider(BACK, groups=["everybody", "sales"]) as running:
        yield running


def console_at(provider: OidcProvider, grants: Any = GRANTS, **keys: Any) -> TestClient:
    """A console whose people sign in there."""
    sign_in = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "redirect_uri": provider.redirect_uri}
    oidc = {
        "issuer": provider.issuer,
        "audience": "salmon",
        "scopes_claim": "groups",
        "grants": grants,
        "sign_in": sign_in,
    }

    def access(settings: Any) -> Access:
        return Access(settings, provider=Provider(settings().oidc, partial(fetched)))

    client, _ = console_of(api_of("Account", access=access, oidc=oidc, **keys))
    return client


def sent_back(client: TestClient, to: str = "") -> str:
    """Go to the provider as a browser would, and return the address to which it sends it back."""
    begun = client.get("/console/oidc/begin", params={"to": to})
    assert begun.status_code == 303, begun.text
    answer = requests.get(begun.headers["location"], allow_redirects=False, timeout=10)
    assert answer.status_code == 303
    return answer.headers["location"].removeprefix("http://127.0.0.1:8090")


def test_who_signs_in_there_is_led_to_the_page_that_they_wanted(provider: OidcProvider) -> None:
    """By a page that leads on, with a session for this site alone; the groups decide what they may do."""
    client = console_at(provider)
    login = client.get("/console/login", params={"to": "/conflicts"}).text
    assert f"Sign in at localhost:{provider.port}" in login
    page = client.get(sent_back(client, "/conflicts"))
    assert page.status_code == 200
    assert 'content="0; url=/console/conflicts"' in page.text
    cookie = next(each for each in page.headers.get_list("set-cookie") if each.startswith(f"{COOKIE}="))
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert ATTEMPT_COOKIE not in client.cookies
    seen = client.get("/console/conflicts")
    assert (seen.status_code, "oidc:vera, viewer" in seen.text) == (200, True)
    assert client.post("/console/read-again", data={"object": "Account", "key": "1"}).status_code == 403


def test_an_operator_by_group_may_act(provider: OidcProvider) -> None:
    """Of hundreds of groups, the one that counts is kept, and the cookie stays small."""
    provider.groups = [f"group-{number}" for number in range(2_000)] + ["sales-admins"]
    client = console_at(provider)
    client.get(sent_back(client))
    assert "oidc:vera, operator" in client.get("/console/conflicts").text
    assert len(client.cookies[COOKIE]) < 1_000


def test_who_has_no_role_gets_no_session(provider: OidcProvider) -> None:
    """And is told what a person can do about it."""
    provider.groups = ["operator", "others"]
    client = console_at(provider)
    page = client.get(sent_back(client))
    assert page.status_code == 403
    assert "api.oidc.grants" in page.text
    assert COOKIE not in client.cookies


def test_an_attempt_is_of_one_browser_and_counts_once(provider: OidcProvider) -> None:
    """Whoever is led to a foreign code signs in as nobody (login CSRF), and a code that was used is refused."""
    client, other = console_at(provider), console_at(provider)
    back = sent_back(client)
    assert other.get(back).status_code == 401
    assert COOKIE not in other.cookies
    sent_back(other)  # an attempt of its own, with another state
    assert "another window" in other.get(back).text
    state, code = (parse_qs(urlsplit(back).query)[name][0] for name in ("state", "code"))
    attempt = client.cookies[ATTEMPT_COOKIE]
    assert client.get(f"/console/oidc/back?code={code}&state=x{state}").status_code == 401
    assert client.get(back).status_code == 200
    client.cookies.clear()
    client.cookies.set(ATTEMPT_COOKIE, attempt, path="/console")
    assert client.get(back).status_code == 401
    assert COOKIE not in client.cookies


@pytest.mark.parametrize(
    "says", [{"nonce": "of another attempt"}, {"aud": "another client"}, {"iss": "https://evil.example"}, {"exp": 1}]
)  # fmt: skip
def test_a_token_that_is_not_of_this_attempt_is_refused(provider: OidcProvider, says: dict[str, Any]) -> None:
    """Of another attempt, client or provider, or out of time; nothing of it is repeated."""
    provider.says = says
    client = console_at(provider)
    page = client.get(sent_back(client))
    assert page.status_code == 401
    assert "You are not signed in" in page.text
    assert "evil" not in page.text
    assert COOKIE not in client.cookies


@pytest.mark.parametrize(("denies", "shown"), [("access_denied", "access_denied"), ("<b>x</b>", "an error")])
def test_a_refusal_of_the_provider_is_said(provider: OidcProvider, denies: str, shown: str) -> None:
    """Its word, if it is one."""
    provider.denies = denies
    client = console_at(provider)
    page = client.get(sent_back(client))
    assert page.status_code == 401
    assert f"has answered with {shown}" in page.text
    assert "<b>x" not in page.text


def test_a_provider_that_does_not_answer_is_waited_for(provider: OidcProvider) -> None:
    """The page says so, and the next attempt works."""
    provider.away = True
    client = console_at(provider)
    assert client.get(sent_back(client)).status_code == 503
    provider.away = False
    assert client.get(sent_back(client)).status_code == 200


def test_without_it_there_is_no_such_page(provider: OidcProvider) -> None:
    """Keys sign in as ever."""
    client, _ = console_of(api_of("Account", oidc={"issuer": provider.issuer, "audience": "salmon"}))
    assert client.get("/console/oidc/begin").status_code == 404
    assert client.get("/console/oidc/back").status_code == 404
    assert "oidc/begin" not in client.get("/console/login").text


@pytest.mark.parametrize("to", ["//evil.example", "https://evil.example"])
def test_signing_in_there_leads_nowhere_else(provider: OidcProvider, to: str) -> None:
    """However the link was made."""
    client = console_at(provider)
    assert 'content="0; url=/console"' in client.get(sent_back(client, to)).text


def test_a_browser_signs_in_at_another_site_and_comes_back() -> None:
    """The provider is another site (localhost), so a session that is strict must not be asked for on the way back."""
    [port] = free_ports(1)
    back = f"http://127.0.0.1:{port}/console/oidc/back"
    with (
        oidc_provider(back, groups=["sales"]) as provider,
        served(console_at(provider), port),
        chromium() as browser,
    ):
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}/console/conflicts")
        assert inaccessible(page) == []
        page.get_by_role("link", name="Sign in at").click()
        expect(page).to_have_url(f"http://127.0.0.1:{port}/console/conflicts")
        expect(page.get_by_text("oidc:vera, viewer")).to_be_visible()
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("link", name="Sign in at")).to_be_visible()


@contextmanager
def served(client: TestClient, port: int) -> Iterator[None]:
    """The client's application, on a port."""
    server = uvicorn.Server(uvicorn.Config(client.app, "127.0.0.1", port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started, "the port is open")
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(10)
