"""
A flow: all that `transforms` says of one object, in order; and the same bound to the object's schema, ready to use.

What merge needs is per target side, and is judged on the agreed record, because an event has only some of the fields:

- `wants`: whether the side is to have the record. All filters of a side must let it pass.
- `masks`: field -> what the side gets instead of its value. A masked field is one-way to that side.
- `computed`: fields that Salesforce does not have, made from those that it has.
- `places`: MongoDB's collections, if the object has several: the first one whose condition holds has the record.

What a MongoDB document is to look like is for the MongoDB side alone: `forms` (types) and `constants`.
A filter sees the agreed values, wherever in the list it stands: a mask before it hides nothing from it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

from salmon.errors import ConfigError, SchemaMismatch, UnknownField
from salmon.model.change import MONGODB, SALESFORCE, SIDES
from salmon.model.schema import FieldSchema, ObjectSchema
from salmon.model.views import Compute
from salmon.transforms import forms as of_documents
from salmon.transforms.bound import Bound, PlaceOf, Wanted
from salmon.transforms.computed import Computed
from salmon.transforms.expressions import Expression, Record, condition
from salmon.transforms.forms import Form
from salmon.transforms.masks import Mask, Masked, masked
from salmon.transforms.nearest import nearest
from salmon.transforms.plugged import Plugged, PluggedPredicate

BOTH: Final = "both"


@dataclass(frozen=True, slots=True)
class Filter:
    """Only records of which the condition holds; with *drops*, only those of which it does not."""

    when: str | PluggedPredicate
    drops: bool = False

    def condition(self, schema: ObjectSchema) -> Expression:
        """Bind the condition to an object. Raises ConfigError: it does not fit; a sentence that follows on the key."""
        return condition(self.when, schema) if isinstance(self.when, str) else self.when.condition(schema)

    @property
    def fingerprint(self) -> str:
        """Differs if other records may pass."""
        return self.when if isinstance(self.when, str) else f"{self.when.name}:{self.when.fingerprint}"


@dataclass(frozen=True, slots=True)
class Cast:
    """Field -> its type in documents, by Kafka Connect's name."""

    types: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Timestamps:
    field: str
    target: str
    pattern: str = ""
    precision: str = "milliseconds"


@dataclass(frozen=True, slots=True)
class Constant:
    """A property that each document of Salmon's has, and Salesforce has not."""

    name: str
    value: str | int | float | bool


@dataclass(frozen=True, slots=True)
class Choose:
    """Which fields are synced, and how documents name them: part of `fields`, in Kafka Connect's words."""

    include: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    renames: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """One of several collections of an object, and the condition of the records in it; None: all that are in no earlier one."""

    collection: str
    when: str | None = None


Step = Filter | Mask | Plugged | Cast | Timestamps | Constant | Choose | Computed | Place


def masked_by(step: Step) -> tuple[str, ...]:
    """The fields that a side gets in another form, one-way."""
    match step:
        case Mask():
            return step.fields
        case Plugged() if step.is_one_way:
            return step.fields
    return ()


def formed_by(step: Step) -> tuple[str, ...]:
    """The fields that documents hold in another form, both ways."""
    match step:
        case Cast():
            return tuple(step.types)
        case Timestamps():
            return (step.field,)
        case Plugged() if not step.is_one_way:
            return step.fields
    return ()


def is_of_a_side(step: Step) -> bool:
    """Whether it can be for any side. The others are about documents, or about which fields there are."""
    return isinstance(step, Filter) or bool(masked_by(step))


@dataclass(frozen=True, slots=True)
class Transform:
    """One entry of `transforms`. *at*: where it is in the configuration, for errors. *to*: a side; or both: Salesforce and MongoDB."""

    at: str
    step: Step
    to: str = MONGODB

    @property
    def sides(self) -> tuple[str, ...]:
        return SIDES if self.to == BOTH else (self.to,)


