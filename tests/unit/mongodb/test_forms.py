"""Forms: how a document of one form becomes one of another, and what an event says before, during and after."""

from __future__ import annotations

from typing import Any

import pytest
from bson.timestamp import Timestamp

from salmon.errors import ConfigError
from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.forms import Move, Record, Steps, as_moved, emptied_by, require_apart, steps_of
from salmon.mongodb.paths import mark_of
from salmon.mongodb.reading.forms import Forms, InForm
from support.mongo import ACCOUNT

PATHS = {"Phone": "contact.phone", "Name": "title"}
FORMER = {"Phone": "Phone", "Name": "Name"}
MARK = mark_of(PATHS)
SHAPE = DocumentShape(ACCOUNT, frozenset({"Account"}), PATHS, former=FORMER)
BEFORE, DURING, AFTER = 10, 20, 30


def _time(ordinal: int) -> int:
    return 1_700_000_000 << 32 | ordinal


OVER = Forms(SHAPE, (Move({}, FORMER, _time(15), _time(25)),))
UNDER_WAY = Forms(
    DocumentShape(ACCOUNT, frozenset({"Account"}), PATHS, former=FORMER, moving=True),
    (Move({}, FORMER, _time(15)),),
)


def _event(at: int, kind: str, **more: Any) -> dict[str, Any]:
    return {
        "_id": {"_data": "8265F0000000000001"},
        "operationType": kind,
        "clusterTime": Timestamp(1_700_000_000, at),
        "documentKey": {"_id": "a"},
        **more,
    }


def _updated(at: int, set_: dict[str, Any], *removed: str, forms: Forms = OVER) -> InForm:
    description = {"updatedFields": set_, "removedFields": list(removed), "truncatedArrays": []}
    return forms.reported(_event(at, "update", updateDescription=description))


def _said(told: InForm) -> dict[str, Any] | None:
    change = told.reported.change
    return (
        None
        if change is None
        else {name: change.fields.get(name) for name in change.changed or change.fields}
    )


@pytest.mark.parametrize(
    ("document", "moved", "found"),
    [
        ({"Phone": "1", "x": 1}, {"contact": {"phone": "1"}, "x": 1}, False),
        ({"Phone": "1", "contact": {"fax": "2"}}, {"contact": {"fax": "2", "phone": "1"}}, False),
        ({"Phone": "1", "contact": None}, {"contact": {"phone": "1"}}, False),
        ({"Phone": "1", "contact": {"phone": ""}}, {"contact": {"phone": "1"}}, False),
        ({"Phone": "1", "contact": {"phone": "1"}}, {"contact": {"phone": "1"}}, False),
        ({"Phone": "1", "contact": {"phone": "2"}}, {"contact": {"phone": "2"}}, True),
        ({"contact": {"phone": "2"}}, {"contact": {"phone": "2"}}, True),
        ({"Phone": "1", "contact": "text"}, {"Phone": "1", "contact": "text"}, False),
        ({"Phone": None}, {"Phone": None}, False),
        ({}, {}, False),
    ],
)
def test_a_value_moves_to_where_nothing_is_and_an_edit_stays(
    document: dict[str, Any], moved: dict[str, Any], found: bool
) -> None:
    """What was found at the new path, and differs, is an edit; what is in the way is left alone, and so is the value."""
    steps = steps_of(document, FORMER, SHAPE.path)
    assert as_moved(document, steps) == moved
    assert steps.found is found
    assert steps_of(moved, FORMER, SHAPE.path).renamed == {}


def test_a_document_of_ours_without_the_mark_is_read_as_it_will_be() -> None:
    """And one of an application's only while documents are moved: later, its old path is its own."""
    ours = {"_id": "a", "Phone": "1", "_salmon": {"seq": 5}}
    theirs = {"_id": "a", "Phone": "1"}
    marked = {"_id": "a", "Phone": "1", "_salmon": {"seq": 5, "paths": MARK}}
    phones = [
        [forms.shape.reading(document).fields.get("Phone") for document in (ours, theirs, marked)]
        for forms in (UNDER_WAY, OVER)
    ]
    assert phones == [["1", "1", None], ["1", None, None]]


