"""
A whole sync for a test: an org, a database, topics, and the five connectors as real processes.

    with running_ring(stack, "kills") as ring:
        ring.start()
        ring.wait_equal()
        ring.sf.Account.update(key, {"Site": "Rome"})       # as a person in the org
        ring.db.accounts.update_one(...)                    # as an application of MongoDB's
        ring.kill("merge"); ring.start("merge")
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import requests
import yaml
from confluent_kafka import Message, TopicPartition
from pymongo import MongoClient
from pymongo.database import Database
from simple_salesforce.api import Salesforce

from salmon.config import models as configuration
from salmon.config.models import SyncConfig
from salmon.devstack import sync_file
from salmon.devstack.simulator_process import Org, SimulatorProcess
from salmon.errors import RetriableError, SetupError
from salmon.kafka import clients, topics
from salmon.ports import free_ports
from salmon.verify.checking import Patience
from salmon.verify.verifying import VerifyResult, verify
from support import leaks
from support.programs.forks import Running, started
from support.stacks import Stack
from support.waiting import until

Document = dict[str, Any]
RECORDS: Final[Mapping[str, int]] = {"Account": 200, "Contact": 100, "Opportunity": 50}
_PATIENCE: Final = Patience(most_s=20.0, quiet_s=2.0)
_STOP_MAX_S: Final = 40.0


@dataclass
class Ring:
    """One sync. What a test says to it reads like what a person would do."""

    name: str
    stack: Stack
    folder: Path
    config_path: Path
    config: SyncConfig
    org: Mapping[str, str]  # the simulator's endpoints
    sf: Any  # simple_salesforce.Salesforce, as a person of the org
    db: Database[Document]
    http: requests.Session
    simulator: SimulatorProcess
    processes: dict[str, Running] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    programs: dict[str, Sequence[str]] = field(
        default_factory=dict
    )  # what runs a connector, if not `-m salmon`

    # The connectors.

    def reload(self) -> None:
        """Take the configuration as the file says now."""
        self.config = configuration.load(self.config_path)

    def start(self, *names: str) -> None:
        """Start these connectors, or all; return without waiting for them."""
        for name in names or self.config.roster.connectors:
            (self.ports[name],) = free_ports(1)
            self.processes[name] = self.spawn(name, self.ports[name])

    def spawn(self, name: str, port: int = 0, *options: str) -> Running:
        """One more instance of a connector; the caller, or stop() if it is among `processes`, ends it."""
        arguments = ["run", name, "-c", str(self.config_path), "--port", str(port), "--log-format", "json"]
        arguments += ["--log-level", "debug", *options]  # debug lines are searched for leaks, too
        return started(arguments, os.environ, self.folder / f"{name}.log", self.programs.get(name))

    def kill(self, name: str) -> None:
        """SIGKILL: it has no chance to say anything."""
        process = self.processes.pop(name)
        assert process.poll() is None, f"{name} had ended by itself: {self.last_words(name)}"
        process.kill()
        process.wait()

    def stop(self, *names: str) -> dict[str, int]:
        """SIGTERM, and the exit code of each."""
        stopped = {name: self.processes.pop(name) for name in names or tuple(self.processes)}
        for process in stopped.values():
            process.send_signal(signal.SIGTERM)
        try:
            return {name: process.wait(_STOP_MAX_S) for name, process in stopped.items()}
        finally:
            for process in stopped.values():
                process.kill()
                process.wait()

    def is_ready(self, name: str) -> bool:
        """What /health says. While a process restarts, its port takes the question, and answers when it is back."""
        try:
            return self.http.get(f"http://127.0.0.1:{self.ports[name]}/health", timeout=2).status_code == 200
        except (requests.ConnectionError, requests.Timeout):
            return False

    def health(self, port: int) -> Mapping[str, Any]:
        """What /health of the process at this port says; nothing if it does not serve yet."""
        try:
            told: Mapping[str, Any] = self.http.get(f"http://127.0.0.1:{port}/health", timeout=2).json()
        except (requests.ConnectionError, requests.Timeout):
            return {}
        return told

    def wait_ready(self, *names: str) -> None:
        for name in names or self.config.roster.connectors:
            until(lambda name=name: self.is_ready(name), f"{name} is ready", within_s=60)  # type: ignore[misc]

    def healths(self) -> Mapping[str, Mapping[str, Any]]:
        """What /health of each process says, for the message of a test that fails."""
        return {name: self.health(port) for name, port in self.ports.items()}

    def last_words(self, name: str) -> str:
        """The end of a connector's log."""
        return (self.folder / f"{name}.log").read_text()[-2000:]

    # What came of it.

    def wait_equal(self, within_s: float = 180.0) -> VerifyResult:
        """Wait until both sides and `records` agree, and return what verify then says."""
        told: list[Any] = [None]

        def equal() -> VerifyResult | None:
            for name, process in self.processes.items():
                assert process.poll() is None, f"{name} ended by itself: {self.last_words(name)}"
            try:
                told[0] = verdict = verify(self.config, patience=_PATIENCE)
            except (SetupError, RetriableError) as not_yet:
                told[0] = not_yet  # no schemas, no topics: it has only just begun
                return None
            return verdict if verdict.equal else None

        def seen() -> object:
            return told[0].as_dict() if isinstance(told[0], VerifyResult) else told[0]

        return until(equal, "both sides are equal:", within_s=within_s, seen=seen)

    def read(self, *names: str) -> list[Message]:
        """All committed records of these topics, e.g. `crm.conflicts`."""
        kafka = self.config.kafka_properties()
        counts = topics.partition_counts(clients.admin(kafka))
        places = [TopicPartition(name, p, 0) for name in names for p in range(counts[name])]
        reader = clients.consumer(kafka, group_id="test", client_id="test", enable_partition_eof=True)
        found, ends = [], 0
        try:
            reader.assign(places)
            while ends < len(places):
                for message in reader.consume(1000, 0.1):
                    if message.error() is None:
                        found.append(message)
                    else:
                        ends += 1
        finally:
            reader.close()
        return found

    @property
    def conflicts(self) -> int:
        """How many conflicts there were so far."""
        return len(self.read(self.config.topic_names.conflicts))

    @property
    def dead_letters(self) -> list[Message]:
        """All of them, of all connectors."""
        return self.read(*map(self.config.topic_names.dlq, self.config.roster.connectors))

    @property
    def writes(self) -> list[Message]:
        """The commands that merge has given to the sinks so far, tombstones included."""
        names = self.config.topic_names
        roster = self.config.roster
        return self.read(
            *(names.writes(side.name, each) for each in self.config.objects for side in roster.of(each))
        )

    @property
    def owes_nothing(self) -> bool:
        """Whether every write has come back: the newest command of each key is its tombstone."""
        newest = {(message.topic(), message.key()): message.value() for message in self.writes}
        return not any(newest.values())

    @property
    def document_writes(self) -> int:
        """How many writes the collections have seen so far, whether they changed anything or not."""
        totals = self.db.client.admin.command("top")["totals"]
        names = [name for each in self.config.objects.values() for name in each.places]
        seen = [totals.get(f"{self.db.name}.{name}", {}) for name in names]
        kinds = ("insert", "update", "remove")
        return sum(int(counts[kind]["count"]) for counts in seen for kind in kinds if kind in counts)

    # The org, past its API.

    @property
    def calls(self) -> dict[str, int]:
        """API calls so far, by resource."""
        answer: dict[str, int] = self.http.get(f"{self.org['control_url']}/calls").json()["api"]
        return answer

    @contextmanager
    def trigger(self, **body: Any) -> Iterator[None]:
        """A trigger of the org, until the block ends; see salmon.simulator.org.saving.triggers."""
        self.http.post(f"{self.org['control_url']}/triggers", json=body).raise_for_status()
        try:
            yield
        finally:
            self.http.delete(f"{self.org['control_url']}/triggers").raise_for_status()

    @contextmanager
    def rule(self, **body: Any) -> Iterator[None]:
        """A validation rule of the org, until the block ends; see salmon.simulator.rules."""
        address = f"{self.org['control_url']}/rules"
        self.http.post(address, json={"rule": "validation", **body}).raise_for_status()
        try:
            yield
        finally:
            self.http.delete(address).raise_for_status()

    @contextmanager
    def org_suspended(self) -> Iterator[None]:
        """The org answers nothing and refuses nothing, until the block ends."""
        (process,) = self.simulator.processes
        os.kill(process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(process.pid, signal.SIGCONT)

    def ids(self, object_name: str) -> list[str]:
        """The Ids of an object's records, in their order."""
        answer = self.sf.query_all(f"SELECT Id FROM {object_name} ORDER BY Id")
        return [record["Id"] for record in answer["records"]]

    def row(self, object_name: str, record_id: str) -> Document:
        """A record as the org shows it to a person."""
        answer: Document = getattr(self.sf, object_name).get(record_id)
        return answer

    # Waiting.

    def wait_document(
        self, collection: str, key: Any, seen: Callable[[Document], Any], within_s: float = 60.0
    ) -> Document:
        """Wait until the document is there and *seen* is true of it; return it."""

        def found() -> Document | None:
            document = self.db[collection].find_one({"_id": key})
            return document if document is not None and seen(document) else None

        return until(found, f"the document {key} in {collection}", within_s=within_s) or {}

    def wait_gone(self, collection: str, key: Any, within_s: float = 60.0) -> None:
        """Wait until there is no such document."""
        until(
            lambda: self.db[collection].find_one({"_id": key}) is None,
            f"the document {key} in {collection} is deleted",
            within_s=within_s,
        )

    def wait_row(
        self, object_name: str, record_id: str, seen: Callable[[Document], Any], within_s: float = 60.0
    ) -> Document:
        """Wait until *seen* is true of a record of the org; return it."""

        def found() -> Document | None:
            row = self.row(object_name, record_id)
            return row if seen(row) else None

        return until(found, f"the {object_name} {record_id} in the org", within_s=within_s) or {}

    def wait_query(self, soql: str, count: int, within_s: float = 60.0) -> list[Document]:
        """Wait until a query finds so many records; return them."""

        def found() -> list[Document] | None:
            records: list[Document] = self.sf.query_all(soql)["records"]
            return records if len(records) == count else None

        if count == 0:
            until(lambda: found() is not None, f"nothing is found by {soql}", within_s=within_s)
            return []
        return until(found, f"{count} found by {soql}", within_s=within_s) or []


@contextmanager
def running_ring(
    stack: Stack,
    name: str,
    *,
    records: Mapping[str, int] = RECORDS,
    objects: Mapping[str, Mapping[str, Any]] | None = None,
    org: Org | None = None,
    sides: Mapping[str, Any] | None = None,
) -> Iterator[Ring]:
    """
    A ring with an org of its own and no connector running yet; at the end of the block everything of it is ended, and what its
    processes wrote has no secret and no value.

    Args:
        name: Of the sync and of its database.
        records: What the org begins with.
        objects: Settings of objects in the configuration, beside their collections.
        org: What the org is, if not that of the package with *records*.
        sides: Settings of further sides, whose plugins are installed.
    """
    folder = stack.folder / name
    folder.mkdir()
    held = org or Org(tuple(RECORDS), dict(records))
    simulator = SimulatorProcess(folder / "org", folder / "org.log", held)
    simulator.start()
    client: MongoClient[Document] = MongoClient(stack.mongodb_uri, tz_aware=True)
    try:
        told = simulator.endpoints
        path = _configured(stack, name, folder, told, held.objects, objects or {}, sides or {})
        http = requests.Session()
        http.trust_env = False
        # An org overlooks a dozen; a record that a call of ours names twice is refused at once, and the sides do not end equal.
        http.post(f"{told['control_url']}/settings", json={"duplicate_updates_max": 0}).raise_for_status()
        ring = Ring(
            name,
            stack,
            folder,
            path,
            configuration.load(path),
            told,
            as_person(told),
            client[name],
            http,
            simulator,
        )
        try:
            yield ring
        finally:
            ring.stop()
        _look_for_leaks(ring)
    finally:
        client.close()
        simulator.stop()


def _look_for_leaks(ring: Ring) -> None:
    names = {name for each in ring.config.objects.values() for name in each.places}
    values = leaks.values_of(document for name in names for document in ring.db[name].find().limit(500))
    names_of_logs = (*ring.config.roster.connectors, "api")
    files = [file for name in names_of_logs if (file := ring.folder / f"{name}.log").exists()]
    leaks.none_in(files, leaks.secrets_of(ring.org) | values)


def as_person(org: Mapping[str, str]) -> Any:
    """A session of simple-salesforce for a user who is not the integration's."""
    session = requests.Session()
    session.verify, session.trust_env = org["ca_file"], False
    said = {
        "grant_type": "client_credentials",
        "client_id": org["person_client_id"],
        "client_secret": org["person_client_secret"],
    }
    token = session.post(f"{org['login_url']}/services/oauth2/token", data=said).json()["access_token"]
    return Salesforce(session_id=token, instance_url=org["instance_url"], session=session)


def _configured(
    stack: Stack,
    name: str,
    folder: Path,
    org: Mapping[str, str],
    names: Sequence[str],
    objects: Mapping[str, Mapping[str, Any]],
    sides: Mapping[str, Any],
) -> Path:
    path = folder / "sync.yaml"
    sync_file.write(
        path,
        name=name,
        bootstrap_servers=stack.bootstrap_servers,
        registry_url=stack.registry_url,
        mongodb={"uri": stack.mongodb_uri, "database": name},
        salesforce=org,
        objects=names,
    )
    if objects or sides:
        said = yaml.safe_load(path.read_text())
        for each, settings in objects.items():
            said["objects"][each].update(settings)
        if sides:
            said["sides"] = dict(sides)
        path.write_text(yaml.safe_dump(said))
    return path
