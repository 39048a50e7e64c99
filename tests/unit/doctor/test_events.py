"""What the doctor says of a platform event."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from salmon.config.events import EventConfig
from salmon.config.models import ObjectConfig
from salmon.doctor.checks import Check, Line, Outcome, examine
from salmon.doctor.events import EventChecks
from salmon.errors import RequestRejected
from support.orgs.describes import describe

EVENT = "Order_Placed__e"
READ = EventConfig(collection="orders")
PUBLISHED = EventConfig(direction="to_salesforce", object="Account", fields={"Name__c": "Name"})


OBJECT = ObjectConfig(collection="accounts")


class PubSub:
    """An org with one event, of which REST says that a field may not be empty."""

    def __init__(
        self, *, may: bool = True, there: bool = True, field: str = "Name__c", more: tuple[str, ...] = ()
    ) -> None:
        self.may, self.there, self.field, self.more = may, there, field, more

    def topic(self, name: str) -> Any:
        if not self.there:
            raise RequestRejected(f"{name}: topic.not.found.", code="topic.not.found")
        return SimpleNamespace(schema_id="one", can_publish=self.may, can_subscribe=self.may)

    def schema_text(self, schema_id: str) -> Mapping[str, Any]:
        return {"fields": [{"name": name, "type": ["null", "string"]} for name in (self.field, *self.more)]}

    def describe(self, name: str) -> Mapping[str, Any]:
        if name == "Account":
            account = describe(name)
            return {**account, "fields": [field for field in account["fields"] if field["name"] == "Name"]}
        shown = {"createable": True, "nillable": False, "defaultedOnCreate": False}
        return {"fields": [{"name": self.field, **shown}, {"name": "ReplayId", **shown}]}


def all_lines(pubsub: PubSub, config: EventConfig, of: ObjectConfig | None = OBJECT) -> list[Line]:
    (check,) = EventChecks(EVENT, config, pubsub, pubsub, of).checks()
    return list(examine([Check(check.name, check.what, check.look)]))


def looked(pubsub: PubSub, config: EventConfig = READ) -> Line:
    (line,) = all_lines(pubsub, config, None if config is READ else OBJECT)
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


def test_a_field_that_the_object_lacks_and_one_that_the_event_insists_on_are_told() -> None:
    """Before the first event is refused, or goes out empty: each in a line of its own, with its mend."""
    config = PUBLISHED.model_copy(update={"fields": {"Key__c": "$key", "Fax__c": "Fax"}})
    pubsub = PubSub(more=("Key__c", "Fax__c"))
    event, empty, required = all_lines(pubsub, config)
    assert event.outcome is Outcome.OK
    assert (empty.name, empty.outcome) == (f"events.{EVENT}.fields", Outcome.FAIL)
    assert "Account has no field Fax" in empty.says
    assert (required.name, required.outcome) == (f"events.{EVENT}.required", Outcome.FAIL)
    assert required.says.startswith("Name__c:")
