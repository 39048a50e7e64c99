"""A folded Story as `salmon why` finds it in the topics."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from salmon.story.evidence import At, Evidence, Letter, replayed
from salmon.story.present import Present, present
from salmon.story.reporting import Entry, entries_of
from support.at_hand.stories import Story

BEGAN_MS = 1_700_000_000_000
STEP_MS = 1_000


def evidence_of(story: Story, *, letters: Sequence[At[Letter]] = (), **instead: Any) -> Evidence:
    """What the topics have of the record. *instead*: where they have something else than it was."""
    first = story.offset - len(story.changes) + 1
    changes = [At(first + i, BEGAN_MS + i * STEP_MS, change) for i, change in enumerate(story.changes)]
    told: dict[str, Any] = {
        "object": "Account",
        "key": story.key,
        "state": story.state,
        "row": story.record,
        "changes": changes,
        "writes": {side: [At(write.seq, changes[-1].at_ms, write)] for side, write in story.writes.items()},
        "letters": letters,
    }
    return Evidence(**{**told, **instead})


def told_of(story: Story, *, hidden: Collection[str] = (), **instead: Any) -> list[Entry]:
    """The record's story. *hidden*: fields whose values are not shown."""
    evidence = evidence_of(story, **instead)
    return entries_of(evidence, story.rules, replayed(evidence, story.rules), hidden=hidden)


def now_of(story: Story, *, unmerged: int = 0, hidden: Collection[str] = (), **instead: Any) -> Present:
    """How it stands. *hidden*: fields whose values are not shown."""
    evidence = evidence_of(story, **instead)
    now_ms = BEGAN_MS + 3_600_000
    return present(evidence, story.rules, unmerged=unmerged, now_ms=now_ms, hidden=hidden)
