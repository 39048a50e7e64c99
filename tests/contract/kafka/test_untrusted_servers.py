"""Servers whose certificate does not verify: one clear sentence with the key to mend, and nothing tried again."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from socket import create_server
from threading import Thread

import pytest

from salmon.errors import SignInRefused
from salmon.kafka import clients
from salmon.kafka.codecs.registry import SchemaRegistry
from salmon.simulator.tls import Certificates, make_certificates


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="module")
def other_ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an authority that has signed nothing."""
    return make_certificates(tmp_path_factory.mktemp("other")).ca_file


@pytest.fixture
def port(certificates: Certificates) -> Iterator[int]:
    """A server that shows its certificate and then hangs up."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.chain_file, certificates.key_file)
    with create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with suppress(OSError), context.wrap_socket(connection, server_side=True):
                    pass

        thread = Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]


def test_a_broker_that_is_not_trusted_is_told(port: int, other_ca: Path) -> None:
    """By the first answer, not after all tries are used up."""
    kafka = {
        "bootstrap.servers": f"127.0.0.1:{port}",
        "security.protocol": "ssl",
        "ssl.ca.location": str(other_ca),
    }
    with pytest.raises(SignInRefused, match=r"TLS handshake failed.*kafka\.ssl\.ca\.location"):
        clients.connect(kafka, timeout_s=30)


@pytest.mark.parametrize("trust", ["another authority", "public ones"])
def test_a_registry_that_is_not_trusted_is_told(port: int, other_ca: Path, trust: str) -> None:
    """Whether no CA was given, or the wrong one."""
    ca_file = str(other_ca) if trust == "another authority" else None
    with pytest.raises(SignInRefused, match=r"does not verify.*schema_registry\.ca_file"):
        SchemaRegistry(f"https://127.0.0.1:{port}", ca_file=ca_file).latest("a-value")
