"""What the overview remembers of the last minutes, and how often it looks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from salmon.api.console import watching
from salmon.api.console.pages.overview import line_of
from salmon.api.console.watching import History, Watching
from salmon.config.models import SyncConfig
from salmon.errors import Unavailable
from salmon.status.counting import NONE
from salmon.status.overview import Overview
from salmon.status.scraping import ProcessReport, parsed
from support.at_hand.console_room import overview
from support.clock import Clock
from support.sync_config import sync_config


def counted(changes: int, fast: int, slow: int) -> Overview:
    """What merge reports after so many changes, of which some came back within a second and some within ten."""
    lag = 'salmon_end_to_end_lag_seconds_bucket{direction="to_mongodb",object="Account",le='
    text = (
        "# TYPE salmon_changes counter\n"
        f"salmon_changes_total {changes}\n"
        "# TYPE salmon_end_to_end_lag_seconds histogram\n"
        f'{lag}"1.0"}} {fast}\n{lag}"10.0"}} {fast + slow}\n{lag}"+Inf"}} {fast + slow}\n'
    )
    return Overview((ProcessReport("merge", "", "healthy", "", parsed(text)),), (), NONE, {}, {})


def test_a_rate_is_the_difference_of_two_looks() -> None:
    """And a process that starts again counts from zero, which is no negative rate."""
    history = History()
    for at_s, changes in ((0.0, 10), (2.0, 30), (4.0, 5)):
        history.add(at_s, counted(changes, 0, 0))
    assert history.rates(lambda point: point.changes) == [10.0, 0.0]


def test_of_a_process_that_hangs_no_pace_is_made_up() -> None:
    """Neither 0 while it does not answer, nor all that it has ever counted when it answers again."""
    history = History()
    hangs = Overview((ProcessReport("merge", "", "down", "No answer within 2 s."),), (), NONE, {}, {})
    for at_s, seen in (
        (0.0, counted(100, 0, 0)),
        (2.0, hangs),
        (4.0, counted(120, 0, 0)),
        (6.0, counted(122, 0, 0)),
    ):
        history.add(at_s, seen)
    rates = history.rates(lambda point: point.changes)
    assert rates == [None, None, 1.0]
    assert line_of(rates) == "160.0,2.0"


def test_the_lag_is_that_of_the_last_minute() -> None:
    """What was slow an hour ago is not shown as slow now; and where nothing came back, nothing is shown."""
    history = History()
    history.add(0.0, counted(0, 0, 0))
    history.add(10.0, counted(0, 0, 100))
    assert (history.lags(["to_mongodb"])["to_mongodb"]["p50"] or 0) > 1
    history.add(100.0, counted(0, 0, 100))
    assert history.lags(["to_mongodb"]) == {"to_mongodb": {"p50": None, "p99": None}}
    history.add(110.0, counted(0, 50, 100))
    assert (history.lags(["to_mongodb"])["to_mongodb"]["p99"] or 9) <= 1


class Looks:
    """In place of salmon.status.overview.Look: counts the looks, and each takes *took_s*."""

    def __init__(self, clock: Clock, took_s: float, trouble: bool = False) -> None:
        self.count, self._clock, self._took_s, self._trouble = 0, clock, took_s, trouble

    def __call__(self, *_: object) -> Looks:
        return self

    def overview(self) -> Overview:
        self.count += 1
        self._clock.now_s += self._took_s
        if self._trouble:
            raise Unavailable("no Kafka broker has answered")
        return overview()

    def without_kafka(self, trouble: Exception) -> Overview:
        return Overview((), (), NONE, {}, {}, trouble=str(trouble))


def watching_with(looks: Looks, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Watching:
    monkeypatch.setattr(watching, "Look", looks)
    config = SyncConfig.model_validate(sync_config())
    return Watching(lambda: config, Path("sync.yaml"), clock=clock)


def test_all_who_look_share_one_look(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """It is renewed when it is old, and a look that takes long is made less often."""
    looks = Looks(clock, took_s=2.0)
    watched = watching_with(looks, clock, monkeypatch)
    for _ in range(3):
        watched.seen()
    assert looks.count == 1
    clock.now_s += 7.0
    watched.seen()
    assert looks.count == 1, "a look of two seconds is made every ten"
    clock.now_s += 2.0
    watched.seen()
    assert looks.count == 2


def test_without_kafka_the_processes_are_shown_all_the_same(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """And the page says what is wrong."""
    watched = watching_with(Looks(clock, 0.0, trouble=True), clock, monkeypatch)
    assert watched.seen().overview.trouble == "no Kafka broker has answered"


def test_nobody_waits_in_a_thread_for_a_look_that_takes_long(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """They get the look before it."""
    watched = watching_with(Looks(clock, took_s=0.0), clock, monkeypatch)
    before = watched.seen()
    clock.now_s += 60.0
    with ThreadPoolExecutor(1) as pool, watched._lock:
        assert pool.submit(watched.seen).result(5) is before
