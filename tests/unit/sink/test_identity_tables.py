"""Identities that become known while a sink runs."""

from __future__ import annotations

import pytest

from salmon.errors import Unavailable
from salmon.kafka.topics import Topics
from salmon.sink import identity_tables
from salmon.sink.identity_tables import IdentityTables
from support.at_hand.registries import MemoryRegistry

TOPICS = Topics("crm")


class FakeTable:
    """A table that gives what it is told to give, once."""

    def __init__(self) -> None:
        self.news: dict[str, str | None] = {}
        self.fails = False

    def follow(self) -> dict[str, str | None]:
        if self.fails:
            raise Unavailable("no broker answers")
        news, self.news = self.news, {}
        return news


def test_what_one_table_told_outlives_that_another_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for that parent would wait for ever: no table tells a thing twice."""
    tables: dict[str, FakeTable] = {}

    def make(_kafka: object, topic: str, _decode: object) -> FakeTable:
        return tables.setdefault(topic, FakeTable())

    monkeypatch.setattr(identity_tables, "Table", make)
    known = IdentityTables({}, TOPICS, MemoryRegistry(), ("Account", "Contact"))
    account, contact = tables[TOPICS.identity("Account")], tables[TOPICS.identity("Contact")]
    account.news = {"001A": "m1"}
    contact.fails = True
    with pytest.raises(Unavailable):
        known.follow()
    contact.fails = False
    assert known.follow() == {("Account", "m1")}
    assert known.follow() == set()
