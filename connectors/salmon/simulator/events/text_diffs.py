"""
The change of a long text as a unified diff, which an update may carry in place of the value.

Source: Change Data Capture Developer Guide ("Sending Data Differences for Fields of Updated Records"). An org decides by itself
when it sends one; the box does where the setting `text_diffs` is on, within the limits that the guide gives.
"""

from __future__ import annotations

import hashlib
from difflib import SequenceMatcher
from typing import Final

CHARACTERS_MIN: Final = 1000
_GROWTH_MAX: Final = 0.5  # of the length
_LINES_MAX: Final = 0.25  # of the lines, that may differ


def text_diff(before: object, after: object) -> str | None:
    """The diff from one text to the other, by lines and without context; None where the value itself is sent."""
    if not isinstance(before, str) or not isinstance(after, str) or len(after) < CHARACTERS_MIN:
        return None
    if abs(len(after) - len(before)) > _GROWTH_MAX * len(before):
        return None
    old, new = before.split("\n"), after.split("\n")
    blocks = [
        code for code in SequenceMatcher(None, old, new, autojunk=False).get_opcodes() if code[0] != "equal"
    ]
    touched = sum(max(i2 - i1, j2 - j1) for _tag, i1, i2, j1, j2 in blocks)
    if touched > _LINES_MAX * max(len(old), len(new)):
        return None
    lines = ["--- ", f"+++ {hashlib.sha256(after.encode()).hexdigest()}"]
    for _tag, i1, i2, j1, j2 in blocks:
        lines.append(f"@@ -{_range(i1, i2)} +{_range(j1, j2)} @@")
        lines += [f"-{line}" for line in old[i1:i2]] + [f"+{line}" for line in new[j1:j2]]
    diff = "\n".join(lines)
    return diff if len(diff) <= len(after) else None


def _range(start: int, end: int) -> str:
    """As unified diffs count: from 1, and an empty range by the line before it."""
    return f"{start + 1 if end > start else start},{end - start}"
