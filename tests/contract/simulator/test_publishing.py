"""Platform events of the simulated org: defined, published by REST, Publish and PublishStream, and heard."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from salmon.simulator.events.platform_schema import platform_schema
from salmon.simulator.org.objects.platform_events import parse_event
from salmon.simulator.server import Simulator
from support.orgs.boxes import Box
from support.orgs.describes import batch_apex_error_event
from support.orgs.event_box import CODE
from support.orgs.pubsub import Client, Ended, Wire

ORDERS = "/event/Order_Event__e"
DEFINITION = {
    "event": "Order_Event__e",
    "fields": {"Order_Number__c": "Text", "City__c": "Text", "Amount__c": "Number", "Sent__c": "DateTime"},
}


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """With one platform event, defined by the control API."""
    with Simulator.start(tmp_path_factory.mktemp("box")) as running:
        assert Box(running).control("POST", "/events", DEFINITION).status_code == 201
        yield running


def position(client: Client) -> bytes:
    """Where the bus stands now, so that a test hears its own events alone."""
    [result] = client.publish(ORDERS, client.event(ORDERS)).results
    return bytes(result.replay_id)


def test_the_schema_of_an_event_has_the_id_that_an_org_gave_it() -> None:
    """A recorded schema of an Order_Event__e with these three fields has this id."""
    fields = {"Order_Number__c": "Text", "City__c": "Text", "Amount__c": "Number"}
    schema = platform_schema(parse_event({"event": "Order_Event__e", "fields": fields}))
    assert schema.schema_id == "_CADE3qaegX3ECEW0rlbYA"
    assert '{"name":"CreatedById","type":"string","doc":"CreatedBy:EntityId"}' in schema.schema_json


def test_published_events_are_heard_in_their_order_with_their_own_ids(client: Client) -> None:
    """Publish answers with one result for each; a subscriber gets the payload, the id and the replay id of each."""
    start = position(client)
    events = [client.event(ORDERS, f"id-{n}", Order_Number__c=str(n), Amount__c=1.5) for n in range(3)]
    response = client.publish(ORDERS, *events)
    assert [each.correlation_key for each in response.results] == ["id-0", "id-1", "id-2"]
    assert response.schema_id == client.topic(ORDERS).schema_id
    assert response.rpc_id
    heard = client.subscribe(ORDERS, preset="CUSTOM", replay_id=start).events(3)
    assert [each.replay_id for each in heard] == [each.replay_id for each in response.results]
    assert [each.event.id for each in heard] == ["id-0", "id-1", "id-2"]
    assert client.decode(heard[2]) == {
        "CreatedDate": 1_700_000_000_000,
        "CreatedById": "005000000000001AAA",
        "Order_Number__c": "2",
        "Amount__c": 1.5,
    }


def test_the_control_api_shows_what_anybody_has_published(box: Box, client: Client) -> None:
    """By the Pub/Sub API and over REST, with the fields of each: so that a test knows, and need not subscribe. Unknown events are named."""
    client.publish(ORDERS, client.event(ORDERS, "id-shown", Order_Number__c="17"))
    box.call("POST", "sobjects/Order_Event__e", {"Order_Number__c": "18"})
    shown = box.control("GET", "/events/Order_Event__e").json()["published"][-2:]
    assert [each["Order_Number__c"] for each in shown] == ["17", "18"]
    assert shown[0]["EventUuid"] == "id-shown"
    unknown = box.control("GET", "/events/Other__e")
    assert (unknown.status_code, "Order_Event__e" in unknown.json()["error"]) == (400, True)


def test_an_event_without_an_id_gets_one(client: Client) -> None:
    """The result and the subscriber have the same."""
    start = position(client)
    [result] = client.publish(ORDERS, client.event(ORDERS, City__c="Ulm")).results
    [heard] = client.subscribe(ORDERS, preset="CUSTOM", replay_id=start).events(1)
    assert heard.event.id == result.correlation_key != ""


def test_what_cannot_be_published_has_an_error_of_its_own_and_the_rest_is_published(client: Client) -> None:
    """A payload that is not of the schema, one with something behind it, another schema, and one above 1 MB."""
    start = position(client)
    good, broken, longer, stranger = (client.event(ORDERS, each) for each in "abcd")
    broken.payload = b"\x01"
    longer.payload += b"\x00"
    stranger.schema_id = "x"
    large = client.event(ORDERS, "e", City__c="x" * 1_048_576)
    results = client.publish(ORDERS, good, broken, longer, stranger, large).results
    assert [each.HasField("error") for each in results] == [False, True, True, True, True]
    assert {each.error.code for each in results[1:]} == {1}, "PUBLISH"
    assert [each.correlation_key for each in results] == list("abcde")
    assert "1 MB" in results[4].error.msg
    [heard] = client.subscribe(ORDERS, preset="CUSTOM", replay_id=start).events(1)
    assert heard.event.id == "a"


def test_events_beyond_the_hourly_allowance_are_refused(box: Box, client: Client) -> None:
    """Each by an error of its own, and over REST by LIMIT_EXCEEDED; an hour later there are new ones."""
    event = client.event(ORDERS)
    box.control("POST", "/allowances", {"HourlyPublishedPlatformEvents": 0})
    try:
        [result] = client.publish(ORDERS, event).results
        assert "LIMIT_EXCEEDED" in result.error.msg
        refused = box.call("POST", "sobjects/Order_Event__e", {"City__c": "Ulm"})
        assert refused.json()[0]["errorCode"] == "LIMIT_EXCEEDED"
    finally:
        box.control("POST", "/allowances", {"HourlyPublishedPlatformEvents": 250_000})
    [result] = client.publish(ORDERS, event).results
    assert not result.HasField("error")


def test_a_stream_answers_each_request_in_turn(client: Client, wire: Wire) -> None:
    """The first names the topic, the later ones need not."""
    stream = client.publishing()
    for topic, event_id in ((ORDERS, "one"), ("", "two")):
        events = [client.event(ORDERS, event_id)]
        stream.send(wire.pb2.PublishRequest(topic_name=topic, events=events))
        assert [each.correlation_key for each in stream.response().results] == [event_id]
    other = wire.pb2.PublishRequest(topic_name="/event/Other__e", events=[client.event(ORDERS)])
    stream.send(other)
    ended = stream.end()
    assert (ended.code, ended.error_code) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        CODE + "publish.topic.mismatch",
    )


def test_a_stream_on_which_nothing_is_published_is_ended(wire: Wire, event_box: Any) -> None:
    """After 70 seconds, here a part of one."""
    event_box.org.define_event(parse_event(DEFINITION))
    client = event_box.client(publish_timeout_s=0.05)
    assert client.publishing().end().error_code == CODE + "publish.stream.sweeper.timeout"


@pytest.mark.parametrize(
    ("ask", "status", "code"),
    [
        (lambda c, event: c.publish("", event), "INVALID_ARGUMENT", "publish.topic.validation.empty"),
        (lambda c, _: c.publish(ORDERS), "INVALID_ARGUMENT", "publish.event.count.invalid"),
        (lambda c, event: c.publish("/event/None__e", event), "NOT_FOUND", "topic.not.found"),
        (
            lambda c, event: c.publish("/data/AccountChangeEvent", event),
            "PERMISSION_DENIED",
            "topic.meta.permission",
        ),
    ],
    ids=["no topic", "no events", "unknown topic", "change events"],
)
def test_a_wrong_request_fails_as_a_whole(
    client: Client, ask: Callable[[Client, Any], Any], status: str, code: str
) -> None:
    """With its code in the trailers."""
    ended = failed(lambda: ask(client, client.event(ORDERS)))
    assert (ended.code, ended.error_code) == (grpc.StatusCode[status], CODE + code)


def test_the_control_api_has_events_refused_one_by_one(box: Box, client: Client) -> None:
    """The next one of three, and the others are published."""
    box.control("POST", "/faults", {"fault": "refuse_publish", "topic": ORDERS, "times": 1})
    results = client.publish(ORDERS, *(client.event(ORDERS, each) for each in "abc")).results
    assert [each.HasField("error") for each in results] == [True, False, False]


@pytest.mark.parametrize("rpc", ["Publish", "PublishStream", "ManagedSubscribe", "Subscribe", "GetTopic"])
def test_the_control_api_ends_calls_with_any_code(box: Box, client: Client, rpc: str) -> None:
    """Once, and only the calls that it names."""
    event = client.event(ORDERS)
    fault = {
        "fault": "grpc",
        "rpc": rpc,
        "code": "service.protection.triggered",
        "status": "RESOURCE_EXHAUSTED",
    }
    assert box.control("POST", "/faults", {**fault, "times": 1}).status_code == 201
    calls: dict[str, Callable[[], Ended]] = {
        "Publish": lambda: failed(lambda: client.publish(ORDERS, event)),
        "PublishStream": lambda: client.publishing().end(),
        "ManagedSubscribe": lambda: client.managed(developer_name="x").end(),
        "Subscribe": lambda: client.subscribe(ORDERS).end(),
        "GetTopic": lambda: failed(lambda: client.topic(ORDERS)),
    }
    client.schema(event.schema_id)
    ended = calls[rpc]()
    assert (ended.code, ended.error_code) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        CODE + "service.protection.triggered",
    )
    assert client.publish(ORDERS, event).results[0].replay_id


def failed(call: Callable[[], Any]) -> Ended:
    with pytest.raises(grpc.RpcError) as raised:
        call()
    return Ended(raised.value)


def test_events_are_published_over_rest_and_refused_in_the_orgs_words(box: Box, client: Client) -> None:
    """One by one and in a collection; the answer names the event's id, and a subscriber gets the same one."""
    start = position(client)
    answer = box.call(
        "POST", "sobjects/order_event__e", {"Order_Number__c": "7", "Sent__c": "2026-01-02T03:04:05Z"}
    )
    assert answer.status_code == 201
    body = answer.json()
    assert (body["id"], body["success"]) == ("e00xx0000000001AAA", True)
    assert body["errors"][0]["statusCode"] == "OPERATION_ENQUEUED"
    record = {"attributes": {"type": "Order_Event__e"}, "City__c": "Ulm"}
    wrong = {**record, "Order_Number__c": "x" * 300}
    results = box.call("POST", "composite/sobjects", {"records": [record, wrong]}).json()
    assert [each["success"] for each in results] == [True, False]
    assert results[1]["errors"][0]["statusCode"] == "STRING_TOO_LONG"
    heard = client.subscribe(ORDERS, preset="CUSTOM", replay_id=start).events(2)
    assert heard[0].event.id == body["errors"][0]["message"]
    assert heard[1].event.id == results[0]["errors"][0]["message"]
    shown = client.decode(heard[0])
    assert (shown["Order_Number__c"], shown["Sent__c"]) == ("7", 1_767_323_045_000)
    assert shown["CreatedById"] == box.org.integration_user.user_id


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("POST", "sobjects/Order_Event__e", {"Nothing__c": 1}, "INVALID_FIELD"),
        ("POST", "sobjects/Order_Event__e", {"EventUuid": "x"}, "INVALID_FIELD_FOR_INSERT_UPDATE"),
        ("GET", "sobjects/Order_Event__e/e00xx0000000001AAA", None, "NOT_FOUND"),
        (
            "PATCH",
            "composite/sobjects",
            {"records": [{"attributes": {"type": "Order_Event__e"}, "Id": "e00xx0000000001AAA"}]},
            "INVALID_TYPE_FOR_OPERATION",
        ),
    ],
    ids=["unknown field", "system field", "read", "update"],
)
def test_an_event_is_no_record(box: Box, method: str, path: str, body: Any, code: str) -> None:
    """It can be published and nothing else."""
    assert box.call(method, path, body).json()[0]["errorCode"] == code


