"""
A source's batch as the records of one transaction; what cannot be encoded goes to the dead letters.

Pure but for the codecs. Encoding is done once, before the transaction: a batch that must be written again is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from salmon.errors import DataError
from salmon.kafka.offsets import OffsetStore
from salmon.kafka.registry import Registry
from salmon.kafka.serdes import Changes, Identities
from salmon.kafka.topics import Topics
from salmon.model.connector import DeadLetter, SourceBatch, SourceRecord
from salmon.model.schema import ObjectSchema
from salmon.runtime.dead_letters import dead_letter_headers
from salmon.runtime.telling import Output


@dataclass(slots=True)
class Encoded:
    """The records of one transaction. *written*: the changes among them."""

    outputs: list[Output] = field(default_factory=list)
    written: list[SourceRecord] = field(default_factory=list)
    dead_letters: int = 0


class BatchEncoder:
    """
    Args:
        schemas: Object -> schema, of all synced objects.
        task_class: For dead letters: what could not be made of a report.
    """

    def __init__(
        self,
        connector: str,
        topics: Topics,
        registry: Registry,
        schemas: Mapping[str, ObjectSchema],
        entries: OffsetStore,
        *,
        task_class: str,
    ) -> None:
        self._connector, self._topics, self._entries, self._task_class = (
            connector,
            topics,
            entries,
            task_class,
        )
        self._changes = {name: Changes(s, registry, topics.changes(name)) for name, s in schemas.items()}
        self._identities = {name: Identities(registry, topics.identity(name)) for name in schemas}

    def encode(self, batch: SourceBatch) -> Encoded:
        """
        Raises Unavailable where the registry does not answer.
        """
        encoded = Encoded()
        add = encoded.outputs.append
        for identity in batch.identities:
            value = None if identity.key is None else self._identities[identity.object].encode(identity.key)
            add(Output(self._topics.identity(identity.object), identity.native_id, value))
        for record in batch.records:
            try:
                value = self._changes[record.object].encode(record.change)
            except DataError as error:
                self._set_aside(DeadLetter(record.object, record.key, b"", error, "VALUE_CONVERTER"), encoded)
                continue
            add(Output(self._topics.changes(record.object), record.key, value))
            encoded.written.append(record)
        for letter in batch.dead_letters:
            self._set_aside(letter, encoded)
        for partition, position in batch.positions.items():
            add(Output(self._entries.topic, *self._entries.record(self._connector, partition, position)))
        return encoded

    def set_aside(
        self, key: str | bytes | None, original: bytes | None, error: Exception, stage: str
    ) -> Output:
        """A dead letter: the report's bytes as they came, and Kafka Connect's headers that say why."""
        headers = dead_letter_headers(
            None, error, connector=self._connector, stage=stage, class_name=self._task_class
        )
        return Output(self._topics.dlq(self._connector), key, original, tuple(headers))

    def without_largest(self, encoded: Encoded, error: DataError) -> Encoded:
        """
        *encoded* with its largest record replaced by a dead letter without original, since that is too large. A
        position or an identity is never given up: without it, more than that record would be lost.

        Raises *error* where nothing is left that could be at fault.
        """
        topics = {*map(self._topics.changes, self._changes), self._topics.dlq(self._connector)}
        suspects = [output for output in encoded.outputs if output.topic in topics and output.value]
        largest = max(suspects, key=lambda output: len(output.value or b""), default=None)
        if largest is None:
            raise error
        outputs = [output for output in encoded.outputs if output is not largest]
        outputs.append(self.set_aside(largest.key, None, error, "KAFKA_PRODUCE"))
        return replace(
            encoded,
            outputs=outputs,
            written=[each for each in encoded.written if each.key != largest.key],
            dead_letters=encoded.dead_letters + 1,
        )

    def _set_aside(self, letter: DeadLetter, encoded: Encoded) -> None:
        encoded.outputs.append(self.set_aside(letter.key, letter.original, letter.error, letter.stage))
        encoded.dead_letters += 1
