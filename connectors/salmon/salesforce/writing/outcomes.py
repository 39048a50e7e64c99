"""
One record's result of a Collections call -> what became of its write. Pure.

Sources: SOAP API Developer Guide, "Core Data Types" (StatusCode); REST API Developer Guide, "sObject Collections".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

from salmon.errors import UnfitServer
from salmon.model.change import WriteOp
from salmon.plugin.contract import Outcome, OutcomeKind
from salmon.salesforce.wire.codes import DUPLICATE, Verdict, verdict_of
from salmon.salesforce.wire.rest import RowResult

# An approval takes minutes at least, and so does a person who restores what was deleted. The worker waits longer each time.
AGAIN_S: Final = 60.0
# What a person would not know by the code alone.
_HINTS: Final = {
    "DUPLICATES_DETECTED": ": a duplicate rule of the org finds a record like it. If both are to stay, let the rule only warn, and "
    "set `allow_duplicates` of the object"
}


def with_paths(outcome: Outcome, paths: Mapping[str, str]) -> Outcome:
    """Say in a refusal where documents have its fields, because it is shown in the document, too. *paths*: field -> path."""
    found = [paths[field] for field in sorted(outcome.fields) if field in paths]
    if outcome.kind is not OutcomeKind.REFUSED or not found:
        return outcome
    return replace(outcome, reason=f"{outcome.reason.rstrip('. ')}. In MongoDB: {', '.join(found)}.")


class Look(Enum):
    """What has to be looked at before an outcome can be told."""

    WHO_HAS_THE_KEY = "a record with this unique value exists: ours, somebody's, or one of another key?"
    WHO_HAS_THE_VALUE = "another record has this unique value: for good, or is it about to give it up?"
    IS_IT_THERE = "something is not there: the record, or one that it refers to?"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a record was refused: the first error's code, the fields that any error names, and what they say."""

    code: str
    fields: frozenset[str]
    said: str = field(default="", repr=False)  # may quote the record

    def outcome(self, kind: OutcomeKind, reason: str, native_id: str | None = None) -> Outcome:
        said = self.said if kind is OutcomeKind.REFUSED else ""
        return Outcome(kind, self.fields, self.code, reason, native_id, said=said)


def refusal_of(result: RowResult) -> Refusal:
    """The refusal in a result without success."""
    errors = result.errors
    fields = frozenset(name for error in errors for name in error.fields)
    said = " ".join(dict.fromkeys(error.message.strip() for error in errors if error.message.strip()))
    return Refusal(errors[0].code if errors else "UNKNOWN_EXCEPTION", fields, said)


def outcome_of(
    result: RowResult, op: WriteOp, native_id: str | None, references: Collection[str]
) -> Outcome | Look:
    """
    What became of a write.

    Args:
        result: Salesforce's answer for its record.
        op: How it was carried out: an insert, an update or a delete.
        native_id: The record's Id, unless it was to be inserted.
        references: The reference fields that it set.

    Raises:
        UnfitServer: the org lets us in no more.
    """
    if result.success:
        return Outcome(OutcomeKind.APPLIED, native_id=result.id or native_id)
    refusal = refusal_of(result)
    verdicts = {verdict_of(error.code, error.message) for error in result.errors} or {Verdict.RETRY}
    if Verdict.FATAL in verdicts:
        raise UnfitServer(
            f"Salesforce answered {refusal.code} to a write. Check that the integration user may use the API."
        )
    if Verdict.NEVER in verdicts:
        hopeless = [
            error.code for error in result.errors if verdict_of(error.code, error.message) is Verdict.NEVER
        ]
        if op is WriteOp.CREATE and DUPLICATE in hopeless:
            return Look.WHO_HAS_THE_KEY
        if op is WriteOp.UPDATE and set(hopeless) == {DUPLICATE}:
            return Look.WHO_HAS_THE_VALUE
        return refused(refusal)
    if Verdict.LOCKED in verdicts:
        return locked(refusal.code)
    if verdicts & {Verdict.RETRY, Verdict.LIMITED, Verdict.SIGN_IN}:
        return refusal.outcome(OutcomeKind.RETRY_LATER, f"Salesforce cannot take it now ({refusal.code})")
    # What is left is GONE: of the record itself, or of one that a reference field points at.
    if op is WriteOp.CREATE or (op is WriteOp.UPDATE and (refusal.fields or references)):
        return Look.IS_IT_THERE
    return refusal.outcome(OutcomeKind.GONE, "the record is not there")


def deferred(fields: Collection[str], waits_for: tuple[tuple[str, str], ...]) -> Outcome:
    """The outcome of a write whose references point at records that are not there yet."""
    return Outcome(
        OutcomeKind.DEFERRED,
        fields=frozenset(fields),
        reason="the record that it refers to does not exist there yet",
        waits_for=waits_for,
    )


def orphaned(code: str, fields: Collection[str], waits_for: tuple[tuple[str, str], ...]) -> Outcome:
    """
    The outcome of a write whose references point at records that were deleted. They may come back: restored from the
    recycle bin under the same Id, which no identity tells, or created again under the same key.
    """
    reason = "the record that it refers to has been deleted there. It is waited for until it is restored; or refer to another"
    waiting = deferred(fields, waits_for)
    return replace(waiting, code=code, reason=reason, again_s=AGAIN_S)


def locked(code: str) -> Outcome:
    """The outcome of a write that another keeps away, as a whole, for as long as it likes."""
    reason = "the record, or one that it belongs to, is locked: by an approval, a flow, or somebody at work"
    return Outcome(OutcomeKind.DEFERRED, code=code, reason=reason, again_s=AGAIN_S)


def refused(refusal: Refusal) -> Outcome:
    """The outcome of a write that Salesforce will never take."""
    at_fault = f" for {', '.join(sorted(refusal.fields))}" if refusal.fields else ""
    hint = _HINTS.get(refusal.code, "")
    return refusal.outcome(OutcomeKind.REFUSED, f"Salesforce refused it{at_fault}{hint}")


def duplicate_of_nothing(refusal: Refusal, carrier: str) -> Outcome | Look:
    """A duplicate value, and no record that carries the key (in *carrier*): another unique field, or one that has just gone."""
    if carrier in refusal.fields:
        return refusal.outcome(OutcomeKind.RETRY_LATER, "the record that had the key has gone meanwhile")
    return Look.WHO_HAS_THE_VALUE
