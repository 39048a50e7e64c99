"""
The configuration of a sync. Every process reads the same file.

Each side's own settings are in that side's config module. This module puts them together, reads the YAML file, and
reports everything that is wrong at once.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from salmon.config import checking
from salmon.config import settings_table as rendering
from salmon.config.checking import checked
from salmon.config.collections import (
    PATTERN,
    PLACES_MAX,
    PlaceConfig,
    faults_of_collections,
    places_of,
    usable_collection,
)
from salmon.config.events import EventConfig, faults_of_events
from salmon.config.further import FURTHER_SIDES, Sided, SidedObject, SideName, roster_of
from salmon.config.reports import REPORTS_MAX, ReportConfig, ReportName, faults_of_reports
from salmon.config.sections.api import ApiConfig
from salmon.config.sections.capture import CaptureConfig
from salmon.config.sections.deletions import DeleteGuardConfig, DeletesConfig
from salmon.config.sections.failures import ErrorsConfig
from salmon.config.sections.fields import FieldsConfig, chosen
from salmon.config.sections.logs import LogConfig
from salmon.config.sections.matching import MatchConfig
from salmon.config.sections.refresh import RefreshConfig
from salmon.config.sections.rest import RestConfig
from salmon.config.sections.saving import SavingConfig
from salmon.config.sections.schema_registry import SchemaRegistryConfig
from salmon.config.sections.verifying import VerifyConfig
from salmon.config.texts import SECRET_PROPERTY
from salmon.config.together import SOBJECT
from salmon.config.transforming import TRANSFORMS_MAX, TransformConfig, computed_of, flow_of
from salmon.kafka.topics import Topics
from salmon.model.schema import FieldSchema, ObjectSchema
from salmon.mongodb.config import MongoConfig
from salmon.runtime import policies
from salmon.salesforce.config import SalesforceConfig
from salmon.transforms.flow import Flow


def _policy_offered(name: str) -> str:
    if name not in policies.known():
        raise ValueError(
            f"is text (str), but must be the name of a policy: {', '.join(policies.known())}, or of an installed plugin "
            f"(entry point group {policies.GROUP})"
        )
    return name


PolicyName = Annotated[str, AfterValidator(_policy_offered)]
Numbers = Literal["double", "decimal"]
# Of an object: settings for which a plain word is the mode.
SHORT_FORMS: Final = ("deletes", "capture")


class TopicsConfig(BaseModel):
    """How topics are created. Those that exist are never altered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    partitions: int = Field(
        default=6,
        ge=1,
        le=1000,
        description="Partitions of each object's topics. This many instances of merge and of each sink can share the work. Cannot be changed later.",
    )
    replication_factor: int = Field(
        default=3,
        ge=1,
        le=32767,
        description="How many brokers keep a copy of each topic. With 1, one broken disk loses data: only for trying out.",
    )


class ConflictsConfig(BaseModel):
    """Who wins where both sides edited a field without having seen the other's edit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    default: PolicyName = Field(
        default="last_writer_wins",
        description="Who wins a conflict, also one between a deletion and an edit. last_writer_wins: the later edit, by the "
        "clocks of the two sides. salesforce, mongodb or a further side: that side. hold: both sides keep their value until a person decides "
        "(`salmon conflicts`). Or the name of a plugin (entry point group salmon.policies).",
    )
    ties: SideName = Field(default="salesforce", description="Who wins if both edits have the same time.")
    fields: dict[str, PolicyName] = Field(
        default_factory=dict, description="Policies for single fields: field name -> policy."
    )


class BreakerConfig(BaseModel):
    """When to stop following two automations that keep undoing each other's value of a field."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rounds: int = Field(
        default=5,
        ge=1,
        le=100,
        description="How often a field may change to one side's value and back to the other's within window_s. After that "
        "it is no longer synced, and reported, until it has been quiet.",
    )
    window_s: float = Field(
        default=600,
        gt=0,
        le=86_400,
        description="Sliding window. The first edit after this long without edits is synced again.",
    )


