"""
The one configuration of a sync, read by each of its processes.

A process reads the whole file but resolves only the sides it talks to: merge's pod has no key of the org, and
needs none. What the sides' own blocks may say is in salesforce.config and mongodb.config.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from salmon.errors import ConfigError
from salmon.kafka.topics import Topics
from salmon.model.change import SIDES
from salmon.mongodb.config import MongoConfig
from salmon.runtime.interpolation import interpolated
from salmon.salesforce.config import SalesforceConfig

# librdkafka properties whose values are secrets: sasl.password, ssl.key.password, ssl.key.pem, ...
_SECRET_WORDS: Final = ("password", "secret", "key.pem")


class _Block(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SchemaRegistryConfig(_Block):
    """The schema registry: any that has Confluent's REST API."""

    url: str = Field(
        default="http://localhost:8081", pattern=r"^https?://\S+$", description="Its base address."
    )
    username: str | None = Field(default=None, description="For basic authentication.")
    password: SecretStr | None = Field(default=None, description="For basic authentication.")
    ca_file: str | None = Field(
        default=None, description="PEM file of the authority that signed its certificate."
    )


class TopicsConfig(_Block):
    """How topics are created. Existing ones are never altered."""

    partitions: int = Field(
        default=6,
        ge=1,
        le=1000,
        description="Of each topic of an object. It never changes under a running sync.",
    )
    replication_factor: int = Field(default=3, ge=1, le=9, description="1 only where there is one broker.")


class FieldsConfig(_Block):
    """Which fields of an object are synced."""

    include: frozenset[str] | None = Field(
        default=None, description="Only these; all that can be by default."
    )
    exclude: frozenset[str] = Field(default=frozenset(), description="Not these.")


class ConflictsConfig(_Block):
    """Who wins when two edits did not know of each other."""

    default: str = Field(
        default="last_writer_wins",
        description="last_writer_wins, salesforce, mongodb, hold, or a plugin's name (entry points salmon.policies).",
    )
    ties: Literal["salesforce", "mongodb"] = Field(
        default="salesforce", description="Who wins when both have the same time."
    )
    fields: Mapping[str, str] = Field(
        default_factory=dict, description="A policy of their own for some fields."
    )


class ObjectConfig(_Block):
    """How one sObject is synced."""

    collection: str = Field(
        min_length=1,
        max_length=235,
        pattern=r"^[^$\x00]+$",
        description="The MongoDB collection of its documents.",
    )
    direction: Literal["both", "to_mongodb", "to_salesforce"] = Field(
        default="both", description="Where changes go. The target of a one-way object is never listened to."
    )
    fields: FieldsConfig = FieldsConfig()
    initial: Literal["salesforce", "mongodb"] = Field(
        default="salesforce", description="Whose value holds where both sides have one at first contact."
    )
    conflicts: ConflictsConfig = ConflictsConfig()
    on_reject: Literal["keep", "revert"] = Field(
        default="keep",
        description="A value that a side refuses: keep it on the other side and report it, or take the side's own.",
    )
    stamps: Literal["ride_along", "always"] = Field(
        default="ride_along",
        description="Audit stamps (LastModifiedDate, ...) reach MongoDB with other fields, or cause writes of their own.",
    )


class RestConfig(_Block):
    """Where each process serves its health, metrics and status."""

    host: str = Field(default="127.0.0.1", description="Bound to this machine unless told otherwise.")
    port: int = Field(default=8083, ge=0, le=65535, description="0: a free one. `--port` overrides it.")


