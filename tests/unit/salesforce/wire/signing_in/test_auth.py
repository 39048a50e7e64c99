"""Signing in, against answers made here: whom an assertion is for, what an answer means, and the SOAP API's words."""

from __future__ import annotations

from collections import deque
from typing import Any

import jwt
import pytest

from salmon.errors import RateLimited, SalmonError, SetupError, SignInRefused, Unavailable, UnfitServer
from salmon.salesforce.config import SalesforceConfig
from salmon.salesforce.wire.signing_in import soap_login
from salmon.salesforce.wire.signing_in.auth import SignIn
from salmon.salesforce.wire.signing_in.grants import audiences
from support.orgs.rest_wire import DATE_S, TOKEN, Answer, Wire

LOGIN, TEST = "https://login.salesforce.com", "https://test.salesforce.com"
ORG, USER = "00D000000000001", "005000000000001"
APP = {"flow": "client_credentials", "client_id": "id", "client_secret": "hush"}


def sign_in(wire: Wire, auth: dict[str, str], **changes: Any) -> SignIn:
    config = SalesforceConfig.model_validate({"auth": auth, **changes})
    return SignIn(config, wire, now_s=lambda: DATE_S)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("login_url", "expected"),
    [
        (LOGIN, (LOGIN,)),
        (TEST, (TEST,)),
        ("https://acme.my.salesforce.com", (LOGIN, TEST)),
        ("https://acme-dev-ed.develop.my.salesforce.com", (LOGIN, TEST)),
        ("https://acme--uat.sandbox.my.salesforce.com", (TEST, LOGIN)),
        ("https://acme--uat.my.salesforce.com", (TEST, LOGIN)),
        ("https://acme--uat.cs42.my.salesforce.com", (TEST, LOGIN)),
        ("https://sad-otter.scratch.my.salesforce.com", (TEST, LOGIN)),
        ("https://acme.my.site.com", ("https://acme.my.site.com",)),
        ("https://my.salesforce.com.evil.example", ("https://my.salesforce.com.evil.example",)),
    ],
)
def test_whom_an_assertion_is_for(login_url: str, expected: tuple[str, ...]) -> None:
    """The login host itself; behind a My Domain, the public one of its kind first."""
    assert audiences(login_url) == expected


def test_the_other_audience_is_tried_and_kept(private_key: str) -> None:
    """A sandbox whose name does not show that it is one: the second sign-in knows."""
    wire = Wire()
    answers: deque[Answer] = deque(
        [(400, {"error": "invalid_grant", "error_description": "audience is invalid"}), (200, TOKEN)]
    )
    answers.append((200, {**TOKEN, "access_token": "00D!2"}))
    wire.token_answer = answers.popleft
    auth = {"flow": "jwt_bearer", "client_id": "id", "username": "sync@acme", "private_key": private_key}
    signs_in = sign_in(wire, auth, login_url="https://acme.my.salesforce.com")
    signs_in.renew(signs_in.token())
    asked = [
        jwt.decode(request["data"]["assertion"], options={"verify_signature": False})["aud"]
        for _, _, request in wire.asked
    ]
    assert asked == [LOGIN, TEST, TEST]


@pytest.mark.parametrize(
    ("answer", "raised", "told"),
    [
        ((400, {"error": "rate_limit_exceeded"}), RateLimited, "too many"),
        ((400, {"error": "unknown_error"}), Unavailable, "unknown_error"),
        ((500, {"error": "invalid_grant"}), Unavailable, "invalid_grant"),
        ((400, {"error": "inactive_user", "error_description": "user is inactive"}), SignInRefused, "user is inactive"),
        ((403, "<html>"), SignInRefused, "not a Salesforce login host"),
        ((200, {**TOKEN, "id": "nobody"}), UnfitServer, "id that is none"),
        ((200, {**TOKEN, "instance_url": "https://a..b"}), UnfitServer, "instance_url"),
        ((200, [1]), SetupError, "lacks the token"),
        ((302, "", {"Location": "https://acme-new.my.salesforce.com/x?y=z"}), SignInRefused,
         "set it to https://acme-new.my.salesforce.com"),
        ((302, "", {"Location": "nowhere"}), SignInRefused, "not a Salesforce login host"),
        ((400, {"error": "in\x1b[2Jvalid", "error_description": "no" * 500}), SignInRefused, r"in\\x1b\[2Jvalid \((no){100}\)"),
    ],
)  # fmt: skip
def test_what_an_answer_without_a_token_means(answer: Answer, raised: type[SalmonError], told: str) -> None:
    """By its code; a new My Domain is named, and nothing is sent there."""
    wire = Wire()
    wire.token_answer = lambda: answer
    with pytest.raises(raised, match=told):
        sign_in(wire, APP).token()
    assert len(wire.asked) == 1


