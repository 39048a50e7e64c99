"""An org with its event bus and Pub/Sub API, and clients of it, for contract tests."""

from __future__ import annotations

from typing import Any

import grpc

from salmon.simulator.events.eventbus import EventBus
from salmon.simulator.events.pubsub import PubSubServer, serve
from salmon.simulator.org.objects.describes import load_describes
from salmon.simulator.org.org import Org
from salmon.simulator.tls import Certificates
from support.orgs.pubsub import WAIT_S, Client, Wire

ALL = "/data/ChangeEvents"
ACCOUNTS = "/data/AccountChangeEvent"
CODE = "sfdc.platform.eventbus.grpc."


class Box:
    """An org with its Pub/Sub API, and clients of it."""

    def __init__(self, wire: Wire, certificates: Certificates) -> None:
        self.org = Org(load_describes())
        self.bus = EventBus(self.org)
        self._wire = wire
        self._certificates = certificates
        self._servers: list[PubSubServer] = []
        self._clients: list[Client] = []

    def client(
        self, *, keepalive_s: float = 60.0, demand_timeout_s: float = 60.0, publish_timeout_s: float = 70.0
    ) -> Client:
        """A client of a server of its own, which keeps these times."""
        key, chain = self._certificates.key_file.read_bytes(), self._certificates.chain_file.read_bytes()
        credentials = grpc.ssl_server_credentials([(key, chain)])
        server = serve(
            self.org,
            credentials=credentials,
            bus=self.bus,
            keepalive_s=keepalive_s,
            demand_timeout_s=demand_timeout_s,
            publish_timeout_s=publish_timeout_s,
        )
        self._servers.append(server)
        token = self.org.sessions.open(self.org.integration_user)
        target = f"127.0.0.1:{server.port}"
        client = Client(self._wire, target, self._certificates.ca_file, token=token, tenant=self.org.org_id)
        self._clients.append(client)
        return client

    def create(self, *names: str) -> list[str]:
        """Create Accounts, in one transaction."""
        with self.org.transaction(self.org.person, "com/salesforce/api/rest/64.0;client=test") as unit:
            return [unit.insert("Account", {"Name": name}) for name in names]

    def edit(self, record_ids: list[str], **fields: Any) -> None:
        """The same edit to several Accounts, in one transaction."""
        with self.org.transaction(self.org.person, "com/salesforce/api/rest/64.0") as unit:
            for record_id in record_ids:
                unit.update("Account", record_id, fields)

    def fault(self, name: str, **params: Any) -> None:
        self.org.faults.set(name, params)

    def stop(self) -> None:
        for client in self._clients:
            client.close()
        for server in self._servers:
            server.stop()


def settled(box: Box, streams: int) -> None:
    """Wait until so many subscriptions stand on the bus: LATEST begins there and not at the client's call."""
    with box.bus.changed:
        assert box.bus.changed.wait_for(lambda: box.bus.streams >= streams, WAIT_S)
