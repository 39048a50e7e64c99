"""
The platform events of the demo: one that the org publishes and a collection receives, and one that a document becomes.

The events are defined in the simulated org and named in the configuration before the connectors start.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import fastavro
import requests
import yaml

from salmon.demo.people import Person
from salmon.devstack import private
from salmon.salesforce.reading.stream.subscription import Ended, Preset, Subscription
from salmon.salesforce.wire.pubsub_api.pubsub import PubSub

SHIPPED: Final = "Order_Shipped__e"
SHIPMENTS: Final = "shipments"
OPENED: Final = "Account_Opened__e"
_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    SHIPPED: ("Order_Number__c", "Carrier__c"),
    OPENED: ("Account_Key__c", "Account_Name__c"),
}
CONFIGURED: Final[Mapping[str, Mapping[str, Any]]] = {
    SHIPPED: {"collection": SHIPMENTS},
    OPENED: {
        "direction": "to_salesforce",
        "object": "Account",
        "fields": {"Account_Key__c": "$key", "Account_Name__c": "Name"},
    },
}
_CONTROL_MAX_S: Final = 10.0


def define(control_url: str, config: Path) -> None:
    """Let the org have the events, and the sync carry them. *config*: the sync.yaml, which is written again."""
    for event, fields in _FIELDS.items():
        body = {"event": event, "fields": dict.fromkeys(fields, "Text")}
        requests.post(f"{control_url}/events", json=body, timeout=_CONTROL_MAX_S).raise_for_status()
    said = yaml.safe_load(config.read_text(encoding="utf-8"))
    said["events"] = {name: dict(each) for name, each in CONFIGURED.items()}
    private.written(config, yaml.safe_dump(said, sort_keys=False, width=110))


class Subscriber:
    """A program in the org that listens to the events of one kind, as the person. For one thread."""

    def __init__(self, person: Person, event: str) -> None:
        self._pubsub = PubSub(person.config, person.sign_in)
        # From the earliest event: nothing reports when a stream that begins with the latest one is ready.
        self._subscription = Subscription(
            self._pubsub,
            f"/event/{event}",
            Preset.EARLIEST,
            fetch_size=100,
            silence_max_s=person.config.pubsub.silence_max_s,
            wake=threading.Event().set,
        )
        self._heard: list[Mapping[str, Any]] = []

    def heard(self) -> list[Mapping[str, Any]]:
        """All events so far, by their fields. Raises what the stream ended with, if it has."""
        while (received := self._subscription.peek()) is not None:
            if isinstance(received, Ended):
                raise received.error
            for each in received.events:
                schema = fastavro.parse_schema(dict(self._pubsub.schema_text(each.event.schema_id)))
                event: Any = fastavro.schemaless_reader(io.BytesIO(each.event.payload), schema, None)
                self._heard.append(event)
            self._subscription.pop()
        return list(self._heard)

    def close(self) -> None:
        """End the stream."""
        self._subscription.close()
        self._pubsub.close()
