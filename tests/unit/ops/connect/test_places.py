"""What the offsets resource is asked for: what cannot be a place is refused before anything is read or written."""

from __future__ import annotations

from typing import Any, cast

import pytest

from salmon.kafka.offsets import OffsetStore
from salmon.ops.connect.access import Refused
from salmon.ops.connect.bodies import Offset
from salmon.ops.connect.places import SinkPlaces

PLACE = {"kafka_topic": "crm.writes.mongodb.Account", "kafka_partition": 0}


@pytest.mark.parametrize(
    ("partition", "offset", "said"),
    [
        ({**PLACE, "kafka_partition": True}, None, "partition: must be"),
        ({**PLACE, "kafka_partition": 0.0}, None, "partition: must be"),
        ({**PLACE, "kafka_partition": "-1"}, None, "partition: must be"),
        ({**PLACE, "kafka_topic": 7}, None, "partition: must be"),
        ({**PLACE, "more": 1}, None, "partition: must be"),
        ({"kafka_topic": "t"}, None, "partition: must be"),
        (PLACE, {"kafka_offset": True}, "offset: must be"),
        (PLACE, {"kafka_offset": 1.5}, "offset: must be"),
        (PLACE, {"kafka_offset": "٣"}, "offset: must be"),
        (PLACE, {"kafka_offset": None}, "offset: must be"),
        (PLACE, {}, "offset: must be"),
        ({**PLACE, "event": 5}, None, "must be the name of an event"),
        ({**PLACE, "event": "Seen__e"}, {"kafka_offset": "3"}, "the sink carries no such event"),
    ],
)
def test_what_cannot_be_a_place_is_refused(
    partition: dict[str, Any], offset: dict[str, Any] | None, said: str
) -> None:
    """With 400, and how it is written; a number may be text, as some tools send it."""
    places = SinkPlaces(cast("OffsetStore", None), "mongodb-sink", [])
    with pytest.raises(Refused, match=said) as refused:
        places.alter([Offset(partition=partition, offset=offset)])
    assert refused.value.status == 400
