"""What an operator may write under `salesforce`, and what is told of the rest."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from salmon.salesforce.config import SalesforceConfig

JWT = {
    "flow": "jwt_bearer",
    "client_id": "3MVG9",
    "username": "sync@acme.example",
    "private_key": "-----BEGIN",
}


def test_defaults_are_those_of_a_production_org() -> None:
    """Sign-in alone has to be given."""
    config = SalesforceConfig.model_validate({"auth": JWT})
    assert config.login_url == "https://login.salesforce.com"
    assert config.pubsub.endpoint == "api.pubsub.salesforce.com:7443"
    assert (config.pubsub.fetch_size, config.api_version, config.ca_file) == (100, "64.0", None)


def test_a_login_url_is_a_host() -> None:
    """A slash at its end is forgiven."""
    assert SalesforceConfig.model_validate(
        {"auth": JWT, "login_url": "https://acme.my.salesforce.com/"}
    ).login_url == ("https://acme.my.salesforce.com")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"login_url": "http://login.salesforce.com"}, "login_url"),
        ({"login_url": "https://login.salesforce.com/services"}, "login_url"),
        ({"api_version": "58.0"}, "api_version"),
        ({"pubsub": {"endpoint": "https://api.pubsub.salesforce.com:7443"}}, "endpoint"),
        ({"pubsub": {"fetch_size": 101}}, "fetch_size"),
        ({"pubsub": {"silence_max_s": 270}}, "silence_max_s"),
        ({"password": "x"}, "password"),
        ({"auth": {"flow": "jwt_bearer", "client_id": "x"}}, "needs username and private_key"),
        ({"auth": {"flow": "client_credentials", "client_id": "x"}}, "needs client_secret"),
        ({"auth": {**JWT, "flow": "password"}}, "flow"),
        ({"auth": {"flow": "jwt_bearer", "username": "x", "private_key": "x"}}, "needs client_id"),
        ({"auth": {"flow": "refresh_token", "client_id": "x"}}, "needs refresh_token"),
        (
            {"auth": {"flow": "username_password", "username": "x", "password": "x"}},
            "needs client_id and client_secret",
        ),
        ({"auth": {"flow": "soap_login", "client_id": "x", "username": "x"}}, "needs password"),
        ({"proxy": {"url": "https://proxy:3128"}}, "http://HOST:PORT"),
        ({"proxy": {"url": "http://proxy"}}, "http://HOST:PORT"),
        ({"proxy": {"url": "http://me:hush@proxy:3128"}}, "http://HOST:PORT"),
        ({"proxy": {"url": "http://proxy:99999"}}, "port between 1 and 65535"),
        ({"proxy": {"url": "http://proxy:3128", "username": "a:b"}}, "colon"),
    ],
)
def test_what_cannot_be_is_refused_by_its_key(changes: dict[str, Any], told: str) -> None:
    """Before anything is started."""
    with pytest.raises(ValidationError, match=told):
        SalesforceConfig.model_validate({"auth": JWT, **changes})


def test_secrets_do_not_show() -> None:
    """Neither in a log of the config nor in an error about it."""
    hidden = {"password": "hush", "refresh_token": "hush", "security_token": "hush", "client_secret": "hush"}
    proxy = {"url": "http://proxy:3128/", "username": "me", "password": "hush"}
    config = SalesforceConfig.model_validate({"auth": {**JWT, **hidden}, "proxy": proxy})
    assert "BEGIN" not in repr(config) + config.model_dump_json()
    assert "hush" not in repr(config) + config.model_dump_json()
    assert config.proxy is not None
    assert (config.proxy.url, config.proxy.authorization) == ("http://proxy:3128", "Basic bWU6aHVzaA==")
