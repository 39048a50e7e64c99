"""The proxy between processes and servers passes everything on, and can cut, stall and delay it."""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from support.chaos.proxy import Proxies, Proxy, Requests


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while chunk := self.request.recv(1024):
            self.request.sendall(chunk)


@pytest.fixture
def proxies() -> Iterator[Proxies]:
    with Proxies() as proxies:
        yield proxies


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """A server that says everything back."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield "127.0.0.1", server.server_address[1]
        server.shutdown()


@pytest.fixture
def proxy(proxies: Proxies, echo: tuple[str, int]) -> Proxy:
    return proxies.open("echo", echo)


def connected(proxy: Proxy, timeout_s: float = 5.0) -> socket.socket:
    return socket.create_connection((proxy.host, proxy.port), timeout=timeout_s)


def assert_refused(proxy: Proxy) -> None:
    with pytest.raises(ConnectionError), connected(proxy) as one:  # noqa: PT012  # any of these calls may hear of it
        one.sendall(b"b")
        one.recv(1)


def test_everything_passes(proxy: Proxy) -> None:
    """Both ways, also what is longer than one packet."""
    with connected(proxy) as one:
        one.sendall(b"x" * 300_000)
        received = 0
        while received < 300_000:
            received += len(one.recv(65_536))


def test_a_cut_breaks_what_is_there_and_what_comes_until_it_is_healed(proxies: Proxies, proxy: Proxy) -> None:
    """As a cable that is pulled, and plugged in again."""
    with connected(proxy) as one:
        one.sendall(b"a")
        assert one.recv(1) == b"a"
        proxies.cut("echo")
        with pytest.raises(ConnectionError):
            one.recv(1)
    assert_refused(proxy)
    proxies.heal("echo")
    with connected(proxy) as three:
        three.sendall(b"c")
        assert three.recv(1) == b"c"


def test_a_stall_keeps_connections_and_lets_nothing_through_until_it_is_healed(
    proxies: Proxies, proxy: Proxy
) -> None:
    """As a network that drops packets: what was sent arrives afterwards."""
    with connected(proxy) as one:
        proxies.stall("echo")
        one.sendall(b"late")
        one.settimeout(0.3)
        with pytest.raises(TimeoutError):
            one.recv(4)
        proxies.heal("echo")
        one.settimeout(5)
        assert one.recv(4) == b"late"


def test_a_delay_holds_back_what_passes(proxies: Proxies, proxy: Proxy) -> None:
    """There and back: twice."""
    proxies.delay("echo", 0.15)
    with connected(proxy) as one:
        began = time.monotonic()
        one.sendall(b"a")
        assert one.recv(1) == b"a"
        assert time.monotonic() - began >= 0.3


def test_a_server_that_is_down_refuses_through_the_proxy(proxies: Proxies) -> None:
    """And the proxy is there before its server is."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    proxy = proxies.open("nobody", ("127.0.0.1", port))
    assert_refused(proxy)


# A coordinator alone.

PRODUCE, HEARTBEAT, END_TRANSACTION = 0, 12, 26


def request(key: int, body: bytes = b"....") -> bytes:
    """A request of Kafka's protocol: size, API key, version, and what else there is."""
    rest = struct.pack(">hh", key, 1) + body
    return struct.pack(">i", len(rest)) + rest


@pytest.mark.parametrize("piece", [1, 3, 7, 10_000])
def test_requests_are_followed_in_whatever_pieces_they_come(piece: int) -> None:
    """Each is seen once; a body that looks like a head is none."""
    sent = request(PRODUCE, request(HEARTBEAT) * 9) + request(HEARTBEAT, b"") + request(END_TRANSACTION)
    requests = Requests()
    seen = [key for at in range(0, len(sent), piece) for key in requests.begun_in(sent[at : at + piece])]
    assert seen == [PRODUCE, HEARTBEAT, END_TRANSACTION]


def test_a_coordinator_alone_is_away_until_it_is_healed(proxies: Proxies, echo: tuple[str, int]) -> None:
    """Who asks it anything loses the connection; records are produced as ever, also after a request from before (case S2)."""
    proxy = proxies.open("kafka", echo, kafka=True)
    with connected(proxy) as producer, connected(proxy) as member:
        for one, key in ((producer, PRODUCE), (member, HEARTBEAT)):
            one.sendall(request(key))
            assert received(one, len(request(key))) == request(key)
        proxies.lose_coordinator("kafka")
        member.sendall(request(HEARTBEAT))
        with pytest.raises(ConnectionError):
            member.recv(1)
        for _ in range(3):
            producer.sendall(request(PRODUCE))
            assert received(producer, len(request(PRODUCE))) == request(PRODUCE)
    with connected(proxy) as again:
        again.sendall(request(END_TRANSACTION))
        with pytest.raises(ConnectionError):
            again.recv(1)
    proxies.heal("kafka")
    with connected(proxy) as member:
        member.sendall(request(HEARTBEAT))
        assert received(member, len(request(HEARTBEAT))) == request(HEARTBEAT)


def received(one: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        chunk = one.recv(size - len(found))
        assert chunk, "the connection has ended"
        found += chunk
    return found
