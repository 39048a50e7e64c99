"""The front of the embedded broker: which bytes it changes, and which it does not."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from salmon.devstack import kafka_front
from salmon.devstack.kafka_front import BROKER_HOST, FRONT_HOST, Front, finds_nothing, mended, places
from salmon.ports import free_ports
from support.waiting import until_async

FETCH, METADATA, API_VERSIONS, PRODUCE, JOIN_GROUP = 1, 3, 18, 0, 11
ADD_PARTITIONS, END_TRANSACTION = 24, 26
NEVER = 2**63 - 1


def fetch_answer(version: int, aborted: list[tuple[int, int]], records: bytes) -> bytes:
    """One topic with two partitions, as versions 4 to 11 of the Kafka Protocol Guide lay it out."""
    head = struct.pack(">ii", 7, 0) + (struct.pack(">hi", 0, 0) if version >= 7 else b"")
    partitions = b""
    for number in (0, 1):
        partitions += struct.pack(">ihqq", number, 0, 50, 50)
        partitions += struct.pack(">q", 0) if version >= 5 else b""
        partitions += struct.pack(">i", len(aborted)) + b"".join(
            struct.pack(">qq", *each) for each in aborted
        )
        partitions += struct.pack(">i", -1) if version >= 11 else b""
        partitions += struct.pack(">i", len(records)) + records
    return head + struct.pack(">ih", 1, 3) + b"crm" + struct.pack(">i", 2) + partitions


@pytest.mark.parametrize("version", range(4, 12))
def test_nothing_counts_as_aborted(version: int) -> None:
    """Each aborted transaction begins behind all records, in every partition; all else is as it was."""
    answer = bytearray(fetch_answer(version, [(1000, 2), (1001, 6)], b"records"))
    mended(FETCH, version, answer)
    assert answer == fetch_answer(version, [(1000, NEVER), (1001, NEVER)], b"records")


@pytest.mark.parametrize("version", range(4, 12))
def test_an_answer_without_aborted_transactions_is_left_alone(version: int) -> None:
    """Also one without records."""
    for records in (b"", b"records 127.0.0.2"):
        answer = bytearray(fetch_answer(version, [], records))
        mended(FETCH, version, answer)
        assert answer == fetch_answer(version, [], records)


def test_clients_are_told_the_fronts_address() -> None:
    """Or they would go past it to the broker."""
    answer = bytearray(b"\0\0\0\7\0\x09127.0.0.2\0\0\x48\x9c")
    mended(METADATA, 12, answer)
    assert answer == b"\0\0\0\7\0\x09127.0.0.1\0\0\x48\x9c"


def test_clients_are_told_the_address_of_what_stands_before_the_front() -> None:
    """A proxy that shall see all of them, say."""
    answer = bytearray(b"\0\0\0\7\0\x09127.0.0.2\0\0\x48\x9c")
    mended(METADATA, 12, answer, host="127.0.0.3")
    assert answer == b"\0\0\0\7\0\x09127.0.0.3\0\0\x48\x9c"


def test_records_that_hold_the_address_are_left_alone() -> None:
    """Only answers about addresses are corrected."""
    answer = bytearray(b"\0\0\0\7 127.0.0.2")
    mended(PRODUCE, 9, answer)
    assert answer == b"\0\0\0\7 127.0.0.2"


@pytest.mark.parametrize(
    ("version", "count", "tags"),
    [(0, struct.pack(">i", 3), b""), (3, b"\x04", b"\0"), (2, struct.pack(">i", 3), b"")],
)
def test_clients_fetch_by_a_version_that_the_front_can_read(version: int, count: bytes, tags: bytes) -> None:
    """In both layouts of the answer that tells the versions."""

    def answer(greatest: int) -> bytes:
        entries = [(0, 0, 9), (1, 0, greatest), (3, 0, 12)]
        return (
            struct.pack(">ih", 7, 0) + count + b"".join(struct.pack(">hhh", *each) + tags for each in entries)
        )

    told = bytearray(answer(13))
    mended(API_VERSIONS, version, told)
    assert told == answer(11)


def test_a_broker_that_does_not_know_the_asked_version_answers_in_the_oldest() -> None:
    """KIP-511: with its error code, and version 0's layout."""
    entries = struct.pack(">ihihhh", 7, 35, 1, 1, 0, 13)
    told = bytearray(entries)
    mended(API_VERSIONS, 4, told)
    assert told == struct.pack(">ihihhh", 7, 35, 1, 1, 0, 11)


