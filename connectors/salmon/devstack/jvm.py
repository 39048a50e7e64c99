"""
The real stack: Apache Kafka (KRaft, one JVM) and Apicurio Registry, fetched once through Maven.

What is fetched is said in deploy/jvm/pom.xml. A machine without Java and Maven has the embedded servers instead.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import requests

from salmon.devstack.broker import answers
from salmon.devstack.processes import HOST, Background, InBackground, last_line, on_free_ports
from salmon.errors import SetupError
from salmon.locks import locked

_REPOSITORY: Final = Path(__file__).resolve().parents[3]
POM: Final = _REPOSITORY / "deploy" / "jvm" / "pom.xml"
# Beside the checkout's other leftovers; one for all test runs, as it is 160 MB.
CACHE: Final = Path(os.environ.get("SALMON_JVM_CACHE", _REPOSITORY / ".jvm"))
_FETCH_MAX_S: Final = 900
_START_MAX_S: Final = 120
# Programs that do little: compiling their hot paths well would take longer than it saves.
QUICK_START: Final = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
# More options for the broker's JVM, as for Kafka's own start script (bin/kafka-run-class.sh).
_PERFORMANCE_OPTIONS: Final = "KAFKA_JVM_PERFORMANCE_OPTS"
_APICURIO: Final = "io.apicurio:apicurio-registry-app:3.0.9:tar.gz:all"
_DEPENDENCY_PLUGIN: Final = "org.apache.maven.plugins:maven-dependency-plugin:2.8"  # later ones insist on a parent that Apicurio lacks

_BROKER_PROPERTIES: Final = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
listeners=PLAINTEXT://{host}:{broker},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{advertised}:{broker}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={folder}/logs
offsets.topic.replication.factor=1
offsets.topic.num.partitions=5
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=5
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
"""


# A second listener, for users who sign in and may do what ACLs allow. The first one is for whoever gives them out.
_GUARDED_PROPERTIES: Final = """\
listeners=PLAINTEXT://{host}:{broker},CONTROLLER://{host}:{controller},GUARDED://{host}:{guarded}
advertised.listeners=PLAINTEXT://{advertised}:{broker},GUARDED://{advertised}:{guarded}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,GUARDED:SASL_PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.guarded.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required {users};
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
"""
_DECISIONS_LOGGED: Final = """\
rootLogger.level=warn
rootLogger.appenderRef.out.ref=out
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d %p %c %m%n
appender.decisions.type=File
appender.decisions.name=decisions
appender.decisions.fileName={file}
appender.decisions.layout.type=PatternLayout
appender.decisions.layout.pattern=%m%n
logger.authorizer.name=kafka.authorizer.logger
logger.authorizer.level=debug
logger.authorizer.additivity=false
logger.authorizer.appenderRef.file.ref=decisions
"""


def missing() -> str | None:
    """Return what this machine lacks to run the real stack, in a few words; None if it lacks nothing."""
    if lacking := [program for program in ("java", "mvn") if shutil.which(program) is None]:
        return f"{' and '.join(lacking)} is not installed"
    return (
        None
        if POM.is_file()
        else "deploy/jvm/pom.xml is missing, because this is not a clone of the repository"
    )


def fetch() -> tuple[Path, Path]:
    """
    Download everything into the cache, if it is not there yet. Several processes may call it at once.

    Returns:
        The folder of Kafka's jars, and that of Apicurio's.

    Raises:
        SetupError: Java or Maven is missing, or Maven could not fetch.
    """
    if lacks := missing():
        raise SetupError(f"the real stack cannot run: {lacks}. Install it, or use the embedded servers.")
    wanted = hashlib.sha256(POM.read_bytes() + _APICURIO.encode()).hexdigest()[:12]
    kafka, apicurio, done = CACHE / "kafka", CACHE / "apicurio", CACHE / f"complete-{wanted}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with locked(CACHE / "lock"):
        if not done.exists():
            # Jars of other versions, or of a fetch that was interrupted, must not stay on the class path.
            for folder in (kafka, apicurio):
                shutil.rmtree(folder, ignore_errors=True)
            with ThreadPoolExecutor() as both:  # each waits for hundreds of small answers
                fetched = [
                    both.submit(_maven, "copy-dependencies", f"-DoutputDirectory={kafka}"),
                    both.submit(_unpack_apicurio, apicurio),
                ]
            for each in fetched:
                each.result()
            done.touch()
    return kafka, apicurio


def _unpack_apicurio(folder: Path) -> None:
    """Its archive holds all its jars, and its parent is in no repository: only `get` takes it as it is."""
    local = CACHE / "repository"
    _maven("get", "-Dtransitive=false", f"-Dmaven.repo.local={local}", f"-Dartifact={_APICURIO}")
    archive = next(local.rglob("apicurio-registry-app-*.tar.gz"))
    shutil.unpack_archive(archive, folder, filter="data")
    shutil.rmtree(local)


