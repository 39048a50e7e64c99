"""
What an entry point of the group `salmon.transforms` or `salmon.predicates` names: how one field looks on one side, and which records a
side is to have.

Both must be pure: the same values give the same answer, in each process and at any time. No clock, no chance, nothing read, nothing kept
from one call to the next. Merge folds a record again after a restart, another replica folds it after a rebalance, and `salmon verify`
works out what a side should hold. If they came to different answers, a side would be written again and again, and nobody could say what
it should hold. For the same reason the package's version counts as a setting: with another one, all records are judged again.

A transform is about one field, and not about the whole record, because an edit is judged field by field: who edits a part of what was
made of several fields would have edited all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from salmon.model.change import Value
from salmon.model.schema import FieldSchema, Kind, ObjectSchema

S = TypeVar("S", bound=BaseModel)
# An agreed value, which is never null -> what the side holds in its place; or the way back.
Convert = Callable[[Value], Value]
# An agreed record, without nulls.
Record = Mapping[str, Value]
# What documents may hold of a field that is of another kind: what one BSON type says exactly.
SHOWN_AS: Final = frozenset({Kind.STRING, Kind.BOOLEAN, Kind.INT, Kind.LONG, Kind.DOUBLE, Kind.STRINGS})


class NoSettings(BaseModel):
    """Of a transform or a predicate without settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class TransformPlugin(Generic[S]):
    """
    A transform that a package offers.

    With `reads` it works both ways, and is for MongoDB's documents: `reads` of what `shows` has made is the very value, and `reads` raises
    ValueError for what `shows` cannot have made, e.g. the value as it is without the transform. Each value is checked for that before it is
    written; one that cannot keep it is refused and reported, like any value that a document cannot hold.

    Without `reads` it is one-way, and for any side: what is entered there is overwritten. It gives a value of the field's own kind.
    If it fails, the side has nothing in the field.

    Args:
        settings: The model of its settings, each with a description; it refuses unknown keys. NoSettings, if there are none. It holds texts,
            numbers, secrets, times, and lists, sets and mappings of them, so that every process sees alike whether one has changed.
            A key may have an `alias`, but no `validation_alias`.
        shows: Makes the conversion of one field, once the org has described it. Raises ConfigError: it cannot work with this
            field; a sentence that follows on the key.
        reads: The same for the way back.
        kind: Of what documents hold, if that is not the field's own kind: one of SHOWN_AS.
    """

    settings: type[S]
    shows: Callable[[S, FieldSchema], Convert]
    reads: Callable[[S, FieldSchema], Convert] | None = None
    kind: Kind | None = None


@dataclass(frozen=True, slots=True)
class PredicatePlugin(Generic[S]):
    """
    A predicate that a package offers. If it fails for a record, a side keeps what it has of it.

    Args:
        settings: See TransformPlugin.
        holds: Makes the question for one object, once the org has described it. Raises ConfigError: it cannot work with this object;
            a sentence that follows on the key.
    """

    settings: type[S]
    holds: Callable[[S, ObjectSchema], Callable[[Record], bool]]
