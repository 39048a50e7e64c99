"""MongoDB's tasks and servers that fail, stand still, step down, or are not what we need."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pymongo import ASCENDING, MongoClient

from salmon.config.models import SyncConfig
from salmon.devstack.mongod import EmbeddedMongod, binary
from salmon.devstack.processes import HOST, Background, accepts
from salmon.doctor.checks import Line, examine
from salmon.doctor.servers import MongoChecks
from salmon.errors import RetriableError, SetupError, SignInRefused, Unavailable, UnfitServer
from salmon.model.change import Op, WriteOp
from salmon.mongodb.config import MongoConfig
from salmon.mongodb.wire.client import connect
from salmon.mongodb.writing.sink import MongoSinkTask
from salmon.plugin.contract import Outcome, OutcomeKind, SinkRecord
from salmon.ports import free_ports
from salmon.simulator.tls import make_certificates
from support.clock import Clock
from support.mongo import OBJECTS, SCHEMAS, Log, Mongo, NoIdentities, write
from support.sync_config import sync_config
from support.waiting import until


@contextmanager
def _mongod(folder: Path, *options: str) -> Iterator[int]:
    """A mongod with options of the test's own; gives its port."""
    (port,) = free_ports(1)
    data = folder / "data"
    data.mkdir()
    try:
        program = binary()
    except SetupError as missing:
        pytest.skip(str(missing))
    server = Background("mongod", folder / "mongod.log")
    command: list[str | Path] = [
        program,
        "--dbpath",
        str(data),
        "--port",
        str(port),
        "--bind_ip",
        HOST,
        *options,
    ]
    server.start(command, serves=lambda: accepts(port), within_s=30)
    try:
        yield port
    finally:
        server.stop()


def _config(port: int, options: str = "") -> MongoConfig:
    uri = f"mongodb://{HOST}:{port}/?serverSelectionTimeoutMS=1500{options}"
    return MongoConfig.model_validate({"uri": uri, "database": "crm"})


def test_a_server_that_is_no_replica_set_is_refused_with_the_mend(tmp_path: Path) -> None:
    """It has no change streams: nothing can be synced with it."""
    with (
        _mongod(tmp_path) as port,
        pytest.raises(UnfitServer, match=r"mongodb\.uri: .*--replSet.*rs\.initiate"),
    ):
        connect(_config(port), app="test")


def test_a_replica_set_that_was_never_initiated_is_told_so(tmp_path: Path) -> None:
    """It answers, but serves nobody yet."""
    never = pytest.raises(UnfitServer, match=r"mongodb\.uri: .*never initiated")
    with _mongod(tmp_path, "--replSet", "rs0") as port, never:
        connect(_config(port), app="test")


def test_a_certificate_that_does_not_verify_is_told_so(tmp_path: Path) -> None:
    """TLS with an authority that is not ours; and no TLS at all where the server asks for it."""
    ours, theirs = make_certificates(tmp_path / "ours"), make_certificates(tmp_path / "theirs")
    pem = tmp_path / "server.pem"
    pem.write_bytes(theirs.key_file.read_bytes() + theirs.chain_file.read_bytes())
    options = ["--tlsMode", "requireTLS", "--tlsCertificateKeyFile", str(pem)]
    options += ["--tlsCAFile", str(theirs.ca_file), "--tlsAllowConnectionsWithoutCertificates"]
    with _mongod(tmp_path, "--replSet", "rs0", *options) as port:
        with pytest.raises(
            SignInRefused, match=r"mongodb\.uri: the certificate .* does not verify.*tlsCAFile"
        ):
            connect(_config(port, f"&tls=true&tlsCAFile={ours.ca_file}"), app="test")
        with pytest.raises(Unavailable, match=r"mongodb\.uri: .*tls=true"):
            connect(_config(port), app="test")


