"""What the doctor says of a platform event."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from salmon.config.events import EventConfig
from salmon.doctor.checks import Check, Line, Outcome, examine
from salmon.doctor.events import EventChecks
from salmon.errors import RequestRejected

EVENT = "Order_Placed__e"
READ = EventConfig(collection="orders")
PUBLISHED = EventConfig(direction="to_salesforce", object="Account", fields={"Name__c": "Name"})


class PubSub:
    """An org with one event."""

    def __init__(self, *, may: bool = True, there: bool = True, field: str = "Name__c") -> None:
        self.may, self.there, self.field = may, there, field

    def topic(self, name: str) -> Any:
        if not self.there:
            raise RequestRejected(f"{name}: topic.not.found.", code="topic.not.found")
        return SimpleNamespace(schema_id="one", can_publish=self.may, can_subscribe=self.may)

    def schema_text(self, schema_id: str) -> Mapping[str, Any]:
        return {"fields": [{"name": self.field, "type": ["null", "string"]}]}


def looked(pubsub: PubSub, config: EventConfig = READ) -> Line:
    (check,) = EventChecks(EVENT, config, pubsub).checks()
    (line,) = examine([Check(check.name, check.what, check.look)])
    return line


@pytest.mark.parametrize("config", [READ, PUBLISHED], ids=["read", "published"])
def test_an_event_that_the_user_may_use_is_ok(config: EventConfig) -> None:
    """In the direction of the configuration."""
    assert looked(PubSub(), config).outcome is Outcome.OK


@pytest.mark.parametrize(
    ("pubsub", "config", "mend"),
    [
        (PubSub(there=False), READ, "Correct its name under `events`"),
        (PubSub(may=False), READ, f"the right to read {EVENT}"),
        (PubSub(may=False), PUBLISHED, f"the right to create {EVENT}"),
        (PubSub(field="Other__c"), PUBLISHED, f"Correct events.{EVENT}.fields"),
    ],
    ids=["missing", "may not read", "may not publish", "field"],
)
def test_what_is_missing_is_said_with_its_mend(pubsub: PubSub, config: EventConfig, mend: str) -> None:
    """Each in one line."""
    line = looked(pubsub, config)
    assert line.outcome is Outcome.FAIL
    assert mend in line.mend