def test_an_event_is_described_and_listed(box: Box) -> None:
    """With the fields of its envelope; the data objects are as before."""
    described = box.call("GET", "sobjects/Order_Event__e/describe").json()
    assert [f["name"] for f in described["fields"]][:4] == [
        "ReplayId", "CreatedDate", "CreatedById", "EventUuid",
    ]  # fmt: skip
    listed = {each["name"]: each for each in box.call("GET", "sobjects").json()["sobjects"]}
    assert listed["Order_Event__e"]["keyPrefix"] == "e00"
    assert box.call("GET", "query", params={"q": "SELECT Id FROM Order_Event__e"}).status_code == 400


def test_an_event_that_gets_another_field_has_another_schema_from_then_on(box: Box, client: Client) -> None:
    """Events that were published before can still be decoded."""
    definition = {"event": "Late__e", "fields": {"One__c": "Text"}}
    box.control("POST", "/events", definition)
    client.publish("/event/Late__e", client.event("/event/Late__e", One__c="x"))
    box.control("POST", "/events", {**definition, "fields": {"One__c": "Text", "Two__c": "Checkbox"}})
    client.publish("/event/Late__e", client.event("/event/Late__e", Two__c=True))
    before, after = client.subscribe("/event/Late__e", preset="EARLIEST").events(2)
    assert before.event.schema_id != after.event.schema_id
    assert (client.decode(before)["One__c"], client.decode(after)["Two__c"]) == ("x", True)


