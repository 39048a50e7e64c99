"""
What an operator may set about Salesforce, with units, bounds and reasons.

Only what can be judged without the org or a file is judged here; a file that is missing or a key that the org
does not know is told by auth, when it is used: other processes read the same config and need neither.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

_LOGIN_URL: Final = re.compile(r"https://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?/*")


class Auth(BaseModel):
    """How Salmon signs in (Salesforce Help: OAuth 2.0 JWT Bearer Flow; OAuth 2.0 Client Credentials Flow)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    flow: Literal["jwt_bearer", "client_credentials"] = Field(
        description="jwt_bearer: as `username`, by a private key. client_credentials: as the app's run-as user."
    )
    client_id: str = Field(min_length=1, description="Consumer key of the connected app.")
    client_secret: SecretStr | None = Field(
        default=None, description="Consumer secret; client_credentials only."
    )
    username: str | None = Field(default=None, description="The integration user; jwt_bearer only.")
    private_key: SecretStr | None = Field(
        default=None, description="PEM text of the key whose certificate the app holds; jwt_bearer only."
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needed = {"jwt_bearer": ("username", "private_key"), "client_credentials": ("client_secret",)}[
            self.flow
        ]
        if missing := [name for name in needed if not getattr(self, name)]:
            raise ValueError(f"flow {self.flow} needs {' and '.join(missing)}")
        return self


class PubSub(BaseModel):
    """How Salmon listens for change events (Pub/Sub API)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint: str = Field(
        default="api.pubsub.salesforce.com:7443",
        pattern=r"^[^\s/@?#]+:\d{1,5}$",
        description="Host and port; api.deu.pubsub.salesforce.com:7443 for orgs with EU data residency.",
    )
    fetch_size: int = Field(
        default=100, ge=1, le=100, description="Events asked for ahead of need. Pub/Sub API, Allocations."
    )
    silence_max_s: float = Field(
        default=300,
        gt=270,
        description="A stream that says nothing for so long is opened again; keepalives come within 270 s.",
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
    ca_file: str | None = Field(
        default=None,
        description="PEM file of the authority that signed the servers' certificates, where it is not public.",
    )

    @field_validator("login_url")
    @classmethod
    def _https(cls, value: str) -> str:
        # What urlsplit makes of it could differ from what a client makes of it: only what is plain is taken.
        if not _LOGIN_URL.fullmatch(value):
            raise ValueError("must be https://HOST, without user, password, path or query")
        return value.rstrip("/")
