"""Records as the API shows them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import bson
import pytest
from bson.decimal128 import Decimal128
from bson.errors import BSONError
from bson.int64 import Int64
from hypothesis import given, strategies

from salmon.api.records.selecting import Selection
from salmon.api.records.showing import SYNC, shown
from salmon.model.convert import to_json
from salmon.mongodb.wire.client import CODEC
from support.at_hand.api_room import api_of

PLAIN: Final = api_of("Car__c").objects["Car__c"]
RENAMED: Final = api_of(
    "Car__c",
    objects={"Car__c": {"fields": {"rename": {"Notes__c": "about.notes", "Doors__c": "doors"}}}},
).objects["Car__c"]
# What applications leave in documents: of each type, whatever the field.
HELD: Final = strategies.one_of(
    strategies.none(),
    strategies.booleans(),
    strategies.integers(-(2**63), 2**63 - 1),
    strategies.integers(-(2**31), 2**31 - 1).map(Int64),
    strategies.floats(),
    strategies.text(max_size=8),
    strategies.sampled_from(
        ["", "Red", "005000000000001AAA", "13:05", "$oid:x", "\N{LATIN SMALL LETTER E WITH ACUTE}"]
    ),
    strategies.datetimes(datetime(1600, 1, 1), datetime(4100, 1, 1)).map(lambda at: at.replace(tzinfo=UTC)),  # noqa: DTZ001
    strategies.lists(strategies.sampled_from(["Red", "Blue", ""]), max_size=3),
    strategies.decimals(-1000, 1000, places=3).map(Decimal128),
    strategies.just({"notes": "within"}),
)


@pytest.mark.parametrize("of", [PLAIN, RENAMED], ids=["own names", "renamed"])
@given(
    held=strategies.dictionaries(
        strategies.sampled_from([*(f.name for f in PLAIN.schema.fields), "about", "doors"]), HELD
    )
)
def test_a_record_is_shown_as_the_sync_reads_it(of: Any, held: dict[str, Any]) -> None:
    """The short way that most values take shows the same as the sync's own reading of the document, whatever is in it."""
    try:
        document = bson.decode(bson.encode({"_id": "a", **held}, codec_options=CODEC), codec_options=CODEC)
    except (BSONError, OverflowError, UnicodeEncodeError):
        return  # no document can hold it
    reading, by_name = of.shape.reading(document), of.schema.by_name
    record = shown(Selection(of), document, {})
    values = {name: reading.fields.get(name) for name in by_name}
    expected = {
        name: None if value is None else to_json(by_name[name], value) for name, value in values.items()
    }
    assert {name: record[name] for name in by_name} == expected
    assert record[SYNC].get("unfit", []) == sorted(reading.misfits)
