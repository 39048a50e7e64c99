"""A large object that is read in parts at the same time, between real processes, and the source that reads it is killed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
import yaml

from salmon.config.registries import registry_of
from salmon.kafka.codecs.registry import object_schema
from salmon.kafka.codecs.serdes import Changes
from salmon.model.change import SALESFORCE, Op
from support.ring import Ring, running_ring
from support.stacks import Stack
from support.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("embedded")]

ACCOUNTS = 6_900  # three parts of two pages each
SOURCE = "salesforce-source"
# A part has 50,000 records: here a connector is a process of its own that makes smaller ones, and nothing else is different.
SMALL_PARTS = (
    "from salmon.salesforce.reading.whole.snapshot import PART_ROWS; PART_ROWS.update(rest=2_300);"
    " from salmon.cli.main import main; main()"
)


@pytest.fixture
def ring(embedded_stack: Stack) -> Iterator[Ring]:
    """A sync of one object."""
    with running_ring(embedded_stack, "parts", records={"Account": ACCOUNTS}) as ring:
        told = yaml.safe_load(ring.config_path.read_text())
        told["salesforce"]["bulk"] = {"query": "never"}
        told["objects"] = {"Account": told["objects"]["Account"]}
        ring.config_path.write_text(yaml.safe_dump(told))
        ring.reload()
        ring.programs[SOURCE] = ("-c", SMALL_PARTS)
        yield ring


def set_latency(ring: Ring, ms: int) -> None:
    """How late the org answers each call of its REST API; 0: at once."""
    faults = f"{ring.org['control_url']}/faults"
    if ms:
        ring.http.post(faults, json={"fault": "latency", "api": "rest", "ms": ms}).raise_for_status()
    else:
        ring.http.delete(faults).raise_for_status()


def changes_of(ring: Ring) -> list[tuple[str, Op]]:
    """What the org has reported so far, as (key, op)."""
    names = ring.config.topic_names
    registry = registry_of(ring.config)
    schema = object_schema(registry, names.records("Account"))
    if schema is None:
        return []
    codec = Changes(schema, registry, names.changes("Account"))
    found = [
        (message.key() or b"", codec.decode(message.value() or b"")) for message in ring.read(codec.topic)
    ]
    return [(key.decode(), change.op) for key, change in found if change.origin == SALESFORCE]


def rows_of(ring: Ring) -> Counter[str]:
    """How often the row of each record was reported."""
    return Counter(key for key, op in changes_of(ring) if op is Op.ROW)


def test_a_source_that_is_killed_in_the_middle_of_the_parts_goes_on_in_each(ring: Ring) -> None:
    """
    Each row comes once over both lives of the source. Edits and deletions that were made meanwhile arrive, whether the part of
    their record had been read by then or not.
    """
    ids = ring.ids("Account")
    ring.start()
    log = ring.folder / f"{SOURCE}.log"
    until(lambda: "snapshot_cut" in log.read_text(), "the object is cut into parts", within_s=60)
    set_latency(ring, 8_000)  # the first page of each part is on its way; the second ones come later
    until(lambda: rows_of(ring), "rows have been reported", within_s=60)
    ring.kill(SOURCE)
    set_latency(ring, 0)
    before = rows_of(ring)
    assert 0 < len(before) < ACCOUNTS, "it was killed in the middle"
    read = [each for each in ids if each in before]
    unread = [each for each in ids if each not in before]
    edited, deleted = [read[0], unread[0], unread[-1]], [read[-1], unread[1]]
    for number, native_id in enumerate(edited):
        ring.sf.Account.update(native_id, {"Phone": f"555 010{number}"})
    for native_id in deleted:
        ring.sf.Account.delete(native_id)

    ring.start(SOURCE)
    left = {*ids} - {*deleted}
    until(lambda: rows_of(ring).keys() >= left - {*edited}, "all parts are read", within_s=120)
    ring.wait_equal()
    changes = changes_of(ring)
    rows = Counter(key for key, op in changes if op is Op.ROW)
    # The org has also cleared the lookups to what was deleted. An event whose record was read in its second is answered by a row.
    with_events = {key for key, op in changes if op is not Op.ROW}
    assert {*edited, *deleted} <= with_events
    assert len(with_events) < 100
    assert {each for each, times in rows.items() if times > 1} <= with_events, "no row came twice"
    assert rows.keys() | {*edited, *deleted} == {*ids}
    assert {document["_id"] for document in ring.db.accounts.find({}, {"_id": 1})} == left
    for number, native_id in enumerate(edited):
        assert ring.db.accounts.find_one({"_id": native_id})["Phone"] == f"555 010{number}"  # type: ignore[index]
    assert '"parts": 3' in log.read_text(), "and they were parts"
    assert ring.dead_letters == []
    assert ring.conflicts == 0
