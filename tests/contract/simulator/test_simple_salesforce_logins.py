"""Every way in which simple-salesforce logs in, unchanged, and how it comes back when its session has ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from simple_salesforce import api, exceptions, login

from salmon.simulator.server import Endpoints, Simulator
from support.orgs.boxes import Diverted, trusting_session

Salesforce: Any = api.Salesforce


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator.start(tmp_path_factory.mktemp("box"), objects=["Account"]) as running:
        yield running


@pytest.fixture(autouse=True)
def _usual_settings(simulator: Simulator) -> Iterator[None]:
    yield
    simulator.org.settings.reset()


def session(simulator: Simulator) -> requests.Session:
    """Told of the CA, and of where the login hosts are, as a hosts file would tell."""
    trusting = trusting_session(simulator)
    for name in ("login.salesforce.com", "test.salesforce.com", "salmon.my.salesforce.com"):
        trusting.mount(f"https://{name}", Diverted(simulator, name))
    return trusting


def ways(told: Endpoints) -> dict[str, dict[str, Any]]:
    """The constructor's arguments of each way in."""
    key = {"consumer_key": told.client_id, "consumer_secret": told.client_secret}
    person = {"username": told.username, "password": told.password}
    jwt = {"username": told.username, "consumer_key": told.client_id}
    return {
        "soap, with a security token": {**person, "security_token": told.security_token},
        "soap, at a sandbox": {**person, "security_token": told.security_token, "domain": "test"},
        "soap, with a client id": {**person, "security_token": told.security_token, "client_id": "salmon"},
        "soap, from a trusted network": {**person, "organizationId": told.org_id},
        "soap, with the short id of the org": {**person, "organizationId": told.org_id[:15]},
        "password, by a connected app": {**key, **person, "password": told.password + told.security_token},
        "jwt, with a key in a file": {**jwt, "privatekey_file": told.private_key},
        "jwt, with a key as text": {**jwt, "privatekey": Path(told.private_key).read_text()},
        "jwt, at a sandbox": {**jwt, "privatekey_file": told.private_key, "domain": "test"},
        "jwt, at an instance": {**jwt, "privatekey_file": told.private_key, "instance_url": "salmon.my"},
        "client credentials": {**key, "domain": "salmon.my"},
    }


WAYS = (
    "soap, with a security token", "soap, at a sandbox", "soap, with a client id", "soap, from a trusted network",
    "soap, with the short id of the org", "password, by a connected app", "jwt, with a key in a file",
    "jwt, with a key as text", "jwt, at a sandbox", "jwt, at an instance", "client credentials",
)  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_every_way_in_leads_to_the_org(simulator: Simulator, way: str) -> None:
    """From there on it is at the instance URL; a session that has ended is replaced without a word."""
    assert set(ways(simulator.endpoints)) == set(WAYS)
    simulator.org.settings.trusted_network = "trusted" in way or "short id" in way
    salesforce = Salesforce(**ways(simulator.endpoints)[way], session=session(simulator))
    assert salesforce.sf_instance in simulator.endpoints.instance_url
    assert salesforce.query("SELECT count() FROM Account")["totalSize"] == 0
    before = salesforce.session_id
    simulator.org.sessions.revoke_all()
    assert salesforce.query("SELECT count() FROM Account")["totalSize"] == 0
    assert salesforce.session_id != before


def test_the_login_function_itself(simulator: Simulator) -> None:
    """SalesforceLogin, for those who keep the session id themselves."""
    told = simulator.endpoints
    token, host = login.SalesforceLogin(
        username=told.username,
        password=told.password,
        security_token=told.security_token,
        session=session(simulator),
    )
    direct = Salesforce(session_id=token, instance=host, session=session(simulator))
    assert direct.limits()["DailyApiRequests"]["Max"] == 1_000_000
    simulator.org.sessions.revoke_all()
    with pytest.raises(exceptions.SalesforceExpiredSession, match="INVALID_SESSION_ID"):
        direct.Account.describe()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"password": "x"}, "INVALID_LOGIN"),
        ({"security_token": ""}, "LOGIN_MUST_USE_SECURITY_TOKEN"),
        ({"version": "65.0"}, "UNSUPPORTED_API_VERSION"),
    ],
)
def test_soap_refusals_reach_the_caller(simulator: Simulator, change: dict[str, str], code: str) -> None:
    """With the org's code and words."""
    right = ways(simulator.endpoints)["soap, with a security token"]
    with pytest.raises(exceptions.SalesforceAuthenticationFailed, match=code):
        Salesforce(**{**right, **change}, session=session(simulator))


def test_an_org_without_soap_login_says_so(simulator: Simulator) -> None:
    """As orgs do that were made since Winter '26."""
    simulator.org.settings.soap_login = False
    with pytest.raises(exceptions.SalesforceAuthenticationFailed, match="disabled by default in this org"):
        Salesforce(**ways(simulator.endpoints)["soap, with a security token"], session=session(simulator))


def test_client_credentials_are_refused_at_the_login_host(simulator: Simulator) -> None:
    """They work at the My Domain host only; simple-salesforce itself does not try it at login or test."""
    form = {"grant_type": "client_credentials", "client_id": simulator.endpoints.client_id}
    form["client_secret"] = simulator.endpoints.client_secret
    refused = session(simulator).post("https://login.salesforce.com/services/oauth2/token", form)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
