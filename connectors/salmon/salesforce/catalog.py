"""
What the org has of each configured object: its fields, its markers, its change events; or what is missing.

Everything that an admin has to mend before an object can be synced is said here, in one sentence.
Sources: REST API Developer Guide, "sObject Describe"; Pub/Sub API, "GetTopic RPC Method"; Change Data Capture
Developer Guide, "Select Objects for Change Notifications".
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from salmon.errors import ConfigError, RequestRejected, SchemaMismatch, SetupError
from salmon.model.schema import FieldSchema, ObjectSchema, schema_of_describe
from salmon.salesforce.marker_fields import Named, Queries, apart_in, fault_of, fault_of_move
from salmon.salesforce.wire.pubsub_api.layout import channel_of, layout_of
from salmon.salesforce.wire.rest import Page

POLL: Final = "poll"
STAMP: Final = "SystemModstamp"
_CALLS_A_POLL: Final = 2
_S_A_DAY: Final = 86_400


class ObjectUnusable(SetupError):
    """The org does not have the object *name* as Salmon needs it. Other objects may work."""

    def __init__(self, name: str, sentence: str) -> None:
        super().__init__(sentence)
        self.name = name


class FieldChoice(Protocol):
    """`objects.<Object>.fields` of the config."""

    @property
    def include(self) -> Collection[str] | None: ...
    @property
    def exclude(self) -> Collection[str]: ...


class Capture(Protocol):
    """`objects.<Object>.capture` of the config."""

    @property
    def mode(self) -> str:
        """cdc or poll."""
        ...

    @property
    def every_s(self) -> float:
        """poll: how often."""
        ...


class Refresh(Protocol):
    """`objects.<Object>.refresh` of the config."""

    @property
    def every_s(self) -> float | None: ...
    @property
    def after_events_s(self) -> float | None: ...


class ObjectConfig(Protocol):
    """`objects.<Object>` of the config, as far as this side needs it."""

    @property
    def capture(self) -> Capture: ...
    @property
    def refresh(self) -> Refresh: ...

    @property
    def fields(self) -> FieldChoice: ...
    @property
    def markers(self) -> Named: ...
    @property
    def numbers(self) -> str: ...
    @property
    def allow_duplicates(self) -> bool: ...
    @property
    def assignment_rules(self) -> bool: ...
    @property
    def paths(self) -> Mapping[str, str]:
        """Where documents have fields that are not under their own names: field -> path."""
        ...

    @property
    def direction(self) -> str:
        """both, to_mongodb or to_salesforce."""
        ...

    def computed(self, schema: ObjectSchema) -> tuple[FieldSchema, ...]:
        """The fields that Salmon adds to those of the org. Raises ConfigError: they do not fit them."""
        ...


class Describes(Queries, Protocol):
    """Where a describe comes from: Rest."""

    def describe(self, name: str) -> Mapping[str, Any]: ...
    def key_prefixes(self) -> Mapping[str, str]:
        """Object -> the first characters of its Ids, of all objects that the user may see."""


class DescribedOnce:
    """An org that is asked once for what several need at the start: a describe is kept until somebody takes it."""

    def __init__(self, org: Describes) -> None:
        self._org = org
        self._kept: dict[str, Mapping[str, Any]] = {}
        self._prefixes: Mapping[str, str] | None = None

    def describe(self, name: str) -> Mapping[str, Any]:
        """Ask the org, and keep the answer."""
        found = self._kept[name] = self._org.describe(name)
        return found

    def take(self, name: str) -> Mapping[str, Any]:
        """The describe that is kept, which is forgotten; or else a new one."""
        return self._kept.pop(name, None) or self._org.describe(name)

    def key_prefixes(self) -> Mapping[str, str]:
        """See Describes."""
        if self._prefixes is None:
            self._prefixes = self._org.key_prefixes()
        return self._prefixes

    def pages(self, soql: str, *, deleted: bool = False) -> Iterator[Page]:
        """See Queries."""
        return self._org.pages(soql, deleted=deleted)


class EventSchemas(Protocol):
    """Where an event schema comes from: PubSub."""

    def schema_of_topic(self, topic: str) -> Mapping[str, Any]:
        """The topic's current schema, parsed. Raises RequestRejected where there is no such topic."""


@dataclass(frozen=True)
class SyncedObject:
    """One object as the org has it."""

    schema: ObjectSchema
    names: frozenset[str]  # every field that can be selected, also those that are not synced
    heard: frozenset[str] = frozenset()  # every field that change events had when it was described
    computed: tuple[FieldSchema, ...] = ()  # what Salmon makes of its fields, and the org does not have
    # (object, lookup) of records that forbid to delete the one that they refer to.
    forbidding: frozenset[tuple[str, str]] = frozenset()

    @property
    def name(self) -> str:
        return self.schema.name

    @property
    def registered(self) -> ObjectSchema:
        """Its schema for all others."""
        return self.schema.with_computed(self.computed)