@contextmanager
def _guarded_mongod(folder: Path) -> Iterator[tuple[int, MongoClient[dict[str, object]]]]:
    """A replica set where one has to sign in; gives its port, and who may create the first user."""
    key = folder / "key"
    key.write_text("c2FsbW9uIHNhbG1vbiBzYWxtb24=")
    key.chmod(0o600)
    with _mongod(folder, "--replSet", "rs0", "--auth", "--keyFile", str(key)) as port:
        first: MongoClient[dict[str, object]] = MongoClient(HOST, port, directConnection=True)
        members = [{"_id": 0, "host": f"{HOST}:{port}"}]
        first.admin.command("replSetInitiate", {"_id": "rs0", "members": members})
        until(lambda: bool(first.admin.command("hello").get("isWritablePrimary")), "it is the primary")
        try:
            yield port, first
        finally:
            first.close()


def test_a_user_that_is_not_let_in_is_told_so(tmp_path: Path) -> None:
    """Wrong password, and none at all where one is needed."""
    with _guarded_mongod(tmp_path) as (port, _):
        with pytest.raises(UnfitServer, match=r"mongodb\.uri: the user lacks a permission"):
            connect(_config(port), app="test")
        wrong = f"mongodb://nobody:secret@{HOST}:{port}/?replicaSet=rs0"
        with pytest.raises(SignInRefused, match=r"mongodb\.uri: MongoDB refused the user") as told:
            connect(MongoConfig.model_validate({"uri": wrong, "database": "crm"}), app="test")
        assert "secret" not in str(told.value)


def test_the_rights_that_the_readme_asks_for_are_enough(tmp_path: Path, clock: Clock) -> None:
    """
    A user with readWrite alone reads, writes and swaps unique values. Only where a strict validator of the operator's own
    forbids the way there, the swap is refused after a while, and the reason names the right that it takes (case L8).
    """
    with _guarded_mongod(tmp_path) as (port, first):
        root = {"pwd": "root", "roles": ["root"]}
        first.admin.command({"createUser": "root", **root})
        uri = f"mongodb://{{0}}:{{0}}@{HOST}:{port}/?replicaSet=rs0&authSource=admin"
        admin = Mongo(uri.format("root"), "crm")
        rights = [{"role": "readWrite", "db": "crm"}]
        admin.client.admin.command({"createUser": "salmon", "pwd": "salmon", "roles": rights})
        ours = Mongo(uri.format("salmon"), "crm")
        sink, source, log = MongoSinkTask(ours.config, OBJECTS, "test", clock=clock), ours.source(), Log()
        try:
            sink.start(SCHEMAS, NoIdentities(), clean=True)
            log.begin(source)
            log.until_read(source)
            there = [write(key, WriteOp.CREATE, 1, Phone=phone) for key, phone in (("a", "1"), ("b", "2"))]
            assert {outcome.kind for outcome in sink.put(there)} == {OutcomeKind.APPLIED}
            admin.accounts.create_index([("Phone", ASCENDING)], unique=True)
            assert _swapped(sink, 5, a="2", b="1") == {OutcomeKind.APPLIED}
            log.until(source, lambda log: [each.ack for each in log.of("b")] == [1, 5])

            strict = {"$jsonSchema": {"properties": {"Phone": {"bsonType": "string", "maxLength": 1}}}}
            admin.database.command("collMod", "accounts", validator=strict, validationAction="error")
            assert _swapped(sink, 6, a="1", b="2") == {OutcomeKind.RETRY_LATER}
            clock.now_s += 60
            (refused, _) = sink.put(_swap(6, a="1", b="2"))
            assert refused.kind is OutcomeKind.REFUSED
            assert "validator" in refused.reason
            assert "bypassDocumentValidation" in refused.reason
        finally:
            source.close()
            sink.close()
            ours.client.close()
            admin.client.close()