# A fetch that finds nothing.


def fetch_request(version: int, *partitions: int, offset: int = 50, correlation: int = 7) -> bytes:
    """It may wait for 60 s. One topic, as versions 4 to 11 of the Kafka Protocol Guide lay it out."""
    head = (
        struct.pack(">hhih", FETCH, version, correlation, 2)
        + b"me"
        + struct.pack(">iiiib", -1, 60_000, 1, 9, 1)
    )
    head += struct.pack(">ii", 0, -1) if version >= 7 else b""
    entries = b""
    for number in partitions:
        entries += struct.pack(">i", number) + (struct.pack(">i", -1) if version >= 9 else b"")
        entries += struct.pack(">q", offset) + (struct.pack(">q", -1) if version >= 5 else b"") + bytes(4)
    tail = (struct.pack(">i", 0) if version >= 7 else b"") + (b"\0\0" if version >= 11 else b"")
    return head + struct.pack(">ih", 1, 3) + b"crm" + struct.pack(">i", len(partitions)) + entries + tail


@pytest.mark.parametrize("version", range(4, 12))
def test_a_fetch_asks_for_the_same_in_any_order(version: int) -> None:
    """librdkafka rotates its partitions; another offset is another question."""
    asked = places(version, fetch_request(version, 0, 1))
    assert asked == places(version, fetch_request(version, 1, 0, correlation=8))
    assert len(asked) == 2
    assert asked != places(version, fetch_request(version, 0, 1, offset=51))
    assert asked != places(version, fetch_request(version, 0))


@pytest.mark.parametrize("version", range(4, 12))
def test_records_and_errors_are_something(version: int) -> None:
    """In any partition."""
    assert finds_nothing(version, fetch_answer(version, [(1000, 2)], b""))
    assert not finds_nothing(version, fetch_answer(version, [(1000, 2)], b"records"))
    failed = bytearray(fetch_answer(version, [], b""))
    at = failed.rindex(struct.pack(">ihqq", 1, 0, 50, 50))
    struct.pack_into(">h", failed, at + 4, 6)
    assert not finds_nothing(version, failed)


