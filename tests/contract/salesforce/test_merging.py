"""Records that a person merges in the org, as the source reports them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from salmon.model.change import Op
from support.orgs.salesforce_box import BoxProcess, Source


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoxProcess]:
    folder: Path = tmp_path_factory.mktemp("box")
    with BoxProcess(folder, "--records", "Account=2", "--records", "Contact=2") as process:
        yield process


def test_a_merge_is_an_edit_of_the_winner_and_of_its_new_children_and_a_deletion_of_the_loser(
    box: BoxProcess,
) -> None:
    """After it, a reader of the source sees what the org shows: the contact under the winner, and no loser."""
    with Source(box).through_snapshots() as source:
        winner, loser = (box.create("Account", Name=name) for name in ("Winner", "Loser"))
        contact = box.create("Contact", LastName="Moved", AccountId=loser)
        source.until(lambda: contact in source.view() and loser in source.view())
        before = len(source.told)
        box.merge("Account", winner, loser, values="<p:Phone>555 0101</p:Phone>")
        source.until(lambda: loser not in source.view())
        source.until(lambda: source.view()[contact]["AccountId"] == winner)
        source.until(lambda: len(source.told) >= before + 3)
        told = [(record.key, record.change.op) for record in source.told[before:]]
        assert sorted(told) == sorted([(winner, Op.UPDATE), (contact, Op.UPDATE), (loser, Op.DELETE)])


def test_a_loser_that_is_undeleted_comes_back_as_a_record_of_its_own(box: BoxProcess) -> None:
    """Its contacts stay with the winner."""
    with Source(box).through_snapshots() as source:
        winner, loser = (box.create("Account", Name=name) for name in ("Winner", "Loser"))
        contact = box.create("Contact", LastName="Moved", AccountId=loser)
        box.merge("Account", winner, loser)
        source.until(lambda: source.view().get(contact, {}).get("AccountId") == winner)
        source.until(lambda: loser not in source.view())
        box.recycle_bin("undelete", "Account", loser)
        source.until(lambda: source.view().get(loser, {}).get("Name") == "Loser")
        assert source.view()[contact]["AccountId"] == winner
