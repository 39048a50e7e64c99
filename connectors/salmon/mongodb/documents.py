"""
Converts between a document and fields, for one object. Pure.

    {_id: RECORD, Name: "Acme", OwnerId: "005...", ..., _salmon: {seq: 7, salesforce_id: "001...", error: "..."}}

Fields are at the top level under their Salesforce names, in the schema's order, or at the paths that the configuration
gives them (salmon.mongodb.paths). Everything else in a document belongs to the application, and is neither read nor
changed: also what is beside a field in a sub-document. What is in the way of a path (text where a sub-document should be) is
a value that does not fit, for each field below it: it says nothing about them. A reference to an object of the sync is the target's `_id` in its own
type, so that $lookup works; as a field it is the target's record key. What a lookup to several objects holds:
salmon.mongodb.targets.

The configuration may give fields other types in documents, and documents constants (salmon.transforms): the constants are set with
each write, and what an application makes of one is nobody's edit.

A field that is null is left out of a document, and cleared by $unset, so that documents stay small. For Salmon, a field
that is null and one that is missing are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from bson.decimal128 import Decimal128
from bson.int64 import Int64

from salmon.errors import DataError, SchemaMismatch
from salmon.model.change import ERROR, OWNED_BY_MERGE, PLACE, SALESFORCE_ID, Value
from salmon.model.convert import cut_by, from_document, to_document
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.mongodb.forms import as_moved, steps_of
from salmon.mongodb.keys import id_of, key_of
from salmon.mongodb.mismatches import blocked, explained, misformed, spoken
from salmon.mongodb.paths import (
    MARKER,
    PLAIN,
    above_of,
    at,
    in_the_way,
    mark_of,
    put,
    require_distinct,
    tops_of,
)
from salmon.mongodb.plain import PLAIN_TYPES
from salmon.mongodb.targets import shown_target, target_shown
from salmon.transforms.bound import NOTHING, Bound

if TYPE_CHECKING:
    # Every process reads the configuration, which knows documents; only some talk to MongoDB.
    from salmon.mongodb.wire.client import Document

SEQ: Final = "seq"
SEQ_PATH: Final = f"{MARKER}.{SEQ}"
# Marks a step on the way to a write: see salmon.mongodb.writing.unique_values.
STEP: Final = "step"
STEP_PATH: Final = f"{MARKER}.{STEP}"
# Which form the document has: see salmon.mongodb.paths.mark_of. Left out of documents whose fields have their own names.
PATHS: Final = "paths"
PATHS_PATH: Final = f"{MARKER}.{PATHS}"
# When a move found another value at the new path of a field than at its old one: see salmon.mongodb.forms.
FOUND: Final = "found"
FOUND_PATH: Final = f"{MARKER}.{FOUND}"
# The properties that merge owns -> their names below the marker. Where a document is, it does not say itself.
OWNED: Final[Mapping[str, str]] = {SALESFORCE_ID: "salesforce_id", ERROR: "error"}


@dataclass(frozen=True, slots=True)
class Reading:
    """
    What a document holds: its fields without nulls (but always with merge's own properties), the values that do not fit,
    and the fields of which a part was left out.
    """

    fields: Mapping[str, Value]
    misfits: Mapping[str, DataError]
    cut: frozenset[str] = frozenset()


@dataclass(frozen=True)
class DocumentShape:
    """
    The form of one object's documents.

    Args:
        schema: The object's synced fields.
        synced: Names of all objects of the sync: a reference to one of them holds an `_id`.
        renamed: Where fields are that are not under their own names: field -> path. Fields that are not synced do not count.
        flow: Types that fields have in documents instead of their own, and constants.
        former: Field -> where it was, of the fields that moved last (see salmon.mongodb.forms). A document of ours that has not the
            mark of this form is read as it will be when it is moved.
        moving: Whether documents without a marker are also still to be moved.
        placed: Whether the object has several collections.
    """

    schema: ObjectSchema
    synced: frozenset[str]
    renamed: Mapping[str, str] = field(default_factory=dict)
    flow: Bound = NOTHING
    former: Mapping[str, str] = field(default_factory=dict)
    moving: bool = False
    placed: bool = False

    def require_distinct(self) -> DocumentShape:
        """Return it. Raises ConfigError if fields are in each other's way."""
        require_distinct(self.schema.name, self.path)
        return self

    @cached_property
    def path(self) -> Mapping[str, str]:
        """Field -> where it is in a document."""
        return {field.name: self.renamed.get(field.name, field.name) for field in self.schema.fields}

    @cached_property
    def by_path(self) -> Mapping[str, str]:
        """The inverse of path."""
        return {path: name for name, path in self.path.items()}

    @cached_property
    def below(self) -> Mapping[str, tuple[str, ...]]:
        """Sub-document -> the fields within it, however deep."""
        within: dict[str, list[str]] = {}
        for name, path in self.path.items():
            for above in above_of(path):
                within.setdefault(above, []).append(name)
        return {above: tuple(names) for above, names in within.items()}

    @cached_property
    def tops(self) -> frozenset[str]:
        """The document's own properties that hold fields, or sub-documents with fields."""
        return frozenset(tops_of(self.by_path))

    def fields_at(self, paths: Iterable[str]) -> frozenset[str]:
        """The fields that a document has at these paths, around them or within them."""
        found: set[str] = set()
        for path in paths:
            found.update(self.by_path[each] for each in (*above_of(path), path) if each in self.by_path)
            found.update(self.below.get(path, ()))
        return frozenset(found)

    def words_for(self, paths: Iterable[str]) -> str:
        """The paths for an error: with Salesforce's name of a field that has another one there."""
        return ", ".join(
            self._spoken[self.by_path[path]].name if path in self.by_path else path for path in paths
        )

    @cached_property
    def _spoken(self) -> Mapping[str, FieldSchema]:
        """Field -> the same, under the name by which an error should call it."""
        return {name: spoken(self.schema.by_name[name], path) for name, path in self.path.items()}

    @cached_property
    def mark(self) -> str:
        return mark_of(self.renamed)

    @cached_property
    def names(self) -> frozenset[str]:
        """All fields of a record in MongoDB, including merge's own properties."""
        own = OWNED_BY_MERGE if self.placed else OWNED_BY_MERGE - {PLACE}
        return frozenset(self.schema.by_name) | own

    @cached_property
    def links(self) -> frozenset[str]:
        """The fields that refer to records of the sync."""
        return frozenset(
            field.name for field in self.schema.references if self.synced.intersection(field.reference_to)
        )

    @cached_property
    def plain(self) -> Mapping[str, type]:
        """
        Fields of the document's own whose values need no conversion if salmon.mongodb.plain.as_it_is() says so of this type. A reader of
        thousands of documents takes them without value_in().
        """
        apart = self.links | self.flow.forms.keys()
        return {
            field.name: kind
            for field in self.schema.fields
            if (kind := PLAIN_TYPES.get(field.kind)) is not None
            and not field.is_polymorphic
            and field.name not in apart
            and "." not in self.path[field.name]
        }

    @cached_property
    def projection(self) -> Mapping[str, int]:
        """The parts of a document that a read must return."""
        # A sub-document as a whole: of one that is text, a projection on what is below it would show nothing.
        paths = [*self.by_path, *self.former.values()]
        return {"_id": 1, **dict.fromkeys(tops_of(paths), 1), MARKER: 1}

    def reading(self, document: Mapping[str, Any]) -> Reading:
        """Take the synced fields from a whole document."""
        fields: dict[str, Value] = {}
        misfits: dict[str, DataError] = {}
        cut: set[str] = set()
        document = self.settled(document)
        for name, shown in self._held(document):
            try:
                value = self.value_in(document, name, shown)
            except DataError as misfit:
                misfits[name] = misfit
            else:
                if value is not None:
                    fields[name] = value
                if cut_by(self.schema.by_name[name], shown):
                    cut.add(name)
        fields.update(owned_of(document.get(MARKER)))
        return Reading(fields, misfits, frozenset(cut))

    def settled(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the document in this form, if it may be one of the form before."""
        if not self.former or not self.is_former(document):
            return document
        return as_moved(document, steps_of(document, self.former, self.path))

    def is_former(self, document: Mapping[str, Any]) -> bool:
        """Whether the document may have the form before."""
        return mark_in(document) != self.mark and (self.moving or marker_of(document) is not None)

    def _held(self, document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """Each field that the document may have a value for, with what is at its path."""
        by_path, below = self.by_path, self.below
        for top, shown in document.items():
            if top in by_path:
                yield by_path[top], shown
            elif top in below:
                for name in below[top]:
                    yield name, at(document, self.path[name])

    def value_in(self, document: Mapping[str, Any], name: str, shown: Any) -> Value:
        """
        Convert what a document shows at a field's path to a value.

        Raises:
            SchemaMismatch: it does not fit, or something on the way to it is no document. BadRecordKey: see value.
        """
        path = self.path[name]
        if shown is None and "." in path and (blocker := in_the_way(document, path)) is not None:
            raise blocked(self._spoken[name], *blocker)
        return self.value(name, shown)

    def value(self, name: str, shown: Any) -> Value:
        """
        Convert what a document shows for a field to a value.

        Raises:
            SchemaMismatch: it does not fit the field's type.
            BadRecordKey: a reference that cannot be the key of any record.
        """
        if shown is None or shown == "":
            return None
        field = self._spoken[name]
        if field.is_polymorphic:
            return target_shown(field, shown, synced=self.synced)
        if name in self.links:
            return key_of(shown)
        if isinstance(shown, Decimal128):
            shown = shown.to_decimal()
        if (form := self.flow.forms.get(name)) is not None:
            try:
                return form.value(field, shown)
            except SchemaMismatch:
                # A document from before the field had this form, or an application that writes the field's own type.
                return self._in_own_form(field, shown, misformed(field, shown, form.expected))
        try:
            value = from_document(field, shown)
        except SchemaMismatch as error:
            raise explained(field, shown, error) from None
        for text in (value,) if isinstance(value, str) else value if isinstance(value, tuple) else ():
            if not text.isascii():
                _require_unicode(field, text)
        return value

    @staticmethod
    def _in_own_form(field: FieldSchema, shown: Any, otherwise: SchemaMismatch) -> Value:
        try:
            return from_document(field, shown)
        except SchemaMismatch:
            raise otherwise from None

    def shown(self, name: str, value: Value) -> Any:
        """
        Convert a value that is not null to what a document holds.

        Raises:
            SchemaMismatch: the schema does not have the field, or BSON cannot hold the value.
            BadRecordKey: a reference that is not a record key.
        """
        field = self.schema.by_name.get(name)
        if field is None:
            raise SchemaMismatch(
                f"{self.schema.name}.{name} is in the write, but not in the schema. Restart the sink."
            )
        if field.is_polymorphic and isinstance(value, str):
            return shown_target(field, value)
        if name in self.links and isinstance(value, str):
            return id_of(value)
        if (form := self.flow.forms.get(name)) is not None:
            held = form.shown(field, value)
            if isinstance(held, Decimal):
                return Decimal128(held)
            return Int64(held) if form.long else held
        try:
            held = to_document(field, value)
            if field.kind is Kind.DECIMAL:
                return Decimal128(held)
        except ArithmeticError:
            raise SchemaMismatch(
                f"{self.schema.name}.{name} has a value that BSON's {field.kind.value} cannot hold. Correct it in Salesforce."
            ) from None
        return Int64(held) if field.kind is Kind.LONG else held

    def document(self, key: str, fields: Mapping[str, Value], seq: int) -> Document:
        """Return the document of a new record."""
        marker: Document = {SEQ: Int64(seq)}
        for name, below in OWNED.items():
            if (value := fields.get(name)) is not None:
                marker[below] = value
        if self.mark:
            marker[PATHS] = self.mark
        document: Document = {"_id": id_of(key)}
        for path, shown in self._shown_in_order(fields).items():
            put(document, path, shown)
        return {**document, **self.flow.constants, MARKER: marker}

    def update(self, fields: Mapping[str, Value], seq: int) -> Document:
        """Return the update that sets *fields*, clears those that are null, and leaves the rest, also in their sub-documents."""
        owned = {f"{MARKER}.{OWNED[name]}": fields[name] for name in OWNED if name in fields}
        update: Document = {
            "$set": {
                **self._shown_in_order(fields),
                **self.flow.constants,
                **{path: value for path, value in owned.items() if value is not None},
                SEQ_PATH: Int64(seq),
                **({PATHS_PATH: self.mark} if self.mark else {}),
            }
        }
        cleared = [
            self.path.get(name, name)
            for name, value in fields.items()
            if value is None and name not in OWNED_BY_MERGE
        ]
        cleared += [path for path, value in owned.items() if value is None]
        if cleared:
            update["$unset"] = dict.fromkeys(cleared, "")
        return update

    def edited(self, fields: Mapping[str, Value]) -> Document:
        """
        Return the update by which an application sets *fields* and clears those that are null. It leaves the marker alone, so it is nobody's
        echo. Empty if there are no fields.
        """
        cleared = {self.path[name]: "" for name, value in fields.items() if value is None}
        shown = self._shown_in_order(fields)
        return {**({"$set": shown} if shown else {}), **({"$unset": cleared} if cleared else {})}

    def born(self, document_id: Any, fields: Mapping[str, Value]) -> Document:
        """Return the document of a record that an application creates. It has no marker, since Salmon has not written it."""
        document: Document = {"_id": document_id}
        for path, shown in self._shown_in_order(fields).items():
            put(document, path, shown)
        return {**document, **self.flow.constants}

    def whole_update(
        self, fields: Mapping[str, Value], seq: int, knows: frozenset[str] | None = None
    ) -> Document:
        """
        Return the update after which a document holds *fields* and no other field of the schema.

        Args:
            knows: The fields that the write's writer knew, if it did not know all of them. The others are not changed.
        """
        known = self.names if knows is None else self.names & knows
        return self.update(dict.fromkeys(known) | dict(fields), seq)

    def _shown_in_order(self, fields: Mapping[str, Value]) -> Document:
        given = {n: value for n, value in fields.items() if value is not None and n not in OWNED_BY_MERGE}
        ordered = [field.name for field in self.schema.fields if field.name in given]
        ordered += [name for name in given if name not in self.schema.by_name]
        return {self.path.get(name, name): self.shown(name, given[name]) for name in ordered}


def marker_of(document: Mapping[str, Any]) -> int | None:
    """Return the seq of the last Salmon write to the document; None if there is none."""
    marker = document.get(MARKER)
    return seq_of(marker.get(SEQ)) if isinstance(marker, Mapping) else None


def mark_in(document: Mapping[str, Any]) -> str:
    """Return the mark of the form that the document has by its marker (see mark_of in salmon.mongodb.paths)."""
    marker = document.get(MARKER)
    mark = marker.get(PATHS) if isinstance(marker, Mapping) else None
    return mark if isinstance(mark, str) else PLAIN


def seq_of(shown: Any) -> int | None:
    """Return the marker that a document shows; None if it is not a number that Salmon can have written."""
    if isinstance(shown, int) and not isinstance(shown, bool) and shown > 0:
        return int(shown)
    return None


def owned_of(marker: Any) -> dict[str, Value]:
    """
    Return merge's own properties below the marker. What is not text counts as missing, so that merge corrects it.
    """
    below = marker if isinstance(marker, Mapping) else {}
    return {name: owned_text(below.get(under)) for name, under in OWNED.items()}


def owned_text(shown: Any) -> str | None:
    return shown if type(shown) is str and shown and is_unicode(shown) else None


def twice_in(places: Iterable[str]) -> str:
    """Return the reason, for a person who looks at the record."""
    return (
        f"The collections {' and '.join(sorted(places))} have a document with the same _id, so none of them is synced. Delete all "
        f"but one of these documents."
    )


def _require_unicode(field: FieldSchema, text: str) -> None:
    """Refuse text with bytes that are not UTF-8. The client's codec decodes them to lone surrogates, which cannot be encoded."""
    if not is_unicode(text):
        raise SchemaMismatch(
            f"{field.name}: the MongoDB document has text that is not valid UTF-8. Correct it."
        )


def is_unicode(text: str) -> bool:
    """Whether text can be sent: a lone surrogate cannot be encoded."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
