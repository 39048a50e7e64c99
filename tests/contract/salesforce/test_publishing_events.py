"""Changes become platform events of the org: the real publisher on the simulator, with its faults."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from salmon.backoff import Backoff
from salmon.config.events import EventConfig
from salmon.errors import SetupError, Unavailable
from salmon.model.change import MONGODB, Change, Op, Write, WriteOp
from salmon.plugin.contract import OutcomeKind, SinkRecord
from salmon.salesforce.reading.source import SalesforceSourceTask
from salmon.salesforce.writing.publishing import USED_UP, EventPublisher
from salmon.sink.platform_events.event_records import change_decoder
from salmon.sink.platform_events.events import Carrier, EventSink, NoIdentities
from support.at_hand.memory_sync import MemorySync
from support.orgs.salesforce_box import AGAIN_S, SETTLE_S, BoxProcess, configured
from support.runtime import OBJECT, SCHEMA, headers_of, running
from support.waiting import until

EVENT = "Thing_Made__e"
FIELDS = {"Key__c": "Text", "Name__c": "Text", "Size__c": "Number", "At__c": "DateTime", "Day__c": "Date"}
QUICK = Backoff(first_s=0.02, max_s=0.1)
APPLIED, REFUSED, LATER = OutcomeKind.APPLIED, OutcomeKind.REFUSED, OutcomeKind.RETRY_LATER


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoxProcess]:
    with BoxProcess(tmp_path_factory.mktemp("box"), "--records", "Account=1") as process:
        yield process


@pytest.fixture
def box(process: BoxProcess) -> Iterator[BoxProcess]:
    process._control("POST", "events", {"event": EVENT, "fields": FIELDS})
    yield process
    process.heal()


@pytest.fixture
def publisher(box: BoxProcess) -> Iterator[EventPublisher]:
    made = EventPublisher(box.config(), EVENT, ["Key__c", "Name__c"], again_s=0.0)
    made.start({}, NoIdentities(), clean=False)
    yield made
    made.close()


@contextmanager
def heard(box: BoxProcess) -> Iterator[Any]:
    """What a subscriber hears of the event, from the earliest one on: a function that takes in what has come."""
    task = SalesforceSourceTask(
        box.config(), configured("Account"), "crm", settle_s=SETTLE_S, again_s=AGAIN_S
    )
    task.listen([EVENT])
    task.connect()
    task.use_event_schemas(task.event_schemas(), {})
    task.start({}, {})
    events: list[Any] = []

    def take() -> list[Any]:
        events.extend(task.poll(0.1).events)
        return events

    try:
        yield take
    finally:
        task.stop()
        task.close()


def record(key: str, **fields: Any) -> SinkRecord:
    return SinkRecord(EVENT, key, Write(1, WriteOp.CREATE, fields={"Key__c": key, **fields}))


def kinds(publisher: EventPublisher, *records: SinkRecord) -> list[OutcomeKind]:
    return [outcome.kind for outcome in publisher.put(records)]


def test_events_arrive_with_their_ids_and_values_of_every_type(
    box: BoxProcess, publisher: EventPublisher
) -> None:
    """Also more of them than a request may hold."""
    typed = record(
        "id-typed", Name__c=True, Size__c=1.5, At__c="2026-11-29T10:00:00.000Z", Day__c="2026-11-29"
    )
    midnight = record("id-day", Day__c="2026-11-29T00:00:00.000Z")  # as MongoDB has dates
    assert kinds(publisher, typed, midnight, *(record(f"id-{n}") for n in range(250))) == [APPLIED] * 252
    with heard(box) as take:
        until(lambda: len(take()) >= 252)
        found = {each.key: each.fields for each in take()}
    assert found["id-typed"]["Name__c"] == "true"
    assert found["id-typed"]["Size__c"] == 1.5
    assert found["id-typed"]["At__c"] == 1_795_946_400_000
    assert found["id-typed"]["Day__c"] == found["id-day"]["Day__c"] == 20_786
    assert f"id-{249}" in found


def test_an_event_that_does_not_fit_is_refused_and_the_others_are_published(
    publisher: EventPublisher,
) -> None:
    """A value of another type, and one that is too large; found before anything is sent."""
    outcomes = publisher.put(
        [
            record("a", Size__c="many"),
            record("b"),
            record("c", Name__c="x" * 1_100_000),
            record("d", Size__c=123_456_789_012_345_678),
        ]
    )
    assert [each.kind for each in outcomes] == [REFUSED, APPLIED, REFUSED, REFUSED]
    assert "more digits" in outcomes[3].reason
    assert "1 MB" in outcomes[2].reason
    assert "many" not in outcomes[0].reason
    assert "Size__c: a str is to be published, which is not a valid double" in outcomes[0].reason
    assert f"events.{EVENT}.fields" in outcomes[0].reason
    assert "Salesforce holds" not in outcomes[0].reason


def test_an_event_that_the_org_refuses_while_it_publishes_others_is_refused_at_last(
    box: BoxProcess, publisher: EventPublisher
) -> None:
    """Three times was another one, sent after it, published: then it is this event."""
    outcomes = []
    for n in range(3):
        box.fault("refuse_publish", topic=f"/event/{EVENT}", times=1)
        outcomes.append(kinds(publisher, record("bad"), record(f"good-{n}")))
    assert outcomes == [[LATER, APPLIED], [LATER, APPLIED], [REFUSED, APPLIED]]


def test_an_allowance_that_is_used_up_refuses_nothing(box: BoxProcess, publisher: EventPublisher) -> None:
    """However long it takes: the events wait, and people are told why. What is kept for others is not used, either."""
    box._control("POST", "allowances", {"HourlyPublishedPlatformEvents": 0})
    try:
        for _ in range(5):
            outcomes = publisher.put([record("one"), record("two")])
            assert [(each.kind, each.code) for each in outcomes] == [(LATER, USED_UP)] * 2
        assert "salesforce.publish_budget" in outcomes[0].reason
    finally:
        box._control("POST", "allowances", {"HourlyPublishedPlatformEvents": 250_000})
    assert kinds(publisher, record("one"), record("two")) == [APPLIED, APPLIED]


def test_a_session_that_ends_is_renewed_and_a_stream_that_ends_is_opened_again(
    box: BoxProcess, publisher: EventPublisher
) -> None:
    """Where no answer came, it is not known what became of the events: they are put again."""
    assert kinds(publisher, record("1")) == [APPLIED]
    box.fault("revoke_sessions")
    box.fault("cut_streams")

    def published() -> bool:
        try:
            return kinds(publisher, record("2")) == [APPLIED]
        except Unavailable:
            return False

    until(published)


def test_another_version_of_the_event_is_learnt(box: BoxProcess, publisher: EventPublisher) -> None:
    """The org refuses events of the former one; nothing is set aside."""
    box._control("POST", "events", {"event": EVENT, "fields": {**FIELDS, "More__c": "Text"}})
    assert kinds(publisher, record("new", Name__c="x"))[0] is LATER
    assert kinds(publisher, record("new", Name__c="x", More__c="y")) == [APPLIED]


@pytest.mark.parametrize(
    ("event", "field", "told"),
    [("None__e", "A__c", "topic.not.found"), (EVENT, "None__c", "no field None__c")],
)
def test_what_the_org_does_not_have_is_said(box: BoxProcess, event: str, field: str, told: str) -> None:
    """Before anything is published."""
    made = EventPublisher(box.config(), event, [field])
    with pytest.raises(SetupError, match=told):
        made.start({}, NoIdentities(), clean=False)
    made.close()


def test_inserts_of_a_collection_are_published_and_a_restart_goes_on_after_them(box: BoxProcess) -> None:
    """From `changes` to the org; the echo of our own write is none, and a foreign record is set aside."""
    sync = MemorySync(partitions=1)
    topic = sync.topics.changes(OBJECT)
    event = EventConfig(
        direction="to_salesforce", object=OBJECT, fields={"Key__c": "$key", "Name__c": "Name"}
    )

    def carrier() -> Carrier:
        task = EventPublisher(box.config(), EVENT, event.fields)
        task.start({}, NoIdentities(), clean=False)
        return Carrier(task, change_decoder(EVENT, event, SCHEMA, sync.changes_codec), "published")

    def made(key: str, ack: int | None = None) -> None:
        change = Change(MONGODB, Op.CREATE, ack=ack, fields={"Name": f"of {key}"})
        sync.produce(topic, key, sync.changes_codec.encode(change))

    def ours(events: list[Any]) -> list[Any]:
        return [each for each in events if str(each.fields.get("Name__c", "")).startswith("of ")]

    def committed() -> int:
        return sum(sync.broker.committed(f"{sync.name}-salesforce-sink-{EVENT}").values())

    made("k1")
    made("k2", ack=7)
    sync.produce(topic, "odd", b"{}")
    with heard(box) as take:
        for key in ("k3", "k4"):
            instance = sync.instance("salesforce-sink")
            with running(EventSink(instance, EVENT, topic, carrier, backoff=QUICK)):
                made(key)
                until(lambda key=key: key in {each.fields["Key__c"] for each in ours(take())})  # type: ignore[misc]
                # Each record has a marker of its transaction behind it.
                until(lambda key=key: committed() >= (7 if key == "k3" else 9))  # type: ignore[misc]
        found = ours(take())
    assert {each.fields["Key__c"] for each in found} == {"k1", "k3", "k4"}
    (letter,) = sync.dead_letters("salesforce-sink")
    assert headers_of(letter)["__connect.errors.topic"] == topic