@dataclass(frozen=True)
class Flow:
    """The transforms of one object, in order."""

    transforms: tuple[Transform, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.transforms)

    def of(self, kind: type[Step]) -> Iterable[tuple[Transform, Any]]:
        """The transforms of one kind: each with its step."""
        return ((each, each.step) for each in self.transforms if isinstance(each.step, kind))

    def faults(self, sides: Collection[str] = SIDES) -> list[str]:
        """What is wrong with them together, whatever the schema is: sentences with the key in front. *sides*: that have the object."""
        found: list[str] = []
        masks: dict[str, set[str]] = {}
        for each in self.transforms:
            for name in masked_by(each.step):
                again = masks.setdefault(name, set()) & set(each.sides)
                found += [
                    f"{each.at} masks {name} again for {side}: remove one of them" for side in sorted(again)
                ]
                masks[name] |= set(each.sides)
        found += [
            f"{name} is masked on all sides, so nobody would have its value: mask it on one side, or exclude it from `fields`"
            for name, of in masks.items()
            if of.issuperset(sides)
        ]
        formed: set[str] = set()
        for each in self.transforms:
            names = set(formed_by(each.step))
            found += [
                f"{each.at} gives {name} a second type in documents: remove one of them"
                for name in sorted(names & formed)
            ]
            found += [
                f"{each.at} gives {name} a type in documents, but it is masked there: remove one of them"
                for name in sorted(names)
                if MONGODB in masks.get(name, ())
            ]
            formed |= names
        names_of_constants = [step.name for _, step in self.of(Constant)]
        found += self._faults_of_computed(masks, [side for side in sides if side != SALESFORCE])
        found += [
            f"{name} is a constant twice: remove one"
            for name in sorted({each for each in names_of_constants if names_of_constants.count(each) > 1})
        ]
        return found

    def _faults_of_computed(
        self, masks: Mapping[str, Collection[str]], sides: Iterable[str]
    ) -> Iterator[str]:
        """
        Args:
            masks: Field -> the sides that have it masked.
            sides: Those that get computed fields.
        """
        made = {step.name: each.at for each, step in self.of(Computed)}
        for _, step in self.of(Constant):
            if step.name in made:
                yield f"{made[step.name]} is a constant, too: remove one"
        for each, step in self.of(Computed):
            named = step.checked().fields
            if again := sorted(named & made.keys()):
                yield f"{each.at} names {', '.join(again)}, which is computed itself: write its expression in that place"
            for side in sides:
                hidden = sorted(name for name in named if side in masks.get(name, ()))
                if hidden and side not in masks.get(step.name, ()):
                    where = "in documents" if side == MONGODB else f"for {side}"
                    yield (
                        f"{each.at} would show what is masked {where} ({', '.join(hidden)}): remove it here, or the mask, or mask"
                        f" {step.name} as well"
                    )

    def computed(self, schema: ObjectSchema) -> tuple[FieldSchema, ...]:
        """
        The fields that the sync adds to those of the org.

        Raises:
            ConfigError: an expression does not fit the object; all such faults, each with its key.
        """
        return tuple(field for field, _ in self._made(schema))

    def _made(self, schema: ObjectSchema) -> list[tuple[FieldSchema, Compute]]:
        made, faults = [], list[ConfigError]()
        for each, step in self.of(Computed):
            try:
                made.append(step.bound(schema))
            except ConfigError as error:
                faults.append(type(error)(f"{each.at}: {error}."))
        _raise_all(faults)
        return made

    def bound(self, schema: ObjectSchema) -> Bound:
        """
        Bind the flow to the object's schema, as the org has it or as the sync has registered it.

        Raises:
            ConfigError: a field does not exist, or is of a type that a transform cannot work with; all such faults, each with its
                key.
        """
        registered, made = schema.computed, self._made(schema)
        waits = {field.name for field, _ in made} - registered
        schema = schema.with_computed(field for field, _ in made)
        faults: list[ConfigError] = []
        filters = []
        places: list[PlaceOf] = []
        masks: dict[str, dict[str, Masked]] = {}
        shapes: dict[str, Form] = {}
        for each in self.transforms:
            step = each.step
            try:
                if isinstance(step, Filter):
                    when = _once_made(step.condition(schema), waits)
                    filters.append(Wanted(each.sides, when, step.drops))
                if isinstance(step, Place):
                    of_place = step.when and _once_made(condition(step.when, schema), waits)
                    places.append(PlaceOf(step.collection, of_place or None))
                for name in masked_by(step):
                    of = field_named(name, schema)
                    for side in each.sides:
                        masks.setdefault(side, {})[name] = _mask(step, of, side)
                if formed_by(step):
                    shapes |= _forms(step, schema)
                elif isinstance(step, Constant) and step.name in schema.by_name:
                    raise ConfigError(
                        f"{step.name} is a field of {schema.name}, so its value comes from there. Choose another name, or exclude the"
                        f" field"
                    )
            except ConfigError as error:
                faults.append(type(error)(f"{each.at}: {error}."))
        _raise_all(faults)
        constants = {step.name: step.value for _, step in self.of(Constant)}
        computed = {field.name: of for field, of in made if field.name in registered}
        digests = self.digests(registered)
        return Bound(
            tuple(filters), masks, shapes, constants, computed, digests, self.document_form, tuple(places)
        )

    @cached_property
    def document_form(self) -> str:
        """A short text that differs if documents are to look otherwise than before; empty if nothing is said of them."""
        casts = [sorted(step.types.items()) for _, step in self.of(Cast)]
        times = [(step.field, step.target, step.pattern, step.precision) for _, step in self.of(Timestamps)]
        constants = [(step.name, step.value) for _, step in self.of(Constant)]
        plugged = [
            (step.name, step.fingerprint, sorted(step.fields))
            for _, step in self.of(Plugged)
            if not step.is_one_way
        ]
        said = [casts, times, constants, *([plugged] if plugged else [])]
        if not any(said):
            return ""
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]

    def digests(self, registered: Collection[str] = ()) -> Mapping[str, str]:
        """
        Side -> a short text that differs if the side is to get other values than before: then what it has must be judged again.
        Empty for a side without filters, masks, computed fields and several collections.

        Args:
            registered: The computed fields that the sync has begun to know: before that, they cannot be made.
        """
        said: dict[str, list[Any]] = {side: [] for side in SIDES}
        for each in self.transforms:
            for side in each.sides:
                parts = said.setdefault(side, [])
                if isinstance(each.step, Filter):
                    parts.append(["filter", each.step.fingerprint, each.step.drops])
                elif isinstance(each.step, Mask | Plugged) and (names := masked_by(each.step)):
                    parts.append(["mask", sorted(names), each.step.fingerprint])
                elif isinstance(each.step, Place):
                    parts.append(["place", each.step.collection, each.step.when])
                elif isinstance(each.step, Computed) and each.step.name in registered:
                    parts.append(["computed", each.step.name, each.step.text])
        return {
            side: hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16] if parts else ""
            for side, parts in said.items()
        }


