"""Signing in to the simulator, staying in and being thrown out: OAuth, identity, SOAP, sessions that end, an org that moves."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import jwt
import pytest
import requests

from salmon.simulator.server import Simulator
from support.orgs.boxes import Box
from support.orgs.pubsub import Client, Wire
from support.orgs.soap import soap, texts

CODE = "sfdc.platform.eventbus.grpc."
ACCOUNTS = "/data/AccountChangeEvent"


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator.start(tmp_path_factory.mktemp("box"), objects=["Account"], keepalive_s=0.05) as running:
        yield running


@pytest.fixture
def box(simulator: Simulator) -> Iterator[Box]:
    simulator.org.instance.move(simulator.endpoints.instance_url)
    box = Box(simulator)
    yield box
    box.control("DELETE", "/settings")
    box.control("DELETE", "/faults")


def oauth(box: Box, name: str, /, **form: str) -> requests.Response:
    """One call below /services/oauth2, by an app that is not signed in."""
    url = f"{box.simulator.endpoints.login_url}/services/oauth2/{name}"
    return requests.post(url, form, verify=box.simulator.endpoints.ca_file, timeout=30)


def app(box: Box) -> dict[str, str]:
    told = box.simulator.endpoints
    return {"client_id": told.client_id, "client_secret": told.client_secret}


def refresh_token(box: Box, user: str = "integration") -> str:
    body = {"user": user, "client_id": box.simulator.endpoints.client_id}
    return str(box.control("POST", "/refresh_tokens", body).json()["refresh_token"])


def status_with(box: Box, token: str) -> int:
    return box.call("GET", "limits", headers={"Authorization": f"Bearer {token}"}).status_code


def login(username: str, password: str) -> str:
    return f"<p:login><p:username>{username}</p:username><p:password>{password}</p:password></p:login>"


# Refresh tokens


def test_a_refresh_token_renews_a_session(box: Box) -> None:
    """For the user who gave it, as often as wanted; without rotation it stays as it is."""
    token = refresh_token(box, "person")
    for _ in range(2):
        granted = oauth(box, "token", grant_type="refresh_token", refresh_token=token, **app(box))
        assert granted.status_code == 200
        assert set(granted.json()) == {
            "access_token", "signature", "scope", "instance_url", "id", "token_type", "issued_at", "api_instance_url",
        }  # fmt: skip
        assert granted.json()["id"].endswith(box.org.person.user_id)
        assert status_with(box, granted.json()["access_token"]) == 200
    public = oauth(
        box, "token", grant_type="refresh_token", refresh_token=token, client_id=app(box)["client_id"]
    )
    assert public.status_code == 200, "an app without a secret has none to send"


def test_rotation_gives_a_new_refresh_token_and_ends_the_old_one(box: Box) -> None:
    """Whoever uses the old one again is refused; the sessions that it renewed live on."""
    box.control("POST", "/settings", {"refresh_token_rotation": True})
    old = refresh_token(box)
    first = oauth(box, "token", grant_type="refresh_token", refresh_token=old, **app(box)).json()
    assert first["refresh_token"] != old
    again = oauth(box, "token", grant_type="refresh_token", refresh_token=old, **app(box))
    assert (again.status_code, again.json()) == (
        400, {"error": "invalid_grant", "error_description": "expired access/refresh token"},
    )  # fmt: skip
    assert status_with(box, first["access_token"]) == 200
    form = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    assert oauth(box, "token", **form, **app(box)).status_code == 200


def test_a_refresh_token_is_good_for_its_own_app_and_secret(box: Box) -> None:
    """Another app cannot use it, and a wrong secret is no secret."""
    token, told = refresh_token(box), box.simulator.endpoints
    other = {"client_id": told.person_client_id, "client_secret": told.person_client_secret}
    form = {"grant_type": "refresh_token", "refresh_token": token}
    assert oauth(box, "token", **form, **other).json()["error"] == "invalid_grant"
    wrong = oauth(box, "token", **form, client_id=told.client_id, client_secret="x")
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")


def test_a_browser_is_sent_on_with_a_code_for_a_refresh_token(box: Box) -> None:
    """The web server flow, with PKCE: a code is good once, for its redirect URI and its verifier."""
    verifier, target = "v" * 64, "http://localhost:1717/OauthRedirect"
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    wanted = {
        "response_type": "code", "client_id": app(box)["client_id"], "redirect_uri": target, "state": "s 1",
        "code_challenge": challenge,
    }  # fmt: skip

    def code() -> str:
        url = f"{box.simulator.endpoints.login_url}/services/oauth2/authorize"
        sent = box.http.get(url, params=wanted, allow_redirects=False)
        assert sent.status_code == 302
        query = parse_qs(urlsplit(sent.headers["Location"]).query)
        assert query["state"] == ["s 1"]
        return query["code"][0]

    form = {"grant_type": "authorization_code", "redirect_uri": target, "code_verifier": verifier}
    used = code()
    granted = oauth(box, "token", code=used, **form, **app(box)).json()
    assert oauth(box, "token", code=used, **form, **app(box)).json()["error"] == "invalid_grant"
    refreshed = oauth(
        box, "token", grant_type="refresh_token", refresh_token=granted["refresh_token"], **app(box)
    )
    assert refreshed.status_code == 200
    for change, error in (
        ({"redirect_uri": "http://x"}, "redirect_uri_mismatch"),
        ({"code_verifier": "x"}, "invalid_grant"),
    ):
        assert oauth(box, "token", code=code(), **{**form, **change}, **app(box)).json()["error"] == error
    late = code()
    box.org.clock.advance(16 * 60)
    assert (
        oauth(box, "token", code=late, **form, **app(box)).json()["error_description"]
        == "expired authorization code"
    )


# Revocation and introspection


def test_revoking_a_refresh_token_ends_what_it_renewed(box: Box) -> None:
    """An access token alone leaves the refresh token; a token that is none is an error."""
    token = refresh_token(box)
    form = {"grant_type": "refresh_token", "refresh_token": token}
    first, second = (oauth(box, "token", **form, **app(box)).json()["access_token"] for _ in range(2))
    assert (oauth(box, "revoke", token=first).status_code, status_with(box, first)) == (200, 401)
    assert status_with(box, second) == 200
    assert (oauth(box, "revoke", token=token).status_code, status_with(box, second)) == (200, 401)
    assert oauth(box, "token", **form, **app(box)).json()["error"] == "invalid_grant"
    again = oauth(box, "revoke", token=token)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_token")
    odd = oauth(box, "revoke", token=token, token_type_hint="delete_token")
    assert odd.json()["error"] == "unsupported_token_type"


def test_introspection_tells_an_app_of_its_own_tokens_only(box: Box) -> None:
    """How long an access token lives; nothing of another app's, of one that has ended, or to who is no app."""
    told = oauth(box, "introspect", token=box.token, token_type_hint="access_token", **app(box))
    assert told.status_code == 200
    body = told.json()
    assert set(body) == {"active", "scope", "client_id", "username", "sub", "token_type", "exp", "iat", "nbf"}
    assert (body["active"], body["username"], body["token_type"]) == (
        True,
        "sync@salmon.example",
        "access_token",
    )
    assert 7200 - 60 <= body["exp"] - body["iat"] <= 7200 + 60
    refresh = oauth(box, "introspect", token=refresh_token(box), **app(box)).json()
    assert (refresh["active"], refresh["token_type"]) == (True, "refresh_token")
    ends = box.simulator.endpoints
    other = {"client_id": ends.person_client_id, "client_secret": ends.person_client_secret}
    assert oauth(box, "introspect", token=box.token, **other).json() == {"active": False}
    assert oauth(box, "introspect", token="x", **app(box)).json() == {"active": False}
    nobody = oauth(box, "introspect", token=box.token, client_id=ends.client_id, client_secret="x")
    assert (nobody.status_code, nobody.json()["error"]) == (401, "invalid_client")


