"""Transforms and a predicate of an installed package, and a filter and a mask for a further side, on real processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from jsonl_side.journal import Journal
from salmon.devstack.simulator_process import Org
from salmon.doctor.checks import Outcome
from salmon.doctor.doctor import diagnose
from support.plugins import EXAMPLES, install_example
from support.ring import Ring, running_ring
from support.stacks import Stack
from support.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("embedded")]

NAME = "Account"
FLOW = {
    "transforms": [
        {"type": "phone_uri", "fields": ["Phone"]},
        {"type": "phone_digits", "fields": ["Fax"], "settings": {"last": 4}, "to": "jsonl"},
        {"type": "phone_from", "settings": {"field": "Phone", "begins_with": ["+49"]}, "to": "jsonl"},
    ]
}
EXAMPLES_USED = ("jsonl-side", "phone-transform")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the files of the further side are."""
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def ring(embedded_stack: Stack, tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[Ring]:
    """Seven processes, in which both examples are installed as pip leaves them."""
    installed = tmp_path_factory.mktemp("installed")
    with pytest.MonkeyPatch.context() as patched:
        for name in EXAMPLES_USED:
            install_example(patched, installed, name)
        paths = [str(installed), *(str(EXAMPLES / name) for name in EXAMPLES_USED)]
        patched.setenv("PYTHONPATH", os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")]))
        sides = {"jsonl": {"folder": str(folder), "poll_s": 0.1}}
        org = Org((NAME,), {NAME: 0})
        with running_ring(embedded_stack, "plugged", org=org, objects={NAME: FLOW}, sides=sides) as ring:
            ring.start()
            ring.wait_equal()
            yield ring
            ring.wait_equal()
            assert ring.dead_letters == []


def in_file(folder: Path, key: str) -> dict[str, object] | None:
    """What the file says of a record."""
    journal = Journal(folder / f"{NAME}.jsonl")
    journal.open()
    found = journal.records.get(key)
    return None if found is None else found.fields


def test_a_two_way_transform_is_taken_both_ways(ring: Ring) -> None:
    """Documents have the link, the org the number; an edit of either arrives at the other, and is nobody's conflict."""
    key = ring.sf.Account.create({"Name": "Acme", "Phone": "+1 555 0101"})["id"]
    ring.wait_document("accounts", key, lambda seen: seen["Phone"] == "tel:+1%20555%200101")
    ring.db.accounts.update_one({"_id": key}, {"$set": {"Phone": "tel:+1%20555%200202"}})
    ring.wait_row(NAME, key, lambda row: row["Phone"] == "+1 555 0202")
    ring.sf.Account.update(key, {"Phone": "+1 555 0303"})
    ring.wait_document("accounts", key, lambda seen: seen["Phone"] == "tel:+1%20555%200303")
    assert ring.conflicts == 0


def test_a_further_side_gets_what_its_predicate_wants_in_its_own_form(ring: Ring, folder: Path) -> None:
    """It enters as it begins to match, and leaves as it ceases to; the others keep it."""
    key = ring.sf.Account.create({"Name": "Muster", "Phone": "+1 555 0404", "Fax": "(030) 123456"})["id"]
    ring.wait_document("accounts", key, lambda seen: seen["Fax"] == "(030) 123456")
    ring.wait_equal()
    assert in_file(folder, key) is None
    ring.sf.Account.update(key, {"Phone": "+49 30 1"})
    until(lambda: in_file(folder, key) is not None, "it is in the file", within_s=60)
    found = in_file(folder, key)
    assert found is not None
    assert (found["Phone"], found["Fax"]) == ("+49 30 1", "3456")
    ring.sf.Account.update(key, {"Phone": "+1 555 0404"})
    until(lambda: in_file(folder, key) is None, "it is no longer in the file", within_s=60)
    assert ring.row(NAME, key)["IsDeleted"] is False
    assert ring.db.accounts.find_one({"_id": key}) is not None


def test_the_doctor_finds_the_further_side_well(ring: Ring) -> None:
    """Beside servers that run."""
    lines = {line.name: line for line in diagnose(ring.config) if line.name.startswith("sides.")}
    assert {line.outcome for line in lines.values()} == {Outcome.OK}, lines
    assert len(lines) == 3
