"""An org that moves to another instance while a source and a sink work on it, the simulator being a process of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from salmon.model.change import Op, WriteOp
from salmon.plugin.contract import OutcomeKind
from support.orgs.salesforce_box import BoxProcess, Source, started_sink, write


@pytest.fixture
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoxProcess]:
    with BoxProcess(tmp_path_factory.mktemp("box"), "--records", "Account=5") as process:
        yield process


def test_a_sync_goes_on_where_the_org_has_gone(box: BoxProcess) -> None:
    """Writes are applied at the new instance, none is set aside, and edits made there are told; twice, there and back."""
    accounts = box.ids("Account")
    with Source(box, "Account").through_snapshots() as source:
        sink = started_sink(box, source)
        old = box.told["instance_url"]
        for seq, url in enumerate((old.replace("127.0.0.1", "localhost"), old), start=1):
            box.move(url)
            first, second = accounts[0], accounts[seq]
            (outcome,) = sink.put(
                [write(WriteOp.UPDATE, "Account", first, seq, native_id=first, Fax=f"{seq}")]
            )
            assert outcome.kind is OutcomeKind.APPLIED
            box.edit("Account", second, Phone=f"{seq}")
            source.until(
                lambda: {(key, Op.UPDATE) for key in (first, second)} <= {*source.seen()[-4:]}  # noqa: B023
            )
            assert box.show("Account", first)["Fax"] == f"{seq}"
        sink.close()
