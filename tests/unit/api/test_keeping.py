"""What is read from another server and kept: who waits for it, and how often it is read."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from salmon.api.keeping import READ_AGAIN_S, Kept
from salmon.errors import Unavailable


class Server:
    """Gives a number that grows with each read."""

    def __init__(self) -> None:
        self.reads, self.now = 0, 0.0
        self.away = False
        self.asked, self.answers = Event(), Event()
        self.answers.set()

    def read(self) -> int:
        self.asked.set()
        assert self.answers.wait(10)
        self.reads += 1
        if self.away:
            raise Unavailable("It is away.")
        return self.reads

    def kept(self) -> Kept[int]:
        return Kept("the number", self.read, kept_s=100, clock=lambda: self.now)


def test_it_is_read_once_and_again_after_its_time() -> None:
    """Or earlier if it is not enough, but never twice within some seconds."""
    server = Server()
    kept = server.kept()
    assert [kept.get(), kept.get()] == [1, 1]
    assert kept.get(lambda value: value > 1) == 1, "a moment ago"
    server.now += READ_AGAIN_S
    assert kept.get(lambda value: value > 1) == 2
    server.now += 100
    assert kept.get() == 3


def test_while_it_cannot_be_read_the_pauses_grow() -> None:
    """An outage is not made worse by those who ask; what was read before counts on."""
    server = Server()
    server.away = True
    kept = server.kept()
    for _ in range(600):
        with pytest.raises(Unavailable, match="It is away"):
            kept.get()
        server.now += 1
    assert server.reads < 25
    server.away = False
    server.now += 30
    value = kept.get()
    server.away = True
    server.now += 200
    assert kept.get() == value
    with pytest.raises(Unavailable):
        kept.get(lambda _value: False)


def test_nobody_waits_for_one_who_reads() -> None:
    """Who has enough goes on at once; who has not is refused after a moment, and blocks no thread for longer."""
    server = Server()
    kept = server.kept()
    kept.get()
    server.now += 200
    server.asked.clear()
    server.answers.clear()
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(kept.get)
        try:
            assert server.asked.wait(10)
            assert kept.get() == 1
            with pytest.raises(Unavailable, match="takes long"):
                kept.get(lambda value: value > 1)
        finally:
            server.answers.set()
        assert reading.result(10) == 2
