"""Much that waits for its rows: some batches are read at the same time, and all of it is reported in order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from salmon.errors import Unavailable
from salmon.model.change import Op
from salmon.salesforce.reading.rereads import AT_ONCE
from salmon.salesforce.wire.batches import IDS_A_QUERY
from salmon.salesforce.wire.rest import Page
from support.orgs.salesforce import MemoryOrg, payload
from support.orgs.salesforce_feed import NOW, Rig

WAIT_S = 20.0
IDS = [f"001{number:012}AAA" for number in range(AT_ONCE * IDS_A_QUERY)]
CHILD = "003000000000001AAA"


@dataclass
class CrowdedOrg(MemoryOrg):
    """An org that answers a query by Id only when so many are asked at the same time."""

    crowd: threading.Barrier = field(default_factory=lambda: threading.Barrier(AT_ONCE, timeout=WAIT_S))

    def pages(self, soql: str, *, deleted: bool = False) -> Iterator[Page]:
        if " IN " in soql:
            self.crowd.wait()
        yield from super().pages(soql, deleted=deleted)


def rig_with_gaps(org: MemoryOrg) -> Rig:
    """The events of all these records were gaps."""
    rig = Rig.streaming(org)
    for native_id in IDS:
        org.put("Account", native_id, Name="Acme")
    for start in range(0, len(IDS), IDS_A_QUERY):
        rig.hear(payload("GAP_UPDATE", *IDS[start : start + IDS_A_QUERY], at=NOW))
    org.put("Contact", CHILD, LastName="Byron")
    rig.hear(payload("GAP_UPDATE", CHILD, name="Contact", at=NOW))
    while rig.stream.items:
        rig.gather()
    rig.told.clear()
    org.queries.clear()
    rig.pass_s(10)
    return rig


def test_records_after_many_gaps_are_read_by_several_queries_at_once() -> None:
    """At 200 ms a query, one after the other carries 1,000 records a second at most."""
    rig = rig_with_gaps(CrowdedOrg(NOW))
    rig.gather()
    assert [record.key for record in rig.told] == IDS, "in the order in which they came"
    assert {record.change.op for record in rig.told} == {Op.ROW}


def test_while_calls_are_scarce_they_are_read_one_after_the_other() -> None:
    """The number of queries is the same; but it leaves time for others to ask."""
    rig = rig_with_gaps(MemoryOrg(NOW))
    rig.spare = False
    rig.gather()
    assert len(rig.told) == IDS_A_QUERY
    assert sum(" IN " in each for each in rig.org.queries) == 1


def test_what_cannot_be_read_waits_and_holds_up_nothing_else() -> None:
    """What was read meanwhile is reported, with what belongs to it: after a kill, no event is taken for news that a row had."""
    rig = rig_with_gaps(MemoryOrg(NOW))
    rig.gather()
    assert len(rig.told) == len(IDS)
    rig.told.clear()
    again = IDS[:IDS_A_QUERY]
    now = rig.org.now_ms
    rig.hear(payload("GAP_UPDATE", *again, at=now), payload("GAP_UPDATE", CHILD, name="Contact", at=now))
    rig.gather()
    rig.pass_s(10)
    rig.told.clear()
    rig.stored.pop("reads/Account", None)
    rig.org.hides["Contact"] = Unavailable("no answer")
    rig.gather()
    assert [record.key for record in rig.told] == again
    assert "reads/Account" in rig.stored, "the windows of the rows, in the same transaction"
    assert rig.place < rig.number, "the child's event is still owed"
    del rig.org.hides["Contact"]
    rig.pass_s(60)
    for _ in range(3):
        rig.gather()
    assert rig.told[-1].key == CHILD
    assert rig.place == rig.number
