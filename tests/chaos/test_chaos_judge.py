"""The judge of a run must see what is wrong: losses, divergence and false conflicts are planted, and nothing else is found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.chaos.fields import MONGODB, SALESFORCE
from support.chaos.journal import CREATE, DELETE, UPDATE, Edit, Journal, expected
from support.chaos.judge import RECORD, Verdict, judge

KEY = "001A"
PLACE = ("Account", KEY)
BEGUN_WITH = {PLACE: {"Phone": "old", "Site": "here"}}


@pytest.fixture
def journal() -> Journal:
    return Journal()


def update(
    journal: Journal, side: str, outcome: str = "acknowledged", race: int | None = None, **values: Any
) -> Edit:
    return done(journal, journal.begin(side, "Account", KEY, UPDATE, values, race=race), outcome)


def done(journal: Journal, edit: Edit, outcome: str) -> Edit:
    if outcome == "acknowledged":
        journal.acknowledged(edit)
    elif outcome == "refused":
        journal.refused(edit)
    return edit


def judged(
    journal: Journal,
    salesforce: dict[str, Any] | None,
    mongodb: dict[str, Any] | None = None,
    conflicts: tuple[str, ...] = (),
) -> Verdict:
    """The verdict on one account; *mongodb*: the same as *salesforce* by default."""
    other = salesforce if mongodb is None else mongodb
    return judge(
        {} if salesforce is None else {PLACE: salesforce},
        {} if other is None else {PLACE: other},
        expected(journal.edits(), begun_with=BEGUN_WITH),
        [(*PLACE, name) for name in conflicts],
    )


def test_nothing_is_wrong_where_the_last_edit_stands_on_both_sides(journal: Journal) -> None:
    """What was there before, and what nobody edited, counts for nothing."""
    update(journal, SALESFORCE, Phone="one")
    update(journal, SALESFORCE, Phone="two")
    assert judged(journal, {"Phone": "two", "Site": "here"}).clean


@pytest.mark.parametrize("stands", ["old", "one", None])
def test_a_lost_edit_is_seen(journal: Journal, stands: str | None) -> None:
    """Both sides agree, so that no comparison of the two could find it: an older value, or none, stands."""
    update(journal, SALESFORCE, Phone="one")
    update(journal, SALESFORCE, Phone="two")
    verdict = judged(journal, {"Phone": stands} if stands else {})
    assert verdict.lost == [(*PLACE, "Phone")]
    assert verdict.divergent == []
    assert not verdict.clean


def test_a_divergence_is_seen(journal: Journal) -> None:
    """Also of a field that nobody edited."""
    verdict = judged(journal, {"Phone": "old", "Site": "here"}, {"Phone": "old", "Site": "there"})
    assert verdict.divergent == [(*PLACE, "Site")]
    assert verdict.divergent_records == {PLACE}
    assert not verdict.clean


def test_a_record_that_one_side_lacks_is_a_divergence(journal: Journal) -> None:
    """Whatever its fields are."""
    verdict = judge({PLACE: {}}, {}, expected(journal.edits(), begun_with=BEGUN_WITH), [])
    assert verdict.divergent == [(*PLACE, RECORD)]


def test_a_record_that_is_gone_though_nobody_deleted_it_is_lost(journal: Journal) -> None:
    """Both sides agree on it, too."""
    assert judged(journal, None).lost == [(*PLACE, RECORD)]


def test_a_record_that_is_there_though_it_was_deleted_is_lost(journal: Journal) -> None:
    """What was lost is the deletion."""
    done(journal, journal.begin(MONGODB, "Account", KEY, DELETE), "acknowledged")
    assert judged(journal, {"Phone": "old"}).lost == [(*PLACE, RECORD)]
    assert judged(journal, None).clean


def test_an_answer_that_never_came_allows_either(journal: Journal) -> None:
    """Also after a later edit: the server may carry it out when it runs on."""
    update(journal, SALESFORCE, Phone="one")
    update(journal, SALESFORCE, "unknown", Phone="two")
    assert judged(journal, {"Phone": "one"}).clean
    assert judged(journal, {"Phone": "two"}).clean
    assert judged(journal, {"Phone": "old"}).lost
    update(journal, SALESFORCE, Phone="three")
    assert judged(journal, {"Phone": "two"}).clean
    assert judged(journal, {"Phone": "one"}).lost


def test_an_edit_that_was_refused_may_not_stand(journal: Journal) -> None:
    """The server said that it wrote nothing."""
    update(journal, SALESFORCE, Phone="one")
    update(journal, SALESFORCE, "refused", Phone="two")
    assert judged(journal, {"Phone": "one"}).clean
    assert judged(journal, {"Phone": "two"}).lost


def test_of_two_edits_at_once_exactly_one_stands_and_their_conflict_is_true(journal: Journal) -> None:
    """Whichever it is; but never what stood before, or two different ones."""
    update(journal, SALESFORCE, race=1, Site="Rome")
    update(journal, MONGODB, race=1, Site="Oslo")
    for winner in ("Rome", "Oslo"):
        assert judged(journal, {"Site": winner}, conflicts=("Site",)).clean
    assert judged(journal, {"Site": "here"}).lost == [(*PLACE, "Site")]
    assert judged(journal, {"Site": "Rome"}, {"Site": "Oslo"}).divergent == [(*PLACE, "Site")]


def test_the_last_race_counts(journal: Journal) -> None:
    """What stood after the first one was seen by both who raced again."""
    update(journal, SALESFORCE, race=1, Site="Rome")
    update(journal, MONGODB, race=1, Site="Oslo")
    update(journal, SALESFORCE, race=2, Site="Bern")
    update(journal, MONGODB, race=2, Site="Kiel")
    assert judged(journal, {"Site": "Kiel"}).clean
    assert judged(journal, {"Site": "Rome"}).lost


@pytest.mark.parametrize("name", ["Phone", "$exists"])
def test_a_false_conflict_is_seen(journal: Journal, name: str) -> None:
    """Nobody edited the field on both sides at once."""
    update(journal, SALESFORCE, Phone="one")
    verdict = judged(journal, {"Phone": "one"}, conflicts=(name,))
    assert verdict.false_conflicts == [(*PLACE, name)]
    assert not verdict.clean


def test_a_record_that_nobody_made_is_invented(journal: Journal) -> None:
    """Unless a creation's answer never came: then one more may be there."""
    stranger = {PLACE: {"Phone": "old"}, ("Account", "001B"): {}}
    verdict = judge(stranger, stranger, expected(journal.edits(), begun_with=BEGUN_WITH), [])
    assert verdict.invented == [("Account", "001B")]
    journal.begin(SALESFORCE, "Account", None, CREATE, {"Name": "new"})
    assert judge(stranger, stranger, expected(journal.edits(), begun_with=BEGUN_WITH), []).clean


