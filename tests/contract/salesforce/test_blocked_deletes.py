"""Deletions on the simulator, which refuses them as an org does while others refer to the record (case L8)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import pytest

from salmon.model.change import WriteOp
from salmon.plugin.contract import OutcomeKind
from salmon.simulator.org.objects.describes import PACKAGED
from support.orgs.salesforce_box import BoxProcess, Source, started_sink, write

DELETE = WriteOp.DELETE


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoxProcess]:
    """An org in which no account may be deleted that has contacts."""
    describes = tmp_path_factory.mktemp("describes")
    for file in PACKAGED.glob("*.json"):
        shutil.copy(file, describes)
    account = json.loads((describes / "Account.json").read_text("utf-8"))
    for child in account["childRelationships"]:
        if (child["childSObject"], child["field"]) == ("Contact", "AccountId"):
            child |= {"cascadeDelete": False, "restrictedDelete": True}
    (describes / "Account.json").write_text(json.dumps(account), "utf-8")
    folder = tmp_path_factory.mktemp("box")
    with BoxProcess(folder, "--describe", str(describes), "--records", "Account=1") as box:
        yield box


def test_an_account_is_deleted_once_its_contacts_are(box: BoxProcess) -> None:
    """Its own deletion came first: it waits for that of the contact, which is named where nothing ends it."""
    account = box.ids("Account")[0]
    contact = box.create("Contact", LastName="Last", AccountId=account)
    first = write(DELETE, "Account", account, 501, native_id=account)
    then = write(DELETE, "Contact", contact, 502, native_id=contact)
    with Source(box).through_snapshots() as source:
        sink = started_sink(box, source)
        sink._blocked._final_after_s = 0.0
        (outcome,) = sink.put([first])
        assert (outcome.kind, outcome.waits_for) == (OutcomeKind.REFUSED, (("Contact", contact),))
        sink.look_up(lambda *record: then.write if record == ("Contact", contact) else None)
        (outcome,) = sink.put([first])
        assert (outcome.kind, outcome.code) == (OutcomeKind.RETRY_LATER, "DELETE_FAILED")
        assert {each.kind for each in sink.put([first, then])} == {OutcomeKind.APPLIED}
    assert box.ids("Account") == []
