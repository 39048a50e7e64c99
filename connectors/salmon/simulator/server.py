"""
The whole simulator: an org with its REST, Pub/Sub and control servers, in one process, on 127.0.0.1 only.

`Simulator.start` returns a running simulator and its addresses; `salmon simulator` runs one in the foreground.
The org is in memory only: when the simulator stops, its records are gone.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import grpc
import structlog
import uvicorn

from salmon.errors import SetupError
from salmon.simulator.control import ControlServer
from salmon.simulator.events import pubsub
from salmon.simulator.events.cdc_schema import can_be_selected
from salmon.simulator.events.eventbus import EventBus
from salmon.simulator.org.objects.describes import MARKER_NAMES, PACKAGED, load_describes
from salmon.simulator.org.org import Org
from salmon.simulator.org.saving.person_accounts import with_person_accounts
from salmon.simulator.rest.application import RestServer
from salmon.simulator.rest.signing.oauth import TokenEndpoint, new_app
from salmon.simulator.seed import filling
from salmon.simulator.tls import Certificates, make_certificates, make_key_pair

log = structlog.get_logger(__name__)

HOST = "127.0.0.1"
_START_MAX_S = 30.0
_STOP_MAX_S = 10.0
# Uvicorn's 5 s would close connections that an org keeps: a client would meet that in the middle of a request.
IDLE_MAX_S = 120


@dataclass(frozen=True, slots=True)
class Ports:
    """Where to listen; 0 for any port that is free. *advertised_rest*: of what stands before REST, if something does."""

    rest: int = 0
    pubsub: int = 0
    control: int = 0
    advertised_rest: int = 0


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the box is and how to come in, by the names of the contract for scripts."""

    login_url: str
    instance_url: str
    client_id: str  # its client credentials, like its JWTs, are the integration user's
    client_secret: str
    username: str
    password: str
    security_token: str
    private_key: str  # path of the PEM file for JWT bearer
    pubsub_endpoint: str
    ca_file: str
    control_url: str
    person_client_id: str  # a second app, whose client credentials are those of an ordinary user
    person_client_secret: str
    org_id: str = field(default="")

    def as_dict(self) -> dict[str, str]:
        """As `salmon dev up --json` prints it, under `salesforce`."""
        return asdict(self)


