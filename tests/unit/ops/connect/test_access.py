"""Who may ask what of the REST server."""

from __future__ import annotations

import base64

import pytest

from salmon.ops.connect.access import Access, Refused

LOCAL = {"host": "127.0.0.1:8083"}


def refusal(access: Access, headers: dict[str, str], *, changes: bool = True) -> int | None:
    try:
        access.check(headers, changes=changes)
    except Refused as refused:
        return refused.status
    return None


def basic(pair: str) -> dict[str, str]:
    return {**LOCAL, "authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def test_without_credentials_only_a_loopback_address_takes_requests_that_change_something() -> None:
    """Whoever reaches the port could stop the sync; reading is allowed."""
    assert refusal(Access("127.0.0.1"), LOCAL) is None
    assert refusal(Access("::1"), {"host": "[::1]:8083"}) is None
    for host in ("0.0.0.0", "::", "10.1.2.3", "worker-0"):
        assert refusal(Access(host), LOCAL) == 403
        assert refusal(Access(host), LOCAL, changes=False) is None


def test_a_web_page_in_a_browser_on_the_same_machine_is_refused() -> None:
    """It could post to the loopback address; a browser names the page, or the host that it was fooled about."""
    access = Access("127.0.0.1")
    assert refusal(access, {**LOCAL, "origin": "https://evil.example"}) == 403
    assert refusal(access, {"host": "evil.example:8083"}) == 403
    assert refusal(access, {}) == 403


@pytest.mark.parametrize("host", ["[", "[::1", "[x]:80", "127.0.0.1:port", "a@127.0.0.1", "127.0.0.1/x"])
def test_a_malformed_host_is_the_clients_fault(host: str) -> None:
    """400, whether there are credentials or not."""
    for access in (Access("127.0.0.1"), Access("127.0.0.1", token="tok")):
        for changes in (True, False):
            headers = {"host": host, "authorization": "Bearer tok"}
            assert refusal(access, headers, changes=changes) == 400


def test_with_credentials_every_request_needs_them() -> None:
    """Basic or bearer, whichever is configured; also to read."""
    access = Access("0.0.0.0", "ops", "pa:ss", "tok")
    for headers in (basic("ops:pa:ss"), {"authorization": "Bearer tok"}, {"authorization": "bearer tok"}):
        assert refusal(access, headers) is None
    for headers in (
        {},
        basic("ops:wrong"),
        basic("other:pa:ss"),
        basic("ops"),
        {"authorization": "Basic ///"},
        {"authorization": "Basic \xff"},
        {"authorization": "Bearer other"},
        {"authorization": "Bearer"},
        {"authorization": "Digest tok"},
    ):
        assert refusal(access, headers, changes=False) == 401
    assert refusal(Access("0.0.0.0", token="tok"), basic(":")) == 401
    assert refusal(Access("0.0.0.0", "ops", "pass"), {"authorization": "Bearer None"}) == 401


def test_a_process_asks_its_fellows_with_the_same_credentials() -> None:
    """They have the same configuration."""
    for access in (Access("h", "ops", "pa:ss"), Access("h", token="tok"), Access("h", "ops", "p", "tok")):
        headers = {name.lower(): value for name, value in access.headers().items()}
        assert refusal(access, headers) is None
    assert Access("h").headers() == {}


def test_secrets_are_not_in_the_text_of_it() -> None:
    """It may be in a traceback."""
    assert "tok" not in repr(Access("h", "ops", "hidden", "tok-en"))
    assert "hidden" not in repr(Access("h", "ops", "hidden", "tok-en"))


@pytest.mark.parametrize("header", ["localhost", "localhost:8083", "127.0.0.1", "127.9.9.9:1", "[::1]"])
def test_every_name_of_this_machine_is_local(header: str) -> None:
    """A port forward to the pod names it so."""
    assert refusal(Access("localhost"), {"host": header}) is None
