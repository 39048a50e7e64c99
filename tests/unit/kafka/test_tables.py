"""Tables as they are read: what comes beside an error. No broker is needed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError

from salmon.errors import Unavailable
from salmon.kafka import clients, tables
from salmon.kafka.tables import Table

TOPIC = "crm.identity.Account"


def message(offset: int, key: str = "", error: KafkaError | None = None) -> Any:
    """A record, or an error, as librdkafka gives it."""
    return SimpleNamespace(
        topic=lambda: TOPIC,
        partition=lambda: 0,
        offset=lambda: offset,
        key=key.encode,
        value=lambda: b"value",
        error=lambda: error,
    )


def test_records_beside_an_error_are_taken_in_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """They were consumed, and would not come again; whoever follows the table must hear of them."""
    trouble = KafkaError(KafkaError._ALL_BROKERS_DOWN)
    polls = [[message(0, "a"), message(1, error=trouble), message(1, "b")], [message(2, "c")]]
    monkeypatch.setattr(clients, "arrived", lambda consumer, n, timeout_s: polls.pop(0))
    monkeypatch.setattr(tables, "partition_counts", lambda admin: {TOPIC: 1})
    monkeypatch.setattr(tables, "first_offsets", lambda admin, topic, partitions: {0: 0})
    table = Table({"bootstrap.servers": "127.0.0.1:1"}, TOPIC, partitions=[0])
    assert table.follow() == {"a": b"value", "b": b"value"}
    with pytest.raises(Unavailable):
        table.follow()
    assert table.follow() == {"c": b"value"}
    assert sorted(table.rows) == ["a", "b", "c"]
    table.close()
