"""
The simulated org: its objects, users, clock, sessions and faults, and who is informed about each commit.

The records, and how they change, are in the other modules of this package. This one puts them together; the REST, Pub/Sub
and control servers get it.
"""

from __future__ import annotations

import random
import secrets
import threading
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from itertools import chain

from salmon.simulator.org.channels import Channels
from salmon.simulator.org.clock import OrgClock, datetime_text, whole_second_ms
from salmon.simulator.org.faults import BadFault, FaultRegistry, Params
from salmon.simulator.org.ids import make_id
from salmon.simulator.org.objects.access_objects import (
    DEFINITIONS,
    OWN_RIGHTS,
    access_describes,
    access_rows,
    definition_rows,
    object_rights,
    own_rights,
)
from salmon.simulator.org.objects.describes import FIELD_DEFAULTS, Describe
from salmon.simulator.org.objects.object_types import Field, ObjectType, object_types
from salmon.simulator.org.objects.platform_events import PlatformEvents, is_platform_event
from salmon.simulator.org.objects.schema_changes import schema_change
from salmon.simulator.org.objects.setup_objects import ADMINISTRATOR_PROFILE, setup_describes, setup_rows
from salmon.simulator.org.recent import Recent
from salmon.simulator.org.saving.conversions import changes_of
from salmon.simulator.org.saving.records import Unit
from salmon.simulator.org.saving.rules import NOTHING_SAID, DuplicateOptions, Rule
from salmon.simulator.org.saving.triggers import Trigger
from salmon.simulator.org.sessions import Instance, Sessions, User
from salmon.simulator.org.settings import Settings
from salmon.simulator.org.table import Table
from salmon.simulator.org.transaction import RecordChange, Row, Transaction
from salmon.simulator.org.usage import Usage

# What faults of the control API may be set for.
APIS = ("rest", "collections", "bulk", "pubsub", "oauth", "all")

RPCS = ("GetTopic", "GetSchema", "Publish", "PublishStream", "Subscribe", "ManagedSubscribe")
# Those that the Pub/Sub API ends calls with ("Handle Errors").
GRPC_STATUSES = (
    "UNAVAILABLE", "UNAUTHENTICATED", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "NOT_FOUND", "INVALID_ARGUMENT",
    "INTERNAL", "DEADLINE_EXCEEDED", "CANCELLED", "UNKNOWN",
)  # fmt: skip

Listener = Callable[[Transaction], None]

_FIRST_COMMIT_NUMBER = 11_600_000_000_000  # of the size that real orgs show


