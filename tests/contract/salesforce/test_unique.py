"""Unique values on the simulator, which refuses them as an org does: what a swap looks like to the source (case L8)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import pytest

from salmon.model.change import Op, WriteOp
from salmon.plugin.contract import OutcomeKind
from salmon.simulator.org.objects.describes import PACKAGED
from support.orgs.salesforce_box import BoxProcess, Source, started_sink, write

UPDATE = WriteOp.UPDATE


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoxProcess]:
    """An org in which no two accounts may have the same number."""
    describes = tmp_path_factory.mktemp("describes")
    for file in PACKAGED.glob("*.json"):
        shutil.copy(file, describes)
    account = json.loads((describes / "Account.json").read_text("utf-8"))
    for field in account["fields"]:
        if field["name"] == "AccountNumber":
            field |= {"unique": True, "caseSensitive": False}
    (describes / "Account.json").write_text(json.dumps(account), "utf-8")
    folder = tmp_path_factory.mktemp("box")
    with BoxProcess(folder, "--describe", str(describes), "--records", "Account=2") as box:
        yield box


def test_a_swap_is_told_as_a_late_echo_and_the_echoes_of_its_writes(box: BoxProcess) -> None:
    """The clearing on the way carries the marker 0; both accounts end with what was written (case L8)."""
    one, two = box.ids("Account")[:2]
    box.edit("Account", one, AccountNumber="N-1")
    box.edit("Account", two, AccountNumber="N-2")
    with Source(box).through_snapshots() as source:
        before = len(source.told)
        outcomes = started_sink(box, source).put(
            [
                write(UPDATE, "Account", one, 501, native_id=one, AccountNumber="N-2"),
                write(UPDATE, "Account", two, 502, native_id=two, AccountNumber="N-1"),
            ]
        )
        assert [outcome.kind for outcome in outcomes] == [OutcomeKind.APPLIED] * 2
        assert [box.show("Account", each)["AccountNumber"] for each in (one, two)] == ["N-2", "N-1"]
        source.until(lambda: {501, 502} <= {each.change.ack for each in source.told[before:]})
        told = [
            (each.key, each.change.ack, each.change.fields.get("AccountNumber"))
            for each in source.told[before:]
        ]
        assert all(each.change.op is Op.UPDATE for each in source.told[before:])
    assert told == [(one, 0, None), (two, 502, "N-1"), (one, 501, "N-2")]


def test_a_number_that_somebody_has_is_refused_with_the_holders_name(box: BoxProcess) -> None:
    """The org names it by an Id of 15 characters, in a sentence of its own language (case L8)."""
    one, two = box.ids("Account")[:2]
    box.edit("Account", two, AccountNumber="N-9")
    with Source(box).through_snapshots() as source:
        sink = started_sink(box, source)
        sink._clashes._final_after_s = 0.0
        (outcome,) = sink.put([write(UPDATE, "Account", one, 601, native_id=one, AccountNumber="n-9")])
    assert (outcome.kind, outcome.fields) == (OutcomeKind.REFUSED, frozenset({"AccountNumber"}))
    assert f"Account {two} has the same value" in outcome.reason
