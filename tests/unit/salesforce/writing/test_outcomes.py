"""What becomes of a write, by Salesforce's codes and by the markers that a record carries."""

from __future__ import annotations

import pytest

from salmon.errors import UnfitServer
from salmon.model.change import Write, WriteOp
from salmon.plugin.contract import Outcome, OutcomeKind
from salmon.salesforce.wire.codes import Verdict, verdict_of
from salmon.salesforce.wire.rest import RowError, RowResult
from salmon.salesforce.writing.markers import Found, Overwrite, judged
from salmon.salesforce.writing.outcomes import (
    Look,
    Refusal,
    duplicate_of_nothing,
    outcome_of,
    refused,
    with_paths,
)

ID = "001000000000001AAA"


def failed(*codes: str, fields: tuple[str, ...] = (), message: str = "") -> RowResult:
    return RowResult(False, None, tuple(RowError(code, fields, message) for code in codes))


def kind_of(result: RowResult, op: WriteOp = WriteOp.UPDATE, *references: str) -> OutcomeKind | Look:
    outcome = outcome_of(result, op, ID, references)
    return outcome if isinstance(outcome, Look) else outcome.kind


@pytest.mark.parametrize(
    "code",
    [
        "UNABLE_TO_LOCK_ROW",
        "SERVER_UNAVAILABLE",
        "API_CURRENTLY_DISABLED",
        "REQUEST_RUNNING_TOO_LONG",
        "REQUEST_LIMIT_EXCEEDED",
        "STORAGE_LIMIT_EXCEEDED",
        "UNKNOWN_EXCEPTION",
    ],
)
def test_what_may_heal_is_put_again(code: str) -> None:
    """Nothing is wrong with the write."""
    assert kind_of(failed(code)) is OutcomeKind.RETRY_LATER


