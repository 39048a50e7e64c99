"""Duplicate rules and assignment rules of the simulator, which do as an org's: what the sink says to them, by object."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from salmon.model.change import WriteOp
from salmon.plugin.contract import OutcomeKind
from support.orgs.salesforce_box import BoxProcess, Source, started_sink, write

CREATE, UPDATE = WriteOp.CREATE, WriteOp.UPDATE


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoxProcess]:
    with BoxProcess(tmp_path_factory.mktemp("box"), "--records", "Account=2") as box:
        yield box


@pytest.fixture(autouse=True)
def _rules_end_with_their_test(box: BoxProcess) -> Iterator[None]:
    yield
    box.heal()


@pytest.fixture(scope="module")
def source(box: BoxProcess) -> Iterator[Source]:
    with Source(box).through_snapshots() as source:
        yield source


def test_what_a_duplicate_rule_only_warns_of_is_saved_where_the_object_allows_it(
    box: BoxProcess, source: Source
) -> None:
    """Creations and updates; without the setting, the write is refused, and the reason says what to do."""
    box.rule(rule="duplicate", object="Account", fields=["Name"], action="allow")
    one, two = box.ids("Account")[:2]
    name = str(box.show("Account", one)["Name"])
    writes = [
        write(CREATE, "Account", "$oid:1", 700, Name=name),
        write(UPDATE, "Account", two, 701, native_id=two, Name=name),
    ]
    refused = started_sink(box, source).put(writes)
    assert [(each.kind, each.code) for each in refused] == [(OutcomeKind.REFUSED, "DUPLICATES_DETECTED")] * 2
    assert all("allow_duplicates" in each.reason for each in refused)
    allowed = started_sink(box, source, settings={"allow_duplicates": True}).put(writes)
    assert [each.kind for each in allowed] == [OutcomeKind.APPLIED] * 2
    assert box.show("Account", two)["Name"] == name


def test_what_a_duplicate_rule_blocks_is_refused_nevertheless(box: BoxProcess, source: Source) -> None:
    """The administrator has decided."""
    box.rule(rule="duplicate", object="Account", fields=["Name"], action="block")
    name = str(box.show("Account", box.ids("Account")[0])["Name"])
    sink = started_sink(box, source, settings={"allow_duplicates": True})
    (outcome,) = sink.put([write(CREATE, "Account", "$oid:2", 710, Name=name)])
    assert (outcome.kind, outcome.code) == (OutcomeKind.REFUSED, "DUPLICATES_DETECTED")


def test_an_assignment_rule_chooses_the_owner_where_the_object_says_so(
    box: BoxProcess, source: Source
) -> None:
    """Of new records alone, and of none by default: a sync creates what has an owner already."""
    somebody = box.show("Account", box.create("Account", Name="A person's"))["OwnerId"]
    box.rule(rule="assignment", object="Account", owner=somebody)
    (outcome,) = started_sink(box, source).put([write(CREATE, "Account", "$oid:3", 720, Name="Ours")])
    assert box.show("Account", str(outcome.native_id))["OwnerId"] != somebody
    sink = started_sink(box, source, settings={"assignment_rules": True})
    (outcome,) = sink.put([write(CREATE, "Account", "$oid:4", 721, Name="Theirs")])
    assert box.show("Account", str(outcome.native_id))["OwnerId"] == somebody
