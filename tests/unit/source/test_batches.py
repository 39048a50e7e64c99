"""A source's batch as the records of a transaction, and what is given up of what Kafka does not take."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from salmon.errors import BadRecordKey, DataError, RecordTooLarge, SchemaMismatch
from salmon.kafka.codecs.outbox import Outcomes
from salmon.kafka.codecs.serdes import Changes
from salmon.kafka.offsets import OffsetStore
from salmon.kafka.output import Output
from salmon.kafka.topics import Topics
from salmon.model.change import Change, Misfit, Op
from salmon.plugin.contract import DeadLetter, EventRecord, IdentityRecord, SourceBatch, SourceRecord
from salmon.source.batches import BatchEncoder, Encoded
from support.at_hand.registries import MemoryRegistry
from support.world.nature import SCHEMA

TOPICS = Topics("crm")
OBJECT = SCHEMA.name
DLQ = TOPICS.dlq("a-source")
TOO_LARGE = RecordTooLarge("too large")
REFUSED = DataError("the brokers refuse the record")
REGISTRY = MemoryRegistry()


EVENT = "Sent__e"


def encoder(*, tells: bool = True) -> BatchEncoder:
    entries = OffsetStore({}, TOPICS, REGISTRY)
    return BatchEncoder(
        "a-source",
        TOPICS,
        REGISTRY,
        {OBJECT: SCHEMA},
        entries,
        task_class="tests.Source",
        outboxes={EVENT: tells},
    )


def record(key: str, **fields: Any) -> SourceRecord:
    change = Change(origin="salesforce", op=Op.ROW, committed_at=1, as_of=1, fields=fields)
    return SourceRecord(OBJECT, key, change)


def kafka(refuses: Callable[[Output], bool]) -> Callable[[Sequence[Output]], bool]:
    """Kafka, which does not take what it *refuses*."""
    return lambda outputs: not any(refuses(output) for output in outputs)


def larger_than(most: int) -> Callable[[Output], bool]:
    return lambda output: len(output.value or b"") > most


def change_of(encoded: Encoded, key: str) -> Change:
    """The change of a key, as it is written."""
    codec = Changes(SCHEMA, REGISTRY, TOPICS.changes(OBJECT))
    (value,) = [each.value for each in encoded.outputs if (each.topic, each.key) == (codec.topic, key)]
    assert value is not None
    return codec.decode(value)


def test_of_a_change_that_is_too_large_only_its_largest_value_is_set_aside() -> None:
    """
    The rest of it goes on, and says which field it had to leave out (case L9). The position and the identities are larger
    here, and stay: without them more than that record would be lost.
    """
    position = {"replay_id": "00" * 1000}
    identity = IdentityRecord(OBJECT, "001A", "k" * 255)
    large = record("large", Name="Acme", City="x" * 900)
    whole = encoder().encode(
        SourceBatch([record("small", City="x"), large], {"stream": position}, [identity])
    )
    less = encoder().without_refused(whole, TOO_LARGE, kafka(larger_than(800)))
    assert [each.key for each in less.written] == ["small", "large"]
    told = change_of(less, "large")
    assert told.fields == {"Name": "Acme"}
    assert told.misfits.keys() == {"City"}
    assert told.changed == frozenset(SCHEMA.by_name) - {"City"}
    kept = {output.topic for output in less.outputs}
    assert {TOPICS.offsets, TOPICS.identity(OBJECT), DLQ} <= kept
    (letter,) = [output for output in less.outputs if output.topic == DLQ]
    assert (letter.key, json.loads(letter.value or b"")) == ("large", {"Name": "Acme"})
    assert (
        b"City: its value is too large for Kafka"
        in dict(letter.headers)["__connect.errors.exception.message"]
    )
    assert less.dead_letters == 1


def test_an_innocent_record_is_kept_however_large_it_is() -> None:
    """The brokers refuse a small one for what it says; the largest of the batch has done nothing (case L9)."""
    records = [record(f"r{n}", City="x" * n) for n in range(9)]
    whole = encoder().encode(SourceBatch(records))
    less = encoder().without_refused(
        whole, REFUSED, kafka(lambda o: o.key == "r3" and b"xxx" in (o.value or b""))
    )
    assert [change_of(less, f"r{n}").fields for n in (2, 4, 8)] == [{"City": "x" * n} for n in (2, 4, 8)]
    assert change_of(less, "r3").misfits.keys() == {"City"}
    assert [output.key for output in less.outputs if output.topic == DLQ] == ["r3"]


def test_a_change_that_has_no_values_left_is_a_dead_letter() -> None:
    """The brokers refuse whatever is told of this record: nothing else can be done, and it says why."""
    whole = encoder().encode(SourceBatch([record("bad", City="x"), record("good", City="y")]))
    refuses = kafka(lambda output: output.key == "bad" and output.topic != DLQ)
    once = encoder().without_refused(whole, REFUSED, refuses)
    twice = encoder().without_refused(once, REFUSED, refuses)
    assert [each.key for each in twice.written] == ["good"]


def test_a_dead_letter_that_is_too_large_keeps_its_first_error() -> None:
    """It goes without its original, and still says what was wrong with the report (case L9)."""
    letter = DeadLetter(OBJECT, "a", b"x" * 2_000, DataError("Employees: a String is not an int."))
    whole = encoder().encode(SourceBatch([record("a", City="x" * 100)], dead_letters=[letter]))
    less = encoder().without_refused(whole, TOO_LARGE, kafka(larger_than(1_000)))
    (told,) = [output for output in less.outputs if output.topic == DLQ]
    assert told.value is None
    assert dict(told.headers)["__connect.errors.exception.message"] == b"Employees: a String is not an int."
    assert change_of(less, "a").fields == {"City": "x" * 100}


def test_a_value_that_cannot_be_written_is_left_out_alone() -> None:
    """A source that tells a number where the schema says text: the rest of the record goes on."""
    encoded = encoder().encode(SourceBatch([record("a", Name="Acme", City=7)]))
    told = change_of(encoded, "a")
    assert told.fields == {"Name": "Acme"}
    assert told.misfits["City"].code == "NOT_OF_TYPE"
    assert encoded.dead_letters == 1


def test_misfits_travel_with_their_change() -> None:
    """As the source reports them."""
    change = Change("mongodb", Op.UPDATE, changed=frozenset(), misfits={"City": Misfit("NOT_OF_TYPE", "why")})
    encoded = encoder().encode(SourceBatch([SourceRecord(OBJECT, "a", change)]))
    assert change_of(encoded, "a") == change


def test_where_nothing_is_left_to_set_aside_the_error_is_raised() -> None:
    """It never loops over a batch that has nothing to blame."""
    with pytest.raises(DataError):
        encoder().without_refused(Encoded(), TOO_LARGE, kafka(larger_than(0)))


def outcomes_of(encoded: Encoded) -> dict[Any, str]:
    """Document -> why it became no event, as it is told."""
    codec = Outcomes(REGISTRY, TOPICS.outcomes(EVENT))
    return {
        each.key: codec.decode(each.value or b"").error
        for each in encoded.outputs
        if each.topic == codec.topic
    }


def test_a_document_of_an_outbox_that_is_set_aside_is_told_why() -> None:
    """In the transaction of its dead letter: when it is read, and when Kafka refuses it."""
    unreadable = DeadLetter(EVENT, "$int:1", b"{}", SchemaMismatch("number: the document holds a double"))
    large = EventRecord(EVENT, "$int:2", {"A__c": "x" * 1000}, b"")
    batch = SourceBatch(events=(large,), dead_letters=(unreadable,))
    encoded = encoder().encode(batch)
    assert outcomes_of(encoded) == {"$int:1": "number: the document holds a double"}
    less = encoder().without_refused(encoded, TOO_LARGE, kafka(larger_than(900)))
    assert outcomes_of(less) == {**outcomes_of(encoded), "$int:2": "too large"}
    assert sorted(str(each.key) for each in less.outputs if each.topic == DLQ) == ["$int:1", "$int:2"]
    assert outcomes_of(encoder(tells=False).encode(batch)) == {}


def test_a_document_whose_id_is_no_key_is_a_dead_letter_alone() -> None:
    """No outcome could find it, and what its _id looks like may be the key of another document."""
    letter = DeadLetter(EVENT, "$int:1", b"{}", BadRecordKey("an _id of type dict cannot be a record key."))
    encoded = encoder().encode(SourceBatch(dead_letters=(letter,)))
    assert [each.topic for each in encoded.outputs] == [DLQ]
