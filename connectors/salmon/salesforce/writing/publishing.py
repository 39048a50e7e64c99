"""
Sink task that publishes platform events: one event for each record, at least once.

An event has the id that its record's key is, so that subscribers recognize one that is published again, after a kill or
an answer that did not come. The API says of each event alone whether it was published, but not why not: an allowance that
is used up and an event that the org refuses look the same. So an event counts as refused only if others that
were sent after it in the same call were published, three times. Until then it waits, and holds up no other. What would be beyond the budget of published events is not sent: it waits,
too, and so does what the org did not publish while its allowance was used up.
Sources: Pub/Sub API, "PublishStream RPC Method", "Handle Publish Errors"; Platform Event Allocations.
"""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import fastavro

from salmon.calls import Calls, Peer, Probe
from salmon.errors import DataError, RequestRejected, SchemaMismatch, SetupError, Unavailable, UnfitServer
from salmon.model.event_schema import event_schema, payload_of
from salmon.model.schema import Kind, ObjectSchema
from salmon.plugin.contract import Identities, Outcome, OutcomeKind, SinkRecord
from salmon.salesforce.config import SalesforceConfig
from salmon.salesforce.wire.batches import sized_batches
from salmon.salesforce.wire.pubsub_api import pubsub_api_pb2 as pb2
from salmon.salesforce.wire.pubsub_api.publishing import (
    EVENT_BYTES_MAX,
    EVENTS_MAX,
    REQUEST_BYTES_MAX,
    PublishStream,
)
from salmon.salesforce.wire.pubsub_api.pubsub import PubSub
from salmon.salesforce.wire.rest import Rest
from salmon.salesforce.wire.signing_in.auth import SignIn
from salmon.salesforce.writing.allowance import AGAIN_S, Allowance

OVERTAKEN_MAX: Final = 3
USED_UP: Final = "PUBLISH_ALLOWANCE"  # ours: such an event is not sent
_MIDNIGHT: Final = "T00:00:00.000Z"
_PUBLISHED: Final = Outcome(OutcomeKind.APPLIED)
_LATER: Final = Outcome(
    OutcomeKind.RETRY_LATER,
    code="PUBLISH",
    reason="The org does not publish the event now: the hourly allowance of published events may be used up (Setup, Platform "
    "Events), or it refuses the event.",
)
_REFUSED: Final = Outcome(
    OutcomeKind.REFUSED,
    code="PUBLISH",
    reason="the org refuses this event, and publishes others. See that its required fields have values.",
)


