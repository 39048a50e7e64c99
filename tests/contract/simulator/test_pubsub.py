"""The simulator's Pub/Sub API, seen by a bare gRPC client that was generated from the public proto."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest

from salmon.errors import SetupError
from salmon.salesforce.wire.pubsub_api import pubsub_api_pb2 as ours
from salmon.simulator.events.pubsub import serve
from salmon.simulator.tls import Certificates
from support.orgs.event_box import ACCOUNTS, ALL, CODE, Box, settled
from support.orgs.pubsub import Client, Ended, Wire

# Events.


@pytest.fixture
def box(event_box: Box) -> Box:
    return event_box


def test_an_edit_in_the_org_reaches_a_subscriber_as_a_genuine_change_event(box: Box) -> None:
    """Created, edited and deleted: three events with the org's transaction in the header."""
    client = box.client()
    stream = client.subscribe(ACCOUNTS)
    settled(box, 1)
    (record_id,) = box.create("Jungle Books")
    box.edit([record_id], Phone="555 0101", BillingCity="Ulm")
    with box.org.transaction(box.org.person) as unit:
        unit.delete("Account", record_id)

    created, edited, deleted = (client.decode(event) for event in stream.events(3))
    header = created["ChangeEventHeader"]
    assert created["Name"] == "Jungle Books"
    assert (header["entityName"], header["recordIds"], header["changeType"]) == (
        "Account",
        [record_id],
        "CREATE",
    )
    assert header["changeOrigin"] == "com/salesforce/api/rest/64.0;client=test"
    assert header["commitUser"] == box.org.person.user_id
    assert created["LastModifiedDate"] == header["commitTimestamp"]
    assert (edited["Phone"], edited["BillingAddress"]["City"]) == ("555 0101", "Ulm")
    assert edited["ChangeEventHeader"]["changedFields"] == ["0x800080", "5-0x02"]
    assert edited["ChangeEventHeader"]["nulledFields"] == []
    assert deleted.keys() == {"ChangeEventHeader"}
    assert deleted["ChangeEventHeader"]["changeType"] == "DELETE"
    numbers = [body["ChangeEventHeader"]["commitNumber"] for body in (created, edited, deleted)]
    assert numbers == sorted(set(numbers))


def test_one_transaction_is_one_response_with_one_event_for_each_different_change(box: Box) -> None:
    """Three creates are three events; the same edit of all three is one event that names them."""
    client = box.client()
    stream = client.subscribe(ALL)
    settled(box, 1)
    ids = box.create("A", "B", "C")
    assert list(client.names(list(stream.response().events))) == ["A", "B", "C"]
    box.edit(ids, Industry="Energy")
    (merged,) = stream.response().events
    assert client.decode(merged)["ChangeEventHeader"]["recordIds"] == ids


def test_the_channel_of_all_changes_carries_every_object_and_an_objects_topic_its_own(box: Box) -> None:
    """One subscriber to all, one to Contacts alone."""
    client = box.client()
    everything, contacts = client.subscribe(ALL), client.subscribe("/data/ContactChangeEvent")
    settled(box, 2)
    with box.org.transaction(box.org.person) as unit:
        account = unit.insert("Account", {"Name": "A"})
        unit.insert("Contact", {"LastName": "C", "AccountId": account})
    assert [client.decode(e)["ChangeEventHeader"]["entityName"] for e in everything.events(2)] == [
        "Account",
        "Contact",
    ]
    (event,) = contacts.events(1)
    assert client.decode(event)["AccountId"] == account
    assert client.decode(event)["ChangeEventHeader"]["sequenceNumber"] == 2
    assert box.org.usage.events_delivered == 3, "deliveries are metered for each subscriber"


def test_a_topic_names_its_schema_and_cannot_be_published_to(box: Box) -> None:
    """GetTopic and GetSchema agree with what events carry."""
    client = box.client()
    topic = client.topic(ACCOUNTS)
    assert (topic.topic_name, topic.can_publish, topic.can_subscribe) == (ACCOUNTS, False, True)
    stream = client.subscribe(ACCOUNTS)
    settled(box, 1)
    box.create("A")
    (event,) = stream.events(1)
    assert event.event.schema_id == topic.schema_id == client.schema(topic.schema_id).schema_id
    assert client.topic(ALL).schema_id == "", "a channel of several objects has no schema of its own"


