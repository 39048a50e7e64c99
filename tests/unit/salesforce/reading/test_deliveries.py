"""The stream of change events rests before a load would use up the deliveries, and nothing is lost by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self
from urllib.parse import parse_qs

import pytest

from salmon.errors import RequestRejected, SetupError
from salmon.model.change import Op
from salmon.plugin.contract import Position
from salmon.salesforce.config import EventBudget
from salmon.salesforce.reading.deliveries import CALM_S, EVERY_S, PLACE, READ_EVERY_S, Deliveries
from salmon.salesforce.reading.draft import Harvest
from salmon.salesforce.reading.stream.subscription import Ended, Preset, Start, Stream
from salmon.salesforce.reading.whole.run import Why
from salmon.salesforce.wire.budget import DAY_S, Budget, of_api_calls
from support.orgs.salesforce import MemoryOrg, payload
from support.orgs.salesforce_feed import NOW, A, B, MemoryStream, Rig, org_of, read_all

ALLOWED = 1_000


@dataclass
class MeteredOrg(MemoryOrg):
    """An org that says how many deliveries are left, and how many records have changed since a time."""

    delivered: int = 0
    loads: list[tuple[int, int]] = field(default_factory=list)  # when, and how many records of each object
    asked: list[str] = field(default_factory=list)
    refuses: Exception | None = None

    def ask(self, _: str, below: str, *, resource: str) -> Any:
        self.asked.append(resource)
        if self.refuses is not None:
            raise self.refuses
        if below == "limits":
            return {"DailyDeliveredPlatformEvents": {"Max": ALLOWED, "Remaining": ALLOWED - self.delivered}}
        since = datetime.fromisoformat(parse_qs(below)["query?q"][0].rpartition(" ")[2]).timestamp() * 1000
        return {"totalSize": sum(count for at, count in self.loads if at >= since), "records": []}

    def load(self, records: int) -> None:
        """Somebody changes so many records of each object now."""
        self.loads.append((self.now_ms, records))


class Resting(Rig):
    """A feed whose stream goes through Deliveries. Its looks are made when a test says so."""

    def __init__(self, org: MeteredOrg, positions: Mapping[str, Position]) -> None:
        self.metered = org
        terms = EventBudget(share=1.0)
        self.budget = Budget(
            "event_deliveries", "event deliveries", "x", terms, clock=lambda: org.now_ms / 1000
        )
        self.deliveries = Deliveries(
            org,
            self.budget,
            of_api_calls(None),
            ["Account", "Contact"],
            super()._open,
            stored=positions.get(PLACE),
            clock=lambda: org.now_ms / 1000,
        )
        super().__init__(org, positions)
        gather = self.feed.gather

        def turned() -> Harvest:
            harvest = gather()
            self.deliveries.turn(self.feed.request, harvest)
            return harvest

        self.feed.gather = turned  # type: ignore[method-assign]

    @classmethod
    def of(cls, *ids: str) -> Self:
        """A rig that streams, of an org with these accounts, in which half of the budget is used up within an hour."""
        org = MeteredOrg(NOW, records=org_of(*ids).records)
        rig = cls(org, Rig.streaming(org).stored)
        rig.gather()
        rig.look()
        org.delivered = ALLOWED // 2 + 1
        rig.pass_s(EVERY_S)
        rig.look()
        return rig

    def _open(self, start: Start) -> Stream:  # type: ignore[override]
        return self.deliveries.open(start)

    def look(self) -> None:
        """Look, and act on it."""
        self.deliveries.look()
        self.gather()

    def hear_accounts(self, *ids: str) -> None:
        self.hear(*(payload("UPDATE", each, at=NOW, Name="new") for each in ids))
        self.metered.delivered += len(ids)
        self.gather()

    @property
    def rests(self) -> bool:
        return PLACE in self.stored

    def killed(self) -> Resting:
        """The next process, from what was stored."""
        return Resting(self.metered, dict(self.stored))


def rested(*ids: str) -> Resting:
    """A rig whose stream rests, because the budget is used up."""
    rig = Resting.of(*ids)
    rig.hear_accounts(*ids)
    rig.ops()
    rig.metered.delivered = ALLOWED
    rig.look()
    assert rig.rests
    return rig


def calm(rig: Resting, *, waiting: int) -> None:
    """Since the stream rests, *waiting* records have changed; then a day goes by, in which deliveries become free again."""
    rig.metered.load(waiting // 2)
    rig.pass_s(DAY_S)
    rig.metered.delivered = 0
    rig.look()
    rig.pass_s(EVERY_S)
    rig.look()


def test_each_event_that_is_taken_is_counted_between_two_looks() -> None:
    """The limits resource is asked every ten minutes; meanwhile we know ourselves what came."""
    rig = Resting.of(A, B)
    left = rig.budget.left
    rig.hear_accounts(A, B)
    assert (left, rig.budget.left) == (ALLOWED // 2 - 1, ALLOWED // 2 - 3)
    assert rig.metered.asked.count("limits") == 2


def test_nothing_is_counted_while_more_than_half_is_left() -> None:
    """Each count is an API call for each object."""
    org = MeteredOrg(NOW)
    rig = Resting(org, Rig.streaming(org).stored)
    org.load(10**6)
    for _ in range(10):
        rig.look()
        rig.pass_s(EVERY_S)
        org.delivered += 40
    assert set(org.asked) == {"limits"}
    assert not rig.rests


def test_a_load_that_would_use_up_what_is_left_is_not_heard_to_its_end() -> None:
    """More records have changed than events can come: the stream is closed, what came already is reported, and people are told."""
    rig = Resting.of(A, B)
    rig.hear_accounts(A)
    rig.ops()
    rig.hear(payload("UPDATE", B, at=NOW, Name="new"))
    rig.metered.load(ALLOWED)
    rig.look()
    assert rig.rests
    assert rig.streams[-1].closed
    rig.gather()
    assert rig.ops() == [(B, Op.UPDATE)]
    assert rig.place == 2
    (waiting,) = rig.deliveries.waiting()
    assert "closed by plan: 2,000 records have changed" in waiting.sentence
    assert "salesforce.event_budget.share" in waiting.sentence


def test_a_load_that_what_is_left_suffices_for_is_heard() -> None:
    """However fast it comes."""
    rig = Resting.of(A)
    rig.hear_accounts(A)
    rig.metered.load(ALLOWED // 8)
    rig.look()
    assert not rig.rests
    assert rig.metered.asked.count("query") >= 2


def test_a_stream_that_has_no_position_yet_does_not_rest() -> None:
    """It would have nothing to go on after."""
    org = MeteredOrg(NOW, delivered=ALLOWED)
    rig = Resting(org, {})
    rig.look()
    assert not rig.rests
    assert [stream.start for stream in rig.streams] == [Preset.LATEST]


def test_the_stream_rests_while_the_load_goes_on() -> None:
    """It would use up what is left at once."""
    rig = rested(A)
    rig.metered.delivered = 0
    for _ in range(int(CALM_S / EVERY_S)):
        rig.pass_s(EVERY_S)
        rig.metered.load(ALLOWED)
        rig.look()
    assert rig.rests
    assert all(stream.closed for stream in rig.streams)


def test_the_stream_rests_while_nothing_is_left() -> None:
    """However calm it is."""
    rig = rested(A)
    for _ in range(3):
        rig.pass_s(EVERY_S)
        rig.look()
    assert rig.rests


def test_where_little_has_waited_the_stream_goes_on_where_it_stopped() -> None:
    """Nothing is read again, and nothing is lost: the org has kept the events."""
    rig = rested(A)
    calm(rig, waiting=10)
    assert not rig.rests
    assert rig.stream.start == (1).to_bytes(8, "big")
    rig.hear(payload("UPDATE", B, at=NOW + 1000, Name="new"))
    rig.gather()
    assert rig.ops() == [(B, Op.UPDATE)]
    assert {run.why for run in rig.snapshots.begun} <= {Why.ASKED}


def test_where_much_has_waited_a_new_position_is_taken_and_everything_is_read_again() -> None:
    """The old position is given up only when the new one stands; rows come before the first event of their records."""
    rig = rested(A, B)
    calm(rig, waiting=ALLOWED)
    assert rig.stream.start is Preset.LATEST
    assert (rig.rests, rig.place) == (True, 2), "the new one does not stand yet"
    rig.keepalive()
    rig.gather()
    rig.gather()
    assert (rig.rests, rig.place) == (False, 3)
    assert len(rig.streams) == 2, "the stream whose position was settled is the one that goes on"
    assert {run.object for run in rig.snapshots.begun[-2:]} == {"Account", "Contact"}
    rig.pass_s(2)
    rig.org.look_at_clock()
    rig.ops()
    read_all(rig)
    assert [op for _, op in rig.ops()] == [Op.ROW, Op.ROW]


def test_a_kill_at_any_moment_of_a_planned_hole_loses_nothing() -> None:
    """Each next process rests on at the old position, until the new one is stored together with what is to be read again."""
    rig = rested(A, B).killed()
    rig.gather()
    assert (rig.rests, rig.place, rig.streams) == (True, 2, [])
    rig.look()
    calm(rig, waiting=ALLOWED)
    killed = rig.killed()
    killed.gather()
    assert (killed.rests, killed.place, killed.streams) == (True, 2, [])
    rig.number = 2  # of events, as the org counts them
    rig.keepalive()
    for _ in range(3):
        harvest = rig.gather()
        assert rig.rests == (rig.place == 2)
        stored = rig.killed()
        if not rig.rests:
            assert "snapshot/Account" in harvest.positions
            assert stored.stored["snapshot/Account"]["why"] == "hole"
            break
    assert not rig.rests


def test_a_new_position_that_cannot_be_taken_is_taken_later() -> None:
    """The stream rests on meanwhile."""
    rig = rested(A)
    calm(rig, waiting=ALLOWED)
    rig.stream.items.append(Ended(SetupError("not now")))
    rig.gather()
    assert rig.rests
    rig.pass_s(EVERY_S)
    rig.look()
    assert rig.stream.start is Preset.LATEST
    rig.keepalive()
    rig.gather()
    rig.gather()
    assert not rig.rests


def test_records_are_read_every_hour_while_the_stream_rests() -> None:
    """As far as there are API calls for that; and no signal of the topic is answered by it."""
    rig = rested(A)
    rig.pass_s(READ_EVERY_S)
    rig.org.look_at_clock()
    rig.gather()
    rig.gather()
    assert {run.object for run in rig.snapshots.begun[-2:]} == {"Account", "Contact"}
    rig.pass_s(5)
    rig.org.look_at_clock()
    read_all(rig)
    assert [op for _, op in rig.ops()] == [Op.ROW]
    assert rig.answered == set()
    begun = len(rig.snapshots.begun)
    rig.gather()
    assert len(rig.snapshots.begun) == begun


def test_an_org_that_does_not_show_its_limits_is_told() -> None:
    """Then nothing rests by plan; the org itself ends the stream, which goes on where it stopped."""
    org = MeteredOrg(NOW, refuses=RequestRejected("no", code="INSUFFICIENT_ACCESS"))
    rig = Resting(org, Rig.streaming(org).stored)
    rig.look()
    assert not rig.rests
    assert "View Setup" in rig.deliveries.note()
    org.refuses = None
    rig.look()
    assert rig.deliveries.note() == ""


@pytest.mark.parametrize("stored", [None, {"why": "a load"}])
def test_a_stream_that_begins_does_not_rest(stored: Position | None) -> None:
    """What was stored was of a position that is not there any more."""
    org = MeteredOrg(NOW)
    positions: dict[str, Position] = {} if stored is None else {PLACE: stored}
    rig = Resting(org, positions)
    rig.gather()
    assert not rig.rests
    assert isinstance(rig.stream, MemoryStream)
