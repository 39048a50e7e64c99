"""
The one configuration of a sync, read by every process.

What may be said of a side is that side's own config module; here they are put together, read from YAML, and what
is wrong is told, all of it at once.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from salmon.errors import ConfigError
from salmon.kafka.properties import OWN_PROPERTIES
from salmon.kafka.topics import Topics
from salmon.mongodb.config import MongoConfig
from salmon.runtime import policies, yaml_file
from salmon.runtime import settings_table as rendering
from salmon.runtime.config_faults import faults_of, type_named
from salmon.runtime.config_texts import SECRET_PROPERTY, faults_of_texts
from salmon.runtime.interpolation import interpolated
from salmon.salesforce.config import SalesforceConfig


def _policy_offered(name: str) -> str:
    if name not in policies.known():
        raise ValueError(
            f"is text (str), and must be the name of a policy: {', '.join(policies.known())}, or that of an installed "
            f"plugin (entry point group {policies.GROUP})"
        )
    return name


PolicyName = Annotated[str, AfterValidator(_policy_offered)]
Side = Literal["salesforce", "mongodb"]
Numbers = Literal["double", "decimal"]

# Object Reference for the Salesforce Platform, API names: letters, digits, underscores.
_SOBJECT: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# MongoDB Manual, Limits and Thresholds, Namespace Length: 255 bytes with the database (63 at most) and a dot.
_COLLECTION_MAX_BYTES: Final = 191
_UNITS_S: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_VERIFY_EVERY_S_MIN: Final = 10.0


class SchemaRegistryConfig(BaseModel):
    """Any registry that speaks Confluent's REST API."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(
        pattern=r"^https?://[^\s@?#]+$",
        description="Root of the REST API, without user, password or query, e.g. http://localhost:8081 (Apicurio: .../apis/ccompat/v7).",
    )
    username: str | None = Field(default=None, description="For basic authentication.")
    password: SecretStr | None = Field(default=None, description="For basic authentication.")
    ca_file: str | None = Field(
        default=None, description="PEM file of the CA that signed its certificate, where it is not public."
    )


class TopicsConfig(BaseModel):
    """How topics are created. Those that exist are never altered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    partitions: int = Field(
        default=6,
        ge=1,
        le=1000,
        description="Of each topic of an object, for ever: as many instances of merge and of each sink can share the work.",
    )
    replication_factor: int = Field(
        default=3,
        ge=1,
        le=32767,
        description="Copies of each topic, on as many brokers. 1 loses data with its one disk: for trying out only.",
    )


class FieldsConfig(BaseModel):
    """Which fields of an object are synced."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    include: tuple[str, ...] | None = Field(
        default=None, description="Only these fields; without it, all that can be synced."
    )
    exclude: tuple[str, ...] = Field(default=(), description="Not these fields.")


class ConflictsConfig(BaseModel):
    """Who wins where both sides edited a field without having seen the other's edit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    default: PolicyName = Field(
        default="last_writer_wins",
        description="last_writer_wins: the later edit by the sides' own clocks. salesforce, mongodb: that side. hold: "
        "both keep their value until a person decides (salmon conflicts). Or a plugin's name (entry point group "
        "salmon.policies).",
    )
    ties: Side = Field(default="salesforce", description="Who wins where both edits are of the same time.")
    fields: dict[str, PolicyName] = Field(
        default_factory=dict, description="Policies of single fields: field name -> policy."
    )


class BreakerConfig(BaseModel):
    """When two automations that undo each other's value of one field are no longer obeyed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rounds: int = Field(
        default=5,
        ge=1,
        le=100,
        description="So often a field may go to one side's value and back to the other's, within window_s. Then it is "
        "parked on both sides and reported.",
    )
    window_s: float = Field(
        default=600,
        gt=0,
        le=86_400,
        description="Sliding; an edit after so long without any is sent again.",
    )


