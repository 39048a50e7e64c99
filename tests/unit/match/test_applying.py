"""Writing keys: nothing twice, nothing over another's, and it may be killed at any moment."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from salmon.errors import RateLimited, Unavailable
from salmon.match import calling
from salmon.match.applying import Applying
from salmon.match.calling import Budget
from salmon.match.files import Pair
from salmon.salesforce.ids import id18
from salmon.salesforce.wire.rest import Page, RowError, RowResult


def an_id(number: int) -> str:
    made = id18(f"003{number:012d}")
    assert made is not None
    return made


@dataclass
class Org:
    """Records by Id with the keys that they carry; it may fail before or after it has written."""

    carried: dict[str, str | None]
    refuse: Mapping[str, str] = field(default_factory=dict)  # key -> code
    after_write: Callable[[int], None] = lambda _: None
    usage: tuple[int, int] | None = (0, 1000)
    calls: Mapping[str, int] = field(default_factory=dict)
    updates: list[str] = field(default_factory=list)

    def retrieve(self, name: str, ids: Sequence[str], fields: Sequence[str]) -> Page:
        assert len(ids) <= 2000
        return Page(
            [{"Id": each, "Salmon_Id__c": self.carried[each]} for each in ids if each in self.carried], 0
        )

    def update(self, records: Sequence[Mapping[str, Any]]) -> Sequence[RowResult]:
        assert len(records) <= 200
        results = []
        for record in records:
            key = record["Salmon_Id__c"]
            code = self.refuse.get(key) or ("DUPLICATE_VALUE" if key in self.carried.values() else "")
            if not code:
                self.carried[record["Id"]] = key
                self.updates.append(record["Id"])
            results.append(RowResult(not code, record["Id"], (RowError(code),) if code else ()))
        self.after_write(len(self.updates))
        return results


@dataclass
class Documents:
    keys: Collection[str]

    def existing(self, keys: Collection[str]) -> frozenset[str]:
        return frozenset(set(keys) & set(self.keys))


def applying(org: Org, keys: Collection[str], share: float = 0.9) -> Applying:
    return Applying("Contact", "003", org, Documents(keys), budget=Budget(org, share))


def pairs(count: int) -> list[Pair]:
    return [Pair(an_id(number), f"k{number}", number) for number in range(count)]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calling, "pause", lambda _: None)


def test_a_kill_at_any_call_leaves_what_is_written_and_the_next_run_does_the_rest() -> None:
    """Each key is written once, whenever it was killed."""
    some = pairs(450)
    keys = [pair.key for pair in some]
    for at in (200, 400, 450):
        org = Org({pair.id: None for pair in some})

        def killed(written: int, at: int = at) -> None:
            if written == at:
                raise KeyboardInterrupt

        org.after_write = killed
        with pytest.raises(KeyboardInterrupt):
            applying(org, keys).apply(some)
        org.after_write = lambda _: None
        applied = applying(org, keys).apply(some)
        assert (applied.written, applied.there, applied.refused) == (450 - at, at, [])
        assert sorted(org.updates) == sorted(pair.id for pair in some)


def test_an_answer_that_did_not_come_is_settled_by_reading() -> None:
    """The org had written them: they are not written again."""
    some = pairs(3)
    org = Org({pair.id: None for pair in some})
    failures = [Unavailable("no answer")]

    def lost(_: int) -> None:
        if failures:
            raise failures.pop()

    org.after_write = lost
    applied = applying(org, [pair.key for pair in some]).apply(some)
    assert applied.written + applied.there == 3
    assert len(org.updates) == 3


def test_what_cannot_be_is_refused_with_its_reason_and_holds_up_no_other() -> None:
    """Nothing is written over a key that is in use, and no key is given twice."""
    a, b, c, d, e, f, g, h, i = map(an_id, range(9))
    org = Org(
        {a: None, b: "used", c: "forgotten", d: None, e: None, f: None, h: "other", i: None},
        refuse={"refused": "INSUFFICIENT_ACCESS_OR_READONLY"},
    )
    documents = ["k", "used", "k2", "k3", "refused", f, "other"]
    wanted = [
        Pair(a, f),  # the Id of another record
        Pair(b, "k"),  # it belongs to a document
        Pair(c, "k2"),  # what it carries is no document's
        Pair(d, "nowhere"),
        Pair(e, "refused"),
        Pair(g, "k3"),
        Pair(i, "other"),  # h carries it
        Pair(h, "other"),  # as it is
    ]
    applied = applying(org, documents).apply(wanted)
    assert (applied.written, applied.there) == (1, 1)
    assert org.updates == [c]
    assert [pair.id for pair, _ in applied.refused] == [a, b, d, e, g, i]
    assert applied.reasons["the key is the Id of another record of Salesforce"] == 1
    assert applied.reasons["another record of Salesforce carries this key"] == 1
    assert any("INSUFFICIENT_ACCESS_OR_READONLY" in reason for reason in applied.reasons)


def test_a_record_that_is_locked_for_a_moment_is_tried_again() -> None:
    """It is no refusal; and if it lasts, the run ends, and another goes on."""
    some = pairs(2)
    org = Org({pair.id: None for pair in some}, refuse={"k1": "UNABLE_TO_LOCK_ROW"})
    with pytest.raises(Unavailable, match="Run this again"):
        applying(org, ["k0", "k1"]).apply(some)
    org.refuse = {}
    assert applying(org, ["k0", "k1"]).apply(some).there == 1


def test_calls_that_others_need_are_left_to_them() -> None:
    """Beyond the share of the org's allowance it stops, says how to go on, and nothing is written."""
    some = pairs(2)
    org = Org({pair.id: None for pair in some}, usage=(901, 1000))
    with pytest.raises(RateLimited, match="901 of the 1,000 API calls"):
        applying(org, ["k0", "k1"]).apply(some)
    assert org.updates == []
    assert applying(org, ["k0", "k1"], share=0.95).apply(some).written == 2
