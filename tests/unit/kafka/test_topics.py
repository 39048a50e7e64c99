"""The topics of a sync: what is done so that they exist."""

from __future__ import annotations

from typing import Any

import pytest

from salmon.errors import Unavailable
from salmon.kafka import topics


def test_topics_that_could_not_be_checked_are_checked_by_a_new_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first one may never reach a broker again that stood still as it was connected."""
    first, second = object(), object()

    def ensure(admin: object, _wanted: object) -> None:
        if admin is first:
            raise Unavailable("Kafka said _TRANSPORT")

    monkeypatch.setattr("salmon.kafka.topics.ensure", ensure)
    ensuring: Any = topics.Ensuring(first, lambda: second, [])  # type: ignore[arg-type,return-value]
    with pytest.raises(Unavailable):
        ensuring()
    assert ensuring() is second
