"""Where the sync is with a record, as merge's state says."""

from __future__ import annotations

import asyncio

from salmon.api.settling import IN_CONFLICT, IN_STEP, ON_ITS_WAY, REFUSED, Refusal, Settling, judged
from salmon.model.change import MONGODB, SALESFORCE, WriteOp
from salmon.model.policies import EXISTENCE
from salmon.model.rules import Rules
from salmon.model.state import Park, Parked, Sent, SideState, State
from support.at_hand.api_room import nowhere, schemas_of

RULES = Rules(schemas_of("Car__c")["Car__c"])
RECORD = ("Car__c", "a")


def agreed(commit_time: int = 10) -> State:
    """Both sides have it, and hold the same."""
    return State(
        sides={
            SALESFORCE: SideState(exists=True, native_id="a", shadow={"Name": "A"}),
            MONGODB: SideState(
                exists=True, shadow={"Name": "A", "$salesforce_id": "a"}, commit_time=commit_time
            ),
        },
        canonical={"Name": "A"},
        lives=True,
        seq=1,
    )


def test_what_both_hold_is_in_step() -> None:
    """Nothing is owed, and nothing waits."""
    assert judged(agreed(), RULES).state == IN_STEP


def test_a_write_without_an_answer_is_on_its_way() -> None:
    """Until its echo comes."""
    state = agreed()
    state.sides[SALESFORCE].sent[2] = Sent(WriteOp.UPDATE, {"Name": "B"})
    assert judged(state, RULES).state == ON_ITS_WAY


def test_a_refusal_has_the_orgs_own_code_and_field() -> None:
    """The newest first; of a whole record, no field."""
    state = agreed()
    state.sides[SALESFORCE].parked = {
        "Name": Parked(Park.REFUSED, 2, "STRING_TOO_LONG", "Name: too long"),
        EXISTENCE: Parked(Park.REFUSED, 3, "INSUFFICIENT_ACCESS", "no"),
    }
    found = judged(state, RULES)
    assert found.state == REFUSED
    assert found.refusals == (
        Refusal("", "INSUFFICIENT_ACCESS", "no", 3),
        Refusal("Name", "STRING_TOO_LONG", "Name: too long", 2),
    )
    assert found.is_answer


def test_an_earlier_refusal_is_no_answer_while_a_write_is_on_its_way() -> None:
    """The record is shown as refused all the time; who waits for the write hears of it when Salesforce has answered that one."""
    state = agreed()
    state.sides[SALESFORCE].parked = {"Name": Parked(Park.REFUSED, 2, "STRING_TOO_LONG")}
    state.sides[SALESFORCE].sent[4] = Sent(WriteOp.UPDATE, {"Notes__c": "B"})
    found = judged(state, RULES)
    assert (found.state, found.is_answer) == (REFUSED, False)


def test_a_conflict_on_hold_is_in_conflict() -> None:
    """It waits for a person."""
    state = agreed()
    state.sides[SALESFORCE].parked = {"Name": Parked(Park.HELD, 2)}
    assert judged(state, RULES).state == IN_CONFLICT


def test_our_own_write_is_on_its_way_until_merge_has_seen_it() -> None:
    """A state from before the write says nothing of it."""
    settling = Settling(nowhere, ())
    settling.written(RECORD, after=10)
    settling.take(RECORD, agreed(commit_time=10), RULES)
    assert settling.waits[RECORD] == ON_ITS_WAY
    settling.take(RECORD, agreed(commit_time=11), RULES)
    assert RECORD not in settling.waits


def test_a_waiter_gets_the_first_state_that_knows_its_write_and_is_settled() -> None:
    """Also if the state has come before the waiter."""

    async def play() -> None:
        settling = Settling(nowhere, ())
        waiter = settling.expect(RECORD, after=10)
        settling.take(RECORD, agreed(commit_time=10), RULES)
        assert await waiter.wait(0.01) is None
        late = settling.expect(RECORD, after=10)
        settling.take(RECORD, agreed(commit_time=11), RULES)
        found = await late.wait(1)
        assert found is not None
        assert found.state == IN_STEP
        assert (await settling.expect(RECORD, after=10).wait(1)) == found
        settling.forget(late)

    asyncio.run(play())


def test_what_merge_has_forgotten_is_in_step() -> None:
    """A tombstone of the state."""
    settling = Settling(nowhere, ())
    settling.written(RECORD, after=10)
    settling.take(RECORD, None, RULES)
    assert RECORD not in settling.waits
