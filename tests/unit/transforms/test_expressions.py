"""Expressions: what they mean, and what an operator reads about one that is wrong."""

from __future__ import annotations

import time
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salmon.errors import ConfigError
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.transforms.expressions import condition, expression
from salmon.transforms.language import CHARS_MAX, parsed

SCHEMA = ObjectSchema(
    "Contact",
    (
        FieldSchema("Name", "string", Kind.STRING),
        FieldSchema("Email", "email", Kind.STRING),
        FieldSchema("IsActive", "boolean", Kind.BOOLEAN),
        FieldSchema("Age", "int", Kind.INT),
        FieldSchema("Score", "double", Kind.DOUBLE, precision=18, scale=2),
        FieldSchema("Amount", "currency", Kind.DECIMAL, precision=18, scale=2),
        FieldSchema("Born", "date", Kind.DATE),
        FieldSchema("Met", "datetime", Kind.DATETIME),
        FieldSchema("Opens", "time", Kind.TIME),
        FieldSchema("Likes", "multipicklist", Kind.STRINGS),
    ),
)
ANN: dict[str, Any] = {
    "Name": "Ann",
    "Email": "ann@acme.example",
    "IsActive": True,
    "Age": 30,
    "Score": 0.1,
    "Amount": Decimal("0.10"),
    "Born": 20_000,  # 2024-10-04
    "Met": 1_000,  # 1970-01-01T00:00:01Z
    "Opens": 9 * 3_600_000,
    "Likes": ("golf", "tea"),
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("Email != null", True),
        ('Email == "ann@acme.example" && Age >= 30', True),
        ("Email == 'x' || IsActive", True),
        ("!IsActive", False),
        ('Name == "A" || Name == "B" && IsActive', False),
        ('(Name == "Ann" || Name == "B") && IsActive', True),
        ("Age + 1 == 31", True),
        ("Age * 2 > 59 && -Age < 0", True),
        ("Age / 4 == 7.5", True),
        ("Score == 0.1", True),
        ("Amount == 0.1", True),
        ("Score == Amount", True),
        ("Amount * 3 == 0.3", True),
        ("Score * 3 == 0.3", False),  # as doubles are
        ('Born == date("2024-10-04") && year(Born) == 2024 && month(Born) == 10 && day(Born) == 4', True),
        ('Met > timestamp("1970-01-01T00:00:00Z") && year(Met) == 1970', True),
        ('Opens >= time("09:00:00")', True),
        ('"tea" in Likes && !("beer" in Likes)', True),
        ('Likes.contains("golf") && size(Likes) == 2', True),
        ('Name in ["Ann", "Bob"] && Age in [1, 30]', True),
        ('Email.endsWith("@acme.example") && Name.startsWith("A") && Name.contains("n")', True),
        ('Name.lower() == "ann" && Name.upper() == "ANN" && Name.size() == 3', True),
        ('(IsActive ? Name : Email) == "Ann"', True),
        ('coalesce(Email, Name) == "ann@acme.example"', True),
        ("coalesce(Score, 0) > 0", True),
        ('Name + "!" == "Ann!"', True),
        ('Name != "a \\"quoted\\" \\n one"', True),
        ("has(Email)", True),
    ],
)
def test_a_condition_means_what_it_says(text: str, holds: bool) -> None:
    """Of a record with a value in each field."""
    assert condition(text, SCHEMA).holds(ANN) is holds


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("Email == null", True),
        ("Email != null", False),
        ("Email == 'x'", False),
        ("Email != 'x'", True),
        ("Age < 5", False),
        ("Age > 5", False),
        ("Age <= 5 || Age >= 5", False),
        ("IsActive", False),
        ("!IsActive", True),
        ("Email.endsWith('x')", False),
        ("!Email.contains('x')", True),
        ("Email in ['x']", False),
        ("Email in ['x', null]", True),
        ("'x' in Likes", False),
        ("size(Email) == 0 && size(Likes) == 0", True),
        ("Age + 1 == null && Age / 0 == null", True),
        ("year(Born) == null", True),
        ("(IsActive ? 1 : 2) == 2", True),
        ("coalesce(Email, Name) == null", True),
        ("has(Email)", False),
        ("Email + 'x' == null", True),
    ],
)
def test_empty_fields_are_no_error(text: str, holds: bool) -> None:
    """Null equals null alone, is neither less nor greater, contains nothing, and makes what is calculated null."""
    assert condition(text, SCHEMA).holds({}) is holds
    assert condition(text, SCHEMA).holds(dict.fromkeys(SCHEMA.by_name)) is holds


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Emial != null", "Contact has no field Emial that is synced (did you mean Email?)"),
        ("Account.Name == 'x'", "reaches into another record"),
        ("Name", "is a text, but must be true or false"),
        ("Age == '5'", "write the number without quotation marks"),
        ("Born > '2026-01-01'", 'write date("...") around the text'),
        ("Met > '2026-01-01'", 'write timestamp("...") around the text'),
        ("Born > Met", "a date has no time of day"),
        ("IsActive == 'true'", "write true or false without quotation marks"),
        ("IsActive > true", "has no order: use == or !="),
        ("Likes == 'x'", 'write "..." in the field'),
        ("Name && IsActive", "has a text beside &&"),
        ("Name - Email == null", "only numbers can be calculated with"),
        ("Age.startsWith('x')", 'in another way than Name.startsWith("A")'),
        ("Name.startsWith()", "calls startsWith() in another way"),
        ("startWith(Name, 'x')", "did you mean startsWith?"),
        ("Name.matches('.*')", "one pattern can take minutes"),
        ("Met > now()", "the same record must always give the same result"),
        ("Born > date('soon')", 'with another text than in date("2026-11-29")'),
        ("Born > date(Name)", 'in another way than date("2026-11-29")'),
        ("Name in Email", "needs a list behind in"),
        ("[Name] == null", "a list stands only behind `in`"),
        ("Name = 'x'", "write == (at character 6)"),
        ("Name == 'x' and IsActive", "write && (at character 13)"),
        ("not IsActive", "write !"),
        ("Name == NULL", "write null"),
        ("Name == 'x", "close it with the same quotation mark"),
        ("(IsActive", "expected )"),
        ("IsActive)", "expected an operator, or the end"),
        ("Age > 5.", "not written like 5 or 0.25"),
        ("Age > 1e5", "not written like 5 or 0.25"),
        ("Name == 'x' ;", "not part of the language"),
        ("  ", "is empty"),
        ("Name == '\\q'", "which is not known"),
        ("-Name == 'x'", "has - in front of a text"),
        ("!" * 50 + "IsActive", "nested more than 40 levels"),
        ("(" * 50 + "IsActive" + ")" * 50, "nested more than 40 levels"),
        (" || ".join(["Age == 1"] * 60), "use in [...]"),
        ("Age in [" + "1, " * CHARS_MAX + "1]", "at most 2000"),
    ],
)
def test_what_is_wrong_is_said_with_the_mend(text: str, sentence: str) -> None:
    """An operator knows which word to change, and to what."""
    with pytest.raises(ConfigError) as refused:
        condition(text, SCHEMA)
    assert sentence in str(refused.value)


