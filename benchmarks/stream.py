"""
How many change events per second does the Salesforce source carry into Kafka over a line with a round trip of 50 ms?

The real processes: a simulated org (`salmon simulator`), a line to its Pub/Sub API on which all takes 25 ms each way, the embedded
broker, and `salmon run salesforce-source`. While the source is stopped, contacts are edited; then it starts, and the rate is that at
which their changes arrive in Kafka, committed. In the same run, a client asks for the same events over the same line as the
official samples do: for 100, and when all of them have come and are decoded, for the next 100. It writes nothing.
"""

from __future__ import annotations

import argparse
import io
import json
import queue
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import fastavro
import grpc
import yaml
from benchmarks import measuring
from benchmarks.measuring import Watched
from benchmarks.simulator import A_CALL, CHANGES, OWED, org, signed_in, started, stubs, written
from confluent_kafka import TopicPartition

from salmon.config.models import load
from salmon.devstack.broker import EmbeddedBroker
from salmon.devstack.registry_process import RegistryProcess
from salmon.kafka import clients
from salmon.salesforce.wire.pubsub_api import pubsub_api_pb2 as pb2

CONTACT: Final = "Contact"
_WAIT_S: Final = 600.0
_SETTLED_S: Final = 5.0  # what is edited while records are read is answered by reading them again
_WARM: Final = 1_000  # events that are not measured: connections are opened meanwhile


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--events", type=int, default=20_000)
    options.add_argument("--round-trip", type=float, default=50, help="ms")
    chosen = options.parse_args()
    with (
        tempfile.TemporaryDirectory() as made,
        org(Path(made) / "org", ["--records", f"{CONTACT}={A_CALL * 10}"]) as (_, told),
        started(
            Path(made) / "line",
            ["-m", "benchmarks.line", "--to", told["pubsub_endpoint"], "--ms", str(chosen.round_trip / 2)],
        ) as (_, line),
        kafka(Path(made), told, line["endpoint"]) as path,
    ):
        salmon = by_salmon(path, told, chosen.events)
        plain = by_a_plain_client(told, line["endpoint"], chosen.events)
    measuring.save(
        "stream",
        {
            "question": " ".join((__doc__ or "").strip().splitlines()[0].split()),
            "machine": measuring.machine(),
            "versions": measuring.versions("grpcio", "fastavro", "confluent-kafka"),
            "events": chosen.events,
            "round_trip_ms": chosen.round_trip,
            "salmon_into_kafka": salmon,
            "unpipelined_client": plain,
            "ratio": round(salmon["events_a_second"] / plain["events_a_second"], 2),
        },
    )


@contextmanager
def kafka(folder: Path, told: dict[str, Any], endpoint: str) -> Iterator[Path]:
    """A broker, a registry, and the path of a sync's configuration that is on them."""
    broker = EmbeddedBroker(folder / "kafka", folder / "kafka.log")
    registry = RegistryProcess(folder / "registry", folder / "registry.log")
    try:
        broker.start()
        registry.start()
        path = folder / "sync.yaml"
        path.write_text(
            yaml.safe_dump(
                {
                    "name": "bench",
                    "kafka": {"bootstrap.servers": broker.bootstrap_servers},
                    "schema_registry": {"url": registry.url},
                    "topics": {"partitions": 1, "replication_factor": 1},
                    "salesforce": {
                        "login_url": told["login_url"],
                        "auth": {
                            "flow": "client_credentials",
                            "client_id": told["client_id"],
                            "client_secret": told["client_secret"],
                        },
                        "ca_file": told["ca_file"],
                        "pubsub": {"endpoint": endpoint},
                    },
                    "mongodb": {"uri": "mongodb://localhost", "database": "bench"},
                    "objects": {CONTACT: {"collection": "contacts"}},
                    "merge": {"state_dir": str(folder / "state")},
                    "rest": {"port": 0},
                }
            )
        )
        yield path
    finally:
        registry.stop()
        broker.stop()