# Where a subscription starts.


def test_a_subscription_starts_at_the_end_at_the_beginning_or_after_an_id(box: Box) -> None:
    """Of three Accounts: LATEST hears of none, EARLIEST of all, CUSTOM of those after the one it names."""
    client = box.client()
    for name in ("A", "B", "C"):
        box.create(name)
    earliest = client.subscribe(ACCOUNTS, preset="EARLIEST").events(3)
    assert list(client.names(earliest)) == ["A", "B", "C"]
    assert len(earliest[0].replay_id) == 10
    after = client.subscribe(ACCOUNTS, preset="CUSTOM", replay_id=earliest[0].replay_id)
    assert [e.event.id for e in after.events(2)] == [e.event.id for e in earliest[1:]], "the very same events"
    latest = client.subscribe(ACCOUNTS)
    settled(box, 3)
    box.create("D")
    assert list(client.names(latest.events(1))) == ["D"]


def test_what_happened_while_the_subscriber_was_away_is_delivered_when_it_comes_back(box: Box) -> None:
    """The stored id is exactly where it goes on."""
    client = box.client()
    stream = client.subscribe(ACCOUNTS)
    settled(box, 1)
    box.create("A")
    (seen,) = stream.events(1)
    stream.close()
    box.create("B")
    again = client.subscribe(ACCOUNTS, preset="CUSTOM", replay_id=seen.replay_id)
    assert list(client.names(again.events(1))) == ["B"]


def test_after_72_hours_events_are_gone_and_their_ids_refused(box: Box) -> None:
    """A day makes no difference, three do."""
    client = box.client()
    box.create("old")
    (old,) = client.subscribe(ACCOUNTS, preset="EARLIEST").events(1)
    box.org.clock.advance(24 * 3600)
    client.metadata["accesstoken"] = box.org.sessions.open(box.org.integration_user)
    box.create("new")
    stream = client.subscribe(ACCOUNTS, preset="CUSTOM", replay_id=old.replay_id)
    assert list(client.names(stream.events(1))) == ["new"]
    box.org.clock.advance(49 * 3600)
    client.metadata["accesstoken"] = box.org.sessions.open(box.org.integration_user)
    ended = client.subscribe(ACCOUNTS, preset="CUSTOM", replay_id=old.replay_id).end()
    assert ended.error_code == CODE + "subscription.fetch.replayid.corrupted"
    assert list(client.names(client.subscribe(ACCOUNTS, preset="EARLIEST").events(1))) == ["new"]


# Flow control and liveness.


def test_a_subscriber_gets_what_it_asked_for_and_no_more(box: Box) -> None:
    """Five events for one who asks for two and then for two more: the fifth waits."""
    client = box.client()
    for name in "ABCDE":
        box.create(name)
    stream = client.subscribe(ACCOUNTS, 2, preset="EARLIEST")
    first = stream.response()
    assert (list(client.names(list(first.events))), first.pending_num_requested) == (["A", "B"], 0)
    stream.ask(2)
    second = stream.response()
    assert (list(client.names(list(second.events))), second.pending_num_requested) == (["C", "D"], 0)
    assert second.latest_replay_id == second.events[-1].replay_id
    stream.ask_no_more()
    assert stream.end().code is grpc.StatusCode.OK


def test_at_most_100_events_are_owed_however_many_are_asked_for(box: Box) -> None:
    """150 wanted, 120 there: 100 come, and the rest when asked for."""
    client = box.client()
    box.create(*(f"A{i}" for i in range(120)))
    stream = client.subscribe(ACCOUNTS, 150, preset="EARLIEST")
    response = stream.response()
    assert (len(response.events), response.pending_num_requested) == (100, 0)
    stream.ask(100)
    response = stream.response()
    assert (len(response.events), response.pending_num_requested) == (20, 80)