class EventPublisher:
    """
    See SinkTask. One topic, one stream, one thread.

    Args:
        fields: The event's fields that are filled: the org must have them.
        clock: Wall clock, in seconds.
        again_s: After so long it is tried again, while nothing may be published.
    """

    def __init__(
        self,
        config: SalesforceConfig,
        event: str,
        fields: Collection[str],
        *,
        clock: Callable[[], float] = time.time,
        again_s: float = AGAIN_S,
    ) -> None:
        self._config, self._event, self._fields, self._clock = config, event, fields, clock
        self._topic, self._again_s = f"/event/{event}", again_s
        self._calls = Calls()
        self._pubsub: PubSub | None = None
        self._stream: PublishStream | None = None
        self._schema_id = ""
        self._schema: ObjectSchema | None = None
        self._avro: Any = None
        self._user = ""
        self._overtaken: Counter[str] = Counter()
        self._rest: Rest | None = None
        self._allowance: Allowance | None = None

    def watch(self, calls: Calls) -> Mapping[Peer, Probe]:
        """See Watched."""
        self._calls = calls
        return {}

    def start(self, schemas: Mapping[str, ObjectSchema], identities: Identities, *, clean: bool) -> None:
        """
        Sign in and learn the event's schema. *schemas* and the others are not needed.

        Raises:
            SetupError: the org does not have the event, or a field of it, or does not let us publish it.
            Unavailable: the org cannot be asked now.
        """
        sign_in = SignIn(self._config, calls=self._calls)
        self._user = sign_in.token().user_id
        self._pubsub = PubSub(self._config, sign_in, calls=self._calls)
        self._rest = Rest(self._config, sign_in, calls=self._calls)
        self._allowance = Allowance(self._rest, self._config.publish_budget, again_s=self._again_s)
        self._learn(self._pubsub)
        self._stream = PublishStream(self._pubsub, self._topic)

    def put(self, records: Sequence[SinkRecord]) -> Sequence[Outcome]:
        """Publish *records*; see SinkTask.put."""
        stream = self._stream
        if stream is None:
            raise Unavailable(f"{self._event}: publishing was stopped.")
        outcomes: dict[str, Outcome] = {}
        events: list[pb2.ProducerEvent] = []
        for record in records:
            try:
                events.append(self._encoded(record))
            except DataError as error:
                outcomes[record.key] = Outcome(
                    OutcomeKind.REFUSED, code=type(error).__name__, reason=str(error)
                )
        sent, waits = self._allowed(events)
        outcomes |= dict.fromkeys((event.id for event in waits), self._used_up())
        for request in _requests(sent):
            outcomes |= self._judged(request, stream.publish(request))
        if self._overtaken and self._pubsub is not None:
            self._learn(self._pubsub)  # it may be published with a schema that the event no longer has
        return [outcomes[record.key] for record in records]

    def stop(self) -> None:
        """Unblock put(). Idempotent; from any thread."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def close(self) -> None:
        """Give up the connection."""
        self.stop()
        pubsub, self._pubsub = self._pubsub, None
        rest, self._rest = self._rest, None
        for each in (pubsub, rest):
            if each is not None:
                each.close()

    def _learn(self, pubsub: PubSub) -> None:
        try:
            topic = pubsub.topic(self._topic)
            text = pubsub.schema_text(topic.schema_id)
        except (RequestRejected, UnfitServer) as error:
            raise SetupError(
                f"{error} Correct the name, or let the integration user create {self._event}."
            ) from error
        if not topic.can_publish:
            raise SetupError(
                f"{self._event} cannot be published by the integration user. Let it create the event."
            )
        schema = event_schema(self._event, text)
        if missing := sorted(set(self._fields) - schema.by_name.keys()):
            raise SetupError(
                f"the event has no field {', '.join(missing)}. Correct `fields`, or create the field."
            )
        self._schema_id, self._schema = topic.schema_id, schema
        self._avro = fastavro.parse_schema(dict(text))

    def _encoded(self, record: SinkRecord) -> pb2.ProducerEvent:
        """Raises SchemaMismatch: a value does not fit, or the event is larger than the API takes."""
        assert self._schema is not None
        require_digits(self._schema, record.write.fields)
        payload = payload_of(
            self._schema,
            _with_days(self._schema, record.write.fields),
            created_at=round(self._clock() * 1000),
            created_by=self._user,
        )
        buffer = io.BytesIO()
        try:
            fastavro.schemaless_writer(buffer, self._avro, payload)
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
            wrong = ", ".join(unfit(self._avro, payload)) or type(error).__name__
            raise SchemaMismatch(
                f"{self._event}: its values do not fit its schema in the org: {wrong}. Fill its fields with others "
                f"(events.{self._event}.fields), or correct the values where they come from."
            ) from None
        if len(buffer.getvalue()) > EVENT_BYTES_MAX:
            raise SchemaMismatch(f"{self._event}: the event is larger than 1 MB. Publish fewer fields.")
        return pb2.ProducerEvent(id=record.key, schema_id=self._schema_id, payload=buffer.getvalue())

    def _allowed(
        self, events: Sequence[pb2.ProducerEvent]
    ) -> tuple[Sequence[pb2.ProducerEvent], Sequence[pb2.ProducerEvent]]:
        """What may be published now, and what must wait."""
        left = None if self._allowance is None or not events else self._allowance.left()
        return (events, ()) if left is None else (events[:left], events[left:])

    def _used_up(self) -> Outcome:
        reason = "" if self._allowance is None else self._allowance.sentence
        return Outcome(OutcomeKind.RETRY_LATER, code=USED_UP, reason=reason, again_s=self._again_s)

    def _judged(
        self, events: Sequence[pb2.ProducerEvent], results: Sequence[pb2.PublishResult]
    ) -> Mapping[str, Outcome]:
        """The outcome of each event of a request. What the org does not publish is judged by what was sent after it."""
        outcomes: dict[str, Outcome] = {}
        was_later_published = False
        published = sum(not result.HasField("error") for result in results)
        if self._allowance is not None:
            self._allowance.published(published, others=len(results) - published)
            if published < len(results) and self._allowance.is_used_up:
                return {
                    event.id: self._used_up() if result.HasField("error") else _PUBLISHED
                    for event, result in zip(events, results, strict=True)
                }
        for event, result in zip(reversed(events), reversed(results), strict=True):
            if not result.HasField("error"):
                was_later_published = True
                outcomes[event.id] = _PUBLISHED
                self._overtaken.pop(event.id, None)
                continue
            self._overtaken[event.id] += was_later_published
            refused = self._overtaken[event.id] >= OVERTAKEN_MAX
            outcomes[event.id] = _REFUSED if refused else _LATER
            if refused:
                del self._overtaken[event.id]
        return outcomes


def require_digits(schema: ObjectSchema, shown: Mapping[str, Any]) -> None:
    """Raise SchemaMismatch: a whole number has more digits than a double, as which the event would hold another number."""
    for field in schema.fields:
        value = shown.get(field.name)
        if field.kind is Kind.DOUBLE and isinstance(value, int) and not _is_double(value):
            raise SchemaMismatch(
                f"{field.name}: the number has more digits than the event's {field.type} can hold. Fill a text field with it "
                f"(events.{schema.name}.fields), or round it where it comes from."
            )


def _is_double(number: int) -> bool:
    try:
        return Decimal(repr(float(number))) == number
    except OverflowError:
        return False


def unfit(avro: Mapping[str, Any], payload: Mapping[str, Any]) -> list[str]:
    """The fields whose values are not of their types in the event's schema, each with the type that the value has."""
    return [
        f"{name} is a {type(payload.get(name)).__name__}"
        for name, type_ in ((each["name"], each["type"]) for each in avro["fields"])
        if not fastavro.validate(payload.get(name), type_, raise_errors=False)
    ]


def _with_days(schema: ObjectSchema, shown: Mapping[str, Any]) -> dict[str, Any]:
    """*shown*, in which midnight (UTC) may stand for the day: MongoDB has no dates without a time."""
    days = {field.name for field in schema.fields if field.kind is Kind.DATE}
    return {
        name: value.removesuffix(_MIDNIGHT) if name in days and isinstance(value, str) else value
        for name, value in shown.items()
    }


def _requests(events: Sequence[pb2.ProducerEvent]) -> Iterator[list[pb2.ProducerEvent]]:
    """Divide events into requests that the API takes."""
    return sized_batches(events, EVENTS_MAX, REQUEST_BYTES_MAX, size_of=pb2.ProducerEvent.ByteSize)
