"""A dead letter's fields as YAML: what is read is what was shown, and nothing is sent that does not fit the schema."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from salmon.dlq.editing import draft_of, fields_of, shown_fields, yaml_of
from salmon.dlq.letters import Handled, LetterFilter, StoredLetter, found, one
from salmon.dlq.replaying import EDITED, Mend, Plan, deal
from salmon.errors import ConfigError, DataError, SchemaMismatch
from salmon.model.change import OPERATOR, SALESFORCE, Change, Op
from salmon.model.schema import FieldSchema, Kind
from support.at_hand.dead_letters import PUBLISHED, Desk
from support.at_hand.stories import Story, rules
from support.runtime import OBJECT, SCHEMA

FIELDS = {
    field.name: field
    for field in (
        FieldSchema("Text", "string", Kind.STRING, length=40),
        FieldSchema("On", "boolean", Kind.BOOLEAN),
        FieldSchema("Count", "int", Kind.INT),
        FieldSchema("Size", "double", Kind.DOUBLE),
        FieldSchema("Price", "currency", Kind.DECIMAL, precision=18, scale=2),
        FieldSchema("Day", "date", Kind.DATE),
        FieldSchema("At", "datetime", Kind.DATETIME),
        FieldSchema("Time", "time", Kind.TIME),
        FieldSchema("Picks", "multipicklist", Kind.STRINGS),
    )
}
VALUES: dict[str, Any] = {
    "Text": "null",
    "On": False,
    "Count": 7,
    "Size": 1.5e20,
    "Price": Decimal("12.30"),
    "Day": 20_000,
    "At": 1_700_000_000_123,
    "Time": 3_600_000,
    "Picks": ("a", "b"),
}


@pytest.fixture
def desk() -> Desk:
    return Desk()


def plan_of(desk: Desk, text: str, letter: StoredLetter | None = None) -> Plan:
    """What is sent if a person leaves *text* in the editor."""
    if letter is None:
        ((letter, _),) = found(desk, LetterFilter(), limit=1).letters
    return draft_of(desk, letter, by="me", reason="", now_ms=5).corrected(text)


def refused(desk: Desk, monkeypatch: pytest.MonkeyPatch, **fields: Any) -> Story:
    """A write of *fields* that Salesforce has refused, and merge's state of its record."""
    story = Story(rules(), key="a")
    monkeypatch.setattr(desk, "schema", lambda _: story.rules.schema)
    monkeypatch.setattr(desk, "rules", lambda _: story.rules)
    story.salesforce.row({"Name": "Acme"}, native_id="0015g00000Xyz12AAA")
    story.mongodb.row({"Name": "Acme"})
    story.come_to_rest()
    story.mongodb.edits(fields)
    write = story.writes[SALESFORCE]
    story.salesforce.refuses(write, *fields)
    monkeypatch.setattr(desk, "states", lambda _, keys: {"a": story.state})
    desk.refused("a", write.seq, **fields)
    return story


@pytest.mark.parametrize(
    "text", ["x", "null", "", "007", "2026-01-01", "yes", "a: b\n- c\n", " # no\n", "é\t"]
)
def test_what_is_not_edited_is_read_as_it_was(text: str) -> None:
    """A text that looks like a number, a date or YAML stays that text; every kind of value comes back."""
    values = {**VALUES, "Text": text or None}
    assert fields_of(yaml_of(values, FIELDS), FIELDS) == values


def test_an_empty_value_clears_the_field() -> None:
    """As it does in `salmon conflicts resolve`."""
    assert fields_of("Text:\nDay: null\nCount: ''\n", FIELDS) == {"Text": None, "Day": None, "Count": None}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Text: [secret", "not valid YAML"),
        ("secret", "has no fields"),
        ("Secret: 1", "line 1: not a synced field"),
        ("Text: a\nText: b", "line 2: Text is there twice"),
        ("Count: secret", "Count: the value is not a valid int"),
        ("On: secret", "On: the value is not a valid boolean"),
        ("Day: {secret: 1}", "Day: the value is not a valid date"),
        (f"Text: {'secret' * 10}", "at most 40 characters"),
        ("Price: 12.345", "Price: the value has more digits than currency"),
        ("Text: " + "[" * 5_000 + "]" * 5_000, "not valid YAML"),
        ("Text: " + "{secret: " * 5_000, "not valid YAML"),
    ],
)
def test_what_does_not_fit_is_refused_without_its_value(text: str, says: str) -> None:
    """One sentence that names the line or the field."""
    with pytest.raises((ConfigError, SchemaMismatch), match=says) as refusal:
        fields_of(text, FIELDS)
    assert "secret" not in str(refusal.value)


def test_a_refused_value_is_corrected_by_an_operators_edit_of_what_was_changed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other fields of the write are not touched: they may be others by now. The refusal no longer stands after it."""
    story = refused(desk, monkeypatch, Phone="too long", City="Ulm")
    plan = plan_of(desk, "Phone: '555'\nCity: Ulm\n")
    (output,) = plan.outputs
    assert output.topic == desk.topics.changes(OBJECT)
    change = desk.changes_of(output)
    assert (change.origin, change.op, change.changed) == (OPERATOR, Op.EDIT, frozenset({"Phone"}))
    assert change.fields == {"Phone": "555"}
    story.tell(change)
    assert story.writes[SALESFORCE].fields["Phone"] == "555"


def test_what_no_longer_waits_is_not_edited(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A newer edit has taken its place, and must not be overwritten by an old letter."""
    story = refused(desk, monkeypatch, Phone="too long")
    story.mongodb.edits(Phone="1")
    with pytest.raises(DataError, match="any more"):
        plan_of(desk, "Phone: '555'\n")


