"""Custom channels with enrichment and filters, and subscriptions whose position the simulated org keeps."""

from __future__ import annotations

import uuid
from typing import Any

import grpc
import pytest

from salmon.simulator.server import Simulator
from support.orgs.boxes import Box
from support.orgs.event_box import ACCOUNTS, ALL, CODE
from support.orgs.pubsub import Client, Ended, Publishing, Wire
from support.waiting import until

ORDERS = "/event/Order_Event__e"


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """With one platform event."""
    with Simulator.start(tmp_path_factory.mktemp("box")) as running:
        definition = {"event": "Order_Event__e", "fields": {"City__c": "Text"}}
        assert Box(running).control("POST", "/events", definition).status_code == 201
        yield running


def made(box: Box, kind: str, full_name: str, metadata: dict[str, Any]) -> str:
    """A record of setup; its id."""
    answer = box.call("POST", f"tooling/sobjects/{kind}", {"FullName": full_name, "Metadata": metadata})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def channel(box: Box, *members: dict[str, Any], kind: str = "data") -> str:
    """A new channel with these members; its topic."""
    name = f"C{uuid.uuid4().hex[:8]}__chn"
    made(box, "PlatformEventChannel", name, {"channelType": kind, "label": name})
    for number, each in enumerate(members):
        made(box, "PlatformEventChannelMember", f"{name[:9]}_{number}", {"eventChannel": name, **each})
    return f"/{'data' if kind == 'data' else 'event'}/{name}"


def changes(box: Box, entity: str, *, on: bool) -> None:
    """Select an object for the standard channel, or deselect it."""
    box.control("POST", "/faults", {"fault": "cdc", "object": entity, "on": on})


def position(client: Client) -> bytes:
    """Where the bus stands now, so that a test hears its own events alone."""
    [result] = client.publish(ORDERS, client.event(ORDERS)).results
    return bytes(result.replay_id)


def test_a_channel_carries_its_members_and_nothing_else(box: Box, client: Client) -> None:
    """Also those that the standard channel does not have; a channel has no schema and takes no events."""
    changes(box, "Contact", on=False)
    topic = channel(box, {"selectedEntity": "ContactChangeEvent"})
    try:
        start = position(client)
        account = box.create("Account", Name="A")
        contact = box.create("Contact", LastName="C", AccountId=account)
        [heard] = client.subscribe(topic, preset="CUSTOM", replay_id=start).events(1)
        assert client.decode(heard)["ChangeEventHeader"]["recordIds"] == [contact]
        [standard] = client.subscribe(ALL, preset="CUSTOM", replay_id=start).events(1)
        assert client.decode(standard)["ChangeEventHeader"]["entityName"] == "Account"
    finally:
        changes(box, "Contact", on=True)
    info = client.topic(topic)
    assert (info.schema_id, info.can_publish, info.can_subscribe) == ("", False, True)
    with pytest.raises(grpc.RpcError) as raised:
        client.publish(topic, client.event(ORDERS))
    assert Ended(raised.value).error_code == CODE + "topic.meta.permission"


def test_a_channel_of_platform_events_carries_them(client: Client, box: Box) -> None:
    """Its topic begins with /event/, as theirs do."""
    topic = channel(box, {"selectedEntity": "Order_Event__e"}, kind="event")
    start = position(client)
    client.publish(ORDERS, client.event(ORDERS, "mine", City__c="Ulm"))
    [heard] = client.subscribe(topic, preset="CUSTOM", replay_id=start).events(1)
    assert heard.event.id == "mine"


def test_enriched_fields_are_in_updates_and_deletions_and_are_not_changed_fields(
    box: Box, client: Client
) -> None:
    """They show what the record has now; a field that the update changed shows what it changed to."""
    enriched = [{"name": "Industry"}, {"name": "BillingCity"}, {"name": "Phone"}]
    topic = channel(box, {"selectedEntity": "AccountChangeEvent", "enrichedFields": enriched})
    start = position(client)
    account = box.create("Account", Name="A", Industry="Energy", BillingCity="Ulm", Phone="1")
    box.call("PATCH", f"sobjects/Account/{account}", {"Phone": "2"})
    box.call("PATCH", f"sobjects/Account/{account}", {"Phone": "3", "Industry": "Media"})
    box.call("DELETE", f"sobjects/Account/{account}")
    heard = client.subscribe(topic, preset="CUSTOM", replay_id=start).events(4)
    created, second, third, deleted = (client.decode(each) for each in heard)
    assert created["Industry"] == "Energy"
    assert (second["Phone"], second["Industry"], second["BillingAddress"]["City"]) == ("2", "Media", "Ulm")
    plain = client.subscribe(ACCOUNTS, preset="CUSTOM", replay_id=start).events(4)
    of_plain = client.decode(plain[1])
    assert "Industry" not in of_plain
    assert second["ChangeEventHeader"] == of_plain["ChangeEventHeader"]
    assert third["Phone"] == "3"
    assert (deleted["ChangeEventHeader"]["changeType"], deleted["Phone"]) == ("DELETE", "3")


