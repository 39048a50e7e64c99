"""What one transaction of merge will say, besides what each fold gives."""

from __future__ import annotations

from typing import cast

from structlog.testing import capture_logs

from salmon.kafka.codecs.serdes import Changes, Conflicts, Records, Signals, Writes
from salmon.kafka.topics import Topics
from salmon.merge.batch import Batch, ObjectCodecs
from salmon.merge.reporting import report_batch
from salmon.merge.states import States
from salmon.merge.store import Store
from salmon.model.change import SALESFORCE, SIDES, Change, Op
from salmon.model.policies import HOLD
from salmon.model.state import State, new_state
from salmon.ops.metrics import Metrics
from support.at_hand.registries import MemoryRegistry
from support.at_hand.stories import KEY, SCHEMA, in_step, rules

TOPICS, RULES, REGISTRY = Topics("crm"), rules(policy=HOLD), MemoryRegistry()
CONFLICTS = Conflicts(REGISTRY, TOPICS.conflicts)
SIGNALS = Signals(REGISTRY, TOPICS.signals("salesforce-source"))
CODECS = ObjectCodecs(
    RULES,
    Changes(SCHEMA, REGISTRY, TOPICS.changes("Account")),
    {side: Writes(SCHEMA, REGISTRY, TOPICS.writes(side, "Account")) for side in SIDES},
    Records(SCHEMA, REGISTRY, TOPICS.records("Account")),
    States(RULES, REGISTRY, TOPICS.state("Account")),
)


class Nothing:
    """Stands for Store: merge has never heard of any key."""

    def get(self, _key: str) -> State:
        return new_state(RULES.names)


def add(batch: Batch, key: str, change: Change, offset: int) -> None:
    """Have the batch fold a change, as it stands in the log."""
    value = CODECS.changes.encode(change)
    batch.add(CODECS, cast("Store", Nothing()), key=key, value=value, partition=0, offset=offset)


def test_what_is_parked_and_what_is_freed_is_counted_by_why() -> None:
    """A conflict is held and then decided: operators see both, by object, side and why, and never a key."""
    batch = Batch(TOPICS, CONFLICTS, SIGNALS)
    story = in_step(RULES, Name="Acme", Phone="555 0000")
    story.salesforce.edits(Phone="555 0101")
    story.mongodb.edits(Phone="555 0202")
    story.edit_of_an_operator(Phone="555 0303")
    for offset, change in enumerate(story.changes, start=101):
        add(batch, KEY, change, offset)
    metrics = Metrics("merge")
    report_batch(metrics, batch, len(story.changes), 0)
    text = metrics.exposition().decode()
    for name in ("parked", "freed"):
        assert (
            f'salmon_{name}_fields_total{{connector="merge",object="Account",side="mongodb",why="held"}} 1.0'
            in text
        )


def test_records_that_are_told_in_part_are_asked_for_together() -> None:
    """One signal of a batch names all that are to be read again by one side, with the Ids that it knows."""
    batch = Batch(TOPICS, CONFLICTS, SIGNALS)
    for offset, key in enumerate([KEY, "m1", "m2", KEY], start=1):
        part = Change(
            SALESFORCE,
            Op.UPDATE,
            order=bytes([offset]),
            commit_time=offset,
            native_id=f"Id of {key}",
            changed=frozenset({"Phone"}),
            fields={"Phone": "1"},
        )
        add(batch, key, part, offset)
    (request,) = batch.requests()
    signal = SIGNALS.decode(request.value or b"", offset=0)
    assert (request.topic, request.partition) == (TOPICS.signals("salesforce-source"), 0)
    assert dict(zip(signal.keys, signal.native_ids, strict=True)) == {
        key: f"Id of {key}" for key in (KEY, "m1", "m2")
    }


def test_a_signal_names_the_ids_of_all_its_records_or_of_none_and_not_too_many() -> None:
    """A source reads by Id where each has one; and a signal is never too large for Kafka."""
    batch = Batch(TOPICS, CONFLICTS, SIGNALS)
    known = {f"k{n}": f"Id {n}" for n in range(501)}
    batch.to_read["salesforce", "Account"] = {"m1": None, **known, "m2": None}
    signals = [SIGNALS.decode(request.value or b"", offset=0) for request in batch.requests()]
    assert [(len(signal.keys), len(signal.native_ids)) for signal in signals] == [(500, 500), (1, 1), (2, 0)]
    assert signals[2].keys == ("m1", "m2")


def test_what_cannot_be_taken_is_counted_and_named_in_the_log() -> None:
    """Until it is corrected: operators see object, side and field, and the reason waits in `why` (case V6)."""
    batch = Batch(TOPICS, CONFLICTS, SIGNALS)
    story = in_step(RULES, Name="Acme", Phone="555 0000")
    story.mongodb.edits(misfits=["Phone"])
    for offset, change in enumerate(story.changes, start=101):
        add(batch, KEY, change, offset)
    metrics = Metrics("merge")
    with capture_logs() as logs:
        report_batch(metrics, batch, len(story.changes), 0)
    labels = 'connector="merge",object="Account",side="mongodb",why="misfit"'
    assert f"salmon_parked_fields_total{{{labels}}} 1.0" in metrics.exposition().decode()
    (told,) = [each for each in logs if each["event"] == "fields_hold_misfits"]
    assert (told["key"], told["side"], told["fields"]) == (KEY, "mongodb", ("Phone",))
    story.mongodb.edits(Phone="555 0101")
    add(batch, KEY, story.changes[-1], 101 + len(story.changes))
    report_batch(metrics, batch, 1, 0)
    assert f"salmon_freed_fields_total{{{labels}}} 1.0" in metrics.exposition().decode()


def test_the_log_names_each_record_that_a_restored_side_gets_back() -> None:
    """So that there is a list of what only the later history had; a record that was as it should be is not in it (case L1)."""
    batch = Batch(TOPICS, CONFLICTS, SIGNALS)
    for key, shown in ((KEY, "555 0000"), ("m1", "555 0101")):
        story = in_step(RULES, Name="Acme", Phone="555 0000")
        story.mongodb.edits(Phone="555 0101")
        story.come_to_rest()
        story.mongodb.goes_back()
        story.mongodb.row(Name="Acme", Phone=shown)
        for offset, change in enumerate(story.changes, start=101):
            add(batch, key, change, offset)
    with capture_logs() as logs:
        report_batch(Metrics("merge"), batch, len(batch.reports), 0)
    named = [each for each in logs if each["event"] == "fields_given_back"]
    assert [(each["object"], each["key"], each["side"], each["fields"]) for each in named] == [
        ("Account", KEY, "mongodb", ("Phone",))
    ]
