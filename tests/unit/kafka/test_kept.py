"""Clients to Kafka that a process keeps, or that do not end."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from salmon.errors import Unavailable
from salmon.kafka import clients
from salmon.kafka.kept import KeptAdmin
from support.waiting import until


def test_after_a_request_that_failed_the_next_one_gets_a_new_client() -> None:
    """The first one may never reach a broker again that stood still as it was connected; one that works is kept."""
    first, second = object(), object()
    made: list[object] = []

    def make() -> Any:
        made.append(second)
        return second

    def reached(admin: object) -> object:
        if admin is first:
            raise Unavailable("Kafka said _TRANSPORT")
        return admin

    kept: Any = KeptAdmin(first, make)  # type: ignore[arg-type]
    with pytest.raises(Unavailable):
        kept.ask(reached)
    assert kept.ask(reached) is second
    assert kept.ask(reached) is second
    assert made == [second]


def test_a_client_that_another_thread_has_made_meanwhile_is_kept() -> None:
    """Two requests of the old one fail, one after the other: there is one new client, and not two."""
    first, second = object(), object()
    kept: Any = KeptAdmin(first, lambda: second)  # type: ignore[arg-type,return-value]

    def fails(_: object) -> None:
        raise Unavailable("no broker answers")

    def fails_late(admin: object) -> None:
        assert admin is first
        with pytest.raises(Unavailable):
            kept.ask(fails)
        assert kept.ask(lambda admin: admin) is second
        raise Unavailable("no broker answers")

    with pytest.raises(Unavailable):
        kept.ask(fails_late)
    assert kept.ask(lambda admin: admin) is second


def test_a_consumer_that_does_not_close_holds_nobody_up() -> None:
    """librdkafka waits for brokers that stand still without a bound: it does so in a thread that ends with the process."""
    begun, let_go = threading.Event(), threading.Event()

    class Hanging:
        def close(self) -> None:
            begun.set()
            let_go.wait()

    clients.close(Hanging(), within_s=0.01)  # type: ignore[arg-type]
    until(begun.is_set)
    closing = [each for each in threading.enumerate() if each.name == "closing a consumer"]
    assert closing
    assert all(each.daemon for each in closing)
    let_go.set()
