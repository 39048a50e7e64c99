"""Records that were deleted for good in a hole of the events, on an org in memory that keeps a log of deletions."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from salmon.errors import RequestRejected, Unavailable
from salmon.plugin.contract import Position, Signal
from salmon.salesforce.identity import Identity
from salmon.salesforce.reading.draft import Harvest
from salmon.salesforce.reading.vanished import PORTION, Vanished
from salmon.salesforce.reading.whole.rows import RowReader
from salmon.salesforce.reading.whole.run import Run, Why
from salmon.salesforce.wire.rest import Deleted, Page
from support.orgs.salesforce import MemoryOrg, schema, synced
from support.orgs.salesforce_feed import NOW, A, B, C
from support.waiting import until

LONG_AGO = NOW - 3_600_000
HOLE = {"deleted/Account": {"hole": LONG_AGO}}


@dataclass
class OrgWithLog(MemoryOrg):
    """An org whose log of deletions has *logged*, all of it since *complete_since*; None: it has no log."""

    logged: Sequence[str] = ()
    complete_since: int | None = 0
    asked: list[tuple[int, int]] = field(default_factory=list)

    def deleted_in(self, name: str, start_ms: int, end_ms: int) -> Deleted:
        self.asked.append((start_ms, end_ms))
        if self.complete_since is None:
            raise RequestRejected("no log", code="INVALID_REPLICATION_DATE")
        return Deleted(self.logged, self.complete_since, end_ms)


class Asking:
    """Rest, with its two meanings of `deleted` put together."""

    def __init__(self, org: OrgWithLog) -> None:
        self.clock, self.look_at_clock, self.deleted = org.clock, org.look_at_clock, org.deleted_in
        self._org = org

    def pages(self, text: str, *, deleted: bool = False) -> Iterator[Page]:
        living = " WHERE IsDeleted = false"  # also among what is archived, which the org has none of
        return self._org.pages(text.replace(living, ""), deleted=deleted and living not in text)


class Rig:
    """The search for one object with events, what it asks for, and what would be stored."""

    def __init__(
        self,
        org: OrgWithLog,
        positions: Mapping[str, Position] | None = None,
        *agreed: str,
        may: bool = True,
        may_compare: bool = True,
    ) -> None:
        self.org, self.agreed = org, agreed
        self.stored: dict[str, Position] = dict(positions or {})
        self.may, self.may_compare = may, may_compare
        identity = Identity({"Account": schema("Account")})
        reader = RowReader(org, synced("Account"), identity, {"Account": synced("Account")})
        self.vanished = Vanished(
            Asking(org),
            {"Account": reader},
            identity,
            (),
            self.stored,
            keys_of=lambda _: self.agreed,
            eventful=("Account",),
            may=lambda: self.may,
            may_compare=lambda _: self.may_compare,
        )
        self.requested: list[Signal] = []
        self.vanished.begin()

    def __enter__(self) -> Rig:
        return self

    def __exit__(self, *_: object) -> None:
        self.vanished.close()

    def turn(self, run: Run | None = None, *answered: int) -> None:
        """The feed has stored how far *run* has come, and answered these signals."""
        harvest = Harvest()
        if run is not None:
            harvest.positions[f"snapshot/{run.object}"] = run.to_position()
        harvest.answered |= set(answered)
        self.vanished.turn(self.requested.append, harvest)
        assert not harvest.answered, "they are nobody else's"
        for name, position in harvest.positions.items():
            if position is None:
                self.stored.pop(name, None)
            else:
                self.stored[name] = position

    def until_requested(self) -> Signal:
        def requested() -> bool:
            self.turn()
            return bool(self.requested)

        until(requested)
        return self.requested.pop()

    def until_looked(self) -> None:
        def looked() -> bool:
            self.turn()
            return "deleted/Account" not in self.stored

        until(looked)


def run(why: Why = Why.HOLE, *, done: bool = False, **changes: Any) -> Run:
    return Run("Account", why, began=NOW, since=LONG_AGO, done=done, **changes)


def org_of(**of_log: Any) -> OrgWithLog:
    org = OrgWithLog(NOW + 60_000, **of_log)
    org.put("Account", A, Name="Acme")
    return org


def test_who_was_deleted_for_good_in_a_hole_is_read_again_once_the_object_has_been() -> None:
    """The recycle bin does not show it any more; the log of deletions does. What it has is left to the other reading."""
    org = org_of(logged=[B, C])
    org.put("Account", C, Name="in the bin")
    org.remove("Account", C, "2001-09-09T01:46:41Z")
    with Rig(org) as rig:
        rig.turn(run())
        assert rig.stored == {**HOLE, "snapshot/Account": run().to_position()}
        assert org.asked == [], "not before the rows"
        rig.turn(run(done=True))
        signal = rig.until_requested()
        assert (signal.keys, signal.native_ids) == ((B,), (B,))
        assert org.asked[0][0] == LONG_AGO
        assert rig.stored["deleted/Account"] == HOLE["deleted/Account"], (
            "after a kill, it is looked for again"
        )
        rig.turn(None, signal.id)
        assert "deleted/Account" not in rig.stored


def test_where_the_log_is_not_complete_all_are_compared() -> None:
    """What is deleted for good leaves the log, too; and beyond 15 days, or for some objects, there is none."""
    for log in ({"complete_since": NOW}, {"complete_since": None}):
        with Rig(org_of(**log), {}, A, B) as rig:
            rig.turn(run(done=True))
            assert rig.until_requested().keys == (B,)
    with Rig(org_of(), {}, A, B) as rig:
        rig.turn(Run("Account", Why.HOLE, began=NOW, done=True))
        assert rig.until_requested().keys == (B,), "since when it lasts, nobody knows"


def test_a_kill_does_not_forget_that_a_hole_is_to_be_looked_into() -> None:
    """Before its object has been read again, or after; another reading may have come between."""
    stored = {**HOLE, "snapshot/Account": run(Why.ASKED, done=True).to_position()}
    with Rig(org_of(logged=[B]), stored) as rig:
        assert rig.until_requested().keys == (B,)
    with Rig(org_of(logged=[B]), {**HOLE, "snapshot/Account": run().to_position()}) as rig:
        rig.turn(run(done=True))
        assert rig.until_requested().keys == (B,)


def test_a_second_hole_before_the_first_was_looked_into_keeps_its_beginning() -> None:
    """And what was found for the first does not close the second."""
    with Rig(org_of(logged=[B])) as rig:
        rig.turn(run(done=True))
        signal = rig.until_requested()
        rig.turn(Run("Account", Why.HOLE, began=NOW + 5, since=NOW, done=False), signal.id)
        assert rig.stored["deleted/Account"] == HOLE["deleted/Account"]
        rig.turn(Run("Account", Why.HOLE, began=NOW + 5, since=NOW, done=True))
        assert rig.until_requested().keys == (B,)


def test_a_hole_in_which_nothing_was_deleted_costs_one_call() -> None:
    """And a reading for another reason none."""
    org = org_of()
    with Rig(org) as rig:
        for why in (Why.FIRST, Why.ASKED, Why.REFRESH):
            rig.turn(run(why, done=True))
        assert "deleted/Account" not in rig.stored
        rig.turn(run(done=True))
        rig.until_looked()
        assert rig.requested == []
        assert len(org.asked) == 1
        assert org.queries == []


def test_records_are_not_compared_while_the_user_does_not_see_all_of_them() -> None:
    """Who is not shown may exist, and each would cost a reading. The hole is kept for when the right is back."""
    org = org_of(complete_since=None)
    with Rig(org, HOLE, A, B, may_compare=False) as rig:
        rig.turn(run(done=True))
        until(lambda: org.asked)
        with pytest.raises(Unavailable, match="does not see all"):
            rig.vanished.look_into_hole("Account")
        rig.turn()
        assert (rig.requested, org.queries) == ([], [])
        assert "deleted/Account" in rig.stored


def test_nothing_is_searched_while_the_org_has_few_calls_left() -> None:
    """Nobody's edit waits for it."""
    org = org_of(logged=[B])
    with Rig(org, HOLE, may=False) as rig:
        rig.turn(run(done=True))
        threads = [each for each in threading.enumerate() if each.name == "vanished"]
        until(lambda: threads and not rig.vanished._due.is_set())
        assert org.asked == []


def test_many_that_seem_to_be_gone_are_read_in_portions() -> None:
    """The next portion is requested when the one before is answered, if there are calls left; the hole is over after the last."""
    many = [f"001{number:012}AAA" for number in range(PORTION + 1)]
    with Rig(org_of(logged=many), HOLE) as rig:
        rig.turn(run(done=True))
        first = rig.until_requested()
        assert list(first.keys) == many[:PORTION]
        rig.may = False
        rig.turn(None, first.id)
        assert rig.requested == []
        rig.may = True
        second = rig.until_requested()
        assert list(second.keys) == many[PORTION:]
        assert "deleted/Account" in rig.stored
        rig.turn(None, second.id)
        assert "deleted/Account" not in rig.stored