def test_a_merged_event_is_several_with_one_replay_id_on_an_enriched_channel(
    box: Box, client: Client
) -> None:
    """A client that asks for one of three gets the others with its next request, under the same replay id."""
    enriched = [{"name": "Name"}]
    topic = channel(box, {"selectedEntity": "AccountChangeEvent", "enrichedFields": enriched})
    ids = [box.create("Account", Name=name) for name in "ABC"]
    start = position(client)
    records = [{"attributes": {"type": "Account"}, "Id": each, "Industry": "Energy"} for each in ids]
    box.call("PATCH", "composite/sobjects", {"records": records})
    [merged] = client.subscribe(ACCOUNTS, preset="CUSTOM", replay_id=start).events(1)
    assert client.decode(merged)["ChangeEventHeader"]["recordIds"] == ids
    stream = client.subscribe(topic, 1, preset="CUSTOM", replay_id=start)
    heard = stream.events(1)
    stream.ask(2)
    heard += stream.events(2)
    assert [client.decode(each)["ChangeEventHeader"]["recordIds"] for each in heard] == [[i] for i in ids]
    assert [client.decode(each)["Name"] for each in heard] == list("ABC")
    assert {each.replay_id for each in heard} == {merged.replay_id}
    assert len({each.event.id for each in heard}) == 3


@pytest.mark.parametrize("fault", ["gap", "overflow"])
def test_an_event_that_says_nothing_of_its_record_is_not_enriched(
    box: Box, client: Client, fault: str
) -> None:
    """A gap event and one of too many changes carry their header alone, on this channel, too."""
    enriched = [{"name": "Industry"}]
    topic = channel(box, {"selectedEntity": "AccountChangeEvent", "enrichedFields": enriched})
    account = box.create("Account", Name="A", Industry="Energy")
    start = position(client)
    box.control("POST", "/faults", {"fault": fault, "object": "Account", "count": 1})
    box.call("PATCH", f"sobjects/Account/{account}", {"Phone": "2"})
    [heard] = client.subscribe(topic, preset="CUSTOM", replay_id=start).events(1)
    payload = client.decode(heard)
    assert payload.pop("ChangeEventHeader")["changeType"] in ("GAP_UPDATE", "GAP_OVERFLOW")
    assert payload == {}, "nothing but nulls"


@pytest.mark.parametrize("fault", ["gap", "overflow", "wildcard"])
def test_a_filter_holds_back_no_event_that_does_not_say_which_record_it_is_of(
    box: Box, client: Client, fault: str
) -> None:
    """What it stands for is unknown: gap events, too many changes, and all records at once."""
    rule = {"selectedEntity": "AccountChangeEvent", "filterExpression": "Industry = 'Energy'"}
    topic = channel(box, rule)
    start = position(client)
    box.control("POST", "/faults", {"fault": fault, "object": "Account", "count": 1})
    box.create("Account", Name="A", Industry="Media")
    [heard] = client.subscribe(topic, preset="CUSTOM", replay_id=start).events(1)
    assert client.decode(heard).keys() == {"ChangeEventHeader"}


def test_a_filter_lets_through_what_it_says_and_only_that_is_delivered(box: Box, client: Client) -> None:
    """A SOQL condition on the record; events that it holds back are not counted as delivered."""
    rule = {"selectedEntity": "AccountChangeEvent", "filterExpression": "Industry = 'Energy'"}
    topic = channel(box, rule)
    start = position(client)
    box.create("Account", Name="A", Industry="Media")
    box.create("Account", Name="B", Industry="Energy")
    before = box.org.usage.events_delivered
    [heard] = client.subscribe(topic, preset="CUSTOM", replay_id=start).events(1)
    assert client.decode(heard)["Name"] == "B"
    assert box.org.usage.events_delivered == before + 1