# Identity


def test_the_identity_url_answers_as_recorded(box: Box) -> None:
    """The fields of a recorded identity; ?version=latest fills in the URLs."""
    granted = oauth(box, "token", grant_type="client_credentials", **app(box)).json()
    shown = box.http.get(granted["id"]).json()
    assert set(shown) == {
        "id", "asserted_user", "user_id", "organization_id", "username", "nick_name", "display_name", "email",
        "email_verified", "first_name", "last_name", "timezone", "photos", "addr_street", "addr_city", "addr_state",
        "addr_country", "addr_zip", "mobile_phone", "mobile_phone_verified", "is_lightning_login_user", "status", "urls",
        "active", "user_type", "language", "locale", "utcOffset", "last_modified_date", "is_app_installed",
    }  # fmt: skip
    assert set(shown["urls"]) == {
        "enterprise", "metadata", "partner", "rest", "sobjects", "search", "query", "recent", "tooling_soap",
        "tooling_rest", "profile", "feeds", "groups", "users", "feed_items", "feed_elements", "custom_domain",
    }  # fmt: skip
    assert (shown["id"], shown["asserted_user"]) == (granted["id"], True)
    assert shown["urls"]["rest"].endswith("/services/data/v{version}/")
    latest = box.http.get(granted["id"], params={"version": "latest"}).json()
    assert box.http.get(latest["urls"]["rest"]).status_code == 200
    other = granted["id"].replace(box.org.integration_user.user_id, box.org.person.user_id)
    assert box.http.get(other).json()["asserted_user"] is False


