"""The filters of a request: what is understood, and what is refused before anything is asked."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, strategies

from salmon.api.problems import Problem
from salmon.api.records.filters import CONDITIONS_MAX, Condition, Group, filters_of


def only(name: str, text: str) -> Condition | Group:
    (found,) = filters_of([(name, text)]).parts
    return found


def test_a_parameter_is_a_condition_on_its_field() -> None:
    """FIELD=OPERATOR.VALUE, where the value may have dots."""
    assert only("Amount", "gte.1000.50") == Condition("Amount", "gte", ("1000.50",))
    assert only("Name", "not.eq.a.b") == Condition("Name", "eq", ("a.b",), negated=True)
    assert only("Name", "eq.") == Condition("Name", "eq", ("",))


def test_in_has_a_list_in_brackets() -> None:
    """With quotes around what has a comma or a bracket."""
    assert only("Name", 'in.(a,"b,c)","d\\"e")') == Condition("Name", "in", ("a", "b,c)", 'd"e'))
    assert only("Name", "in.()") == Condition("Name", "in", ())


def test_or_and_and_are_nested() -> None:
    """As in PostgREST."""
    assert only("or", "(a.eq.1,and(b.gt.2,not.c.is.null),not.or(d.in.(1,2)))") == Group(
        "or",
        (
            Condition("a", "eq", ("1",)),
            Group("and", (Condition("b", "gt", ("2",)), Condition("c", "is", ("null",), negated=True))),
            Group("or", (Condition("d", "in", ("1", "2")),), negated=True),
        ),
    )
    assert only("not.and", "(a.eq.1)") == Group("and", (Condition("a", "eq", ("1",)),), negated=True)


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("Name", "Acme", "unknown-operator"),
        ("Name", "$where.1", "unknown-operator"),
        ("Name", "in.a", "not-understood"),
        ("Name", "in.(a", "not-understood"),
        ("Name", 'in.("a', "not-understood"),
        ("Name", 'in.("a\\', "not-understood"),
        ("Name", "in.(a)b", "not-understood"),
        ("or", "a.eq.1", "not-understood"),
        ("or", "(a)", "not-understood"),
        ("or", "(a.regex.1)", "unknown-operator"),
        ("or", "(" * 50, "not-understood"),
        ("or", "or(" * 50, "not-understood"),
        ("or", "(" + "or(" * 20 + "a.eq.1" + ")" * 21, "too-deep"),
        ("or", "(" + ",".join(["a.eq.1"] * 60) + ")", "too-many-conditions"),
        ("Name", "in.(" + ",".join("a" * 300) + ")", "too-many-values"),
        ("Name", "eq." + "a" * 20_000, "too-long"),
    ],
)
def test_what_cannot_be_meant_is_refused(name: str, text: str, code: str) -> None:
    """With the name of the parameter, and a word for programs."""
    with pytest.raises(Problem) as refused:
        filters_of([(name, text)])
    assert (refused.value.status, refused.value.code) == (400, code)
    assert refused.value.faults[0].field == name


def test_all_parameters_share_one_bound() -> None:
    """A filter bomb is none for being spread over many parameters."""
    with pytest.raises(Problem, match="conditions"):
        filters_of([("a", "eq.1")] * (CONDITIONS_MAX + 1))


@given(name=strategies.text(max_size=30), text=strategies.text(alphabet='abor.()",\\$ not1', max_size=200))
def test_any_text_is_understood_or_refused(name: str, text: str) -> None:
    """Nothing else happens, whatever it is."""
    with suppress(Problem):
        assert len(filters_of([(name, text), ("or", text)]).parts) == 2