@pytest.mark.parametrize(
    ("text", "says"), [("Phone: too long", "Nothing was changed"), ("Shout: x", "only Salesforce itself")]
)
def test_an_edit_that_says_nothing_or_may_not_be_made_is_refused(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, text: str, says: str
) -> None:
    """Nothing is sent."""
    refused(desk, monkeypatch, Phone="too long")
    with pytest.raises(ConfigError, match=says):
        plan_of(desk, text)


def test_a_field_that_may_not_be_empty_is_not_cleared_and_one_that_was_wrong_need_not_be_touched(
    desk: Desk,
) -> None:
    """Only what was changed must be what Salesforce can hold (cases V3 and V4)."""
    codec = desk.sync.changes_codec
    edit = Change(OPERATOR, Op.EDIT, changed=frozenset({"Name"}), fields={"Name": "x"})
    desk.letter("merge", "a", codec.encode(edit), topic=codec.topic)
    letter, _ = one(desk, "merge/0")
    draft = draft_of(desk, letter, by="me", reason="", now_ms=5)
    strict = replace(
        draft,
        schema={**draft.schema, "Name": replace(draft.schema["Name"], nillable=False), "Day": FIELDS["Day"]},
        fields={"Name": "x", "Day": -1_000_000},
    )
    with pytest.raises(SchemaMismatch, match="Name: it cannot be empty"):
        strict.corrected("Name:")
    with pytest.raises(SchemaMismatch, match="Day: Salesforce has only the years"):
        strict.corrected("Day: 0001-01-01")
    assert replace(strict, plan=lambda _, changed: changed).corrected("Name: y") == {"Name": "y"}  # type: ignore[arg-type,return-value,comparison-overlap]


@pytest.mark.parametrize("line_end", ["\n", "\r", "\x85", "\u2028", "\u2029"], ids=ascii)
def test_what_a_side_said_is_a_comment_in_the_draft_and_never_a_field(desk: Desk, line_end: str) -> None:
    """A rule's message of several lines edits nothing; one with a control character keeps nobody from editing (case X1)."""
    codec = desk.sync.changes_codec
    edit = Change(OPERATOR, Op.EDIT, changed=frozenset({"Name"}), fields={"Name": "x"})
    said = f"no\x1b[2J{line_end}City: Ulm{line_end}"
    desk.letter("merge", "a", codec.encode(edit), topic=codec.topic, error=DataError(said))
    letter, _ = one(desk, "merge/0")
    draft = draft_of(desk, letter, by="me", reason="", now_ms=5)
    (output,) = draft.corrected(draft.text().replace("Name: x", "Name: y")).outputs
    assert codec.decode(output.value or b"").fields == {"Name": "y"}


def test_a_change_that_is_published_goes_on_with_the_corrected_field(desk: Desk) -> None:
    """Its sink alone gets it, under the identity that it had."""
    codec = desk.sync.changes_codec
    value = codec.encode(Change("mongodb", Op.CREATE, fields={"Name": "too long"}))
    desk.letter("salesforce-sink", "k", value, topic=codec.topic, subject=PUBLISHED, stage="TASK_PUT")
    letter, _ = one(desk, "salesforce-sink/0")
    assert shown_fields(desk, letter) == {"Name": "too long"}
    plan = plan_of(desk, "Name: short", letter)
    (output,) = plan.outputs
    assert (plan.mend, output.topic) == (Mend.CARRY, desk.topics.replays(PUBLISHED))
    assert codec.decode(output.value or b"").fields == {"Name": "short"}
    assert output.headers == letter.raw_headers


def test_an_operators_own_edit_can_be_corrected(desk: Desk) -> None:
    """It goes back to merge with the other value."""
    codec = desk.sync.changes_codec
    edit = Change(OPERATOR, Op.EDIT, changed=frozenset({"Name"}), fields={"Name": "x"})
    desk.letter("merge", "a", codec.encode(edit), topic=codec.topic)
    (output,) = plan_of(desk, "Name: y").outputs
    assert codec.decode(output.value or b"").fields == {"Name": "y"}


def test_what_a_source_could_not_read_is_corrected_where_it_is(desk: Desk) -> None:
    """The record is still there, and others see it."""
    desk.letter("mongodb-source", "doc", b'{"Name": 1}')
    with pytest.raises(ConfigError, match="Correct it there"):
        plan_of(desk, "Name: x")


def test_an_edited_letter_is_sent_once(desk: Desk) -> None:
    """Its mark is in the transaction of the edit."""
    codec = desk.sync.changes_codec
    edit = Change(OPERATOR, Op.EDIT, changed=frozenset({"Name"}), fields={"Name": "x"})
    desk.letter("merge", "a", codec.encode(edit), topic=codec.topic)
    plan = plan_of(desk, "Name: y")
    for before in (0, 1):
        dealt = deal(desk, LetterFilter(ids=("merge/0",)), lambda _: plan, Handled(EDITED, "me", 5))
        assert dealt.before == before
    assert [change.fields for _, change in desk.sync.changes()] == [{"Name": "y"}]
    assert SCHEMA.by_name.keys() >= {"Name"}
