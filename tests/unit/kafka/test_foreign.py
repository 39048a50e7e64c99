"""Foreign records in our topics are passed over, counted and named once. No broker is needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from salmon.errors import DataError, SchemaMismatch, SetupError, Unavailable
from salmon.kafka import clients, foreign, tables
from salmon.kafka.codecs.serdes import Identities, Offsets, Records
from salmon.kafka.foreign import ForeignRecords, key_shown
from salmon.kafka.tables import Table
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.ops.metrics import Metrics
from support.at_hand.registries import MemoryRegistry

TOPIC = "crm.identity.Account"
CODEC = Identities(MemoryRegistry(), TOPIC)

Load = Callable[..., Table]


def message(offset: int, key: bytes | None, value: bytes | None) -> Any:
    return SimpleNamespace(
        topic=lambda: TOPIC,
        partition=lambda: 0,
        offset=lambda: offset,
        key=lambda: key,
        value=lambda: value,
        error=lambda: None,
    )


@pytest.fixture
def passed_over(monkeypatch: pytest.MonkeyPatch) -> ForeignRecords:
    """What is passed over in this test."""
    found = ForeignRecords()
    monkeypatch.setattr(foreign, "FOREIGN", found)
    monkeypatch.setattr(tables, "FOREIGN", found)
    monkeypatch.setattr("salmon.ops.metrics.FOREIGN", found)
    return found


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, passed_over: ForeignRecords) -> Load:
    """Reads messages as a table of identities."""

    def load(*polls: Sequence[Any], decode: tables.Decode = CODEC.decode) -> Table:
        left = list(polls)
        monkeypatch.setattr(clients, "arrived", lambda consumer, n, timeout_s: left.pop(0) if left else [])
        monkeypatch.setattr(tables, "partition_counts", lambda admin: {TOPIC: 1})
        monkeypatch.setattr(tables, "first_offsets", lambda admin, topic, partitions: {0: 0})
        table = Table({"bootstrap.servers": "127.0.0.1:1"}, TOPIC, decode)
        table.follow()
        return table

    return load


@pytest.mark.parametrize(
    "value",
    [b'{"a":1}', b"", b"\0", b"\0\0\0\0\x63rest", CODEC.encode("a key")[:-2]],
    ids=["json", "empty", "short", "unknown schema", "cut off"],
)
def test_a_foreign_value_leaves_the_key_as_it_was(
    load: Load, passed_over: ForeignRecords, value: bytes
) -> None:
    """In the same batch or a later one: the true value still counts (case L7)."""
    ours = CODEC.encode("k1")
    for polls in (
        [[message(0, b"001A", ours), message(1, b"001A", value)]],
        [[message(0, b"001A", ours)], [message(1, b"001A", value)]],
    ):
        table = load(*polls)
        table.follow()
        assert table.rows == {"001A": "k1"}
        assert table.next_offsets == {0: 2}
    assert passed_over.counts() == {TOPIC: 1}, "however often it is read"


def test_a_foreign_key_is_passed_over_and_named_in_a_form_that_is_safe(load: Load) -> None:
    """Topic, partition, offset and key are in the log, once (case L7)."""
    with capture_logs() as logs:
        for _ in range(2):
            table = load([message(0, b"\xff\xfe\x1b[2J", b"x"), message(1, b"001A", CODEC.encode("k1"))])
    assert table.rows == {"001A": "k1"}
    (line,) = [each for each in logs if each["event"] == "foreign_record_passed_over"]
    assert (line["topic"], line["partition"], line["offset"]) == (TOPIC, 0, 0)
    assert line["key"] == r"\\xff\\xfe\x1b[2J"


def test_a_registry_that_is_away_makes_nothing_foreign(load: Load, passed_over: ForeignRecords) -> None:
    """What cannot be read now is read by the next call: no value is lost meanwhile, and none is blamed."""
    asked = 0

    def decode(value: bytes) -> str:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise Unavailable("the registry does not answer")
        return CODEC.decode(value)

    table = load(
        [message(0, b"001A", CODEC.encode("k1"))], [message(1, b"001B", CODEC.encode("k2"))], decode=decode
    )
    with pytest.raises(Unavailable):
        table.follow()
    assert table.follow() == {"001B": "k2"}
    assert passed_over.counts() == {}


def test_thousands_of_foreign_records_are_no_accident(load: Load) -> None:
    """A registry that was made anew knows none of our schemas: going on would forget every state (case L7)."""
    with pytest.raises(SetupError, match=r"schema_registry\.url"):
        load([message(offset, b"%d" % offset, b"\0\0\0\0\x63rest") for offset in range(1_200)])


def test_a_record_of_another_schema_is_no_empty_row() -> None:
    """All of a row's fields may be missing; so any Avro record would pass for a row without values (case L7)."""
    registry = MemoryRegistry()
    schema = ObjectSchema("Account", (FieldSchema("Name", "string", Kind.STRING),))
    codec = Records(schema, registry, "crm.records.Account")
    codec.encode({"Name": "Acme"})
    with pytest.raises(SchemaMismatch, match="something else"):
        codec.decode(Offsets(registry, "crm.offsets").encode({"offset": 1}))


def test_a_position_that_is_no_object_is_foreign() -> None:
    """Valid JSON alone makes no position."""
    codec = Offsets(MemoryRegistry(), "crm.offsets")
    with pytest.raises(DataError, match="not a JSON object"):
        codec.decode(codec.encode_datum({"position": "5"}))


def test_foreign_records_are_counted_by_topic_in_the_metrics(load: Load) -> None:
    """So that an alert may fire on them."""
    load([message(0, b"001A", b'{"a":1}')])
    text = Metrics("merge").exposition().decode()
    assert f'salmon_foreign_records_total{{connector="merge",topic="{TOPIC}"}} 1.0' in text


def test_what_nobody_of_ours_wrote_is_not_counted_as_owed() -> None:
    """`salmon status` counts keys without decoding: a foreign one would be owed for ever (case L7)."""
    ours = CODEC.encode("k1")
    assert foreign.looks_ours(message(0, b"001A", ours))
    assert foreign.looks_ours(message(0, b"001A", None))
    for key, value in ((b"\xff\xfe", ours), (None, ours), (b"001A", b'{"a":1}'), (b"001A", b"")):
        assert not foreign.looks_ours(message(0, key, value))


def test_a_key_of_any_bytes_is_shown_harmlessly_and_in_short() -> None:
    """The log and the terminal get ASCII."""
    assert key_shown(None) is None
    assert key_shown("Ä\n".encode()) == r"\xc4\n"
    assert key_shown(b"x" * 200) == "x" * 80 + "..."