@pytest.mark.parametrize(
    ("name", "metadata", "code"),
    [
        ("ChangeEvents", {"enrichedFields": [{"name": "Phone"}]}, "FIELD_INTEGRITY_EXCEPTION"),
        ("ChangeEvents", {"filterExpression": "Phone = null"}, "FIELD_INTEGRITY_EXCEPTION"),
        ("data", {"filterExpression": "Nothing__c = 1"}, "FIELD_INTEGRITY_EXCEPTION"),
        ("data", {"selectedEntity": "Order_Event__e"}, "INVALID_CROSS_REFERENCE_KEY"),
        ("event", {}, "INVALID_CROSS_REFERENCE_KEY"),
        (
            "event",
            {"selectedEntity": "Order_Event__e", "filterExpression": "City__c = 'Ulm'"},
            "FIELD_INTEGRITY_EXCEPTION",
        ),
    ],
    ids=["enriched standard", "filtered standard", "bad filter", "event on data", "data on event", "filter"],
)
def test_a_member_that_its_channel_cannot_have_is_refused(
    box: Box, name: str, metadata: dict[str, Any], code: str
) -> None:
    """In the standard channel nothing can be enriched or filtered."""
    of = name if name == "ChangeEvents" else channel(box, kind=name).rpartition("/")[2]
    body = {"eventChannel": of, "selectedEntity": "AccountChangeEvent", **metadata}
    answer = box.call(
        "POST",
        "tooling/sobjects/PlatformEventChannelMember",
        {"FullName": f"M{uuid.uuid4().hex[:8]}", "Metadata": body},
    )
    assert answer.json()[0]["errorCode"] == code


# Managed subscriptions.


def subscription(box: Box, **more: Any) -> tuple[str, str]:
    """A new managed subscription to orders; its id and developer name."""
    name = f"S{uuid.uuid4().hex[:8]}"
    metadata = {"label": name, "topicName": ORDERS, "state": "RUN", **more}
    return made(box, "ManagedEventSubscription", name, metadata), name


def change(box: Box, subscription_id: str, **more: Any) -> None:
    path = f"tooling/sobjects/ManagedEventSubscription/{subscription_id}"
    answer = box.call("PATCH", path, {"Metadata": more})
    assert answer.status_code == 204, answer.text


def order(client: Client, event_id: str) -> bytes:
    """Publish an order; its replay id."""
    [result] = client.publish(ORDERS, client.event(ORDERS, event_id)).results
    return bytes(result.replay_id)


def heard(stream: Publishing, events: int) -> list[str]:
    """The ids of the next events."""
    found: list[str] = []
    while len(found) < events:
        found += [each.event.id for each in stream.response().events]
    return found


def commit(wire: Wire, stream: Publishing, replay_id: bytes) -> Any:
    """Commit, and wait for the answer."""
    asked = wire.pb2.CommitReplayRequest(commit_request_id=str(uuid.uuid4()), replay_id=replay_id)
    stream.send(wire.pb2.ManagedFetchRequest(commit_replay_id_request=asked))
    while True:
        response = stream.response()
        if response.HasField("commit_response"):
            assert response.commit_response.commit_request_id == asked.commit_request_id
            return response.commit_response


def released(box: Box, subscription_id: str) -> None:
    """Wait until nobody has the subscription."""
    until(lambda: not box.org.channels.managed[subscription_id].in_use, "the subscription is given back")


def test_the_org_keeps_the_position_that_was_committed(box: Box, client: Client, wire: Wire) -> None:
    """Of three events, two are committed: whoever comes next, by name or by id, begins with the third."""
    subscription_id, name = subscription(box)
    first = client.managed(developer_name=name)
    until(lambda: box.org.channels.managed[subscription_id].in_use, "the subscription is taken")
    order(client, "one")
    second = order(client, "two")
    order(client, "three")
    assert heard(first, 3) == ["one", "two", "three"]
    answer = commit(wire, first, second)
    assert (answer.replay_id, answer.HasField("error")) == (second, False)
    assert answer.process_time > 0
    first.close()
    released(box, subscription_id)
    assert heard(client.managed(subscription_id=subscription_id[:15]), 1) == ["three"]


def test_a_commit_that_fails_is_said_and_ends_nothing(box: Box, client: Client, wire: Wire) -> None:
    """The position stays, and events keep coming."""
    subscription_id, name = subscription(box)
    stream = client.managed(developer_name=name)
    answer = commit(wire, stream, b"nowhere!")
    assert answer.error.code == wire.pb2.ErrorCode.Value("COMMIT")
    assert box.org.channels.managed[subscription_id].committed is None
    order(client, "after")
    assert heard(stream, 1) == ["after"]


