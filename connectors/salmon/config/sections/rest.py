"""Settings of the REST server of each process."""

from __future__ import annotations

import socket
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

_ALL_ADDRESSES: Final = frozenset({"0.0.0.0", "::"})


class RestAuthConfig(BaseModel):
    """Who may use Kafka Connect's REST calls. With it, all of them need credentials; /, /health and /metrics do not."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    username: str | None = Field(
        default=None, min_length=1, pattern="^[^:]+$", description="For basic authentication."
    )
    password: SecretStr | None = Field(default=None, min_length=1, description="For basic authentication.")
    token: SecretStr | None = Field(
        default=None,
        min_length=1,
        description="For bearer tokens, instead of or besides basic authentication.",
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("needs both username and password, or neither")
        if self.password is None and self.token is None:
            raise ValueError("needs username and password, or token")
        return self


class TlsFiles(BaseModel):
    """TLS of a port. Files that change are read again at the next connection, without a restart."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    certificate_file: str = Field(
        min_length=1,
        description="The server's certificate, followed by those between it and its CA (PEM). Its names must include the address "
        "by which the process is reached.",
    )
    key_file: str = Field(min_length=1, description="Its private key (PEM, without a password).")


class RestTlsConfig(TlsFiles):
    """TLS of the REST port."""

    client_ca_file: str | None = Field(
        default=None,
        min_length=1,
        description="CAs of clients (PEM). With it, Kafka Connect's REST calls need a certificate of one of them; /, /health and "
        "/metrics do not. The processes show each other `certificate_file`, which must then also be good for clients.",
    )
    ca_file: str | None = Field(
        default=None,
        min_length=1,
        description="CAs that the processes and `salmon status` trust when they ask each other (PEM). Without it: the system's.",
    )


class RestConfig(BaseModel):
    """Where a process answers /health, /metrics and Kafka Connect's REST calls."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(
        default=8083,
        ge=0,
        le=65535,
        description="Port to listen on; --port overrides it. 0: any free port.",
    )
    advertised_host: str | None = Field(
        default=None,
        min_length=1,
        description="Host name or address by which the other processes of this sync reach this one (`?cluster=true`). Without "
        "it: `host`, or the name of this machine if `host` is 0.0.0.0 or ::.",
    )
    auth: RestAuthConfig | None = None
    tls: RestTlsConfig | None = None

    @property
    def reached_at(self) -> str:
        """The host by which other processes reach this one."""
        return self.advertised_host or named_host(self.host)


def named_host(host: str) -> str:
    """The host by which others reach what listens there, as a certificate names it."""
    return socket.gethostname() if host in _ALL_ADDRESSES else host
