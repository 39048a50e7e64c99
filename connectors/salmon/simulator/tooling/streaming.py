"""
What the records of setup mean for subscribers: custom channels with their members, and managed subscriptions.

Sources: Tooling API Developer Guide (PlatformEventChannel, PlatformEventChannelMember, ManagedEventSubscription); Change
Data Capture Developer Guide (enrichment, filters); Pub/Sub API ("Managed Event Subscriptions"). The key prefix of managed
subscriptions is that of the ids in published examples. Filters of platform events are refused: nothing says how the org
compares what is no record.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from salmon.simulator.events.cdc_schema import can_be_selected, event_name_of
from salmon.simulator.org.channels import MANAGED_MAX, ManagedSubscription, Member
from salmon.simulator.org.objects.platform_events import PREFIX
from salmon.simulator.org.org import Org
from salmon.simulator.org.refusals import Refusal
from salmon.simulator.org.transaction import Row
from salmon.simulator.soql.answering import row_test

Json = Mapping[str, Any]

STANDARD_CHANNEL: Final = "ChangeEvents"
_DATA: Final = "/data/"
_REPLAYS: Final = ("LATEST", "EARLIEST")
_STATES: Final = ("RUN", "STOP")


class Streaming:
    """Those of one org. *org* has the records of the Tooling API, *main* is the org that subscribers know."""

    def __init__(self, main: Org, org: Org) -> None:
        self._main = main
        self._org = org

    def object_of(self, entity: str) -> str | None:
        """The object that a change event's name stands for; None if it is not one."""
        return next(
            (each for each in self._main.objects if can_be_selected(each) and event_name_of(each) == entity),
            None,
        )

    def check_member(self, channel: str, entity: str, metadata: Json) -> None:
        """Raises Refusal for a member that its channel cannot have."""
        special = [name for name in ("enrichedFields", "filterExpression") if metadata.get(name)]
        if channel == STANDARD_CHANNEL and special:
            raise _wrong(f"{special[0]} is for custom channels", "Metadata")
        if self._kind_of(channel) == "event":
            if entity not in self._main.platform_events.names:
                message = f"{entity} is no platform event of this org"
                raise Refusal("INVALID_CROSS_REFERENCE_KEY", message, "SelectedEntity")
            if special:
                raise _wrong(f"{special[0]} is not supported for platform events", "Metadata")
            return
        owner = self.object_of(entity)
        if owner is None:
            message = f"{entity} is no change event of an object of this org"
            raise Refusal("INVALID_CROSS_REFERENCE_KEY", message, "SelectedEntity")
        if metadata.get("filterExpression"):
            try:
                row_test(self._main, owner, str(metadata["filterExpression"]))
            except Refusal as refusal:
                raise _wrong(refusal.message.strip(), "FilterExpression") from None

    def managed_row(self, full_name: str, metadata: Json) -> dict[str, Any]:
        """The row of a ManagedEventSubscription. Raises Refusal."""
        topic, state = metadata.get("topicName"), metadata.get("state")
        replays = [metadata.get(name, "LATEST") for name in ("defaultReplay", "errorRecoveryReplay")]
        if not full_name or not full_name.replace("_", "a").isalnum() or not metadata.get("label"):
            raise _wrong("A managed subscription needs a FullName and a label", "FullName")
        if state not in _STATES or any(each not in _REPLAYS for each in replays):
            message = "state is RUN or STOP; defaultReplay and errorRecoveryReplay are LATEST or EARLIEST"
            raise _wrong(message, "Metadata")
        if not self._is_topic(str(topic)):
            raise Refusal("INVALID_CROSS_REFERENCE_KEY", f"there is no topic {topic}", "TopicName")
        others = [row for row in self._rows("ManagedEventSubscription") if row["DeveloperName"] != full_name]
        if len(others) >= MANAGED_MAX:
            raise Refusal("LIMIT_EXCEEDED", f"an org can have {MANAGED_MAX} managed subscriptions")
        return {
            "DeveloperName": full_name, "MasterLabel": metadata["label"], "TopicName": topic, "State": state,
            "DefaultReplay": replays[0], "ErrorRecoveryReplay": replays[1], "FullName": full_name,
            "Metadata": json.dumps(metadata),
        }  # fmt: skip

    def apply(self) -> None:
        """Let subscribers have what the records say now."""
        channels = self._main.channels
        topics = {row["Id"]: _topic_of_channel(row) for row in self._rows("PlatformEventChannel")}
        custom: dict[str, dict[str, Member]] = {topic: {} for topic in topics.values()}
        for row in self._rows("PlatformEventChannelMember"):
            if (topic := topics.get(row.get("EventChannel"))) is not None:
                entity = str(row["SelectedEntity"])
                owner = self.object_of(entity)
                member = Member(entity) if owner is None else self._member(row, owner)
                custom[topic][(PREFIX if owner is None else _DATA) + entity] = member
        channels.custom = custom
        managed = {str(row["Id"]): row for row in self._rows("ManagedEventSubscription")}
        for gone in set(channels.managed) - set(managed):
            del channels.managed[gone]
        for record_id, row in managed.items():
            said = _Said(row)
            known = channels.managed.get(record_id)
            if known is None:
                channels.managed[record_id] = said.subscription(record_id)
            else:
                said.change(known)
        channels.changed()

    def _member(self, row: Row, owner: str) -> Member:
        fields = [
            str(each["Field"])
            for each in self._rows("EnrichedField")
            if each.get("ChannelMemberId") == row["Id"]
        ]
        condition = row.get("FilterExpression")
        passes = row_test(self._main, owner, str(condition)) if condition else None
        return Member(owner, tuple(fields), passes)

    def _kind_of(self, channel: str) -> str:
        rows = self._rows("PlatformEventChannel")
        return next((str(row["ChannelType"]) for row in rows if row["FullName"] == channel), "data")

    def _is_topic(self, topic: str) -> bool:
        if topic == _DATA + STANDARD_CHANNEL:
            return True
        if topic.endswith("__chn"):
            return topic in {_topic_of_channel(row) for row in self._rows("PlatformEventChannel")}
        if topic.startswith(PREFIX):
            return topic.removeprefix(PREFIX) in self._main.platform_events.names
        return topic.startswith(_DATA) and self.object_of(topic.removeprefix(_DATA)) is not None

    def _rows(self, object_name: str) -> list[Row]:
        return list(self._org.tables[object_name].live.values())


class _Said:
    """What the row of a managed subscription says."""

    def __init__(self, row: Row) -> None:
        self._row = row

    def subscription(self, record_id: str) -> ManagedSubscription:
        row = self._row
        return ManagedSubscription(
            subscription_id=record_id,
            developer_name=str(row["DeveloperName"]),
            topic=str(row["TopicName"]),
            default_replay=str(row["DefaultReplay"]),
            error_replay=str(row["ErrorRecoveryReplay"]),
            running=row["State"] == "RUN",
        )

    def change(self, known: ManagedSubscription) -> None:
        """Keep the committed position and the client; another topic has other positions."""
        said = self.subscription(known.subscription_id)
        if known.topic != said.topic:
            known.committed = None
        known.topic, known.running = said.topic, said.running
        known.default_replay, known.error_replay = said.default_replay, said.error_replay


def _topic_of_channel(row: Row) -> str:
    return f"{PREFIX if row['ChannelType'] == 'event' else _DATA}{row['FullName']}"


def _wrong(message: str, field: str) -> Refusal:
    return Refusal("FIELD_INTEGRITY_EXCEPTION", message, field)