class SyncConfig(_Block):
    """One sync: two sides, the objects between them, and the Kafka that carries them."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="Begins the name of every topic, group and transactional id.",
    )
    kafka: Mapping[str, str | int | float | bool] = Field(
        default_factory=lambda: {"bootstrap.servers": "localhost:9092"},
        repr=False,
        description="Any librdkafka property, for every client.",
    )
    schema_registry: SchemaRegistryConfig = SchemaRegistryConfig()
    topics: TopicsConfig = TopicsConfig()
    salesforce: SalesforceConfig | None = Field(default=None, description="The org.")
    mongodb: MongoConfig | None = Field(default=None, description="The database.")
    objects: Mapping[str, ObjectConfig] = Field(min_length=1, description="sObject name -> how it is synced.")
    rest: RestConfig = RestConfig()

    @property
    def topic_names(self) -> Topics:
        return Topics(self.name)

    def kafka_properties(self) -> dict[str, str]:
        """The `kafka` block as librdkafka wants it. It may hold secrets: never log it."""
        return {name: _librdkafka(value) for name, value in self.kafka.items()}

    def secrets(self) -> list[str]:
        """Every secret of this configuration: what no log may ever say."""
        auth = self.salesforce.auth if self.salesforce else None
        told = [
            self.schema_registry.password,
            auth.client_secret if auth else None,
            auth.private_key if auth else None,
            self.mongodb.uri if self.mongodb else None,
        ]
        kafka = [
            str(value) for name, value in self.kafka.items() if any(word in name for word in _SECRET_WORDS)
        ]
        return [secret.get_secret_value() for secret in told if secret is not None] + kafka

    def the_salesforce(self) -> SalesforceConfig:
        """The org's block. Raises ConfigError where the file has none, or it was not asked for."""
        if self.salesforce is None:
            raise ConfigError("salesforce: this block is missing. Say how to reach the org.")
        return self.salesforce

    def the_mongodb(self) -> MongoConfig:
        """The database's block. Raises ConfigError where the file has none, or it was not asked for."""
        if self.mongodb is None:
            raise ConfigError("mongodb: this block is missing. Say how to reach the database.")
        return self.mongodb


def load(
    path: str | Path, *, sides: Collection[str] = SIDES, environment: Mapping[str, str] = os.environ
) -> SyncConfig:
    """
    Read a configuration.

    Args:
        sides: Those whose block is needed; the others' may refer to secrets that this process does not have.

    Raises:
        ConfigError: with every fault, one a line: the key, the type of its value, and what would be right.
    """
    tree = _tree(Path(path))
    for side in set(SIDES) - set(sides):
        tree.pop(side, None)
    resolved, faults = interpolated(tree, environment)
    if faults:
        raise ConfigError(_told(path, faults))
    try:
        return SyncConfig.model_validate(resolved)
    except ValidationError as error:
        raise ConfigError(_told(path, [_sentence(each) for each in error.errors()])) from None


def _tree(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path}: the configuration cannot be read ({error.strerror}). Name it with -c."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(
            f"{path}{line}: this is no YAML. Correct its indentation and quotes there."
        ) from None
    if not isinstance(tree, dict):
        raise ConfigError(
            f"{path}: a configuration is a mapping of keys, and this is a {type(tree).__name__}."
        )
    return tree


def _told(path: str | Path, faults: Collection[str]) -> str:
    if len(faults) == 1:
        return f"{path}: {next(iter(faults))}"
    return f"{path}: {len(faults)} faults\n" + "\n".join(f"  {fault}" for fault in faults)


def _sentence(error: ErrorDetails) -> str:
    """One fault of pydantic's as a sentence: the key, the type of its value, the mend. Never the value itself."""
    key = ".".join(str(part) for part in error["loc"] if not isinstance(part, str) or "[" not in part)
    context = error.get("ctx", {})
    found = type(error["input"]).__name__
    match error["type"]:
        case "extra_forbidden":
            return f"{key}: there is no such key{_nearest(error['loc'])}."
        case "missing":
            return f"{key}: this key is missing. Set it."
        case "literal_error":
            return f"{key}: is a {found}, and must be one of {context['expected']}."
        case "string_pattern_mismatch":
            return f"{key}: is a {found} that does not match {context['pattern']}. Correct it."
        case "value_error":
            return f"{key}: {context['error']}."
        case _:
            return f"{key}: is a {found}. {error['msg']}."


def _nearest(location: tuple[int | str, ...]) -> str:
    """The key that may have been meant."""
    known = _keys_at(SyncConfig, location[:-1])
    close = difflib.get_close_matches(str(location[-1]), known, n=1)
    if close:
        return f". Did you mean {close[0]}?"
    return f"; known ones are {', '.join(sorted(known))}" if known else ""


def _keys_at(model: Any, location: tuple[int | str, ...]) -> list[str]:
    """The keys of the block at *location*, as far as types tell it."""
    for part in location:
        if isinstance(model, type) and issubclass(model, BaseModel):
            if part not in model.model_fields:
                return []
            model = model.model_fields[str(part)].annotation
            if get_origin(model) is not Mapping:
                model = next((each for each in get_args(model) if _is_block(each)), model)
        else:
            model = next((each for each in get_args(model) if _is_block(each)), None)
    return list(model.model_fields) if _is_block(model) else []


def _is_block(model: Any) -> bool:
    return isinstance(model, type) and issubclass(model, BaseModel)


def _librdkafka(value: str | int | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
