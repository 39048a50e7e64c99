"""Decides which of two concurrent edits wins. Pure; the caller has found that neither author knew of the other edit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from salmon.model.change import MONGODB, SALESFORCE, Value

# The field name of a conflict about a record's existence: one side deleted the record, the other edited it.
EXISTENCE: Final = "$exists"


@dataclass(frozen=True, slots=True)
class Edit:
    """One of two concurrent edits. For EXISTENCE, True means that the record exists."""

    side: str
    value: Value
    committed_at: int  # ms, that side's wall clock; 0 where it is not known
    seq: int = 0  # of the change that brought it


@dataclass(frozen=True, slots=True)
class Contest:
    """Two concurrent edits of one field. *standing*: the agreed value, or the one that was about to be agreed on."""

    object: str
    key: str
    field: str
    standing: Edit
    challenger: Edit
    ties: str  # the side that wins if both edits have the same time


@dataclass(frozen=True, slots=True)
class Conflict:
    """A contest and its result, as written to the conflicts topic. *winner* is None while it is on hold."""

    contest: Contest
    policy: str
    winner: Edit | None
    fault: str = ""  # why the policy could not decide, so that the conflict is on hold; empty if it could


@dataclass(frozen=True, slots=True)
class Policy:
    """
    How an object or a field decides its conflicts.

    `decide` returns the winner, which is one of the contest's two edits, or None to hold: both sides keep their value
    until a person resolves the conflict. A plugin (entry point group `salmon.policies`) is such a function. It must be
    pure; otherwise the same log would not give the same state. If it raises or returns anything else, the conflict is on
    hold: neither edit is lost, and a person decides.
    """

    name: str
    decide: Callable[[Contest], Edit | None]

    def __call__(self, contest: Contest) -> Conflict:
        try:
            decided: object = self.decide(contest)
        except Exception as error:  # noqa: BLE001 - a fault in a plugin must not lose an edit
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
        if challenger.side != side:
            return standing
        # An edit without a time is a row's, which comes after all that was reported before.
        is_earlier = standing.side == side and 0 < challenger.committed_at < standing.committed_at
        return standing if is_earlier else challenger

    return decide


def side_wins(side: str) -> Policy:
    """The policy that is called by the name of a side: its edit wins. Between two edits of one side, or of two others, the later one does."""
    return Policy(side, _prefer(side))


LAST_WRITER_WINS: Final = Policy("last_writer_wins", _last_writer)
SALESFORCE_WINS: Final = side_wins(SALESFORCE)
MONGODB_WINS: Final = side_wins(MONGODB)
HOLD: Final = Policy("hold", lambda contest: None)

POLICIES: Final = {policy.name: policy for policy in (LAST_WRITER_WINS, SALESFORCE_WINS, MONGODB_WINS, HOLD)}
