"""
Fills an org with plausible records, as if they had always been there: no events, no triggers, no API calls.

The same seed gives the same records for the same describes, except for their stamps, which count back from now.
Objects that are not known here are filled by the types of their fields.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from salmon.simulator.org.clock import datetime_text, whole_second_ms
from salmon.simulator.org.objects.describes import MARKER_FIELDS
from salmon.simulator.org.objects.object_types import TEXT_TYPES, Field
from salmon.simulator.org.org import Org
from salmon.simulator.org.saving import person_accounts
from salmon.simulator.org.saving.derived import derive
from salmon.simulator.org.table import Table
from salmon.simulator.org.transaction import Stored
from salmon.simulator.seed import vocabulary

Row = dict[str, Stored]
Maker = Callable[[Row], Stored]

_HISTORY_S = 700 * 24 * 3600
_PACKED_FROM = 50_000  # so many records of an object are worth a slower read
_EARLIER_MAX = 300  # so many records of an object are pointed at by later ones of the same object
# Names that only the platform or Salmon fills, though the describe lets everybody.
_MARKERS = frozenset(field["label"] for field in MARKER_FIELDS)  # whatever their names are
_LEFT_ALONE = (
    "Jigsaw",
    "EmailBounced",
    "RecordTypeId",
    "Latitude",
    "Longitude",
    "GeocodeAccuracy",
)


def load(org: Org, records: Mapping[str, int], seed: int = 0) -> None:
    """
    Put so many records of each object into *org*, parents before children.

    Args:
        org: Records that it holds already stay, and are parents too.
        records: Object name -> how many; every object must be one of the org's (KeyError otherwise).
        seed: Chooses the records.
    """
    with org.lock:
        for name in _parents_first(org, records):
            if records[name] >= _PACKED_FROM:
                org.tables[name].pack()
            _Loader(org, org.tables[name], random.Random(f"{seed}/{name}")).load(records[name])


class _Loader:
    def __init__(self, org: Org, table: Table, rng: random.Random) -> None:
        self._org = org
        self._table = table
        self._type = table.type
        self._rng = rng
        self._earlier: list[str] = list(table.live)[:_EARLIER_MAX]
        self._now_s = whole_second_ms(org.clock.now_ms()) // 1000
        self._today = datetime.fromtimestamp(self._now_s, UTC).date()
        self._makers = [
            (field.name, self._fill_rate(field), maker)
            for field in self._type.stored_fields
            if field.createable and (maker := self._maker(field)) is not None
        ]

    def load(self, count: int) -> None:
        """Add *count* records."""
        rng, table, owners = self._rng, self._table, list(self._org.users)
        draw = rng.random
        auto_numbered = [field.name for field in self._type.stored_fields if field.auto_number]
        for _ in range(count):
            row: Row = {"Id": table.new_id(), **self._type.defaults}
            vocabulary.add_identity(rng, self._type, row)
            for name, rate, maker in self._makers:
                if name not in row and draw() < rate:
                    value = maker(row)
                    if value is not None:
                        row[name] = value
            created_s = self._now_s - rng.randrange(3600, _HISTORY_S)
            modified_s = rng.randrange(created_s, self._now_s - 600)
            owner = rng.choice(owners)
            created, modified = datetime_text(created_s * 1000), datetime_text(modified_s * 1000)
            stamps: Row = {
                "OwnerId": owner, "IsDeleted": False, "CreatedDate": created, "CreatedById": owner,
                "LastModifiedDate": modified, "LastModifiedById": rng.choice(owners), "SystemModstamp": modified,
            }  # fmt: skip
            row.update({name: value for name, value in stamps.items() if self._type.field(name) is not None})
            for name in auto_numbered:
                row[name] = table.next_auto_number()
            derive(self._type, row, row, (), now=modified)
            table.put(row)
            if len(self._earlier) < _EARLIER_MAX:
                self._earlier.append(str(row["Id"]))

    def _fill_rate(self, field: Field) -> float:
        if not field.nillable or field.compound:
            return 1.0
        if field.name == "AccountId":
            return 0.95
        if field.name.endswith("__c") or field.type in {"url", "textarea"}:
            return 0.35
        return 0.75

    def _maker(self, field: Field) -> Maker | None:
        """How values of *field* are made; None for one that stays empty."""
        rng, name = self._rng, field.name
        if (
            any(part in name for part in _LEFT_ALONE)
            or field.label in _MARKERS
            or (self._type.has_person_accounts and person_accounts.is_of_persons(name))
        ):
            return None
        if (known := vocabulary.maker_for(rng, self._type, field)) is not None:
            return known
        if field.type == "reference":
            return self._reference(field)
        if field.type == "picklist":
            values = field.picklist_values
            return (lambda _row: rng.choice(values)) if values else None
        if field.type == "multipicklist":
            values = field.picklist_values
            return (
                (lambda _row: ";".join(v for v in values if rng.random() < 0.4) or None) if values else None
            )
        if field.type == "boolean":
            return lambda _row: rng.random() < 0.2
        if field.type == "int":
            largest = min(10 ** (field.digits or 8) - 1, 50_000)
            return lambda _row: rng.randint(1, largest)
        if field.type == "percent":
            return lambda _row: float(rng.randint(0, 100))
        if field.type in {"double", "currency"}:
            whole = min(10 ** max(field.precision - field.scale, 1) - 1, 2_000_000)
            scale = min(field.scale, 2)
            return lambda _row: round(rng.uniform(0, whole), scale)
        if field.type == "date":
            return lambda _row: (self._today + timedelta(days=rng.randint(-700, 200))).isoformat()
        if field.type == "datetime":
            return lambda _row: datetime_text((self._now_s - rng.randrange(_HISTORY_S)) * 1000)
        if field.type == "time":
            return lambda _row: f"{rng.randrange(24):02d}:{rng.randrange(60):02d}:00.000Z"
        if field.type in TEXT_TYPES:
            return self._text(field)
        return None

    def _text(self, field: Field) -> Maker:
        rng, length = self._rng, field.length or 40
        if field.unique or field.external_id:
            prefix = "".join(char for char in field.name if char.isupper())[:4]
            return lambda row: f"{prefix}-{row['Id']}"[:length]
        return lambda _row: vocabulary.phrase(rng, length)

    def _reference(self, field: Field) -> Maker | None:
        holders = [self._org.tables[name] for name in field.reference_to if name in self._org.objects]
        rng, candidates = self._rng, [record_id for holder in holders for record_id in holder.live]
        if field.name == "OwnerId":
            return None  # set with the stamps
        if self._table in holders:  # Trees: a few records point at earlier ones.
            earlier = self._earlier
            return lambda _row: rng.choice(earlier) if earlier and rng.random() < 0.1 else None
        return (lambda _row: rng.choice(candidates)) if candidates else None


def _parents_first(org: Org, records: Mapping[str, int]) -> list[str]:
    order: list[str] = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in order or name in path:
            return
        for field in org.types[name].reference_fields:
            for parent in field.reference_to:
                # A parent that can itself belong to this object (Account.Primary_Contact__c) waits for it in vain.
                if parent in records and parent != name and field.name == f"{parent}Id":
                    visit(parent, (*path, name))
        order.append(name)

    for name in records:
        visit(name, ())
    return order