class Simulator:
    """A running Salesforce in a box. `org` may be used directly by tests in the same process."""

    def __init__(self, org: Org, endpoints: Endpoints, bus: EventBus, running: contextlib.ExitStack) -> None:
        self.org = org
        self.endpoints = endpoints
        self.bus = bus
        self._running = running

    @classmethod
    def start(
        cls,
        folder: Path,
        *,
        ports: Ports = Ports(),
        describe_folder: Path = PACKAGED,
        objects: Sequence[str] | None = None,
        records: Mapping[str, int] | None = None,
        random_seed: int = 0,
        marker_fields: bool = True,
        marker_names: tuple[str, str] = MARKER_NAMES,
        change_events: bool = True,
        keepalive_s: float = 60.0,
        person_accounts: bool = False,
    ) -> Simulator:
        """
        Start a box and return when it serves.

        Args:
            folder: For certificates and the private key.
            ports: Where to listen.
            describe_folder: Describe files of the org's objects.
            objects: Only these of them; None for all.
            records: How many records of each object there are to begin with.
            random_seed: Chooses those records.
            marker_fields: Add Salmon's two marker fields to every object, as an administrator would.
            marker_names: What they are called, where an administrator has chosen other names.
            change_events: Select all objects for Change Data Capture, as an administrator would.
            keepalive_s: How often an idle event stream hears something.
            person_accounts: Let accounts be persons, where the describes are of an org that has not enabled it.

        Raises:
            SetupError: No describes, no such object, a folder that cannot be written to, or a port is taken.
        """
        describes = load_describes(
            describe_folder, objects=objects, marker_fields=marker_fields, marker_names=marker_names
        )
        org = Org(with_person_accounts(describes) if person_accounts else describes)
        if missing := [name for name in records or {} if name not in org.tables]:
            raise SetupError(
                f"records of {', '.join(missing)} were asked for, and the org has {', '.join(org.objects)}"
            )
        filling.load(org, records or {}, random_seed)
        key_file = folder / "jwt.key"
        try:
            certificates = make_certificates(folder)
            app = new_app(org.integration_user, make_key_pair(key_file))
        except OSError as error:
            raise SetupError(
                f"{folder} cannot be written to ({error.strerror}). Choose another --dir."
            ) from None
        person_app = new_app(org.person)

        with contextlib.ExitStack() as undo:
            rest_socket, control_socket = (
                undo.enter_context(_listen(port)) for port in (ports.rest, ports.control)
            )
            bus = EventBus(org)
            events = pubsub.serve(
                org,
                credentials=_grpc_credentials(certificates),
                port=ports.pubsub,
                bus=bus,
                keepalive_s=keepalive_s,
            )
            undo.callback(events.stop)
            url = f"https://{HOST}:{ports.advertised_rest or rest_socket.getsockname()[1]}"
            user = org.integration_user
            endpoints = Endpoints(
                login_url=url,
                instance_url=url,
                client_id=app.client_id,
                client_secret=app.client_secret,
                username=user.username,
                password=user.password,
                security_token=user.security_token,
                private_key=str(key_file),
                pubsub_endpoint=f"{HOST}:{events.port}",
                ca_file=str(certificates.ca_file),
                control_url=f"http://{HOST}:{control_socket.getsockname()[1]}",
                person_client_id=person_app.client_id,
                person_client_secret=person_app.client_secret,
                org_id=org.org_id,
            )
            org.instance.move(url)
            rest = RestServer(org, TokenEndpoint(org, (app, person_app)), bus)
            undo.callback(rest.stop)
            for name in () if change_events else filter(can_be_selected, org.objects):
                org.faults.set("cdc", {"object": name, "on": False})
            control = ControlServer(org, bus, endpoints.as_dict())
            servers = (
                _Server("rest", rest.app, rest_socket, certificates),
                _Server("control", control.app, control_socket, None),
            )
            for server in servers:
                undo.callback(server.stop)
                server.start()
            running = undo.pop_all()
        log.info("simulator_started", objects=list(org.objects), instance_url=url)
        return cls(org, endpoints, bus, running)

    def stop(self) -> None:
        """End all servers and return when they have ended. Idempotent."""
        self._running.close()
        log.info("simulator_stopped")

    def __enter__(self) -> Simulator:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()


class _Server:
    """One uvicorn server in a thread of its own, on a socket that is bound already."""

    def __init__(
        self, name: str, app: Any, listening: socket.socket, certificates: Certificates | None
    ) -> None:
        # Uvicorn's own logging is for the web; what matters of it comes through the root logger.
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            date_header=False,  # the org's clock makes it
            server_header=False,
            ws="none",
            timeout_keep_alive=IDLE_MAX_S,
            ssl_certfile=str(certificates.chain_file) if certificates else None,
            ssl_keyfile=str(certificates.key_file) if certificates else None,
        )
        self._socket = listening
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name=f"simulator-{name}", daemon=True)

    def start(self) -> None:
        """Return when the server answers."""
        self._thread.start()
        deadline = time.monotonic() + _START_MAX_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise SetupError(f"the simulator's server {self._thread.name} did not start; see the log")
            time.sleep(0.005)

    def stop(self) -> None:
        """Return when the server has ended. Idempotent."""
        self._server.should_exit = True
        self._server.force_exit = True  # an idle connection of a client is no reason to wait
        if self._thread.is_alive():
            self._thread.join(_STOP_MAX_S)
        self._socket.close()

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])


def _listen(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
    except OSError:
        listening.close()
        raise SetupError(
            f"{HOST}:{port} is taken; give the simulator another port, or 0 for any that is free"
        ) from None
    listening.listen(128)
    return listening


def _grpc_credentials(certificates: Certificates) -> Any:
    pair = (certificates.key_file.read_bytes(), certificates.chain_file.read_bytes())
    return grpc.ssl_server_credentials([pair])
