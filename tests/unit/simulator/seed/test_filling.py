"""Filling an org: plausible, repeatable, linked, and quiet."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from salmon.simulator.org.objects.describes import ID_FIELD, SEQ_FIELD
from salmon.simulator.org.objects.object_types import Field
from salmon.simulator.org.saving.values import stored_value
from salmon.simulator.seed import filling
from support.orgs.orgs import DESCRIBES, OrgAtHand

COUNTS = {"Opportunity": 150, "Contact": 250, "Account": 100}


def test_every_value_is_one_that_the_org_would_have_taken() -> None:
    """Checked with the rules of real writes, for objects with and without a name of their own."""
    for at_hand, counts in ((OrgAtHand(), COUNTS), (OrgAtHand(DESCRIBES), {"Case": 50, "Whizbang": 50})):
        filling.load(at_hand.org, counts, 1)
        for name in counts:
            table = at_hand.org.table(name)
            assert len(table.live) == counts[name]
            fields: list[Field] = [field for field in table.type.stored_fields if field.createable]
            for row in table.live.values():
                assert all(
                    stored_value(field, row.get(field.name)) == row.get(field.name) for field in fields
                )
                assert all(row.get(field.name) is not None for field in table.type.required_on_create)
                assert SEQ_FIELD not in row
                assert ID_FIELD not in row
        assert at_hand.told == [], "they have always been there"


def test_children_hang_on_parents_that_exist() -> None:
    """Whatever the order in which the objects were named."""
    at_hand = OrgAtHand()
    filling.load(at_hand.org, COUNTS, 1)
    accounts = at_hand.org.table("Account").live
    parents = [row.get("AccountId") for row in at_hand.org.table("Contact").live.values()]
    assert sum(parent in accounts for parent in parents) > 200
    assert all(parent in accounts for parent in parents if parent is not None)


def test_one_seed_gives_the_same_records_again_and_another_gives_others() -> None:
    """But for the stamps, which count back from now."""

    def names(number: int) -> list[object]:
        at_hand = OrgAtHand()
        filling.load(at_hand.org, COUNTS, number)
        return [(row["Name"], row.get("AccountId")) for row in at_hand.org.table("Contact").live.values()]

    assert names(1) == names(1)
    assert names(1) != names(2)


@pytest.mark.parametrize("hashes", ["1", "2", "3"])
def test_the_same_seed_gives_the_same_records_in_each_process(hashes: str) -> None:
    """Whatever order Python gives to sets there: page after page says what a seed's records are."""
    program = (
        "from salmon.simulator.seed import filling; from support.orgs.orgs import OrgAtHand; org = OrgAtHand().org;"
        "filling.load(org, {'Account': 20}, 7);"
        "print([(row['Name'], row.get('BillingCity'), row.get('Industry')) for row in org.table('Account').live.values()])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": hashes}
    shown = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    ).stdout
    at_hand = OrgAtHand()
    filling.load(at_hand.org, {"Account": 20}, 7)
    rows = at_hand.org.table("Account").live.values()
    assert shown.strip() == str([(row["Name"], row.get("BillingCity"), row.get("Industry")) for row in rows])
