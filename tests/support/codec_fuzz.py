"""
Bodies by chance for the codec: values that fit and values that do not, bytes that are whole and bytes that are damaged. What the
compiled codec makes of each is held to what the one in Python makes of it.

Run as `python -m support.codec_fuzz FILE COUNT`, it loads the extension FILE, as it was compiled with AddressSanitizer.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any, Final

from salmon.kafka.codecs import bodies as in_python
from salmon.kafka.codecs import schemas
from salmon.kafka.codecs.avro import _UNFIT, bare
from salmon.kafka.codecs.bodies import Bodies, NotPlain
from salmon.kafka.codecs.quick import Make
from salmon.model.schema import FieldSchema, Kind, ObjectSchema

REFUSED: Final = "refused"
_TEXTS: Final = ("", "a", "Acme GmbH", "ä" * 40, "\N{SNOWMAN}x", "x" * 200, "\0", "\U0001f41f")
_NUMBERS: Final = (0, -1, 1, 63, 64, -64, -65, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63), 2**63, 10**30)
_ODD: Final[tuple[Any, ...]] = (
    None,
    True,
    1.5,
    float("nan"),
    "text",
    b"bytes",
    "\ud800",
    [1],
    {},
    (),
    object(),
    7,
    2**70,
)


def every_kind() -> ObjectSchema:
    """An object with a field of each kind that is not left to fastavro."""
    kinds = [kind for kind in Kind if kind is not Kind.DECIMAL]
    return ObjectSchema(
        "Every_Kind__c", tuple(FieldSchema(f"{kind.value}__c", "any", kind) for kind in kinds)
    )


def layouts(schema: ObjectSchema) -> dict[str, Any]:
    """The layout of each topic's values that hold a row of the object."""
    names = ("change", "write", "state")
    return {
        "records": bare(schema.to_avro()),
        **{name: bare(schemas.envelope(name, schema.to_avro())) for name in names},
    }


def held_to_python(layout: Mapping[str, Any], make: Make, random: Random, count: int) -> int:
    """Let both codecs write and read *count* times. Returns how often they took it. An AssertionError says where they differ."""
    python, compiled = in_python.bodies(layout), make(layout)
    assert (python is None) == (compiled is None)
    if python is None or compiled is None:
        return 0
    taken, named = 0, dict(_definitions(layout))
    for _ in range(count):
        datum = _value(layout, named, random, odd=0.01 if random.random() < 0.5 else 0.0)
        written = _tried(lambda datum=datum: python.write(datum))
        assert _tried(lambda datum=datum: compiled.write(datum)) == written
        if not isinstance(written, bytes):
            continue
        taken += 1
        for body in (written, _damaged(written, random), written[: random.randrange(len(written) + 1)]):
            _read_alike(python, compiled, body)
    return taken


def _definitions(schema: Any) -> Iterator[tuple[str, Any]]:
    """Each type that has a name, by its name with and without its namespace."""
    match schema:
        case list():
            for branch in schema:
                yield from _definitions(branch)
        case {"type": "array", "items": items}:
            yield from _definitions(items)
        case {"name": name}:
            yield name, schema
            yield f"{schema.get('namespace', 'salmon')}.{name}", schema
            for field in schema.get("fields", ()):
                yield from _definitions(field["type"])


def _read_alike(python: Bodies, compiled: Bodies, body: bytes) -> None:
    expected = _tried(lambda: python.read(body, 0))
    assert _tried(lambda: compiled.read(body, 0)) == expected
    # Within other bytes, as it lies behind the head of a record.
    if expected != REFUSED:
        assert compiled.read(b"\0" * 5 + body, 5)[0] == expected[0]


def _tried(what: Any) -> Any:
    try:
        return what()
    except (NotPlain, *_UNFIT):
        return REFUSED


def _damaged(body: bytes, random: Random) -> bytes:
    changed = bytearray(body)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(changed) + 1)
        changed[at : at + random.randrange(3)] = bytes(
            random.choice((0, 1, 2, 127, 128, 255)) for _ in range(random.randrange(4))
        )
    return bytes(changed)


def _value(schema: Any, named: dict[str, Any], random: Random, *, odd: float) -> Any:
    if random.random() < odd:
        return random.choice(_ODD)
    match schema:
        case "null":
            return None
        case "boolean":
            return random.random() < 0.5
        case "int" | "long":
            return (
                random.choice(_NUMBERS[: 9 if schema == "int" else 11])
                if odd == 0
                else random.choice(_NUMBERS)
            )
        case "double":
            return random.choice((0.0, -0.0, 1.5, 1e300, float("inf"), random.random()))
        case "bytes":
            return random.randbytes(random.choice((0, 1, 8, 100)))
        case "string":
            return random.choice(_TEXTS)
        case str():
            return _value(named[schema], named, random, odd=odd)
        case list():
            return _value(random.choice(schema), named, random, odd=odd)
        case {"type": "array", "items": items}:
            return [_value(items, named, random, odd=odd) for _ in range(random.randrange(4))]
        case {"type": "map"}:
            return {random.choice(_TEXTS): random.choice(_TEXTS) for _ in range(random.randrange(3))}
    if schema["type"] == "enum":
        return random.choice(schema["symbols"])
    return {
        field["name"]: _value(field["type"], named, random, odd=odd)
        for field in schema["fields"]
        if "default" not in field or random.random() < 0.7
    } | ({"Nobody_Knows__c": 1} if random.random() < odd else {})


def loaded(file: str) -> Make:
    """The codec of another extension than the installed one."""
    spec = importlib.util.spec_from_file_location("salmon.kafka.codecs.compiled", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: Make = module.bodies
    return made


def main() -> int:
    make, random = loaded(sys.argv[1]), Random(1)
    taken = {
        name: held_to_python(layout, make, random, int(sys.argv[2]))
        for name, layout in layouts(every_kind()).items()
    }
    assert min(taken.values()) > int(sys.argv[2]) // 10, taken
    sys.stdout.write(f"{sum(taken.values())} bodies\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