def test_without_a_schema_names_and_types_are_left_for_later() -> None:
    """The configuration is read before the org is asked; what is wrong in itself is found nevertheless."""
    assert condition("Anything.endsWith('x') && Something > 5").fields == {"Anything", "Something"}
    with pytest.raises(ConfigError, match="number without quotation marks"):
        condition("Anything > 5 && 5 == '5'")


_VALUES: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.STRING: st.text("aé ß1", max_size=5),
    Kind.BOOLEAN: st.booleans(),
    Kind.INT: st.integers(-(2**31), 2**31 - 1),
    Kind.DOUBLE: st.floats(allow_nan=False, allow_infinity=False),
    Kind.DECIMAL: st.decimals(
        allow_nan=False, allow_infinity=False, places=2, min_value=-(10**15), max_value=10**15
    ),
    Kind.DATE: st.integers(-(10**6), 10**6),
    Kind.DATETIME: st.integers(-(10**14), 10**15),
    Kind.TIME: st.integers(0, 86_399_999),
    Kind.STRINGS: st.lists(st.text("xé", min_size=1, max_size=3), min_size=1, max_size=3).map(tuple),
}
_RECORDS = st.fixed_dictionaries(
    {}, optional={field.name: st.none() | _VALUES[field.kind] for field in SCHEMA.fields}
)
_PARTS = [
    "Age / (Age - Age) == 1",
    "Score * 99999999999 * Score > 1",
    "Amount * Amount * Amount * Amount * Amount * Amount >= 0",
    "year(Born) > 2000",
    "month(Met) in [1, 2]",
    "Likes.contains('x')",
    "coalesce(Score, Age, 0) < 1",
    "Name.trim() == null",
    "IsActive ? Age > 1 : Score > 1",
    "-Amount < Age",
]


@given(record=_RECORDS, part=st.sampled_from(_PARTS))
def test_a_condition_is_true_or_false_of_every_record(record: dict[str, Any], part: str) -> None:
    """It never raises, whatever the values are: one record cannot stop the others. And its negation is the opposite."""
    holds = condition(part, SCHEMA).holds(record)
    assert isinstance(holds, bool)
    assert condition(f"!({part})", SCHEMA).holds(record) is not holds


@given(text=st.text(alphabet="Ae1.,()[]!&|=<>+-*/?: '\"\\in", max_size=40))
def test_any_text_is_an_expression_or_one_sentence(text: str) -> None:
    """A typing mistake never ends in another error."""
    with suppress(ConfigError):
        expression(text)


def test_the_longest_expression_is_evaluated_in_no_time() -> None:
    """No expression of the allowed length can hold up the others: there is nothing in the language that repeats."""
    terms = CHARS_MAX // len("Age == 1 || ") - 1
    longest = " || ".join(f"({' || '.join(['Age == 1'] * 30)})" for _ in range(min(30, terms // 30)))
    holds = condition(longest, SCHEMA).holds
    began = time.process_time()
    assert not holds({"Age": 5, "Name": "x" * 100_000})
    assert time.process_time() - began < 0.05


def test_the_tree_knows_where_each_part_stands() -> None:
    """So that errors can say at which character."""
    tree = parsed("  Age  >  5")
    assert tree.at == 7
