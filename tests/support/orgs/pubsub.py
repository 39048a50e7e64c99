"""A bare Pub/Sub API client, generated from the public proto when the tests run, as any other program's would be."""

from __future__ import annotations

import importlib
import io
import json
import queue
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro
import grpc

PROTO = Path(__file__).parents[3] / "connectors/salmon/salesforce/wire/pubsub_api/pubsub_api.proto"
WAIT_S = 30.0  # for what must happen; never waited for in full when all is well


@dataclass(frozen=True, slots=True)
class Wire:
    """The generated modules."""

    pb2: Any
    stub: Any  # the generated stub class


def generate_client(folder: Path) -> Wire:
    """Run protoc on the public proto and import what it makes."""
    protoc = importlib.import_module("grpc_tools.protoc")
    (folder / PROTO.name).write_bytes(PROTO.read_bytes())
    arguments = [
        f"-I{folder}",
        f"--python_out={folder}",
        f"--grpc_python_out={folder}",
        str(folder / PROTO.name),
    ]
    assert protoc.main(["protoc", *arguments]) == 0
    sys.path.insert(0, str(folder))
    try:
        pb2 = importlib.import_module("pubsub_api_pb2")
        stubs = importlib.import_module("pubsub_api_pb2_grpc")
    finally:
        sys.path.remove(str(folder))
    return Wire(pb2, stubs.PubSubStub)


class Ended(Exception):
    """The stream ended. *code* is a grpc.StatusCode, *error_code* and *rpc_id* come from the trailers."""

    def __init__(self, call: Any) -> None:
        trailers = dict(call.trailing_metadata() or ())
        self.code = call.code()
        self.details = call.details()
        self.error_code = trailers.get("error-code")
        self.rpc_id = trailers.get("rpc-id")
        super().__init__(f"{self.code}: {self.details}")


class Subscriber:
    """One Subscribe stream. Close it."""

    def __init__(self, wire: Wire, stub: Any, metadata: list[tuple[str, str]]) -> None:
        self._pb2 = wire.pb2
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._responses: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.call = stub.Subscribe(iter(self._requests.get, None), metadata=metadata)
        threading.Thread(target=self._read, daemon=True).start()

    def ask(self, events: int, topic: str = "", preset: str = "LATEST", replay_id: bytes = b"") -> None:
        """Send a FetchRequest."""
        self._requests.put(
            self._pb2.FetchRequest(
                topic_name=topic,
                replay_preset=self._pb2.ReplayPreset.Value(preset),
                replay_id=replay_id,
                num_requested=events,
            )
        )

    def ask_no_more(self) -> None:
        """Close the client's half of the stream."""
        self._requests.put(None)

    def response(self) -> Any:
        """The next FetchResponse. Raises Ended if the stream ended instead."""
        response = self._responses.get(timeout=WAIT_S)
        if isinstance(response, Ended):
            self._responses.put(response)
            raise response
        return response

    def events(self, count: int) -> list[Any]:
        """The next *count* ConsumerEvents, whatever responses they come in; keepalives are passed over."""
        found: list[Any] = []
        while len(found) < count:
            found.extend(self.response().events)
        assert len(found) == count, "more events than the test expected in one response"
        return found

    def heard_nothing(self) -> bool:
        """Whether no response has arrived that was not taken yet."""
        return self._responses.empty()

    def end(self) -> Ended:
        """Wait for the end of the stream; responses on the way are dropped."""
        while True:
            try:
                self.response()
            except Ended as ended:
                return ended

    def close(self) -> None:
        """Cancel the call."""
        self.call.cancel()
        self.ask_no_more()

    def _read(self) -> None:
        try:
            for response in self.call:
                self._responses.put(response)
        except grpc.RpcError:
            pass
        self._responses.put(Ended(self.call))


class Publishing:
    """One stream of requests and their responses, of PublishStream or ManagedSubscribe. Close it."""

    def __init__(self, rpc: Any, metadata: list[tuple[str, str]]) -> None:
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.call = rpc(iter(self._requests.get, None), metadata=metadata, timeout=WAIT_S)

    def send(self, request: Any) -> None:
        self._requests.put(request)

    def response(self) -> Any:
        """The next response. Raises Ended if the stream ended instead."""
        try:
            return next(self.call)
        except (grpc.RpcError, StopIteration):
            raise Ended(self.call) from None

    def end(self) -> Ended:
        """Wait for the end of the stream; responses on the way are dropped."""
        while True:
            try:
                self.response()
            except Ended as ended:
                return ended

    def close(self) -> None:
        """End the client's half of the stream, and the call."""
        self._requests.put(None)
        self.call.cancel()


