"""
Decides which readers can read which writers' records, by Avro's rules and the registries' levels. Pure.

Sources: Apache Avro 1.11.1, Specification, Schema Resolution; Confluent Platform, Schema Evolution and Compatibility.
The kinds of incompatibility have the names of Avro's own SchemaCompatibility, which registries show to their users.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from salmon.devstack.avro_types import AvroField, AvroType


class Level(StrEnum):
    """What a subject promises about its versions."""

    NONE = "NONE"
    BACKWARD = "BACKWARD"  # the new version reads what the last one wrote
    BACKWARD_TRANSITIVE = "BACKWARD_TRANSITIVE"  # ... what all earlier ones wrote
    FORWARD = "FORWARD"  # the last version reads what the new one writes
    FORWARD_TRANSITIVE = "FORWARD_TRANSITIVE"
    FULL = "FULL"  # both
    FULL_TRANSITIVE = "FULL_TRANSITIVE"

    @property
    def is_transitive(self) -> bool:
        return self.value.endswith("_TRANSITIVE")

    @property
    def looks_backward(self) -> bool:
        return self.value.startswith(("BACKWARD", "FULL"))

    @property
    def looks_forward(self) -> bool:
        return self.value.startswith(("FORWARD", "FULL"))


@dataclass(frozen=True, slots=True)
class Incompatibility:
    """One reason why a reader cannot read a writer's records. *path* is a JSON pointer into the reader."""

    kind: str
    path: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind} at {self.path or '/'}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Breach:
    """Why a new schema breaks a level's promise towards one earlier version."""

    version: int
    reader: str  # "new" or "old"
    reason: Incompatibility

    def __str__(self) -> str:
        writer = "old" if self.reader == "new" else "new"
        return (
            f"the {self.reader} schema cannot read the {writer} one (version {self.version}): {self.reason}"
        )


def breaches(new: AvroType, earlier: Sequence[tuple[int, AvroType]], level: Level) -> tuple[Breach, ...]:
    """
    Say why *new* may not become the next version; empty if it may.

    Args:
        new: The schema to be registered.
        earlier: The versions of the subject that are not deleted, with their numbers, oldest first.
        level: What the subject promises.
    """
    found: list[Breach] = []
    for version, old in reversed(earlier if level.is_transitive else earlier[-1:]):
        if level.looks_backward:
            found += (Breach(version, "new", reason) for reason in incompatibilities(new, old))
        if level.looks_forward:
            found += (Breach(version, "old", reason) for reason in incompatibilities(old, new))
    return tuple(found)


def incompatibilities(reader: AvroType, writer: AvroType) -> tuple[Incompatibility, ...]:
    """Say why records written with *writer* cannot be read with *reader*; empty if they can."""
    return _Comparison().compare(reader, writer, "")


# Writer -> the readers it is promoted to: Specification, Schema Resolution.
_PROMOTIONS: Final = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}

_Reasons = tuple[Incompatibility, ...]


class _Comparison:
    def __init__(self) -> None:
        # Pairs that are being compared further up: a circular schema is compatible if nothing else speaks against it.
        self._open: set[tuple[int, int]] = set()
        self._by_kind: dict[str, Callable[[AvroType, AvroType, str], _Reasons]] = {
            "record": self._record,
            "enum": self._enum,
            "fixed": self._fixed,
            "array": self._items,
            "map": self._items,
        }

    def compare(self, reader: AvroType, writer: AvroType, path: str) -> _Reasons:
        pair = (id(reader), id(writer))
        if pair in self._open:
            return ()
        self._open.add(pair)
        try:
            return self._compare(reader, writer, path)
        finally:
            self._open.remove(pair)

    def _compare(self, reader: AvroType, writer: AvroType, path: str) -> _Reasons:
        if writer.kind == "union":
            # Whatever the writer may have chosen must be readable.
            found: list[Incompatibility] = []
            for number, branch in enumerate(writer.branches):
                reasons = self.compare(reader, branch, path)
                if reasons and reader.kind == "union":
                    found.append(_missing_branch(branch, f"{path}/{number}"))
                else:
                    found += reasons
            return tuple(found)
        if reader.kind == "union":
            if any(not self.compare(branch, writer, path) for branch in reader.branches):
                return ()
            return (_missing_branch(writer, path),)
        if reader.kind == writer.kind:
            return self._by_kind.get(reader.kind, _same)(reader, writer, path)
        if reader.kind in _PROMOTIONS.get(writer.kind, ()):
            return ()
        detail = f"reader type {reader.kind} not compatible with writer type {writer.kind}"
        return (Incompatibility("TYPE_MISMATCH", path, detail),)

    def _record(self, reader: AvroType, writer: AvroType, path: str) -> _Reasons:
        if reasons := _name_mismatch(reader, writer, path):
            return reasons
        found: list[Incompatibility] = []
        for number, field in enumerate(reader.fields):
            where = f"{path}/fields/{number}"
            written = _written_field(field, writer)
            if written is not None:
                found += self.compare(field.type, written.type, f"{where}/type")
            elif not field.has_default:
                detail = f"the field {field.name!r} has no default value and is missing in the writer"
                found.append(Incompatibility("READER_FIELD_MISSING_DEFAULT_VALUE", where, detail))
        return tuple(found)

    def _enum(self, reader: AvroType, writer: AvroType, path: str) -> _Reasons:
        if reasons := _name_mismatch(reader, writer, path):
            return reasons
        unknown = [symbol for symbol in writer.symbols if symbol not in reader.symbols]
        if not unknown or reader.enum_default is not None:
            return ()
        detail = f"the reader lacks the symbols {', '.join(unknown)} and has no default"
        return (Incompatibility("MISSING_ENUM_SYMBOLS", f"{path}/symbols", detail),)

    def _fixed(self, reader: AvroType, writer: AvroType, path: str) -> _Reasons:
        if reasons := _name_mismatch(reader, writer, path):
            return reasons
        if reader.size == writer.size:
            return ()
        detail = f"expected {reader.size} bytes, found {writer.size}"
        return (Incompatibility("FIXED_SIZE_MISMATCH", f"{path}/size", detail),)

    def _items(self, reader: AvroType, writer: AvroType, path: str) -> _Reasons:
        assert reader.items is not None
        assert writer.items is not None
        word = "items" if reader.kind == "array" else "values"
        return self.compare(reader.items, writer.items, f"{path}/{word}")


def _same(_reader: AvroType, _writer: AvroType, _path: str) -> _Reasons:
    return ()


def _name_mismatch(reader: AvroType, writer: AvroType, path: str) -> _Reasons:
    # "Both schemas are [...] with the same (unqualified) name", or an alias of the reader names the writer's.
    if reader.short_name == writer.short_name or writer.name in reader.aliases:
        return ()
    detail = f"expected {writer.name}, found {reader.name}"
    return (Incompatibility("NAME_MISMATCH", f"{path}/name", detail),)


def _missing_branch(writer: AvroType, path: str) -> Incompatibility:
    detail = f"the reader's union lacks the writer's type {writer.name or writer.kind}"
    return Incompatibility("MISSING_UNION_BRANCH", path, detail)


def _written_field(field: AvroField, writer: AvroType) -> AvroField | None:
    """The writer's field that *field* reads: of its name, or else of one of its aliases."""
    by_name = {written.name: written for written in writer.fields}
    if field.name in by_name:
        return by_name[field.name]
    return next((by_name[alias] for alias in sorted(field.aliases) if alias in by_name), None)
