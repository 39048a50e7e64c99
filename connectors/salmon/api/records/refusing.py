"""
What Salesforce refused of a write of this API, for the answer to who has waited for it: the org's own code, fields and words.

The words are read in `changes`. If they cannot be had in time, the answer has what the state says: code and fields. Of what was set back
the state says nothing any more; the answer is a refusal all the same.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from salmon.api.handle import Api, ApiObject
from salmon.api.problems import Fault, Problem
from salmon.api.records.writing import held_by
from salmon.api.settling import IN_STEP, REFUSED, Settled
from salmon.api.threads import in_thread
from salmon.errors import SalmonError
from salmon.mongodb.wire.client import Document
from salmon.story.reading import latest_changes
from salmon.story.refusals import RefusedEdit, refusals_after

log = structlog.get_logger(__name__)

CODE: Final = "refused-by-salesforce"
_UNREAD: Final = Fault("", "unknown", "its answer could not be read in time")
_READ_MAX_S: Final = 5.0
# Of the record's partition. A write that is waited for is a minute old at most.
_CHANGES_MAX: Final = 20_000


async def faults_of(
    api: Api, of: ApiObject, key: str, settled: Settled, after: int, *, undone: bool, words: bool
) -> tuple[Fault, ...]:
    """
    What was refused of a write; empty: nothing.

    Args:
        after: MongoDB's clock before the write.
        undone: See is_undone().
        words: Whether the caller may see the org's own words. They may quote any value of the record.
    """
    if settled.state != REFUSED and not undone:
        return ()
    found = await _read(api, of, key, after)
    if found is None:
        return tuple(Fault(each.field, each.code, each.reason) for each in settled.refusals) or (_UNREAD,)
    if settled.state == REFUSED:
        seqs = {each.seq for each in settled.refusals}
        # What was set back is not in the state, in which an older refusal may still wait.
        found = [each for each in found if each.seq in seqs or (undone and each.seq > max(seqs))]
    return tuple(
        Fault(name, each.code, (words and each.said) or each.reason)
        for each in reversed(found)
        for name in [name for name in each.fields if name in of.schema.by_name] or [""]
    )


def is_undone(of: ApiObject, verb: str, settled: Settled, written: Document, again: Document | None) -> bool:
    """Whether MongoDB does not have any more what was written, perhaps because Salesforce refused it (on_reject: revert)."""
    if settled.state not in {IN_STEP, REFUSED} or of.settings.on_reject != "revert":
        return False
    if verb == "delete" or again is None:
        return verb == "delete" and again is not None
    now, then = held_by(of, again), held_by(of, written)
    return any(now.get(name) != then.get(name) for name in of.settable(creating=False))


async def _read(api: Api, of: ApiObject, key: str, after: int) -> Sequence[RefusedEdit] | None:
    def work() -> Sequence[RefusedEdit] | None:
        with api.lookup() as lookup:
            return refusals_after(latest_changes(lookup, of.name, key, most=_CHANGES_MAX), after)

    try:
        return await asyncio.wait_for(in_thread(work), _READ_MAX_S)
    except (SalmonError, Problem, TimeoutError) as error:
        log.warning("refusal_not_read", object=of.name, key=key, error=type(error).__name__)
        return None


def problem_of(faults: Sequence[Fault], key: str, headers: Mapping[str, str], *, undone: bool) -> Problem:
    """The answer to a write that was refused. *undone*: see is_undone()."""
    first = faults[0]
    kept = (
        "It was set back in MongoDB, as on_reject says."
        if undone
        else "The record is kept in MongoDB as it was sent; correct it there."
    )
    why = f"{first.code}: {first.reason}".strip(": ").rstrip(".")
    return Problem(
        422,
        CODE,
        f"Salesforce has refused it: {why}. {kept}",
        faults=faults,
        headers=headers,
        more={"key": key},
    )


def without_words(problem: bytes) -> bytes:
    """A problem of ours that was kept, without what the org said."""
    found = json.loads(problem or b"{}")
    faults = [{**each, "reason": ""} for each in found.get("errors", ())]
    return json.dumps({**found, "detail": "Salesforce has refused it.", "errors": faults}).encode()
