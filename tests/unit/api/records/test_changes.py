"""The stream of changes: its end, its bounds, and who has how many, without Kafka."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from anyio import from_thread
from anyio.to_thread import current_default_thread_limiter
from starlette.requests import ClientDisconnect

from salmon.api import handle, streams
from salmon.api.problems import Problem
from salmon.api.records import changes
from salmon.api.records.changes import _shown, _Stream
from salmon.api.streams import OF_ONE_MAX, Streamed, Streams
from salmon.model.change import MONGODB
from salmon.model.rules import Rules
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.model.views import View
from support.at_hand.api_room import api_of, client_of


class Reading:
    """In place of salmon.kafka.reader.Reader: a step lasts until it may end."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.steps, self.begun, self.may_end = 0, Event(), Event()
        self.may_end.set()
        self.reads, self.closed_meanwhile, self.closed = False, False, False

    def step(self, *_: Any) -> bool:
        assert not self.closed, "a closed consumer of librdkafka must not be touched"
        self.steps += 1
        self.reads = True
        self.begun.set()
        self.may_end.wait(10)
        self.reads = False
        return False

    def close(self) -> None:
        self.closed, self.closed_meanwhile = True, self.reads


class Topics:
    """In place of a Lookup: no partition has anything."""

    def __init__(self, *_: Any) -> None:
        self.topics = SimpleNamespace(records=lambda name: f"records.{name}")
        self.admin = self.kafka = self.registry = None
        self.closed = 0

    def rules(self, _: str) -> None:
        return None

    schema = rules

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> Reading:
    """What streams read from."""
    found = Reading()
    monkeypatch.setattr(changes, "Lookup", Topics)
    monkeypatch.setattr(changes, "Reader", lambda *_, **__: found)
    monkeypatch.setattr(changes, "Records", lambda *_: None)
    monkeypatch.setattr(changes, "partition_counts", lambda _: {})
    monkeypatch.setattr(changes, "extents_of", lambda *_, **__: {})
    return found


def test_a_stream_is_not_closed_while_it_is_read(reading: Reading) -> None:
    """The client is gone while a thread waits for Kafka: closing the consumer under it ends the whole process."""
    stream = _Stream(api_of("Car__c"), ["Car__c"], None)
    reading.may_end.clear()
    with ThreadPoolExecutor(2) as pool:
        step = pool.submit(stream.step)
        assert reading.begun.wait(10)
        close = pool.submit(stream.close)
        with pytest.raises(TimeoutError):
            close.result(timeout=0.2)
        assert not reading.closed
        reading.may_end.set()
        assert step.result(10) == []
        close.result(10)
    assert reading.closed
    assert not reading.closed_meanwhile


def test_a_stream_that_is_closed_reads_no_more(reading: Reading) -> None:
    """The thread that was about to read comes after the close; closing twice closes once."""
    stream = _Stream(api_of("Car__c"), ["Car__c"], None)
    stream.close()
    stream.close()
    assert stream.step() == []
    assert reading.steps == 0


def test_one_reader_does_not_take_all_streams(reading: Reading) -> None:
    """It has four; others still get theirs, and what it closes it may open again."""
    held = Streams()
    for _ in range(OF_ONE_MAX):
        held.begin("greedy")
    with pytest.raises(Problem) as refused:
        held.begin("greedy")
    assert refused.value.status == 429
    held.begin("other")
    held.end("greedy")
    held.begin("greedy")
    assert held.count == OF_ONE_MAX + 1


def test_a_stream_ends_in_time_and_is_counted_no_more(
    reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that was withdrawn must not keep what it opened: the client comes back, and is checked again."""
    monkeypatch.setattr(streams, "SECONDS_MAX", 0.0)
    client = client_of(api_of("Car__c"), changes.router)
    for _ in range(OF_ONE_MAX + 1):
        reading.closed = False
        answer = client.get("/api/v1/changes")
        assert (answer.status_code, answer.text[:12]) == (200, "retry: 2000\n")
        assert reading.closed


def test_a_client_that_leaves_before_the_first_event_leaves_nothing_behind() -> None:
    """The generator has not begun then, so what it would do at its end is never done."""
    ends: list[str] = []

    async def events() -> Any:
        yield b""

    async def ended() -> None:
        ends.append("ended")

    async def gone(*_: Any) -> Any:
        raise OSError

    scope = {"type": "http", "asgi": {"spec_version": "2.4"}}
    with pytest.raises(ClientDisconnect):
        asyncio.run(Streamed(events(), ended)(scope, gone, gone))
    assert ends == ["ended"]


def test_streams_leave_the_threads_of_other_requests_alone() -> None:
    """They have their own: forty that wait for Kafka would otherwise stop every request."""

    async def both() -> int:
        held = Streams()
        seen = [0]

        def count() -> None:
            seen[0] = from_thread.run_sync(lambda: int(current_default_thread_limiter().borrowed_tokens))

        await held.in_thread(count)
        return seen[0]

    assert asyncio.run(both()) == 0


def test_nobody_waits_for_a_history_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes while as many are read as may be is answered at once: 503."""
    monkeypatch.setattr(handle, "Lookup", lambda _: nullcontext())
    api = api_of("Car__c")
    with ExitStack() as held:
        for _ in range(handle.LOOKUPS_MAX):
            held.enter_context(api.lookup())
        began = time.monotonic()
        with pytest.raises(Problem) as refused, api.lookup():
            pass
    assert refused.value.status == 503
    assert time.monotonic() - began < 5


def test_a_record_is_not_reported_as_deleted_while_its_filter_cannot_judge_it() -> None:
    """MongoDB may still have it, so a client must not drop it; or must not have it, so nothing of it is shown."""
    schema = ObjectSchema(
        "Account",
        (FieldSchema("Label", "string", Kind.STRING), FieldSchema("Phone", "phone", Kind.STRING)),
    )
    view = View("label", lambda record: record["Label"] == "Gold", {"Phone": lambda _: "***"})
    rules = Rules(schema, views={MONGODB: view})
    shown = [_shown({"Label": label, "Phone": "555"}, rules) for label in (None, "Gold", "Tin")]
    assert [each and each["deleted"] for each in shown] == [None, False, True]
    assert shown[1] == {"deleted": False, "record": {"Label": "Gold", "Phone": "***"}}
