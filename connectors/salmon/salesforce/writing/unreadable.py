"""
Records that the org cannot read: which of their fields are at fault.

The org need not say. They are found by halving what is sent to a record that does not exist: the org reads it, and carries
nothing out. Where a batch has many such records, those that are not looked into are left for the next one: none is refused for
a field that nobody looked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from salmon.errors import RequestRejected
from salmon.model.schema import ObjectSchema
from salmon.salesforce.ids import ID_CHARS_SHORT, id18
from salmon.salesforce.troubles import ObjectRefused
from salmon.salesforce.wire.codes import HALTED, UNKNOWN_FIELD, UNREADABLE
from salmon.salesforce.wire.rest import RowError, RowResult

# Calls to find the fields of one record that the org cannot read; and of a batch, after which no further record is begun.
_PROBES_MAX: Final = 128


class Updating(Protocol):
    """What is asked of Rest."""

    def update(self, records: Sequence[Mapping[str, Any]]) -> Sequence[RowResult]: ...


class UnreadableFields:
    """Those of one batch. Made for it, used once."""

    def __init__(self, org: Updating, schemas: Mapping[str, ObjectSchema]) -> None:
        self._org, self._schemas = org, schemas
        self._not_there: set[tuple[str, str]] = set()  # object, field: found out in this batch
        self._probes = 0

    def named(self, result: RowResult, body: Mapping[str, Any]) -> RowResult:
        """
        The result; where the org could not read the record and does not say why, with the fields that are at fault.

        Of a record that is left for the next batch, the result says that it was given up.

        Raises ObjectRefused where it is one of the marker fields: no write of the object can be carried out then.
        """
        code = next((error.code for error in result.errors if not error.fields), "")
        schema = self._schemas[body["attributes"]["type"]]
        if code not in UNREADABLE or schema.key_prefix is None:
            return result
        names = [name for name in body if name in schema.by_name]
        # What the object does not have, no other record of the batch need look for.
        found = tuple(name for name in names if (schema.name, name) in self._not_there)
        if not found:
            if self._probes >= _PROBES_MAX:
                return replace(result, errors=(RowError(HALTED),))
            found = self._found(schema, body, names, code)
            if code == UNKNOWN_FIELD:
                self._not_there.update((schema.name, name) for name in found)
        return replace(result, errors=(RowError(code, found),))

    def _found(
        self, schema: ObjectSchema, body: Mapping[str, Any], names: Sequence[str], code: str
    ) -> tuple[str, ...]:
        nobody = id18((schema.key_prefix or "").ljust(ID_CHARS_SHORT, "0"))
        frame = {"attributes": body["attributes"], "Id": nobody}
        last = self._probes + _PROBES_MAX

        def is_read(some: Mapping[str, Any]) -> bool:
            """False when too much was asked."""
            return self._probes < last and self._is_read({**frame, **some}, code)

        def at_fault(some: Sequence[str]) -> tuple[str, ...]:
            if not some or is_read({name: body[name] for name in some}):
                return ()
            if len(some) == 1 or self._probes >= last:
                return tuple(some)
            middle = len(some) // 2
            return (*at_fault(some[:middle]), *at_fault(some[middle:]))

        if not is_read({}):
            return ()
        found = at_fault(names)
        if not found and (markers := at_fault([name for name in body if name in schema.markers.names])):
            words = f"it has no field {' or '.join(markers)}, or hides it from the integration user"
            raise ObjectRefused(schema.name, RequestRejected(words, code=code, words=words))
        return found

    def _is_read(self, body: Mapping[str, Any], code: str) -> bool:
        """Whether the org can read a record: what it cannot read, it refuses with *code*."""
        self._probes += 1
        try:
            [result] = self._org.update([body])
        except RequestRejected:
            return False
        return code not in {error.code for error in result.errors}