def test_requests_add_up(box: Box) -> None:
    """Asked for 1 and 3 before anything happens: 4 are owed."""
    client = box.client(keepalive_s=0.05)
    stream = client.subscribe(ACCOUNTS, 1)
    stream.ask(3)
    while stream.response().pending_num_requested != 4:
        pass
    box.create("A")
    while not (response := stream.response()).events:
        pass
    assert response.pending_num_requested == 3


def test_a_subscriber_that_asks_for_nothing_more_is_let_go(box: Box) -> None:
    """The stream ends well, and its place is free."""
    client = box.client(demand_timeout_s=0.1)
    box.create("A", "B")
    stream = client.subscribe(ACCOUNTS, 1, preset="EARLIEST")
    assert list(client.names(stream.events(1))) == ["A"]
    assert stream.end().code is grpc.StatusCode.OK


def test_an_idle_stream_says_that_it_lives_and_where_it_stands(box: Box) -> None:
    """The keepalive's position is good for days after the last event has expired, and misses nothing."""
    client = box.client(keepalive_s=0.05)
    box.create("long ago")
    stream = client.subscribe(ACCOUNTS, preset="EARLIEST")
    (event,) = stream.events(1)
    box.org.clock.advance(80 * 3600)
    while (keepalive := stream.response()).latest_replay_id == event.replay_id:
        pass
    assert not keepalive.events
    assert keepalive.pending_num_requested == 99
    box.create("now")
    client.metadata["accesstoken"] = box.org.sessions.open(box.org.integration_user)
    again = client.subscribe(ACCOUNTS, preset="CUSTOM", replay_id=keepalive.latest_replay_id)
    assert list(client.names(again.events(1))) == ["now"]
    refused = client.subscribe(ACCOUNTS, preset="CUSTOM", replay_id=event.replay_id).end()
    assert refused.error_code == CODE + "subscription.fetch.replayid.corrupted"


def test_a_keepalive_never_gets_ahead_of_events_that_are_still_owed_to_nobody(box: Box) -> None:
    """One of two events was asked for; a position past the other would lose it."""
    client = box.client(keepalive_s=0.05)
    box.create("A")
    box.create("B")
    stream = client.subscribe(ACCOUNTS, 1, preset="EARLIEST")
    (first,) = stream.events(1)
    keepalive = stream.response()
    assert (len(keepalive.events), keepalive.latest_replay_id) == (0, first.replay_id)


# Errors.

Spoil = Callable[[Box, Client], Ended]


def unary(call: Callable[[], Any]) -> Ended:
    with pytest.raises(grpc.RpcError) as raised:
        call()
    return Ended(raised.value)


def without(key: str) -> Spoil:
    def spoil(_box: Box, client: Client) -> Ended:
        del client.metadata[key]
        return unary(lambda: client.topic(ACCOUNTS))

    return spoil


def with_other_tenant(_box: Box, client: Client) -> Ended:
    client.metadata["tenantid"] = "00DOther0000000AAA"
    return client.subscribe(ACCOUNTS).end()


def with_revoked_session(box: Box, client: Client) -> Ended:
    box.fault("revoke_sessions")
    return client.subscribe(ACCOUNTS).end()


def with_revoked_session_for_a_schema(box: Box, client: Client) -> Ended:
    box.fault("revoke_sessions")
    return unary(lambda: client.schema("x"))


def with_another_topic_later(_box: Box, client: Client) -> Ended:
    stream = client.subscribe(ACCOUNTS)
    stream.ask(1, ALL)
    return stream.end()


def with_no_demand_later(_box: Box, client: Client) -> Ended:
    stream = client.subscribe(ACCOUNTS)
    stream.ask(-1)
    return stream.end()