def test_a_standard_event_is_published_by_the_platform_alone(box: Box, client: Client) -> None:
    """The control API plays the platform; REST, Publish and PublishStream are refused, and GetTopic says so before."""
    topic = "/event/BatchApexErrorEvent"
    assert box.control("POST", "/events", {"describe": batch_apex_error_event()}).status_code == 201
    failure = {"ExceptionType": "System.MathException", "DoesExceedJobScopeMaxLength": True}
    published = box.control("POST", "/events/BatchApexErrorEvent", failure)
    assert published.status_code == 201
    [event] = client.subscribe(topic, preset="EARLIEST").events(1)
    assert event.event.id == published.json()["EventUuid"]
    shown = client.decode(event)
    assert {name: shown[name] for name in failure} == failure
    assert box.call("POST", "sobjects/BatchApexErrorEvent", failure).json()[0]["errorCode"] == (
        "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"
    )
    assert client.topic(topic).can_publish is False
    ended = failed(lambda: client.publish(topic, client.event(topic)))
    assert (ended.code, ended.error_code) == (
        grpc.StatusCode.PERMISSION_DENIED, f"{CODE}topic.meta.permission",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("event", "body", "says"),
    [
        ("Nothing__e", {}, "event must be one of Order_Event__e"),
        ("Order_Event__e", {"Nothing__c": 1}, "INVALID_FIELD"),
        ("Order_Event__e", {"EventUuid": "x"}, "INVALID_FIELD_FOR_INSERT_UPDATE"),
        ("Order_Event__e", {"Amount__c": "much"}, "JSON_PARSER_ERROR"),
    ],
    ids=["unknown event", "unknown field", "system field", "wrong type"],
)
def test_an_event_that_even_the_platform_cannot_publish_is_refused_in_words(
    box: Box, event: str, body: dict[str, Any], says: str
) -> None:
    """By the control API, and nothing is published."""
    answer = box.control("POST", f"/events/{event}", body)
    assert answer.status_code == 400
    assert says in answer.json()["error"]


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"event": "Order__c", "fields": {}},
        {"event": "Order__e", "fields": {"A__c": "Picture"}},
        {"event": "Order__e", "fields": {"A": "Text"}},
        {"describe": {"name": "Account", "fields": [{"name": "Id", "type": "id"}]}},
        {"describe": {"name": "Order__e"}},
    ],
    ids=str,
)
def test_a_definition_that_cannot_be_is_refused(box: Box, wrong: dict[str, Any]) -> None:
    """By the control API, in words."""
    answer = box.control("POST", "/events", wrong)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_rest_answers_the_schema_of_an_event_by_its_name_and_by_its_id(client: Client, box: Box) -> None:
    """COMPACT is what GetSchema says, with the id as uuid; EXPANDED, the default, is an envelope with times as text."""
    topic = client.topic(ORDERS)
    compact = box.call("GET", "sobjects/order_event__e/eventSchema?payloadFormat=COMPACT").json()
    assert compact.pop("uuid") == topic.schema_id
    assert compact == json.loads(client.schema(topic.schema_id).schema_json)
    by_id = f"event/eventSchema/{topic.schema_id}"
    assert box.call("GET", f"{by_id}?payloadFormat=COMPACT").json() == {**compact, "uuid": topic.schema_id}
    expanded = box.call("GET", by_id).json()
    assert expanded == box.call("GET", "sobjects/Order_Event__e/eventSchema?payloadFormat=EXPANDED").json()
    assert (expanded["type"], expanded["uuid"]) == ("expanded-record", topic.schema_id)
    data, channel = expanded["fields"]
    assert channel == {"name": "channel", "type": "string"}
    schema, payload, event = data["type"]["fields"]
    assert (schema["name"], event["type"]["fields"]) == ("schema", [{"name": "replayId", "type": "long"}])
    kinds = {each["name"]: each["type"] for each in payload["type"]["fields"]}
    assert (kinds["CreatedDate"], kinds["Sent__c"]) == ("string", ["null", "string"])
    assert kinds["Amount__c"] == ["null", "double"]


