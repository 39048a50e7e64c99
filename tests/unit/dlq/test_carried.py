"""An event that its sink could not carry, set aside, replayed by an operator, and carried once."""

from __future__ import annotations

import pytest

from salmon.backoff import Backoff
from salmon.config.events import EventConfig
from salmon.dlq.editing import draft_of, shown_fields
from salmon.dlq.letters import LetterFilter, found
from salmon.dlq.replaying import replay
from salmon.errors import ConfigError
from salmon.kafka.codecs.outbox import Documents, Outcomes
from salmon.model.change import MONGODB, Change, Op
from salmon.plugin.contract import Outcome, OutcomeKind, SinkRecord
from salmon.sink.platform_events.event_records import change_decoder, document_decoder, outcome_teller
from salmon.sink.platform_events.events import Carrier, EventSink
from support.at_hand.dead_letters import PUBLISHED, Desk
from support.runtime import OBJECT, SCHEMA, Sink, running
from support.waiting import until

CONNECTOR = "salesforce-sink"


def test_an_event_that_is_replayed_is_published_under_the_id_it_had_and_by_its_sink_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also if it is refused once more in between: a letter of a replayed record keeps where the record came from."""
    monkeypatch.setattr("salmon.sink.platform_events.events.POLL_S", 0.01)
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
            until(open_letters)
            assert len(sink.puts) == tries
            replay(desk, LetterFilter(), by="me")
        until(lambda: len(sink.puts) == 3)
        run.stop()
    assert open_letters() == 0
    assert len({record.key for record in sink.written}) == 1, "one id, whichever copy was published"
    assert len(sync.changes()) == 1, "nobody else sees it again"


def test_a_document_of_an_outbox_that_is_replayed_is_told_that_it_was_published_after_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its letter shows the fields, and cannot be edited: the sentence says what to do instead."""
    monkeypatch.setattr("salmon.sink.platform_events.events.POLL_S", 0.01)
    desk = Desk()
    sync, topics = desk.memory, desk.topics
    documents = Documents(sync.registry, topics.outbox(PUBLISHED))
    outcomes = Outcomes(sync.registry, topics.outcomes(PUBLISHED))
    for topic in (documents.topic, outcomes.topic):
        sync.broker.create(topic)

    def answer(_: SinkRecord) -> Outcome:
        kind = OutcomeKind.REFUSED if len(sink.puts) == 1 else OutcomeKind.APPLIED
        return Outcome(kind, code="NO", reason="no.")

    sink = Sink(answer)
    tell = outcome_teller(documents.topic, outcomes)
    part = EventSink(
        sync.instance(CONNECTOR),
        PUBLISHED,
        documents.topic,
        lambda: Carrier(sink, document_decoder(PUBLISHED, documents), "published", tell),
        replays=topics.replays(PUBLISHED),
        backoff=Backoff(first_s=0.01, max_s=0.02),
    )
    sync.produce(documents.topic, "$int:7", documents.encode({"A__c": 5}, 0))
    with running(part) as (run,):
        until(lambda: found(desk, LetterFilter(), limit=10).letters)
        ((letter, _),) = found(desk, LetterFilter(), limit=10).letters
        assert shown_fields(desk, letter) == {"A__c": 5}
        with pytest.raises(ConfigError, match="under a new _id"):
            draft_of(desk, letter, by="me", reason="", now_ms=0)
        replay(desk, LetterFilter(), by="me")
        until(lambda: len(sync.values(outcomes.topic)) == 2)
        run.stop()
    told = [outcomes.decode(value or b"") for value in sync.values(outcomes.topic)]
    assert [bool(each.error) for each in told] == [True, False]
    assert told[0].event_uuid == told[1].event_uuid
