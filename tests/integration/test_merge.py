"""Merge on a real broker: each change is folded once, whatever happens to the process."""

from __future__ import annotations

import random
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from structlog.testing import capture_logs

from salmon.config.models import SyncConfig
from salmon.devstack.broker import EmbeddedBroker
from salmon.errors import CacheDamaged, Fenced
from salmon.kafka import clients, tables, topics
from salmon.kafka.codecs.serdes import Changes, Records, Writes
from salmon.merge import store
from salmon.merge.cache import Mark, RocksCache
from salmon.merge.folders import StateFolder
from salmon.merge.process import MergeProcess
from salmon.merge.restoring import OpenCache
from salmon.merge.states import States
from salmon.model.change import MONGODB, SALESFORCE, Change, Op, Value
from salmon.model.fold import fold
from salmon.model.rules import Rules
from salmon.model.state import State, new_state
from salmon.ops.health import Health
from salmon.ops.metrics import Metrics
from support import runtime
from support.at_hand.memory_cache import MemoryCache
from support.at_hand.registries import MemoryRegistry
from support.sync_config import sync_config
from support.waiting import until
from support.world.nature import SCHEMA

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

    def process(self, open_cache: OpenCache | None = None) -> MergeProcess:
        return MergeProcess(
            self.config,
            {"Account": SCHEMA},
            self.registry,
            health=Health(),
            metrics=Metrics("merge"),
            open_cache=open_cache,
        )

    def records(self) -> dict[str, dict[str, Value]]:
        """The agreed records, without nulls."""
        topic = self.config.topic_names.records("Account")
        serde = Records(SCHEMA, self.registry, topic)
        rows = tables.load(self.config.kafka_properties(), topic)
        return {
            key: {n: v for n, v in serde.decode(data).items() if v is not None} for key, data in rows.items()
        }

    def states(self) -> dict[str, State]:
        topic = self.config.topic_names.state("Account")
        codec = States(Rules(SCHEMA), self.registry, topic)
        rows = tables.load(self.config.kafka_properties(), topic)
        return {key: codec.decode(data) for key, data in rows.items()}

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
    def running(self, open_cache: OpenCache | None = None) -> Iterator[MergeProcess]:
        with runtime.running(self.process(open_cache)) as (run,):
            try:
                yield run.worker
            finally:
                run.stop(30.0)


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
        sync_config(
            name=name,
            kafka={"bootstrap.servers": broker},
            topics={"partitions": PARTITIONS, "replication_factor": 1},
            merge={"state_dir": str(tmp_path / "state")},
        )
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