class Client:
    """A channel to a Pub/Sub API with good metadata; *metadata* may be changed for the calls to come."""

    def __init__(self, wire: Wire, target: str, ca_file: Path, *, token: str, tenant: str) -> None:
        self._wire = wire
        self.channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(ca_file.read_bytes()))
        self.stub = wire.stub(self.channel)
        self.metadata = {"accesstoken": token, "instanceurl": "https://127.0.0.1", "tenantid": tenant}
        self._schemas: dict[str, Any] = {}
        self._subscribers: list[Subscriber | Publishing] = []

    def subscribe(
        self, topic: str, events: int = 100, preset: str = "LATEST", replay_id: bytes = b""
    ) -> Subscriber:
        """Open a stream and ask for the first events."""
        subscriber = Subscriber(self._wire, self.stub, list(self.metadata.items()))
        self._subscribers.append(subscriber)
        subscriber.ask(events, topic, preset, replay_id)
        return subscriber

    def event(self, topic: str, event_id: str = "", **values: Any) -> Any:
        """A ProducerEvent of a topic, by the schema that it has now; fields that are not named are null."""
        schema_id = self.topic(topic).schema_id
        schema = fastavro.parse_schema(json.loads(self.schema(schema_id).schema_json))
        payload = io.BytesIO()
        system = {"CreatedDate": 1_700_000_000_000, "CreatedById": "005000000000001AAA"}
        fastavro.schemaless_writer(payload, schema, {**system, **values})
        return self._wire.pb2.ProducerEvent(id=event_id, schema_id=schema_id, payload=payload.getvalue())

    def publish(self, topic: str, *events: Any) -> Any:
        """The response to one Publish."""
        request = self._wire.pb2.PublishRequest(topic_name=topic, events=events)
        return self.stub.Publish(request, metadata=list(self.metadata.items()), timeout=WAIT_S)

    def publishing(self) -> Publishing:
        """Open a PublishStream."""
        return self.opened(self.stub.PublishStream)

    def managed(self, events: int = 100, **which: str) -> Publishing:
        """Open a ManagedSubscribe stream and ask for the first events."""
        stream = self.opened(self.stub.ManagedSubscribe)
        stream.send(self._wire.pb2.ManagedFetchRequest(num_requested=events, **which))
        return stream

    def opened(self, rpc: Any) -> Publishing:
        """Open a stream of an RPC of the stub."""
        stream = Publishing(rpc, list(self.metadata.items()))
        self._subscribers.append(stream)
        return stream

    def topic(self, name: str) -> Any:
        return self.stub.GetTopic(
            self._wire.pb2.TopicRequest(topic_name=name), metadata=list(self.metadata.items()), timeout=WAIT_S
        )

    def schema(self, schema_id: str) -> Any:
        return self.stub.GetSchema(
            self._wire.pb2.SchemaRequest(schema_id=schema_id),
            metadata=list(self.metadata.items()),
            timeout=WAIT_S,
        )

    def decode(self, consumed: Any) -> dict[str, Any]:
        """The payload of a ConsumerEvent by the schema that it names; nulls left out."""
        schema_id = consumed.event.schema_id
        if schema_id not in self._schemas:
            self._schemas[schema_id] = fastavro.parse_schema(json.loads(self.schema(schema_id).schema_json))
        payload = io.BytesIO(consumed.event.payload)
        read = fastavro.schemaless_reader(payload, self._schemas[schema_id], None)
        assert payload.read() == b""
        assert isinstance(read, dict)
        return {name: value for name, value in read.items() if value is not None}

    def names(self, consumed: list[Any]) -> Iterator[str]:
        """What the events of Accounts call them."""
        return (str(self.decode(event).get("Name")) for event in consumed)

    def close(self) -> None:
        for subscriber in self._subscribers:
            subscriber.close()
        self.channel.close()