def test_rest_answers_the_schema_of_change_events_too(client: Client, box: Box) -> None:
    """By the name that the global describe links to."""
    found = box.call("GET", "sobjects/AccountChangeEvent/eventSchema?payloadFormat=COMPACT").json()
    assert found["uuid"] == client.topic("/data/AccountChangeEvent").schema_id
    assert found["fields"][0]["name"] == "ChangeEventHeader"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("event/eventSchema/nothing", 404),
        ("sobjects/Nothing__e/eventSchema", 404),
        ("sobjects/Account/eventSchema", 404),
        ("sobjects/Order_Event__e/eventSchema?payloadFormat=compact", 400),
        ("/services/data/v42.0/sobjects/Order_Event__e/eventSchema?payloadFormat=COMPACT", 400),
        ("/services/data/v39.0/sobjects/Order_Event__e/eventSchema", 404),
    ],
)
def test_a_schema_that_is_not_there_is_refused(box: Box, path: str, status: int) -> None:
    """So is a format that the version does not know."""
    assert box.call("GET", path).status_code == status


def test_below_version_43_the_schema_is_compact(box: Box) -> None:
    """There was no other format."""
    found = box.call("GET", "/services/data/v42.0/sobjects/Order_Event__e/eventSchema").json()
    assert found["type"] == "record"
