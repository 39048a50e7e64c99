"""Answers that never end: each call is over by its deadline, whatever still drips in."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from salmon.calls import Calls
from salmon.errors import Unavailable
from salmon.salesforce.config import Proxy
from salmon.salesforce.wire import bulk
from salmon.salesforce.wire.bulk import ResultPage
from salmon.salesforce.wire.http import Https
from salmon.simulator.tls import Certificates, make_certificates

TIMEOUT_S = (2.0, 1.0)  # a call as a whole: 3.6 s
DROP_EVERY_S = 0.1
NEVER = threading.Event()
WAIT_S = 30.0
HEAD = b"HTTP/1.1 200 OK\r\nDate: Sun, 09 Sep 2001 01:46:40 GMT\r\n"
Peer = Callable[[socket.socket], None]


def drip(peer: socket.socket, first: bytes, drop: bytes) -> None:
    """Say *first*, then a drop at a time, as long as anybody listens."""
    peer.sendall(first)
    while True:
        NEVER.wait(DROP_EVERY_S)
        peer.sendall(drop)


def headers(peer: socket.socket) -> None:
    peer.recv(65_536)
    drip(peer, HEAD + b"X-Never-Ends: ", b"x")


def body(peer: socket.socket) -> None:
    peer.recv(65_536)
    drip(peer, HEAD + b"Content-Length: 1000000\r\n\r\n[", b" ")


def chunks(peer: socket.socket) -> None:
    peer.recv(65_536)
    drip(peer, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n")


def upload(peer: socket.socket) -> None:
    while peer.recv(1000):
        NEVER.wait(DROP_EVERY_S)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@contextlib.contextmanager
def serving(peer: Peer, certificates: Certificates | None = None) -> Iterator[str]:
    """A server that treats each of its clients as *peer* does; over TLS with certificates."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve(client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if certificates is not None:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(certificates.chain_file, certificates.key_file)
                client = context.wrap_socket(client, server_side=True)
            with client:
                peer(client)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"127.0.0.1:{listening.getsockname()[1]}"
    finally:
        # Whoever accepts is not let go by closing.
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()


def took_s(https: Https, url: str, **request: Any) -> float:
    """How long a call took that must fail in time."""
    began_s = time.monotonic()
    with pytest.raises(Unavailable):
        https.send("POST", url, key="salesforce.login_url", **request)
    return time.monotonic() - began_s


def test_a_call_ends_by_its_deadline_whatever_drips(certificates: Certificates) -> None:
    """Each byte begins a time-out anew, of the headers, the body, a chunk, or an upload that is taken slowly."""

    def one(peer: Peer) -> float:
        https = Https(str(certificates.ca_file), timeout_s=TIMEOUT_S)
        with serving(peer, certificates) as host, contextlib.closing(https):
            data = b"x" * 50_000_000 if peer is upload else b"{}"
            return took_s(https, f"https://{host}/services", data=data)

    with ThreadPoolExecutor(4) as threads:
        for took in threads.map(one, [headers, body, chunks, upload]):
            assert took < WAIT_S


def test_a_proxy_that_drips_does_not_keep_a_call_either(certificates: Certificates) -> None:
    """The way to it is not encrypted, and its answer is read before there is any TLS."""
    with serving(headers) as host:
        https = Https(str(certificates.ca_file), proxy=Proxy(url=f"http://{host}"), timeout_s=TIMEOUT_S)
        with contextlib.closing(https):
            assert took_s(https, "https://acme.example/services") < WAIT_S


def test_an_answer_that_is_silent_for_too_long_ends_before_the_deadline(certificates: Certificates) -> None:
    """The shorter of both limits counts."""

    def silent(peer: socket.socket) -> None:
        peer.recv(65_536)
        peer.recv(1)

    https = Https(str(certificates.ca_file), timeout_s=(60.0, 0.5))
    with serving(silent, certificates) as host, contextlib.closing(https):
        assert took_s(https, f"https://{host}/services") < WAIT_S


def test_results_that_drip_are_given_up_and_slow_ones_are_not(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of a bulk job is read as its rows are needed: only what we wait for counts, against what came of it."""
    monkeypatch.setattr(bulk, "READ_TIMEOUT_S", 1.0)
    rows = b"".join(b"7\r\nId\n1\n2\n\r\n" for _ in range(2))

    def dripping(peer: socket.socket) -> None:
        peer.recv(65_536)
        drip(peer, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + rows, b"2\r\n3\n\r\n")

    def slow(peer: socket.socket) -> None:
        peer.recv(65_536)
        peer.sendall(HEAD + b"Sforce-NumberOfRecords: 20\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nId\n\r\n")
        for _ in range(20):
            NEVER.wait(DROP_EVERY_S)
            peer.sendall(b"3e8\r\n" + b"x" * 999 + b"\n\r\n")
        peer.sendall(b"0\r\n\r\n")

    https = Https(str(certificates.ca_file), timeout_s=(60.0, 60.0))
    with contextlib.closing(https):
        with serving(dripping, certificates) as host, pytest.raises(Unavailable, match="broke off"):
            list(page(https, host).rows())
        with serving(slow, certificates) as host:
            assert len(list(page(https, host))) == 20


def page(https: Https, host: str) -> ResultPage:
    response = https.send("GET", f"https://{host}/results", key="salesforce.login_url", stream=True)
    return ResultPage(response, Calls())
