"""Updates that the org refuses without naming a field: sent in parts by the real fold, until the field is found (case V3)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from salmon.model.change import Write
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.plugin.contract import OutcomeKind, SinkRecord
from salmon.salesforce.wire.rest import RowError
from salmon.salesforce.writing.narrowing import units
from support.at_hand.merge_at_hand import MergeAtHand
from support.orgs.salesforce_org import SCHEMAS, UPDATE, A
from support.orgs.salesforce_org import SinkRig as Rig

ACCOUNT = SCHEMAS["Account"]
FIELDS = ("Phone", "Fax", "Website", "Industry", "Rating")
IDS = [f"001000000000{number:03}AAA" for number in range(200)]
CODE = "FIELD_CUSTOM_VALIDATION_EXCEPTION"


def edited(rig: Rig, *ids: str, **settings: Any) -> MergeAtHand:
    """Merge, after one save of all fields of each record."""
    for native_id in ids:
        rig.org.put("Account", native_id, Name="A", Salmon_Seq__c=1)
    merge = MergeAtHand(ACCOUNT, {native_id: {"Name": "A"} for native_id in ids}, rig.task, **settings)
    for native_id in ids:
        merge.edit(native_id, **dict.fromkeys(FIELDS, "1"))
    return merge


def save(*names: str, seq: int = 10) -> SinkRecord:
    """An update of A."""
    return SinkRecord("Account", A, Write(seq, UPDATE, native_id=A, fields=dict.fromkeys(names, "1")))


@pytest.mark.parametrize("echoes", [True, False])
@pytest.mark.parametrize(
    "bad", [*itertools.combinations(FIELDS, 1), *itertools.combinations(FIELDS, 2), FIELDS]
)
def test_what_the_org_takes_alone_is_written_and_what_it_does_not_is_refused_by_its_name(
    bad: tuple[str, ...], echoes: bool
) -> None:
    """One save of five fields, and a rule that refuses some of them; events come at once, or late (case V3)."""
    rig = Rig()
    rig.org.rules |= set(bad)
    merge = edited(rig, A, echoes=echoes)
    merge.settle()
    assert merge.refused(A) == set(bad)
    assert merge.waiting(A) == set()
    record = rig.org.records["Account"][A]
    assert {name for name in FIELDS if record.get(name) == "1"} == set(FIELDS) - set(bad)
    assert all(outcome.code == CODE for outcome in merge.outcomes if outcome.kind is OutcomeKind.REFUSED)


def test_with_on_reject_revert_only_the_refused_field_is_set_back() -> None:
    """What merely waits for its turn is no refusal (case V3)."""
    rig = Rig()
    rig.org.rules.add("Fax")
    merge = edited(rig, A, on_reject="revert")
    merge.settle()
    assert merge.stories[A].writes["mongodb"].fields.keys() & set(FIELDS) == {"Fax"}
    assert {name for name in FIELDS if rig.org.records["Account"][A].get(name) == "1"} == set(FIELDS) - {
        "Fax"
    }


def test_a_suspect_that_is_innocent_costs_a_turn_and_no_field() -> None:
    """The same code, and this time it is another field (case V3)."""
    rig = Rig()
    rig.org.rules.add("Fax")
    merge = edited(rig, A)
    merge.settle()
    rig.org.rules = {"Rating"}
    merge.edit(A, **dict.fromkeys(FIELDS, "2"))
    merge.settle()
    assert merge.refused(A) == {"Rating"}
    assert {name for name in FIELDS if rig.org.records["Account"][A].get(name) == "2"} == set(FIELDS) - {
        "Rating"
    }


def test_each_part_is_a_write_of_its_own_whose_marker_tells_whether_it_arrived() -> None:
    """A refused write leaves no marker, and no field; after a crash it is put again, and so is each part (case V3)."""
    rig = Rig(clean=False)
    rig.org.rules.add("Fax")
    rig.org.put("Account", A, Name="A", Salmon_Seq__c=1)
    whole = save(*FIELDS)
    (first,) = rig.task.put([whole])
    assert (first.kind, first.again_s) == (OutcomeKind.DEFERRED, 5.0)
    assert rig.org.records["Account"][A] == {"Id": A, "Name": "A", "Salmon_Seq__c": 1}
    rig.restarted()
    (again,) = rig.task.put([whole])
    assert again == first
    part = save(*(name for name in FIELDS if name not in first.fields), seq=11)
    rig.restarted()
    assert rig.put(part) == [OutcomeKind.APPLIED if "Fax" in first.fields else OutcomeKind.DEFERRED]


def test_a_refusal_of_the_record_as_a_whole_costs_one_more_call() -> None:
    """Its rule is about what the record is, and refuses also an update that sets nothing (case V3)."""
    rig = Rig()
    rig.org.refuses[A] = RowError(CODE)
    merge = edited(rig, A)
    assert merge.settle() == 1
    assert merge.refused(A) == set(FIELDS)
    assert rig.org.kinds() == ["update", "update"]


@pytest.mark.parametrize(
    "code", ["INSUFFICIENT_ACCESS_OR_READONLY", "ENTITY_IS_LOCKED", "UNABLE_TO_LOCK_ROW"]
)
def test_what_is_about_the_record_or_passes_by_itself_is_not_narrowed_down(code: str) -> None:
    """No part of it would fare better."""
    rig = Rig()
    rig.org.put("Account", A, Name="A")
    rig.org.refuses[A] = RowError(code)
    rig.task.put([save(*FIELDS)])
    assert rig.org.kinds() == ["update"]


def test_two_hundred_refused_records_share_their_calls() -> None:
    """All parts of a batch go by one call each, and the second batch knows which field to suspect (case V3)."""
    rig = Rig()
    rig.org.rules.add("Fax")
    merge = edited(rig, *IDS)
    merge.settle()
    assert all(merge.refused(native_id) == {"Fax"} for native_id in IDS)
    first = len(rig.org.calls)
    assert first <= 10
    for native_id in IDS:
        merge.edit(native_id, **dict.fromkeys(FIELDS, "2"))
    merge.settle()
    assert all(merge.refused(native_id) == {"Fax"} for native_id in IDS)
    assert len(rig.org.calls) - first <= 4, "the whole, nothing, all but the suspect, the suspect"


def test_refusals_that_come_one_by_one_do_not_eat_the_orgs_api_calls() -> None:
    """Beyond a thousand batches an hour a refusal is told for the whole write; in the next hour it is narrowed down again."""
    rig = Rig()
    rig.org.rules.add("Fax")
    rig.org.put("Account", A, Name="A")
    whole = save(*FIELDS)
    assert rig.put(whole) == [OutcomeKind.DEFERRED]
    kinds = [rig.put(whole)[0] for _ in range(1_000)]
    assert kinds == [OutcomeKind.DEFERRED] * 999 + [OutcomeKind.REFUSED]
    rig.now_s += 3_600
    assert rig.put(whole) == [OutcomeKind.DEFERRED]


def test_what_belongs_together_is_never_torn_apart() -> None:
    """The parts of an address; the record type and the picklists whose values it allows (case V3)."""

    def field(name: str, type: str = "string", compound: str | None = None) -> FieldSchema:  # noqa: A002
        return FieldSchema(name, type, Kind.STRING, compound=compound)

    schema = ObjectSchema(
        "Account",
        (
            field("RecordTypeId", "reference"),
            field("BillingCity", compound="BillingAddress"),
            field("Phone"),
            field("Rating", "picklist"),
            field("BillingStateCode", "picklist", "BillingAddress"),
        ),
    )
    apart = units(schema, ["Rating", "Phone", "BillingCity", "BillingStateCode", "Salmon_Seq__c"])
    assert [sorted(unit) for unit in apart] == [["BillingCity", "BillingStateCode"], ["Phone"], ["Rating"]]
    apart = units(schema, ["Rating", "Phone", "RecordTypeId"])
    assert [sorted(unit) for unit in apart] == [["Rating", "RecordTypeId"], ["Phone"]]
