"""One object: differences are looked at again until nothing moves, so that a busy sync gives no false alarm."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from salmon.model.change import MONGODB, SALESFORCE, SALESFORCE_ID, SIDES, WriteOp
from salmon.model.rules import Rules
from salmon.model.state import Park, Parked, Sent, new_state
from salmon.verify import checking
from salmon.verify.comparing import Why
from support.at_hand.verify_room import ID, RULES, SCHEMA, Cut, Room


def test_equal_sides_are_read_once() -> None:
    """Nothing differs, so nothing is read again."""
    room = Room("a", "b")
    verdict = room.verdict()
    assert verdict.all_equal
    assert verdict.counts == {"salesforce": 2, "mongodb": 2, "records": 2}
    assert (verdict.equal, room.reads) == (2, 0)


def of_three() -> Room:
    """A room with a further side."""
    return Room("a", "b", rules=replace(RULES, sides=(*SIDES, "files")))


def test_a_further_side_is_compared_like_the_others() -> None:
    """What it lacks, has too much, or has otherwise is named; and it is asked to read that again."""
    assert of_three().verdict().all_equal
    room = of_three()
    room.there["files"]["a"]["Phone"] = "555"
    del room.there["files"]["b"]
    room.there["files"]["z"] = {"Name": "z"}
    verdict = room.verdict(repair=True)
    assert verdict.counts == {"salesforce": 2, "mongodb": 2, "files": 2, "records": 2}
    assert verdict.different == {"a": {"files": ("Phone",)}}
    assert verdict.missing_in["files"] == ["b"]
    assert verdict.missing_in["records"] == ["z"]
    assert room.asked["files"] == ["a", "b", "z"]


def test_a_reading_of_three_sides_goes_on_where_it_was_cut(tmp_path: Path) -> None:
    """The ledger keeps the digests of each side."""
    room = of_three()
    room.page, room.cut_after = 1, 5
    with pytest.raises(Cut):
        room.resumed(tmp_path)
    room.cut_after = None
    assert room.resumed(tmp_path).all_equal
    assert room.pages == 6


def test_an_edit_on_its_way_is_no_difference_once_it_has_arrived() -> None:
    """The document is behind when it is read, and has caught up at the second look after that."""
    room = Room("a")
    room.there[MONGODB]["a"]["Name"] = "old"
    room.then = [lambda: None, lambda: room.there[MONGODB].update(a={"Name": "a"})]
    verdict = room.verdict()
    assert verdict.all_equal
    assert verdict.equal == 1


def test_a_record_that_is_created_or_deleted_meanwhile_ends_up_in_no_list() -> None:
    """It is read on one side before, and on the other after; in the end all three agree, and the counts with them."""
    room = Room("a", "b")
    del room.there[MONGODB]["b"]
    room.there[SALESFORCE]["c"] = {"Name": "c"}

    def arrive() -> None:
        room.there[SALESFORCE].pop("b")
        room.agreed.pop("b")
        room.agreed["c"] = room.there[MONGODB]["c"] = {"Name": "c"}

    room.then = [arrive]
    room.ids["c"] = ID
    verdict = room.verdict()
    assert verdict.all_equal
    assert verdict.counts == {"salesforce": 2, "mongodb": 2, "records": 2}


def test_what_stays_different_is_believed_after_a_quiet_while() -> None:
    """Nobody brings it in step: the field is named, and so is what is missing and what is too much."""
    room = Room("a", "b")
    room.there[MONGODB]["a"]["Phone"] = "555"
    del room.there[SALESFORCE]["b"]
    room.there[MONGODB]["z"] = {"Name": "z"}
    verdict = room.verdict()
    assert verdict.different == {"a": {MONGODB: ("Phone",)}}
    assert verdict.missing_in == {"salesforce": ["b"], "mongodb": [], "records": ["z"]}
    assert not verdict.all_equal
    assert 5 <= room.now < 10


def test_while_anything_moves_it_waits_longer_but_not_for_ever() -> None:
    """Another record's changes may stand before this one's in the log."""
    room = Room("a")
    room.there[MONGODB]["a"]["Phone"] = "555"
    room.moves = 1_000
    room.verdict()
    assert 30 <= room.now < 33


def test_a_record_that_is_edited_all_the_while_is_neither_equal_nor_different() -> None:
    """Each look shows another value; of the record beside it, which stands still, more can be said."""
    room = Room("hot", "cold")

    def edit() -> None:
        room.there[MONGODB]["hot"]["Phone"] = str(room.now)

    edit()
    room.then = [edit] * 1_000
    verdict = room.verdict()
    assert (verdict.moving, verdict.different, verdict.equal) == (["hot"], {}, 1)
    assert not verdict.differs
    assert not verdict.all_equal

    room = Room("hot", "cold")
    room.there[MONGODB]["cold"]["Phone"] = "555"
    room.then = [edit] * 1_000
    edit()
    verdict = room.verdict()
    assert (verdict.moving, list(verdict.different)) == (["hot"], ["cold"])
    assert verdict.differs


def test_what_is_parked_is_reported_apart_and_not_waited_for() -> None:
    """Salesforce refused the phone: that is known, and looking again would not change it."""
    room = Room("a")
    room.agreed["a"]["Phone"] = room.there[MONGODB]["a"]["Phone"] = "555"
    state = room.states["a"] = new_state(RULES.names)
    state.sides[SALESFORCE].parked["Phone"] = Parked(Park.REFUSED, 3, code="STRING_TOO_LONG")
    verdict = room.verdict()
    assert verdict.all_equal
    assert [(w.key, w.side, w.why, w.fields) for w in verdict.parked] == [
        ("a", SALESFORCE, "REFUSED", ("Phone",))
    ]
    assert (verdict.equal, room.now) == (0, 0.0)


def test_a_difference_with_a_write_on_its_way_is_told_as_such() -> None:
    """The sink is down: whoever reads the report should look there first."""
    room = Room("a")
    room.there[MONGODB]["a"]["Phone"] = "555"
    state = room.states["a"] = new_state(RULES.names)
    state.sides[MONGODB].sent[4] = Sent(WriteOp.UPDATE, {"Phone": None})
    assert room.verdict().on_their_way == 1


def test_a_document_without_the_id_of_its_salesforce_record_differs() -> None:
    """A record born in MongoDB has another key than its Id, and must get that back."""
    room = Room("mine")
    room.there[MONGODB]["mine"][SALESFORCE_ID] = None
    assert room.verdict().different == {"mine": {MONGODB: ("_salmon.salesforce_id",)}}


# Repairing.


def test_a_repair_asks_both_sources_for_what_differs_and_for_nothing_else() -> None:
    """They tell what they have, the fold decides, and both sides agree afterwards."""
    room = Room("a", "b")
    room.there[MONGODB]["a"]["Phone"] = "555"

    def told(_keys: object) -> frozenset[str]:
        room.agreed["a"]["Phone"] = room.there[SALESFORCE]["a"]["Phone"] = "555"
        return frozenset()

    room.on_asked = told
    verdict = room.verdict(repair=True)
    assert room.asked == {SALESFORCE: ["a"], MONGODB: ["a"]}
    assert verdict.all_equal
    assert (verdict.asked, verdict.repaired, verdict.remains, verdict.equal) == (1, 1, {}, 2)


def test_what_is_parked_is_not_asked_for_since_reading_would_not_change_it() -> None:
    """Salesforce refused the phone; it is told as parked, as ever."""
    room = Room("a")
    room.agreed["a"]["Phone"] = room.there[MONGODB]["a"]["Phone"] = "555"
    state = room.states["a"] = new_state(RULES.names)
    state.sides[SALESFORCE].parked["Phone"] = Parked(Park.REFUSED, 3, code="STRING_TOO_LONG")
    verdict = room.verdict(repair=True)
    assert room.asked == {}
    assert verdict.all_equal


def test_a_repair_says_of_each_record_why_it_still_differs() -> None:
    """One has a write on its way; the other was read, and merge found nothing to do."""
    room = Room("a", "b")
    for key in ("a", "b"):
        room.there[MONGODB][key]["Phone"] = "555"
    state = room.states["a"] = new_state(RULES.names)
    state.sides[MONGODB].sent[4] = Sent(WriteOp.UPDATE, {"Phone": None})
    verdict = room.verdict(repair=True)
    assert verdict.remains == {"a": Why.ON_ITS_WAY, "b": Why.LEFT}
    assert (verdict.asked, verdict.repaired, verdict.differs) == (2, 0, True)


def test_a_source_that_does_not_answer_is_named() -> None:
    """It does not run: the differences stand, and nobody has looked at them."""
    room = Room("a")
    room.there[MONGODB]["a"]["Phone"] = "555"
    room.on_asked = lambda _keys: frozenset({MONGODB})
    verdict = room.verdict(repair=True)
    assert verdict.remains == {"a": Why.NOT_ANSWERED}
    assert verdict.unanswered == {MONGODB}
    assert verdict.differs


def test_the_target_of_a_one_way_object_cannot_be_repaired_by_reading_it() -> None:
    """Nobody listens to it; its source is the only one that is ever asked."""
    room = Room("a", "b", rules=Rules(SCHEMA, one_way_to=MONGODB))
    room.there[MONGODB]["a"]["Phone"] = "555"
    room.there[SALESFORCE]["b"]["Phone"] = "556"
    verdict = room.verdict(repair=True)
    assert room.asked == {SALESFORCE: ["b"]}
    assert verdict.remains["a"] is Why.ONE_WAY


def test_what_differs_only_in_the_target_of_a_one_way_object_is_counted_without_a_repair_too() -> None:
    """So that the reason can be given; a repair names each with its reason."""
    room = Room("a", "b", rules=Rules(SCHEMA, one_way_to=MONGODB))
    room.there[MONGODB]["a"]["Phone"] = "555"
    room.there[SALESFORCE]["b"]["Phone"] = "556"
    assert room.verdict().never_read == 1
    assert room.verdict(repair=True).never_read == 0


# Many, and few.


def test_of_very_many_differences_the_first_are_named_and_the_rest_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A whole collection is wrong: memory does not grow with it, and nothing is called equal that was not."""
    monkeypatch.setattr(checking, "ROUND_MAX", 10)
    monkeypatch.setattr(checking, "NAMED_MAX", 20)
    room = Room(*(f"{number:03}" for number in range(100)))
    for row in room.there[MONGODB].values():
        row["Phone"] = "555"
    verdict = room.verdict()
    assert (len(verdict.different), verdict.not_looked_at, verdict.equal) == (20, 80, 0)
    assert not verdict.all_equal


def test_false_alarms_are_looked_at_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them arrive in time: each round finds so."""
    monkeypatch.setattr(checking, "ROUND_MAX", 10)
    room = Room(*(f"{number:03}" for number in range(100)))
    with TemporaryDirectory() as folder, room.ledger(Path(folder)) as ledger:
        for row in room.there[MONGODB].values():
            row["Phone"] = "555"
        room.read(ledger)
        for row in room.there[MONGODB].values():
            del row["Phone"]
        verdict = room.check().whole(ledger, 0, lambda *_: None)
    assert verdict.all_equal
    assert verdict.equal == 100


def test_some_records_are_compared_without_reading_the_others() -> None:
    """No page is read; a key that nobody has is not a difference, and is not among those that exist."""
    room = Room("a", "b", "c")
    for key in ("a", "c"):
        room.there[MONGODB][key]["Phone"] = "555"
    verdict = room.check().some(["a", "b", "nowhere"], lambda *_: None)
    assert (list(verdict.different), room.pages) == (["a"], 0)
    assert verdict.counts == {"salesforce": 2, "mongodb": 2, "records": 2}
    assert (verdict.equal, verdict.exist) == (1, frozenset({"a", "b"}))
