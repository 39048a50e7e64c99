"""
The collections of an object: their names (MongoDB Manual, Restrictions on Collection Names), and which records each of several has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, field_validator

from salmon.config.faults import as_value_error
from salmon.mongodb.paths import MARKER
from salmon.transforms.expressions import condition
from salmon.transforms.flow import Place, Transform

PATTERN: Final = r"^[^$\x00]+$"
# MongoDB Manual, Limits and Thresholds, Namespace Length: 255 bytes with the database (63 at most) and a dot.
_MAX_BYTES: Final = 191


def usable_collection(value: str) -> str:
    """Return *value*. Raises ValueError if MongoDB would refuse it as a name, or keeps it for itself."""
    if not value.isprintable():
        raise ValueError("must not contain control characters or other invisible characters")
    if value == MARKER:
        raise ValueError(f"must not be {MARKER}, which Salmon uses for itself")
    if value.startswith("system."):
        raise ValueError("must not begin with system., which is reserved by MongoDB")
    if value.startswith(".") or value.endswith("."):
        raise ValueError("must not begin or end with a dot, which MongoDB refuses")
    if value != value.strip():
        raise ValueError("must not begin or end with a blank")
    if len(value.encode()) > _MAX_BYTES:
        raise ValueError(f"must have {_MAX_BYTES} bytes or fewer")
    return value


PLACES_MIN: Final = 2
PLACES_MAX: Final = 20


class PlaceConfig(BaseModel):
    """One of several collections of an object."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    collection: str = Field(pattern=PATTERN, description="The collection.")
    filter: str | None = Field(
        default=None,
        min_length=1,
        description="The records in it, as in a filter of `transforms`, e.g. `Type == 'Partner'`. The first collection whose filter "
        "holds has the record. The last one may have no filter: it has all others.",
    )

    @field_validator("collection")
    @classmethod
    def _ours_to_take(cls, value: str) -> str:
        return usable_collection(value)

    @field_validator("filter")
    @classmethod
    def _is_condition(cls, value: str | None) -> str | None:
        if value is not None:
            as_value_error(condition, value)
        return value


def places_of(at: str, places: Sequence[PlaceConfig]) -> tuple[Transform, ...]:
    """The collections as steps of a flow. *at*: the path of their key."""
    return tuple(
        Transform(f"{at}.{n}.filter", Place(each.collection, each.filter)) for n, each in enumerate(places)
    )


def faults_of_collections(settings: Mapping[Any, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    """
    What is wrong with an object's collections together: path of the key, from the object on, and a sentence.

    Args:
        settings: Of the object, as written. What is wrong by itself is skipped, since its model reports it.
    """
    several = settings.get("collections")
    if several is None:
        if settings.get("collection") is None:
            yield ("collection",), "is missing. It is the object's collection in MongoDB."
        return
    if settings.get("collection") is not None:
        yield (
            ("collection",),
            "cannot stand beside `collections`: remove one of them. One collection has all records; of several, each has some.",
        )
    yield from ((("collections",), said) for said in _beside_several(settings))
    if not isinstance(several, Sequence) or isinstance(several, str):
        return
    if len(several) < PLACES_MIN:
        yield ("collections",), "must have two entries or more. For one collection, write `collection`."
    written = [each if isinstance(each, Mapping) else {} for each in several]
    for number, each in enumerate(written[:-1]):
        if each.get("filter") is None and each.get("collection") is not None:
            yield (
                ("collections", str(number), "filter"),
                "is missing: only the last collection may be for all other records. Add a filter, or move this one to the end.",
            )
    counts = Counter(str(each.get("collection")) for each in written if each.get("collection") is not None)
    for name in (name for name, count in counts.items() if count > 1):
        yield ("collections",), f"has {ascii(name)[1:-1]} twice. Join the two filters with ||."


def _beside_several(settings: Mapping[Any, Any]) -> Iterator[str]:
    """What an object with several collections cannot have."""
    fields = settings.get("fields")
    if isinstance(fields, Mapping) and fields.get("rename"):
        yield (
            "cannot be used with `fields.rename`: the values of documents are moved to other paths one collection at a time. Remove "
            "one of them."
        )
    if settings.get("match") is not None:
        yield "cannot be used with `match`, which pairs the records of one collection. Remove one of them."
    if settings.get("direction") == "to_salesforce":
        yield (
            "is for objects that are written to MongoDB: where nobody writes, documents stay where they are. Set `collection`, or "
            "another `direction`."
        )