def _maven(goal: str, *options: str) -> None:
    log = CACHE / f"{goal}.log"
    with log.open("wb") as output:
        command = ["mvn", "-B", "-f", str(POM), f"{_DEPENDENCY_PLUGIN}:{goal}", *options]
        ended = subprocess.run(
            command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, timeout=_FETCH_MAX_S, check=False
        )
    if ended.returncode:
        raise SetupError(
            f"Maven could not fetch the real stack: {last_line(log) or 'it says nothing'}. See {log}."
        )


class ApacheKafka(InBackground):
    """
    Apache Kafka with its data in *folder*; *log_file* takes what it says.

    Args:
        advertised_host: Where clients are sent, on the same port, if something stands before the broker.
        users: Name -> password of those who sign in at `guarded_servers` (SASL/PLAIN), where the authorizer lets them do what ACLs allow.
    """

    name = "kafka"

    def __init__(
        self,
        folder: Path,
        log_file: Path,
        *,
        advertised_host: str = HOST,
        users: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = folder
        self._advertised_host = advertised_host
        self._users = users or {}
        self._background = Background("Apache Kafka", log_file)
        self._port = self._guarded_port = 0

    def start(self) -> None:
        jars, _ = fetch()
        self._folder.mkdir(parents=True, exist_ok=True)
        on_free_ports(3, lambda ports: self._start_on(jars, *ports))

    def _start_on(self, jars: Path, broker: int, controller: int, guarded: int) -> None:
        self._port, self._guarded_port = broker, guarded
        properties = self._folder / "server.properties"
        users = " ".join(f'user_{name}="{password}"' for name, password in self._users.items())
        text = _BROKER_PROPERTIES + (_GUARDED_PROPERTIES if self._users else "")
        properties.write_text(
            text.format(
                host=HOST,
                advertised=self._advertised_host,
                broker=broker,
                controller=controller,
                guarded=guarded,
                users=users,
                folder=self._folder,
            )
        )
        options = os.environ.get(_PERFORMANCE_OPTIONS, "").split()
        if self._users:
            logging = self._folder / "log4j2.properties"
            logging.write_text(_DECISIONS_LOGGED.format(file=self.decisions))
            options += [f"-Dlog4j2.configurationFile={logging}"]
        if not (self._folder / "logs" / "meta.properties").exists():
            self._format(jars, properties)
        self._background.start(
            ["java", "-Xmx1g", *options, "-cp", f"{jars}/*", "kafka.Kafka", properties],
            serves=lambda: answers(self.bootstrap_servers),
            within_s=_START_MAX_S,
        )

    def _format(self, jars: Path, properties: Path) -> None:
        command = ["java", *QUICK_START, "-cp", f"{jars}/*"]
        command += ["kafka.tools.StorageTool", "format", "-t", _cluster_id()]
        ended = subprocess.run(
            [*command, "-c", str(properties)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if ended.returncode:
            raise SetupError(
                f"Apache Kafka could not format {self._folder}: {ended.stdout.decode(errors='replace')[-500:].strip()}"
            )

    @property
    def bootstrap_servers(self) -> str:
        return f"{HOST}:{self._port}"

    @property
    def guarded_servers(self) -> str:
        """Where the `users` sign in."""
        return f"{HOST}:{self._guarded_port}"

    @property
    def decisions(self) -> Path:
        """What the authorizer has allowed and denied, a line each."""
        return self._folder / "decisions.log"


class Apicurio(InBackground):
    """Apicurio Registry, in memory; *log_file* takes what it says. *folder*: unused, for the servers' common form."""

    name = "schema_registry"

    def __init__(self, folder: Path, log_file: Path) -> None:
        self._folder = folder
        self._background = Background("Apicurio Registry", log_file)
        self._port = 0

    def start(self) -> None:
        _, unpacked = fetch()
        jar = next(unpacked.rglob("apicurio-registry-app-*-runner.jar"), None)
        if jar is None:
            raise SetupError(
                f"{unpacked} does not contain an Apicurio Registry. Delete it and start again: it is downloaded again."
            )
        on_free_ports(1, lambda ports: self._start_on(jar, ports[0]))

    def _start_on(self, jar: Path, port: int) -> None:
        self._port = port
        self._background.start(
            ["java", *QUICK_START, "-Xmx512m", "-jar", jar],
            serves=self._answers,
            within_s=_START_MAX_S,
            environment={"QUARKUS_HTTP_PORT": str(port), "QUARKUS_HTTP_HOST": HOST},
        )

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/subjects", timeout=2).ok
        except requests.RequestException:
            return False

    @property
    def url(self) -> str:
        """Its base address, of Confluent's REST API."""
        return f"http://{HOST}:{self._port}/apis/ccompat/v7"


def _cluster_id() -> str:
    """A random one, in the form that Kafka wants: 16 bytes in URL-safe base64 without its padding."""
    # Its first letter is ours: an id that begins with "-" would be an option to Kafka's tool.
    return "s" + base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()[1:]


if __name__ == "__main__":
    fetch()