def test_identity_says_what_is_wrong_with_a_token_or_an_id(box: Box) -> None:
    """With the words of Salesforce's table of errors."""
    base, org = box.simulator.endpoints.instance_url, box.org.org_id
    mine = f"{base}/id/{org}/{box.org.person.user_id}"
    for url, token, status, word in (
        (mine, "", 403, "Missing_OAuth_Token"),
        (mine, "x", 403, "Bad_OAuth_Token"),
        (f"{base}/services/oauth2/userinfo", "", 403, "Missing_OAuth_Token"),
        (f"{base}/services/oauth2/userinfo", "x", 403, "Bad_OAuth_Token"),
        (f"{base}/id/{org}/005000000000000AAA", box.token, 404, "Bad_Id"),
        (f"{base}/id/x/y", box.token, 404, "Bad_Id"),
        (f"{base}/id/00D000000000000EAA/005000000000000AAA", box.token, 403, "Wrong_Org"),
    ):
        answer = requests.get(
            url,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            verify=box.simulator.endpoints.ca_file,
            timeout=30,
        )
        assert (answer.status_code, answer.text) == (status, word)


def test_userinfo_has_every_key_of_the_guide(box: Box) -> None:
    """FACTS 1.7."""
    url = f"{box.simulator.endpoints.instance_url}/services/oauth2/userinfo"
    assert set(box.http.get(url).json()) == {
        "sub", "user_id", "organization_id", "preferred_username", "nickname", "name", "email", "email_verified",
        "given_name", "family_name", "zoneinfo", "photos", "profile", "picture", "address",
        "is_salesforce_integration_user", "urls", "active", "user_type", "language", "locale", "utcOffset",
        "updated_at", "is_app_installed",
    }  # fmt: skip


# SOAP


def test_soap_login_answers_in_the_order_of_the_schema(box: Box) -> None:
    """The official Pub/Sub sample reads the answer by position; the session is one for REST, too, until logout."""
    ends = box.simulator.endpoints
    answer = soap(box, login(ends.username, ends.password + ends.security_token))
    assert answer.status_code == 200
    result = ElementTree.fromstring(answer.content)[0][0][0]
    names = [each.tag.rpartition("}")[2] for each in result]
    assert names == [
        "metadataServerUrl",
        "passwordExpired",
        "sandbox",
        "serverUrl",
        "sessionId",
        "userId",
        "userInfo",
    ]
    assert result[3].text == f"{ends.instance_url}/services/Soap/u/59.0/{box.org.org_id[:15]}"
    assert result[6][8].text == box.org.org_id
    token = str(result[4].text)
    assert status_with(box, token) == 200
    header = f"<p:SessionHeader><p:sessionId>{token}</p:sessionId></p:SessionHeader>"
    assert texts(soap(box, "<p:getUserInfo/>", header))["userName"] == ends.username
    assert "timestamp" in texts(soap(box, "<p:getServerTimestamp/>", header))
    assert texts(soap(box, "<p:query/>", header))["exceptionCode"] == "INVALID_OPERATION"
    assert soap(box, "<p:logout/>", header).status_code == 200
    assert status_with(box, token) == 401
    gone = soap(box, "<p:logout/>", header)
    assert gone.status_code == 500
    assert texts(gone)["faultcode"] == "sf:INVALID_SESSION_ID"
    assert "<sf:exceptionCode>INVALID_SESSION_ID</sf:exceptionCode>" in gone.text
    enterprise = soap(box, login(ends.username, ends.password + ends.security_token), kind="c")
    assert enterprise.status_code == 200


