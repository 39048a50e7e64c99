"""
How a change event's payload is laid out: which of its fields, or members of compounds, is which field of REST.

Pure. Sources: Change Data Capture Developer Guide, "Change Event Fields", "Change Event Body Fields"; Pub/Sub API,
"Event Deserialization Considerations" (bitmaps); Object Reference, "Compound Fields".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from salmon.errors import SchemaMismatch
from salmon.model.people import FLAG

_EVENT_SUFFIX: Final = "ChangeEvent"
_HEADER: Final = "ChangeEventHeader"


@dataclass(frozen=True, slots=True)
class Slot:
    """One field of the event's record. *members*: those of a compound, as REST names; () for a plain field."""

    name: str
    plain: bool  # shown as a value of its own (also by the union of Account.Name: text or a person's name)
    members: tuple[tuple[str, str], ...] = ()  # (name in the event, name in REST), in the compound's order

    @property
    def of_two_kinds(self) -> bool:
        """Whether it is a text in one record and a compound in another: so it tells which kind of record it is."""
        return self.plain and bool(self.members)

    def rest_names(self) -> Iterator[str]:
        if self.plain:
            yield self.name
        for _, rest_name in self.members:
            yield rest_name
        if self.of_two_kinds:
            yield FLAG


@dataclass(frozen=True)
class EventLayout:
    """The layout that one event schema gives. Slot 0 is the header, so that bits number the slots."""

    object: str
    slots: tuple[Slot, ...]

    @cached_property
    def live(self) -> frozenset[str]:
        """The REST names of the fields whose changes the events carry."""
        return frozenset(name for slot in self.slots[1:] for name in slot.rest_names())

    @cached_property
    def has_two_kinds(self) -> bool:
        """Whether a field of the events tells which kind of record it is of."""
        return any(slot.of_two_kinds for slot in self.slots)

    def named(self, bitmaps: Sequence[str]) -> frozenset[str]:
        """
        The REST names of the fields that bitmaps name.

        Each is "0x<hex>", bit i for field i of the record, or "<i>-0x<hex>", bit j for member j of field i. Any of
        them may be missing, the top-level one too. A top-level bit of a compound stands for all its members.

        Raises:
            SchemaMismatch: a bitmap that cannot be read, or that names a field that the schema lacks.
        """
        names: set[str] = set()
        for bitmap in bitmaps:
            parent, dash, bits = bitmap.rpartition("-")
            try:
                if dash:
                    slot = self.slots[int(parent)]
                    names.update(slot.members[bit][1] for bit in _bits(bits))
                    names.update((FLAG,) if slot.of_two_kinds else ())
                else:
                    for bit in _bits(bits):
                        names.update(self.slots[bit].rest_names())
            except (ValueError, IndexError) as error:
                raise SchemaMismatch(
                    f"{self.object}: a change event names fields as {bitmap}, which its schema lacks. The record"
                    " is read instead."
                ) from error
        return frozenset(names)

    def is_unclear(self, payload: Mapping[str, Any], bitmaps: Sequence[str]) -> bool:
        """Whether bitmaps name a field of two kinds that the payload does not show: it may be either, with any value."""
        return any(
            slot.of_two_kinds
            and payload.get(slot.name) is None
            and any(_names_slot(bitmap, number) for bitmap in bitmaps)
            for number, slot in enumerate(self.slots)
        )

    def parts_of(self, payload: Mapping[str, Any]) -> frozenset[str]:
        """The REST names of the members of a compound that stands in the place of a text: a person's name."""
        return frozenset(
            rest_name
            for slot in self.slots
            if slot.of_two_kinds and isinstance(payload.get(slot.name), Mapping)
            for _, rest_name in slot.members
        )

    def values(self, payload: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """Every REST name with what the payload shows for it, nulls included."""
        for slot in self.slots[1:]:
            shown = payload.get(slot.name)
            if slot.of_two_kinds and shown is not None:
                yield FLAG, isinstance(shown, Mapping)
            if isinstance(shown, Mapping):
                for event_name, rest_name in slot.members:
                    yield rest_name, shown.get(event_name)
            elif slot.plain:
                yield slot.name, shown
            else:
                for _, rest_name in slot.members:
                    yield rest_name, None


def object_of(schema: Mapping[str, Any]) -> str:
    """The object whose events a schema describes: AccountChangeEvent, My__ChangeEvent -> Account, My__c."""
    name = str(schema.get("name", ""))
    stem = name.removesuffix(_EVENT_SUFFIX)
    return f"{stem}c" if stem.endswith("__") else stem


def channel_of(name: str) -> str:
    """The topic of one object's change events: Account, My__c -> /data/AccountChangeEvent, /data/My__ChangeEvent."""
    stem = name.removesuffix("c") if name.endswith("__c") else name
    return f"/data/{stem}{_EVENT_SUFFIX}"


def layout_of(schema: Mapping[str, Any]) -> EventLayout:
    """
    The layout of an event schema as GetSchema gives it (parsed JSON).

    Raises:
        SchemaMismatch: it is not the schema of a change event.
    """
    fields = schema.get("fields") or [{}]
    if fields[0].get("name") != _HEADER:
        raise SchemaMismatch(
            f"{schema.get('name')!r} is not the schema of a change event: it has no {_HEADER}."
        )
    records: dict[str, Mapping[str, Any]] = {}
    slots = [Slot(_HEADER, plain=False)]
    for field in fields[1:]:
        branches = field["type"] if isinstance(field["type"], list) else [field["type"]]
        compound = _record_of(branches[-1], records)
        plain = compound is None or any(branch not in ("null", branches[-1]) for branch in branches)
        members = compound["fields"] if compound is not None else ()
        slots.append(
            Slot(
                field["name"],
                plain,
                tuple((member["name"], component_name(field["name"], member["name"])) for member in members),
            )
        )
    return EventLayout(object_of(schema), tuple(slots))


def component_name(compound: str, member: str) -> str:
    """
    The REST name of a compound's member: BillingAddress.City is BillingCity, Address.City (Lead) is City,
    Name.FirstName is FirstName, Site__c.Latitude is Site__Latitude__s.
    """
    if compound.endswith("__c"):
        return f"{compound.removesuffix('c')}{member}__s"
    if compound.endswith("__pc"):
        return f"{compound.removesuffix('pc')}{member}__ps"
    return member if compound == "Name" else f"{compound.removesuffix('Address')}{member}"


def _record_of(branch: Any, records: dict[str, Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The record that a union's branch is: defined where it is first used, later named."""
    if isinstance(branch, dict) and branch.get("type") == "record":
        records[branch["name"]] = branch
        return branch
    return records.get(branch.rpartition(".")[2]) if isinstance(branch, str) else None


def _names_slot(bitmap: str, number: int) -> bool:
    parent, dash, bits = bitmap.rpartition("-")
    return parent == str(number) if dash else number in _bits(bits)


def _bits(text: str) -> list[int]:
    number = int(text, 16)
    return [bit for bit in range(number.bit_length()) if number >> bit & 1]