def _once_made(when: Expression, waits: Collection[str]) -> Expression:
    """
    The condition. Where it names a computed field that the sync does not know yet (*waits*), nobody can say whether it holds: see
    salmon.model.views.View.admits. When the field is known, the view has another digest, and each record is judged again.
    """
    if when.fields.isdisjoint(waits):
        return when

    def evaluate(_: Record) -> bool:
        raise SchemaMismatch(
            f"{when.text} names a computed field that is not registered yet. Start salesforce-source, which registers it."
        )

    return replace(when, evaluate=evaluate)


def _raise_all(faults: Sequence[ConfigError]) -> None:
    """Raise all of them as one, if there are any."""
    if faults:
        kind = UnknownField if any(isinstance(each, UnknownField) for each in faults) else ConfigError
        raise kind("\n  ".join(map(str, faults)))


def field_named(name: str, schema: ObjectSchema) -> FieldSchema:
    """Return a synced field. Raises ConfigError: there is none of that name."""
    found = schema.by_name.get(name)
    if found is None:
        raise UnknownField(
            f"names {name}, but {schema.name} has no field {name} that is synced{nearest(name, schema.by_name)}. Correct the"
            f" name, or sync the field"
        )
    return found


def _mask(step: Step, of: FieldSchema, side: str) -> Masked:
    if isinstance(step, Plugged):
        return step.mask(of, side)
    assert isinstance(step, Mask)
    return masked(step, of, side)


def _forms(step: Step, schema: ObjectSchema) -> dict[str, Form]:
    made = {name: _form(step, field_named(name, schema)) for name in formed_by(step)}
    return {name: form for name, form in made.items() if form is not None}


def _form(step: Step, of: FieldSchema) -> Form | None:
    match step:
        case Cast():
            return of_documents.cast(of, step.types[of.name])
        case Timestamps():
            return of_documents.timestamp(of, step.target, step.pattern, step.precision)
        case Plugged():
            return step.form(of)
    return None
