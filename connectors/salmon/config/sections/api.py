"""Settings of `salmon run api`: where applications and people reach the sync's records, and who may do what there."""

from __future__ import annotations

from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    field_validator,
    model_validator,
)

from salmon.addresses import is_loopback
from salmon.config.sections.rest import TlsFiles, named_host
from salmon.plugin.marks import LIVE
from salmon.ports import url_of

VERBS: Final = ("read", "create", "update", "delete")
VIEWER: Final = "viewer"
OPERATOR: Final = "operator"
ANY: Final = "*"
_WORDS: Final = (*VERBS, "write", ANY)  # write: create, update and delete
_SCOPES: Final = (
    "OBJECT:VERB, with read, create, update, delete, write (the last three) or * for VERB, and * for all objects; viewer or operator "
    "for the console."
)


def is_scope(text: str) -> bool:
    """Whether the text is a scope: an object and a verb, or a role."""
    name, colon, verb = text.partition(":")
    is_of_objects = colon and verb in _WORDS and (name == ANY or (name.isascii() and name.isidentifier()))
    return text in {VIEWER, OPERATOR} or bool(is_of_objects)


def _a_scope(text: str) -> str:
    if is_scope(text):
        return text
    raise ValueError(f"must be {_SCOPES.rstrip('.')}; e.g. Account:read")


Scope = Annotated[str, AfterValidator(_a_scope)]
NAME_PATTERN: Final = r"^[A-Za-z0-9_.@-]{1,64}$"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]


class ApiKeyConfig(BaseModel):
    """One application or person, and what it may do. `salmon api new-key` makes a key and prints this entry."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hash: str = Field(
        pattern=r"^sha256:[0-9a-f]{64}$",
        description="sha256: and the SHA-256 of the key, in hexadecimal. The key itself is nowhere.",
        json_schema_extra=LIVE,
    )
    scopes: tuple[Scope, ...] = Field(min_length=1, description=_SCOPES, json_schema_extra=LIVE)


CONSOLE_BACK: Final = "/console/oidc/back"


class SignInConfig(BaseModel):
    """People sign in to the console at the identity provider (OpenID Connect, authorization code with PKCE)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    client_id: str = Field(min_length=1, description="The console's name at the provider.")
    client_secret: SecretStr | None = Field(
        default=None,
        min_length=1,
        description="Its secret there. Without it, it is a public client: the provider must allow PKCE alone.",
    )
    redirect_uri: str = Field(
        pattern=rf"^https?://[^\s@?#]+{CONSOLE_BACK}$",
        description=f"Where the provider sends people back to, as it is registered there: the console's address for browsers, and {CONSOLE_BACK}.",
    )
    scope: str = Field(
        default="openid",
        pattern=r"^(\S+ )*openid( \S+)*$",
        description="What is asked for; add what makes the provider put groups into the ID token, e.g. `openid groups`.",
    )

    @field_validator("redirect_uri")
    @classmethod
    def _not_in_the_clear(cls, value: str) -> str:
        if not is_safe(value):
            raise ValueError("must begin with https://, as who is on the way could take over the session")
        return value


class OidcConfig(BaseModel):
    """Bearer tokens (JWT) of an identity provider that speaks OpenID Connect."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: str = Field(
        pattern=r"^https?://[^\s@?#]+$",
        description="The provider, as its tokens name it in `iss`. Its keys are found by its .well-known/openid-configuration.",
    )
    audience: str = Field(min_length=1, description="What the tokens must have in `aud`.")
    jwks_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s@]+$",
        description="Where its keys are, if that is not to be looked up.",
    )
    keys_kept_s: float = Field(
        default=300, ge=10, le=86_400, description="How long its keys are used before they are fetched again."
    )
    ca_file: str | None = Field(
        default=None,
        min_length=1,
        description="PEM file of the CA that signed the provider's certificate, if that CA is not a public one.",
    )
    scopes_claim: str = Field(
        default="scope",
        min_length=1,
        description="The claim with what the token allows: a list, or words in one text. A word that is not a scope of ours and not in "
        "`grants` allows nothing.",
    )
    grants: dict[str, tuple[Scope, ...]] = Field(
        default_factory=dict,
        description="What a word of that claim (e.g. a group) allows: word -> list of scopes. `viewer` and `operator` are given only here.",
        json_schema_extra=LIVE,
    )

    sign_in: SignInConfig | None = None

    @field_validator("issuer", "jwks_url")
    @classmethod
    def _not_in_the_clear(cls, value: str | None) -> str | None:
        if value is not None and not is_safe(value):
            raise ValueError("must begin with https://, as who is on the way could make tokens of his own")
        return value


class ApiTlsConfig(TlsFiles):
    """TLS of the API's port."""

    ca_file: str | None = Field(
        default=None,
        min_length=1,
        description="CAs that `salmon status` and the console trust when they ask the API how it is (PEM). Without it: the system's.",
    )