def test_an_event_from_before_the_move_is_of_the_form_before() -> None:
    """Whatever the documents look like now."""
    assert _said(_updated(BEFORE, {"Phone": "1", "title": "x"})) == {"Phone": "1"}
    insert = OVER.reported(_event(BEFORE, "insert", fullDocument={"_id": "a", "Phone": "1", "title": "x"}))
    assert insert.reported.change is not None
    assert insert.reported.change.fields["Phone"] == "1"
    assert "Name" not in insert.reported.change.fields


def test_an_event_from_after_the_move_is_of_the_new_form() -> None:
    """An application that still writes an old path is warned of."""
    told = _updated(AFTER, {"contact.phone": "1", "Name": "x"})
    assert _said(told) == {"Phone": "1"}
    assert (told.strays, told.astray) == (frozenset({"Name"}), False)
    insert = OVER.reported(_event(AFTER, "insert", fullDocument={"_id": "a", "Name": "x"}))
    assert (insert.strays, insert.astray) == (frozenset({"Name"}), False)


@pytest.mark.parametrize("forms", [UNDER_WAY, OVER])
def test_an_application_that_writes_during_the_move_is_read_where_it_is_unclear(forms: Forms) -> None:
    """A value at the new path counts in any case; one at the old path does so only if nothing is at the new one."""
    new = _updated(DURING, {"contact.phone": "2"}, forms=forms)
    assert (_said(new), new.reported.incomplete, new.astray) == ({"Phone": "2"}, False, False)
    old = _updated(DURING, {"Phone": "2", "Active": True}, forms=forms)
    assert (_said(old), old.reported.incomplete, old.astray) == ({"Active": True}, True, True)
    cleared = _updated(DURING, {}, "contact.phone", forms=forms)
    assert (_said(cleared), cleared.reported.incomplete, cleared.astray) == (None, True, False)
    insert = forms.reported(_event(DURING, "insert", fullDocument={"_id": "a", "Phone": "3"}))
    assert insert.reported.change is not None
    assert (insert.reported.change.fields["Phone"], insert.astray) == ("3", True)


def test_our_own_write_during_the_move_is_of_the_form_before() -> None:
    """Its guard lets it write only to a document that is not moved yet, also where it sets the first marker."""
    later = _updated(DURING, {"Phone": "2", "_salmon.seq": 7}, "Name")
    first = _updated(DURING, {"Phone": "2", "_salmon": {"seq": 7}}, "Name")
    for told in (later, first):
        assert told.reported.change is not None
        assert told.reported.change.ack == 7
        assert told.reported.change.changed is not None
        assert {"Phone", "Name"} <= told.reported.change.changed
        assert (told.reported.incomplete, told.astray) == (False, False)


@pytest.mark.parametrize("at", [DURING, AFTER])
def test_that_we_moved_a_document_says_nothing(at: int) -> None:
    """Else the value would be taken for an edit, and go over one that is on its way here; only what was found asks for a row."""
    moved = _updated(at, {"contact": {"phone": "1"}, "_salmon.paths": MARK}, "Phone")
    assert (moved.reported.change, moved.reported.incomplete) == (None, False)
    theirs = _updated(at, {"contact.phone": "1", "_salmon": {"paths": MARK}}, "Phone")
    assert (theirs.reported.change, theirs.reported.incomplete) == (None, False)
    found = _updated(at, {"_salmon.paths": MARK, "_salmon.found": 5}, "Phone")
    assert (found.reported.change, found.reported.incomplete) == (None, True)


@pytest.mark.parametrize(
    "set_",
    [
        {"Phone": "2", "_salmon": {"seq": 7}},
        {"Phone": "2", "_salmon.seq": 7},
        {"_salmon.paths": "other", "contact.phone": "1"},
    ],
)
def test_what_is_written_in_another_form_after_the_move_is_moved_and_read(set_: dict[str, Any]) -> None:
    """A sink or a mover with another configuration: no ack is taken from it, so that nothing looks refused in silence."""
    told = _updated(AFTER, set_)
    assert (told.reported.change, told.reported.incomplete, told.astray) == (None, True, True)


