"""Calls that fail as a whole in a trigger: who is refused, who is not, and what it costs."""

from __future__ import annotations

from collections import Counter

from salmon.model.change import Write
from salmon.plugin.contract import Outcome, OutcomeKind, SinkRecord
from salmon.salesforce.wire.rest import COLLECTION_ROWS
from support.orgs.salesforce_org import CREATE, UPDATE, SinkRig, write

_HOUR_S = 3_600.0


def _creations(count: int, bad: set[int]) -> list[SinkRecord]:
    return [write(CREATE, f"$oid:{n}", Name="bad" if n in bad else "good") for n in range(count)]


def _put_until_settled(rig: SinkRig, records: list[SinkRecord], puts_max: int = 100) -> dict[str, Outcome]:
    """Put what is to be tried again until nothing is."""
    outcomes: dict[str, Outcome] = {}
    for _ in range(puts_max):
        for record, outcome in zip(records, rig.task.put(records), strict=True):
            outcomes[record.key] = outcome
        records = [each for each in records if outcomes[each.key].kind is OutcomeKind.RETRY_LATER]
        if not records:
            return outcomes
    raise AssertionError(f"{len(records)} records are not settled")


def test_however_many_records_a_trigger_throws_at_no_other_is_refused() -> None:
    """They share calls, and these fail as a whole; none is refused that has only failed in company."""
    bad = set(range(7, 8 * COLLECTION_ROWS, 150))
    rig = SinkRig()
    rig.org.throws_at = {"bad"}
    outcomes = _put_until_settled(rig, _creations(8 * COLLECTION_ROWS, bad))
    refused = {key for key, outcome in outcomes.items() if outcome.kind is OutcomeKind.REFUSED}
    assert refused == {f"$oid:{n}" for n in bad}
    assert len(rig.org.records["Account"]) == 8 * COLLECTION_ROWS - len(bad)


def test_records_that_have_failed_in_company_do_not_fail_others_again() -> None:
    """They are sent apart; what comes meanwhile passes at the first call."""
    rig = SinkRig()
    rig.org.throws_at = {"bad"}
    first = _creations(COLLECTION_ROWS, set(range(0, COLLECTION_ROWS, 10)))
    kinds = rig.put(*first)
    left = [each for each, kind in zip(first, kinds, strict=True) if kind is OutcomeKind.RETRY_LATER]
    assert left
    rig.org.calls.clear()
    others = [write(CREATE, f"$oid:other{n}", Name="good") for n in range(50)]
    kinds = rig.put(*others, *left)
    assert kinds[:50] == [OutcomeKind.APPLIED] * 50
    assert rig.org.calls[0] == ("insert", [each.key for each in others])


def test_a_trigger_that_fails_for_good_costs_a_bounded_number_of_calls() -> None:
    """In each batch, and in all: whoever broke it should not find the day's allowance used up as well."""
    rig = SinkRig()
    rig.org.bulk_max = 0
    records = _creations(COLLECTION_ROWS, set())
    rig.put(*records)
    assert len(rig.org.calls) <= 17
    outcomes = _put_until_settled(rig, records)
    assert {outcome.kind for outcome in outcomes.values()} == {OutcomeKind.REFUSED}, "each has failed alone"
    assert len(rig.org.calls) <= 3 * COLLECTION_ROWS


def test_when_the_hours_calls_are_used_up_nobody_is_refused_and_nothing_is_held_up() -> None:
    """What has failed in company waits aside, and is told apart in the next hour."""
    rig = SinkRig()
    rig.org.bulk_max = 0
    for n in range(20):
        rig.put(*(write(CREATE, f"$oid:{n}-{m}", Name="good") for m in range(COLLECTION_ROWS)))
    for n in range(1_000):
        kinds = rig.put(*(write(CREATE, f"$oid:{n % 20}-{m}", Name="good") for m in range(COLLECTION_ROWS)))
        if OutcomeKind.DEFERRED in kinds:
            break
    calls = len(rig.org.calls)
    (outcome, *_) = rig.task.put(_creations(COLLECTION_ROWS, set()))
    assert (outcome.kind, len(rig.org.calls)) == (OutcomeKind.DEFERRED, calls + 1)
    assert "trigger" in outcome.reason
    rig.now_s += _HOUR_S
    rig.org.bulk_max = None
    assert set(rig.put(*_creations(COLLECTION_ROWS, set()))) <= {OutcomeKind.APPLIED, OutcomeKind.RETRY_LATER}
    outcomes = _put_until_settled(rig, _creations(COLLECTION_ROWS, set()))
    assert OutcomeKind.REFUSED not in Counter(outcome.kind for outcome in outcomes.values())


def test_of_many_records_that_the_org_cannot_read_each_is_refused_for_its_own_field() -> None:
    """Those that no call is left for are looked into with the next batch."""
    rig = SinkRig()
    names = ("Phone", "Site", "Sic", "Industry", "Description", "AccountNumber", "Website", "Rating")
    ids = [f"0010000000000{number:02}AAA" for number in range(60)]
    for native_id in ids:
        rig.org.put("Account", native_id, Name="x")
    rig.org.cannot_read = "a value of another type"
    fields = {**dict.fromkeys(names, "1"), "Fax": rig.org.cannot_read}
    records = [
        SinkRecord("Account", each, Write(10, UPDATE, native_id=each, fields=dict(fields))) for each in ids
    ]
    outcomes = _put_until_settled(rig, records)
    assert {(each.kind, each.fields) for each in outcomes.values()} == {
        (OutcomeKind.REFUSED, frozenset({"Fax"}))
    }
