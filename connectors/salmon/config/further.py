"""
The further sides of a sync, beside Salesforce and MongoDB: which ones, with what settings, and which objects they have.

Each is a plugin (entry point group salmon.sides), which brings the model of its settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Final, Generic, Protocol, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from salmon.config.faults import faults_of, type_named
from salmon.errors import ConfigError
from salmon.model.policies import POLICIES
from salmon.model.sides import OWN, OWN_ROSTER, Roster, Side
from salmon.runtime import discovery

FURTHER_SIDES: Final = "Further sides, beside Salesforce and MongoDB: name of an installed plugin (entry point group salmon.sides) -> its settings."
# The first part of the names of its connectors, so it is a part of topics' names.
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")


def _side_offered(name: str) -> str:
    known = (*OWN_ROSTER.names, *discovery.further_sides())
    if name not in known:
        raise ValueError(f"is text (str), but must be the name of a side: {', '.join(known)}")
    return name


SideName = Annotated[str, AfterValidator(_side_offered)]


class SidedObject(BaseModel):
    """Which sides have an object."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sides: tuple[str, ...] | None = Field(
        default=None,
        description="Which of the further sides (top-level `sides`) have the object. Without it: all, if its direction is both.",
    )


class OfSides(Protocol):
    """The settings of an object, as far as they are about sides."""

    @property
    def sides(self) -> tuple[str, ...] | None: ...
    @property
    def direction(self) -> str: ...
    @property
    def initial(self) -> str: ...
    @property
    def conflicts(self) -> Any: ...


ObjectT = TypeVar("ObjectT", bound=OfSides)


class Sided(BaseModel, Generic[ObjectT]):
    """What a sync's configuration says about its sides; its fields are `sides` and `objects`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    if TYPE_CHECKING:
        # Declared by SyncConfig, among its other fields.
        sides: dict[str, Any]
        objects: dict[str, ObjectT]

    @field_validator("sides", check_fields=False)
    @classmethod
    def _sides_offered(cls, sides: dict[str, Any]) -> dict[str, Any]:
        return settings_of_sides(sides)

    @field_validator("objects", check_fields=False)
    @classmethod
    def _sides_fit(cls, objects: dict[str, ObjectT], info: ValidationInfo) -> dict[str, ObjectT]:
        if "sides" in info.data and (faults := list(faults_of_objects(info.data["sides"], objects))):
            raise ValueError("; ".join(faults))
        return objects

    @cached_property
    def roster(self) -> Roster:
        """The sides of the sync, and of each object."""
        return roster_of(self.sides, self.objects)

    def settings_of(self, side: str) -> Any:
        """A side's own settings, as its model."""
        return self.sides[side] if side in self.sides else getattr(self, side)

    def objects_of(self, side: str) -> dict[str, ObjectT]:
        """The objects that a side has."""
        return {name: each for name, each in self.objects.items() if self.roster.has(side, name)}


def settings_of_sides(raw: Mapping[str, Any]) -> dict[str, Any]:
    """
    Check the settings of the further sides by the models of their plugins.

    Returns:
        The settings of each, as its model.

    Raises:
        ValueError: a side does not exist, or its settings cannot be used; one sentence for each fault, without values.
    """
    found: dict[str, Any] = {}
    faults: list[str] = []
    for name, settings in raw.items():
        try:
            found[name] = _settings_of(name, settings, faults)
        except ConfigError as error:
            faults.append(f"{name}: {str(error).rstrip('.')}")
    if faults:
        raise ValueError("; ".join(faults))
    return found


def _settings_of(name: str, settings: Any, faults: list[str]) -> BaseModel | None:
    if not _NAME.fullmatch(name) or name in OWN_ROSTER.names:
        raise ConfigError(
            f"cannot be a further side: its name must begin with a small letter, have no more than 32 small letters, digits "
            f"and underscores, and be none of {', '.join(OWN_ROSTER.names)}."
        )
    model = discovery.side_plugin(name).settings
    if not isinstance(settings, Mapping):
        raise ConfigError(f"is {type_named(settings)}, but must be a mapping.")
    try:
        return model.model_validate(dict(settings))
    except ValidationError as error:
        for path, sentence in faults_of(error, model):
            faults.append(f"{'.'.join((name, *path))}: {sentence.rstrip('.')}")
        return None


def roster_of(further: Mapping[str, Any], objects: Mapping[str, OfSides]) -> Roster:
    """Who takes part in a sync with these further sides and objects."""
    if not further:
        return OWN_ROSTER
    more = tuple(Side(name, guarded=discovery.side_plugin(name).guarded) for name in further)
    fewer = {
        name: (*OWN, *(side for side in more if _has(side.name, each)))
        for name, each in objects.items()
        if not all(_has(side.name, each) for side in more)
    }
    return Roster((*OWN, *more), fewer)


def faults_of_objects(further: Mapping[str, Any], objects: Mapping[str, OfSides]) -> Iterator[str]:
    """What is wrong with the sides that objects name: one sentence each."""
    for name, each in objects.items():
        if unknown := sorted(set(each.sides or ()) - further.keys()):
            known = ", ".join(further) or "none"
            yield f"{name}.sides: {', '.join(unknown)} is not a key of `sides`, which has {known}"
        if each.sides and each.direction != "both":
            yield (
                f"{name}.sides: an object with a direction has two sides, Salesforce and MongoDB. Remove `sides`, or `direction`"
            )
        its = (*OWN_ROSTER.names, *(side for side in further if _has(side, each)))
        for key, side in _named(each):
            if side not in its:
                yield f"{name}.{key}: {side} does not have this object. Name one of {', '.join(its)}"


def _has(side: str, each: OfSides) -> bool:
    return each.direction == "both" and (each.sides is None or side in each.sides)


def _named(each: OfSides) -> Iterator[tuple[str, str]]:
    """The keys that name a side, each with it. A policy may have the name of a side."""
    yield "initial", each.initial
    yield "conflicts.ties", each.conflicts.ties
    sides = discovery.further_sides()
    policies = {"conflicts.default": each.conflicts.default}
    policies |= {f"conflicts.fields.{field}": policy for field, policy in each.conflicts.fields.items()}
    yield from (
        (key, policy) for key, policy in policies.items() if policy in sides and policy not in POLICIES
    )