def test_a_document_of_ours_that_is_inserted_in_the_form_before_is_moved() -> None:
    """By a sink with another configuration, or from a backup: its event says all that is in it."""
    document = {"_id": "a", "Phone": "3", "_salmon": {"seq": 7}}
    told = OVER.reported(_event(AFTER, "insert", fullDocument=document))
    assert told.reported.change is not None
    assert (told.reported.change.ack, told.reported.change.fields["Phone"], told.astray) == (7, "3", True)


def test_two_moves_that_the_stream_has_still_to_pass_are_kept_apart() -> None:
    """Each event is of the form of its time; what is unclear of a move that is not the last is read."""
    first, second = (
        Move({}, FORMER, _time(15), _time(25)),
        Move(PATHS, {"Name": "title"}, _time(35), _time(45)),
    )
    forms = Forms(
        DocumentShape(ACCOUNT, frozenset(), {"Name": "label"}, former={"Name": "title"}), (first, second)
    )
    assert _said(_updated(10, {"Name": "a"}, forms=forms)) == {"Name": "a"}
    assert _said(_updated(30, {"title": "b"}, forms=forms)) == {"Name": "b"}
    assert _said(_updated(50, {"label": "c"}, forms=forms)) == {"Name": "c"}
    between = _updated(20, {"title": "d"}, forms=forms)
    assert (between.reported.change, between.reported.incomplete) == (None, True)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"A": "x", "B": "y"}, {"A": "y", "B": "z"}),
        ({"A": "x", "B": "y"}, {"A": "y", "B": "x"}),
        ({"A": "x"}, {"A": "x.a"}),
        ({"A": "x.a", "B": "y"}, {"A": "y.a", "B": "z"}),
    ],
)
def test_a_field_cannot_move_to_where_another_was_in_one_step(
    before: dict[str, str], after: dict[str, str]
) -> None:
    """No document would show whether it was moved; the error says how it can be done."""
    with pytest.raises(ConfigError, match="in two steps"):
        require_apart("Account", before, after)


def test_fields_that_stay_are_in_nobodys_way() -> None:
    """Nor are two fields of one sub-document."""
    require_apart("Account", {"A": "x.a", "B": "x.b"}, {"A": "x.a", "B": "y.b", "C": "x.c"})


def test_a_record_is_stored_as_it_is() -> None:
    """With its moves, the newest eight of them."""
    moves = tuple(Move({}, {"Phone": "Phone"}, at, at + 1, whole=bool(at % 2)) for at in range(10))
    assert Record.of(Record(PATHS, moves).document()) == Record(PATHS, moves[2:])
    assert Steps(dropped={"a": "b"})
    assert not Steps()


@pytest.mark.parametrize(
    ("document", "steps", "emptied"),
    [
        ({"a": {"b": 1}}, Steps({"a.b": "B"}), {"a"}),
        ({"a": {"b": 1, "c": 2}}, Steps({"a.b": "B"}), set()),
        ({"a": {"x": {"b": 1}, "y": {"c": 2}}}, Steps({"a.x.b": "B", "a.y.c": "C"}), {"a"}),
        ({"a": {"x": {"b": 1}, "y": {"c": 2}}}, Steps({"a.x.b": "B"}), {"a.x"}),
        ({"a": {"b": 1}}, Steps({"a.b": "a.d"}), set()),
        ({"a": {"b": 1}, "B": 2}, Steps({}, {"B": "a.b"}), {"a"}),
        ({"b": 1}, Steps({"b": "B"}), set()),
    ],
)
def test_what_a_move_leaves_empty_is_known(document: dict[str, Any], steps: Steps, emptied: set[str]) -> None:
    """The outermost sub-document, if it and all in it hold nothing any more."""
    assert emptied_by(document, steps) == emptied