@dataclass
class FakeBroker:
    """Answers a Fetch with *records*, and what is about a group or a transaction with nothing in any field; else its correlation id alone."""

    records: bytes = b""
    asked: list[int] = field(default_factory=list)  # API keys
    fronts: list[Front] = field(default_factory=list)  # that stand before it
    silent: set[int] = field(default_factory=set)  # API keys that it does not answer

    async def serve(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while True:
                frame = await source.readexactly(struct.unpack(">i", await source.readexactly(4))[0])
                api_key, version, correlation = struct.unpack_from(">hhi", frame)
                self.asked.append(api_key)
                if api_key in self.silent:
                    continue
                nothing = bytes(20 if api_key in {JOIN_GROUP, ADD_PARTITIONS, END_TRANSACTION} else 4)
                answer = fetch_answer(version, [], self.records) if api_key == FETCH else nothing
                answer = struct.pack(">i", correlation) + answer[4:]
                target.write(struct.pack(">i", len(answer)) + answer)
        except asyncio.IncompleteReadError:
            target.close()


class Client:
    """One connection to the front."""

    def __init__(self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self.source, self.target = streams

    def ask(self, frame: bytes) -> None:
        self.target.write(struct.pack(">i", len(frame)) + frame)

    async def answer(self) -> bytes:
        size = struct.unpack(">i", await self.source.readexactly(4))[0]
        return await asyncio.wait_for(self.source.readexactly(size), 20)


def through_a_front(play: Callable[[FakeBroker, Client, Client], Awaitable[None]]) -> Front:
    """Play with a broker and two clients that reach it through a front, and leave."""

    async def played() -> Front:
        (port,), broker = free_ports(1), FakeBroker()
        server = await asyncio.start_server(broker.serve, BROKER_HOST, port)
        front = Front(port, broker_port=port)
        broker.fronts.append(front)
        listening = await front.listen()
        clients = [Client(await asyncio.open_connection(FRONT_HOST, port)) for _ in range(2)]
        await play(broker, *clients)
        for client in clients:
            client.target.close()
        listening.close()
        server.close()
        return front

    return asyncio.run(played())


async def held_back(broker: FakeBroker, reader: Client) -> None:
    """Let the reader's second fetch (correlation 8) find nothing, as its first did, and be held back."""
    reader.ask(fetch_request(11, 0))
    assert finds_nothing(11, await reader.answer())
    reader.ask(fetch_request(11, 0, correlation=8))
    await until_async(lambda: broker.fronts[0].waiting, "a fetch is held back")


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No wait of the front ends by itself, as far as a test would notice."""
    monkeypatch.setattr(kafka_front, "_HELD_MAX_S", 60.0)


@pytest.mark.usefixtures("patient")
def test_a_fetch_that_finds_nothing_waits_for_a_producer() -> None:
    """The first is answered at once: that there is nothing is news to the client. The next waits, and is asked again."""

    async def play(broker: FakeBroker, reader: Client, producer: Client) -> None:
        await held_back(broker, reader)
        broker.records = b"records"
        producer.ask(struct.pack(">hhi", PRODUCE, 7, 1) + b"other")
        assert await producer.answer()
        producer.ask(struct.pack(">hhi", PRODUCE, 7, 1) + b"crm")
        assert await producer.answer()
        answer = await reader.answer()
        assert (answer[:4], finds_nothing(11, answer)) == (struct.pack(">i", 8), False)
        assert broker.asked == [FETCH, FETCH, PRODUCE, PRODUCE, FETCH], "it was asked again, and once"

    through_a_front(play)


def of_transaction(api_key: int, correlation: int, *topics: bytes) -> bytes:
    """Version 0: no client's id, the transactional id, producer and epoch, and the topics."""
    head = struct.pack(">hhihh", api_key, 0, correlation, -1, 3) + b"one" + struct.pack(">qh", 7, 0)
    return head + b"".join(topics)


@pytest.mark.usefixtures("patient")
def test_a_fetch_that_finds_nothing_waits_for_the_end_of_a_transaction_in_its_topic() -> None:
    """Readers of committed records find them then; one in other topics is nothing to it."""

    async def play(broker: FakeBroker, reader: Client, producer: Client) -> None:
        await held_back(broker, reader)
        for topic in (b"other", b"crm"):
            if topic == b"crm":
                broker.records = b"records"
            producer.ask(of_transaction(ADD_PARTITIONS, 1, topic))
            assert await producer.answer()
            producer.ask(of_transaction(END_TRANSACTION, 2))
            assert await producer.answer()
        answer = await reader.answer()
        assert (answer[:4], finds_nothing(11, answer)) == (struct.pack(">i", 8), False)
        assert broker.asked[2:] == [ADD_PARTITIONS, END_TRANSACTION] * 2 + [FETCH]

    through_a_front(play)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("news", ["the end of a transaction that began before the front", "a long request"])
def test_what_may_be_in_any_topic_is_news_to_every_fetch(news: str) -> None:
    """Which topics it is about is not known, or costs more to find out."""

    async def play(broker: FakeBroker, reader: Client, producer: Client) -> None:
        await held_back(broker, reader)
        broker.records = b"records"
        if news == "a long request":
            producer.ask(struct.pack(">hhi", PRODUCE, 7, 1) + bytes(100_000))
        else:
            producer.ask(of_transaction(END_TRANSACTION, 2))
        assert await producer.answer()
        assert not finds_nothing(11, await reader.answer())

    through_a_front(play)


def test_a_wait_ends_by_itself() -> None:
    """A client asks for further partitions only after the answer, and the broker may have ended a transaction."""

    async def play(broker: FakeBroker, reader: Client, _: Client) -> None:
        await held_back(broker, reader)
        answer = await reader.answer()
        assert (answer[:4], finds_nothing(11, answer)) == (struct.pack(">i", 8), True)
        reader.ask(fetch_request(11, 0, correlation=9))
        answer = await reader.answer()
        assert (answer[:4], finds_nothing(11, answer)) == (struct.pack(">i", 9), True)
        assert broker.asked == [FETCH] * 3

    through_a_front(play)


@pytest.mark.usefixtures("patient")
def test_another_request_does_not_wait_behind_a_fetch() -> None:
    """Answers come in the order of the requests, so it ends the wait."""

    async def play(broker: FakeBroker, reader: Client, _: Client) -> None:
        await held_back(broker, reader)
        reader.ask(struct.pack(">hhi", METADATA, 9, 9))
        answers = [await reader.answer() for _ in range(2)]
        assert [answer[:4] for answer in answers] == [struct.pack(">i", 8), struct.pack(">i", 9)]

    through_a_front(play)


def test_who_leaves_while_a_fetch_is_held_back_is_forgotten() -> None:
    """Each reader that ends would leave a little behind for as long as the broker runs."""

    async def play(broker: FakeBroker, reader: Client, _: Client) -> None:
        await held_back(broker, reader)

    assert not through_a_front(play).waiting


@pytest.mark.usefixtures("patient")
def test_who_leaves_in_the_moment_of_news_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Its transaction is ended after its time. Before, the end of the wait swallowed the end of the connection, so the transaction was open
    for ever, and nobody got to the end of `offsets` any more (chaos 9216).
    """
    left: list[object] = []
    wait, brokers = asyncio.wait, list[FakeBroker]()

    async def waited(*ways: Any, **how: Any) -> Any:
        ended = await wait(*ways, **how)
        for broker in brokers:
            broker.silent.add(FETCH)
            for link in broker.fronts[0].waiting:
                link.stirred.set()
        return ended

    async def play(broker: FakeBroker, leaving: Client, _: Client) -> None:
        (front,) = broker.fronts
        front.left_open.gone = left.append  # type: ignore[assignment,method-assign]
        await held_back(broker, leaving)
        (link,) = front.waiting
        brokers.append(broker)
        leaving.target.close()
        await until_async(lambda: link in left, "the connection has ended")

    monkeypatch.setattr(asyncio, "wait", waited)
    through_a_front(play)


def test_a_request_without_an_answer_is_forgotten_with_the_next() -> None:
    """Produce with acks=0: later answers still belong to their requests."""

    async def play(broker: FakeBroker, reader: Client, _: Client) -> None:
        broker.silent.add(PRODUCE)
        for correlation in range(3):
            reader.ask(struct.pack(">hhi", PRODUCE, 7, correlation))
        reader.ask(struct.pack(">hhi", METADATA, 9, 9))
        assert (await reader.answer())[:4] == struct.pack(">i", 9)
        reader.ask(fetch_request(11, 0, correlation=10))
        assert (await reader.answer())[:4] == struct.pack(">i", 10)
        reader.ask(fetch_request(11, 0, correlation=11))
        await until_async(lambda: broker.fronts[0].waiting, "a fetch is held back")

    through_a_front(play)


def test_a_join_that_the_broker_never_answers_ends_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the client joins again; a connection whose join was answered stays."""
    monkeypatch.setattr(kafka_front, "_JOIN_MAX_S", 0.05)
    # No client's id, the group, both time-outs, and no member's id.
    joins = struct.pack(">hhih", JOIN_GROUP, 5, 7, -1) + struct.pack(">h3siih", 3, b"crm", 6_000, 60_000, 0)

    async def play(broker: FakeBroker, forgotten: Client, answered: Client) -> None:
        answered.ask(joins)
        assert (await answered.answer())[:4] == struct.pack(">i", 7)
        broker.silent.add(JOIN_GROUP)
        forgotten.ask(joins)
        assert await asyncio.wait_for(forgotten.source.read(), 20) == b""
        answered.ask(struct.pack(">hhi", METADATA, 9, 9))
        assert (await answered.answer())[:4] == struct.pack(">i", 9)

    through_a_front(play)
