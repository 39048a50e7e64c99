"""Who wins when two edits did not know of each other. Pure; the caller has found that they are concurrent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from salmon.model.change import MONGODB, SALESFORCE, Value

# The field name under which a conflict about a record's life is told: one side deleted what the other edited.
EXISTENCE: Final = "$exists"


@dataclass(frozen=True, slots=True)
class Edit:
    """One of two edits that did not know of each other. For EXISTENCE, True is a record that lives."""

    side: str
    value: Value
    committed_at: int  # ms, that side's wall clock; 0 where it is not known
    seq: int = 0  # of the change that brought it


@dataclass(frozen=True, slots=True)
class Contest:
    """Two concurrent edits of one field: *standing* is what the sides had agreed on, or were about to."""

    object: str
    key: str
    field: str
    standing: Edit
    challenger: Edit
    ties: str  # the side that wins where the edits are of the same time


@dataclass(frozen=True, slots=True)
class Conflict:
    """A decided contest, as it goes to the conflicts topic. *winner* is None while it is on hold."""

    contest: Contest
    policy: str
    winner: Edit | None
    fault: str = ""  # why the policy could not decide, so that it is on hold; empty where it could


@dataclass(frozen=True, slots=True)
class Policy:
    """
    How an object or a field decides its conflicts.

    `decide` returns the winner, one of the contest's two edits, or None to hold: both sides keep their value
    until somebody resolves it. A plugin (entry point group `salmon.policies`) is such a function; it must be
    pure, or the same log would not give the same state. Where it raises, or returns anything else, the conflict
    is on hold: neither edit is lost, and a person decides.
    """

    name: str
    decide: Callable[[Contest], Edit | None]

    def __call__(self, contest: Contest) -> Conflict:
        try:
            decided: object = self.decide(contest)
        except Exception as error:  # noqa: BLE001 - a plugin's mistake must not cost anybody an edit
            return Conflict(contest, self.name, None, fault=f"it raised {type(error).__name__}")
        if decided is None:
            return Conflict(contest, self.name, None)
        for edit in (contest.standing, contest.challenger):
            if decided == edit:
                return Conflict(contest, self.name, edit)
        fault = f"it returned a {type(decided).__name__} that is neither of the two edits"
        return Conflict(contest, self.name, None, fault=fault)


def _last_writer(contest: Contest) -> Edit:
    standing, challenger = contest.standing, contest.challenger
    if standing.committed_at != challenger.committed_at:
        return max(standing, challenger, key=lambda edit: edit.committed_at)
    return standing if standing.side == contest.ties != challenger.side else challenger


def _prefer(side: str) -> Callable[[Contest], Edit]:
    def decide(contest: Contest) -> Edit:
        standing, challenger = contest.standing, contest.challenger
        if side not in (standing.side, challenger.side):
            return _last_writer(contest)
        return challenger if challenger.side == side else standing

    return decide


LAST_WRITER_WINS: Final = Policy("last_writer_wins", _last_writer)
SALESFORCE_WINS: Final = Policy(SALESFORCE, _prefer(SALESFORCE))
MONGODB_WINS: Final = Policy(MONGODB, _prefer(MONGODB))
HOLD: Final = Policy("hold", lambda contest: None)

POLICIES: Final = {policy.name: policy for policy in (LAST_WRITER_WINS, SALESFORCE_WINS, MONGODB_WINS, HOLD)}
