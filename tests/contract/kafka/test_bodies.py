"""
The quick readers and writers of Avro bodies, in Python and compiled, held to fastavro: the same bytes, the same values, and the same
refusals. The compiled one is also held to the one in Python, value by value, over the schemas of all recorded describes.
"""

from __future__ import annotations

import io
from typing import Any

import fastavro
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from salmon.kafka.codecs import bodies as in_python
from salmon.kafka.codecs import schemas
from salmon.kafka.codecs.avro import _LEFT_TO_FASTAVRO, _UNFIT, bare
from salmon.kafka.codecs.bodies import Bodies
from salmon.kafka.codecs.quick import Make, compiled_bodies
from salmon.model.schema import FieldSchema, Kind, ObjectSchema

# All kinds that are read and written quickly; decimals are left to fastavro.
OBJECT = ObjectSchema(
    "Every_Kind__c",
    tuple(FieldSchema(f"{kind.value}__c", "any", kind) for kind in Kind if kind is not Kind.DECIMAL),
)
LAYOUTS = {
    "records": bare(OBJECT.to_avro()),
    **{name: bare(schemas.envelope(name, OBJECT.to_avro())) for name in ("change", "write", "state")},
    **{name: bare(schemas.fixed(name)) for name in ("offset", "identity", "signal", "outbox", "outcome")},
}
PARSED = {name: fastavro.parse_schema(layout) for name, layout in LAYOUTS.items()}

_long = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-200, 200))
_PRIMITIVES: dict[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.one_of(st.integers(-(2**31), 2**31 - 1), st.integers(-200, 200)),
    "long": _long,
    "double": st.floats(allow_nan=False),
    "bytes": st.binary(max_size=90),
    "string": st.text(max_size=90),
}
# What fits nowhere, or only by rules: a whole number in the place of a double, text in that of bytes.
_others = st.one_of(
    st.integers(), st.text(max_size=3), st.floats(), st.booleans(), st.none(), st.binary(max_size=3)
)


def values_of(
    schema: Any, named: dict[str, Any], loose: st.SearchStrategy[Any] | None
) -> st.SearchStrategy[Any]:
    """Values that fit *schema*; with *loose*, some that perhaps do not."""
    if isinstance(schema, str) and schema in _PRIMITIVES:
        fitting = _PRIMITIVES[schema]
        return fitting if loose is None else st.one_of(fitting, fitting, fitting, loose)
    if isinstance(schema, str):
        return values_of(named[schema], named, loose)
    if isinstance(schema, list):
        return st.one_of([values_of(branch, named, loose) for branch in schema])
    named[schema.get("name", "")] = named[f"{schema.get('namespace', 'salmon')}.{schema.get('name')}"] = (
        schema
    )
    if schema["type"] == "array":
        return st.lists(values_of(schema["items"], named, loose), max_size=3)
    if schema["type"] == "map":
        return st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=3)
    if schema["type"] == "enum":
        return st.sampled_from(schema["symbols"])
    fields = {f["name"]: values_of(f["type"], named, loose) for f in schema["fields"]}
    # fastavro does not write the default of bytes.
    optional = {f["name"] for f in schema["fields"] if "default" in f and f["type"] != "bytes"}
    return st.fixed_dictionaries(
        {name: value for name, value in fields.items() if name not in optional},
        optional={name: value for name, value in fields.items() if name in optional},
    )


WAYS: list[Any] = [
    pytest.param(in_python.bodies, id="python"),
    pytest.param(
        compiled_bodies,
        id="compiled",
        marks=pytest.mark.skipif(compiled_bodies is None, reason="the codec was not compiled: no C compiler"),
    ),
]
each_way = pytest.mark.parametrize("way", WAYS)


def quick(way: Make, name: str) -> Bodies:
    made = way(LAYOUTS[name])
    assert made is not None
    return made


def slowly_written(name: str, datum: Any) -> bytes | None:
    """What fastavro makes of it; None where it refuses."""
    out = io.BytesIO()
    try:
        fastavro.schemaless_writer(
            out, PARSED[name], datum, strict_allow_default=True, disable_tuple_notation=True
        )
    except _UNFIT:
        return None
    return out.getvalue()


many = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@each_way
@pytest.mark.parametrize("name", LAYOUTS)
@many
@given(data=st.data())
def test_what_fits_is_written_and_read_as_fastavro_does(data: st.DataObject, name: str, way: Make) -> None:
    """Never left to fastavro, the same bytes, and from these the same value; the last field's bytes are its own."""
    datum, made = data.draw(values_of(LAYOUTS[name], {}, None)), quick(way, name)
    written = made.write(datum)
    assert written == slowly_written(name, datum)
    read, last_at = made.read(b"\0" * 5 + written, 5)
    assert read == fastavro.schemaless_reader(io.BytesIO(written), PARSED[name], None)
    assert made.write_front(datum) + (b"\0" * 5 + written)[last_at:] == written


@each_way
@pytest.mark.parametrize("name", LAYOUTS)
@many
@given(data=st.data())
def test_what_is_taken_of_doubtful_values_is_what_fastavro_writes(
    data: st.DataObject, name: str, way: Make
) -> None:
    """Numbers out of range, numbers for text, unknown fields: the same bytes, or it is left to fastavro."""
    datum = data.draw(values_of(LAYOUTS[name], {}, _others))
    if data.draw(st.integers(0, 9)) == 0:
        datum["Nobody_Knows__c"] = 1
    try:
        written = quick(way, name).write(datum)
    except _LEFT_TO_FASTAVRO:
        return
    assert written == slowly_written(name, datum)


@each_way
@pytest.mark.parametrize("name", LAYOUTS)
@many
@given(data=st.data())
def test_of_damaged_bytes_only_what_is_whole_is_taken(data: st.DataObject, name: str, way: Make) -> None:
    """Cut, changed, lengthened: what is taken reads as by fastavro, and written again gives the same bytes."""
    made = quick(way, name)
    body = bytearray(made.write(data.draw(values_of(LAYOUTS[name], {}, None))))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(0, len(body) - 1)))
        body[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    try:
        read, _ = made.read(bytes(body), 0)
    except _LEFT_TO_FASTAVRO:
        return
    assert read == fastavro.schemaless_reader(io.BytesIO(body), PARSED[name], None)
    assert made.write(read) == bytes(body)


@each_way
def test_a_schema_with_decimals_is_left_to_fastavro(way: Make) -> None:
    """Their bytes depend on a scale, and hardly any sync has them."""
    price = FieldSchema("Price__c", "currency", Kind.DECIMAL, precision=9, scale=2)
    assert way(bare(ObjectSchema("Priced__c", (price,)).to_avro())) is None


@each_way
def test_an_object_of_which_no_field_is_synced_is_written_and_read(way: Make) -> None:
    """`fields: {include: []}`: its rows are left to fastavro, and what is around them is written as ever."""
    nothing = ObjectSchema("Nothing__c", ()).to_avro()
    assert way(bare(nothing)) is None
    layout = bare(schemas.envelope("change", nothing))
    made, parsed = way(layout), fastavro.parse_schema(layout)
    assert made is not None
    written = made.write({"origin": "salesforce", "op": "UPDATE", "order": b"1", "fields": {}})
    read, _ = made.read(written, 0)
    assert read == fastavro.schemaless_reader(io.BytesIO(written), parsed, None)
    assert (read["op"], read["fields"], made.write(read)) == ("UPDATE", {}, written)