def test_what_another_flow_would_mind_does_not_matter() -> None:
    """An unused password is nobody's wrong one, and a refresh token that nobody asked for is not used."""
    wire = Wire()
    answers: deque[Answer] = deque(
        [(400, {"error": "invalid_grant"}), (200, {**TOKEN, "refresh_token": "x"})]
    )
    wire.token_answer = answers.popleft
    signs_in = sign_in(wire, {**APP, "password": "unused"})
    with pytest.raises(SignInRefused):
        signs_in.token()
    assert signs_in.token().access_token == "00D!1"


def test_an_org_in_trouble_is_not_a_wrong_password() -> None:
    """Whatever it says: it is asked again as soon as any other."""
    wire = Wire()
    answers: deque[Answer] = deque([(500, {"error": "invalid_grant"}), (200, TOKEN)])
    wire.token_answer = answers.popleft
    signs_in = sign_in(wire, {**APP, "flow": "username_password", "username": "u", "password": "p"})
    with pytest.raises(Unavailable):
        signs_in.token()
    assert signs_in.token().access_token == "00D!1"


def test_a_login_host_that_names_a_time_is_not_asked_before() -> None:
    """As any other resource of the org."""
    wire = Wire()
    wire.token_answer = lambda: (429, "", {"Retry-After": "120"})
    with pytest.raises(RateLimited) as told:
        sign_in(wire, APP).token()
    assert told.value.retry_after_s == 120


def logged_in(**changes: str) -> bytes:
    told = {
        "passwordExpired": "false",
        "serverUrl": f"https://acme.my.salesforce.com/services/Soap/u/59.0/{ORG}",
        "sessionId": "00D!1",
        "userId": USER,
        "organizationId": ORG,
        "sessionSecondsValid": "7200",
        **changes,
    }
    leaves = "".join(f"<{name}>{text}</{name}>" for name, text in told.items())
    return f'<e:Envelope xmlns:e="http://x" xmlns="urn:y"><e:Body>{leaves}</e:Body></e:Envelope>'.encode()


@pytest.mark.parametrize(
    ("host", "instance"),
    [
        ("acme.my.salesforce.com", "acme.my.salesforce.com"),
        ("na1-api.salesforce.com", "na1.salesforce.com"),
        ("acme-api.my.salesforce.com", "acme-api.my.salesforce.com"),
    ],
)
def test_the_instance_of_a_soap_login(host: str, instance: str) -> None:
    """The host of serverUrl, or the instance that it is the API's name of; a My Domain may end in -api. Ids get their checksum."""
    body = soap_login.body_of(logged_in(serverUrl=f"https://{host}/services/Soap/u/59.0/{ORG}"))
    assert body["instance_url"] == f"https://{instance}"
    assert body["id"].endswith(f"/id/{ORG}EAA/{USER}AAA")
    assert body["lives_s"] == 7200


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (logged_in(passwordExpired="true"), soap_login.PASSWORD_EXPIRED),
        (logged_in(serverUrl="http://acme.my.salesforce.com/"), None),
        (logged_in(sessionId=""), None),
        (logged_in(userId="nobody"), None),
        (b"<html><body>welcome</html>", None),
        (b"", None),
    ],
)
def test_a_soap_answer_that_lets_nobody_in(content: bytes, error: str | None) -> None:
    """A password that has expired is good for choosing a new one alone."""
    body = soap_login.body_of(content)
    assert body.get("error") == error
    assert "access_token" not in body


def test_soap_is_asked_for_no_version_that_has_no_login() -> None:
    """Up to 64.0."""
    assert [soap_login.path_of(version) for version in ("60.0", "64.0", "66.0")] == [
        "/services/Soap/u/60.0", "/services/Soap/u/64.0", "/services/Soap/u/64.0",
    ]  # fmt: skip