class ObjectConfig(SavingConfig, SidedObject):
    """One synced sObject."""

    collection: str | None = Field(
        default=None,
        pattern=PATTERN,
        description="The object's collection in MongoDB. Either this or `collections` is required.",
    )
    collections: tuple[PlaceConfig, ...] | None = Field(
        default=None,
        max_length=PLACES_MAX,
        description="In place of `collection`: several collections, each with the records that its filter is for. A record whose "
        "values call for another collection is moved there, with all that the application has in its document.",
    )
    direction: Literal["both", "to_mongodb", "to_salesforce"] = Field(
        default="both", description="Which way changes flow."
    )
    capture: CaptureConfig = CaptureConfig()
    fields: FieldsConfig = FieldsConfig()
    numbers: Numbers = Field(
        default="double",
        description="Like the top-level `numbers`, for this object only.",
    )
    initial: SideName = Field(
        default="salesforce",
        description="Whose value counts if the sides already had different values before the first start.",
    )
    match: MatchConfig | None = None
    conflicts: ConflictsConfig = ConflictsConfig()
    on_reject: Literal["keep", "revert"] = Field(
        default="keep",
        description="What happens to a value that the other side refuses for good. keep: it stays where it was entered, "
        "and the refusal is reported. revert: it is set back there.",
    )
    refresh: RefreshConfig = RefreshConfig()
    breaker: BreakerConfig = BreakerConfig()
    delete_guard: DeleteGuardConfig = DeleteGuardConfig()
    deletes: DeletesConfig = DeletesConfig()
    stamps: Literal["ride_along", "always"] = Field(
        default="ride_along",
        description="Audit stamps (LastModifiedDate and the like). ride_along: written only together with other fields. "
        "always: a new stamp alone causes a write.",
    )

    # How many of `transforms`, at their end, are of the top-level `transforms`.
    _from_the_top: int = PrivateAttr(default=0)
    transforms: tuple[TransformConfig, ...] = Field(
        default=(),
        max_length=TRANSFORMS_MAX,
        description="What happens to its records on their way to a side, in order: like the top-level `transforms.<sObject>`.",
    )

    def flow(self, name: str) -> Flow:
        """Its transforms, ready to be bound to its schema. *name*: of the object."""
        made = computed_of(f"objects.{name}", self.fields, self.numbers)
        made += places_of(f"objects.{name}.collections", self.collections or ())
        own = len(self.transforms) - self._from_the_top
        places = (
            f"objects.{name}.transforms.{n}" if n < own else f"transforms.{name}.{n - own}" for n in count()
        )
        return flow_of(list(zip(places, self.transforms, strict=False)), self.direction, made)

    def computed(self, schema: ObjectSchema) -> tuple[FieldSchema, ...]:
        """The fields that Salmon adds to those of the org. Raises ConfigError: they do not fit them."""
        return self.flow(schema.name).computed(schema)

    @property
    def places(self) -> tuple[str, ...]:
        """The names of its collections: one, or several."""
        return tuple(each.collection for each in self.collections or ()) or (self.collection or "",)

    @property
    def paths(self) -> dict[str, str]:
        """Where documents have fields that are not under their own names: field -> path."""
        return self.fields.paths

    @field_validator(*SHORT_FORMS, mode="before")
    @classmethod
    def _mode_alone(cls, value: Any) -> Any:
        return {"mode": value} if isinstance(value, str) else value

    @field_validator("match")
    @classmethod
    def _of_both_sides(cls, value: MatchConfig | None, info: ValidationInfo) -> MatchConfig | None:
        if value is not None and info.data.get("direction", "both") != "both":
            raise ValueError("is only for objects that are synced both ways: remove it, or `direction`")
        return value

    @field_validator("collection")
    @classmethod
    def _ours_to_take(cls, value: str | None) -> str | None:
        return None if value is None else usable_collection(value)

    @model_validator(mode="after")
    def _in_collections(self) -> Self:
        own = {name: getattr(self, name) for name in ("collection", "match", "direction")}
        several = self.collections and [each.model_dump() for each in self.collections]
        settings = {**own, "collections": several, "fields": self.fields.model_dump()}
        if faults := [f"{'.'.join(key)} {said.rstrip('.')}" for key, said in faults_of_collections(settings)]:
            raise ValueError("; ".join(faults))
        return self