def test_soap_faults_are_the_orgs_own(box: Box) -> None:
    """A wrong password, a missing token, an org without the API, without login(), or of a version that has none."""
    ends = box.simulator.endpoints
    right = login(ends.username, ends.password + ends.security_token)

    def fault(body: str, **more: Any) -> tuple[str | None, str | None]:
        answer = soap(box, body, **more)
        assert answer.status_code == 500
        told = texts(answer)
        assert told["faultstring"] == f"{told['exceptionCode']}: {told['exceptionMessage']}"
        return told["exceptionCode"], told["exceptionMessage"]

    wrong = "Invalid username, password, security token; or user locked out."
    assert fault(login(ends.username, "x")) == ("INVALID_LOGIN", wrong)
    assert fault(login("nobody", ends.password)) == ("INVALID_LOGIN", wrong)
    code, message = fault(login(ends.username, ends.password))
    assert code == "LOGIN_MUST_USE_SECURITY_TOKEN"
    assert str(message).startswith(f"{wrong} Are you at a new location?")
    scope = "<p:LoginScopeHeader><p:organizationId>00D000000000000EAA</p:organizationId></p:LoginScopeHeader>"
    assert fault(right, header=scope)[0] == "INVALID_LOGIN"
    assert fault(right, version="65.0")[0] == "UNSUPPORTED_API_VERSION"
    assert fault("<p:login")[0] == "UNKNOWN_EXCEPTION"
    box.control("POST", "/settings", {"trusted_network": True})
    assert soap(box, login(ends.username, ends.password)).status_code == 200
    box.control("POST", "/settings", {"soap_login": False})
    code, message = fault(right)
    assert (code, str(message).split(".")[0]) == (
        "INVALID_OPERATION",
        "SOAP API login() is disabled by default in this org",
    )
    box.control("POST", "/settings", {"soap_login": True, "soap_fault": "API_DISABLED_FOR_ORG"})
    assert fault(right) == ("API_DISABLED_FOR_ORG", "API is not enabled for this Organization or Partner")


def test_what_an_administrator_may_forbid(box: Box) -> None:
    """The API, the password flow and the app; each with the org's own error."""
    ends = box.simulator.endpoints
    form = {
        "grant_type": "password",
        "username": ends.username,
        "password": ends.password + ends.security_token,
    }
    assert oauth(box, "token", **form, **app(box)).status_code == 200
    box.control("POST", "/settings", {"password_flow": False})
    assert oauth(box, "token", **form, **app(box)).json() == {
        "error": "invalid_grant", "error_description": "authentication failure",
    }  # fmt: skip
    claims = {"iss": ends.client_id, "sub": ends.username, "aud": "https://login.salesforce.com"}
    key = Path(ends.private_key).read_text()
    assertion = jwt.encode({**claims, "exp": int(time.time()) + 180}, key, algorithm="RS256")
    bearer = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
    assert oauth(box, "token", **bearer).status_code == 200
    box.control("POST", "/settings", {"app_approved": False})
    assert oauth(box, "token", **bearer).json()["error"] == "invalid_app_access"
    box.control("POST", "/settings", {"api_enabled": False})
    disabled = box.call("GET", "limits")
    assert (disabled.status_code, disabled.json()[0]["errorCode"]) == (403, "API_DISABLED_FOR_ORG")
    told = texts(soap(box, login(ends.username, ends.password + ends.security_token)))
    assert told["exceptionCode"] == "API_DISABLED_FOR_ORG"
    by_get = box.http.get(f"{ends.login_url}/services/oauth2/token")
    assert (by_get.status_code, by_get.json()["error_description"]) == (400, "must use HTTP POST")


# Clocks, sessions that end, and an org that moves


def test_a_clock_that_is_off_makes_an_assertion_invalid(box: Box) -> None:
    """The org's clock decides if it is told to: a client ten minutes behind, or ahead, is refused; two minutes are not."""
    ends = box.simulator.endpoints
    key = Path(ends.private_key).read_text()

    def sign_in() -> requests.Response:
        claims = {"iss": ends.client_id, "sub": ends.username, "aud": "https://login.salesforce.com"}
        assertion = jwt.encode({**claims, "exp": int(time.time()) + 180}, key, algorithm="RS256")
        return oauth(
            box, "token", grant_type="urn:ietf:params:oauth:grant-type:jwt-bearer", assertion=assertion
        )

    off = box.org.clock.now_ms() / 1000 - time.time()  # other tests have moved the clock on
    box.control("POST", "/settings", {"jwt_by_org_clock": True})
    for skew_s, status in ((0, 200), (600, 400), (-600, 400), (100, 200), (-100, 200)):
        box.control("POST", "/faults", {"fault": "clock_skew", "s": skew_s - off})
        answer = sign_in()
        assert (answer.status_code, answer.json().get("error")) == (
            status,
            "invalid_grant" if status == 400 else None,
        )
    box.control("POST", "/settings", {"jwt_by_org_clock": False})
    box.control("POST", "/faults", {"fault": "clock_skew", "s": 9999})
    assert sign_in().status_code == 200, "otherwise the machine's clock decides"


