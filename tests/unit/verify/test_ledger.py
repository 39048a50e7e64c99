"""What was read, on disk: cut anywhere, it goes on where it was, and says the same in the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from salmon.errors import SetupError
from salmon.model.change import MONGODB, SALESFORCE
from salmon.verify.comparing import Seen, Terms, terms_of
from salmon.verify.digests import BUCKETS, Digest, Form, Sums, bucket_of
from salmon.verify.ledger import Ledger, discard
from support.at_hand.verify_room import ID, RULES, Cut, Room

TERMS = terms_of(RULES)


def form(terms: Terms) -> Form:
    return Form(terms, with_ids=True)


def test_a_reading_that_was_cut_goes_on_and_says_what_a_whole_one_says(tmp_path: Path) -> None:
    """Killed after three pages of ten: the second run reads the other seven only."""
    room = Room(*(f"{number:02}" for number in range(50)))
    room.there[MONGODB]["07"]["Phone"] = "555"
    del room.there[SALESFORCE]["31"]
    room.page = 10
    whole = room.verdict()
    assert room.pages == 10
    room.pages, room.now, room.cut_after = 0, 0.0, 3
    with pytest.raises(Cut):
        room.resumed(tmp_path)
    room.pages, room.cut_after = 0, None
    assert room.resumed(tmp_path).as_dict() == whole.as_dict()
    assert room.pages == 7


def test_a_reading_that_was_cut_in_the_end_is_not_repeated(tmp_path: Path) -> None:
    """All pages were read, and only the looking again is done once more."""
    room = Room("a", "b")
    room.there[MONGODB]["a"]["Phone"] = "555"
    first = room.resumed(tmp_path)
    room.pages = 0
    again = room.resumed(tmp_path)
    assert again.as_dict() == first.as_dict()
    assert room.pages == 0


def test_what_was_edited_since_the_reading_was_cut_is_no_difference(tmp_path: Path) -> None:
    """The pages that were read before are behind `records`: what they tell is looked at again."""
    room = Room(*(f"{number:02}" for number in range(20)))
    room.page, room.cut_after = 10, 1
    with pytest.raises(Cut):
        room.resumed(tmp_path)
    room.cut_after = None
    room.agreed["03"] = room.there[SALESFORCE]["03"] = room.there[MONGODB]["03"] = {"Name": "new"}
    verdict = room.resumed(tmp_path)
    assert verdict.all_equal
    assert verdict.equal == 20


def test_a_ledger_of_something_else_or_of_yesterday_is_begun_anew(tmp_path: Path) -> None:
    """Other fields are compared since, or what it holds says little of today."""
    now = [1_000.0]

    def ledger(fields: str) -> Ledger:
        return Ledger(tmp_path, {"fields": fields}, now_s=lambda: now[0])

    def read(fields: str) -> bool:
        one = ledger(fields)
        known = bool(one.place(SALESFORCE))
        one.take_side(SALESFORCE, (), {"done": True})
        one.close()
        return known

    assert [read("Name"), read("Name")] == [False, True]
    assert [read("Name, Phone"), read("Name, Phone")] == [False, True]
    now[0] += 25 * 3600
    assert read("Name, Phone") is False


def test_two_at_once_do_not_share_a_folder(tmp_path: Path) -> None:
    """The second is told so, and what to do."""
    one = Ledger(tmp_path, {})
    with pytest.raises(SetupError, match="another `salmon verify` is using this folder"):
        Ledger(tmp_path, {})
    one.close()
    Ledger(tmp_path, {}).close()


def test_what_else_lies_in_the_folder_is_left_alone(tmp_path: Path) -> None:
    """Somebody names a folder that he uses for other things; an empty one goes."""
    for name in ("used", "empty"):
        Ledger(tmp_path / name, {}).close()
    (tmp_path / "used" / "notes.txt").write_text("mine")
    discard(tmp_path / "used")
    discard(tmp_path / "empty")
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == [
        "used",
        "used/notes.txt",
    ]


def test_of_several_versions_in_an_uncompacted_topic_only_the_newest_counts(tmp_path: Path) -> None:
    """Ten versions of one record and a deletion of another: the sums are those of one record."""
    forms = {side: form(TERMS[side]) for side in TERMS}
    ledger = Ledger(tmp_path, {})
    for number in range(10):
        ledger.take_agreed(
            {"a": {side: forms[side].agreed("a", {"Name": str(number)}) for side in TERMS}}, {"offsets": {}}
        )
    ledger.take_agreed(
        {"b": {side: forms[side].agreed("b", {"Name": "b"}) for side in TERMS}}, {"offsets": {}}
    )
    ledger.take_agreed({"b": None, "never": None}, {"offsets": {}})
    expected = Sums()
    expected.add(bucket_of("a"), forms[SALESFORCE].agreed("a", {"Name": "9"}))
    assert ledger.agreed[SALESFORCE] == expected
    ledger.close()


def test_two_records_of_the_org_with_one_key_are_both_held_against_what_was_agreed(tmp_path: Path) -> None:
    """One of them is as agreed; the other must not hide behind it, in whichever order they come."""
    forms = {side: form(TERMS[side]) for side in TERMS}
    twins = [Seen("a", {"Name": "a"}, native_id=ID), Seen("a", {"Name": "b"}, native_id="001000000000002AAA")]
    for number, order in enumerate((twins, twins[::-1])):
        ledger = Ledger(tmp_path / str(number), {})
        ledger.take_agreed(
            {"a": {side: forms[side].agreed("a", {"Name": "a"}) for side in TERMS}}, {"offsets": {}}
        )
        ledger.take_side(MONGODB, [(seen, forms[MONGODB].document(seen)) for seen in twins[:1]], {})
        for seen in order:
            ledger.take_side(SALESFORCE, [(seen, forms[SALESFORCE].org(seen))], {})
        assert [each.key for each in ledger.differing(TERMS, with_ids=False, later=print)] == ["a"]
        ledger.close()


def test_sums_do_not_depend_on_the_order_and_a_record_can_be_taken_out_again() -> None:
    """However pages are cut, equal places have equal sums."""
    digests = [Digest(bytes([number] * 16), bytes([number] * 8)) for number in range(1, 5)]
    one, other = Sums(), Sums()
    for digest in digests:
        one.add(7, digest)
    for digest in (*digests[::-1], digests[0]):
        other.add(7, digest)
    assert not one.same(other, 7)
    other.add(7, digests[0], times=-1)
    assert one.same(other, 7)
    assert one.total == 4


def test_a_key_is_in_the_same_bucket_on_every_machine() -> None:
    """Else a reading could not go on after a restart."""
    assert [bucket_of(key) for key in (ID, "ä")] == [1515, 91]
    assert 0 <= bucket_of("") < BUCKETS
