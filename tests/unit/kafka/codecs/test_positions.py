"""Positions as they are stored in `offsets`: whatever is written there, whoever reads it gets a position or a clear error."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from salmon.errors import SchemaMismatch, SetupError
from salmon.kafka.codecs.serdes import Offsets
from salmon.mongodb.reading.dates import Dates as MongoDates
from salmon.mongodb.reading.snapshot import Place
from salmon.plugin.contract import Position
from salmon.salesforce.reading.dates import Dates as SalesforceDates
from salmon.salesforce.reading.whole.run import Run, Why
from salmon.salesforce.reading.whole.windows import Reads
from salmon.sink.waiting.deferrals import Wait
from salmon.sink.waiting.refusals import Refused
from support.at_hand.registries import MemoryRegistry

OFFSETS = Offsets(MemoryRegistry(), "crm.offsets")


def stored(position: Position) -> Position:
    """What is read of *position* after it was written."""
    return OFFSETS.decode(OFFSETS.encode(position))


def test_a_position_is_read_as_it_was_written() -> None:
    """Also what is inside it; what may be missing can be asked for."""
    position = {"replay_id": "0a", "job": {"id": "750"}, "signals": [{"n": 1}], "whole": None}
    assert stored(position) == position
    assert stored(position).get("told_up_to", 5) == 5
    assert OFFSETS.encode(stored(position)) == OFFSETS.encode(position)


@pytest.mark.parametrize("text", ["5", "[]", "null", "{", '"{}"'])
def test_what_is_not_a_json_object_is_not_a_position(text: str) -> None:
    """Another program wrote it."""
    with pytest.raises(SchemaMismatch, match=r"crm\.offsets: a position is not a JSON object"):
        OFFSETS.decode(OFFSETS.encode_datum({"position": text}))


@pytest.mark.parametrize(
    ("read", "lacks"),
    [
        pytest.param(lambda it: Run.from_position("Account", it), "why", id="salesforce-snapshot"),
        pytest.param(Reads.from_position, "ranges", id="salesforce-reads"),
        pytest.param(
            lambda it: SalesforceDates().reached_s("stream", it, None, 0.0),
            "commit_time",
            id="salesforce-dates",
        ),
        pytest.param(Place.of, "after", id="mongodb-snapshot"),
        pytest.param(lambda it: Wait.of("waits/Account/a", it), "seq", id="waits"),
        pytest.param(lambda it: Refused.of("refused/Account/a", it), "holder", id="refusals"),
    ],
)
def test_whoever_reads_a_position_that_lacks_a_key_says_which_and_what_to_do(
    read: Callable[[Position], object], lacks: str
) -> None:
    """Another version of Salmon wrote it. A KeyError would restart the process for ever, and say only the key."""
    with pytest.raises(SetupError, match=rf"crm\.offsets: an entry lacks '{lacks}'.*write a tombstone"):
        read(stored({"other": 1}))


@pytest.mark.parametrize(
    ("stands", "lacks"),
    [
        ({"why": Why.FIRST, "signals": []}, "began"),
        ({"why": Why.FIRST, "began": 1, "signals": [], "job": {"version": "64.0"}}, "id"),
        ({"why": Why.FIRST, "began": 1, "signals": [], "parts": [{"after": "", "job": None}]}, "to"),
    ],
)
def test_what_a_run_needs_is_named_also_deeper_inside(stands: Position, lacks: str) -> None:
    """Its job and its parts are objects in the position of a snapshot."""
    with pytest.raises(SetupError, match=f"an entry lacks '{lacks}'"):
        Run.from_position("Account", stored(stands))


def test_a_position_of_mongodb_without_a_token_has_no_date() -> None:
    """The metrics ask for it, and must not stop the source."""
    assert MongoDates().reached_s("stream", stored({"reads": {}}), None, 0.0) is None
