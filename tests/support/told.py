"""A folded Story as `salmon why` finds it in the topics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from salmon.story.evidence import At, Letter, Material, replayed
from salmon.story.present import Present, present
from salmon.story.reporting import Entry, tell
from support.stories import Story

BEGAN_MS = 1_700_000_000_000
STEP_MS = 1_000


def material_of(story: Story, *, letters: Sequence[At[Letter]] = (), **instead: Any) -> Material:
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
    return Material(**{**told, **instead})


def told_of(story: Story, **instead: Any) -> list[Entry]:
    """The record's story."""
    material = material_of(story, **instead)
    return tell(material, story.rules, replayed(material, story.rules))


def now_of(story: Story, *, unmerged: int = 0, **instead: Any) -> Present:
    """How it stands."""
    material = material_of(story, **instead)
    return present(material, story.rules, unmerged=unmerged, now_ms=BEGAN_MS + 3_600_000)
