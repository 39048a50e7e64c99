"""
What a request wants of each record: `select=Name,Account(Name,Owner(Name)),Contacts(LastName)`. A name in front of brackets is a lookup's
relationship, or what the org calls the object's children. Bounded: so deep, so many.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from salmon.api.access import require
from salmon.api.grants import Caller
from salmon.api.handle import Api, ApiObject
from salmon.api.problems import at_fault
from salmon.api.records.matching import RECORD_ID, RECORD_KEY, field_of
from salmon.api.records.scanning import Scanner
from salmon.mongodb.paths import MARKER, tops_of
from salmon.transforms.nearest import nearest

EMBEDS_MAX: Final = 10
CHILDREN_MAX: Final = 100  # of one record
NAMES_MAX: Final = 1_000
TEXT_MAX: Final = 10_000
_ALWAYS: Final = {RECORD_ID, RECORD_KEY, "_sync"}
_SLOT: Final = f"{MARKER}_embedded_"


@dataclass(frozen=True, slots=True)
class Embedded:
    """
    What is embedded of another object.

    Args:
        name: In the answer.
        slot: Where it is in what MongoDB returns.
        local, foreign: The paths that are equal.
        many: Whether it is a list, of children.
    """

    name: str
    slot: str
    wanted: Selection
    local: str
    foreign: str
    many: bool


@dataclass(frozen=True, slots=True)
class Selection:
    """What is wanted of one object's records. *fields*: None for all."""

    of: ApiObject
    fields: tuple[str, ...] | None = None
    embedded: tuple[Embedded, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.of.schema.by_name) if self.fields is None else self.fields

    def count(self, document: Mapping[str, Any]) -> int:
        """How many records a document is, with those that are embedded."""
        return 1 + sum(
            each.wanted.count(below) for each in self.embedded for below in document.get(each.slot, ())
        )

    def projection(self, besides: Sequence[str] = ()) -> dict[str, Any]:
        """The parts of a document that are needed. *besides*: paths that are, too."""
        tops = tops_of([*(self.of.shape.path[name] for name in self.names), *besides])
        return {"_id": 1, **dict.fromkeys(tops, 1), MARKER: 1, **{each.slot: 1 for each in self.embedded}}

    def stages(self, api: Api, besides: Sequence[str] = ()) -> list[dict[str, Any]]:
        """The stages of a pipeline that embed, and leave out what is not wanted. *besides*: paths that are kept, too."""
        found: list[dict[str, Any]] = []
        for each in self.embedded:
            within = each.wanted.stages(api)
            if each.many:
                within = [{"$sort": {"_id": 1}}, {"$limit": CHILDREN_MAX}, *within]
            slots = []
            for number, collection in enumerate(each.wanted.of.settings.places):
                slots.append(f"{each.slot}_{number}" if number else each.slot)
                lookup = {
                    "from": collection,
                    "localField": each.local,
                    "foreignField": each.foreign,
                    "pipeline": within,
                    "as": slots[-1],
                }
                found.append({"$lookup": lookup})
            if len(slots) > 1:
                every = {"$concatArrays": [f"${slot}" for slot in slots]}
                found.append({"$set": {each.slot: {"$slice": [every, CHILDREN_MAX]}}})
        return [*found, {"$project": self.projection(besides)}]


def selection_of(api: Api, of: ApiObject, text: str | None, caller: Caller) -> Selection:
    """
    Read `select`. None and `*`: all fields.

    Raises:
        Problem: 400, naming what is wrong; 403, for an object that the caller may not read.
    """
    if text is None:
        return Selection(of)
    if len(text) > TEXT_MAX:
        raise at_fault("select", "too-long", f"is longer than {TEXT_MAX} characters")
    parser = _Parser(api, caller, text)
    found = parser.selection(of, 0)
    parser.end()
    return found


class _Parser(Scanner):
    def __init__(self, api: Api, caller: Caller, text: str) -> None:
        super().__init__(text)
        self._api, self._caller = api, caller
        self._embeds = self._names = 0

    def end(self) -> None:
        if self._at < len(self._text):
            raise at_fault("select", "not-understood", "has a bracket or a comma too many")

    def selection(self, of: ApiObject, depth: int) -> Selection:
        fields: list[str] = []
        embedded: list[Embedded] = []
        every = False
        for name in self._listed():
            if self._takes("("):
                embedded.append(self._embedded(of, name, depth))
            elif name == "*":
                every = True
            elif name not in _ALWAYS:
                fields.append(field_of(name, of).name)
        names = None if every else tuple(dict.fromkeys(fields))
        return Selection(of, names, tuple(embedded))

    def _listed(self) -> Iterator[str]:
        while True:
            name = self._before(",()").strip()
            self._names += 1
            if not name or self._names > NAMES_MAX:
                raise at_fault("select", "not-understood", "must be names of fields, separated by commas")
            yield name
            if not self._takes(","):
                return

    def _embedded(self, of: ApiObject, name: str, depth: int) -> Embedded:
        most = self._api.settings.embed_depth_max
        self._embeds += 1
        if depth >= most:
            raise at_fault("select", "too-deep", f"embeds deeper than {most} levels (api.embed_depth_max)")
        if self._embeds > EMBEDS_MAX:
            raise at_fault("select", "too-many", f"embeds more than {EMBEDS_MAX} objects")
        target, local, foreign, many = relations(self._api, of).get(name, (None, "", "", False))
        if target is None:
            known = relations(self._api, of)
            raise at_fault(
                "select",
                "unknown-relationship",
                f"{of.name} has no relationship {ascii(name[:80])[1:-1]} to a synced object{nearest(name[:80], known)}",
            )
        require(self._caller, "read", target.name)
        slot = f"{_SLOT}{self._embeds}"
        wanted = self.selection(target, depth + 1)
        if not self._takes(")"):
            raise at_fault("select", "not-understood", "has a bracket that is never closed")
        return Embedded(name, slot, wanted, local, foreign, many)


def relations(api: Api, of: ApiObject) -> Mapping[str, tuple[ApiObject, str, str, bool]]:
    """What can be embedded: name -> the other object, the two paths that are equal, and whether there may be many."""
    found: dict[str, tuple[ApiObject, str, str, bool]] = {}
    for field in of.schema.references:
        target = api.objects.get(field.reference_to[0])
        if field.relationship and target is not None and not field.is_polymorphic:
            found[field.relationship] = (target, of.shape.path[field.name], "_id", False)
    for child in of.described.children:
        other = api.objects.get(child.object)
        known = None if other is None else other.schema.by_name.get(child.field)
        if other is not None and known is not None and not known.is_polymorphic:
            found[child.name] = (other, "_id", other.shape.path[child.field], True)
    return found