@pytest.mark.parametrize(
    ("spoil", "status", "code"),
    [
        (without("accesstoken"), "UNAUTHENTICATED", "service.auth.headers.invalid"),
        (without("instanceurl"), "UNAUTHENTICATED", "service.auth.headers.invalid"),
        (without("tenantid"), "UNAUTHENTICATED", "service.auth.headers.invalid"),
        (with_other_tenant, "UNAUTHENTICATED", "service.auth.headers.invalid"),
        (with_revoked_session, "UNAUTHENTICATED", "service.auth.error"),
        (with_revoked_session_for_a_schema, "UNAUTHENTICATED", "service.auth.error"),
        (lambda _, c: unary(lambda: c.topic("/data/NoSuchChangeEvent")), "NOT_FOUND", "topic.not.found"),
        (lambda _, c: unary(lambda: c.topic("/data/accountChangeEvent")), "NOT_FOUND", "topic.not.found"),
        (lambda _, c: unary(lambda: c.topic("")), "INVALID_ARGUMENT", "topic.validation.empty"),
        (lambda _, c: unary(lambda: c.schema("x")), "INVALID_ARGUMENT", "schema.validation.failed"),
        (lambda _, c: c.subscribe("/data/NoSuchChangeEvent").end(), "NOT_FOUND", "topic.not.found"),
        (lambda _, c: c.subscribe("").end(), "INVALID_ARGUMENT", "topic.validation.empty"),
        (
            lambda _, c: c.subscribe(ACCOUNTS, 0).end(),
            "INVALID_ARGUMENT",
            "subscription.fetch.requested.events.invalid",
        ),
        (with_no_demand_later, "INVALID_ARGUMENT", "subscription.fetch.requested.events.invalid"),
        (with_another_topic_later, "INVALID_ARGUMENT", "subscription.fetch.topic.mismatch"),
        (
            lambda _, c: c.subscribe(ACCOUNTS, preset="CUSTOM").end(),
            "INVALID_ARGUMENT",
            "subscription.fetch.replayid.validation.failed",
        ),
        (
            lambda _, c: c.subscribe(ACCOUNTS, preset="CUSTOM", replay_id=b"not an id!").end(),
            "INVALID_ARGUMENT",
            "subscription.fetch.replayid.corrupted",
        ),
        (
            lambda _, c: c.subscribe(ACCOUNTS, preset="CUSTOM", replay_id=b"\xff" * 8 + b"\0\0").end(),
            "INVALID_ARGUMENT",
            "subscription.fetch.replayid.corrupted",
        ),
    ],
)
def test_an_error_has_its_status_and_its_code_and_rpc_id_in_the_trailers(
    box: Box, spoil: Spoil, status: str, code: str
) -> None:
    """So a client decides by code; the text is for people."""
    ended = spoil(box, box.client())
    assert (ended.code, ended.error_code) == (grpc.StatusCode[status], CODE + code)
    assert ended.rpc_id
    assert f"rpcId: {ended.rpc_id}" in ended.details


def test_an_open_stream_outlives_its_session(box: Box) -> None:
    """Tokens are checked when a call begins; what is open goes on."""
    client = box.client()
    stream = client.subscribe(ACCOUNTS)
    settled(box, 1)
    box.fault("revoke_sessions")
    box.create("A")
    assert len(stream.events(1)) == 1


def test_a_server_that_stops_ends_its_streams_at_once(box: Box) -> None:
    """No stream holds it up, and each client is told."""
    client = box.client()
    streams = [client.subscribe(ALL) for _ in range(3)]
    settled(box, 3)
    box.stop()
    assert {stream.end().code for stream in streams} <= {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
    }
    assert box.bus.streams == 0


def test_a_taken_port_is_said_so(box: Box, certificates: Certificates) -> None:
    """No second server quietly shares it."""
    key, chain = certificates.key_file.read_bytes(), certificates.chain_file.read_bytes()
    credentials = grpc.ssl_server_credentials([(key, chain)])
    first = serve(box.org, credentials=credentials, bus=box.bus)
    try:
        with pytest.raises(SetupError, match="taken"):
            serve(box.org, credentials=credentials, bus=box.bus, port=first.port)
    finally:
        first.stop()


def test_the_proto_is_ours_and_the_public_ones_alike(wire: Wire) -> None:
    """Generated code of others and ours live in one process, because the descriptors are the same."""
    assert wire.pb2.DESCRIPTOR.serialized_pb == ours.DESCRIPTOR.serialized_pb
