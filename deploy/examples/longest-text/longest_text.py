"""
A conflict policy: of two texts, the longer one wins. For descriptions and notes, where the fuller one is seldom wrong.

Install it beside Salmon in the image of every process, and name it in the sync's YAML file:

    objects:
      Account: {collection: accounts, conflicts: {fields: {Description: longest_text}}}
"""

from __future__ import annotations

from salmon.plugin import EXISTENCE, Contest, Edit


def longest_text(contest: Contest) -> Edit | None:
    """
    Return the winner: the contest's own `standing` or `challenger`; or None, which leaves it to a person.

    It must be pure: no clock, no chance, nothing read. Merge may fold the same log again, and must come to the same.
    """
    if contest.field == EXISTENCE:
        return None  # one side deleted what the other edited: `salmon conflicts list --held` shows it
    standing, challenger = contest.standing, contest.challenger
    if not all(isinstance(edit.value, str | None) for edit in (standing, challenger)):
        return max(standing, challenger, key=lambda edit: (edit.committed_at, edit.seq))
    return max(standing, challenger, key=lambda edit: (len(edit.value or ""), edit.committed_at, edit.seq))
