"""
A stack for one machine: a broker, a registry, a MongoDB and a simulated org, in one folder and in the background.

    stack = DevStack(folder, DevOptions(records={"Account": 100}))
    answer = stack.up()      # as `salmon dev up --json` prints it
    stack.down()

`up` outlives its process: what runs is noted in `<folder>/stack.json`, by pid and start time. The connectors are not
part of it: `salmon run all -c <folder>/sync.yaml`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import structlog

from salmon.devstack import private, sync_file
from salmon.devstack.broker import EmbeddedBroker, Kafka
from salmon.devstack.mongod import ExternalMongo, Mongo, mongo
from salmon.devstack.processes import ProcessId, Server
from salmon.devstack.registry_process import Registry, RegistryProcess
from salmon.devstack.simulator_process import Org, SimulatorProcess
from salmon.errors import SetupError
from salmon.foreign_json import json_in
from salmon.locks import locked

log = structlog.get_logger(__name__)

DEMO_RECORDS: Final[Mapping[str, int]] = {"Account": 2000, "Contact": 5000, "Opportunity": 3000}
# What an object of a user's own describe files begins with, where nothing is said of it.
_OTHER_RECORDS: Final = 100
_STOP_GRACE_S: Final = 20.0
_NOTE: Final = "stack.json"
_PARTS: Final = ("kafka", "schema_registry", "mongodb", "salesforce", "logs", "sync.yaml", _NOTE, ".lock")


@dataclass(frozen=True, slots=True)
class DevOptions:
    """The options of a stack. The defaults are the demo's."""

    describe: str | None = None  # folder of describe files; None: the package's
    objects: tuple[str, ...] = ()  # empty: all of the folder
    seed: int = 0
    records: Mapping[str, int] | int | None = None  # per object, or of each; None: the demo's
    jvm: bool = False  # Apache Kafka and Apicurio instead of the embedded ones
    bare_org: bool = False  # without Salmon's fields and without change events: `salmon setup` makes them
    person_accounts: bool = False  # accounts may be persons, whatever the describe files say
    name: str = "crm"  # of the sync and of its database

    def as_dict(self) -> dict[str, Any]:
        """In the form that a note of it has when it is read again."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain


@dataclass(frozen=True, slots=True)
class DevStack:
    """
    A stack in *folder*. Another instance for the same folder, also in another process, is the same stack.

    Args:
        kafka, registry, mongodb: Make the servers from a data folder and a log file; by default the embedded ones.
            Servers that run already are given as External*: they are not ended with the stack.
    """

    folder: Path
    options: DevOptions = field(default_factory=DevOptions)
    kafka: Callable[[Path, Path], Kafka] | None = None
    registry: Callable[[Path, Path], Registry] | None = None
    mongodb: Callable[[Path, Path], Mongo] | None = None

    def up(self) -> dict[str, Any]:
        """
        Start the stack, unless it runs, and return all addresses.

        Returns:
            The contract for scripts: config, kafka.bootstrap_servers, schema_registry.url, mongodb.uri, ...

        Raises:
            ConfigError: an option is not valid; nothing is made.
            SetupError: a server could not be started (nothing is left behind), or a stack with other options runs.
        """
        root = self._root
        org = self._org()  # what is wrong with the options is found before anything is made
        try:
            private.folder(root, ours=(_NOTE, "sync.yaml"))
        except OSError as error:
            raise SetupError(f"{root} cannot be created ({error.strerror}). Choose another --dir.") from None
        with _locked(root):
            note = _read_note(root)
            if note and all(process.is_alive for process in note.processes):
                self._demand_same_options(note)
                return note.answer
            if note:
                log.warning("stack_incomplete", folder=str(root), mend="its servers are started again")
                _end(note)
            return self._start(root, org)

    def down(self, *, purge: bool = False) -> bool:
        """
        End what `up` started; with *purge*, remove its data, too.

        Returns:
            Whether a stack was running.
        """
        root = self._root
        if not root.is_dir():
            return False
        with _locked(root):
            if note := _read_note(root):
                _end(note)
                (root / _NOTE).unlink()
        if purge:
            _purge(root)
        return note is not None

    # Helpers

    @property
    def _root(self) -> Path:
        return self.folder.expanduser().absolute()

    def _start(self, root: Path, org: Org) -> dict[str, Any]:
        if self.options.jvm and (root / "kafka").is_dir():
            raise SetupError(
                f"{root} has the records of an earlier stack, but Apicurio had their schemas only in memory, so the records "
                f"cannot be read any more. Delete them: salmon dev down --purge --dir {root}"
            )
        make_kafka, make_registry = self._makers()
        logs = root / "logs"
        kafka = make_kafka(root / "kafka", logs / "kafka.log")
        registry = make_registry(root / "schema_registry", logs / "schema_registry.log")
        mongodb = (self.mongodb or mongo)(root / "mongodb", logs / "mongodb.log")
        simulator = SimulatorProcess(root / "salesforce", logs / "salesforce.log", org)
        if (root / "salesforce").is_dir():
            # The org keeps its records only in memory; Kafka and MongoDB do not.
            log.warning(
                "org_is_new",
                folder=str(root),
                mend="`salmon dev down --purge` deletes all data, to start from nothing everywhere",
            )
        with contextlib.ExitStack() as started:
            servers: tuple[Server, ...] = (kafka, registry, mongodb, simulator)
            for server in servers:
                server.start()
                started.callback(server.stop)
                log.debug("server_started", server=server.name)
            database = {"uri": mongodb.uri, "database": self._database(mongodb)}
            sync = root / "sync.yaml"
            sync_file.write(
                sync,
                name=self.options.name,
                bootstrap_servers=kafka.bootstrap_servers,
                registry_url=registry.url,
                mongodb=database,
                salesforce=simulator.endpoints,
                objects=org.objects,
            )
            answer = {
                "config": str(sync),
                "kafka": {"bootstrap_servers": kafka.bootstrap_servers},
                "schema_registry": {"url": registry.url},
                "mongodb": database,
                "salesforce": dict(simulator.endpoints),
            }
            processes = tuple(process for server in servers for process in server.processes)
            _Note(processes, answer, self.options.as_dict()).write(root)
            started.pop_all()
        return answer

    def _makers(self) -> tuple[Callable[[Path, Path], Kafka], Callable[[Path, Path], Registry]]:
        if self.options.jvm:
            # Imported where it is wanted: it needs a checkout of the project.
            from salmon.devstack import jvm

            return self.kafka or jvm.ApacheKafka, self.registry or jvm.Apicurio
        return self.kafka or EmbeddedBroker, self.registry or RegistryProcess

    def _org(self) -> Org:
        # Imported here, because reading describe files is all the simulator is needed for in this process.
        from salmon.simulator.org.objects.describes import PACKAGED, chosen_objects

        describe = None if self.options.describe is None else Path(self.options.describe).absolute()
        records = self.options.records
        named = records if isinstance(records, Mapping) else {}
        objects = tuple(chosen_objects(describe or PACKAGED, self.options.objects or None, named))
        if isinstance(records, int):
            counts = dict.fromkeys(objects, records)
        elif records is None:
            counts = {name: DEMO_RECORDS.get(name, _OTHER_RECORDS) for name in objects}
        else:
            counts = dict(records)
        return Org(
            objects,
            counts,
            describe,
            self.options.seed,
            self.options.bare_org,
            self.options.person_accounts,
        )

    def _database(self, server: Mongo) -> str:
        if not isinstance(server, ExternalMongo):
            return self.options.name
        # Others may have a database of this name there; the folder tells stacks apart, and is the same next time.
        return f"{self.options.name}_{hashlib.sha256(str(self._root).encode()).hexdigest()[:8]}"

    def _demand_same_options(self, note: _Note) -> None:
        if self.options != DevOptions() and self.options.as_dict() != note.options:
            raise SetupError(
                f"a stack with other options runs in {self._root}. Stop it first: salmon dev down --dir {self._root}"
            )


@dataclass(frozen=True, slots=True)
class _Note:
    """What runs in a folder, as `stack.json` keeps it."""

    processes: Sequence[ProcessId]  # in the order of their start
    answer: dict[str, Any]
    options: dict[str, Any]

    def write(self, root: Path) -> None:
        content = {
            "processes": [process.as_dict() for process in self.processes],
            "answer": self.answer,
            "options": self.options,
        }
        private.written(root / _NOTE, json.dumps(content, indent=2))


def _read_note(root: Path) -> _Note | None:
    file = root / _NOTE
    try:
        content = json_in(file.read_text(encoding="utf-8"))
        processes = tuple(ProcessId(**process) for process in content["processes"])
        return _Note(processes, content["answer"], content["options"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise SetupError(
            f"{file} was not written by `salmon dev up`. Choose another folder, or delete the file if no server runs in this one."
        ) from None


def _end(note: _Note) -> None:
    for process in reversed(note.processes):
        process.end(grace_s=_STOP_GRACE_S)


def _purge(root: Path) -> None:
    """Remove what a stack writes, and the folder if nothing else is in it."""
    for part in _PARTS:
        path = root / part
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        root.rmdir()


@contextlib.contextmanager
def _locked(root: Path) -> Iterator[None]:
    """One `up` or `down` at a time in a folder; the second waits for the first."""
    try:
        lock = locked(root / ".lock")
    except OSError as error:
        raise SetupError(f"{root} cannot be written to ({error.strerror}). Choose another --dir.") from None
    try:
        yield
    finally:
        lock.release()
