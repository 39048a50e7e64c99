"""Diffs of long texts, as change events may carry them, against a reader of unified diffs that was written apart."""

from __future__ import annotations

import hashlib
import random
import re

import pytest

from salmon.simulator.events.text_diffs import text_diff

LONG = "\n".join(f"line {number}: {'x' * 20}" for number in range(60))


def applied(before: str, diff: str) -> str:
    """The text that a client makes of the one it knows and the diff; checked by the sum in it."""
    head, named, *rest = diff.split("\n")
    assert head == "--- "
    old, new, at, place = before.split("\n"), [], 0, 0
    while place < len(rest):
        found = re.fullmatch(r"@@ -(\d+),(\d+) \+(\d+),(\d+) @@", rest[place])
        assert found is not None, rest[place]
        start, gone, _to, added = map(int, found.groups())
        start = start - 1 if gone else start
        new += old[at:start]
        place += 1
        assert [line[1:] for line in rest[place : place + gone]] == old[start : start + gone]
        place += gone
        new += [line[1:] for line in rest[place : place + added]]
        place += added
        at = start + gone
    after = "\n".join(new + old[at:])
    assert named == f"+++ {hashlib.sha256(after.encode()).hexdigest()}"
    return after


@pytest.mark.parametrize("seed", range(30))
def test_a_client_that_applies_the_diff_has_the_new_text(seed: int) -> None:
    """Lines changed, added and taken away, anywhere."""
    rng = random.Random(seed)
    lines = LONG.split("\n")
    for _ in range(4):
        place = rng.randrange(len(lines))
        lines[place : place + rng.randrange(3)] = [f"new {rng.random()}" for _ in range(rng.randrange(3))]
    after = "\n".join(lines)
    diff = text_diff(LONG, after)
    assert diff is not None
    assert applied(LONG, diff) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, LONG),
        (LONG, None),
        ("short", "shorter"),
        (LONG, LONG + LONG),
        (LONG, LONG.replace("line", "lime")),
        ("a" * 1200, "b" * 1200),
    ],
    ids=["new", "cleared", "short", "twice as long", "most lines", "one line"],
)
def test_the_value_itself_is_sent_where_a_diff_may_not_be(before: str | None, after: str | None) -> None:
    """Below 1,000 characters, or when too much has changed."""
    assert text_diff(before, after) is None
