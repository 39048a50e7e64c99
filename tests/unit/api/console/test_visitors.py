"""Who sees the console: sessions of browsers, keys in requests, and roles."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from salmon.api.access import Access
from salmon.api.console.visitors import COOKIE
from salmon.api.keys import hash_of, new_key
from support.at_hand.api_room import api_of, settings
from support.at_hand.console_room import FakeOperations, console_of

VIEWER, OPERATOR, SHOP = new_key(), new_key(), new_key()
KEYS = {
    "vera": {"hash": hash_of(VIEWER), "scopes": ["viewer"]},
    "otto": {"hash": hash_of(OPERATOR), "scopes": ["operator"]},
    "shop": {"hash": hash_of(SHOP), "scopes": ["*:*"]},
}
SECRET = "0123456789" * 4


def with_keys(**keys: Any) -> tuple[TestClient, FakeOperations]:
    """A console that needs credentials."""
    return console_of(api_of("Account", keys=KEYS, **keys))


def signed_in(key: str, **keys: Any) -> tuple[TestClient, FakeOperations]:
    """The same, in a browser of a person who has signed in."""
    client, operations = with_keys(**keys)
    assert client.post("/console/login", data={"key": key}).status_code == 303
    return client, operations


def test_who_has_not_signed_in_is_asked_to_and_comes_back() -> None:
    """From the page that they wanted, by way of the login page, to that page."""
    client, _ = with_keys()
    answer = client.get("/console/conflicts?show=all")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/console/login?to=%2Fconflicts%3Fshow%3Dall"
    assert "www-authenticate" not in answer.headers
    page = client.get(answer.headers["location"])
    assert 'value="/conflicts?show=all"' in page.text
    answer = client.post("/console/login", data={"key": VIEWER, "to": "/conflicts?show=all"})
    assert answer.headers["location"] == "/console/conflicts?show=all"
    assert client.get(answer.headers["location"]).status_code == 200


@pytest.mark.parametrize("to", ["//evil.example", "https://evil.example", "/\\evil.example", "evil"])
def test_signing_in_leads_nowhere_else(to: str) -> None:
    """A link to the login page must not send a person to a page that looks like ours."""
    answer = with_keys()[0].post("/console/login", data={"key": VIEWER, "to": to})
    assert answer.headers["location"] == "/console"


def test_a_session_is_a_cookie_that_only_the_browser_sees() -> None:
    """HttpOnly, SameSite=Strict, for the console alone, and without the key or its hash."""
    client, _ = with_keys()
    cookie = client.post("/console/login", data={"key": VIEWER}).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Path=/console" in cookie
    assert VIEWER not in cookie
    assert hash_of(VIEWER) not in cookie


def test_a_session_over_https_is_never_sent_in_clear() -> None:
    """The cookie is Secure there."""
    client, _ = with_keys()
    client.base_url = "https://127.0.0.1:8090"
    assert "Secure" in client.post("/console/login", data={"key": VIEWER}).headers["set-cookie"]


def test_a_session_behind_a_proxy_that_ends_tls_is_never_sent_in_clear() -> None:
    """We see HTTP there, so a setting says it."""
    for secure in (True, False):
        client, _ = with_keys(session_secure=secure)
        cookie = client.post("/console/login", data={"key": VIEWER}).headers["set-cookie"]
        assert ("Secure" in cookie) is secure


def test_a_wrong_key_is_refused_and_not_repeated() -> None:
    """The page says so, and does not show what was typed."""
    answer = with_keys()[0].post("/console/login", data={"key": "salmon_wrong"})
    assert answer.status_code == 401
    assert "This key is not known." in answer.text
    assert "salmon_wrong" not in answer.text
    assert "set-cookie" not in answer.headers


def test_an_application_s_key_sees_no_console() -> None:
    """It has no role: neither does it sign in, nor is it served by its header."""
    client, _ = with_keys()
    answer = client.post("/console/login", data={"key": SHOP})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert client.get("/console/", headers={"x-api-key": SHOP}).status_code == 403


def test_a_key_in_the_header_is_enough_for_programs() -> None:
    """E.g. for a check from outside."""
    assert with_keys()[0].get("/console/", headers={"x-api-key": VIEWER}).status_code == 200


def test_guessing_keys_is_slowed_down() -> None:
    """After some attempts of one address it has to wait; a good key is served even then."""
    client, _ = with_keys()
    codes = [client.post("/console/login", data={"key": f"salmon_{n}"}).status_code for n in range(30)]
    assert codes[0] == 401
    assert 429 in codes, "and not necessarily last: it may try again after a while"
    assert client.post("/console/login", data={"key": VIEWER}).status_code == 303


def test_a_viewer_looks_and_does_not_act() -> None:
    """No action is offered, and a form that is sent all the same is refused."""
    client, operations = signed_in(VIEWER)
    page = client.get("/console/records/Account/001A").text
    assert "vera, viewer" in page
    assert "/console/retry?" not in page
    assert client.post("/console/read-again", data={"object": "Account", "key": "001A"}).status_code == 403
    assert operations.done == []


def test_an_operator_acts_under_their_name() -> None:
    """It is the name of the key that is kept in the history."""
    client, operations = signed_in(OPERATOR)
    page = client.get("/console/read-again?object=Account&key=001A").text
    token = page.split('name="token" value="')[1].split('"')[0]
    answer = client.post("/console/read-again", data={"object": "Account", "key": "001A", "token": token})
    assert answer.status_code == 200
    assert operations.done == [("read_again", "Account", "001A", "otto", "")]


def test_a_token_of_another_session_is_refused() -> None:
    """Each session has its own."""
    first, _ = signed_in(OPERATOR, session_secret=SECRET)
    second, operations = signed_in(OPERATOR, session_secret=SECRET)
    page = first.get("/console/read-again?object=Account&key=001A").text
    token = page.split('name="token" value="')[1].split('"')[0]
    form = {"object": "Account", "key": "001A", "token": token}
    assert second.post("/console/read-again", data=form).status_code == 403
    assert operations.done == []


@pytest.mark.parametrize("shown", ["", "nonsense", "a.b.c"])
def test_a_cookie_that_we_have_not_signed_is_nobody_s(shown: str) -> None:
    """It leads to the login page."""
    client, _ = with_keys()
    client.cookies.set(COOKIE, shown, path="/console")
    assert client.get("/console/").status_code == 303


def test_replicas_share_sessions_by_a_secret() -> None:
    """With api.session_secret; without it, each process has one of its own."""
    for keys, status in (({"session_secret": SECRET}, 200), ({}, 303)):
        client, _ = signed_in(VIEWER, **keys)
        other, _ = with_keys(**keys)
        other.cookies = client.cookies
        assert other.get("/console/").status_code == status


def test_a_key_that_is_withdrawn_ends_its_sessions() -> None:
    """At once, and not after twelve hours."""
    client, _ = signed_in(VIEWER, session_secret=SECRET)
    left = {name: key for name, key in KEYS.items() if name != "vera"}
    other, _ = console_of(api_of("Account", keys=left, session_secret=SECRET))
    other.cookies = client.cookies
    assert other.get("/console/").status_code == 303


def test_the_console_stays_closed_when_the_last_key_is_gone() -> None:
    """A session ends with its key, and nobody takes its place."""
    counting = [settings(keys=KEYS)]
    access = Access(lambda: counting[0])
    client, _ = console_of(api_of("Account", access=lambda _: access))
    assert client.get("/console/", headers={"x-api-key": VIEWER}).status_code == 200
    counting[0] = settings()
    assert client.get("/console/").status_code == 303


def test_signing_out_ends_the_session() -> None:
    """The browser forgets it."""
    client, _ = signed_in(VIEWER)
    assert client.post("/console/logout").status_code == 303
    assert client.get("/console/").status_code == 303


def test_no_other_page_signs_a_person_out() -> None:
    """It would be a nuisance."""
    client, _ = signed_in(VIEWER)
    answer = client.post("/console/logout", headers={"origin": "https://evil.example"})
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)
    assert client.get("/console/").status_code == 200


def test_the_doctor_comes_only_from_a_page_of_ours() -> None:
    """It takes API calls of the org: no link and no picture on a web page may make it do so. A viewer may call it."""
    client, operations = signed_in(VIEWER)
    assert client.get("/console/doctor/checks").status_code == 405
    assert client.post("/console/doctor/checks", data={"token": "guessed"}).status_code == 403
    assert operations.diagnosed == 0
    token = client.get("/console/doctor").text.split('name="token" value="')[1].split('"')[0]
    answer = client.post("/console/doctor/checks", data={"token": token})
    assert (answer.status_code, "Check again" in answer.text) == (200, True)
    assert operations.diagnosed == 1


def test_without_credentials_only_this_machine_is_served() -> None:
    """As the API does it."""
    client, _ = console_of(api_of("Account"))
    assert client.get("/console/").status_code == 200
    assert client.get("/console/", headers={"host": "evil.example"}).status_code == 403
