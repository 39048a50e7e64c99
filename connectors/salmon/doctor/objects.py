"""
What the org has of each synced object: may the user read and write it and its fields, are the marker fields as they must be,
and does it have change events.

The marker fields and the change events are judged as salesforce-source judges them (salmon.salesforce.catalog).
Sources: REST API Developer Guide, "sObject Describe" (it shows what the calling user may do); Object Reference, "Field Types".
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from salmon.config.models import ObjectConfig
from salmon.doctor.checks import Check, Line, fail, ok, told_by, warn
from salmon.doctor.salesforce import API_VERSION
from salmon.errors import ConfigError, RequestRejected
from salmon.model.schema import ObjectSchema, schema_of_describe, why_not_synced
from salmon.salesforce.catalog import STAMP, EventSchemas, calls_a_day, is_polled
from salmon.salesforce.marker_fields import made_as, not_as_made
from salmon.salesforce.wire.administration import Administration
from salmon.salesforce.wire.pubsub_api.layout import channel_of, layout_of

_NAMED_MAX: Final = 8
_NO_COUNTERPART: Final = "has no counterpart"
# No formulas, and yet nobody sets them: the only ones of the kind in the recorded describes of eight standard objects.
_COMPUTED: Final = frozenset({"ExpectedRevenue", "ClosedDate"})
_SETUP: Final = "Run `salmon setup`"


class ObjectChecks:
    """
    The checks of one synced object.

    Args:
        name: The sObject.
        config: Its settings.
        administration: Of the integration user.
        events: Where the schemas of change events come from.
        apart: See apart_in.
    """

    def __init__(
        self,
        name: str,
        config: ObjectConfig,
        administration: Administration,
        events: EventSchemas,
        apart: Collection[str] = (),
    ) -> None:
        self._apart = apart
        self._name = name
        self._config = config
        self._org = administration
        self._events = events

    def checks(self) -> Sequence[Check]:
        """All of them; each comes after the API version, since without it nothing answers."""
        return (
            Check(f"objects.{self._name}", f"{self._name}: access", self._described, after=API_VERSION),
            Check(
                f"objects.{self._name}.change_events",
                f"{self._name}: change events",
                self._change_events,
                after=API_VERSION,
            ),
        )

    def _line(self, tell: Callable[..., Line], part: str, words: str, says: str, *mend: str) -> Line:
        return tell(f"objects.{self._name}.{part}", f"{self._name}: {words}", says, *mend)

    def _described(self) -> Iterator[Line]:
        name = self._name
        try:
            describe = self._org.rest.describe(name)
        except RequestRejected as error:
            yield self._line(
                fail,
                "access",
                "access",
                f"The org has no object {name}, or hides it from the user ({error.said}).",
                f"Correct the name under `objects`, or give the user Read of {name} in a permission set.",
            )
            return
        fields = {field["name"]: field for field in describe["fields"]}
        yield self._access(describe)
        if "Id" not in fields:
            yield self._line(
                fail,
                "id",
                "Id",
                f"The org's describe of {name} has no field Id, so its records cannot be identified.",
                f"Remove {name} from `objects`, or ask whoever runs the org or a proxy in front of it.",
            )
        if is_polled(self._config) and STAMP not in fields:
            yield self._line(
                fail,
                "polling",
                "polling",
                f"{name} has no field {STAMP}, by which polling finds what has changed.",
                f"Select {name} for change events and set objects.{name}.capture to cdc, or remove it from `objects`.",
            )
        yield from self._fields(describe, fields)
        yield from self._markers(fields)

    @property
    def _is_written(self) -> bool:
        return self._config.direction != "to_mongodb"

    def _access(self, describe: Mapping[str, Any]) -> Line:
        """Whether the user may do with its records what the direction needs."""
        needed = {"queryable": "Read"}
        if self._is_written:
            needed |= {"createable": "Create", "updateable": "Edit", "deletable": "Delete"}
        if lacking := [right for flag, right in needed.items() if not describe.get(flag)]:
            only_delete = lacking == [
                "Delete"
            ]  # some objects let nobody delete, and the rest of the sync works
            return self._line(
                warn if only_delete else fail,
                "access",
                "access",
                f"The user lacks {_and(lacking)}, which direction: {self._config.direction} needs"
                f"{': what is deleted in MongoDB stays in Salesforce' if only_delete else ''}.",
                f"Give the user {_and(lacking)} of {self._name} in a permission set. If nobody can have it, because the org"
                f" keeps {self._name} to itself, set objects.{self._name}.direction to to_mongodb, or remove the object.",
            )
        return self._line(ok, "access", "access", f"The user has {_and(needed.values())}.")

    def _fields(self, describe: Mapping[str, Any], fields: Mapping[str, Mapping[str, Any]]) -> Iterator[Line]:
        name, chosen = self._name, self._config.fields
        try:
            schema = schema_of_describe(
                describe,
                include=chosen.include,
                exclude=chosen.exclude,
                decimals=self._config.numbers == "decimal",
                apart=self._apart,
            )
        except ConfigError as error:
            yield self._line(
                fail,
                "fields",
                "fields",
                f"{str(error).rstrip('.')}.",
                f"Correct the name, or give the user Read of the field ({name}, Field-Level Security).",
            )
            return
        if not schema.fields:
            yield self._line(
                fail,
                "fields",
                "fields",
                "No field is left that can be synced.",
                f"Correct objects.{name}.fields, or give the user Read of fields.",
            )
            return
        yield from self._unwritable(schema, fields)
        yield from self._matched(schema)
        yield from self._transformed(schema)
        if unfit := [
            f"{each['name']} ({each['type']})"
            for each in fields.values()
            if each["name"] not in chosen.exclude
            and _NO_COUNTERPART in (why_not_synced(each, self._apart) or "")
        ]:
            yield self._line(
                warn,
                "unsynced",
                "fields that cannot be synced",
                f"{_named(unfit)}: of types that have no counterpart in MongoDB, so they are left out.",
                f"Name them in objects.{name}.fields.exclude to have this said no more.",
            )

    def _matched(self, schema: ObjectSchema) -> Iterator[Line]:
        """Whether the fields by which `salmon match` pairs records can be compared."""
        if (match := self._config.match) is None:
            return
        name, what = f"objects.{self._name}.match", f"{self._name}: fields to match by"
        try:
            fields = match.fields_of(schema)
        except ConfigError as error:
            yield told_by(name, what, error)
            return
        yield ok(name, what, f"Records are matched by {_and(field.name for field in fields)}.")

    def _transformed(self, schema: ObjectSchema) -> Iterator[Line]:
        """Whether its transforms fit the org's fields."""
        if not (flow := self._config.flow(self._name)):
            return
        name, what = f"objects.{self._name}.transforms", f"{self._name}: transforms"
        try:
            flow.bound(schema)
        except ConfigError as error:
            yield told_by(name, what, error)
            return
        yield ok(name, what, "All fields that they name exist, and are of the right types.")

    def _unwritable(self, schema: ObjectSchema, fields: Mapping[str, Mapping[str, Any]]) -> Iterator[Line]:
        """The fields that are synced, but that the user may not write, or that a new record would lack."""
        name = self._name
        said = f"{len(schema.fields)} fields are synced"
        if not self._is_written:
            yield self._line(ok, "fields", "fields", f"{said}, from Salesforce to MongoDB.")
            return
        asked = self._config.fields.include or ()
        closed = [
            each.name
            for each in schema.fields
            if not each.settable
            and not each.is_stamp
            and (each.name in asked or _could_be_set(fields[each.name]))
        ]
        if closed:
            yield self._line(
                warn,
                "fields",
                "fields",
                f"{said}. The user may only read {_named(closed)}: what MongoDB says of them does not reach Salesforce.",
                f"Give the user Edit of these fields ({name}, Field-Level Security), where the org lets anybody edit them.",
            )
        else:
            yield self._line(ok, "fields", "fields", f"{said}; the user may edit all that can be edited.")
        whole = schema_of_describe({"name": name, "fields": [*fields.values()]}, apart=self._apart)
        lost = [each.name for each in whole.fields if each.required and each.name not in schema.by_name]
        if lost:
            yield self._line(
                warn,
                "required",
                "required fields",
                f"{_named(lost)}: Salesforce takes no new record without them, and they are not synced. Records that are"
                " created in MongoDB cannot come to Salesforce.",
                f"Sync them (objects.{name}.fields), or have the org fill them in with default values.",
            )

    def _markers(self, fields: Mapping[str, Mapping[str, Any]]) -> Iterator[Line]:
        name, markers = self._name, self._config.markers.names
        how = made_as(markers)
        wrong = {
            marker: consequence
            for marker in how
            if marker in fields and (consequence := not_as_made(markers, marker, fields[marker]))
        }
        missing = [marker for marker in how if marker not in fields]
        closed = [
            marker
            for marker in how
            if marker in fields and not (fields[marker]["createable"] and fields[marker]["updateable"])
        ]
        for marker, consequence in wrong.items():
            yield self._line(
                fail,
                f"markers.{marker}",
                "marker fields",
                f"{name}.{marker} {consequence}.",
                f"It must be {how[marker]}. `salmon setup` never changes a field that is there: if nobody else uses this"
                " one, delete it in Setup, and run `salmon setup`.",
            )
        if missing or closed:
            says = [f"{name} has no {' and no '.join(missing)} that the user could see."] if missing else []
            says += [f"The user may not edit {_and(closed)}."] if closed else []
            made = "; ".join(f"{marker}: {how[marker]}" for marker in (*missing, *closed))
            yield self._line(
                fail,
                "markers",
                "marker fields",
                " ".join(says),
                f"{_SETUP}: it makes the fields, and lets the user edit them. By hand: {made}, which this user alone may edit.",
            )
        if wrong or missing or closed:
            return
        yield self._line(
            ok, "markers", "marker fields", f"{markers.seq} and {markers.key} are as they must be."
        )
        try:
            others = {
                marker: count
                for marker in how
                if (
                    count := self._org.editors(
                        name, marker, other_than=self._org.rest.sign_in.token().user_id
                    )
                )
            }
        except RequestRejected:
            return  # who else may edit them is shown only to those who see the setup; permissions say so
        if others:
            yield self._line(
                warn,
                "markers.others",
                "who may edit the marker fields",
                f"Other users who may edit {_and(others)}: {max(others.values()):,}. An edit of theirs that sets them could be"
                " taken for Salmon's own.",
                "Take Edit of these fields away from all profiles and permission sets but the integration user's.",
            )

    def _change_events(self) -> Iterator[Line]:
        name, topic = self._name, channel_of(self._name)
        if is_polled(self._config):
            every_s = self._config.capture.every_s
            yield self._line(
                ok,
                "change_events",
                "change events",
                f"Not needed: it is polled every {self._config.capture.every}, which costs about"
                f" {calls_a_day(every_s):,} API calls a day.",
            )
            return
        try:
            carried = layout_of(self._events.schema_of_topic(topic)).live
        except RequestRejected as error:
            yield self._line(
                fail,
                "change_events",
                "change events",
                f"The org publishes no change events of {name} ({error.code}).",
                f"{_SETUP}, or select {name} under Setup, Change Data Capture. If it cannot be selected there, or should not be,"
                f" set objects.{name}.capture to poll.",
            )
            return
        yield self._line(
            ok, "change_events", "change events", f"Selected; the events carry {len(carried)} fields."
        )


def _could_be_set(field: Mapping[str, Any]) -> bool:
    """Whether a field that this user may not set could be set by one with more rights, as far as a describe tells."""
    if field.get("calculated") or field.get("autoNumber") or field["name"] in _COMPUTED:
        return False
    return bool(field.get("permissionable"))


def _and(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def _named(names: Sequence[str]) -> str:
    more = len(names) - _NAMED_MAX
    return ", ".join(names[:_NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