class Org:
    """
    One Salesforce org, in memory.

    A listener is called at each commit, in commit order, under the org's lock: it must be quick and must not
    write. The rows it gets never change afterwards; a field that a row lacks is null, booleans are never null.
    """

    def __init__(self, describes: Mapping[str, Describe]) -> None:
        self.org_id = make_id("00D", 1)
        self.clock = OrgClock()
        self.faults = FaultRegistry()
        self.settings = Settings()
        self.integration_user = _user(1, "sync", "Salmon", "Integration")
        self.person = _user(2, "someone", "Someone", "Else")
        self.users = {user.user_id: user for user in (self.integration_user, self.person)}
        self.passwords = {
            user.user_id: user.password for user in self.users.values()
        }  # those that are valid now
        self.sessions = Sessions(self.org_id, self.clock, self.integration_user, self.settings)
        self.instance = Instance()
        self.usage = Usage(self.clock)
        self.recent = Recent()
        self.lock = threading.RLock()
        events = {name: describe for name, describe in describes.items() if is_platform_event(describe)}
        self.platform_events = PlatformEvents(events, self.clock, self.usage)
        self.channels = Channels()
        describes = {name: describe for name, describe in describes.items() if name not in events}
        self.objects = tuple(describes)  # the names of those that describe files name: the ones with data
        self.types: dict[str, ObjectType] = object_types(
            {**describes, **setup_describes(describes), **access_describes(describes)}
        )
        self.tables = {name: Table(object_type) for name, object_type in self.types.items()}
        self.by_prefix = {table.type.key_prefix: table for table in self.tables.values()}
        self.triggers: tuple[Trigger, ...] = ()
        # What else is asked of a record of these objects before it is saved, with its id if it has one yet.
        self.checks: dict[str, Callable[[Row, str | None], None]] = {}
        self.rules: tuple[Rule, ...] = ()
        # A deleted record -> all that was deleted with it, itself first: they come back together.
        self.deleted_with: dict[str, tuple[tuple[str, Table], ...]] = {}
        self._names = {name.lower(): name for name in self.types}
        self._children = _children(self.tables)
        self.describe_listeners: list[Callable[[Describe], None]] = []  # called after `change_fields`
        self._listeners: list[Listener] = []
        self._open: Unit | None = None  # the innermost transaction of the thread that holds the lock
        self._commit_number = _FIRST_COMMIT_NUMBER
        self._random = random.Random(0)  # plausible distances between commit numbers, nothing more
        self.described_ms = whole_second_ms(self.clock.now_ms())  # when any describe was changed last
        self._fill_setup_objects(describes)
        for name in tuple(self.types):
            self._define(name)
        self._register_faults()

    def describe(self, name: str) -> Describe:
        """The describe of the object *name* (exact case). Raises KeyError if the org has none such."""
        return self.types[name].describe

    def object_name(self, name: str) -> str | None:
        """The name as the org spells it, whatever its case; None if there is no such object."""
        return self._names.get(name.lower())

    def table(self, name: str) -> Table:
        """The records of the object *name*. Raises KeyError if the org has none such."""
        return self.tables[name]

    def children(self, name: str) -> tuple[tuple[Table, Field], ...]:
        """The lookups that may hold an id of the object *name*."""
        return self._children.get(name, ())

    def get(self, object_name: str, record_id: str, *, with_deleted: bool = False) -> Row | None:
        """One record as it is now, or None."""
        return self.tables[object_name].get(record_id, with_deleted=with_deleted)

    def redescribe(self, describe: Describe) -> None:
        """Let an object have other fields from now on. Its records lose the values of fields that are gone; see also conversions."""
        with self.lock:
            name, table = describe["name"], self.tables[describe["name"]]
            new = ObjectType(describe, table.type.key_prefix)
            changes = changes_of(table.type, new, table.live)
            table.retype(new)
            self.types[name] = table.type
            self._children = _children(self.tables)
            self._define(name)
            self._described_now()
            if changes:
                self._commit(changes, self.integration_user, "", whole_second_ms(self.clock.now_ms()))

    def change_fields(self, name: str, without: Collection[str], fields: Collection[Describe]) -> None:
        """Let an object lose some fields and get others; one of a name that is there takes its place. Raises KeyError."""
        with self.lock:
            describe = self.types[name].describe
            new = {field["name"]: {**FIELD_DEFAULTS, "label": field["name"], **field} for field in fields}
            kept = [new.pop(f["name"], f) for f in describe["fields"] if f["name"] not in without]
            changed = {**describe, "fields": [*kept, *new.values()]}
            self.redescribe(changed)
            for listener in self.describe_listeners:
                listener(changed)

    def define_event(self, describe: Describe) -> None:
        """Make a platform event, or let one have other fields from now on."""
        with self.lock:
            self.platform_events.define(describe)
            self._described_now()

    def with_more(self, describes: Mapping[str, Describe]) -> Org:
        """This very org, with objects that only one of its APIs shows. Commits in it have listeners of their own."""
        more = copy(self)
        more.types = self.types | object_types(describes)
        own = {name: Table(more.types[name]) for name in describes}
        more.tables = self.tables | own
        more.by_prefix = {table.type.key_prefix: table for table in more.tables.values()}
        more._names = {name.lower(): name for name in more.types}
        more._children = _children(more.tables)
        more._listeners = []
        return more

    def _described_now(self) -> None:
        # Always another second than before: clients compare whole seconds.
        self.described_ms = max(whole_second_ms(self.clock.now_ms()), self.described_ms) + 1000

    def _define(self, name: str) -> None:
        """Let EntityDefinition and FieldDefinition tell of an object as it is now."""
        entities, fields = (self.tables[each] for each in DEFINITIONS)
        if name in DEFINITIONS:
            return
        entity_id = ""
        for table, key in ((fields, "EntityDefinitionId"), (entities, "DurableId")):
            for row in [row for row in table.live.values() if row.get(key) == name]:
                entity_id = str(row["Id"])
                table.remove(entity_id)
        for definition, row in definition_rows(name, self.types[name].describe, self.types[name].key_prefix):
            table = self.tables[definition]
            row_id = table.new_id()
            if table is entities:
                entity_id = entity_id or row_id
                row_id = entity_id
            else:
                row["Definition"] = entity_id
            table.put({"Id": row_id, **{key: value for key, value in row.items() if value is not None}})

    def add_listener(self, listener: Listener) -> None:
        """Call *listener* at each commit from now on."""
        with self.lock:
            self._listeners.append(listener)

    @contextmanager
    def transaction(
        self, user: User, change_origin: str = "", duplicates: DuplicateOptions = NOTHING_SAID
    ) -> Iterator[Unit]:
        """
        A unit of work for *user*; what it did is committed at the end, as one transaction. *duplicates* is what the
        caller says to duplicate rules.

        An exception rolls all of it back and goes on; so does `Unit.rollback`, without one. A transaction inside
        another is a part of it: it is undone for itself, and committed with the outer one.
        """
        with self.lock:
            outer, unit = self._open, Unit(self, user, self._open, duplicates)
            self._open = unit
            try:
                yield unit
            except BaseException:
                unit.rollback()
                raise
            finally:
                self._open = outer
            if outer is not None:
                outer.absorb(unit)
            elif changes := unit.changes():
                self._commit(changes, user, change_origin, unit.stamp_ms)

    def _commit(
        self, changes: tuple[RecordChange, ...], user: User, change_origin: str, stamp_ms: int
    ) -> None:
        self._commit_number += self._random.randint(1, 40)
        commit = Transaction(
            key=str(uuid.UUID(bytes=secrets.token_bytes(16), version=4)),
            commit_number=self._commit_number,
            commit_timestamp_ms=stamp_ms,
            user_id=user.user_id,
            change_origin=change_origin,
            changes=changes,
        )
        for listener in self._listeners:
            listener(commit)

    def may_call(self) -> bool:
        """Whether any of the day's API requests is left."""
        usage = self.usage
        return self.faults.active("exhaust_api") is None and usage.calls_today() < usage.daily_api_requests

    def hidden(self, user: User, object_name: str) -> frozenset[str] | None:
        """The fields of an object that the fault `hide` hides from *user*: none of them; or None for the whole object."""
        if user is not self.integration_user:
            return frozenset()
        fault = self.faults.active("hide", object=object_name)
        if fault is None:
            return frozenset()
        return frozenset(fault["fields"]) if fault.get("fields") else None

    def unseen(self, user: User, object_name: str) -> Callable[[str], bool] | None:
        """Which records the fault `view_all` takes from the sight of *user*, by their Ids; None: none."""
        fault = None
        if user is self.integration_user:
            fault = self.faults.active("view_all", object=object_name)
        if fault is None:
            return None
        ids = frozenset(fault.get("ids") or ())
        return (lambda record_id: record_id in ids) if ids else (lambda _record_id: True)

    def show_rights(self, user: User) -> None:
        """Bring the records of UserPermissionAccess and ObjectPermissions up to date for one who asks for them."""
        own = own_rights(self.tables, user.user_id)
        lost = [name for name in self.objects if self.unseen(user, name) is not None]
        if lost:
            own |= dict.fromkeys(("PermissionsViewAllData", "PermissionsModifyAllData"), False)
        self.tables[OWN_RIGHTS].put(own)
        # All data is not given any more; each object is, but for those that were taken.
        permissions = self.tables["ObjectPermissions"]
        for row in object_rights(self.objects, lost):
            if lost:
                permissions.put({**permissions.type.defaults, **row})
            elif row["Id"] in permissions.live:
                permissions.put({**permissions.live[str(row["Id"])], "PermissionsViewAllRecords": False})

    def _fill_setup_objects(self, describes: Mapping[str, Describe]) -> None:
        stamp = datetime_text(whole_second_ms(self.clock.now_ms()))
        own = access_rows(self.users, ADMINISTRATOR_PROFILE)
        stamps = dict.fromkeys(("CreatedDate", "LastModifiedDate", "SystemModstamp"), stamp)
        stamped = ((name, {**row, **stamps}) for name, row in own)
        for name, row in chain(setup_rows(self.org_id, self.users, describes, stamp), stamped):
            table = self.tables[name]
            table.new_id()  # taken
            known = {field: value for field, value in row.items() if table.type.field(field) is not None}
            table.put({**table.type.defaults, **known})

    def _register_faults(self) -> None:
        def lock(params: Params) -> None:
            ids = params.get("ids")
            if params.get("object") not in self.objects or not isinstance(ids, list) or not ids:
                raise BadFault(f"lock_rows: needs object (one of {', '.join(self.objects)}) and ids, a list")
            if not isinstance(params.get("approval", False), bool):
                raise BadFault("lock_rows: approval must be true or false")

        def hide(params: Params) -> None:
            fields = params.get("fields", [])
            if params.get("object") not in self.types or not isinstance(fields, list):
                raise BadFault(
                    f"hide: needs object (one of {', '.join(self.types)}), and may have fields, a list"
                )

        self.faults.register("latency", _check_latency)
        self.faults.register("http", _check_http)
        self.faults.register("lock_rows", lock)

        def view_all(params: Params) -> None:
            if params.get("object") not in self.objects or not isinstance(params.get("ids", []), list):
                raise BadFault(
                    f"view_all: needs object (one of {', '.join(self.objects)}), and may have ids, a list"
                )

        def change_schema(params: Params) -> None:
            name = params.get("object")
            if name not in self.objects:
                raise BadFault(f"change_schema: needs object (one of {', '.join(self.objects)})")
            self.change_fields(name, *schema_change(self.describe(name), params))

        self.faults.on("change_schema", change_schema)
        self.faults.register("view_all", view_all)
        self.faults.register("hide", hide)  # from the integration user: an object, or some of its fields
        self.faults.register("exhaust_api")
        self.faults.register("grpc", _check_grpc)
        self.faults.register("refuse_publish")
        self.faults.on("revoke_sessions", lambda _params: self.sessions.revoke_all())
        self.faults.on("clock_skew", lambda params: self.clock.skew(_number("clock_skew", "s", params)))
        self.faults.on_clear(lambda: self.clock.skew(0))


