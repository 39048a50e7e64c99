"""Invisible is not deleted: absences while the user may have lost the right to see all records of an object."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest

from salmon.errors import RequestRejected, Unavailable
from salmon.model.change import Op
from salmon.plugin.contract import Position, Signal, SignalKind
from salmon.salesforce.reading import doubts
from salmon.salesforce.reading.sight import SEEING_AGAIN_S, Sight
from salmon.salesforce.wire.rest import Deleted
from support.orgs.salesforce import MemoryOrg, payload
from support.orgs.salesforce_feed import A, B, Rig, org_of

IDS = [f"001{number:012}AAA" for number in range(300)]
RUN = {
    "why": "first", "began": 0, "not_before": 0, "since": None, "last": "", "absences": False, "done": True,
    "read": 0, "total": 0, "signals": [], "covers": ["Name"],
}  # fmt: skip


class Rights:
    """Whether the user sees all records of Account, as the org answers; and its log of deletions."""

    def __init__(self, org: MemoryOrg) -> None:
        self.org, self.clock = org, org.clock
        self.sees: bool | Exception = True
        self.asked = 0
        self.logged: Collection[str] = ()

    def sees_all(self, name: str) -> bool:
        assert name == "Account"
        self.asked += 1
        if isinstance(self.sees, Exception):
            raise self.sees
        return self.sees

    def deleted(self, _name: str, _start_ms: int, end_ms: int) -> Deleted:
        return Deleted(list(self.logged), 0, end_ms)

    def rig(self, positions: Mapping[str, Position] | None = None) -> Rig:
        """A feed that streams, with all rows read long ago; or that starts after *positions*."""
        if positions is None:
            covers = sorted(Rig.streaming().stored["snapshot/Account"]["covers"])
            contacts = sorted(Rig.streaming().stored["snapshot/Contact"]["covers"])
            positions = {
                "stream": {"replay_id": "00", "commit_time": 0},
                "snapshot/Account": {**RUN, "covers": covers},
                "snapshot/Contact": {**RUN, "covers": contacts},
            }
        return Rig(self.org, positions, sight=self.sight())

    def sight(self) -> Sight:
        return Sight(self, self.sees_all, monotonic_s=lambda: self.org.now_ms / 1000)


def ask(rig: Rig, number: int, *ids: str) -> None:
    """Have records read, and let the time pass after which their rows cover that."""
    rig.feed.request(Signal(number, SignalKind.READ, "Account", ids, ids))
    rig.pass_s(3)
    rig.org.look_at_clock()
    rig.gather()


def test_who_is_not_shown_is_reported_as_absent_once_the_org_says_that_all_is_shown() -> None:
    """One question after the reading, for all records that it did not show."""
    rights = Rights(org_of())
    rig = rights.rig()
    ask(rig, 1, *IDS)
    assert [op for _, op in rig.ops()] == [Op.ABSENT] * len(IDS)
    assert rights.asked == 1
    assert rig.answered == {1}


def test_the_org_is_not_asked_while_nobody_is_missing() -> None:
    """Rows, and what the recycle bin or an event proves, cost no call."""
    org = org_of(A, B)
    rights = Rights(org)
    rights.sees = False
    rig = rights.rig()
    org.remove("Account", B, "2001-09-09T01:46:41Z")
    ask(rig, 1, A, B)
    assert rig.ops() == [(A, Op.ROW), (B, Op.ABSENT)]
    rig.hear(payload("GAP_UPDATE", A, at=rig.org.now_ms, commit=2))
    rig.hear(payload("DELETE", A, at=rig.org.now_ms, commit=3))
    del org.records["Account"][A]
    rig.pass_s(5)
    rig.gather()
    rig.gather()
    assert (A, Op.ABSENT) in rig.ops()
    assert rights.asked == 0


def test_an_answer_from_before_the_reading_proves_nothing() -> None:
    """The right may have gone since: the next absence waits until the org may be asked again, and nothing is reported if it has."""
    rights = Rights(org_of())
    rig = rights.rig()
    ask(rig, 1, A)
    assert rig.ops() == [(A, Op.ABSENT)]
    rights.sees = False
    ask(rig, 2, B)
    assert rig.ops() == []
    assert 2 not in rig.answered
    wait_s = rig.feed.wait_s()
    assert wait_s is not None
    assert 0 < wait_s <= SEEING_AGAIN_S
    rig.pass_s(SEEING_AGAIN_S)
    rig.gather()
    assert rig.ops() == []
    assert 2 in rig.answered, "who asked does not wait"
    assert rig.stored["unseen/Account"] == {"records": {B: B}, "too_many": False}


def test_an_absence_in_doubt_survives_a_kill_and_is_read_again_when_the_right_is_back() -> None:
    """Who shows again gets its row, who does not its absence; then nothing waits any more."""
    org = org_of(A)
    hidden = org.records["Account"].pop(A)
    rights = Rights(org)
    rights.sees = False
    ask(rights.rig(), 1, A, B)
    rig = rights.rig()
    ask(rig, 1, A, B)
    again = rights.rig(rig.stored)
    again.gather()
    assert again.ops() == []
    org.records["Account"][A] = hidden
    rights.sees = True
    again.pass_s(61)
    for _ in range(3):
        again.gather()
        again.pass_s(SEEING_AGAIN_S)
        org.look_at_clock()
    assert again.ops() == [(A, Op.ROW), (B, Op.ABSENT)]
    assert "unseen/Account" not in again.stored
    assert again.answered == set(), "nobody else asked"


def test_a_reading_from_before_the_right_came_back_proves_nothing() -> None:
    """The org is asked a moment after the reading, and the admin was between the two."""
    org = org_of()
    rights = Rights(org)
    rights.sees = False
    sight = rights.sight()
    assert sight.held_since("Account", sight.now_s()) is False
    org.now_ms += 61_000
    read_at_s, rights.sees = sight.now_s(), True
    org.now_ms += 1_000
    assert sight.held_since("Account", read_at_s) is None
    org.now_ms += 1_000
    read_at_s = sight.now_s()
    org.now_ms += 5_000
    assert sight.held_since("Account", read_at_s) is True


def test_what_shows_in_another_way_does_not_wait_any_more() -> None:
    """It was shared with the user by hand: its row is reported, and the right is still lacking."""
    org = org_of()
    rights = Rights(org)
    rights.sees = False
    rig = rights.rig()
    ask(rig, 1, A)
    assert "unseen/Account" in rig.stored
    org.put("Account", A, Name="Acme")
    ask(rig, 2, A)
    assert rig.ops() == [(A, Op.ROW)]
    assert "unseen/Account" not in rig.stored


def test_the_log_of_deletions_proves_an_absence() -> None:
    """It is asked once with the rights, and lists what the user did not see, too."""
    rights = Rights(org_of())
    rights.sees, rights.logged = False, (A,)
    rig = rights.rig()
    ask(rig, 1, A, B)
    assert rig.ops() == [(A, Op.ABSENT)]
    assert rig.stored["unseen/Account"]["records"] == {B: B}


@pytest.mark.parametrize(
    ("answer", "is_kept"),
    [(RequestRejected("no", code="INVALID_TYPE"), True), (Unavailable("no answer"), False)],
)
def test_without_an_answer_no_absence_is_reported(answer: Exception, is_kept: bool) -> None:
    """Refused, it waits for the right; while the org does not answer, for the next try."""
    rights = Rights(org_of())
    rights.sees = answer
    rig = rights.rig()
    ask(rig, 1, A)
    assert rig.ops() == []
    assert ("unseen/Account" in rig.stored) == is_kept
    rights.sees = True
    rig.pass_s(61)
    for _ in range(3):
        rig.gather()
        rig.pass_s(SEEING_AGAIN_S)
        rig.org.look_at_clock()
    assert rig.ops() == [(A, Op.ABSENT)]


def test_too_many_in_doubt_are_read_again_with_the_whole_object(monkeypatch: pytest.MonkeyPatch) -> None:
    """The position stays small; when the right is back, the object has a hole, after which all records are compared."""
    monkeypatch.setattr(doubts, "KEPT_MAX", 2)
    rights = Rights(org_of())
    rights.sees = False
    rig = rights.rig()
    ask(rig, 1, *IDS[:5])
    assert rig.stored["unseen/Account"] == {"records": {i: i for i in IDS[:2]}, "too_many": True}
    (waits,) = rig.feed._doubts.waiting()
    assert "More than 2 records" in waits.sentence
    assert "View All Records of Account" in waits.sentence
    rights.sees = True
    rig.pass_s(61)
    harvest = rig.gather()
    assert rig.stored["snapshot/Account"]["why"] == "hole"
    assert "unseen/Account" in harvest.positions, "both are stored at once"
    assert rig.feed._doubts.waiting() == []


def test_an_absence_of_another_org_is_forgotten() -> None:
    """A sandbox was refreshed: all is read again."""
    rights = Rights(org_of())
    rights.sees = False
    rig = rights.rig({"unseen/Account": {"records": {A: A}, "too_many": False}})
    rig.keepalive()
    rig.gather()
    assert "unseen/Account" not in rig.stored