def test_what_was_created_must_be_there_with_its_fields(journal: Journal) -> None:
    """The key is the one that the org answered with."""
    edit = journal.begin(SALESFORCE, "Contact", None, CREATE, {"LastName": "Moe"})
    journal.acknowledged(edit, "003A")
    place = ("Contact", "003A")
    may_stand = expected(journal.edits(), begun_with={})
    assert judge({place: {"LastName": "Moe"}}, {place: {"LastName": "Moe"}}, may_stand, []).clean
    assert judge({}, {}, may_stand, []).lost == [(*place, RECORD)]
    assert judge({place: {}}, {place: {}}, may_stand, []).lost == [(*place, "LastName")]


@pytest.mark.parametrize(("default", "others"), [(False, [None]), ("North", [None, False])])
def test_what_a_creation_left_out_may_stand_as_it_was_filled_in(
    journal: Journal, default: Any, others: list[Any]
) -> None:
    """Nobody knows whether the edit was carried out: then it is the default, and after an edit that was it may not be."""
    done(journal, journal.begin(MONGODB, "Account", KEY, CREATE, {"Name": "new"}), "acknowledged")
    update(journal, MONGODB, "unknown", Choice="set")

    def stands(value: Any) -> Verdict:
        filled_in = {"Account": {"Choice": default}, "Contact": {"Name": "other"}}
        side = {PLACE: {"Name": "new", "Choice": value}}
        return judge(side, side, expected(journal.edits(), begun_with={}, filled_in=filled_in), [])

    assert stands(default).clean
    assert stands("set").clean
    assert [stands(other).lost for other in others] == [[(*PLACE, "Choice")]] * len(others)
    update(journal, MONGODB, Choice="later")
    assert stands(default).lost == [(*PLACE, "Choice")]


def test_what_was_there_at_the_beginning_was_not_filled_in(journal: Journal) -> None:
    """An empty field of such a record is empty, whatever a new one would get."""
    update(journal, SALESFORCE, "unknown", Rating="Hot")
    may_stand = expected(journal.edits(), begun_with=BEGUN_WITH, filled_in={"Account": {"Rating": "Cold"}})
    assert may_stand.values[PLACE]["Rating"] == [None, "Hot"]


def test_the_journal_is_on_disk_before_the_edit_is_sent(tmp_path: Path) -> None:
    """So that a run that is killed tells what was under way."""
    file = tmp_path / "journal.jsonl"
    journal = Journal(file, clock=lambda: 5.0)
    edit = journal.begin(SALESFORCE, "Account", KEY, UPDATE, {"Phone": "one"})
    journal.acknowledged(edit)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["outcome"] for line in lines] == ["unknown", "acknowledged"]
    assert lines[0]["values"] == {"Phone": "one"}
