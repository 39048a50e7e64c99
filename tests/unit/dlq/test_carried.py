"""An event that its sink could not carry, set aside, replayed by an operator, and carried once."""

from __future__ import annotations

import pytest

from salmon.backoff import Backoff
from salmon.config.events import EventConfig
from salmon.dlq.letters import LetterFilter, found
from salmon.dlq.replaying import replay
from salmon.model.change import MONGODB, Change, Op
from salmon.plugin.contract import Outcome, OutcomeKind, SinkRecord
from salmon.sink.event_records import change_decoder
from salmon.sink.events import Carrier, EventSink
from support.dead_letters import PUBLISHED, Desk
from support.runtime import OBJECT, SCHEMA, Sink, eventually, running

CONNECTOR = "salesforce-sink"


def test_an_event_that_is_replayed_is_published_under_the_id_it_had_and_by_its_sink_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also if it is refused once more in between: a letter of a replayed record keeps where the record came from."""
    monkeypatch.setattr("salmon.sink.events.POLL_S", 0.01)
    desk = Desk()
    sync, codec = desk.sync, desk.sync.changes_codec
    event = EventConfig(direction="to_salesforce", object=OBJECT, fields={"Key__c": "$key"})
    refusals = 2

    def answer(_: SinkRecord) -> Outcome:
        refuses = len(sink.puts) <= refusals
        return Outcome(OutcomeKind.REFUSED if refuses else OutcomeKind.APPLIED, code="NO", reason="no.")

    def open_letters() -> int:
        return len(found(desk, LetterFilter(), limit=10).letters)

    sink = Sink(answer)
    decode = change_decoder(PUBLISHED, event, SCHEMA, codec)
    part = EventSink(
        sync.instance(CONNECTOR),
        PUBLISHED,
        codec.topic,
        lambda: Carrier(sink, decode, "published"),
        replays=desk.topics.replays(PUBLISHED),
        backoff=Backoff(first_s=0.01, max_s=0.02),
    )
    sync.produce(codec.topic, "k", codec.encode(Change(MONGODB, Op.CREATE)))
    with running(part) as (run,):
        for tries in (1, 2):
            eventually(open_letters)
            assert len(sink.puts) == tries
            replay(desk, LetterFilter(), by="me")
        eventually(lambda: len(sink.puts) == 3)
        run.stop()
    assert open_letters() == 0
    assert len({record.key for record in sink.written}) == 1, "one id, whichever copy was published"
    assert len(sync.changes()) == 1, "nobody else sees it again"