@pytest.mark.parametrize(
    "code",
    ["STRING_TOO_LONG", "REQUIRED_FIELD_MISSING", "FIELD_CUSTOM_VALIDATION_EXCEPTION", "DUPLICATES_DETECTED",
     "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "INSUFFICIENT_ACCESS_OR_READONLY", "A_CODE_OF_NEXT_YEAR"],
)  # fmt: skip
def test_what_never_works_is_refused_with_the_fields_at_fault(code: str) -> None:
    """The fields as Salesforce names them, and no word of its message, which may quote the record."""
    outcome = outcome_of(failed(code, fields=("Phone",), message="secret"), WriteOp.UPDATE, ID, ())
    assert isinstance(outcome, Outcome)
    assert (outcome.kind, outcome.code, outcome.fields) == (OutcomeKind.REFUSED, code, frozenset({"Phone"}))
    assert "secret" not in repr(outcome)


def test_a_lock_inside_a_triggers_error_is_a_lock() -> None:
    """A trigger that could not lock a row fails with its own code around it."""
    wrapped = failed("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", message="...: UNABLE_TO_LOCK_ROW, ...")
    assert kind_of(wrapped) is OutcomeKind.RETRY_LATER
    assert kind_of(failed("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", message="no")) is OutcomeKind.REFUSED


@pytest.mark.parametrize("code", ["ENTITY_IS_LOCKED", "RECORD_IN_USE_BY_WORKFLOW", "RECORD_LOCKED"])
def test_what_an_approval_has_locked_waits_and_is_not_refused(code: str) -> None:
    """It is tried late, and again; nobody has anything to correct (case L10). A trigger's error may wrap it."""
    wrapped = failed("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", message=f"...: {code}, ...")
    for result in (failed(code), wrapped):
        for op in WriteOp:
            outcome = outcome_of(result, op, ID, ())
            assert isinstance(outcome, Outcome)
            assert (outcome.kind, outcome.fields) == (OutcomeKind.DEFERRED, frozenset())
            assert outcome.again_s is not None


@pytest.mark.parametrize("code", ["ENTITY_IS_DELETED", "NOT_FOUND", "INVALID_CROSS_REFERENCE_KEY"])
def test_what_is_not_there_is_the_record_or_its_parent(code: str) -> None:
    """A write without references can only mean its own record; with one, it has to be looked at."""
    assert kind_of(failed(code)) is OutcomeKind.GONE
    assert kind_of(failed(code), WriteOp.DELETE) is OutcomeKind.GONE
    assert kind_of(failed(code), WriteOp.UPDATE, "AccountId") is Look.IS_IT_THERE
    assert kind_of(failed(code, fields=("RecordTypeId",))) is Look.IS_IT_THERE
    assert kind_of(failed(code), WriteOp.CREATE) is Look.IS_IT_THERE


def test_a_duplicate_value_is_looked_into() -> None:
    """It may be our own earlier creation, or that of a record that is about to give it up; beside a hopeless error, no matter."""
    assert kind_of(failed("DUPLICATE_VALUE"), WriteOp.CREATE) is Look.WHO_HAS_THE_KEY
    assert kind_of(failed("DUPLICATE_VALUE")) is Look.WHO_HAS_THE_VALUE
    assert kind_of(failed("DUPLICATE_VALUE", "UNABLE_TO_LOCK_ROW")) is Look.WHO_HAS_THE_VALUE
    assert kind_of(failed("DUPLICATE_VALUE", "STRING_TOO_LONG")) is OutcomeKind.REFUSED


def test_one_hopeless_error_outweighs_a_passing_one() -> None:
    """To wait for a lock does not mend a value that is too long."""
    assert kind_of(failed("UNABLE_TO_LOCK_ROW", "STRING_TOO_LONG")) is OutcomeKind.REFUSED


def test_an_org_that_shuts_its_api_is_a_matter_for_people() -> None:
    """No write succeeds until somebody opens it; like a refused sign-in, that ends nothing that has worked before."""
    with pytest.raises(UnfitServer):
        outcome_of(failed("API_DISABLED_FOR_ORG"), WriteOp.UPDATE, ID, ())


def test_a_duplicate_of_nobodys_key_is_one_of_another_field_or_has_gone() -> None:
    """Nobody has the key: it was the key a moment ago, or it is another field, whose holder is looked for."""
    other = duplicate_of_nothing(Refusal("DUPLICATE_VALUE", frozenset({"Email"})), "Sync_Key__c")
    assert other is Look.WHO_HAS_THE_VALUE
    gone = duplicate_of_nothing(Refusal("DUPLICATE_VALUE", frozenset({"Sync_Key__c"})), "Sync_Key__c")
    assert isinstance(gone, Outcome)
    assert gone.kind is OutcomeKind.RETRY_LATER


def test_refused_names_its_fields_in_words() -> None:
    """The sentence stands in the dead letter and in the document."""
    assert refused(Refusal("X", frozenset({"B", "A"}))).reason == "Salesforce refused it for A, B"


def test_the_orgs_own_words_are_kept_beside_the_reason() -> None:
    """An admin wrote them for people; but they may quote the record, so they are no part of what is logged."""
    errors = (
        RowError("FIELD_CUSTOM_VALIDATION_EXCEPTION", ("Phone",), "A phone\n needs its country: 555."),
        RowError("STRING_TOO_LONG", ("Fax",), "Fax: too long"),
        RowError("STRING_TOO_LONG", (), "Fax: too long"),
    )
    told = outcome_of(RowResult(False, None, errors), WriteOp.UPDATE, ID, ())
    assert isinstance(told, Outcome)
    assert told.said == "A phone\n needs its country: 555. Fax: too long"
    assert told.reason == "Salesforce refused it for Fax, Phone"
    assert "555" not in repr(told)


def test_a_record_that_a_duplicate_rule_refuses_is_told_with_what_to_do() -> None:
    """The code alone tells nobody that a rule which only warns can be passed over."""
    reason = refused(Refusal("DUPLICATES_DETECTED", frozenset())).reason
    assert "a duplicate rule" in reason
    assert "`allow_duplicates`" in reason


@pytest.mark.parametrize(
    ("op", "found", "expected", "becomes"),
    [
        (WriteOp.CREATE, None, 0, None),
        (WriteOp.CREATE, Found(ID, None), 0, OutcomeKind.EXISTS),
        (WriteOp.CREATE, Found(ID, 9), 0, Overwrite(ID)),
        (WriteOp.CREATE, Found(ID, 10), 0, OutcomeKind.SKIPPED),
        (WriteOp.UPDATE, None, 0, OutcomeKind.GONE),
        (WriteOp.UPDATE, Found(ID, None), 0, None),
        (WriteOp.UPDATE, Found(ID, 9), 9, None),
        (WriteOp.UPDATE, Found(ID, 10), 9, OutcomeKind.SKIPPED),
        (WriteOp.UPDATE, Found(ID, 11), 9, OutcomeKind.SKIPPED),
        (WriteOp.DELETE, None, 0, OutcomeKind.GONE),
        (WriteOp.DELETE, Found(ID, None), 0, None),
        (WriteOp.DELETE, Found(ID, None), 5, OutcomeKind.EXISTS),
        (WriteOp.DELETE, Found(ID, 4), 5, OutcomeKind.EXISTS),
        (WriteOp.DELETE, Found(ID, 5), 5, None),
        (WriteOp.DELETE, Found(ID, 11), 5, OutcomeKind.SKIPPED),
    ],
)
def test_markers_say_what_a_repetition_may_do(
    op: WriteOp, found: Found | None, expected: int, becomes: OutcomeKind | Overwrite | None
) -> None:
    """The write has seq 10: nothing newer, nobody else's and no other life is touched by it."""
    verdict = judged(Write(10, op, expected=expected), found)
    assert (verdict.kind if isinstance(verdict, Outcome) else verdict) == becomes


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        ("INVALID_SESSION_ID", Verdict.SIGN_IN),
        ("QUERY_TIMEOUT", Verdict.RETRY),
        ("EXCEEDED_QUOTA", Verdict.LIMITED),
        ("API_DISABLED_FOR_ORG", Verdict.FATAL),
        ("INVALID_FIELD", Verdict.NEVER),
    ],
)
def test_codes_have_their_class(code: str, verdict: Verdict) -> None:
    """By code, never by the message, which is in the user's language."""
    assert verdict_of(code) is verdict


def test_a_refusal_says_where_documents_have_its_fields() -> None:
    """It is shown in the document, where the field has another name; other outcomes, and other fields, stay as they are."""
    reason = "Salesforce does not take BillingCity."
    outcome = Outcome(OutcomeKind.REFUSED, frozenset({"BillingCity", "Fax"}), "STRING_TOO_LONG", reason)
    told = with_paths(outcome, {"BillingCity": "address.city", "Name": "title"})
    assert told.reason == "Salesforce does not take BillingCity. In MongoDB: address.city."
    assert with_paths(outcome, {"Name": "title"}) is outcome
