"""
What the org has of each configured object: its fields, its markers, its change events; or what is missing.

Everything that an admin has to mend before an object can be synced is said here, in one sentence.
Sources: REST API Developer Guide, "sObject Describe"; Pub/Sub API, "GetTopic RPC Method"; Change Data Capture
Developer Guide, "Select Objects for Change Notifications".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from salmon.errors import ConfigError, RequestRejected, SchemaMismatch, SetupError
from salmon.model.schema import MARKER_ID, MARKER_SEQ, ObjectSchema, schema_of_describe
from salmon.salesforce.wire.layout import channel_of, layout_of

POLL: Final = "poll"
STAMP: Final = "SystemModstamp"
_CALLS_A_POLL: Final = 2
_S_A_DAY: Final = 86_400
_SEQ_DIGITS: Final = 18
_KEY_CHARS: Final = 255
MARKERS: Final = {
    MARKER_SEQ: "Number(18, 0)",
    MARKER_ID: "Text(255), External ID, Unique and case-sensitive",
}


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


class Describes(Protocol):
    """Where a describe comes from: Rest."""

    def describe(self, name: str) -> Mapping[str, Any]: ...
    def key_prefixes(self) -> Mapping[str, str]:
        """Object -> the first characters of its Ids, of all objects that the user may see."""


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

    @property
    def name(self) -> str:
        return self.schema.name


def synced_object(
    name: str, config: ObjectConfig, describes: Describes, events: EventSchemas | None = None
) -> SyncedObject:
    """
    Describe one object of the config. Its live fields are those of its change events, where *events* are given and it is not
    polled.

    Raises:
        ObjectUnusable: the object, its marker fields, its change events or a field that the config names is missing, or
            hidden from the integration user; or the org describes it in a way that Salmon does not know.
    """
    try:
        return _synced_object(name, config, describes, events)
    except (KeyError, TypeError, AttributeError, IndexError, SchemaMismatch) as error:
        raise ObjectUnusable(
            name,
            f"objects.{name}: the org describes {name} in a way that Salmon does not know ({type(error).__name__}: {error})."
            f" Remove {name} from `objects`, or ask whoever runs the org or a proxy in front of it.",
        ) from error


def _synced_object(
    name: str, config: ObjectConfig, describes: Describes, events: EventSchemas | None
) -> SyncedObject:
    try:
        describe = describes.describe(name)
    except RequestRejected as error:
        said = f"{error.code}: {error.words}" if error.words else error.code
        raise ObjectUnusable(
            name,
            f"objects.{name}: the org has no object {name}, or hides it from the integration user ({said})."
            " Correct the name, or let the user read the object.",
        ) from error
    fields = {field["name"]: field for field in describe["fields"]}
    if "Id" not in fields:
        raise ObjectUnusable(
            name,
            f"objects.{name}: the org's describe of {name} has no field Id, so its records cannot be identified. Remove {name}"
            f" from `objects`, or ask whoever runs the org or a proxy in front of it.",
        )
    _check_markers(name, fields)
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
        )
    except ConfigError as error:
        raise ObjectUnusable(
            name, f"{error} Correct the configuration, or let the integration user read the field."
        ) from error
    return SyncedObject(schema, frozenset(fields), live or frozenset())


def is_polled(config: ObjectConfig) -> bool:
    """Whether changes of the object are found by queries, and not by change events."""
    return config.capture.mode == POLL


def calls_a_day(every_s: float) -> int:
    """About how many API calls polling an object costs, if little changes: one for rows, one for deletions, each time."""
    return round(_CALLS_A_POLL * _S_A_DAY / every_s)


def _check_markers(name: str, fields: Mapping[str, Mapping[str, Any]]) -> None:
    for marker, made_as in MARKERS.items():
        field = fields.get(marker)
        if field is None:
            raise ObjectUnusable(
                name,
                f"objects.{name}: {name} has no field {marker}, or hides it from the integration user. Create it as"
                f" {made_as}, and let that user alone edit it.",
            )
        if not (field["createable"] and field["updateable"]):
            raise ObjectUnusable(
                name,
                f"objects.{name}: {name}.{marker} cannot be edited by the integration user. Give it read and edit"
                " access to the field.",
            )
    for marker in (MARKER_ID, MARKER_SEQ):
        if consequence := not_as_made(marker, fields[marker]):
            raise ObjectUnusable(
                name, f"objects.{name}: {name}.{marker} {consequence}. Make it {MARKERS[marker]}."
            )


def not_as_made(marker: str, field: Mapping[str, Any]) -> str | None:
    """What would come of it that a marker field is not as Salmon needs it; None if it is. *field*: its describe."""
    if marker == MARKER_SEQ:
        digits = (field.get("precision") or 0) - (field.get("scale") or 0)
        if field.get("type") != "double" or digits < _SEQ_DIGITS:
            return f"does not hold whole numbers of {_SEQ_DIGITS} digits"
        return None
    if not (field.get("externalId") and field.get("unique")):
        return "is not a unique external id, so a record could be created twice"
    if not field.get("caseSensitive"):
        return "is not case-sensitive, so the keys abc and ABC would be one record"
    if field.get("type") != "string" or (field.get("length") or 0) < _KEY_CHARS:
        return f"does not hold texts of {_KEY_CHARS} characters, which keys may have"
    return None


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
