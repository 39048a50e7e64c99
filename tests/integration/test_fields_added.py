"""A running sync begins to know another field, with real processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import pytest
import yaml

from salmon.kafka.topics import CONNECTORS
from support.ring import Ring, running_ring
from support.stacks import Stack

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("embedded")]

NUMBERS = count()  # each test has a sync of its own
RECORDS = {"Account": 20, "Contact": 0, "Opportunity": 0}


@pytest.fixture
def ring(embedded_stack: Stack) -> Iterator[Ring]:
    """A sync that is in step, and does not know Site."""
    objects = {"Account": {"fields": {"exclude": ["Site"]}}}
    name = f"fields_{next(NUMBERS)}"
    with running_ring(embedded_stack, name, records=RECORDS, objects=objects) as ring:
        ring.start()
        ring.wait_equal()
        yield ring


def exclude(ring: Ring, *fields: str) -> None:
    """Change the file, as a person would."""
    told = yaml.safe_load(ring.config_path.read_text())
    told["objects"]["Account"]["fields"] = {"exclude": list(fields)}
    ring.config_path.write_text(yaml.safe_dump(told))
    ring.reload()


def all_start_anew(ring: Ring) -> None:
    """Stop them all; first the one that tells the schemas begins again."""
    ring.stop()
    ring.start("salesforce-source")
    ring.wait_ready("salesforce-source")
    ring.start(*(name for name in CONNECTORS if name != "salesforce-source"))


def only_one_starts_anew(ring: Ring) -> None:
    """The pod of salesforce-source is replaced, and no other."""
    ring.stop("salesforce-source")
    ring.start("salesforce-source")


@pytest.mark.parametrize("start_anew", [all_start_anew, only_one_starts_anew])
def test_a_field_that_is_added_comes_to_old_records_and_holds_up_nobody(
    ring: Ring, start_anew: Callable[[Ring], None]
) -> None:
    """What each side had in it is on the other; and edits of other fields of these records go on, in both directions."""
    in_org, in_mongodb, untouched = ring.ids("Account")[:3]
    ring.sf.Account.update(in_org, {"Site": "Rome"})
    ring.sf.Account.update(in_mongodb, {"Site": None})
    ring.db.accounts.update_one({"_id": in_mongodb}, {"$set": {"Site": "Oslo"}})
    ring.wait_equal()
    assert "Site" not in (ring.db.accounts.find_one({"_id": in_org}) or {})

    exclude(ring)
    start_anew(ring)

    ring.wait_document("accounts", in_org, lambda seen: seen.get("Site") == "Rome")
    ring.wait_row("Account", in_mongodb, lambda seen: seen["Site"] == "Oslo")
    ring.db.accounts.update_one({"_id": untouched}, {"$set": {"Phone": "+47 22 55 01 01"}})
    ring.sf.Account.update(untouched, {"Site": "Bergen"})
    ring.wait_row("Account", untouched, lambda seen: seen["Phone"] == "+47 22 55 01 01")
    ring.wait_document("accounts", untouched, lambda seen: seen.get("Site") == "Bergen")
    ring.wait_equal()
    assert (ring.conflicts, ring.dead_letters) == (0, [])


def test_a_field_that_is_taken_out_again_is_let_go_by_all(ring: Ring) -> None:
    """Its schema is one that the object had before, and the latest all the same: nobody waits for the field any more."""
    exclude(ring)
    only_one_starts_anew(ring)
    known, other = ring.ids("Account")[:2]
    ring.sf.Account.update(known, {"Site": "Rome"})
    ring.wait_document("accounts", known, lambda seen: seen.get("Site") == "Rome")
    exclude(ring, "Site")
    only_one_starts_anew(ring)
    ring.sf.Account.update(other, {"Site": "Oslo", "Phone": "+47 22 55 01 01"})
    ring.wait_document("accounts", other, lambda seen: seen.get("Phone") == "+47 22 55 01 01")
    ring.wait_equal()
    assert (ring.db.accounts.find_one({"_id": other}) or {}).get("Site") != "Oslo"
    assert (ring.conflicts, ring.dead_letters) == (0, [])
