"""
A flow that is bound to the schema of its object, ready to use: see salmon.transforms.flow, which makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from salmon.model.change import MONGODB
from salmon.model.views import Compute, View
from salmon.transforms.expressions import Expression, Record
from salmon.transforms.forms import Form
from salmon.transforms.masks import Masked


@dataclass(frozen=True, slots=True)
class Wanted:
    sides: tuple[str, ...]
    when: Expression
    drops: bool

    def passes(self, record: Record) -> bool:
        return self.when.holds(record) is not self.drops

    @property
    def text(self) -> str:
        """The condition as a person would say it."""
        return f"not ({self.when.text})" if self.drops else self.when.text


@dataclass(frozen=True, slots=True)
class PlaceOf:
    collection: str
    when: Expression | None

    def has(self, record: Record) -> bool:
        return self.when is None or self.when.holds(record)


@dataclass(frozen=True)
class Bound:
    """A flow that knows the fields of its object."""

    filters: tuple[Wanted, ...] = ()
    masks: Mapping[str, Mapping[str, Masked]] = field(default_factory=dict)  # side -> field -> mask
    forms: Mapping[str, Form] = field(default_factory=dict)  # field -> its form in documents
    constants: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    computed: Mapping[str, Compute] = field(default_factory=dict)  # registered field -> how its value is made
    digests: Mapping[str, str] = field(default_factory=dict)
    document_form: str = ""
    places: tuple[PlaceOf, ...] = ()  # if the object has several collections

    def place(self, record: Record) -> str | None:
        """The collection that a record belongs into, of several; None: no collection is for it."""
        return next((each.collection for each in self.places if each.has(record)), None)

    def wants(self, side: str) -> Callable[[Record], bool] | None:
        """Whether the side is to have a record; None: it is to have all."""
        of_side = [each for each in self.filters if side in each.sides]
        if not of_side:
            return None
        return lambda record: all(each.passes(record) for each in of_side)

    @cached_property
    def views(self) -> Mapping[str, View]:
        """What merge needs: for each side that has a filter, a mask, computed fields or several collections, its view."""
        computed = {MONGODB: self.computed}
        places = {MONGODB: self.place} if self.places else {}
        return {
            side: View(
                digest,
                self.wants(side),
                self.masks.get(side, {}),
                self._text(side),
                computed.get(side, {}),
                places.get(side),
                frozenset(each.collection for each in self.places) if side in places else frozenset(),
            )
            for side, digest in self.digests.items()
            if digest
        }

    def _text(self, side: str) -> str:
        filters = [each.text for each in self.filters if side in each.sides]
        if side == MONGODB and (placed := self._text_of_places):
            filters.append(f"({placed})" if filters else placed)
        return " && ".join(filters)

    @cached_property
    def _text_of_places(self) -> str:
        """What a record must be to be in any of several collections; empty: nothing, because the last one has all others."""
        conditions = [each.when for each in self.places]
        return " || ".join(each.text for each in conditions if each is not None) if all(conditions) else ""

    def why_not(self, side: str, record: Record) -> str | None:
        """The condition that keeps the record from the side; None: nothing does."""
        for each in self.filters:
            if side in each.sides and not each.passes(record):
                return each.text
        if side == MONGODB and self.places and self.place(record) is None:
            return self._text_of_places
        return None


NOTHING: Final = Bound()