def test_the_doctor_says_what_a_user_may_not_do(tmp_path: Path) -> None:
    """By the privileges that the server shows; where the user may not sign in, by the server's own reason."""
    with _guarded_mongod(tmp_path) as (port, first):
        first.admin.command({"createUser": "root", "pwd": "root", "roles": ["root"]})
        uri = f"mongodb://{{0}}:{{0}}@{HOST}:{port}/?replicaSet=rs0&authSource=admin"
        root: MongoClient[dict[str, object]] = MongoClient(uri.format("root"))
        roles = {
            "reader": ["read"],
            "writer": ["readWrite"],
            "keeper": ["readWrite", "dbAdmin"],
            "stranger": [],
        }
        for user, names in roles.items():
            rights = [{"role": name, "db": "crm"} for name in names]
            root.admin.command({"createUser": user, "pwd": user, "roles": rights})
        root.close()
        told = {user: _diagnosed(uri.format(user)) for user in (*roles, "nobody")}
    assert told["reader"]["mongodb.rights"].outcome.value == "fail"
    assert (
        "may not: createCollection, createIndex, insert, remove, update."
        in told["reader"]["mongodb.rights"].says
    )
    assert "readWrite on crm" in told["reader"]["mongodb.rights"].mend
    assert told["writer"]["mongodb.rights"].outcome.value == "ok"
    assert "With dbAdmin" in told["writer"]["mongodb.rights"].says
    assert "adapt its validators" in told["keeper"]["mongodb.rights"].says
    assert told["keeper"]["mongodb.reachable"].says.endswith("replica set rs0.")
    assert told["keeper"]["mongodb.clock"].outcome.value == "ok"
    assert told["nobody"]["mongodb.reachable"].outcome.value == "fail"
    assert "lacks a permission" in told["stranger"]["mongodb.reachable"].says


def _diagnosed(uri: str) -> dict[str, Line]:
    config = SyncConfig.model_validate(sync_config(mongodb={"uri": uri, "database": "crm"}))
    return {line.name: line for line in examine(MongoChecks(config).checks())}


def _swap(seq: int, **phones: str) -> list[SinkRecord]:
    return [write(key, WriteOp.UPDATE, seq, 1, Phone=phone) for key, phone in phones.items()]


def _swapped(sink: MongoSinkTask, seq: int, **phones: str) -> set[OutcomeKind]:
    return {outcome.kind for outcome in sink.put(_swap(seq, **phones))}


def test_a_server_that_stands_still_and_a_primary_that_steps_down_lose_nothing(tmp_path: Path) -> None:
    """The source answers its worker meanwhile, the sink repeats, and both go on where they were."""
    server = EmbeddedMongod(tmp_path / "data", tmp_path / "mongod.log")
    try:
        server.start()
    except SetupError as missing:
        pytest.skip(str(missing))
    mongo = Mongo(server.uri)
    source, sink, log = mongo.source(), MongoSinkTask(mongo.config, OBJECTS, "test"), Log()
    try:
        sink.start(SCHEMAS, NoIdentities(), clean=True)
        log.begin(source)
        log.until_read(source)
        mongo.accounts.insert_one({"_id": "before"})

        os.kill(server.processes[0].pid, signal.SIGSTOP)
        began = time.monotonic()
        while time.monotonic() - began < 0.5:
            log.poll(source, 0.1)
        os.kill(server.processes[0].pid, signal.SIGCONT)
        log.until(source, lambda log: bool(log.of("before")))

        mongo.client.admin.command({"replSetStepDown": 1, "secondaryCatchUpPeriodSecs": 0, "force": True})
        record = write("after", WriteOp.CREATE, 5, Name="x")
        outcomes: list[Outcome] = []
        until(lambda: _put(sink, record, outcomes), "the new primary takes the write")
        assert outcomes[0].kind is OutcomeKind.APPLIED
        log.until(source, lambda log: Op.CREATE in log.ops("after"))
        assert [record.key for record in log.records] == ["before", "after"]
        assert log.of("after")[0].ack == 5
    finally:
        source.close()
        sink.close()
        mongo.client.close()
        server.stop()


def _put(sink: MongoSinkTask, record: SinkRecord, outcomes: list[Outcome]) -> bool:
    try:
        outcomes += sink.put([record])
    except RetriableError:
        return False
    return True
