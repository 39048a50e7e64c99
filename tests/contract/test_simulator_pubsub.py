"""The simulator's Pub/Sub API, seen by a bare gRPC client that was generated from the public proto."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from salmon.simulator.describes import load_describes
from salmon.simulator.eventbus import EventBus
from salmon.simulator.faults import BadFault
from salmon.simulator.org import Org
from salmon.simulator.pubsub import PubSubServer, serve
from salmon.simulator.tls import Certificates, make_certificates
from support.pubsub import WAIT_S, Client, Ended, Wire, generate_client

ALL = "/data/ChangeEvents"
ACCOUNTS = "/data/AccountChangeEvent"
CODE = "sfdc.platform.eventbus.grpc."


@pytest.fixture(scope="session")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Wire:
    return generate_client(tmp_path_factory.mktemp("proto"))


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


class Box:
    """An org with its Pub/Sub API, and clients of it."""

    def __init__(self, wire: Wire, certificates: Certificates) -> None:
        self.org = Org(load_describes())
        self.bus = EventBus(self.org)
        self._wire = wire
        self._certificates = certificates
        self._servers: list[PubSubServer] = []
        self._clients: list[Client] = []

    def client(self, *, keepalive_s: float = 60.0, demand_timeout_s: float = 60.0) -> Client:
        """A client of a server of its own, which keeps these times."""
        key, chain = self._certificates.key_file.read_bytes(), self._certificates.chain_file.read_bytes()
        credentials = grpc.ssl_server_credentials([(key, chain)])
        server = serve(
            self.org,
            credentials=credentials,
            bus=self.bus,
            keepalive_s=keepalive_s,
            demand_timeout_s=demand_timeout_s,
        )
        self._servers.append(server)
        token = self.org.sessions.open(self.org.integration_user)
        target = f"127.0.0.1:{server.port}"
        client = Client(self._wire, target, self._certificates.ca_file, token=token, tenant=self.org.org_id)
        self._clients.append(client)
        return client

    def create(self, *names: str) -> list[str]:
        """Create Accounts, in one transaction."""
        with self.org.transaction(self.org.person, "com/salesforce/api/rest/64.0;client=test") as unit:
            return [unit.insert("Account", {"Name": name}) for name in names]

    def edit(self, record_ids: list[str], **fields: Any) -> None:
        """The same edit to several Accounts, in one transaction."""
        with self.org.transaction(self.org.person, "com/salesforce/api/rest/64.0") as unit:
            for record_id in record_ids:
                unit.update("Account", record_id, fields)

    def fault(self, name: str, **params: Any) -> None:
        self.org.faults.set(name, params)

    def stop(self) -> None:
        for client in self._clients:
            client.close()
        for server in self._servers:
            server.stop()


@pytest.fixture
def box(wire: Wire, certificates: Certificates) -> Iterator[Box]:
    box = Box(wire, certificates)
    yield box
    box.stop()


def settled(box: Box, streams: int) -> None:
    """Wait until so many subscriptions stand on the bus: LATEST begins there and not at the client's call."""
    with box.bus.changed:
        assert box.bus.changed.wait_for(lambda: box.bus.streams >= streams, WAIT_S)


# Events.


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


def test_publishing_is_not_served(box: Box, wire: Wire) -> None:
    """Publish, PublishStream and ManagedSubscribe are answered as gRPC answers what a server does not have."""
    client = box.client()
    with pytest.raises(grpc.RpcError) as raised:
        client.stub.Publish(
            wire.pb2.PublishRequest(topic_name=ACCOUNTS), metadata=list(client.metadata.items())
        )
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


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


# Faults.


