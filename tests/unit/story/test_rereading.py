"""What `salmon snapshot` asks a source for, and what it refuses to ask."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from salmon.cli import main, snapshot
from salmon.errors import ConfigError, RequestRejected, Unavailable
from salmon.plugin.contract import Signal, SignalKind
from salmon.salesforce.wire.rest import PAGE_ROWS, URI_BYTES, Page
from salmon.story import rereading
from salmon.story.rereading import Asked, read_again, read_record_again
from support.at_hand.asking import MemorySync


class Sync(MemorySync):
    """A sync of three objects, of which Salesforce is only the target of one; and what was written to Kafka."""

    def __init__(self) -> None:
        super().__init__({"Account": None, "Contact": None, "Order": "salesforce"}, self._note)
        self.written: list[tuple[str, Signal]] = []

    def _note(self, topic: str, signal: Signal) -> None:
        self.written.append((topic, signal))

    def signals(self, side: str = "salesforce") -> list[Signal]:
        assert {topic for topic, _ in self.written} <= {self.topics.signals(f"{side}-source")}
        return [signal for _, signal in self.written]


class Org:
    """Records that every condition selects, page by page."""

    def __init__(self, records: int, refusal: RequestRejected | None = None) -> None:
        self.ids = [f"001{number:015}" for number in range(records)]
        self.refusal = refusal
        self.asked: list[str] = []

    def query_bytes(self, soql: str) -> int:
        return len(soql)

    def pages(self, soql: str) -> Iterator[Page]:
        if self.refusal is not None:
            raise self.refusal
        self.asked.append(soql)
        after = soql.partition("Id > '")[2].partition("'")[0]
        rows = [{"Id": each} for each in self.ids if each > after][:PAGE_ROWS]
        yield Page(rows[:500], 0)
        yield Page(rows[500:], 0)


def asked(sync: Sync, org: Org | None = None, **options: Any) -> Asked:
    return read_again(cast("Any", sync), org=lambda: org or Org(0), **options)


@pytest.fixture
def sync() -> Sync:
    return Sync()


def test_all_objects_that_a_side_is_read_for_are_asked_for(sync: Sync) -> None:
    """The target of a one-way object is never read."""
    assert asked(sync).objects == {"Account": None, "Contact": None}
    assert [(each.kind, each.object) for each in sync.signals()] == [
        (SignalKind.SNAPSHOT, "Account"),
        (SignalKind.SNAPSHOT, "Contact"),
    ]


def test_mongodb_is_read_on_request(sync: Sync) -> None:
    """By its own source."""
    assert asked(sync, side="mongodb", name="Order").objects == {"Order": None}
    assert [each.object for each in sync.signals("mongodb")] == ["Order"]


def test_the_records_that_a_condition_selects_are_asked_for_by_their_ids(sync: Sync) -> None:
    """Page by page behind the last Id, so that none is missed; 200 in a request. An OR in the condition selects nothing else."""
    org = Org(2 * PAGE_ROWS + 300)
    assert asked(sync, org, name="Account", where="A = 1 OR B = 2").objects == {"Account": len(org.ids)}
    signals = sync.signals()
    assert [native_id for each in signals for native_id in each.native_ids] == org.ids
    assert {each.kind for each in signals} == {SignalKind.READ}
    assert max(len(each.native_ids) for each in signals) == 200
    assert all("WHERE (A = 1 OR B = 2)" in query for query in org.asked)
    assert len(org.asked) == 3


def test_a_condition_that_selects_nothing_asks_for_nothing(sync: Sync) -> None:
    """And no transaction is begun."""
    assert asked(sync, Org(0), name="Account", where="A = 1").objects == {"Account": 0}
    assert sync.written == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"side": "sap"}, "salesforce or mongodb"),
        ({"name": "Lead"}, "--object Lead"),
        ({"name": "Order"}, "--side mongodb"),
        ({"where": "A = 1"}, "needs --object"),
        ({"where": "A = 1", "name": "Account", "side": "mongodb"}, "needs --object"),
        ({"where": "A = 1" + " " * URI_BYTES, "name": "Account"}, "too long"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(sync: Sync, options: dict[str, Any], words: str) -> None:
    """Before anything is written."""
    with pytest.raises(ConfigError, match=words):
        asked(sync, Org(1), **options)
    assert sync.written == []


def test_a_condition_that_the_org_does_not_accept_is_told_in_its_words(sync: Sync) -> None:
    """They name fields, and no record."""
    refusal = RequestRejected("refused", code="INVALID_FIELD", words="No such column 'A'")
    with pytest.raises(ConfigError, match="INVALID_FIELD: No such column 'A'"):
        asked(sync, Org(1, refusal), name="Account", where="A = 1")


def test_too_many_records_are_read_as_a_whole_object(sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    """The source would keep each of them in memory."""
    monkeypatch.setattr(rereading, "SELECTED_MAX", 10)
    with pytest.raises(ConfigError, match="more than 10 records"):
        asked(sync, Org(11), name="Account", where="A = 1")
    assert sync.written == []


@pytest.mark.parametrize(
    ("result", "shown"),
    [
        (
            Asked("salesforce", {"Account": None}),
            "Account: all records are read again.\nsalesforce-source was asked; it begins at once if it runs.\n",
        ),
        (Asked("salesforce", {"Account": 0}), "Account: no record is selected, so nothing is read.\n"),
        (
            Asked("mongodb", {"Account": 1}),
            "Account: 1 record is read again.\nmongodb-source was asked; it begins at once if it runs.\n",
        ),
    ],
)
def test_people_are_told_what_happens(result: Asked, shown: str) -> None:
    """In sentences; scripts ask for --json."""
    assert "".join(f"{line}\n" for line in snapshot._lines(result)) == shown
    assert result.as_dict() == {"side": result.side, "objects": dict(result.objects)}


def test_an_outage_is_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Try again, and nothing to correct."""
    monkeypatch.setattr(snapshot, "configured", lambda _: SimpleNamespace(salesforce=None))

    def down(*_: Any, **__: Any) -> None:
        raise Unavailable("Kafka does not answer.")

    monkeypatch.setattr("salmon.app.sync.Sync", down)
    monkeypatch.setattr("sys.argv", ["salmon", "snapshot", "--object", "Account"])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == "salmon: Kafka does not answer.\n"


def test_one_record_is_asked_of_each_side_that_is_read() -> None:
    """By its key, with who asked and why; the target of a one-way object is not asked."""
    sync = Sync()
    assert read_record_again(cast("Any", sync), "Account", "001A", reason="by Otto") == [
        "salesforce",
        "mongodb",
    ]
    topics = [topic for topic, _ in sync.written]
    assert topics == [sync.topics.signals("salesforce-source"), sync.topics.signals("mongodb-source")]
    for _, signal in sync.written:
        assert (signal.kind, signal.object, signal.keys) == (SignalKind.READ, "Account", ("001A",))
        assert signal.reason == "by Otto"
    assert read_record_again(cast("Any", sync), "Order", "001A", reason="") == ["mongodb"]
