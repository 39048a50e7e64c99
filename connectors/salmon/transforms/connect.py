"""
Kafka Connect's transforms and predicates by name: which there are here, and why the others are not.

Apache Kafka 4.0, org.apache.kafka.connect.transforms; the names and config keys are Connect's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

from salmon.errors import ConfigError
from salmon.transforms.nearest import nearest

PACKAGES: Final = ("org.apache.kafka.connect.transforms.", "org.apache.kafka.connect.transforms.predicates.")
VALUE: Final = "$Value"
KEY: Final = "$Key"

# Transform -> its config keys here.
TAKES: Final[Mapping[str, frozenset[str]]] = {
    "Filter": frozenset({"predicate", "negate"}),
    "MaskField": frozenset({"fields", "replacement"}),
    "Cast": frozenset({"spec"}),
    "TimestampConverter": frozenset({"field", "target.type", "format", "unix.precision"}),
    "InsertField": frozenset({"static.field", "static.value"}),
    "ReplaceField": frozenset({"include", "exclude", "renames"}),
}
_TOPICS: Final = "Salmon's topics have fixed names, by which its processes find each other; set `name` or `collection` instead"
_HEADERS: Final = "a record here has no headers of its own; documents can have constants (InsertField)"
_NOT_HERE: Final[Mapping[str, str]] = {
    "RegexRouter": _TOPICS,
    "TimestampRouter": _TOPICS,
    "ValueToKey": "the key of a record is its identity on both sides, and never changes",
    "ExtractField": "a record is more than one field of it; leave out fields with `fields`",
    "HoistField": "both sides must find each field; to nest fields in documents, use `fields.rename`, e.g. {BillingCity: address.city}",
    "Flatten": "records are flat; documents are nested only where `fields.rename` says so",
    "SetSchemaMetadata": "the schema and its versions are made from the org's describe",
    "DropHeaders": _HEADERS,
    "HeaderFrom": _HEADERS,
    "InsertHeader": _HEADERS,
}
_PREDICATES: Final[Mapping[str, str]] = {
    "RecordIsTombstone": "a deletion is not filtered by transforms; set `deletes` of the object",
    "TopicNameMatches": "transforms belong to one object, so there is one topic; put them under the object",
    "HasHeaderKey": _HEADERS,
}


def transform_named(written: str, plugins: Callable[[], Collection[str]] = tuple) -> str:
    """
    Return the plain name of a transform, e.g. MaskField of org.apache.kafka.connect.transforms.MaskField$Value.

    Args:
        plugins: Looks for the names of those that packages offer, which takes a while. Kafka Connect's come first.

    Raises:
        ConfigError: there is none of that name here; a sentence that follows on the key, with the reason.
    """
    name = written.removeprefix(PACKAGES[0])
    if name.endswith(KEY):
        raise ConfigError(
            f"is a transform of keys, but the key of a record is its identity on both sides: use {name.removesuffix(KEY)}{VALUE}, or"
            f" remove it"
        )
    name = name.removesuffix(VALUE)
    if name in TAKES:
        return name
    if name in _NOT_HERE:
        raise ConfigError(f"is a transform that makes no sense for a sync of records: {_NOT_HERE[name]}")
    if name in (offered := plugins()):
        return name
    raise ConfigError(
        f"is not a transform that is known here{nearest(name, [*TAKES, *offered])}. Known: {', '.join([*TAKES, *offered])}. One of a"
        f" package is known once the package is installed"
    )


def predicate_refused(written: str) -> str | None:
    """Why one of Kafka Connect's predicates makes no sense here; None: *written* is none of them."""
    name = written.removeprefix(PACKAGES[1])
    reason = _PREDICATES.get(name)
    return None if reason is None else f"{name} makes no sense for a sync of records: {reason}"


def spec_read(spec: str, known: tuple[str, ...]) -> dict[str, str]:
    """Read `field:type,field:type` of a Cast. Raises ConfigError."""
    found: dict[str, str] = {}
    for part in spec.split(","):
        name, colon, kind = (each.strip() for each in part.partition(":"))
        if not colon or not name:
            raise ConfigError("must be field:type, separated by commas, e.g. NumberOfEmployees:string")
        if kind not in known:
            raise ConfigError(f"casts {name} to {kind or 'nothing'}, but must be one of {', '.join(known)}")
        if name in found:
            raise ConfigError(f"casts {name} twice: remove one")
        found[name] = kind
    return found


def renames_read(renames: tuple[str, ...]) -> dict[str, str]:
    """Read Kafka Connect's list of old:new. Raises ConfigError."""
    found: dict[str, str] = {}
    for each in renames:
        old, colon, new = (part.strip() for part in each.partition(":"))
        if not colon or not old or not new:
            raise ConfigError("must be a list of old:new, e.g. [BillingCity:city]")
        if old in found or new in found.values():
            raise ConfigError(f"names {old} or {new} twice: each field has one name")
        found[old] = new
    return found
