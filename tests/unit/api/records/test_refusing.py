"""What Salesforce refused, as it is answered: in whose words, and to whom."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Sequence

import pytest

from salmon.api.problems import Fault
from salmon.api.records import refusing
from salmon.api.settling import IN_STEP, REFUSED, Refusal, Settled
from salmon.story.refusals import RefusedEdit
from support.at_hand.api_room import api_of

API = api_of("Car__c")
CAR = API.objects["Car__c"]
WORDS = "Herbie has no such colour."
STATE = Settled(REFUSED, True, (Refusal("Notes__c", "INVALID", "Salesforce refused it", 7),))
EDIT = RefusedEdit(7, ("Notes__c",), "INVALID", "Salesforce refused it", WORDS)
EARLIER = RefusedEdit(5, (), "OTHER", "Salesforce refused it", "no")


def answered(
    settled: Settled,
    read: Sequence[RefusedEdit] | None,
    monkeypatch: pytest.MonkeyPatch,
    *,
    words: bool = True,
    undone: bool = False,
) -> tuple[Fault, ...]:
    """The faults, if this is what `changes` has."""

    async def found(*_: object) -> Sequence[RefusedEdit] | None:
        return read

    monkeypatch.setattr(refusing, "_read", found)
    return asyncio.run(refusing.faults_of(API, CAR, "a", settled, 1, undone=undone, words=words))


def test_the_orgs_words_are_for_those_who_may_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """They may quote any value of the record. Who may only write has the code and the field."""
    assert answered(STATE, [EARLIER, EDIT], monkeypatch) == (Fault("Notes__c", "INVALID", WORDS),)
    (fault,) = answered(STATE, [EDIT], monkeypatch, words=False)
    assert (fault.code, fault.reason) == ("INVALID", "Salesforce refused it")


def test_without_kafka_the_state_says_what_was_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is late enough already."""
    assert answered(STATE, None, monkeypatch) == (Fault("Notes__c", "INVALID", "Salesforce refused it"),)


def test_an_earlier_refusal_is_none_of_this_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for a correction all the same, and the record says so."""
    assert answered(STATE, [], monkeypatch) == ()


def test_what_was_set_back_was_refused_only_if_salesforce_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else may have edited it meanwhile."""
    settled = Settled(IN_STEP, True)
    assert answered(settled, [EARLIER], monkeypatch, undone=True) == (Fault("", "OTHER", "no"),)
    assert answered(settled, [], monkeypatch, undone=True) == ()
    assert answered(settled, [EARLIER], monkeypatch) == ()


def test_what_was_set_back_is_no_success_if_kafka_cannot_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """The state has no refusal any more, and the application would take its write for done."""
    (fault,) = answered(Settled(IN_STEP, True), None, monkeypatch, undone=True)
    assert (fault.field, fault.code) == ("", "unknown")


def test_an_older_refusal_that_waits_hides_no_newer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The older one is in the state; the new edit was refused and set back, so it is not."""
    newer = RefusedEdit(9, (), "NEWER", "Salesforce refused it", "no")
    assert answered(STATE, [newer], monkeypatch, undone=True) == (Fault("", "NEWER", "no"),)
    assert answered(STATE, [newer], monkeypatch) == (), "it was sent again, and taken"


@pytest.mark.parametrize("state", [Settled(IN_STEP, True), STATE])
def test_only_what_mongodb_lost_was_set_back(state: Settled) -> None:
    """A record that Salesforce refused to create is kept, whatever on_reject says."""
    car = dataclasses.replace(CAR, settings=CAR.settings.model_copy(update={"on_reject": "revert"}))
    written, other = {"_id": "a", "Name": "A"}, {"_id": "a", "Name": "B"}
    assert not refusing.is_undone(car, "create", state, written, written)
    assert refusing.is_undone(car, "update", state, written, other)
    assert refusing.is_undone(car, "delete", state, written, written)
    assert not refusing.is_undone(CAR, "update", state, written, other)
    faults = [Fault("Name", "INVALID", "no")]
    assert "set back" in refusing.problem_of(faults, "a", {}, undone=True).detail
    assert "kept in MongoDB" in refusing.problem_of(faults, "a", {}, undone=False).detail


def test_a_kept_refusal_is_repeated_without_words_to_who_may_not_read_any_more() -> None:
    """Codes and fields stay."""
    problem = refusing.problem_of([Fault("Notes__c", "INVALID", WORDS)], "a", {}, undone=False)
    kept = json.loads(refusing.without_words(json.dumps(problem.body()).encode()))
    assert WORDS in problem.detail + "."
    assert (kept["code"], kept["errors"][0]["code"]) == (refusing.CODE, "INVALID")
    assert WORDS.rstrip(".") not in json.dumps(kept)
