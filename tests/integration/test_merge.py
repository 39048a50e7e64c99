"""Merge on a real broker: each change is folded once, whatever happens to the process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import pytest
from confluent_kafka import TopicPartition

from salmon.devstack.broker import EmbeddedBroker
from salmon.errors import Fenced
from salmon.kafka import clients, tables, topics
from salmon.kafka.serdes import Changes, Records, Writes
from salmon.merge.process import MergeProcess
from salmon.merge.states import States
from salmon.model.change import MONGODB, SALESFORCE, Change, Op, Value
from salmon.model.rules import Rules
from salmon.runtime.config import SyncConfig
from salmon.runtime.health import Health
from salmon.runtime.metrics import Metrics
from support.registries import MemoryRegistry
from support.world import SCHEMA

PARTITIONS = 2


@dataclass
class Merging:
    """One sync's topics on the broker, and what it takes to feed and to watch merge."""

    config: SyncConfig
    registry: MemoryRegistry
    changes: Changes
    feeder: clients.TransactionalProducer

    def feed(self, *changes: tuple[str, Change]) -> None:
        """Put changes into the log, in one transaction."""
        with self.feeder.transaction() as transaction:
            for key, change in changes:
                transaction.produce(
                    self.config.topic_names.changes("Account"), key, self.changes.encode(change)
                )

    def feed_junk(self, key: str) -> None:
        with self.feeder.transaction() as transaction:
            transaction.produce(self.config.topic_names.changes("Account"), key, b"no Avro at all")

    def process(self) -> MergeProcess:
        return MergeProcess(
            self.config, {"Account": SCHEMA}, self.registry, health=Health(), metrics=Metrics("merge")
        )

    def records(self) -> dict[str, dict[str, Value]]:
        """The agreed records, without nulls."""
        topic = self.config.topic_names.records("Account")
        serde = Records(SCHEMA, self.registry, topic)
        rows = tables.load(self.config.kafka_properties(), topic)
        return {
            key: {n: v for n, v in serde.decode(data).items() if v is not None} for key, data in rows.items()
        }

    def count(self, topic: str) -> int:
        """How many committed records a topic holds."""
        reader = clients.consumer(
            self.config.kafka_properties(), group_id="count", client_id="count", enable_partition_eof=True
        )
        ends = 0
        found = 0
        partitions = topics.partition_counts(clients.admin(self.config.kafka_properties()))[topic]
        reader.assign([TopicPartition(topic, p, 0) for p in range(partitions)])
        while ends < partitions:
            for message in reader.consume(1000, 0.2):
                ends += message.error() is not None
                found += message.error() is None
        reader.close()
        return found

    @contextmanager
    def running(self) -> Iterator[MergeProcess]:
        process = self.process()
        thread = threading.Thread(target=process.run)
        thread.start()
        try:
            yield process
        finally:
            process.stop()
            thread.join(30)
            assert not thread.is_alive(), "it stops when it is told to"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("kafka")
    server = EmbeddedBroker(folder / "data", folder / "kafka.log")
    server.start()
    yield server.bootstrap_servers
    server.stop()


@pytest.fixture
def merging(broker: str, request: pytest.FixtureRequest, tmp_path: Path) -> Merging:
    name = f"t{abs(hash(request.node.name)) % 10**8}"
    config = SyncConfig.model_validate(
        {
            "name": name,
            "kafka": {"bootstrap.servers": broker},
            "schema_registry": {"url": "http://localhost:8081"},
            "topics": {"partitions": PARTITIONS, "replication_factor": 1},
            "salesforce": {"auth": {"flow": "client_credentials", "client_id": "x", "client_secret": "y"}},
            "mongodb": {"uri": "mongodb://localhost", "database": "crm"},
            "objects": {"Account": {"collection": "accounts"}},
        }
    )
    registry = MemoryRegistry()
    names = config.topic_names
    topics.ensure(
        clients.connect(config.kafka_properties()),
        topics.specs(names, ["Account"], partitions=PARTITIONS, replication_factor=1),
    )
    feeder = clients.producer(
        config.kafka_properties(), transactional_id=f"{name}-feeder", client_id="feeder"
    )
    feeder.start()
    return Merging(config, registry, Changes(SCHEMA, registry, names.changes("Account")), feeder)


def row(key: str, **fields: Value) -> tuple[str, Change]:
    return key, Change(SALESFORCE, Op.ROW, committed_at=5, as_of=1000, native_id=key, fields=fields)


