"""How old a source's positions are, by what the sides' positions say of time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from salmon.errors import Unavailable
from salmon.mongodb.reading.dates import Dates as MongoDates
from salmon.mongodb.stored import token_to_json
from salmon.plugin.contract import Position, SourceBatch
from salmon.plugin.dates import PositionDates
from salmon.salesforce.reading.dates import KEPT_S
from salmon.salesforce.reading.dates import Dates as OrgDates
from salmon.source.reach import Reach
from salmon.source.worker import SourceWorker
from support.at_hand.memory_sync import MemorySync, PromptSource
from support.clock import Clock
from support.runtime import OBJECT, running
from support.waiting import until


def place(replay_id: str, *, commit_time_s: int, told_s: int | None = None) -> Position:
    """A position of the org's stream."""
    told_up_to = (commit_time_s if told_s is None else told_s) * 1000
    return {"replay_id": replay_id, "commit_time": commit_time_s * 1000, "told_up_to": told_up_to}


class Story:
    """A source whose positions are stored one after the other."""

    def __init__(self, dates: PositionDates, now_s: float = 10_000.0) -> None:
        self.clock = Clock()
        self.clock.now_s = now_s
        self.reach = Reach(dates, clock=self.clock)

    def stored(self, position: Position | None, *, partition: str = "stream") -> None:
        self.reach.stored({partition: position})

    def age(self, stream: str = "stream") -> float | None:
        return next((each.age_s for each in self.reach.ages() if each.stream == stream), None)


def test_a_position_in_the_org_is_as_old_as_its_last_event() -> None:
    """What followed that event may not have come yet; the age grows while nothing is stored."""
    story = Story(OrgDates())
    story.stored(place("01", commit_time_s=9_990))
    assert story.age() == 10
    story.clock.now_s += 5
    assert story.age() == 15


def test_a_keepalive_says_that_nothing_was_left_to_send() -> None:
    """The replay id moves and no event came: the position is of now, although the last event is old."""
    story = Story(OrgDates())
    story.stored(place("01", commit_time_s=1_000))
    story.stored(place("02", commit_time_s=1_000))
    assert story.age() == 0
    story.clock.now_s += 300
    assert story.age() == 300


def test_an_event_that_waits_for_its_record_keeps_the_position_back() -> None:
    """The position is as old as that event, and so is the age: that is what has to be held against the retention."""
    story = Story(OrgDates())
    story.stored(place("01", commit_time_s=9_000))
    story.stored(place("01", commit_time_s=9_999, told_s=9_500))
    assert story.age() == 500


def test_a_backlog_is_seen_although_the_position_moves() -> None:
    """After an outage of hours, the events are hours old until the last of them is read."""
    story = Story(OrgDates(), now_s=100_000.0)
    for number, commit_time_s in enumerate((50_000, 60_000, 70_000)):
        story.stored(place(f"0{number}", commit_time_s=commit_time_s))
    assert story.age() == 30_000


def test_only_streams_have_an_age() -> None:
    """Snapshots have positions too, and they are of no time. Those of platform events have none at first."""
    story = Story(OrgDates())
    story.stored({"read": 5}, partition="snapshot/Account")
    story.stored({"replay_id": "01", "org_id": "x", "known": []}, partition="events/Order__e")
    assert story.reach.ages() == []
    story.stored({"replay_id": "02", "org_id": "x", "known": []}, partition="events/Order__e")
    story.clock.now_s += 7
    assert story.age("events/Order__e") == 7
    story.stored(None, partition="events/Order__e")
    assert story.reach.ages() == []


def test_the_org_keeps_events_for_72_hours() -> None:
    """The age beside that says how long an outage may still last."""
    story = Story(OrgDates())
    story.stored(place("01", commit_time_s=9_990))
    assert [each.kept_s for each in story.reach.ages()] == [KEPT_S]


def test_a_position_that_is_nearly_lost_is_told_to_a_person() -> None:
    """Half of what the side keeps is used up: the sentence says what follows, and what to do."""
    story = Story(OrgDates(), now_s=1_000_000.0)
    story.stored(place("01", commit_time_s=1_000_000))
    story.clock.now_s += KEPT_S / 2
    assert story.reach.waiting() == []
    story.clock.now_s += 3600
    (waiting,) = story.reach.waiting()
    assert waiting.since_s == KEPT_S / 2 + 3600
    assert "37.0 h old" in waiting.sentence
    assert "everything has to be read again" in waiting.sentence


def test_a_young_oplog_worries_nobody() -> None:
    """Its window is short because the server is new, and not because it forgets."""
    dates = MongoDates()
    story = Story(dates, now_s=1_700_000_100.0)
    dates._oldest_s = 1_700_000_000.0
    story.stored({"token": token_to_json({"_data": f"82{1_700_000_010:08x}{3:08x}2B04"})})
    assert story.reach.waiting() == []


def test_a_resume_token_says_its_time() -> None:
    """Its first bytes are a cluster time; a snapshot's position has none."""
    story = Story(MongoDates(), now_s=1_700_000_100.0)
    token = {"_data": f"82{1_700_000_040:08x}{3:08x}2B04"}
    story.stored({"token": token_to_json(token)})
    story.stored({"token": token_to_json(token)}, partition="snapshot/Account")
    assert [(each.stream, each.age_s, each.kept_s) for each in story.reach.ages()] == [("stream", 60.0, None)]


def test_the_metrics_show_how_old_the_committed_position_is() -> None:
    """Not the polled one: what is not committed is read again."""

    class Dated(PromptSource):
        dates = OrgDates()

    sync, source = MemorySync(partitions=1), Dated()
    instance = sync.instance("salesforce-source")

    def sample(name: str) -> Any:
        labels = {"connector": "salesforce-source", "stream": "stream"}
        return instance.metrics.registry.get_sample_value(name, labels)

    with running(SourceWorker(instance, source, (OBJECT,))) as (run,):
        assert sample("salmon_position_age_seconds") is None
        source.offers.put(SourceBatch((), {"stream": place("01", commit_time_s=1_000_000)}))
        until(lambda: sample("salmon_position_age_seconds"))
        assert sample("salmon_position_age_seconds") > 1_000_000
        assert sample("salmon_position_retention_seconds") == KEPT_S
        run.stop()


def test_a_position_grows_older_while_the_side_is_away_at_a_start() -> None:
    """The process restarts in an outage, as some faults have it do: what an earlier one has stored is known before the side answers."""

    class Away(PromptSource):
        dates = OrgDates()

        def start(
            self, positions: Mapping[str, Position], identities: Mapping[str, Mapping[str, str]]
        ) -> None:
            raise Unavailable("The org is away.")

    sync = MemorySync(partitions=1)
    labels = {"connector": "salesforce-source", "stream": "stream"}
    before, after = PromptSource(), Away()
    with running(SourceWorker(sync.instance("salesforce-source"), before, (OBJECT,))) as (run,):
        before.offers.put(SourceBatch((), {"stream": place("01", commit_time_s=1_000_000)}))
        until(lambda: sync.values(sync.topics.offsets))
        run.stop()
    instance = sync.instance("salesforce-source")
    with running(SourceWorker(instance, after, (OBJECT,))) as (run,):
        until(lambda: instance.metrics.registry.get_sample_value("salmon_position_age_seconds", labels))
        run.stop()
