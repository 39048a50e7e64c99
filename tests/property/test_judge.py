"""What one field of one change means: promises that hold for any values at all."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from salmon.model.change import Value
from salmon.model.fold import Verdict, judge
from salmon.model.steps.work import UNKNOWN, Unknown

# Few values, so that they meet; None is one of them.
values: st.SearchStrategy[Value] = st.sampled_from([None, "", "555 0101", "555 0202", 0, 1.5, ("a", "b")])
shadows: st.SearchStrategy[Value | Unknown] = values | st.just(UNKNOWN)
# What else a change may be: whether it answers a write of ours, shows the record whole, is a row.
kinds = st.fixed_dictionaries({"whole": st.booleans(), "read": st.booleans()})
answers = st.fixed_dictionaries({"ours": values})
anything = settings(deadline=None, max_examples=300)  # a busy machine is no failure


@anything
@given(value=values, canonical=values, kind=kinds)
def test_nobody_who_saw_the_agreed_value_is_overruled(
    value: Value, canonical: Value, kind: dict[str, bool]
) -> None:
    """No lost edit and no false conflict: the side held the agreed value, and somebody changed it."""
    verdict = judge(value, canonical=canonical, shadow=canonical, **kind)
    assert verdict in (Verdict.AGREED, Verdict.CAUSAL)


@anything
@given(canonical=values, shadow=shadows, ours=st.just({}) | answers, kind=kinds)
def test_who_tells_the_agreed_value_agrees(
    canonical: Value, shadow: Value | Unknown, ours: dict[str, Any], kind: dict[str, bool]
) -> None:
    """Whatever was there before, and whoever caused it."""
    assert judge(canonical, canonical=canonical, shadow=shadow, **ours, **kind) is Verdict.AGREED


@anything
@given(canonical=values, shadow=shadows, ours=values, kind=kinds)
def test_our_own_value_is_nobodys_edit(
    canonical: Value, shadow: Value | Unknown, ours: Value, kind: dict[str, bool]
) -> None:
    """A write that comes back as it went out is never news, whatever happened meanwhile."""
    verdict = judge(ours, canonical=canonical, shadow=shadow, ours=ours, **kind)
    assert verdict in (Verdict.AGREED, Verdict.ECHO)


@anything
@given(value=values, canonical=values, shadow=shadows, kind=kinds)
def test_a_trigger_has_seen_what_we_sent(
    value: Value, canonical: Value, shadow: Value | Unknown, kind: dict[str, bool]
) -> None:
    """Where our write's value is still the agreed one, what a trigger made of it wins without a conflict."""
    verdict = judge(value, canonical=canonical, shadow=shadow, ours=canonical, **kind)
    assert verdict in (Verdict.AGREED, Verdict.CAUSAL)


@anything
@given(value=values, canonical=values, shadow=shadows, ours=values, kind=kinds)
def test_what_answers_an_overtaken_write_never_wins_by_itself(
    value: Value, canonical: Value, shadow: Value | Unknown, ours: Value, kind: dict[str, bool]
) -> None:
    """It is no news; but in a row, what the side did not hold before may be somebody's later edit: a policy is asked."""
    verdict = judge(value, canonical=canonical, shadow=shadow, ours=ours, **kind)
    if value != canonical != ours != value:
        edited = kind["read"] and value != shadow
        assert verdict is (Verdict.CONCURRENT if edited else Verdict.ECHO)


@anything
@given(value=values, canonical=values, shadow=shadows, ours=st.just({}) | answers, kind=kinds)
def test_only_edits_that_had_not_seen_the_agreed_value_are_in_conflict(
    value: Value, canonical: Value, shadow: Value | Unknown, ours: dict[str, Any], kind: dict[str, bool]
) -> None:
    """No false conflict: neither what the side held nor what we had sent it was the agreed value."""
    if judge(value, canonical=canonical, shadow=shadow, **ours, **kind) is Verdict.CONCURRENT:
        assert value != canonical
        assert ours.get("ours", shadow) != canonical


@anything
@given(value=values, canonical=values, shadow=shadows, ours=st.just({}) | answers, kind=kinds)
def test_first_contact_is_made_by_what_shows_a_record_whole(
    value: Value, canonical: Value, shadow: Value | Unknown, ours: dict[str, Any], kind: dict[str, bool]
) -> None:
    """Only where nothing was known, and never by an edit: an edit is somebody's, and not merely found."""
    if judge(value, canonical=canonical, shadow=shadow, **ours, **kind) is Verdict.FIRST_CONTACT:
        assert shadow is UNKNOWN
        assert kind["whole"]
        assert not ours


@anything
@given(value=values, canonical=values, shadow=values, kind=kinds)
def test_what_is_still_held_is_known_and_nobodys_edit(
    value: Value, canonical: Value, shadow: Value, kind: dict[str, bool]
) -> None:
    """A row shows every field, edited or not, and so does the event of an application that saves whole documents."""
    verdict = judge(value, canonical=canonical, shadow=shadow, **kind)
    assert (verdict is Verdict.KNOWN) == (value == shadow != canonical)


@anything
@given(data=st.data())
def test_only_equality_counts(data: Any) -> None:
    """The verdict is the same for any other values that are equal and different in the same places."""
    one = [data.draw(st.sampled_from([None, "a", "b", "c"])) for _ in range(4)]
    other = [{None: 4, "a": None, "b": ("b",), "c": "a"}[name] for name in one]
    kind = data.draw(kinds)
    verdicts = {
        judge(value, canonical=canonical, shadow=shadow, ours=ours, **kind)
        for value, canonical, shadow, ours in (one, other)
    }
    assert len(verdicts) == 1