def test_a_lost_position_is_answered_as_the_subscription_says(box: Box, client: Client, wire: Wire) -> None:
    """errorRecoveryReplay EARLIEST: what the bus still has comes again."""
    subscription_id, name = subscription(box, defaultReplay="LATEST", errorRecoveryReplay="EARLIEST")
    stream = client.managed(developer_name=name)
    assert not commit(wire, stream, order(client, "kept")).HasField("error")
    stream.close()
    released(box, subscription_id)
    box.control("POST", "/faults", {"fault": "corrupt_replay"})
    assert "kept" in heard(client.managed(developer_name=name), 2)


def test_a_subscription_has_one_client_at_a_time(box: Box, client: Client) -> None:
    """A second one is refused, and may have it when the first has gone."""
    subscription_id, name = subscription(box, defaultReplay="EARLIEST")
    order(client, "any")
    first = client.managed(1, developer_name=name)
    heard(first, 1)
    refused = client.managed(1, developer_name=name).end()
    assert (refused.code, refused.error_code) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        CODE + "managed.subscription.already.active",
    )
    first.close()
    released(box, subscription_id)
    heard(client.managed(1, developer_name=name), 1)


def test_an_administrator_stops_and_deletes_subscriptions_that_are_in_use(box: Box, client: Client) -> None:
    """Their streams end with the reason, and cannot be opened again."""
    for state, ended in (("stop", "config.stopped"), ("delete", "config.deleted")):
        subscription_id, name = subscription(box, defaultReplay="EARLIEST")
        order(client, "any")
        stream = client.managed(1, developer_name=name)
        heard(stream, 1)
        if state == "stop":
            change(box, subscription_id, state="STOP")
        else:
            path = f"tooling/sobjects/ManagedEventSubscription/{subscription_id}"
            assert box.call("DELETE", path).status_code == 204
        assert stream.end().error_code == CODE + f"managed.subscription.{ended}"
        again = client.managed(1, developer_name=name).end().error_code
        known = "config.stopped" if state == "stop" else "developer.name.not.found"
        assert again == CODE + f"managed.subscription.{known}"


@pytest.mark.parametrize(
    ("request_fields", "code"),
    [
        ({"num_requested": 1}, "id.or.developer.name.empty"),
        ({"num_requested": 1, "developer_name": "Nobody"}, "developer.name.not.found"),
        ({"num_requested": 1, "subscription_id": "18x000000000999"}, "subscription.id.not.found"),
        ({"num_requested": 1, "subscription_id": "?"}, "subscription.id.invalid"),
        ({"num_requested": 0, "developer_name": "Nobody"}, "fetch.request.events.invalid"),
        (
            {"num_requested": 1, "developer_name": "Nobody", "auth_refresh": "x"},
            "fetch.request.auth.request.restricted",
        ),
        (
            {"num_requested": 1, "developer_name": "Nobody", "commit_replay_id_request": {"replay_id": b"x"}},
            "fetch.request.commit.request.restricted",
        ),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_wrong_request_is_refused_by_its_code(
    client: Client, wire: Wire, request_fields: dict[str, Any], code: str
) -> None:
    """Each mistake has one of its own."""
    stream = client.opened(client.stub.ManagedSubscribe)
    stream.send(wire.pb2.ManagedFetchRequest(**request_fields))
    assert stream.end().error_code == CODE + f"managed.subscription.{code}"


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ({"topicName": "/event/None__e"}, "INVALID_CROSS_REFERENCE_KEY"),
        ({"topicName": "/data/None__chn"}, "INVALID_CROSS_REFERENCE_KEY"),
        ({"state": "WALK"}, "FIELD_INTEGRITY_EXCEPTION"),
        ({"defaultReplay": "CUSTOM"}, "FIELD_INTEGRITY_EXCEPTION"),
    ],
    ids=["topic", "channel", "state", "replay"],
)
def test_a_subscription_that_cannot_be_is_refused(box: Box, metadata: dict[str, Any], code: str) -> None:
    """As other records of setup are."""
    body = {"label": "S", "topicName": ORDERS, "state": "RUN", **metadata}
    answer = box.call(
        "POST", "tooling/sobjects/ManagedEventSubscription", {"FullName": "Wrong", "Metadata": body}
    )
    assert answer.json()[0]["errorCode"] == code
