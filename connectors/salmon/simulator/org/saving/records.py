"""
Writes records. A unit of work is one transaction of the org, with everything that Salesforce checks.

Each operation is all or nothing for its record. The unit commits what was done, or is rolled back as a whole.
Reading request bodies and answering with refusals is for the REST server.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

from salmon.simulator.org.clock import OrgClock, datetime_text, whole_second_ms
from salmon.simulator.org.faults import FaultRegistry
from salmon.simulator.org.ids import STANDARD_PREFIXES
from salmon.simulator.org.objects.object_types import Field, ObjectType
from salmon.simulator.org.refusals import (
    BadRequest,
    Refusal,
    in_approval,
    invalid_cross_reference,
    locked,
    not_writable,
    unknown_field,
)
from salmon.simulator.org.saving import person_accounts, rules
from salmon.simulator.org.saving.derived import derive
from salmon.simulator.org.saving.hierarchies import check_hierarchy
from salmon.simulator.org.saving.places import settle_addresses
from salmon.simulator.org.saving.restrictions import check_restricted
from salmon.simulator.org.saving.rules import NOTHING_SAID, DuplicateOptions, Rule, owner_of_new
from salmon.simulator.org.saving.triggers import Trigger
from salmon.simulator.org.saving.values import stored_value
from salmon.simulator.org.sessions import User
from salmon.simulator.org.table import Table
from salmon.simulator.org.transaction import ChangeType, RecordChange, Row, Stored

Body = Mapping[str, Any]


class Tables(Protocol):
    """What a transaction needs of its org (salmon.simulator.org.org)."""

    clock: OrgClock
    faults: FaultRegistry
    tables: dict[str, Table]
    by_prefix: dict[str, Table]
    users: dict[str, User]
    triggers: tuple[Trigger, ...]
    rules: tuple[Rule, ...]
    deleted_with: dict[str, tuple[tuple[str, Table], ...]]
    checks: dict[str, Callable[[Row, str | None], None]]

    def table(self, name: str) -> Table: ...
    def children(self, name: str) -> tuple[tuple[Table, Field], ...]: ...


class Unit:
    """
    An open transaction; `Org.transaction` opens it with the org's lock held, and commits it.

    Every method may raise Refusal, and then has changed nothing. BadRequest (also a Refusal) means that the request itself
    is wrong, and the caller rolls back the whole unit.
    """

    def __init__(
        self,
        org: Tables,
        user: User,
        within: Unit | None = None,
        duplicates: DuplicateOptions = NOTHING_SAID,
    ) -> None:
        self._org = org
        self._user = user
        self._duplicates = duplicates
        self._within = within
        self.stamp_ms: int = whole_second_ms(org.clock.now_ms()) if within is None else within.stamp_ms
        self._stamp = datetime_text(self.stamp_ms)
        # Each touched record as it was before: live, or in the bin, or neither.
        self._before: dict[tuple[str, str], tuple[Row | None, Row | None]] = {}
        self._untold: set[tuple[str, str]] = set()  # those of whose change no event tells

    def insert(self, object_name: str, body: Body) -> str:
        """Create a record and return its id."""
        table = self._table(object_name)
        object_type = table.type
        if not object_type.describe.get("createable", True):
            raise Refusal(
                "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", f"entity type {object_name} does not support create"
            )
        said = self._said(object_type, body, creating=True)
        row: dict[str, Stored] = dict(object_type.defaults)
        for name, value in said.items():
            _assign(row, name, value)
        person_accounts.settle(object_type, row, said, creating=True)
        missing = [field.name for field in object_type.required_on_create if row.get(field.name) is None]
        if person_accounts.has_person_accounts(object_type) and "LastName" in missing:
            missing.remove("LastName")  # of a business
        if missing:
            raise _required(missing)
        if object_type.field("OwnerId") is not None:
            row.setdefault("OwnerId", self._user.user_id)
        changed = self._automate(object_type, row, set(object_type.defaults) | set(said), said)
        if (owner := owner_of_new(self._org.rules, object_name, self._duplicates)) is not None:
            row["OwnerId"] = owner
        self._check(table, row, changed, record_id=None)
        record_id = table.new_id()
        row = {"Id": record_id, **row}
        for field in object_type.stored_fields:
            if field.auto_number:
                row[field.name] = table.next_auto_number()
        if object_type.describe.get("custom") and object_type.field("Name") is not None:
            row.setdefault("Name", record_id)
        self._stamp_row(object_type, row, created=True)
        self._remember(table, record_id)
        if has_contact := object_name == "Account" and person_accounts.is_person(row):
            row[person_accounts.CONTACT_ID] = self._table("Contact").new_id()
        table.put(row)
        if has_contact:
            self._put_contact_of(object_type, row)
        return record_id

    def update(self, object_name: str, record_id: str, body: Body) -> None:
        """Change fields of a live record."""
        table = self._table(object_name)
        try:
            said = self._said(table.type, body, creating=False)
        except Refusal as refusal:
            # A value that cannot be read, or an unknown field, is refused before the record is looked for.
            if not isinstance(refusal, BadRequest) and refusal.code != "INVALID_FIELD":
                table.alive(record_id)
            raise
        before = table.alive(record_id)
        cleared = [name for name, value in said.items() if value is None and not _nillable(table.type, name)]
        if cleared:
            raise _required(cleared)
        self._check_lock(object_name, record_id)
        if object_name == "Contact":
            person_accounts.refuse_contact(before)
        row = dict(before)
        for name, value in said.items():
            _assign(row, name, value)
        person_accounts.settle(table.type, row, said, creating=False)
        changed = self._automate(
            table.type, row, {name for name in said if row.get(name) != before.get(name)}, said
        )
        self._check(table, row, changed, record_id)
        self._stamp_row(table.type, row)
        self._remember(table, record_id)
        table.put(row)
        if object_name == "Account" and person_accounts.is_person(row):
            self._put_contact_of(table.type, row)

    def delete(self, object_name: str, record_id: str) -> None:
        """Move a live record to the Recycle Bin, together with the records that its relationships cascade to."""
        table = self._table(object_name)
        doomed_row = table.alive(record_id)
        if object_name == "Contact":
            person_accounts.refuse_contact(doomed_row)
        if not table.type.describe.get("deletable", True):
            raise Refusal("INSUFFICIENT_ACCESS_OR_READONLY", f"entity type {object_name} cannot be deleted")
        doomed: dict[str, Table] = {}
        self._collect(table, record_id, doomed)
        check_restricted(
            doomed, {each.type.name: self._org.children(each.type.name) for each in doomed.values()}
        )
        for doomed_id, doomed_table in doomed.items():
            self._check_lock(doomed_table.type.name, doomed_id)
        for doomed_id, doomed_table in doomed.items():
            self._forget_lookups(doomed_table, doomed_id, doomed)
            row = {**doomed_table.live[doomed_id], "IsDeleted": True}
            self._stamp_row(doomed_table.type, row)
            self._remember(doomed_table, doomed_id)
            doomed_table.discard(row)
        self._org.deleted_with[record_id] = tuple(doomed.items())

    def undelete(self, object_name: str, record_id: str) -> None:
        """Take a record out of the Recycle Bin, and what was deleted along with it."""
        table = self._table(object_name)
        if record_id not in table.bin:
            raise Refusal("UNDELETE_FAILED", "Entity is not in the recycle bin")
        along = self._org.deleted_with.get(record_id, ((record_id, table),))
        returning = [(each_id, each) for each_id, each in along if each_id in each.bin]
        for each_id, each in returning:
            self._check_unique(each, each.bin[each_id], each_id)
        for each_id, each in returning:
            row = {**each.bin[each_id], "IsDeleted": False}
            row.pop("MasterRecordId", None)  # it is no part of another record any more
            self._stamp_row(each.type, row)
            self._remember(each, each_id)
            each.put(row)

    def point(self, table: Table, record_id: str, name: str, value: Stored, *, untold: bool = False) -> None:
        """
        Let a field of a live record have a value, or none. The org does it itself, so nothing is checked.

        With *untold*, no event tells of it.
        """
        if untold:
            self._untold.add((table.type.name, record_id))
        row = dict(table.live[record_id])
        _assign(row, name, value)
        self._stamp_row(table.type, row)
        self._remember(table, record_id)
        table.put(row)

    def rollback(self) -> None:
        """Undo everything; the unit is empty afterwards."""
        for (object_name, record_id), (live, deleted) in reversed(self._before.items()):
            table = self._org.table(object_name)
            table.remove(record_id)
            if live is not None:
                table.put(live)
            elif deleted is not None:
                table.discard(deleted)
        self._before.clear()

    def absorb(self, inner: Unit) -> None:
        """Make what *inner* did a part of this unit; it is committed or undone with it."""
        for key, state in inner._before.items():
            self._before.setdefault(key, state)
        self._untold |= inner._untold

    def changes(self) -> tuple[RecordChange, ...]:
        """
        The net effect on each record, in the order in which they were first touched.

        A write that changes nothing at all, not even the second of its stamp, has none.
        """
        found = []
        for (object_name, record_id), (live, deleted) in self._before.items():
            after = self._org.table(object_name).live.get(record_id)
            if (
                live == after or (object_name, record_id) in self._untold
            ):  # Nothing, or created and deleted again.
                continue
            kind: ChangeType = "UPDATE"
            if live is None:
                kind = "CREATE" if deleted is None else "UNDELETE"
            elif after is None:
                kind = "DELETE"
            found.append(RecordChange(object_name, record_id, kind, live, after))
        return tuple(found)

    def made_here(self, object_name: str, record_id: str) -> bool:
        """Whether this unit created the record."""
        if self._within is not None and self._within.made_here(object_name, record_id):
            return True
        return self._before.get((object_name, record_id)) == (None, None)

    def _put_contact_of(self, account: ObjectType, row: Row) -> None:
        """Let the contact behind a person account follow it."""
        contacts = self._table("Contact")
        contact_id = str(row[person_accounts.CONTACT_ID])
        before = contacts.live.get(contact_id)
        after: dict[str, Stored] = {"Id": contact_id, **(before or contacts.type.defaults)}
        for name, value in person_accounts.contact_of(account, contacts.type, row).items():
            _assign(after, name, value)
        if after != before:
            self._stamp_row(contacts.type, after, created=before is None)
            self._remember(contacts, contact_id)
            contacts.put(after)

    def _table(self, object_name: str) -> Table:
        return self._org.table(object_name)

    def _remember(self, table: Table, record_id: str) -> None:
        state = (table.live.get(record_id), table.bin.get(record_id))
        self._before.setdefault((table.type.name, record_id), state)

    def _said(self, object_type: ObjectType, body: Body, *, creating: bool) -> dict[str, Stored]:
        """What the body sets, as it will be stored."""
        said: dict[str, Stored] = {}
        read_only: list[str] = []
        for key, value in body.items():
            if key == "attributes":
                continue
            field = object_type.field(key)
            if field is None and (parent := object_type.relationship(key)) is not None:
                field, value = parent, self._parent_id(parent, value)  # noqa: PLW2901 - one meaning, found out here
            if field is None:
                raise unknown_field(object_type.name, key)
            if not (field.createable if creating else field.updateable):
                read_only.append(field.name)
            else:
                said[field.name] = stored_value(field, value)
        if read_only:
            refusal = not_writable(", ".join(read_only))
            refusal.fields = read_only
            raise refusal
        return said

    def _parent_id(self, field: Field, value: Any) -> str | None:
        """The id of the parent that a body names by one of its own external ids."""
        if value is None:
            return None
        names = (
            {key: given for key, given in value.items() if key != "attributes"}
            if isinstance(value, dict)
            else {}
        )
        if len(names) != 1:
            raise Refusal(
                "INVALID_FIELD", f"{field.relationship}: name the parent by exactly one external id field"
            )
        [(key, given)] = names.items()
        wanted = (value.get("attributes") or {}).get("type") or field.reference_to[0]
        table = self._org.tables.get(wanted)
        parent_field = None if table is None else table.type.field(key)
        if table is None or parent_field is None or not (parent_field.id_lookup or parent_field.external_id):
            raise Refusal("INVALID_FIELD", f"{key} is not an External ID or indexed field for {wanted}")
        found = table.find(parent_field, stored_value(parent_field, given))
        if not found:
            message = (
                f"Foreign key external ID: {given} not found for field {parent_field.name} in entity {wanted}"
            )
            raise Refusal("INVALID_FIELD", message)
        if len(found) > 1:
            raise Refusal("INVALID_FIELD", f"More than one record found for external id field: {found}")
        return found[0]

    def _automate(
        self, object_type: ObjectType, row: dict[str, Stored], changed: set[str], said: Collection[str]
    ) -> set[str]:
        """Compute what Salesforce computes and run the triggers; return all fields that may have changed."""
        settle_addresses(object_type, row, said)
        derive(object_type, row, changed, said, now=self._stamp)
        touched: set[str] = set()
        for trigger in self._org.triggers:
            if trigger.object_name == object_type.name and trigger.fires_on(said):
                touched |= trigger.run(row)
        if touched:
            derive(object_type, row, touched, touched, now=self._stamp)
        return changed | touched

    def _check(self, table: Table, row: Row, changed: set[str], record_id: str | None) -> None:
        rules.check(
            self._org.rules, table, row, record_id=record_id, changed=changed, options=self._duplicates
        )
        self._check_unique(table, row, record_id)
        if (check := self._org.checks.get(table.type.name)) is not None:
            check(row, record_id)
        for field in table.type.reference_fields:
            value = row.get(field.name)
            if value is not None and field.name in changed:
                if field.name == "RecordTypeId":
                    _check_record_type(table.type, str(value))
                self._check_reference(field, str(value))
                check_hierarchy(table, field, record_id, str(value))

    def _check_unique(self, table: Table, row: Row, record_id: str | None) -> None:
        for field in table.type.unique_fields:
            others = [other for other in table.find(field, row.get(field.name)) if other != record_id]
            if others:
                other = "<unknown>" if self.made_here(table.type.name, others[0]) else others[0][:15]
                message = f"duplicate value found: {field.name} duplicates value on record with id: {other}"
                raise Refusal("DUPLICATE_VALUE", message)

    def _check_reference(self, field: Field, value: str) -> None:
        holder = self._org.by_prefix.get(value[:3])
        if holder is not None and holder.type.name in field.reference_to:
            if value not in holder.live:
                raise invalid_cross_reference()
            self._check_lock(holder.type.name, value)
            return
        if value[:3] == STANDARD_PREFIXES["User"] and "User" in field.reference_to:
            if value not in self._org.users:
                raise invalid_cross_reference()
            return
        # For objects that the simulated org does not have, only the prefix of the id can be checked.
        prefixes = [
            STANDARD_PREFIXES.get(name) for name in field.reference_to if name not in self._org.tables
        ]
        if holder is not None or (None not in prefixes and value[:3] not in prefixes):
            message = f"{field.label}: id value of incorrect type: {value}"
            raise Refusal("FIELD_INTEGRITY_EXCEPTION", message, field.name)

    def _check_lock(self, object_name: str, record_id: str) -> None:
        if (fault := self._org.faults.active("lock_rows", object=object_name, ids=record_id)) is not None:
            raise in_approval() if fault.get("approval") else locked(record_id)

    def _collect(self, table: Table, record_id: str, doomed: dict[str, Table]) -> None:
        """Add the record and everything that is deleted with it."""
        if record_id in doomed:
            return
        doomed[record_id] = table
        for child_table, field in self._org.children(table.type.name):
            if (child_table.type.name, field.name) in table.type.cascades:
                for child_id in child_table.find(field, record_id):
                    self._collect(child_table, child_id, doomed)

    def _forget_lookups(self, table: Table, record_id: str, doomed: Mapping[str, Table]) -> None:
        """Clear the lookups of those that stay behind."""
        for child_table, field in self._org.children(table.type.name):
            for child_id in child_table.find(field, record_id):
                if child_id not in doomed:
                    self.point(child_table, child_id, field.name, None)

    def _stamp_row(self, object_type: ObjectType, row: dict[str, Stored], *, created: bool = False) -> None:
        stamps: dict[str, Stored] = {
            "LastModifiedDate": self._stamp,
            "LastModifiedById": self._user.user_id,
            "SystemModstamp": self._stamp,
        }
        if created:
            stamps |= {"IsDeleted": False, "CreatedDate": self._stamp, "CreatedById": self._user.user_id}
        row.update({name: value for name, value in stamps.items() if object_type.field(name) is not None})


def _check_record_type(object_type: ObjectType, value: str) -> None:
    """The record's kind must be one that the user may choose; the master is none."""
    if not object_type.record_types.get(value):
        message = f"Record Type ID: this ID value isn't valid for the user: {value}"
        raise Refusal("INVALID_CROSS_REFERENCE_KEY", message, "RecordTypeId")


def _assign(row: dict[str, Stored], name: str, value: Stored) -> None:
    if value is None:
        row.pop(name, None)
    else:
        row[name] = value


def _nillable(object_type: ObjectType, name: str) -> bool:
    field = object_type.field(name)
    return field is None or field.nillable


def _required(names: list[str]) -> Refusal:
    return Refusal("REQUIRED_FIELD_MISSING", f"Required fields are missing: [{', '.join(names)}]", *names)