def as_registered(schema: ObjectSchema) -> SyncedObject:
    """An object that cannot be described. It is not read before it can be."""
    own = schema.of_org
    made = tuple(field for field in schema.fields if field.computed)
    return SyncedObject(own, frozenset(own.by_name) | {"Id"}, computed=made)


def synced_object(
    name: str,
    objects: Mapping[str, ObjectConfig],
    describes: Describes,
    events: EventSchemas | None = None,
    former: ObjectSchema | None = None,
) -> SyncedObject:
    """
    Describe one of the config's objects. Its live fields are those of its change events, where *events* are given and it is not
    polled. *former*: its schema as it is registered, whose markers may have other names.

    Raises:
        ObjectUnusable: the object, its marker fields, its change events or a field that the config names is missing, or
            hidden from the integration user; or the org describes it in a way that Salmon does not know.
    """
    try:
        return _synced_object(name, objects, describes, events, former)
    except (KeyError, TypeError, AttributeError, IndexError, SchemaMismatch) as error:
        raise ObjectUnusable(
            name,
            f"objects.{name}: the org describes {name} in a way that Salmon does not know ({type(error).__name__}: {error})."
            f" Remove {name} from `objects`, or ask whoever runs the org or a proxy in front of it.",
        ) from error


def _synced_object(
    name: str,
    objects: Mapping[str, ObjectConfig],
    describes: Describes,
    events: EventSchemas | None,
    former: ObjectSchema | None,
) -> SyncedObject:
    config = objects[name]
    try:
        describe = describes.describe(name)
    except RequestRejected as error:
        raise ObjectUnusable(
            name,
            f"objects.{name}: the org has no object {name}, or hides it from the integration user ({error.said})."
            " Correct the name, or let the user read the object.",
        ) from error
    fields = {field["name"]: field for field in describe["fields"]}
    if "Id" not in fields:
        raise ObjectUnusable(
            name,
            f"objects.{name}: the org's describe of {name} has no field Id, so its records cannot be identified. Remove {name}"
            f" from `objects`, or ask whoever runs the org or a proxy in front of it.",
        )
    markers = config.markers.names
    fault = fault_of(name, markers, fields)
    if fault is None and former is not None and former.markers != markers:
        fault = fault_of_move(name, former.markers, markers, fields, describes)
    if fault is not None:
        raise ObjectUnusable(name, fault)
    points_to_several = events is not None and any(
        len(f.get("referenceTo") or ()) > 1 for f in fields.values()
    )
    polled = is_polled(config)
    if polled and STAMP not in fields:
        raise ObjectUnusable(
            name,
            f"objects.{name}.capture: {name} has no field {STAMP}, by which polling finds what has changed. Select {name} for"
            f" change events and set capture to cdc, or remove it from `objects`.",
        )
    live = None if events is None or polled else live_fields(name, events)
    try:
        schema = schema_of_describe(
            describe,
            include=config.fields.include,
            exclude=config.fields.exclude,
            live=live,
            decimals=config.numbers == "decimal",
            prefixes=describes.key_prefixes() if points_to_several else None,
            markers=markers,
            apart=apart_in(objects),
        )
        computed = config.computed(schema)
    except ConfigError as error:
        raise ObjectUnusable(
            name, f"{error} Correct the configuration, or let the integration user read the field."
        ) from error
    return SyncedObject(schema, frozenset(fields), live or frozenset(), computed, _forbidding(describe))


def _forbidding(describe: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    return frozenset(
        (each["childSObject"], each["field"])
        for each in describe.get("childRelationships") or ()
        if each.get("restrictedDelete")
    )


def is_polled(config: ObjectConfig) -> bool:
    """Whether changes of the object are found by queries, and not by change events."""
    return config.capture.mode == POLL


def calls_a_day(every_s: float) -> int:
    """About how many API calls polling an object costs, if little changes: one for rows, one for deletions, each time."""
    return round(_CALLS_A_POLL * _S_A_DAY / every_s)


def live_fields(name: str, events: EventSchemas) -> frozenset[str]:
    """The fields that change events of the object have. Raises ObjectUnusable if the org publishes none of it."""
    topic = channel_of(name)
    try:
        return layout_of(events.schema_of_topic(topic)).live
    except RequestRejected as error:
        raise ObjectUnusable(
            name,
            f"objects.{name}: the org publishes no change events of {name} on {topic} ({error.code}). Select"
            f" {name} under Setup, Change Data Capture; if it cannot be selected, or should not be, set objects.{name}.capture to"
            f" poll.",
        ) from error
