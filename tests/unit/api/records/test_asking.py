"""What a page may have in all: records, with those that are embedded, and bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import bson
import pytest

from salmon.api.grants import LOCAL
from salmon.api.problems import Problem
from salmon.api.records import asking
from salmon.api.records.asking import bounded
from salmon.api.records.selecting import selection_of
from salmon.mongodb.wire.client import CODEC
from support.at_hand.api_room import api_of


def page(batches: Iterator[bytes] | list[bytes]) -> list[dict[str, Any]]:
    """A page of cars with their trailers."""
    api = api_of("Car__c")
    selection = selection_of(api, api.objects["Car__c"], "Name,Trailers__r(Name)", LOCAL)
    return bounded(batches, CODEC, selection)


def car(trailers: int) -> bytes:
    """What MongoDB returns of a car with so many trailers."""
    return bson.encode(
        {"_id": "a", "_salmon_embedded_1": [{"_id": str(n)} for n in range(trailers)]}, codec_options=CODEC
    )


def test_embedded_records_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand accounts with a hundred contacts each are a hundred thousand records."""
    monkeypatch.setattr(asking, "RECORDS_MAX", 10)
    assert len(page([car(4), car(4)])) == 2
    with pytest.raises(Problem) as refused:
        page([car(4), car(5)])
    assert (refused.value.status, refused.value.code) == (413, "too-much")


def test_reading_ends_where_the_page_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is never fetched: that would be the memory of the process."""
    monkeypatch.setattr(asking, "BYTES_MAX", 100)
    fetched: list[int] = []

    def batches() -> Iterator[bytes]:
        for number in range(1_000):
            fetched.append(number)
            yield car(1)

    with pytest.raises(Problem) as refused:
        page(batches())
    assert refused.value.status == 413
    assert len(fetched) < 5
