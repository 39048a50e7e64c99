"""Names for servers that the tests of a session share."""

from __future__ import annotations

from uuid import uuid4


def fresh(word: str) -> str:
    """A name that begins with *word* and that nobody else has: for topics, groups, subjects and databases."""
    return f"{word}_{uuid4().hex[:12]}"