def edit(key: str, order: int, **fields: Value) -> tuple[str, Change]:
    change = Change(
        SALESFORCE,
        Op.UPDATE,
        committed_at=2000 + order,
        commit_time=2000 + order,
        order=order.to_bytes(8, "big"),
        native_id=key,
        changed=frozenset(fields),
        fields=fields,
    )
    return key, change


def until(condition: Callable[[], bool], *, within_s: float = 20) -> None:
    """Wait until *condition* holds."""
    deadline = monotonic() + within_s
    waiting = threading.Event()
    while not condition():
        assert monotonic() < deadline, "it never came"
        waiting.wait(0.02)


def test_rows_become_records_and_writes_to_the_other_side(merging: Merging) -> None:
    """What Salesforce shows is published, and MongoDB is owed all of it."""
    with merging.running():
        merging.feed(*(row(f"001{n:04}", Name=f"Acme {n}") for n in range(50)))
        until(lambda: len(merging.records()) == 50)
    assert merging.records()["0010007"] == {"Name": "Acme 7"}
    topic = merging.config.topic_names.writes(MONGODB, "Account")
    write = Writes(SCHEMA, merging.registry, topic).decode(
        tables.load(merging.config.kafka_properties(), topic)["0010007"]
    )
    assert (write.op, write.fields["Name"], write.fields["$salesforce_id"]) == ("CREATE", "Acme 7", "0010007")


def test_a_restart_goes_on_behind_the_last_commit_and_knows_what_it_knew(merging: Merging) -> None:
    """Each change is folded once: the state topic has exactly the seqs of an undisturbed run."""
    with merging.running():
        merging.feed(row("001A", Name="Acme"), edit("001A", 1, Phone="1"))
        until(lambda: merging.records().get("001A", {}).get("Phone") == "1")
    merging.feed(edit("001A", 2, Phone="2"))
    with merging.running():
        merging.feed(edit("001A", 3, City="Oslo"))
        until(lambda: merging.records()["001A"].get("City") == "Oslo")
    topic = merging.config.topic_names.state("Account")
    states = States(Rules(SCHEMA), merging.registry, topic)
    state = states.decode(tables.load(merging.config.kafka_properties(), topic)["001A"])
    assert state.canonical == {"Name": "Acme", "Phone": "2", "City": "Oslo"}
    assert state.sides[SALESFORCE].order == (3).to_bytes(8, "big")


def test_what_is_no_change_is_set_aside_and_holds_up_nobody(merging: Merging) -> None:
    """Bytes that cannot be read go to the dead letter queue, as they are; the next change is folded."""
    with merging.running():
        merging.feed_junk("001A")
        merging.feed(row("001A", Name="Acme"))
        until(lambda: merging.records() == {"001A": {"Name": "Acme"}})
    assert merging.count(merging.config.topic_names.dlq("merge")) == 1


def test_a_newer_instance_fences_the_older_and_nothing_is_doubled(merging: Merging) -> None:
    """The older ends with Fenced; every record is written once."""
    older = merging.process()
    ended: list[BaseException] = []

    def run_older() -> None:
        try:
            older.run()
        except Fenced as fenced:
            ended.append(fenced)

    thread = threading.Thread(target=run_older)
    thread.start()
    merging.feed(row("001A", Name="Acme"))
    until(lambda: "001A" in merging.records())
    with merging.running():
        merging.feed(*(row(f"001{n:04}", Name=f"Acme {n}") for n in range(200)))
        until(lambda: len(merging.records()) == 201)
        thread.join(30)
        assert [type(error) for error in ended] == [Fenced]
    assert merging.count(merging.config.topic_names.records("Account")) == 201


def test_a_change_that_breaks_a_rule_of_the_log_is_set_aside_like_any_other(merging: Merging) -> None:
    """A row that does not say up to when it knows, and a side that nobody knows, stop nothing."""
    with merging.running():
        merging.feed(
            ("001A", Change(SALESFORCE, Op.ROW, fields={"Name": "No as_of"})),
            ("001A", Change("sap", Op.CREATE, order=b"1", commit_time=1, fields={"Name": "Who?"})),
            ("001A", Change(MONGODB, Op.REFUSED)),
            row("001A", Name="Acme"),
        )
        until(lambda: merging.records() == {"001A": {"Name": "Acme"}})
    assert merging.count(merging.config.topic_names.dlq("merge")) == 3
