"""A sandbox that was refreshed: another org answers, and nothing that is stored is of it."""

from __future__ import annotations

from salmon.errors import PositionLost
from salmon.model.change import Op
from salmon.salesforce.reading.stream.subscription import Ended, Preset
from support.orgs.salesforce import payload
from support.orgs.salesforce_feed import NOW, A, B, Rig, org_of, read_all

REFRESHED = "00D000000000002"


def told_and_stored() -> Rig:
    """A rig that has read two accounts and heard of an edit far in the future of the org that comes next."""
    rig = Rig(org_of(A, B))
    rig.keepalive()
    rig.gather()
    rig.pass_s(2)
    rig.org.look_at_clock()
    read_all(rig)
    rig.hear(payload("UPDATE", A, at=NOW + 10_000, Phone="1"))
    rig.gather()
    assert {each.change.history for each in rig.told} == {""}
    rig.ops()
    return rig


def rows_of(rig: Rig) -> None:
    rig.keepalive()
    rig.gather()
    rig.pass_s(3)
    rig.org.look_at_clock()
    read_all(rig)


def test_another_org_is_read_anew_as_another_history() -> None:
    """Its replay ids, its clock and its commit numbers say nothing of the old one's; each change says whose it is."""
    again = told_and_stored().restarted(org_id=REFRESHED)
    assert again.stream.start is Preset.LATEST, (
        "the stored place is the other org's, whatever this one makes of it"
    )
    assert "verify --repair" in again.feed.note
    rows_of(again)
    assert [(each.key, each.change.op) for each in again.told] == [(A, Op.ROW), (B, Op.ROW)]
    assert {each.change.history for each in again.told} == {REFRESHED}
    assert again.stored["stream"]["org_id"] == REFRESHED


def test_the_history_is_known_after_a_restart_and_nothing_is_read_again() -> None:
    """Events and rows that are asked for later are of it, too."""
    again = told_and_stored().restarted(org_id=REFRESHED)
    rows_of(again)
    later = again.restarted()
    later.pass_s(3)
    later.hear(payload("UPDATE", A, at=later.org.now_ms, Phone="2"))
    later.gather()
    assert later.feed.note == ""
    assert [(each.key, each.change.op) for each in later.told] == [(A, Op.UPDATE)]
    assert later.told[0].change.history == REFRESHED


def test_an_org_that_is_refreshed_while_we_run_is_noticed_when_it_refuses_the_position() -> None:
    """Which it does: it never gave that replay id."""
    rig = told_and_stored()
    rig.org_id = REFRESHED
    rig.stream.items.append(Ended(PositionLost("corrupted")))
    rig.gather()
    rows_of(rig)
    assert {each.change.history for each in rig.told} == {REFRESHED}
    assert {run.since for run in rig.snapshots.begun[-2:]} == {None}


def test_a_position_from_before_orgs_were_noted_takes_the_org_as_it_is() -> None:
    """An update of Salmon is no refresh."""
    rig = told_and_stored()
    rig.stored["stream"] = {n: v for n, v in rig.stored["stream"].items() if n not in ("org_id", "history")}
    again = rig.restarted()
    again.gather()
    assert again.stream.start is not Preset.LATEST
    assert again.feed.note == ""
