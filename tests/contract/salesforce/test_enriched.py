"""A source on a custom channel whose events are enriched, on the simulator."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from salmon.model.change import Op
from support.orgs.salesforce_box import BoxProcess, Source

STAMPS = {"LastModifiedDate", "LastModifiedById"}


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoxProcess]:
    with BoxProcess(tmp_path_factory.mktemp("box"), "--records", "Account=0") as process:
        yield process


@pytest.fixture
def channel(box: BoxProcess) -> str:
    """A custom channel of Accounts, enriched by three fields; its topic."""
    name = f"C{uuid.uuid4().hex[:8]}__chn"

    def make(kind: str, full_name: str, metadata: dict[str, Any]) -> None:
        box._call("POST", f"tooling/sobjects/{kind}", {"FullName": full_name, "Metadata": metadata})

    make("PlatformEventChannel", name, {"channelType": "data", "label": name})
    enriched = [{"name": each} for each in ("Industry", "BillingCity", "Phone")]
    member = {"eventChannel": name, "selectedEntity": "AccountChangeEvent", "enrichedFields": enriched}
    make("PlatformEventChannelMember", f"{name[:9]}_0", member)
    return f"/data/{name}"


def started(box: BoxProcess, channel: str, of: Source | None = None, fetch_size: int = 100) -> Source:
    pubsub = {"endpoint": box.told["pubsub_endpoint"], "channel": channel, "fetch_size": fetch_size}
    return Source(box, "Account", of=of, pubsub=pubsub)


def placed(box: BoxProcess, source: Source) -> None:
    """Have the stream at a place, beyond all that was committed so far."""
    source.through_snapshots()
    for _ in range(2):  # an event shows that all of the one before has come
        marker = box.create("Account", Name="marker")
        source.until(partial(source.of, marker))
    box.advance(60)
    source.told.clear()


def test_what_an_enriched_event_shows_besides_is_no_edit(box: BoxProcess, channel: str) -> None:
    """Its value is that of the delivery, and not of the event: taken for an edit, it would come before the one that made it."""
    with started(box, channel) as first:
        account = box.create("Account", Name="A", Industry="Energy", BillingCity="Ulm", Phone="1")
        first.until(lambda: first.of(account))
        placed(box, first)
    box.edit("Account", account, Phone="2")
    box.edit("Account", account, Industry="Media")
    box.edit("Account", account, BillingCity="Bonn", Phone=None)
    box.delete("Account", account)
    with started(box, channel, of=first) as again:
        again.until(lambda: (account, Op.DELETE) in again.seen())
        changes = [each.change for each in again.of(account)]
    assert [(each.op, sorted((each.changed or frozenset()) - STAMPS)) for each in changes] == [
        (Op.UPDATE, ["Phone"]),
        (Op.UPDATE, ["Industry"]),
        (Op.UPDATE, ["BillingCity", "Phone"]),
        (Op.DELETE, []),
    ]
    shown = [{n: v for n, v in each.fields.items() if n not in STAMPS} for each in changes]
    assert shown == [{"Phone": "2"}, {"Industry": "Media"}, {"BillingCity": "Bonn"}, {}]


@pytest.mark.parametrize("taken", [1, 2, 3])
def test_a_kill_between_the_events_that_share_a_replay_id_loses_none_of_them(
    box: BoxProcess, channel: str, taken: int
) -> None:
    """A merged event comes as one for each record; the place that is stored is past the last of them, or before them."""
    ids = [box.create("Account", Name=name) for name in "ABC"]
    with started(box, channel, fetch_size=1) as first:
        placed(box, first)
        box.fault("latency", api="pubsub", ms=300)  # so that they come one after the other
        records = [{"attributes": {"type": "Account"}, "Id": each, "Industry": "Energy"} for each in ids]
        box._call("PATCH", "composite/sobjects", {"records": records})
        first.until(lambda: len(first.told) >= taken)
        told = {each.key for each in first.told}
        assert len(told) == taken
    box.heal()
    with started(box, channel, of=first, fetch_size=1) as again:
        again.until(lambda: told | {each.key for each in again.told} >= {*ids})
        updates = {each.key: each.change.fields["Industry"] for each in (*first.told, *again.told)}
    assert updates == dict.fromkeys(ids, "Energy")


def test_a_restart_after_one_event_reads_nothing_again(box: BoxProcess, channel: str) -> None:
    """It may not be told yet what replay id is past all that the one event was split into; no edit is missed."""
    with started(box, channel) as first:
        first.through_snapshots()
        account = box.create("Account", Name="heard")
        first.until(partial(first.of, account))
        box.advance(10)
    missed = box.create("Account", Name="while it was stopped")
    with started(box, channel, of=first) as again:
        again.until(lambda: again.of(missed))
        assert [op for _, op in again.seen() if op is Op.ROW] == []
        assert all(run.done for run in again.task.progress())
