"""Merge and the worker of the Salesforce sink for a few records of one object, without Kafka: one batch after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from salmon.model.change import SALESFORCE, Change, Op, Value
from salmon.model.rules import Rules
from salmon.model.schema import ObjectSchema
from salmon.model.state import Park
from salmon.plugin.contract import Outcome, OutcomeKind, SinkRecord, SinkTask
from salmon.sink.reporting import QUIET, outcome_change
from salmon.sink.waiting.deferrals import Waits
from support.at_hand.stories import Story


class MergeAtHand:
    """
    Args:
        records: Record key (a Salesforce Id) -> what both sides hold.
        sink: Carries out what is owed to Salesforce.
        echoes: Whether the event of a write comes before its outcome; else it does not come at all.
    """

    def __init__(
        self,
        schema: ObjectSchema,
        records: Mapping[str, Mapping[str, Value]],
        sink: SinkTask,
        *,
        echoes: bool = False,
        on_reject: Literal["keep", "revert"] = "keep",
    ) -> None:
        self.name, self._sink, self._echoes = schema.name, sink, echoes
        self.stories = {key: Story(Rules(schema, on_reject=on_reject), key=key) for key in records}
        self.outcomes: list[Outcome] = []
        self._waits = Waits()
        self._done: dict[str, int] = {}  # the seq that was put last
        for key, story in self.stories.items():
            story.salesforce.row(records[key], native_id=key)
            story.mongodb.row(records[key])
            story.come_to_rest()
            story.writes.clear()

    def edit(self, key: str, **fields: Value) -> None:
        """One save in MongoDB."""
        self.stories[key].mongodb.edits(fields)

    def settle(self, batches_max: int = 40) -> int:
        """Put what is owed, and tell merge what became of it, until nothing is owed; return the number of batches."""
        for batch in range(batches_max):
            owed = [
                SinkRecord(self.name, key, write)
                for key, story in self.stories.items()
                if (write := story.writes.get(SALESFORCE)) and write.seq > self._done.get(key, 0)
            ]
            if not owed:
                return batch
            outcomes = self._sink.put(owed)
            for record, outcome in zip(owed, outcomes, strict=True):
                self._done[record.key] = record.write.seq
                self._report(record, outcome)
        raise AssertionError(f"not settled: {self.outcomes[-5:]}")

    def refused(self, key: str) -> frozenset[str]:
        """The fields that Salesforce has refused for good."""
        return self._parked(key, Park.REFUSED)

    def waiting(self, key: str) -> frozenset[str]:
        return self._parked(key, Park.DEFERRED)

    def _parked(self, key: str, why: Park) -> frozenset[str]:
        parked = self.stories[key].salesforce.parked
        return frozenset(name for name, each in parked.items() if each.why is why)

    def _report(self, record: SinkRecord, outcome: Outcome) -> None:
        """As salmon.sink.reporting does."""
        story = self.stories[record.key]
        self.outcomes.append(outcome)
        if self._echoes and outcome.kind is OutcomeKind.APPLIED:
            story.salesforce.acks(record.write)
        timed = self._waits.timed(record)
        if outcome.kind is OutcomeKind.DEFERRED:
            self._waits.put(self._waits.deferred(record, outcome, 0))
        if outcome.kind not in QUIET:
            story.tell(outcome_change(SALESFORCE, record, outcome))
        if outcome.kind is not OutcomeKind.DEFERRED and timed is not None:
            self._waits.drop(timed.id)
            story.tell(Change(SALESFORCE, Op.RETRY, ack=timed.seq, changed=timed.fields or None))
