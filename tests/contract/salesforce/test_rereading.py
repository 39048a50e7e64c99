"""`salmon snapshot` on the simulator: the records that a condition selects come as rows, and a wrong condition is told in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

from salmon.errors import ConfigError, SchemaOutdated
from salmon.model.change import Op
from salmon.plugin.contract import Signal, SignalKind
from salmon.salesforce.wire.rest import Rest
from salmon.story.rereading import read_again
from support.at_hand.asking import MemorySync
from support.orgs.salesforce_box import BoxProcess, Source


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoxProcess]:
    with BoxProcess(tmp_path_factory.mktemp("box"), "--records", "Account=450") as it:
        yield it


def test_selected_records_are_read_again_and_only_these(box: BoxProcess) -> None:
    """More than a signal names, by their Ids; the source knows their keys. A whole object afterwards reads the others, too."""
    chosen = set(box.ids("Account")[:210])
    for native_id in chosen:
        box.edit("Account", native_id, Site="chosen")
    with Source(box, "Account").through_snapshots() as source:
        source.told.clear()
        sync = MemorySync({"Account": None}, lambda _, signal: source.task.request(signal))

        def ask(**options: Any) -> dict[str, int | None]:
            asked = read_again(
                cast("Any", sync), name="Account", org=lambda: Rest(box.config()), **options
            ).objects
            source.until(lambda: len(source.answered) == sync.asked)
            return dict(asked)

        assert ask(where="Site = 'chosen' OR Site = 'none'") == {"Account": 210}
        assert {key for key, op in source.seen() if op is Op.ROW} == chosen
        source.told.clear()
        assert ask() == {"Account": None}
        assert {key for key, op in source.seen() if op is Op.ROW} == set(box.ids("Account"))


@pytest.mark.parametrize("where", ["Nonsense__c = 1", "Site =", "Site = 'x' LIMIT 5"])
def test_a_wrong_condition_is_told_in_the_org_s_words(box: BoxProcess, where: str) -> None:
    """With what is right; nothing was asked for."""
    sync = MemorySync({"Account": None}, lambda *_: pytest.fail("it was asked for"))
    with pytest.raises(ConfigError, match="does not accept"):
        read_again(cast("Any", sync), name="Account", where=where, org=lambda: Rest(box.config()))


def test_who_was_deleted_for_good_in_a_hole_is_reported_though_its_object_has_events(box: BoxProcess) -> None:
    """Its event is lost, and the recycle bin is empty: the keys that are agreed to exist are compared with the org."""
    kept, gone = box.create("Account", Name="Kept"), box.create("Account", Name="Gone for good")
    with Source(box, "Account").through_snapshots() as first:
        assert {kept, gone} <= first.view().keys()
    box.delete("Account", gone)
    box.recycle_bin("empty", "Account", gone)
    box.fault("expire_replay")
    with Source(box, "Account", of=first, agreed=[*box.ids("Account"), gone]) as second:
        second.until(lambda: (gone, Op.ABSENT) in second.seen() and "deleted/Account" not in second.positions)
        assert (kept, Op.ABSENT) not in second.seen()


def test_a_field_that_the_org_gets_restarts_the_source(box: BoxProcess) -> None:
    """The next event of the object shows it; when the source starts again, it has the field."""
    user = Rest(box.config()).sign_in.token().user_id
    with Source(box, "Account").through_snapshots() as source:
        field = {"FullName": "Account.Shade__c", "Metadata": {"type": "Text", "label": "Shade", "length": 20}}
        box._call("POST", "tooling/sobjects/CustomField", field)
        rights = box.create("PermissionSet", Name="Shade", Label="Shade")
        box.create("PermissionSetAssignment", PermissionSetId=rights, AssigneeId=user)
        given = {"ParentId": rights, "SobjectType": "Account", "Field": "Account.Shade__c"}
        box.create("FieldPermissions", **given, PermissionsRead=True, PermissionsEdit=True)
        box.edit("Account", box.ids("Account")[0], Shade__c="grey")
        with pytest.raises(SchemaOutdated, match="Account"):
            source.until(lambda: False)
    with Source(box, "Account", of=source) as again:
        assert "Shade__c" in again.task.schemas()["Account"].by_name


def test_a_record_that_the_user_does_not_see_any_more_is_not_reported_as_deleted(box: BoxProcess) -> None:
    """An admin takes View All of Account between an event and the reading after it: /health names the mend, and what waits is read
    when the right is back, over a kill. What the recycle bin proves is reported meanwhile, and Contact does not wait."""
    unseen, binned = box.create("Account", Name="Unseen"), box.create("Account", Name="Deleted")
    person = box.create("Contact", LastName="Seen")
    with Source(box, "Account", "Contact").through_snapshots() as first:
        box.delete("Account", binned)
        box.fault("view_all", object="Account", ids=[unseen])
        first.told.clear()
        for number, (name, native_id) in enumerate(
            [("Account", unseen), ("Account", binned), ("Contact", person)]
        ):
            first.task.request(Signal(number, SignalKind.READ, name, (native_id,), (native_id,)))
        first.until(lambda: {0, 1, 2} <= first.answered)
        assert (unseen, Op.ABSENT) not in first.seen()
        assert {(binned, Op.ABSENT), (person, Op.ROW)} <= set(first.seen())
        assert first.positions["unseen/Account"] == {"records": {unseen: unseen}, "too_many": False}
        (waits,) = [each for each in first.task.waiting() if each.object == "Account"]
        assert "does not see all records of Account" in waits.sentence
        assert "Give the integration user View All Records of Account" in waits.sentence
    with Source(box, "Account", "Contact", of=first) as second:
        second.until(lambda: [each for each in second.task.waiting() if each.object == "Account"])
        assert unseen not in {key for key, _ in second.seen()}
        box.heal()
        second.until(lambda: (unseen, Op.ROW) in second.seen() and "unseen/Account" not in second.positions)
        second.until(lambda: not second.task.waiting())
        assert (unseen, Op.ABSENT) not in second.seen()


def test_records_are_not_compared_while_the_user_does_not_see_all(box: BoxProcess) -> None:
    """The events of a hole are lost, and the log of deletions does not reach back: who is not shown may exist."""
    unseen, gone = box.create("Account", Name="Unseen"), box.create("Account", Name="Gone for good")
    with Source(box, "Account").through_snapshots() as first:
        pass
    box.delete("Account", gone)
    box.recycle_bin("empty", "Account", gone)
    box.fault("view_all", object="Account", ids=[unseen])
    box.fault("expire_replay")
    with Source(box, "Account", of=first, agreed=[*box.ids("Account"), unseen, gone]) as second:
        second.until(lambda: [each for each in second.task.waiting() if each.object == "Account"])
        assert not {(unseen, Op.ABSENT), (gone, Op.ABSENT)} & set(second.seen())