def test_what_makes_a_record_too_large_is_left_out_and_the_rest_is_folded(merging: Merging) -> None:
    """
    Two values that fit one by one, and not into one record: the second stays in Salesforce, the state says so, and the
    edit's other field goes on (case L9).
    """
    half = random.Random(1).randbytes(topics.RECORD_BYTES_MAX // 3).hex()
    with merging.running():
        merging.feed(row("001A", Name=half), edit("001A", 1, Phone=half, City="Oslo"))
        until(lambda: merging.records().get("001A", {}).get("City") == "Oslo")
        merging.feed(edit("001A", 2, City="Bergen"))
        until(lambda: merging.records()["001A"]["City"] == "Bergen")
    assert merging.records() == {"001A": {"Name": half, "City": "Bergen"}}
    misfits = merging.states()["001A"].sides[SALESFORCE].misfits
    assert {name: misfit.code for name, misfit in misfits.items()} == {"Phone": "TOO_LARGE"}
    assert merging.count(merging.config.topic_names.dlq("merge")) == 1


# The working copy of `state`.


def folded(changes: Iterable[tuple[str, Change]]) -> dict[str, tuple[object, ...]]:
    """What an undisturbed fold makes of them, without what depends on offsets."""
    rules, states = Rules(SCHEMA), dict[str, State]()
    for key, change in changes:
        known = states.get(key) or new_state(rules.names)
        states[key] = fold(
            known, change, object="Account", key=key, offset=0, rules=rules, correlation=""
        ).state
    return {key: gist(state) for key, state in states.items()}


def gist(state: State) -> tuple[object, ...]:
    """The agreed row, and how much each side was told and has told."""
    sides = [(side.order, side.as_of, len(side.sent)) for _, side in sorted(state.sides.items())]
    return state.canonical, state.lives, sides


def test_a_restart_reads_only_what_is_new(merging: Merging, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy on disk is good up to its mark; without it all is read, with the same result."""
    monkeypatch.setattr(store, "_MARK_AFTER_S", 0.0)
    fed = [row(f"001{n:04}", Name=f"Acme {n}") for n in range(50)]
    with merging.running() as process:
        merging.feed(*fed)
        until(lambda: len(merging.records()) == 50)
        until(lambda: sum(marks_of(process)) >= 50)
        ends = marks_of(process)
    fed.append(edit("0010007", 1, Phone="1"))
    with capture_logs() as logs, merging.running():
        merging.feed(fed[-1])
        until(lambda: merging.records()["0010007"].get("Phone") == "1")
    restored = [each for each in logs if each["event"] == "states_restored"]
    assert sorted(each["read_from"] for each in restored) == sorted(ends)
    assert all(each["from_cache"] for each in restored)
    shutil.rmtree(merging.config.merge.state_dir or "")
    fed.append(edit("0010007", 2, City="Oslo"))
    with merging.running():
        merging.feed(fed[-1])
        until(lambda: merging.records()["0010007"].get("City") == "Oslo")
    assert {key: gist(state) for key, state in merging.states().items()} == folded(fed)


def marks_of(process: MergeProcess) -> list[int]:
    stores = list(process._stores._stores.values())
    return [mark.offset for each in stores if (mark := each.cache.mark) is not None]


class Killed(BaseException):
    """As if by SIGKILL: nothing of the process goes on."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_killed_between_the_commit_and_the_copy_it_goes_on_as_if_nothing_were(merging: Merging) -> None:
    """Three times in a row: each batch is in the topic, and not in the copy."""

    class Deadly:
        """A copy whose process dies before it takes in a batch."""

        def __init__(self, cache: RocksCache) -> None:
            self.cache = cache

        def __getattr__(self, name: str) -> Any:
            return getattr(self.cache, name)

        def __len__(self) -> int:
            return len(self.cache)

        def write(self, rows: Mapping[str, bytes | None], mark: Mark | None = None) -> None:
            if mark is None:
                raise Killed
            self.cache.write(rows, mark)

    fed = [row("001A", Name="Acme"), row("001B", Name="Bolt")]
    with merging.running():
        merging.feed(*fed)
        until(lambda: len(merging.records()) == 2)
    for order in range(1, 4):
        folder = StateFolder(merging.config.merge.state_dir, merging.config.name, 0)
        process = merging.process(
            open_cache=lambda t, p, folder=folder: Deadly(folder.open_cache(t, p))  # type: ignore[misc]
        )
        thread = threading.Thread(target=process.run)
        thread.start()
        fed.append(edit("001A", order, Phone=str(order)))
        merging.feed(fed[-1])
        thread.join(20)
        assert not thread.is_alive(), "it died of its own copy"
        folder.close()
    fed.append(edit("001A", 9, City="Oslo"))
    with merging.running():
        merging.feed(fed[-1])
        until(lambda: merging.records()["001A"].get("City") == "Oslo")
    assert {key: gist(state) for key, state in merging.states().items()} == folded(fed)


def test_a_copy_that_breaks_while_it_is_used_is_read_again(merging: Merging) -> None:
    """A checksum does not fit: no change is set aside for it, and none is lost."""
    broken = [False]

    class Breaking(MemoryCache):
        def get(self, key: str) -> bytes | None:
            if key == "001A" and not broken[0]:
                broken[0] = True
                self.clear()
                raise CacheDamaged("a block does not fit its checksum", "Corruption")
            return super().get(key)

    fed = [row("001A", Name="Acme"), row("001B", Name="Bolt"), edit("001A", 1, Phone="1")]
    with merging.running(open_cache=lambda _topic, _partition: Breaking()):
        merging.feed(*fed)
        until(lambda: merging.records().get("001A", {}).get("Phone") == "1")
    assert broken == [True]
    assert {key: gist(state) for key, state in merging.states().items()} == folded(fed)
    assert merging.count(merging.config.topic_names.dlq("merge")) == 0


def test_partitions_that_move_to_another_disk_and_back_are_folded_as_one_log(
    merging: Merging, tmp_path: Path
) -> None:
    """Each owner goes on where the other has stopped; the copy that was away reads what it has missed."""
    keys = [f"001{n:04}" for n in range(40)]
    fed = [row(key, Name=key) for key in keys]
    for order, disk in enumerate(["here", "there", "here", "there"], start=1):
        folder = StateFolder(str(tmp_path / disk), merging.config.name, 0)
        fed += [edit(key, order, Phone=f"{disk} {order}") for key in keys]
        merging.feed(*(fed if order == 1 else fed[-len(keys) :]))
        with merging.running(open_cache=folder.open_cache):
            until(lambda last=fed[-1][1]: phones(merging) == {last.fields["Phone"]})  # type: ignore[misc]
        folder.close()
    assert {key: gist(state) for key, state in merging.states().items()} == folded(fed)


def phones(merging: Merging) -> set[Value]:
    return {record.get("Phone") for record in merging.records().values()}


def test_a_changes_topic_that_was_made_anew_is_a_hole_also_where_it_has_grown_to_our_place(
    merging: Merging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its offset alone merge would go on in the middle of another log; both sources are asked to read anew (L2)."""
    describe = tables.describe
    topic_ids = iter(["the first", "the second"])

    def described(admin: Any, topic: str, **more: Any) -> tables.Description:
        told = describe(admin, topic, **more)
        return replace(told, topic_id=topic_id) if topic.endswith("changes.Account") else told

    monkeypatch.setattr(tables, "describe", described)
    for topic_id in topic_ids:
        with merging.running():
            merging.feed(row("001A", Name=topic_id), row("001B", Name=topic_id))
            until(lambda name=topic_id: merging.records().get("001B", {}).get("Name") == name)  # type: ignore[misc]
    for source in ("salesforce-source", "mongodb-source"):
        assert merging.count(merging.config.topic_names.signals(source)) > 0, "both read the object anew"