def by_salmon(path: Path, told: dict[str, Any], events: int) -> dict[str, Any]:
    http, _ = signed_in(told, "person_")
    base = f"{told['instance_url']}/services/data/v64.0"
    found = http.get(f"{base}/query?q=SELECT+Id+FROM+{CONTACT}").json()["records"]
    ids = [record["Id"] for record in found]
    config = load(path)
    with source(path) as process:
        arrived = Arrivals(config, process)
        arrived.until(len(ids))
        time.sleep(_SETTLED_S)
        written(http, f"{base}/composite/sobjects", ids, A_CALL)  # from here on, the stream has a place
        seen = len(ids) + A_CALL
        arrived.until(seen)
    written(http, f"{base}/composite/sobjects", ids, events)
    with source(path) as process:
        arrived.process = process
        before_s = arrived.until(seen + _WARM)
        began = process.usage()
        after_s = arrived.until(seen + events)
        ended = process.usage()
    return told_of(events - _WARM, after_s - before_s) | {
        "cpu_ms_an_event": round((ended.cpu_s - began.cpu_s) * 1000 / (events - _WARM), 3)
    }


@contextmanager
def source(path: Path) -> Iterator[Watched]:
    command = [sys.executable, "-m", "salmon", "run", "salesforce-source", "-c", str(path)]
    process = Watched(command, path.parent / "source.log")
    try:
        yield process
    finally:
        process.stop()


class Arrivals:
    """The changes in Kafka, as whoever reads what is committed sees them come."""

    def __init__(self, config: Any, process: Watched) -> None:
        self.process = process
        self._count = 0
        self._topic = config.topic_names.changes(CONTACT)
        self._consumer = clients.consumer(config.kafka_properties(), group_id="bench", client_id="bench")
        self._is_assigned = False

    def until(self, count: int) -> float:
        """Wait for so many, all in all; when the last of them came."""
        self.process.until(lambda: self._read() >= count, _WAIT_S)
        return time.monotonic()

    def _read(self) -> int:
        if not self._is_assigned:
            known = self._consumer.list_topics(timeout=10).topics
            if self._topic not in known:
                return 0
            self._consumer.assign([TopicPartition(self._topic, 0, 0)])
            self._is_assigned = True
        self._count += sum(not message.error() for message in self._consumer.consume(500, 0.01))
        return self._count


def by_a_plain_client(told: dict[str, Any], endpoint: str, events: int) -> dict[str, Any]:
    """Ask for 100, decode them, ask for the next 100."""
    _, token = signed_in(told, "person_")
    credentials = grpc.ssl_channel_credentials(Path(told["ca_file"]).read_bytes())
    metadata = (("accesstoken", token), ("instanceurl", told["instance_url"]), ("tenantid", told["org_id"]))
    asked: queue.SimpleQueue[Any] = queue.SimpleQueue()
    schemas: dict[str, Any] = {}
    received, owed, before_s = 0, OWED, 0.0
    with grpc.secure_channel(endpoint, credentials) as channel:
        api = stubs.PubSubStub(channel)
        call = api.Subscribe(iter(asked.get, None), metadata=metadata)
        earliest = pb2.ReplayPreset.EARLIEST
        asked.put(pb2.FetchRequest(topic_name=CHANGES, replay_preset=earliest, num_requested=OWED))
        for response in call:
            for each in response.events:
                schema_id = each.event.schema_id
                if schema_id not in schemas:
                    answer = api.GetSchema(pb2.SchemaRequest(schema_id=schema_id), metadata=metadata)
                    schemas[schema_id] = fastavro.parse_schema(json.loads(answer.schema_json))
                fastavro.schemaless_reader(io.BytesIO(each.event.payload), schemas[schema_id])
            if received < _WARM <= received + len(response.events):
                before_s, warm = time.monotonic(), received + len(response.events)
            received += len(response.events)
            owed -= len(response.events)
            if received >= events:
                break
            if not owed:
                asked.put(pb2.FetchRequest(num_requested=OWED))
                owed = OWED
        took_s = time.monotonic() - before_s
        call.cancel()
        asked.put(None)
    return told_of(received - warm, took_s)


def told_of(events: int, took_s: float) -> dict[str, Any]:
    return {"events_a_second": round(events / took_s), "took_s": round(took_s, 2)}


if __name__ == "__main__":
    main()
