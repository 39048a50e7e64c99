"""
The values of a write as Salesforce takes them; above all its references: record keys -> Salesforce Ids.

A parent that is created in the same batch is waited for within it; one that is not there at all makes the write
DEFERRED, as a whole: merge parks the fields that wait and sends the rest by itself, as a write of its own, so no
echo can come of a write of which only a part was carried out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from salmon.model.change import Value
from salmon.model.convert import out_of_range, to_rest
from salmon.model.references import target_in
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.plugin.contract import Identities, SinkRecord
from salmon.salesforce.ids import id18, prefix_of

RecordId = tuple[str, str]  # object, record key

_CREATED_MAX: Final = 100_000  # records of our making whose identity may not have come round yet


@dataclass(frozen=True, slots=True)
class Body:
    """The fields of a write in REST's terms, and what it waits for."""

    fields: Mapping[str, Any]
    missing: Mapping[
        str, tuple[RecordId, ...]
    ]  # reference field -> the parent (for several targets: any of them)
    unknown: tuple[str, ...] = ()  # fields that the object did not have when we started
    out_of_range: tuple[str, ...] = ()  # fields whose value Salesforce cannot hold


class References:
    """Record keys to Ids, both those that came round by `identity` and those that we have just made."""

    def __init__(self, schemas: Mapping[str, ObjectSchema], identities: Identities) -> None:
        self._schemas = schemas
        self._identities = identities
        self._prefixes = {schema.key_prefix: name for name, schema in schemas.items() if schema.key_prefix}
        # (object, key) -> the Id we made, and the one that `identity` knew then: with another, it knows better.
        self._created: OrderedDict[RecordId, tuple[str, str | None]] = OrderedDict()

    def created(self, record: RecordId, native_id: str) -> None:
        """Note the Id of a record that we have just created."""
        self._created[record] = native_id, self._identities.native_id(*record)
        self._created.move_to_end(record)
        while len(self._created) > _CREATED_MAX:
            self._created.popitem(last=False)

    def native_id(self, record: RecordId) -> str | None:
        """The Id of the record with this key, as far as is known; its key, if that is an Id of its object."""
        known = self._identities.native_id(*record)
        made = self._created.get(record)
        if made is not None:
            if made[1] == known:
                return made[0]
            del self._created[record]
        return known if known is not None else self.own_id(record)

    def carried(self, record: RecordId) -> bool:
        """Whether a record is known, or was, that carries this key in its marker field."""
        return record in self._created or self._identities.native_id(*record) is not None

    def own_id(self, record: RecordId) -> str | None:
        """The record's key, if that is an Id of its object: that of a record born in Salesforce."""
        name, key = record
        return key if id18(key) == key and self._prefixes.get(prefix_of(key)) == name else None

    def body(self, name: str, fields: Mapping[str, Value], in_batch: Collection[RecordId] = ()) -> Body:
        """
        The fields of a write to the object *name*.

        Args:
            name, fields: The write's.
            in_batch: Records that this batch is still to create: whoever refers to them has to wait.
        """
        schema = self._schemas[name]
        shown: dict[str, Any] = {}
        missing: dict[str, tuple[RecordId, ...]] = {}
        unknown = tuple(field_name for field_name in fields if field_name not in schema.by_name)
        beyond: list[str] = []
        for field_name, value in fields.items():
            field = schema.by_name.get(field_name)
            if field is None:
                continue
            if value is None and not field.nillable:
                # The org refuses null there. A checkbox that is missing is false; of the others nothing is said.
                if field.kind is Kind.BOOLEAN:
                    shown[field_name] = False
                continue
            if out_of_range(field, value):
                beyond.append(field_name)
                continue
            parents = self.parents(field, value)
            if not parents:
                shown[field_name] = to_rest(field, value)
                continue
            awaited = any(parent in in_batch for parent in parents)
            native_id = None if awaited else self._resolve(field, parents)
            if native_id is None:
                missing[field_name] = parents
            else:
                shown[field_name] = native_id
        return Body(shown, missing, unknown, tuple(beyond))

    def parents(self, field: FieldSchema, value: Value) -> tuple[RecordId, ...]:
        """The records of the sync that a value may refer to: more than one only where nobody has said which object it is."""
        if not (field.reference_to and isinstance(value, str)):
            return ()
        target = target_in(field, value)
        names = (target.type,) if target.type else field.reference_to
        return tuple((name, target.key) for name in names if name in self._schemas)

    def meant(self, record: SinkRecord) -> Mapping[str, RecordId]:
        """The references of a write of which it is known which record of the sync they refer to."""
        found = {
            field.name: parents
            for field in self._schemas[record.object].references
            if len(parents := self.parents(field, record.write.fields.get(field.name))) == 1
        }
        return {field_name: parents[0] for field_name, parents in found.items()}

    def _resolve(self, field: FieldSchema, parents: tuple[RecordId, ...]) -> str | None:
        for parent in parents:
            if (native_id := self.native_id(parent)) is not None:
                return native_id
        value = parents[0][1]
        whole = id18(value)
        if whole is None:
            return None
        target = self._prefixes.get(prefix_of(value))
        if target is not None:
            # Its 15 characters, as people copy them, are as good as its 18. An Id of another object is no parent.
            return whole if target in field.reference_to else None
        # The field may point at objects that are not synced, too. Any 15 letters and digits look like an Id: where
        # all its objects are synced, they are the key of a parent that is still to come.
        elsewhere = any(name not in self._schemas for name in field.reference_to)
        return whole if elsewhere or whole == value else None


def depths(schemas: Mapping[str, ObjectSchema]) -> dict[str, int]:
    """
    How many synced objects stand above each in the chain of references. Where references go in a circle, those of
    standard fields (Contact.AccountId) count before those that somebody added.
    """
    above: dict[str, set[str]] = {name: set() for name in schemas}

    def all_above(name: str) -> set[str]:
        return {name}.union(*(all_above(parent) for parent in above[name]))

    for custom in (False, True):
        for name, schema in schemas.items():
            for field in schema.references:
                for target in field.reference_to:
                    if (
                        field.name.endswith("__c") is custom
                        and target in above
                        and name not in all_above(target)
                    ):
                        above[name].add(target)
    return {name: len(all_above(name)) for name in schemas}
