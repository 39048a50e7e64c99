"""
The stage of a run: servers, proxies between them and the processes, and the configuration, all in one folder.

The processes meet each server through a proxy; editors and the judge go to the servers themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import requests
import yaml

from salmon.devstack import jvm, sync_file
from salmon.devstack.broker import EmbeddedBroker, answers
from salmon.devstack.mongod import EmbeddedMongod
from salmon.devstack.processes import HOST, ProcessId, accepts
from salmon.devstack.registry_process import RegistryProcess
from salmon.devstack.registry_process import answers as registry_answers
from salmon.devstack.simulator_process import Org, SimulatorProcess
from salmon.ports import free_ports
from support.chaos import fields
from support.chaos.plan import EMBEDDED, JVM, ORG
from support.chaos.proxy import Proxies
from support.chaos.servers import Victim

NAME: Final = "chaos"
# The platform event that is published in the org, its one field, and the collection that it comes into.
EVENT: Final = "Chaos_Shipped__e"
EVENT_FIELD: Final = "Number__c"
SHIPMENTS: Final = "chaos_shipments"
# ... and one that it publishes: the documents of an outbox.
SENT: Final = "Chaos_Sent__e"
OUTBOX: Final = "chaos_outbox"
# Where Kafka's clients are sent: the proxy, on the broker's own port. Embedded, the broker itself is on 127.0.0.2.
_KAFKA_PROXY_HOST: Final = "127.0.0.3"
_RECORDS: Final[Mapping[str, int]] = {"Account": 120, "Contact": 80, "Opportunity": 50}
_CONTROL_MAX_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Stage:
    """
    What runs, and where.

    Args:
        config: The sync.yaml of the processes, whose addresses are the proxies'.
        suspends, kills: Server -> the process that is suspended or killed for it.
        org: The simulator's endpoints; `rest_url` is its REST API past the proxy.
        mongodb_uri: Past the proxy.
        bootstrap_servers, registry_url: Through the proxies.
    """

    folder: Path
    config: Path
    proxies: Proxies
    suspends: Mapping[str, Victim]
    kills: Mapping[str, Victim]
    org: Mapping[str, str]
    mongodb_uri: str
    bootstrap_servers: str
    registry_url: str

    def tell_org(self, fault: str, **params: Any) -> None:
        """Switch a fault of the simulator on."""
        self._control("POST", "faults", {"fault": fault, **params})

    def define_events(self) -> None:
        """Let the org have the platform events."""
        for name in (EVENT, SENT):
            self._control("POST", "events", {"event": name, "fields": {EVENT_FIELD: "Text"}})

    def published(self, event: str) -> list[dict[str, Any]]:
        """What the org was given to publish: EventUuid and fields of each event."""
        found: list[dict[str, Any]] = self._control("GET", f"events/{event}", {})["published"]
        return found

    def calm_org(self) -> None:
        """Switch all faults of the simulator off."""
        self._control("DELETE", "faults", {})

    def move_clock(self, seconds: float) -> None:
        """Move the org's clock on, for good: no org's clock goes back."""
        self._control("POST", "clock", {"advance_s": seconds})

    def move_org(self, host: str) -> None:
        """Let the org be at another name of this machine: its sessions end, and calls to the host that it has left fail."""
        self._control(
            "POST", "instance", {"url": self.org["instance_url"].replace(f"//{HOST}:", f"//{host}:")}
        )

    def _control(self, method: str, path: str, body: Mapping[str, Any]) -> Any:
        with requests.Session() as session:
            session.trust_env = False
            url = f"{self.org['control_url']}/{path}"
            answer = session.request(method, url, json=body, timeout=_CONTROL_MAX_S)
            answer.raise_for_status()
            return answer.json()


@contextmanager
def running_stage(stack: str, folder: Path, seed: int) -> Iterator[Stage]:
    """
    Start all servers; at the end of the block everything is ended, whatever state it is in.

    Raises:
        SetupError: one could not be started; the message says the mend.
    """
    describes, logs = folder / "describes", folder / "logs"
    fields.write_describes(describes)
    with ExitStack() as started:
        proxies = started.enter_context(Proxies())
        kafka, registry = _kafka_and_registry(stack, folder)
        mongodb = EmbeddedMongod(folder / "mongodb", logs / "mongodb.log")
        rest_port, pubsub_port = free_ports(2)
        rest = proxies.open("rest", (HOST, rest_port))
        pubsub = proxies.open("pubsub", (HOST, pubsub_port))
        ports = {"rest": rest_port, "pubsub": pubsub_port, "advertised-rest": rest.port}
        simulator = SimulatorProcess(
            folder / "org",
            logs / "org.log",
            Org(tuple(fields.ROLES), _RECORDS, describes, seed),
            options=[word for name, port in ports.items() for word in (f"--{name}-port", str(port))],
        )
        for server in (kafka, registry, mongodb, simulator):
            server.start()
            started.callback(server.stop)

        suspends, kills = _victims(stack, logs, (kafka, registry, mongodb, simulator), rest_port)
        for victim in {*suspends.values(), *kills.values()}:
            started.callback(victim.stop)
        kafka_port, registry_port = _port_of(kafka.bootstrap_servers), _port_of(registry.url)
        kafka_proxy = proxies.open(
            "kafka", (HOST, kafka_port), host=_KAFKA_PROXY_HOST, port=kafka_port, kafka=True
        )
        registry_proxy = proxies.open("registry", (HOST, registry_port))
        mongodb_proxy = proxies.open("mongodb", (HOST, _port_of(mongodb.uri)))
        registry_url = registry.url.replace(f":{registry_port}", f":{registry_proxy.port}")
        bootstrap_servers = f"{_KAFKA_PROXY_HOST}:{kafka_proxy.port}"
        org = {
            **simulator.endpoints,
            "rest_url": f"https://{HOST}:{rest_port}",
            "pubsub_endpoint": f"{HOST}:{pubsub.port}",
        }
        config = folder / "sync.yaml"
        _write_config(
            config,
            bootstrap_servers,
            registry_url,
            # A replica set's client would go on to the member's own address, past the proxy.
            f"mongodb://{HOST}:{mongodb_proxy.port}/?directConnection=true",
            org,
        )
        stage = Stage(
            folder, config, proxies, suspends, kills, org, mongodb.uri, bootstrap_servers, registry_url
        )
        stage.define_events()
        yield stage


def _kafka_and_registry(stack: str, folder: Path) -> Any:
    kafka = jvm.ApacheKafka if stack == JVM else EmbeddedBroker
    registry = jvm.Apicurio if stack == JVM else RegistryProcess
    logs = folder / "logs"
    return (
        kafka(folder / "kafka", logs / "kafka.log", advertised_host=_KAFKA_PROXY_HOST),
        registry(folder / "registry", logs / "registry.log"),
    )


def _victims(
    stack: str, logs: Path, servers: tuple[Any, Any, Any, SimulatorProcess], rest_port: int
) -> tuple[dict[str, Victim], dict[str, Victim]]:
    """Whose process is suspended for each server, and whose is killed."""
    kafka, registry, mongodb, simulator = servers
    serves: dict[str, Callable[[], bool]] = {
        "kafka": lambda: answers(kafka.bootstrap_servers),
        "registry": lambda: registry_answers(registry.url),
        "mongodb": lambda: accepts(_port_of(mongodb.uri)),
        ORG: lambda: accepts(rest_port),
    }

    def victim(name: str, process: ProcessId) -> Victim:
        return Victim(name, process, logs / f"{name}.log", serves[name])

    suspends = {
        name: victim(name, server.processes[0])
        for name, server in (("kafka", kafka), ("registry", registry), ("mongodb", mongodb), (ORG, simulator))
    }
    if stack == EMBEDDED:
        # The broker keeps its records in memory. Its front dies in its stead: every connection breaks.
        return suspends, suspends | {"kafka": victim("kafka", kafka.processes[1])}
    return suspends, suspends


def _write_config(
    file: Path, bootstrap_servers: str, registry_url: str, mongodb_uri: str, org: Mapping[str, str]
) -> None:
    sync_file.write(
        file,
        name=NAME,
        bootstrap_servers=bootstrap_servers,
        registry_url=registry_url,
        mongodb={"uri": mongodb_uri, "database": NAME},
        salesforce=org,
        objects=tuple(fields.ROLES),
    )
    said = yaml.safe_load(file.read_text(encoding="utf-8"))
    for settings in said["objects"].values():
        # Editors delete a larger share of these few records than people would.
        settings["delete_guard"] = {"beyond": "allow"}
    said["events"] = {
        EVENT: {"collection": SHIPMENTS},
        SENT: {"direction": "to_salesforce", "collection": OUTBOX, "fields": {EVENT_FIELD: "number"}},
    }
    file.write_text(yaml.safe_dump(said, sort_keys=False), encoding="utf-8")


def _port_of(address: str) -> int:
    """The port in an address or a URL."""
    return int(address.rpartition("//")[2].partition("/")[0].rpartition(":")[2])
