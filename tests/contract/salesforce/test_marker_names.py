"""Marker fields under names that an admin has chosen: the tasks on an org that has both kinds, and the change to other names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from salmon.errors import SchemaOutdated
from salmon.model.change import Op, WriteOp
from salmon.model.markers import USUAL, Markers
from salmon.model.schema import ObjectSchema
from salmon.plugin.contract import OutcomeKind
from salmon.simulator.org.objects.describes import load_describes
from support.orgs.salesforce_box import BoxProcess, Source, configured, started_sink, write

OURS = Markers("Sync_Seq__c", "Sync_Key__c")
SETTINGS = {"markers": OURS}
CREATE, UPDATE, DELETE = WriteOp.CREATE, WriteOp.UPDATE, WriteOp.DELETE


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoxProcess]:
    """An org with the usual marker fields, and with others."""
    describes = tmp_path_factory.mktemp("describes")
    for name, each in load_describes(objects=("Account", "Contact"), marker_fields=True).items():
        (describes / f"{name}.json").write_text(json.dumps(each))
    options = ("--describe", str(describes), "--marker-names", ",".join(OURS.names), "--records", "Account=3")
    with BoxProcess(tmp_path_factory.mktemp("box"), *options) as process:
        yield process


@pytest.fixture
def box(process: BoxProcess) -> Iterator[BoxProcess]:
    yield process
    process.heal()


def markers_of(shown: Any) -> tuple[Any, ...]:
    return tuple(shown[name] for name in (*OURS.names, *USUAL.names))


@pytest.mark.parametrize("by", ["never", "always"])
def test_an_org_with_other_marker_fields_is_synced_by_them_alone(box: BoxProcess, by: str) -> None:
    """Written, acknowledged, read by REST and by Bulk, referred to by key, and looked at before a repetition; never as data."""
    key, child = f"born-{by}", f"child-{by}"
    with Source(box, settings=SETTINGS).through_snapshots() as source:
        assert all(
            name not in source.task.schemas()["Account"].by_name for name in (*OURS.names, *USUAL.names)
        )
        sink = started_sink(box, source, settings=SETTINGS)
        born = write(CREATE, "Account", key, 7, Name="Born")
        outcomes = sink.put([born, write(CREATE, "Contact", child, 8, LastName="C", AccountId=key)])
        assert [each.kind for each in outcomes] == [OutcomeKind.APPLIED] * 2
        account = outcomes[0].native_id
        assert account is not None
        assert markers_of(box.show("Account", account)) == (7, key, None, None)
        source.until(lambda: source.of(key) and source.of(child))
        assert [(each.change.op, each.change.ack) for each in source.of(key)] == [(Op.CREATE, 7)]
        assert source.of(child)[0].change.fields["AccountId"] == key
        again = started_sink(box, source, clean=False, settings=SETTINGS)
        assert [each.kind for each in again.put([born])] == [OutcomeKind.SKIPPED]
    with Source(box, settings=SETTINGS, bulk={"query": by}).through_snapshots() as anew:
        assert [(each.change.op, each.change.ack) for each in anew.of(key)] == [(Op.ROW, 7)]
        assert anew.view()[child]["AccountId"] == key
        sink = started_sink(box, anew, clean=False, settings=SETTINGS)
        delete = write(DELETE, "Contact", child, 9, native_id=outcomes[1].native_id, expected=8)
        assert [each.kind for each in sink.put([delete])] == [OutcomeKind.APPLIED]
        box.delete("Account", account)
        anew.until(lambda: anew.of(key)[-1].change.op is Op.DELETE)


def test_other_names_wait_until_no_key_is_left_behind(box: BoxProcess) -> None:
    """
    A record whose key stands in the old field alone would be another record. The object waits, with what to do, and goes on under
    the new names once the values are there; so it does after a restart.
    """
    with Source(box, "Account").through_snapshots() as before:
        (outcome,) = started_sink(box, before).put([write(CREATE, "Account", "moved", 7, Name="Moved")])
        assert outcome.native_id is not None
        before.until(lambda: before.of("moved"))
    registered = before.task.schemas()
    for _ in range(2):
        with Source(box, "Account", of=before, registered=registered, settings=SETTINGS) as waiting:
            assert waiting.task.schemas() == registered, "nothing is registered under the new names"
            (told,) = waiting.task.waiting()
            assert (told.object, "Stop salesforce-sink" in told.sentence) == ("Account", True)
    with Source(box, "Account", of=before, registered=registered, settings=SETTINGS) as waiting:
        box.edit("Account", outcome.native_id, Sync_Seq__c=7, Sync_Key__c="moved")
        with pytest.raises(SchemaOutdated):
            waiting.until(lambda: False)
    with Source(box, "Account", of=before, registered=registered, settings=SETTINGS) as moved:
        moved.until(lambda: moved.of("moved"))
        moved.through_snapshots()
        assert moved.task.schemas()["Account"].markers == OURS
        # The event of the person's edit may come before or after the rows.
        assert {each.change.ack for each in moved.of("moved") if each.change.op is Op.ROW} == {7}
        assert outcome.native_id not in moved.view()


def test_names_are_part_of_the_registered_schema() -> None:
    """So all processes change together; a schema with the usual names is byte for byte as before there were others."""
    usual = ObjectSchema("Account", ())
    assert "markers" not in usual.to_avro()["salmon"]
    named = ObjectSchema("Account", (), markers=OURS)
    assert ObjectSchema.from_avro(named.to_avro()) == named != usual
    assert named.told != usual.told, "what was not reported by them is read again"
    assert configured("Account")["Account"].markers.names == USUAL