def test_cut_streams_breaks_every_stream_without_a_word(box: Box) -> None:
    """UNAVAILABLE and no error code, as when a connection breaks; a new stream goes on after the last event."""
    client = box.client()
    streams = [client.subscribe(ACCOUNTS), client.subscribe(ALL)]
    settled(box, 2)
    box.create("A")
    (seen,) = streams[0].events(1)
    box.fault("cut_streams")
    for stream in streams:
        ended = stream.end()
        assert (ended.code, ended.error_code) == (grpc.StatusCode.UNAVAILABLE, None)
    box.create("B")
    again = client.subscribe(ACCOUNTS, preset="CUSTOM", replay_id=seen.replay_id)
    assert list(client.names(again.events(1))) == ["B"]


def test_silence_is_no_events_and_no_keepalives_on_a_stream_that_stays_open(box: Box) -> None:
    """When it is over, everything that happened meanwhile is there."""
    client = box.client(keepalive_s=0.02)
    stream = client.subscribe(ACCOUNTS)
    stream.response()
    box.fault("silence", s=3600)
    client.topic(ACCOUNTS)  # Only streams are silent; and what was said before has arrived now.
    while not stream.heard_nothing():
        stream.response()
    box.create("A")
    for _ in range(40):  # In that time ten keepalives and the event would have come.
        client.topic(ACCOUNTS)
    assert stream.heard_nothing()
    box.org.faults.clear()
    assert list(client.names(stream.events(1))) == ["A"]


def test_repeated_events_have_the_same_ids_as_before(box: Box) -> None:
    """The last two of three come twice, then the stream goes on."""
    client = box.client()
    stream = client.subscribe(ACCOUNTS)
    settled(box, 1)
    box.create("A", "B", "C")
    first = stream.events(3)
    box.fault("repeat_events", count=2)
    again = stream.events(2)
    assert [(e.replay_id, e.event.id) for e in again] == [(e.replay_id, e.event.id) for e in first[1:]]
    box.create("D")
    assert list(client.names(stream.events(1))) == ["D"]


def test_events_can_be_repeated_to_one_who_comes_back(box: Box) -> None:
    """Nobody is there when the fault is set: the next stream begins one event early."""
    client = box.client()
    box.create("A", "B")
    stream = client.subscribe(ACCOUNTS, preset="EARLIEST")
    last = stream.events(2)[-1]
    stream.close()
    stream.end()
    with box.bus.changed:
        assert box.bus.changed.wait_for(lambda: box.bus.streams == 0, WAIT_S)
    box.fault("repeat_events", count=1)
    again = client.subscribe(ACCOUNTS, preset="CUSTOM", replay_id=last.replay_id)
    assert [e.event.id for e in again.events(1)] == [last.event.id]


def test_lost_events_are_never_heard_of(box: Box) -> None:
    """The next two of Account are gone for good, also for one who starts at the beginning."""
    client = box.client()
    stream = client.subscribe(ALL)
    settled(box, 1)
    box.fault("lose_events", object="Account", count=2)
    with box.org.transaction(box.org.person) as unit:
        unit.insert("Contact", {"LastName": "kept"})
    for name in ("lost", "lost, too", "kept"):
        box.create(name)
    assert list(client.names(stream.events(2)))[1] == "kept"
    assert len(client.subscribe(ALL, preset="EARLIEST").events(2)) == 2


@pytest.mark.parametrize(("fault", "change_type"), [("gap", "GAP_CREATE"), ("overflow", "GAP_OVERFLOW")])
def test_gaps_and_overflows_take_the_place_of_the_next_events(box: Box, fault: str, change_type: str) -> None:
    """As many as asked for, and then events are events again."""
    client = box.client()
    stream = client.subscribe(ACCOUNTS)
    settled(box, 1)
    box.fault(fault, object="Account", count=1)
    (record_id,) = box.create("A")
    box.create("B")
    gap, event = (client.decode(e) for e in stream.events(2))
    assert gap.keys() == {"ChangeEventHeader"}
    assert gap["ChangeEventHeader"]["changeType"] == change_type
    ids = [record_id] if fault == "gap" else ["000000000000000AAA"]
    assert gap["ChangeEventHeader"]["recordIds"] == ids
    assert event["Name"] == "B"


