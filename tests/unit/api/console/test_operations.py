"""How many may look and act at once, and that nobody waits for it in a thread for long."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from threading import Event
from typing import Any

import pytest

from salmon.api.console import operations
from salmon.api.console.operations import Operations
from salmon.api.problems import Problem
from salmon.config.models import SyncConfig
from support.sync_config import sync_config


@pytest.fixture
def work() -> Operations:
    config = SyncConfig.model_validate(sync_config())
    return Operations(lambda: config)


class Busy:
    """Work that lasts until it may end."""

    def __init__(self) -> None:
        self.begun, self.may_end = Event(), Event()

    def __call__(self, *_: Any, **__: Any) -> list[Any]:
        self.begun.set()
        self.may_end.wait(20)
        return []


def test_a_second_diagnosis_is_refused_while_one_runs(
    work: Operations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks every server; whoever asks for it again and again would hold a thread each time."""
    busy = Busy()
    monkeypatch.setattr(operations, "diagnose", busy)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(work.diagnose)
        assert busy.begun.wait(10)
        second = pool.submit(work.diagnose)
        try:
            with pytest.raises(Problem) as refused:
                second.result(5)
        finally:
            busy.may_end.set()
        assert first.result(10) == []
    assert refused.value.status == 503


def test_whoever_acts_does_not_wait_for_ever_for_another(
    work: Operations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One action runs at a time; the next is refused after a while instead of keeping its thread."""
    busy = Busy()
    monkeypatch.setattr(operations, "_PATIENCE_S", 0.05)
    monkeypatch.setattr(operations, "Lookup", lambda _: nullcontext())
    monkeypatch.setattr(operations, "read_record_again", busy)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(work.read_again, "Account", "a", by="x", reason="")
        assert busy.begun.wait(10)
        second = pool.submit(work.read_again, "Account", "b", by="y", reason="")
        try:
            with pytest.raises(Problem) as refused:
                second.result(5)
        finally:
            busy.may_end.set()
        assert first.result(10) == []
    assert refused.value.status == 503
