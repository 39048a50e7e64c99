"""A running sync begins to know another field, with real processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from salmon.kafka.topics import CONNECTORS
from support.ring import Ring, running_ring
from support.stacks import Stack

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("embedded")]

RECORDS = {"Account": 20, "Contact": 0, "Opportunity": 0}


@pytest.fixture
def ring(embedded_stack: Stack) -> Iterator[Ring]:
    """A sync that is in step, and does not know Site."""
    objects = {"Account": {"fields": {"exclude": ["Site"]}}}
    with running_ring(embedded_stack, "fields_added", records=RECORDS, objects=objects) as ring:
        ring.start()
        ring.wait_equal()
        yield ring


def add_the_field(ring: Ring) -> None:
    """Change the file, as a person would, and start the processes again: first the one that tells the schemas."""
    ring.stop()
    told = yaml.safe_load(ring.config_path.read_text())
    del told["objects"]["Account"]["fields"]
    ring.config_path.write_text(yaml.safe_dump(told))
    ring.reload()
    ring.start("salesforce-source")
    ring.wait_ready("salesforce-source")
    ring.start(*(name for name in CONNECTORS if name != "salesforce-source"))


def test_a_field_that_is_added_comes_to_old_records_and_holds_up_nobody(ring: Ring) -> None:
    """What each side had in it is on the other; and edits of other fields of these records go on, in both directions."""
    in_org, in_mongodb, untouched = ring.ids("Account")[:3]
    ring.sf.Account.update(in_org, {"Site": "Rome"})
    ring.sf.Account.update(in_mongodb, {"Site": None})
    ring.db.accounts.update_one({"_id": in_mongodb}, {"$set": {"Site": "Oslo"}})
    ring.wait_equal()
    assert "Site" not in (ring.db.accounts.find_one({"_id": in_org}) or {})

    add_the_field(ring)

    ring.wait_document("accounts", in_org, lambda seen: seen.get("Site") == "Rome")
    ring.wait_row("Account", in_mongodb, lambda seen: seen["Site"] == "Oslo")
    ring.db.accounts.update_one({"_id": untouched}, {"$set": {"Phone": "+47 22 55 01 01"}})
    ring.sf.Account.update(untouched, {"Site": "Bergen"})
    ring.wait_row("Account", untouched, lambda seen: seen["Phone"] == "+47 22 55 01 01")
    ring.wait_document("accounts", untouched, lambda seen: seen.get("Site") == "Bergen")
    ring.wait_equal()
    assert (ring.conflicts, ring.dead_letters) == (0, [])