class DeleteGuardConfig(BaseModel):
    """When to stop believing deletes: a broken mapping looks just like a user deleting it all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    deletes_max: int = Field(default=500, ge=1, description="On one side, within window_s.")
    window_s: float = Field(default=600, gt=0, le=86_400, description="Sliding, by the source's commit time.")
    share_max: float = Field(
        default=0.1, gt=0, le=1, description="Not more than this share of the object's records, either ..."
    )
    share_floor: int = Field(default=20, ge=0, description="... but so many at least, however few there are.")
    beyond: Literal["pause", "alert", "allow"] = Field(
        default="pause",
        description="pause: further deletes of the object wait for `salmon guard approve` or `discard`. alert: they "
        "are carried out and reported. allow: nobody counts.",
    )


class ObjectConfig(BaseModel):
    """One synced sObject."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # MongoDB Manual, Restrictions on Collection Names.
    collection: str = Field(pattern=r"^[^$\x00]+$", description="Name of its collection in MongoDB.")
    direction: Literal["both", "to_mongodb", "to_salesforce"] = Field(
        default="both", description="Which way changes flow."
    )
    fields: FieldsConfig = FieldsConfig()
    numbers: Numbers = Field(
        default="double",
        description="As `numbers` of the sync, for this object alone.",
    )
    initial: Side = Field(
        default="salesforce",
        description="Whose value is taken where both sides had different ones before the first start.",
    )
    conflicts: ConflictsConfig = ConflictsConfig()
    on_reject: Literal["keep", "revert"] = Field(
        default="keep",
        description="What becomes of a value that the other side refuses for good: keep it and report it, or take "
        "it back.",
    )
    breaker: BreakerConfig = BreakerConfig()
    delete_guard: DeleteGuardConfig = DeleteGuardConfig()
    stamps: Literal["ride_along", "always"] = Field(
        default="ride_along",
        description="Whether audit stamps (LastModifiedDate and the like) are written with other fields only, or cause "
        "writes of their own.",
    )

    @field_validator("collection")
    @classmethod
    def _ours_to_take(cls, value: str) -> str:
        if not value.isprintable():
            raise ValueError("must not hold control characters, or others that cannot be seen")
        if value.startswith("system."):
            raise ValueError("must not begin with system., which MongoDB keeps to itself")
        if value.startswith(".") or value.endswith("."):
            raise ValueError("must not begin or end with a dot, which MongoDB refuses")
        if value != value.strip():
            raise ValueError("must not begin or end with a blank")
        if len(value.encode()) > _COLLECTION_MAX_BYTES:
            raise ValueError(f"must have {_COLLECTION_MAX_BYTES} bytes or fewer")
        return value


class MergeConfig(BaseModel):
    """The process that judges."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    state_dir: str | None = Field(
        default=None,
        min_length=1,
        description="Folder for merge's working copy of `state`, a few hundred bytes a record. All of it can be read "
        "again from Kafka; where it outlives the process (on Kubernetes: a volume), a restart reads only what is new. "
        "Without it: the system's folder for temporary files.",
    )


class VerifyConfig(BaseModel):
    """Comparing both sides and `records` on a schedule, beside merge."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    every: str | None = Field(
        default=None,
        description="How often merge's first replica runs `salmon verify` and shows the result in its metrics: a number "
        "with s, m, h or d, e.g. 24h. Without it: never. Each run reads the whole org once (2,000 records a call).",
    )

    @property
    def every_s(self) -> float | None:
        """The same in seconds."""
        return None if self.every is None else int(self.every[:-1]) * _UNITS_S[self.every[-1]]

    @field_validator("every")
    @classmethod
    def _a_duration(cls, value: str | None) -> str | None:
        found = None if value is None else re.fullmatch(r"([0-9]{1,6})([smhd])", value)
        if value is not None and (found is None or int(found[1]) * _UNITS_S[found[2]] < _VERIFY_EVERY_S_MIN):
            raise ValueError(
                f"is text (str), and must be a whole number with s, m, h or d behind it, e.g. 24h or 30m, and at least "
                f"{_VERIFY_EVERY_S_MIN:.0f}s"
            )
        return value


