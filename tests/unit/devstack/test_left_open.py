"""What the front of the embedded broker does with transactions whose clients have gone; see left_open.py."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable

import pytest

from salmon.devstack import left_open
from salmon.devstack.left_open import END_TRANSACTION, INIT_PRODUCER_ID, LeftOpen, heard
from salmon.devstack.processes import HOST

ADD_PARTITIONS, PRODUCE, CONCURRENT_TRANSACTIONS = 24, 0, 51
ID = b"chaos-merge"


def request(api_key: int, *, version: int = 0, timeout_ms: int = 0, transactional_id: bytes = ID) -> bytes:
    """Header, transactional id, and what is read of the rest."""
    header = struct.pack(">hhih", api_key, version, 7, 6) + b"client"
    if version >= left_open.HEARD.get(api_key, 99):
        return (
            header
            + b"\0"
            + bytes([len(transactional_id) + 1])
            + transactional_id
            + struct.pack(">i", timeout_ms)
        )
    length = struct.pack(">h", len(transactional_id) or -1)
    return header + length + transactional_id + struct.pack(">i", timeout_ms)


def answer(error: int, *, flexible: bool = False) -> bytes:
    return struct.pack(">i", 7) + b"\0" * flexible + struct.pack(">ih", 0, error)


@pytest.mark.parametrize("version", [0, 4])
def test_who_begins_and_how_long_it_may_take_is_read(version: int) -> None:
    """Also where lengths are flexible."""
    said = heard(request(INIT_PRODUCER_ID, version=version, timeout_ms=10_000))
    assert said is not None
    assert (said.transactional_id, said.timeout_s) == (ID, 10.0)


def test_what_is_about_no_transaction_is_not_heard() -> None:
    """Neither another request, nor an idempotent producer that has no transactional id."""
    assert heard(request(PRODUCE)) is None
    assert heard(request(INIT_PRODUCER_ID, transactional_id=b"")) is None
    assert heard(request(INIT_PRODUCER_ID, version=4, transactional_id=b"")) is None


class Played:
    """A broker that answers with *errors* in turn, and clients that speak to it through LeftOpen."""

    def __init__(self, *errors: int) -> None:
        self.asked: list[bytes] = []
        self.ended = asyncio.Event()
        self._errors = list(errors)
        self.left_open: LeftOpen

    async def serve(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        frame = await source.readexactly(struct.unpack(">i", await source.readexactly(4))[0])
        self.asked.append(frame)
        said = answer(self._errors.pop(0) if self._errors else 0)
        target.write(struct.pack(">i", len(said)) + said)
        target.close()

    async def says(self, link: object, api_key: int, *, error: int = 0, timeout_ms: int = 0) -> None:
        said = heard(request(api_key, timeout_ms=timeout_ms))
        assert said is not None
        await self.left_open.asks(link, said)
        self.left_open.answered(link, said, answer(error))

    async def opened(self, link: object, *, timeout_ms: int = 1) -> None:
        await self.says(link, INIT_PRODUCER_ID, timeout_ms=timeout_ms)
        await self.says(link, ADD_PARTITIONS)

    async def nothing_comes(self) -> None:
        """Every timer that is due has come, and every task has ended."""
        loop = asyncio.get_running_loop()
        came = loop.create_future()
        loop.call_later(0.05, came.set_result, None)
        await came
        assert self.asked == []


def played(play: Callable[[Played], object], *errors: int) -> Played:
    async def all_of_it() -> Played:
        broker = Played(*errors)
        server = await asyncio.start_server(broker.serve, HOST, 0)
        broker.left_open = LeftOpen(server.sockets[0].getsockname(), broker.ended.set)
        await play(broker)  # type: ignore[misc]
        server.close()
        return broker

    return asyncio.run(all_of_it())


def test_what_a_client_left_open_is_ended_after_its_time() -> None:
    """The broker is asked for the next epoch of the same id, so that the one who is gone can commit nothing any more."""

    async def play(broker: Played) -> None:
        await broker.opened("link")
        broker.left_open.gone("link")
        await asyncio.wait_for(broker.ended.wait(), 20)

    (asked,) = played(play).asked
    said = heard(asked)
    assert said is not None
    assert (said.api_key, said.transactional_id, said.timeout_s) == (INIT_PRODUCER_ID, ID, 0.001)


def test_a_broker_that_is_not_ready_for_it_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so where the transaction is just being ended."""
    monkeypatch.setattr(left_open, "_AGAIN_S", 0.001)

    async def play(broker: Played) -> None:
        await broker.opened("link")
        broker.left_open.gone("link")
        await asyncio.wait_for(broker.ended.wait(), 20)

    assert len(played(play, CONCURRENT_TRANSACTIONS).asked) == 2


def test_a_client_that_came_back_is_left_alone() -> None:
    """It goes on with its transaction on another connection."""

    async def play(broker: Played) -> None:
        await broker.opened("link")
        broker.left_open.gone("link")
        await broker.says("another", ADD_PARTITIONS)
        await broker.nothing_comes()

    played(play)


def test_a_client_that_ended_its_transaction_is_left_alone() -> None:
    """Nothing of it is open."""

    async def play(broker: Played) -> None:
        await broker.opened("link")
        await broker.says("link", END_TRANSACTION)
        broker.left_open.gone("link")
        await broker.nothing_comes()

    played(play)


def test_a_newer_client_has_ended_it_by_its_beginning() -> None:
    """As the broker does by itself."""

    async def play(broker: Played) -> None:
        await broker.opened("link")
        broker.left_open.gone("link")
        await broker.says("newer", INIT_PRODUCER_ID, timeout_ms=1)
        await broker.nothing_comes()

    played(play)


def test_a_refused_end_ends_nothing() -> None:
    """The transaction is still open, and is ended when its client has gone."""

    async def play(broker: Played) -> None:
        await broker.opened("link")
        await broker.says("link", END_TRANSACTION, error=CONCURRENT_TRANSACTIONS)
        broker.left_open.gone("link")
        await asyncio.wait_for(broker.ended.wait(), 20)

    assert len(played(play).asked) == 1


def test_a_client_that_waits_no_longer_than_its_time_is_not_hurried() -> None:
    """Its connection has gone, its time has not."""

    async def play(broker: Played) -> None:
        await broker.opened("link", timeout_ms=60_000)
        broker.left_open.gone("link")
        await broker.nothing_comes()

    played(play)
