"""
A sync under exactly the rights that deploy/security.md lists, on Apache Kafka with an authorizer and mongod with access control.

Nothing that a process asks for is denied, and no right of the lists goes unused.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from salmon.devstack import jvm
from salmon.devstack.mongod import EmbeddedMongod
from salmon.devstack.registry_process import RegistryProcess
from salmon.kafka import clients
from salmon.kafka.topics import CONNECTORS
from support import rights
from support.ring import Document, Ring, running_ring
from support.stacks import JVM, Stack
from support.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.jvm, pytest.mark.xdist_group(JVM)]

NAME = "rights"
USERS = (*CONNECTORS, "operator")
RECORDS = {"Account": 30, "Contact": 10, "Opportunity": 5}


@dataclass(frozen=True, slots=True)
class Guarded:
    """A ring whose processes sign in, each as a user of its own."""

    ring: Ring
    kafka: jvm.ApacheKafka
    admin: AdminClient

    def start(self, *names: str) -> None:
        for name in names or CONNECTORS:
            with pytest.MonkeyPatch.context() as patched:
                patched.setenv("SALMON_TEST_USER", name)
                patched.setenv("SALMON_TEST_ROLE", name if "mongodb" in name else "nobody")
                self.ring.start(name)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """It runs, and has read what both sides have."""
    if lacks := jvm.missing():
        pytest.skip(f"the real stack cannot run: {lacks}")
    folder = tmp_path_factory.mktemp("guarded")
    kafka = jvm.ApacheKafka(
        folder / "kafka", folder / "kafka.log", users={name: f"of-{name}" for name in USERS}
    )
    registry = RegistryProcess(folder / "registry", folder / "registry.log")
    mongod = EmbeddedMongod(folder / "mongodb", folder / "mongodb.log", guarded=True)
    servers = (kafka, registry, mongod)
    try:
        for server in servers:
            server.start()
        stack = Stack(JVM, folder, kafka.bootstrap_servers, registry.url, with_users(mongod), kafka)
        with running_ring(stack, NAME, records=RECORDS) as ring:
            signing_in(ring, kafka, mongod)
            admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
            for block in rights.blocks("acls").values():
                rights.give(admin, rights.acls(block, NAME, CONNECTORS))
            sync = Guarded(ring, kafka, admin)
            sync.start()
            until(
                lambda: ring.db.accounts.count_documents({}) == RECORDS["Account"], "the load", within_s=120
            )
            yield sync
    finally:
        for server in reversed(servers):
            server.stop()


def with_users(mongod: EmbeddedMongod) -> str:
    """Make the users, and return the address of one who may do everything: the test itself."""
    with mongod.administration() as client:
        client.admin.command("createUser", "test", pwd="of-test", roles=["root"])
        for name, role in zip(("mongodb-source", "mongodb-sink"), rights.roles(NAME), strict=True):
            client.admin.command(role)
            client.admin.command("createUser", name, pwd=f"of-{name}", roles=[role["createRole"]])
    return mongod.uri.replace("mongodb://", "mongodb://test:of-test@")


def signing_in(ring: Ring, kafka: jvm.ApacheKafka, mongod: EmbeddedMongod) -> None:
    """Let each process sign in as the user whom its environment names."""
    said: dict[str, Any] = yaml.safe_load(ring.config_path.read_text())
    said["kafka"] = {
        "bootstrap.servers": kafka.guarded_servers,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "${env:SALMON_TEST_USER:operator}",
        "sasl.password": "of-${env:SALMON_TEST_USER:operator}",
    }
    user = "${env:SALMON_TEST_ROLE:test}"
    said["mongodb"]["uri"] = mongod.uri.replace("mongodb://", f"mongodb://{user}:of-{user}@")
    ring.config_path.write_text(yaml.safe_dump(said))
    ring.reload()


def denied(guarded: Guarded, *users: str) -> list[rights.Use]:
    """What these users asked for in vain."""
    asked = rights.uses(guarded.kafka.decisions)
    return [use for use in asked if not use.allowed and use.user in users]


def test_a_sync_needs_no_more_than_the_page_lists(guarded: Guarded) -> None:
    """Edits, births and deaths, a conflict, a refusal and a record that vanished: nothing of all this is denied."""
    ring = guarded.ring
    one, two, three, four = ring.ids("Account")[:4]
    ring.sf.Account.update(one, {"Site": "Rome"})
    ring.db.accounts.update_one({"_id": two}, {"$set": {"Site": "Oslo"}})
    ring.db.accounts.insert_one({"_id": "born here", "Name": "Born in MongoDB"})
    ring.sf.Account.delete(three)
    ring.wait_document("accounts", one, lambda seen: seen.get("Site") == "Rome")
    ring.wait_row("Account", two, lambda seen: seen["Site"] == "Oslo")
    ring.wait_gone("accounts", three)
    ring.wait_document("accounts", "born here", lambda seen: "salesforce_id" in seen.get("_salmon", {}))

    ring.stop("merge")
    ring.sf.Account.update(four, {"Site": "of a person"})
    ring.db.accounts.update_one({"_id": four}, {"$set": {"Site": "of an application"}})
    guarded.start("merge")
    with ring.trigger(object="Account", when={"field": "Site"}, refuse=True):
        ring.db.accounts.update_one({"_id": two}, {"$set": {"Site": "refused"}})
        until(lambda: ring.dead_letters, "the refusal is a dead letter", within_s=60)
    ring.wait_equal()
    # The sides are equal as soon as one edit has won; the event of the other may come later.
    until(lambda: ring.conflicts == 1, "the conflict is recorded", within_s=60)
    assert denied(guarded, *CONNECTORS) == []


def test_what_goes_wrong_needs_no_more_either(guarded: Guarded) -> None:
    """Records that vanish under a write, values that are refused, records that nobody can read, and changes that are lost."""
    ring = guarded.ring
    # The page says so of this right: once the topics exist, nobody needs it.
    rights.take(guarded.admin, rights.acls(rights.blocks("acls")["create"], NAME, CONNECTORS))
    gone_there, gone_here, geo, edited = ring.ids("Account")[5:9]
    # MongoDB refuses this text for good: it is no place on the globe.
    ring.db.accounts.create_index(
        [("TickerSymbol", "2dsphere")], partialFilterExpression={"TickerSymbol": "GEO"}
    )
    ring.stop("mongodb-source")
    ring.db.accounts.delete_one({"_id": gone_here})
    ring.sf.Account.update(gone_here, {"Site": "Bern"})
    until(
        lambda: wrote(guarded, "mongodb-sink", "rights.signals.mongodb-source"), "it asks what became of it"
    )
    guarded.start("mongodb-source")
    ring.stop("salesforce-source")
    ring.sf.Account.delete(gone_there)
    ring.db.accounts.update_one({"_id": gone_there}, {"$set": {"Site": "Basel"}})
    until(lambda: wrote(guarded, "salesforce-sink", "rights.signals.salesforce-source"), "so does the other")
    guarded.start("salesforce-source")

    stranger = Producer({"bootstrap.servers": guarded.kafka.bootstrap_servers})
    for topic in ("changes.Account", "signals.salesforce-source", "signals.mongodb-source"):
        stranger.produce(f"{NAME}.{topic}", key=b"stranger", value=b"not ours", partition=0)
    stranger.flush(10)
    ring.sf.Account.update(geo, {"TickerSymbol": "GEO"})
    for connector in ("merge", "salesforce-source", "mongodb-source", "mongodb-sink"):
        queue = f"{NAME}.dlq.{connector}"
        until(lambda queue=queue: ring.read(queue), f"a dead letter in {queue}", every_s=0.5)  # type: ignore[misc]

    ring.stop("merge")
    ring.db.accounts.update_one({"_id": edited}, {"$set": {"Site": "lost"}})
    until(lambda: lose_changes(guarded), "changes are lost", every_s=0.2)
    guarded.start("merge")
    until(lambda: wrote(guarded, "merge", "rights.signals.mongodb-source"), "merge has all read again")
    ring.wait_row("Account", edited, lambda seen: seen["Site"] == "lost")
    assert denied(guarded, *CONNECTORS) == []


def wrote(guarded: Guarded, user: str, topic: str) -> bool:
    """Whether the user has written there."""
    uses = rights.uses(guarded.kafka.decisions)
    return any((use.user, use.resource, use.operation) == (user, topic, "WRITE") for use in uses)


def lose_changes(guarded: Guarded) -> bool:
    """Delete all that merge has not folded yet; whether there was any."""
    topic = f"{NAME}.changes.Account"
    reader = clients.consumer(
        {"bootstrap.servers": guarded.kafka.bootstrap_servers}, group_id="test", client_id="test"
    )
    places = [TopicPartition(topic, partition) for partition in range(2)]
    ends = {each.partition: reader.get_watermark_offsets(each)[1] for each in places}
    reader.close()
    folded = guarded.admin.list_consumer_group_offsets(
        [ConsumerGroupTopicPartitions(f"{NAME}-merge", places)]
    )[f"{NAME}-merge"].result()
    behind = [each for each in folded.topic_partitions if ends[each.partition] > each.offset + 1]
    if not behind:
        return False
    for each in guarded.admin.delete_records(
        [TopicPartition(topic, partition, end) for partition, end in ends.items()]
    ).values():
        each.result()
    return True


def test_who_looks_and_who_decides_need_no_more_than_the_page_lists(guarded: Guarded) -> None:
    """The operator's commands, as a user of their own; what they only look at they cannot change."""
    account = guarded.ring.ids("Account")[0]
    looks = ("status", f"why Account {account}", "dlq list", "conflicts list", "guard list")
    (conflict, *_) = guarded.ring.read(f"{NAME}.conflicts")
    resolve = f"conflicts resolve Account {(conflict.key() or b'').decode()} Site --take salesforce"
    decides = (
        "verify",
        "retry",
        resolve,
        "snapshot --object Account --side mongodb",
        "dlq discard --all --reason tested",
    )
    for command in (*looks, *decides):
        ended = subprocess.run(
            [sys.executable, "-m", "salmon", *command.split(), "-c", str(guarded.ring.config_path)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode in (0, 1), f"{command}: {ended.stdout}{ended.stderr}"
    # The group "test" is the reader of this test.
    assert [use for use in denied(guarded, "operator") if use.resource != "test"] == []


def test_mongodb_lets_the_two_users_do_nothing_else(guarded: Guarded) -> None:
    """Nothing that they asked for was refused; the source cannot write, and the sink cannot drop or look elsewhere."""
    log = (guarded.ring.stack.folder / "mongodb.log").read_text()
    assert "not authorized" not in log
    forbidden: list[tuple[str, Callable[[MongoClient[Document]], object]]] = [
        ("mongodb-source", lambda client: client[NAME].accounts.insert_one({})),
        ("mongodb-sink", lambda client: client[NAME].accounts.drop()),
        ("mongodb-sink", lambda client: client["other"].things.find_one()),
    ]
    for user, does in forbidden:
        uri = guarded.ring.stack.mongodb_uri.replace("test:of-test", f"{user}:of-{user}")
        client: MongoClient[Document] = MongoClient(uri)
        with client, pytest.raises(OperationFailure, match="not authorized"):
            does(client)


def test_no_right_of_the_page_goes_unused(guarded: Guarded) -> None:
    """Each one has been asked for by the process that has it."""
    used = rights.uses(guarded.kafka.decisions)
    listed = [
        right for block in rights.blocks("acls").values() for right in rights.acls(block, NAME, CONNECTORS)
    ]
    # Whoever starts first creates the topics.
    unused = [
        right
        for right in listed
        if not any(right.is_for(use) for use in used) and right.operation != "CREATE"
    ]
    assert unused == [], "\n".join(map(str, unused))
