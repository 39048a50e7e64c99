"""
Settings for Salesforce, with units, bounds and reasons.

Only what can be checked without the org or a file is checked here. A missing file, or a key that the org does not
know, is reported by auth when it is used: other processes read the same configuration and need neither.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from salmon.addresses import is_broker, with_usable_host
from salmon.plugin.marks import LIVE

_PROXY_URL: Final = re.compile(r"http://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}/?")
_LOGIN_URL: Final = re.compile(r"https://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?/*")


Flow = Literal["jwt_bearer", "client_credentials", "refresh_token", "username_password", "soap_login"]

_NEEDED: Final[Mapping[str, Sequence[str]]] = {
    "jwt_bearer": ("client_id", "username", "private_key"),
    "client_credentials": ("client_id", "client_secret"),
    "refresh_token": ("client_id", "refresh_token"),
    "username_password": ("client_id", "client_secret", "username", "password"),
    "soap_login": ("username", "password"),
}


def missing_for(auth: Mapping[str, Any]) -> list[str]:
    """What the flow of *auth* needs and is not there; nothing of a flow that there is not."""
    flow = auth.get("flow")
    needed = _NEEDED.get(flow, ()) if isinstance(flow, str) else ()
    return [name for name in needed if not auth.get(name)]


class Auth(BaseModel):
    """How Salmon signs in (Salesforce Help: "OAuth Authorization Flows"; SOAP API Developer Guide: "login()")."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    flow: Flow = Field(
        description="jwt_bearer: sign in as `username` with a private key. client_credentials: sign in as the app's run-as user. "
        "refresh_token: sign in as the user who approved the app. username_password (blocked in new orgs) and soap_login "
        "(ends on 2027-06-01) are for orgs that have nothing else yet.",
    )
    client_id: str | None = Field(
        default=None,
        min_length=1,
        description="Consumer key of the connected app; every flow but soap_login.",
    )
    client_secret: SecretStr | None = Field(
        default=None,
        description="Consumer secret; client_credentials, username_password, and refresh_token if the app requires it.",
    )
    username: str | None = Field(
        default=None, description="The integration user; jwt_bearer, username_password and soap_login."
    )
    private_key: SecretStr | None = Field(
        default=None,
        description="Private key, as PEM text; its certificate is uploaded to the connected app. jwt_bearer only.",
    )
    refresh_token: SecretStr | None = Field(
        default=None,
        description="What the app got when the integration user approved it; refresh_token only. The app must not rotate "
        "refresh tokens.",
    )
    password: SecretStr | None = Field(
        default=None, description="The integration user's; username_password and soap_login."
    )
    security_token: SecretStr | None = Field(
        default=None,
        description="What Salesforce wants after the password from outside of the org's trusted networks; username_password "
        "and soap_login.",
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if missing := missing_for(dict(self)):
            raise ValueError(f"flow {self.flow} needs {' and '.join(missing)}")
        return self


class Proxy(BaseModel):
    """The HTTP proxy that all calls to Salesforce go through, as a tunnel (CONNECT): it sees no token and no record."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(
        description="http://HOST:PORT of the proxy that all calls to Salesforce go through, REST and event stream, but "
        "for hosts in the environment's NO_PROXY. Without it, HTTPS_PROXY of the environment counts.",
    )
    username: str | None = Field(default=None, description="For a proxy that wants basic authentication.")
    password: SecretStr | None = Field(
        default=None, description="For a proxy that wants basic authentication."
    )

    @field_validator("url")
    @classmethod
    def _plain(cls, value: str) -> str:
        if not _PROXY_URL.fullmatch(value):
            raise ValueError("must be http://HOST:PORT, without user, password, path or query")
        return with_usable_host(value.rstrip("/"))

    @field_validator("username")
    @classmethod
    def _name(cls, value: str | None) -> str | None:
        if value is not None and ":" in value:
            raise ValueError("must not contain a colon, which basic authentication ends it with")
        return value

    @property
    def authorization(self) -> str | None:
        """The value of the header Proxy-Authorization (RFC 7617); a secret."""
        if self.username is None:
            return None
        password = "" if self.password is None else self.password.get_secret_value()
        return f"Basic {b64encode(f'{self.username}:{password}'.encode()).decode('ascii')}"


class PubSub(BaseModel):
    """How Salmon listens for change events (Pub/Sub API)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint: str = Field(
        default="api.pubsub.salesforce.com:7443",
        pattern=r"^[^\s/@?#]+:\d{1,5}$",
        description="Host and port; api.deu.pubsub.salesforce.com:7443 for orgs with EU data residency.",
    )
    channel: str = Field(
        default="/data/ChangeEvents",
        pattern=r"^/data/(ChangeEvents|[A-Za-z][A-Za-z0-9_]*__chn)$",
        description="Where change events come from: /data/ChangeEvents, or a custom channel that carries the synced objects, e.g. "
        "/data/Sync__chn. It must have no filters. If it is changed in a running sync, everything is read again.",
    )
    fetch_size: int = Field(
        default=100,
        ge=1,
        le=100,
        description="How many events to request at a time; the Pub/Sub API allows 100.",
    )
    silence_max_s: float = Field(
        default=300,
        gt=270,
        description="An event stream that is silent for this long is opened again. Salesforce sends a keepalive within 270 s.",
    )

    @field_validator("endpoint")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        if not is_broker(value):
            raise ValueError("must be HOST:PORT, with a port between 1 and 65535")
        return value


class Bulk(BaseModel):
    """When Salmon uses Bulk API 2.0."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    query: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="How whole objects are read. auto: by Bulk API 2.0 where that costs fewer API calls than REST, from about "
        "26,000 records on (12,500 where an object has hundreds of fields).",
    )
    write: Literal["auto", "never"] = Field(
        default="auto",
        description="How records are written. auto: by Bulk API 2.0 where more than 2,200 writes of one object and kind wait, since "
        "that costs fewer API calls than Collections.",
    )


class Budget(BaseModel):
    """What Salmon may use of an allowance of the org: *share* of it, but never the last *floor*, which are left to others."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: float = Field(gt=0, le=1)
    floor: int = Field(ge=0)


class ApiBudget(Budget):
    """
    How many of the org's API calls Salmon may use. The less is left, the more waits: refreshes first, then polls and loads, and
    edits last.
    """

    share: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="The share of the org's API calls in 24 hours that the sync may use, all its processes together. Below half of "
        "it, what can wait is slowed down; below a tenth, it stands still, and edits are slowed down.",
        json_schema_extra=LIVE,
    )
    floor: int = Field(
        default=1000,
        ge=0,
        description="So many of the org's API calls in 24 hours are left to others, however few Salmon has used itself.",
        json_schema_extra=LIVE,
    )