class ApiConfig(BaseModel):
    """`salmon run api`. `run all` starts it if this section is there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(
        default="127.0.0.1",
        description="Address to listen on. Any but a loopback address needs `keys`, `keys_collection` or `oidc`.",
    )
    port: int = Field(
        default=8090, ge=0, le=65535, description="Port to listen on; --port overrides it. 0: any free port."
    )
    tls: ApiTlsConfig | None = None
    # Not `keys`: what has an attribute of that name counts as a mapping.
    known_keys: dict[Name, ApiKeyConfig] = Field(
        default_factory=dict,
        alias="keys",
        description="API keys: name -> key. With any, or with `oidc`, each request needs a key or a token.",
        json_schema_extra=LIVE,
    )
    keys_collection: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_.]{0,99}$",
        description="A collection of the database with further keys: documents {_id: name, hash, scopes}. Looked at each 10 seconds.",
    )
    oidc: OidcConfig | None = None
    session_secret: SecretStr | None = Field(
        default=None,
        min_length=32,
        description="What the console signs its sessions with; the same for all replicas. Default: one that each process makes as it starts, so "
        "that people sign in again after a restart.",
    )
    session_secure: bool = Field(
        default=False,
        description="Browsers send a session of the console by HTTPS alone. With `tls` they always do; set it if a proxy ends TLS before "
        "the API.",
    )
    cors_origins: tuple[Annotated[str, StringConstraints(pattern=r"^https?://[^/\s]+$")], ...] = Field(
        default=(),
        description="Web pages of these origins may call the API from a browser, e.g. https://app.example.",
    )
    rate_per_s: float = Field(
        default=50,
        gt=0,
        le=100_000,
        description="Requests a second that each key or user may make in the long run. In a list to write, each record counts.",
        json_schema_extra=LIVE,
    )
    rate_burst: int = Field(
        default=100,
        ge=1,
        le=1_000_000,
        description="Requests that it may make at once. A longer list to write needs all of them.",
        json_schema_extra=LIVE,
    )
    body_bytes_max: int = Field(
        default=2_000_000,
        ge=1_000,
        le=16_000_000,
        description="The largest body of a request.",
        json_schema_extra=LIVE,
    )
    limit_default: int = Field(
        default=50,
        ge=1,
        le=10_000,
        description="Records on a page, unless the request has `limit`.",
        json_schema_extra=LIVE,
    )
    limit_max: int = Field(
        default=1_000, ge=1, le=10_000, description="Most records on a page.", json_schema_extra=LIVE
    )
    bulk_max: int = Field(
        default=200,
        ge=1,
        le=2_000,
        description="Most records in one request that writes several.",
        json_schema_extra=LIVE,
    )
    embed_depth_max: int = Field(
        default=2,
        ge=0,
        le=4,
        description="How deep lookups and children may be embedded in each other.",
        json_schema_extra=LIVE,
    )
    query_max_s: float = Field(
        default=10,
        gt=0,
        le=300,
        description="After this long MongoDB gives up a query, which is then refused.",
        json_schema_extra=LIVE,
    )
    wait_max_s: float = Field(
        default=10,
        gt=0,
        le=60,
        description="How long `Prefer: wait=synced` waits at most.",
        json_schema_extra=LIVE,
    )
    idempotency_kept_s: int = Field(
        default=86_400, ge=60, le=2_592_000, description="How long the answer to an Idempotency-Key is kept."
    )

    @property
    def has_credentials(self) -> bool:
        """Whether each request needs a key or a token."""
        return bool(self.known_keys) or self.keys_collection is not None or self.oidc is not None

    @property
    def is_open_to_all(self) -> bool:
        """Whether others than this machine reach it, and none of them needs a key or a token."""
        return not is_loopback(self.host) and not self.has_credentials

    @property
    def reached_at(self) -> str | None:
        """Its address, if the configuration says it; None: the port is any free one."""
        secure = self.tls is not None
        host = named_host(self.host) if secure else self.host
        return url_of(host, self.port, secure=secure) if self.port else None

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if self.is_open_to_all:
            raise ValueError(
                "needs keys, keys_collection or oidc, because host is not a loopback address: without them, everybody could read and "
                "write all records"
            )
        if self.limit_default > self.limit_max:
            raise ValueError("limit_default must not be above limit_max")
        return self


def is_safe(url: str) -> bool:
    """Whether nobody on the way can change what is read there."""
    parts = urlsplit(url)
    return parts.scheme == "https" or is_loopback(parts.hostname or "")