def _check_latency(params: Params) -> None:
    _check_api("latency", params)
    if _number("latency", "ms", params) < 0:
        raise BadFault("latency: ms must not be negative")


def _check_http(params: Params) -> None:
    _check_api("http", params)
    status = params.get("status", 503)
    if not isinstance(status, int) or not 400 <= status <= 599:
        raise BadFault("http: status must be a number from 400 to 599")
    if not isinstance(params.get("containing", ""), str):
        raise BadFault("http: containing must be text")


def _check_grpc(params: Params) -> None:
    if not isinstance(params.get("code"), str) or not params["code"]:
        raise BadFault("grpc: needs code, like service.unavailable (without sfdc.platform.eventbus.grpc.)")
    if params.get("status", "UNAVAILABLE") not in GRPC_STATUSES:
        raise BadFault(f"grpc: status must be one of {', '.join(GRPC_STATUSES)}")
    if params.get("rpc", "all") not in {*RPCS, "all"}:
        raise BadFault(f"grpc: rpc must be one of {', '.join(RPCS)}")


def _check_api(fault: str, params: Params) -> None:
    if params.get("api", "all") not in APIS:
        raise BadFault(f"{fault}: api must be one of {', '.join(APIS)}")


def _number(fault: str, name: str, params: Params) -> float:
    value = params.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise BadFault(f"{fault}: {name} must be a number")
    return float(value)


def _user(number: int, login: str, first_name: str, last_name: str) -> User:
    address = f"{login}@salmon.example"
    return User(
        user_id=make_id("005", number),
        username=address,
        first_name=first_name,
        last_name=last_name,
        email=address,
        password=secrets.token_urlsafe(12),
        security_token=secrets.token_urlsafe(18),
    )


def _children(tables: Mapping[str, Table]) -> dict[str, tuple[tuple[Table, Field], ...]]:
    found: dict[str, list[tuple[Table, Field]]] = {}
    for table in tables.values():
        for field in table.type.reference_fields:
            for parent in field.reference_to:
                found.setdefault(parent, []).append((table, field))
    return {parent: tuple(children) for parent, children in found.items()}
