"""What Salesforce refused of one edit, among all that happened to the record."""

from __future__ import annotations

from salmon.model.change import MONGODB, SALESFORCE, Change, Op
from salmon.story.evidence import At
from salmon.story.refusals import RefusedEdit, refusals_after


def refused(ack: int, *fields: str, said: str = "") -> Change:
    source = {"code": "INVALID", "reason": "Salesforce refused it", "said": said}
    return Change(SALESFORCE, Op.REFUSED, ack=ack, changed=frozenset(fields) or None, source=source)


def log(*changes: Change) -> list[At[Change]]:
    return [At(offset, 0, change) for offset, change in enumerate(changes)]


def edit(commit_time: int) -> Change:
    return Change(MONGODB, Op.UPDATE, commit_time=commit_time, changed=frozenset({"Phone"}))


def test_the_words_are_of_the_write_that_the_edit_caused() -> None:
    """Not of an earlier one, also if the answer to that comes after the edit."""
    changes = log(
        edit(5), edit(9), refused(0, "Site", said="old"), refused(1, "Phone", "Fax", said="A phone\u2026")
    )
    assert refusals_after(changes, after=8) == (
        RefusedEdit(1, ("Fax", "Phone"), "INVALID", "Salesforce refused it", "A phone\u2026"),
    )


def test_a_refusal_of_the_whole_record_names_no_field() -> None:
    """As the org does."""
    (found,) = refusals_after(log(edit(9), refused(0)), after=8) or ()
    assert (found.fields, found.said) == ((), "")


def test_what_was_not_refused_and_what_is_not_there_are_two_things() -> None:
    """Nothing of a later edit; and no edit so late, as the log does not reach back so far."""
    assert refusals_after(log(edit(9)), after=8) == ()
    assert refusals_after(log(edit(5), refused(0)), after=8) is None
