"""What the topics contain about one record: the evidence for its history. Pure; salmon.story.reading fetches it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from salmon.model.change import Change, Value, Write
from salmon.model.fold import Folded, fold
from salmon.model.policies import Conflict
from salmon.model.rules import Rules
from salmon.model.state import State, new_state

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class At(Generic[T]):
    """A record in a topic, decoded."""

    offset: int
    at_ms: int  # when it was written, in ms since 1970
    what: T


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, by its headers. *source*: the topic and offset that it came from, or empty if it came from a side."""

    connector: str
    error: str
    message: str
    source: str = ""


@dataclass(frozen=True)
class Evidence:
    """The evidence about one record. Each list is in its topic's order. *cut*: some of its changes may have expired."""

    object: str
    key: str
    state: State | None
    row: Mapping[str, Value] | None  # of `records`
    changes: Sequence[At[Change]] = ()
    writes: Mapping[str, Sequence[At[Write | None]]] = field(default_factory=dict)  # by side
    conflicts: Sequence[At[tuple[Conflict, int]]] = ()  # with the seq of the change that caused it
    letters: Sequence[At[Letter]] = ()
    cut: bool = False
    guarded: Mapping[str, int] = field(
        default_factory=dict
    )  # side -> deletes that wait there, if its guard holds this one


@dataclass(frozen=True, slots=True)
class Replay:
    """
    What the fold made of each change. It is exact if it ends in the same state that merge has. Then it shows every write,
    including those that compaction has removed from their topic.
    """

    folded: Sequence[Folded] = ()  # of the first changes; the later ones are not merged yet
    exact: bool = False

    def of(self, index: int) -> Folded | None:
        return self.folded[index] if self.exact and index < len(self.folded) else None


def replayed(evidence: Evidence, rules: Rules) -> Replay:
    """
    Fold the record's changes again. The same log gives the same state, unless its beginning has expired or the rules have
    changed since.
    """
    state = new_state(rules.names)
    folded: list[Folded] = []
    merged = 0
    for item in evidence.changes:
        try:
            out = fold(
                state,
                item.what,
                object=evidence.object,
                key=evidence.key,
                offset=item.offset,
                rules=rules,
                at=max(0, item.at_ms),
            )
        except Exception:  # noqa: BLE001 - merge has set such a change aside; the history ends here
            break
        folded.append(out)
        state = out.state
        if state == evidence.state:
            merged = len(folded)
    return Replay(folded[:merged], exact=merged > 0)