class MergeConfig(BaseModel):
    """Settings of merge, the process that decides."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    state_dir: str | None = Field(
        default=None,
        min_length=1,
        description="Folder for merge's working copy of `state`, a few hundred bytes per record. It is a cache of what is "
        "in Kafka. If it survives a restart (on Kubernetes: on a volume), merge reads only what is new. Without it: the "
        "system's folder for temporary files.",
    )


class SyncConfig(Sided[ObjectConfig]):
    """A whole sync: one Salesforce org, one MongoDB database, and the Kafka between them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(
        # The first part of every topic's name, so it has no dots (and topic names end at 249 characters).
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="Name of the sync. The names of all its topics, consumer groups and transactional ids begin with it.",
    )
    kafka: dict[str, Any] = Field(
        description="Any librdkafka properties; bootstrap.servers is required. Passwords and keys are never shown."
    )
    schema_registry: SchemaRegistryConfig
    topics: TopicsConfig = TopicsConfig()
    salesforce: SalesforceConfig
    mongodb: MongoConfig
    sides: dict[str, Any] = Field(default_factory=dict, description=FURTHER_SIDES)
    objects: dict[str, ObjectConfig] = Field(min_length=1, description="What is synced: sObject -> settings.")
    events: dict[str, EventConfig] = Field(
        default_factory=dict,
        description="Platform events: event (custom, standard or high-volume) -> settings.",
    )
    numbers: Numbers = Field(
        default="double",
        description="How number, currency and percent fields are stored in Avro and MongoDB. double: about 15 digits; a "
        "number in MongoDB with more digits is not synced, and reported. decimal: all 18 digits, as Decimal128. Choose "
        "before the first start: it cannot be changed later.",
    )
    transforms: dict[str, tuple[TransformConfig, ...]] = Field(
        default_factory=dict,
        description="What happens to records on their way to a side, in order: sObject -> list of filters, masks, constants, and "
        "transforms of Kafka Connect's.",
    )
    reports: dict[ReportName, ReportConfig] = Field(
        default_factory=dict,
        max_length=REPORTS_MAX,
        description="Reports on the records in MongoDB, served by the API and drawn by the console: name -> settings.",
    )
    errors: ErrorsConfig = ErrorsConfig()
    log: LogConfig = LogConfig()
    merge: MergeConfig = MergeConfig()
    verify: VerifyConfig = VerifyConfig()
    rest: RestConfig = RestConfig()
    api: ApiConfig | None = None

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
    def _numbers_of_all(cls, raw: Any) -> Any:
        """The top-level `numbers` applies to each object that does not set its own."""
        if not isinstance(raw, Mapping) or raw.get("numbers") != "decimal":
            return raw
        objects = raw.get("objects")
        if not isinstance(objects, Mapping):
            return raw  # which is refused next
        return {
            **raw,
            "objects": {
                name: {"numbers": "decimal", **each} if isinstance(each, Mapping) else each
                for name, each in objects.items()
            },
        }

    @field_validator("objects")
    @classmethod
    def _distinct(cls, objects: dict[str, ObjectConfig]) -> dict[str, ObjectConfig]:
        if wrong := [name for name in objects if not SOBJECT.fullmatch(name)]:
            shown = ", ".join(ascii(name)[1:-1] for name in wrong)
            raise ValueError(f"{shown}: must be API names of sObjects, e.g. Account or Invoice__c")
        counts = Counter(name for each in objects.values() for name in each.places)
        if shared := [collection for collection, count in counts.items() if count > 1]:
            raise ValueError(
                f"several objects have the collection {', '.join(shared)}: give each object its own collection"
            )
        return objects

    @model_validator(mode="after")
    def _transforms_of_all(self) -> Self:
        """What stands under the top-level `transforms` follows what the object itself has."""
        for name, each in self.objects.items():
            below = self.transforms.get(name, ())
            if steps := (*each.transforms, *below):
                whole = each.model_copy(update={"transforms": steps})
                whole._from_the_top = len(below)
                fields = chosen(each.fields, whole.flow(name))
                if each.collections and fields.rename:
                    raise ValueError(
                        f"objects.{name}: collections cannot be used with ReplaceField's renames"
                    )
                self.objects[name] = whole.model_copy(update={"fields": fields})
        return self

    @field_validator("reports")
    @classmethod
    def _reports_fit(cls, reports: dict[str, ReportConfig], info: ValidationInfo) -> dict[str, ReportConfig]:
        objects: dict[str, ObjectConfig] | None = info.data.get("objects")
        fields = None if objects is None else {name: each.fields for name, each in objects.items()}
        if fields is not None and (faults := list(faults_of_reports(reports, fields))):
            raise ValueError("; ".join(f"{'.'.join(key)} {said.rstrip('.')}" for key, said in faults))
        return reports

    @field_validator("events")
    @classmethod
    def _events_fit(cls, events: dict[str, EventConfig], info: ValidationInfo) -> dict[str, EventConfig]:
        objects: dict[str, ObjectConfig] | None = info.data.get("objects")
        if objects is None or "sides" not in info.data:
            return events
        collections = {name: each.places for name, each in objects.items()}
        if faults := faults_of_events(events, collections, roster_of(info.data["sides"], objects)):
            raise ValueError("; ".join(faults))
        return events


def load(
    path: str | os.PathLike[str], *, env: Mapping[str, str] = os.environ, without_values: bool = False
) -> SyncConfig:
    """
    Read a configuration.

    Args:
        without_values: See checking.checked().
        path: The YAML file; relative `${file:...}` paths in it are relative to its folder.
        env: Where `${env:...}` looks.

    Raises:
        ConfigError: everything that is wrong, one fault per line, each with its line, its key and what to do, without values.
    """
    return checked(Path(path), SyncConfig, env=env, without_values=without_values).usable()


def checked_raw(
    read: Mapping[Any, Any], *, env: Mapping[str, str], folder: Path
) -> tuple[SyncConfig | None, Mapping[tuple[str, ...], str]]:
    """See checking.checked_raw()."""
    return checking.checked_raw(read, SyncConfig, env=env, folder=folder)


_NAMED: Final = {
    "objects": "<sObject>",
    "events": "<event>",
    "transforms": "<sObject>",
    "reports": "<name>",
    "api.keys": "<name>",
}


def settings_table() -> str:
    """The README's table of settings, in Markdown."""
    return rendering.table(SyncConfig, _NAMED)


def settings() -> Iterator[tuple[str, FieldInfo]]:
    """Every setting: the path of its key, joined by dots, and what it is."""
    return ((path, field) for path, field, _ in rendering.leaves(SyncConfig, "", _NAMED))
