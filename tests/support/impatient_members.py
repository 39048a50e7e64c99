"""Members of a consumer group that join again as soon as they see that nobody has the partitions."""

from __future__ import annotations

import pytest


def look_every(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the group so often; the third look that finds nobody with the partitions makes a member join again."""
    monkeypatch.setattr("salmon.runtime.membership.LOOK_EVERY_S", seconds)
    monkeypatch.setattr("salmon.runtime.membership.JOIN_AGAIN_S", 2.5 * seconds)
    monkeypatch.setattr("salmon.runtime.membership._SESSIONS", 0.0)
