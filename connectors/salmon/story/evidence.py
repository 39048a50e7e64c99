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
    """Something that stands in a topic."""

    offset: int
    at_ms: int  # when it was written there, since 1970
    what: T


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter: what its headers say. *source*: the topic and offset that it came from, where it came from one."""

    connector: str
    error: str
    message: str
    source: str = ""


@dataclass(frozen=True)
class Evidence:
    """Of one record, each list in its topic's order. *cut*: some of its changes may have left their topic."""

    object: str
    key: str
    state: State | None
    row: Mapping[str, Value] | None  # of `records`
    changes: Sequence[At[Change]] = ()
    writes: Mapping[str, Sequence[At[Write | None]]] = field(default_factory=dict)  # by side
    conflicts: Sequence[At[tuple[Conflict, int]]] = ()  # with the seq of the change that met it
    letters: Sequence[At[Letter]] = ()
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Replay:
    """
    What the fold made of each change. It is exact where it ends in the very state that merge has: then it tells every
    write, also those that compaction has taken out of their topic.
    """

    folded: Sequence[Folded] = ()  # of the first changes; those behind them are not merged yet
    exact: bool = False

    def of(self, index: int) -> Folded | None:
        return self.folded[index] if self.exact and index < len(self.folded) else None


def replayed(evidence: Evidence, rules: Rules) -> Replay:
    """
    Fold the record's changes again. The same log gives the same state, unless it has lost its beginning or the rules
    were others then.
    """
    state = new_state(rules.names)
    folded: list[Folded] = []
    merged = 0
    for told in evidence.changes:
        try:
            out = fold(
                state,
                told.what,
                object=evidence.object,
                key=evidence.key,
                offset=told.offset,
                rules=rules,
                at=max(0, told.at_ms),
            )
        except Exception:  # noqa: BLE001 - merge has set such a change aside; the story goes on without it
            break
        folded.append(out)
        state = out.state
        if state == evidence.state:
            merged = len(folded)
    return Replay(folded[:merged], exact=merged > 0)