def test_expired_positions_are_refused_and_what_they_stood_after_is_gone(box: Box) -> None:
    """Then EARLIEST hears only of what comes later; an open stream is not touched."""
    client = box.client()
    stream = client.subscribe(ACCOUNTS)
    settled(box, 1)
    box.create("A")
    (seen,) = stream.events(1)
    box.fault("expire_replay")
    ended = client.subscribe(ACCOUNTS, preset="CUSTOM", replay_id=seen.replay_id).end()
    assert ended.error_code == CODE + "subscription.fetch.replayid.corrupted"
    box.create("B")
    assert list(client.names(stream.events(1))) == ["B"]
    assert list(client.names(client.subscribe(ACCOUNTS, preset="EARLIEST").events(1))) == ["B"]


def test_corrupted_positions_are_refused_although_the_events_are_there(box: Box) -> None:
    """As after the move of an org: same events, other replay ids."""
    client = box.client()
    box.create("A")
    (seen,) = client.subscribe(ACCOUNTS, preset="EARLIEST").events(1)
    box.fault("corrupt_replay")
    ended = client.subscribe(ACCOUNTS, preset="CUSTOM", replay_id=seen.replay_id).end()
    assert ended.error_code == CODE + "subscription.fetch.replayid.corrupted"
    (again,) = client.subscribe(ACCOUNTS, preset="EARLIEST").events(1)
    assert again.event.id == seen.event.id
    assert again.replay_id != seen.replay_id


def test_an_object_that_is_deselected_emits_nothing_until_it_is_selected_again(box: Box) -> None:
    """What happened meanwhile is never told."""
    client = box.client()
    stream = client.subscribe(ALL)
    settled(box, 1)
    box.fault("cdc", object="Account", on=False)
    box.create("unheard")
    assert client.subscribe(ACCOUNTS).end().error_code == CODE + "topic.not.found"
    box.fault("cdc", object="Account", on=True)
    box.create("heard")
    assert list(client.names(stream.events(1))) == ["heard"]


def test_latency_delays_what_a_stream_says_and_keeps_its_order(box: Box) -> None:
    """Two commits are under way at the same time, as on a long line."""
    client = box.client()
    stream = client.subscribe(ACCOUNTS)
    settled(box, 1)
    box.fault("latency", api="pubsub", ms=50)
    began_s = time.monotonic()
    box.create("A")
    box.create("B")
    events = stream.events(2)
    assert time.monotonic() - began_s >= 0.05
    assert list(client.names(events)) == ["A", "B"]


@pytest.mark.parametrize(
    ("fault", "params"),
    [
        ("silence", {}),
        ("repeat_events", {"count": 0}),
        ("gap", {"object": "Account", "count": "2"}),
        ("overflow", {"object": "Nothing"}),
        ("cdc", {"object": "Account"}),
        ("cdc", {"on": False}),
    ],
)
def test_a_fault_that_cannot_be_meant_is_refused(box: Box, fault: str, params: dict[str, Any]) -> None:
    """The control API tells its user what the fault needs."""
    with pytest.raises(BadFault, match=fault):
        box.org.faults.set(fault, params)


def test_a_taken_port_is_said_so(box: Box, certificates: Certificates) -> None:
    """No second server quietly shares it."""
    from salmon.errors import SetupError

    key, chain = certificates.key_file.read_bytes(), certificates.chain_file.read_bytes()
    credentials = grpc.ssl_server_credentials([(key, chain)])
    first = serve(box.org, credentials=credentials, bus=box.bus)
    try:
        with pytest.raises(SetupError, match="taken"):
            serve(box.org, credentials=credentials, bus=box.bus, port=first.port)
    finally:
        first.stop()


def test_the_proto_is_ours_and_the_public_ones_alike(wire: Wire, tmp_path: Path) -> None:
    """Generated code of others and ours live in one process, because the descriptors are the same."""
    from salmon.salesforce import pubsub_api_pb2 as ours

    assert wire.pb2.DESCRIPTOR.serialized_pb == ours.DESCRIPTOR.serialized_pb
