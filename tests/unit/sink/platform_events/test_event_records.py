"""Which changes of an object are published as events, and what is in them."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import Message

from salmon.config.events import EventConfig
from salmon.errors import SetupError
from salmon.model.change import MONGODB, SALESFORCE, Change, Op
from salmon.sink.platform_events.event_records import change_decoder
from support.at_hand.memory_sync import MemorySync
from support.runtime import OBJECT, SCHEMA

EVENT = "Thing_Changed__e"
FIELDS = {"Key__c": "$key", "What__c": "$change", "At__c": "$changed_at", "Name__c": "Name"}


def config(**more: Any) -> EventConfig:
    return EventConfig(direction="to_salesforce", object=OBJECT, fields=FIELDS, **more)


def published(change: Change, **more: Any) -> Any:
    """What is published of a change."""
    sync = MemorySync()
    topic = sync.topics.changes(OBJECT)
    sync.produce(topic, "k", sync.changes_codec.encode(change))
    (message,) = sync.records(topic)
    return change_decoder(EVENT, config(**more), SCHEMA, sync.changes_codec)(message)


def test_a_users_change_is_an_event_with_the_fields_of_the_configuration() -> None:
    """The key, the kind, the time and a field of the record."""
    record = published(Change(MONGODB, Op.CREATE, committed_at=1_700_000_000_000, fields={"Name": "Acme"}))
    assert record.object == EVENT
    assert record.write.fields == {
        "Key__c": "k",
        "What__c": "create",
        "At__c": "2023-11-14T22:13:20.000Z",
        "Name__c": "Acme",
    }
    assert record.write.committed_at == 1_700_000_000_000


@pytest.mark.parametrize(
    "change",
    [
        Change(SALESFORCE, Op.CREATE),
        Change(MONGODB, Op.CREATE, ack=7),
        Change(MONGODB, Op.CREATE, by_us=True),
        Change(MONGODB, Op.UPDATE, changed=frozenset({"Name"})),
        Change(MONGODB, Op.ROW, as_of=1),
        Change(MONGODB, Op.REFUSED, ack=7),
    ],
    ids=["the other side's", "our write", "what followed of it", "not chosen", "a row", "an outcome"],
)
def test_what_no_user_of_the_side_did_is_not_published(change: Change) -> None:
    """Else each event would cause another one, or none was meant."""
    assert published(change) is None


def test_updates_and_deletions_are_published_if_they_are_chosen() -> None:
    """Of an update, the event has the fields that changed."""
    update = Change(MONGODB, Op.UPDATE, changed=frozenset({"Name"}), fields={"Name": "B"})
    assert published(update, when=("update",)).write.fields["Name__c"] == "B"
    deleted = published(Change(MONGODB, Op.DELETE), when=("update", "delete"))
    assert deleted.write.fields["What__c"] == "delete"


def test_the_id_of_an_event_is_always_the_same_for_the_same_change() -> None:
    """A subscriber recognizes an event that is published again; another change has another."""
    sync = MemorySync(partitions=1)
    topic = sync.topics.changes(OBJECT)
    for _ in range(2):
        sync.produce(topic, "k", sync.changes_codec.encode(Change(MONGODB, Op.CREATE)))
    decode = change_decoder(EVENT, config(), SCHEMA, sync.changes_codec)

    def ids(messages: list[Message]) -> list[str]:
        return [record.key for each in messages if (record := decode(each)) is not None]

    first, again = ids(sync.records(topic)), ids(sync.records(topic))
    assert first == again
    assert len(set(first)) == 2


def test_a_field_that_the_object_lacks_is_said_before_anything_is_published() -> None:
    """By its name, and where to correct it."""
    sync = MemorySync()
    wrong = EventConfig(direction="to_salesforce", object=OBJECT, fields={"A__c": "Nmae"})
    with pytest.raises(SetupError, match=f"no synced field Nmae. Correct events.{EVENT}.fields"):
        change_decoder(EVENT, wrong, SCHEMA, sync.changes_codec)
