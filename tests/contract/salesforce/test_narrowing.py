"""A rule at the top of the page on the simulator, which names no field as in an org; the real fold sends the parts (case V3)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.at_hand.merge_at_hand import MergeAtHand
from support.orgs.salesforce_box import BoxProcess, Source, started_sink

FIELDS = ("Phone", "Fax", "Website", "Site", "AccountNumber")


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoxProcess]:
    with BoxProcess(tmp_path_factory.mktemp("box"), "--records", "Account=200") as box:
        yield box


@pytest.fixture(autouse=True)
def _rules_end_with_their_test(box: BoxProcess) -> Iterator[None]:
    yield
    box.heal()


def test_one_bad_field_of_a_save_holds_up_no_other(box: BoxProcess) -> None:
    """Four fields arrive, the fifth is refused by its name; an edit of it is sent again as always (case V3)."""
    box.trigger(object="Account", when={"field": "Fax"}, refuse="record")
    account = box.ids("Account")[0]
    with Source(box).through_snapshots() as source:
        before = len(source.told)
        merge = MergeAtHand(
            source.task.schemas()["Account"], {account: {"Name": "A"}}, started_sink(box, source)
        )
        merge.edit(account, **dict.fromkeys(FIELDS, "7"))
        merge.settle()
        assert merge.refused(account) == {"Fax"}
        shown = box.show("Account", account)
        assert [name for name in FIELDS if shown[name] == "7"] == [name for name in FIELDS if name != "Fax"]
        # Each event that sets a field answers the write that it is of; the save without fields sets none.
        source.until(lambda: any(each.change.ack == shown["Salmon_Seq__c"] for each in source.told[before:]))
        told = [each.change for each in source.told[before:] if each.key == account]
        settable = {field.name for field in source.task.schemas()["Account"].fields if field.settable}
        assert all(change.ack is not None for change in told if change.changed and change.changed & settable)
        box.heal()
        merge.edit(account, Fax="8")
        merge.settle()
        assert merge.refused(account) == set()
        assert box.show("Account", account)["Fax"] == "8"


def test_a_rule_that_refuses_two_hundred_records_costs_a_few_calls(box: BoxProcess) -> None:
    """The parts of all records go together (case V3)."""
    box.trigger(object="Account", when={"field": "Site"}, refuse="record")
    accounts = box.ids("Account")
    assert len(accounts) == 200
    with Source(box).through_snapshots() as source:
        sink = started_sink(box, source)
        schema = source.task.schemas()["Account"]
        merge = MergeAtHand(schema, {account: {"Name": "A"} for account in accounts}, sink)
        for account in accounts:
            merge.edit(account, **dict.fromkeys(FIELDS, "9"))
        before = sum(sink.api_calls().values())
        merge.settle()
        assert all(merge.refused(account) == {"Site"} for account in accounts)
        assert sum(sink.api_calls().values()) - before <= 10
        assert {box.show("Account", account)["Phone"] for account in accounts[::50]} == {"9"}