class EventBudget(Budget):
    """How many of the org's event deliveries Salmon may use."""

    share: float = Field(
        default=0.9,
        gt=0,
        le=1,
        description="The share of the org's event deliveries in 24 hours that the sync may use. Before a load that would exhaust it, "
        "the event stream is closed until the load is over, and all records are read again then.",
        json_schema_extra=LIVE,
    )
    floor: int = Field(
        default=0,
        ge=0,
        description="So many of the org's event deliveries in 24 hours are left to others, however few Salmon has used itself.",
        json_schema_extra=LIVE,
    )


class PublishBudget(Budget):
    """How many of the platform events that the org may publish in an hour Salmon may use up."""

    share: float = Field(
        default=0.9,
        gt=0,
        le=1,
        description="Salmon publishes no platform event while more than this share of the org's published events in an hour is used up, "
        "by all that publish. Its events wait.",
    )
    floor: int = Field(
        default=0,
        ge=0,
        description="So many of the org's published events in an hour are left to others.",
    )


class SalesforceConfig(BaseModel):
    """One Salesforce org and how to reach it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    login_url: str = Field(
        default="https://login.salesforce.com",
        description="login.salesforce.com, test.salesforce.com (sandboxes), or the org's My Domain, which "
        "client_credentials needs.",
    )
    auth: Auth
    api_version: Annotated[str, Field(pattern=r"^[6-9]\d\.0$")] = Field(
        default="64.0", description="REST API version; 60.0 or later."
    )
    pubsub: PubSub = PubSub()
    bulk: Bulk = Bulk()
    api_budget: ApiBudget = ApiBudget()
    event_budget: EventBudget = EventBudget()
    publish_budget: PublishBudget = PublishBudget()
    concurrent_writes: Annotated[int, Field(ge=1, le=20)] = Field(
        default=8,
        description="The most Collections calls (each of up to 200 records) at the same time. Records that share a parent are never in "
        "two of them; fewer are made where the org reports row locks nevertheless.",
    )
    ca_file: str | None = Field(
        default=None,
        description="PEM file of the CA that signed the servers' certificates, if that CA is not a public one.",
    )
    proxy: Proxy | None = None

    @field_validator("login_url")
    @classmethod
    def _https(cls, value: str) -> str:
        # What urlsplit makes of it could differ from what a client makes of it: only what is plain is taken.
        if not _LOGIN_URL.fullmatch(value):
            raise ValueError("must be https://HOST, without user, password, path or query")
        return with_usable_host(value.rstrip("/"))