class RestConfig(BaseModel):
    """Where a process answers /health, /metrics and Kafka Connect's REST calls."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(
        default=8083,
        ge=0,
        le=65535,
        description="Port to listen on, or --port of the process. 0: any free one.",
    )


class SyncConfig(BaseModel):
    """A whole sync: one Salesforce org, one MongoDB database, and the Kafka between them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(
        # The first part of every topic's name, so it has no dots (and topic names end at 249 characters).
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="Name of the sync: the first part of the name of every topic, group and transactional id.",
    )
    kafka: dict[str, Any] = Field(
        description="Any property of librdkafka; bootstrap.servers at least. Passwords and keys are kept secret."
    )
    schema_registry: SchemaRegistryConfig
    topics: TopicsConfig = TopicsConfig()
    salesforce: SalesforceConfig
    mongodb: MongoConfig
    objects: dict[str, ObjectConfig] = Field(min_length=1, description="What is synced: sObject -> settings.")
    numbers: Numbers = Field(
        default="double",
        description="What numbers (double, currency, percent) are in Avro and MongoDB. double: about 15 digits, as most "
        "programs calculate; a number in MongoDB with more is not synced, and told. decimal: all 18 digits, as Decimal128. "
        "Choose before the first start: the schemas of a sync that runs cannot change it.",
    )
    merge: MergeConfig = MergeConfig()
    verify: VerifyConfig = VerifyConfig()
    rest: RestConfig = RestConfig()

    @property
    def topic_names(self) -> Topics:
        return Topics(self.name)

    def kafka_properties(self) -> dict[str, Any]:
        """The `kafka` block for librdkafka, secrets revealed: pass it on, and never log it."""
        return {
            name: value.get_secret_value() if isinstance(value, SecretStr) else value
            for name, value in self.kafka.items()
        }

    @field_validator("kafka", mode="before")
    @classmethod
    def _secrets_hidden(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value  # which is refused next
        return {
            name: SecretStr(str(content)) if SECRET_PROPERTY.search(str(name)) else content
            for name, content in value.items()
        }

    @model_validator(mode="before")
    @classmethod
    def _numbers_of_all(cls, told: Any) -> Any:
        """`numbers` of the sync is that of each object that has none of its own."""
        if not isinstance(told, Mapping) or told.get("numbers") != "decimal":
            return told
        objects = told.get("objects")
        if not isinstance(objects, Mapping):
            return told  # which is refused next
        return {
            **told,
            "objects": {
                name: {"numbers": "decimal", **each} if isinstance(each, Mapping) else each
                for name, each in objects.items()
            },
        }

    @field_validator("objects")
    @classmethod
    def _distinct(cls, objects: dict[str, ObjectConfig]) -> dict[str, ObjectConfig]:
        if wrong := [name for name in objects if not _SOBJECT.fullmatch(name)]:
            shown = ", ".join(ascii(name)[1:-1] for name in wrong)
            raise ValueError(f"{shown}: must be API names of sObjects, e.g. Account or Invoice__c")
        counts = Counter(each.collection for each in objects.values())
        if shared := [collection for collection, count in counts.items() if count > 1]:
            raise ValueError(
                f"several objects have the collection {', '.join(shared)}: give each one of its own"
            )
        return objects


def load(path: str | os.PathLike[str], *, env: Mapping[str, str] = os.environ) -> SyncConfig:
    """
    Read a configuration.

    Args:
        path: The YAML file; relative `${file:...}` paths in it are relative to its folder.
        env: Where `${env:...}` looks.

    Raises:
        ConfigError: with all that is wrong, one fault a line, each with its key and the mend, and without values.
    """
    file = Path(path)
    faults: dict[tuple[str, ...], str] = {}
    raw = interpolated(_parsed(file), env=env, folder=file.parent, faults=faults)
    for key, sentence in faults_of_texts(raw):
        faults.setdefault(key, sentence)
    config: SyncConfig | None = None
    try:
        config = SyncConfig.model_validate(raw)
    except ValidationError as error:
        for key, sentence in faults_of(error, SyncConfig):
            # A reference that leads nowhere, or a text that may not be, is the cause; what pydantic says of it follows.
            faults.setdefault(key, sentence)
    for key, sentence in _faults_of_kafka(raw.get("kafka")):
        faults.setdefault(key, sentence)
    if config is None or faults:
        raise _unusable(file, faults)
    return config


def settings_table() -> str:
    """The README's table of settings, in Markdown."""
    return rendering.table(SyncConfig, {"objects": "<sObject>"})


def _parsed(file: Path) -> dict[Any, Any]:
    raw = yaml_file.read(file)
    if not isinstance(raw, dict):
        raise ConfigError(f"{file}: must hold a mapping with the keys {', '.join(SyncConfig.model_fields)}.")
    return raw


def _faults_of_kafka(properties: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    """What can be judged of librdkafka's properties without it; it judges the rest when a client is made."""
    if not isinstance(properties, Mapping):
        return
    for name, content in properties.items():
        if name in OWN_PROPERTIES:
            yield ("kafka", name), "is set by Salmon itself, because its promises stand on it. Remove it."
        elif not isinstance(content, (str, int, float)):
            yield (
                ("kafka", str(name)),
                f"is {type_named(content)}, and must be one text, number or truth value.",
            )
    if not properties.get("bootstrap.servers"):
        yield (
            ("kafka", "bootstrap.servers"),
            "is missing. HOST:PORT of one broker or more, with commas between.",
        )


def _unusable(file: Path, faults: Mapping[tuple[str, ...], str]) -> ConfigError:
    lines = [f"{'.'.join(key) or 'the whole'}: {sentence}" for key, sentence in faults.items()]
    if len(lines) == 1:
        return ConfigError(f"{file}: {lines[0]}")
    return ConfigError("\n  ".join([f"{file} has {len(lines)} faults:", *lines]))