def test_a_session_lives_as_long_as_the_setting_says(box: Box) -> None:
    """Counted from its last use."""
    box.control("POST", "/settings", {"session_timeout_s": 900})
    for _ in range(2):
        box.control("POST", "/clock", {"advance_s": 800})
        assert status_with(box, box.token) == 200
    box.control("POST", "/clock", {"advance_s": 901})
    assert status_with(box, box.token) == 401


@pytest.fixture(scope="module")
def client(simulator: Simulator, wire: Wire) -> Iterator[Client]:
    told = simulator.endpoints
    client = Client(wire, told.pubsub_endpoint, Path(told.ca_file), token="", tenant=simulator.org.org_id)
    client.metadata["instanceurl"] = told.instance_url
    yield client
    client.close()


def test_an_open_stream_outlives_its_token_and_no_new_one_is_let_in(box: Box, client: Client) -> None:
    """A token that expires, or is revoked, is good for no further call; documented of expiry."""
    client.metadata["accesstoken"] = box.token
    stream = client.subscribe(ACCOUNTS, preset="EARLIEST")
    stream.response()
    for end in ("expired", "revoked"):
        if end == "expired":
            box.control("POST", "/clock", {"advance_s": 8000})
        else:
            oauth(box, "revoke", token=box.token)
        refused = client.subscribe(ACCOUNTS).end()
        assert refused.error_code == CODE + "service.auth.error"
        box.as_user("integration")
        box.create("Account", Name="A")
        stream.events(1)
        stream.ask(1)
        client.metadata["accesstoken"] = box.token
    stream.close()


def test_a_stream_ends_with_its_token_if_the_org_is_told_to(box: Box, client: Client) -> None:
    """The stream of the revoked token, and no other."""
    box.control("POST", "/settings", {"revocation_ends_streams": True})
    client.metadata["accesstoken"] = first = box.token
    doomed = client.subscribe(ACCOUNTS)
    doomed.response()
    box.as_user("person")
    client.metadata["accesstoken"] = box.token
    other = client.subscribe(ACCOUNTS)
    other.response()
    assert oauth(box, "revoke", token=first).status_code == 200
    ended = doomed.end()
    assert (ended.code.name, ended.error_code) == ("UNAUTHENTICATED", CODE + "service.auth.error")
    assert not other.response().events
    other.close()


def test_an_org_that_moves_serves_its_old_host_no_more(box: Box, client: Client) -> None:
    """All sessions end; a new login names the new URL, and the new token is good there alone."""
    old = box.simulator.endpoints.instance_url
    new = old.replace("127.0.0.1", "localhost")
    assert box.control("POST", "/instance", {"url": new}).json() == {"instance_url": new}
    assert box.call("GET", "limits").status_code == 401
    box.as_user("integration")
    granted = oauth(box, "token", grant_type="client_credentials", **app(box)).json()
    assert (granted["instance_url"], granted["id"].startswith(new)) == (new, True)
    headers = {"Authorization": f"Bearer {granted['access_token']}"}
    there = box.http.get(f"{new}/services/data/v64.0/limits", headers=headers)
    assert there.status_code == 200
    here = box.http.get(f"{old}/services/data/v64.0/limits", headers=headers)
    assert (here.status_code, here.json()) == (
        400,
        [{"message": "Destination URL not reset. The URL returned from login must be set", "errorCode": "URL_NOT_RESET"}],
    )  # fmt: skip
    client.metadata["accesstoken"] = granted["access_token"]
    assert client.subscribe(ACCOUNTS).end().error_code == CODE + "service.auth.error"
    client.metadata["instanceurl"] = new
    stream = client.subscribe(ACCOUNTS)
    stream.response()
    stream.close()
    client.metadata["instanceurl"] = old
    assert box.control("POST", "/instance", {"url": "http://x"}).status_code == 400
