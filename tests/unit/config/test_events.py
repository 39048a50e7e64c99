"""`events` in the configuration: what is taken, and what is refused in one sentence."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from salmon.config import models as config
from salmon.errors import ConfigError
from support.sync_config import sync_config

BASE = sync_config()


OUTBOX = {"direction": "to_salesforce", "collection": "outbox", "fields": {"X__c": "total"}}


def loaded(tmp_path: Any, events: Any) -> config.SyncConfig:
    path = tmp_path / "sync.yaml"
    path.write_text(yaml.safe_dump({**BASE, "events": events}))
    return config.load(path, env={})


def test_events_are_read_into_kafka_and_into_a_collection_if_one_is_named(tmp_path: Any) -> None:
    """The direction is that of most; standard events have no __e."""
    events = loaded(
        tmp_path, {"Order_Shipped__e": {"collection": "shipments"}, "BatchApexErrorEvent": {}}
    ).events
    assert events["Order_Shipped__e"].collection == "shipments"
    assert events["BatchApexErrorEvent"].collection is None
    assert {each.direction for each in events.values()} == {"to_mongodb"}


def test_a_collection_of_its_own_can_be_an_outbox(tmp_path: Any) -> None:
    """Its documents are told the outcome unless that is switched off."""
    event = loaded(tmp_path, {"A__e": OUTBOX}).events["A__e"]
    assert event.outbox == "outbox"
    assert event.outcomes


@pytest.mark.parametrize(
    ("events", "told"),
    [
        ({"Order Shipped": {}}, "events.Order Shipped: must be the API name of a platform event"),
        ({"A__e": {"collection": "accounts"}}, "line 3: events.A__e.collection: belongs to something else"),
        ({"A__e": {"collection": "x"}, "B__e": {"collection": "x"}}, "belongs to something else"),
        ({"A__e": {"collection": "system.x"}}, "events.A__e.collection: must not begin with system."),
        ({"A__e": {"object": "Account"}}, "object and fields are for direction: to_salesforce"),
        ({"A__e": {"direction": "to_salesforce"}}, "needs fields, and either object or collection"),
        (
            {"A__e": {**OUTBOX, "object": "Account"}},
            "needs fields, and either object or collection",
        ),
        ({"A__e": {**OUTBOX, "when": ["update"]}}, "when and side are for object"),
        ({"A__e": {**OUTBOX, "collection": "accounts"}}, "or name the object whose changes"),
        ({"A__e": {**OUTBOX, "fields": {"X__c": "a..b"}}}, "fields.X__c: must name a path in the document"),
        ({"A__e": {**OUTBOX, "fields": {"X__c": "$id"}}}, "may only name"),
        ({"A__e": {"collection": "x", "outcomes": False}}, "outcomes is for an outbox"),
        (
            {"A__e": {"direction": "to_salesforce", "object": "Lead", "fields": {"X__c": "Name"}}},
            "must be one of the synced objects",
        ),
        (
            {"A__e": {"direction": "to_salesforce", "object": "Account", "fields": {"X__c": "$id"}}},
            "may only name",
        ),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Any, events: Any, told: str) -> None:
    """With the key and what is right."""
    with pytest.raises(ConfigError) as refused:
        loaded(tmp_path, events)
    assert told in str(refused.value)
