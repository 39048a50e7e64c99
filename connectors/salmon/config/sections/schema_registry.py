"""The section `schema_registry`."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from salmon.addresses import Addresses


class SchemaRegistryConfig(BaseModel):
    """Any registry that speaks Confluent's REST API."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Addresses = Field(
        pattern=r"^https?://[^\s@?#,]+(, *https?://[^\s@?#,]+)*$",
        description="Root of the REST API, without user, password or query, e.g. http://localhost:8081 (Apicurio: .../apis/ccompat/v7). "
        "Or several, divided by commas: if one does not answer, the next one is asked.",
    )
    username: str | None = Field(default=None, description="For basic authentication.")
    password: SecretStr | None = Field(default=None, description="For basic authentication.")
    token: SecretStr | None = Field(default=None, description="For bearer authentication, instead of basic.")
    certificate_file: str | None = Field(
        default=None,
        description="The certificate with which Salmon signs in to the registry (mTLS), PEM. Needs `key_file`.",
    )
    key_file: str | None = Field(
        default=None, description="Key of `certificate_file` (PEM, without a password)."
    )
    ca_file: str | None = Field(
        default=None,
        description="PEM file of the CA that signed the registry's certificate, if that CA is not a public one.",
    )

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if self.token is not None and self.username is not None:
            raise ValueError("token and username exclude each other: remove one of them")
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file belong together: give both, or neither")
        return self
