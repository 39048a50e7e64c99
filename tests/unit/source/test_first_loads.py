"""What is not loaded before it is matched: which objects wait, what is said of them, and what ends the waiting."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import pytest

from salmon.kafka.offsets import OffsetStore
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.plugin.contract import Position, Signal, SignalKind
from salmon.source.first_loads import MATCHED, FirstLoads, Matched, held_back, waiting_for_match
from salmon.source.worker import SourceWorker
from support.at_hand.memory_sync import MemorySync, PromptSource
from support.runtime import OBJECT, SCHEMA, error_of, running
from support.waiting import until

SOURCE, OTHER_SOURCE = "mongodb-source", "salesforce-source"


def referring(name: str, *targets: str) -> ObjectSchema:
    field = FieldSchema("WhoId", "reference", Kind.STRING, reference_to=targets)
    return ObjectSchema(name, (field,))


SCHEMAS = {
    "Account": referring("Account", "Account"),
    "Contact": referring("Contact", "Account", "User"),
    "Case": referring("Case", "Contact"),
    "Product2": ObjectSchema("Product2", ()),
}


class HoldingSource(PromptSource):
    """A source that can leave objects alone."""

    held: Collection[str] = ()

    def hold(self, objects: Collection[str]) -> None:
        assert self.started_with is None
        self.held = set(objects)


@pytest.fixture
def sync() -> MemorySync:
    return MemorySync(partitions=1)


def store(sync: MemorySync, connector: str, partition: str, position: Position) -> None:
    """As it is stored in `offsets`."""
    entries = OffsetStore(sync.clients, sync.topics, sync.registry)
    sync.produce(entries.topic, *entries.record(connector, partition, position))


@pytest.mark.parametrize(
    ("entries", "held"),
    [
        ((), {"Account": ("Account",), "Contact": ("Account",)}),
        (("match/Account",), {}),
        (("match/Contact",), {"Account": ("Account",), "Contact": ("Account",)}),
        (("mongodb-source/snapshot/Contact",), {"Account": ("Account",)}),
        (("mongodb-source/snapshot/Account",), {}),
        (("salesforce-source/snapshot/Account", "salesforce-source/stream"), {}),
    ],
)
def test_an_object_waits_until_it_is_matched_and_so_do_those_that_refer_to_it(
    entries: Sequence[str], held: Mapping[str, Sequence[str]]
) -> None:
    """Not those that refer to these in turn; and nothing that a source has begun to read."""
    waiting = waiting_for_match(["Account"], entries)
    found = held_back(waiting, SCHEMAS, entries)
    assert {name: tuple(of) for name, of in found.items()} == held


def test_the_source_leaves_it_alone_says_so_and_restarts_when_it_is_matched(sync: MemorySync) -> None:
    """Requests to read it need no answer: its first load reads all. The mark of `salmon match` ends the waiting."""
    instance, source = sync.instance(SOURCE), HoldingSource()
    with running(SourceWorker(instance, source, (OBJECT,), match=(OBJECT,))) as (run,):
        until(lambda: source.started_with is not None)
        assert source.held == {OBJECT}
        sync.signal(SOURCE, Signal(0, SignalKind.SNAPSHOT, OBJECT, reason="by a test"))
        (waiting,) = until(lambda: instance.health.report().waiting_for)
        assert waiting.what == OBJECT
        assert "Run `salmon match`" in waiting.sentence
        assert f"`salmon match --waive --object {OBJECT}`" in waiting.sentence
        store(sync, MATCHED, OBJECT, {"how": "applied"})
        assert isinstance(error_of(run), Matched)
    assert source.asked == []


@pytest.mark.parametrize(
    ("connector", "partition"),
    [(MATCHED, OBJECT), (SOURCE, f"snapshot/{OBJECT}"), (OTHER_SOURCE, f"snapshot/{OBJECT}")],
)
def test_what_is_matched_or_was_loaded_before_does_not_wait(
    sync: MemorySync, connector: str, partition: str
) -> None:
    """Also where the other source has begun: one that waits alone would keep the sync half."""
    store(sync, connector, partition, {"done": True})
    source = HoldingSource()
    with running(SourceWorker(sync.instance(SOURCE), source, (OBJECT,), match=(OBJECT,))) as (run,):
        until(lambda: source.started_with is not None)
        assert source.held == ()
        run.stop()


def test_without_match_nothing_is_looked_for(sync: MemorySync) -> None:
    """Most syncs have none: they do not read all of `offsets` for it."""
    loads = FirstLoads(sync.clients, sync.topics, sync.registry, ())
    assert not loads.find({OBJECT: SCHEMA})
    assert loads.waiting() == []
    loads.check()
    loads.close()
