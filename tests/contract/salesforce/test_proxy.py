"""
Through an HTTP proxy, by the names of real hosts: the proxy alone knows where they are, so nothing gets there without it.

The org's certificate is for these names; whoever does not verify it by the name that was asked for fails here.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from salmon.errors import SignInRefused, Unavailable
from salmon.salesforce.config import SalesforceConfig
from salmon.salesforce.wire.pubsub_api.pubsub import PubSub
from salmon.salesforce.wire.rest import Rest
from salmon.simulator.server import Simulator
from support.orgs.boxes import Box
from support.orgs.event_stream import TOPIC, brings_an_event, stream
from support.programs.connect_proxy import ConnectProxy

LOGIN, MY_DOMAIN = "login.salesforce.com:443", "acme.my.salesforce.com:443"
SANDBOX = "acme--uat.sandbox.my.salesforce.com:443"
EVENTS = "api.pubsub.salesforce.com:7443"
USER, PASSWORD = "söhn", "p@ss:w%rd/é#?"


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator.start(tmp_path_factory.mktemp("box"), objects=["Account"], keepalive_s=0.1) as running:
        yield running


@pytest.fixture
def box(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Box]:
    for name in (
        "NO_PROXY",
        "no_proxy",
        "no_grpc_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
    box = Box(simulator)
    box.org.instance.url = "https://acme.my.salesforce.com"
    yield box
    box.org.instance.url = simulator.endpoints.instance_url


def routes(box: Box) -> dict[str, str]:
    told = box.simulator.endpoints
    rest = told.login_url.removeprefix("https://")
    return {**dict.fromkeys([LOGIN, MY_DOMAIN, SANDBOX], rest), EVENTS: told.pubsub_endpoint}


def config(box: Box, proxy: dict[str, str] | None, **changes: Any) -> SalesforceConfig:
    told = box.simulator.endpoints
    keys = {
        "auth": {
            "flow": "jwt_bearer",
            "client_id": told.client_id,
            "username": told.username,
            "private_key": Path(told.private_key).read_text("ascii"),
        },
        "pubsub": {"endpoint": EVENTS},
        "ca_file": told.ca_file,
        "proxy": proxy,
    }
    return SalesforceConfig.model_validate({**keys, **changes})


@pytest.mark.parametrize("host", [LOGIN, MY_DOMAIN, SANDBOX])
def test_rest_and_the_event_stream_go_through_the_proxy(box: Box, host: str) -> None:
    """
    Signing in, at the login host, a My Domain or a sandbox's, calls and events, each in a tunnel; the password of the proxy may
    have any characters.
    """
    with ConnectProxy(routes(box), credentials=f"{USER}:{PASSWORD}") as proxy:
        by = {"url": proxy.url, "username": USER, "password": PASSWORD}
        settings = config(box, by, login_url=f"https://{host.removesuffix(':443')}")
        rest = Rest(settings)
        pubsub = PubSub(settings, rest.sign_in)
        assert rest.count("Account") >= 0
        assert pubsub.schema_of_topic(TOPIC)["name"] == "AccountChangeEvent"
        with stream(pubsub) as events:
            brings_an_event(box, events)
        pubsub.close()
        rest.close()
    assert set(proxy.asked) == {host, MY_DOMAIN, EVENTS}
    assert proxy.refused == 0


def test_a_proxy_that_does_not_know_us_is_told_by_its_key(box: Box) -> None:
    """Without a password, and with a wrong one, which no sentence repeats."""
    with ConnectProxy(routes(box), credentials=f"{USER}:{PASSWORD}") as proxy:
        for more in ({}, {"username": USER, "password": "hush-hush"}):
            with pytest.raises(SignInRefused, match=r"^salesforce\.proxy: .*username and password") as told:
                Rest(config(box, {"url": proxy.url, **more})).sign_in.token()
            assert "hush-hush" not in "".join(traceback.format_exception(told.value))
    assert proxy.asked == []


def test_a_proxy_that_is_not_there_or_knows_no_way_is_waited_for(box: Box) -> None:
    """It may come up, or be told of the hosts; the sentence names the key."""
    with ConnectProxy({}) as proxy:
        settings = config(box, {"url": proxy.url})
        with pytest.raises(Unavailable, match=r"^salesforce\.proxy: .*login\.salesforce\.com"):
            Rest(settings).sign_in.token()
    with pytest.raises(Unavailable, match=r"^salesforce\.proxy: "):
        Rest(settings).sign_in.token()


def test_a_stream_that_the_proxy_drops_is_opened_again(box: Box) -> None:
    """The proxy restarts: what happens meanwhile comes afterwards."""
    with ConnectProxy(routes(box)) as proxy:
        settings = config(box, {"url": proxy.url})
        rest = Rest(settings)
        pubsub = PubSub(settings, rest.sign_in)
        assert "salesforce.proxy" in str(pubsub.trouble(Exception()))
        with stream(pubsub) as events:
            proxy.drop()
            brings_an_event(box, events)
        pubsub.close()
    assert proxy.asked.count(EVENTS) == 2


def test_a_certificate_is_verified_through_the_proxy_too(box: Box) -> None:
    """Against the public authorities, which have not signed it; and by the name: the proxy leads elsewhere."""
    with ConnectProxy({**routes(box), "evil.example:443": routes(box)[LOGIN]}) as proxy:
        by = {"url": proxy.url}
        for changes in ({"ca_file": None}, {"login_url": "https://evil.example"}):
            with pytest.raises(SignInRefused, match=r"salesforce\.ca_file: the certificate"):
                Rest(config(box, by, **changes)).sign_in.token()


def test_the_environments_proxy_holds_where_none_is_configured_and_its_exceptions_always(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for other programs."""
    told = box.simulator.endpoints
    with ConnectProxy(routes(box)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("https_proxy", proxy.url)
        settings = config(box, None)
        rest = Rest(settings)
        pubsub = PubSub(settings, rest.sign_in)
        assert pubsub.schema_of_topic(TOPIC)["name"] == "AccountChangeEvent"
        pubsub.close()
        assert proxy.asked == [LOGIN, EVENTS]
        box.org.instance.url = told.instance_url
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        direct = {"login_url": told.login_url, "pubsub": {"endpoint": told.pubsub_endpoint}}
        for each in ({"url": proxy.url}, None):
            if each is None:
                monkeypatch.setenv("no_proxy", "127.0.0.1")  # gRPC itself reads no other
            settings = config(box, each, **direct)
            rest = Rest(settings)
            pubsub = PubSub(settings, rest.sign_in)
            assert rest.count("Account") >= 0
            assert pubsub.schema_of_topic(TOPIC)
            pubsub.close()
        assert proxy.asked == [LOGIN, EVENTS], "not for a host of NO_PROXY"


def test_no_password_of_a_netrc_takes_the_place_of_our_token(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine's ~/.netrc may have one for the same host."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    box.org.instance.url = box.simulator.endpoints.instance_url
    rest = Rest(config(box, None, login_url=box.simulator.endpoints.login_url))
    assert rest.count("Account") >= 0
