"""The console at hand, without a process: its application over operations and a look that a test chooses."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from fastapi.testclient import TestClient

from salmon.api.application import Section, application
from salmon.api.console.application import PATH, Console
from salmon.api.console.operations import Operations
from salmon.api.console.watching import Seen, Watching
from salmon.api.handle import Api
from salmon.dlq.letters import Found, LetterFilter, StoredLetter
from salmon.dlq.replaying import Dealt, DealtWith, Mend, Plan
from salmon.doctor.checks import Line
from salmon.errors import ConfigError
from salmon.guard.deciding import WaitingDeletes
from salmon.model.policies import Conflict, Contest, Edit
from salmon.ops.connect.described import Described, Served
from salmon.ops.health import Health
from salmon.status.counting import NONE, Count
from salmon.status.overview import Lag, ObjectStatus, Overview
from salmon.status.scraping import ProcessReport
from salmon.story.conflicts import ConflictFilter, ConflictPage, ListedConflict
from salmon.story.present import Present
from salmon.story.reading import Story
from salmon.story.reporting import Entry
from salmon.story.resolving import Decision, Resolved, Take
from salmon.story.retrying import RefusalFilter, RefusedWrite
from support.at_hand.api_room import CLIENT, LOCAL

AT_MS: Final = 1_780_000_000_000
TAG: Final = "<script>alert(1)</script>"  # a value that would be a program if it were not escaped


def overview(*, healthy: bool = True, reports: bool = True) -> Overview:
    """Two processes and one object. *reports*: whether merge has answered."""
    if not reports:
        hangs = ProcessReport("merge", "", "down", "No answer within 2 s.")
        nothing = ObjectStatus("Account", NONE, NONE, {"mongodb": NONE}, {}, None, None, None, None)
        return Overview((hangs,), (nothing,), NONE, {}, {})
    source = ProcessReport("salesforce-source", "", "healthy", "", ready=True)
    merge = ProcessReport("merge", "", "healthy" if healthy else "unhealthy", "Kafka does not answer.")
    count = Count(7, exact=True)
    one = ObjectStatus(
        "Account", count, NONE, {"mongodb": NONE, "salesforce": NONE}, {"to_mongodb": Lag(0.2, 1.5)},
        conflicts=2, held=1, snapshot_read=5, snapshot_total=9, parked={"refused": 3}, freed={"refused": 1},
    )  # fmt: skip
    return Overview((source, merge), (one,), count, {"salesforce-sink": count}, {})


class FakeWatching(Watching):
    """Has seen what the test says."""

    def __init__(self, seen: Overview | None = None) -> None:
        super().__init__(lambda: None, Path("sync.yaml"))  # type: ignore[arg-type, return-value]
        self.found = seen or overview()

    def seen(self) -> Seen:
        return Seen(
            time.time(),
            self.found,
            [1.0, 2.0],
            [0.0, 3.0],
            {"to_mongodb": {"p50": 0.2, "p99": None}},
            {"to_mongodb": [0.0, 1.0]},
        )


def side(**more: Any) -> dict[str, Any]:
    """What a side has of a record."""
    return {
        "has_it": True, "is_read": True, "native_id": "001000000000001AAA", "differs": {}, "not_told_yet": [],
        "in_flight": [], "parked": [], "misfits": [], **more,
    }  # fmt: skip


class FakeOperations(Operations):
    """Answers with one of everything, and keeps what was done."""

    def __init__(self) -> None:
        super().__init__(lambda: None)  # type: ignore[arg-type, return-value]
        self.done: list[tuple[Any, ...]] = []
        self.sides: Mapping[str, Mapping[str, Any]] = {
            "salesforce": side(
                differs={"Site": {"holds": TAG, "agreed": "Rome"}},
                parked=[{"field": "Site", "why": "REFUSED", "since_seq": 4, "code": "TOO_LONG", "reason": "too long"}],
            ),
            "mongodb": side(parked=[{"field": "Phone", "why": "HELD", "since_seq": 5, "code": "", "reason": ""}]),
        }  # fmt: skip
        self.hidden: list[str] = []
        self.diagnosed = 0
        self.about = {"topic": "crm.writes.salesforce.Account"}  # what the dead letter is of

    def diagnose(self) -> list[Line]:
        self.diagnosed += 1
        return []

    def story(self, name: str, text: str, *, hidden: Any) -> Story:
        self.hidden = sorted(hidden)
        now = Present(False, f"{name} {text} waits.", True, self.sides, {"Name": "Acme", "Site": "Rome"})
        entry = Entry(AT_MS, "salesforce", "edit", f"Salesforce edited it: Name = '{TAG}'")
        return Story(name, text, (entry,), now, whole=True)

    def read_again(self, name: str, key: str, *, by: str, reason: str) -> Sequence[str]:
        self.done.append(("read_again", name, key, by, reason))
        return ["salesforce", "mongodb"]

    def conflicts(self, asked: ConflictFilter) -> tuple[ConflictPage, Mapping[str, dict[str, Any]]]:
        contest = Contest(
            "Account",
            "001A",
            "Site",
            Edit("salesforce", TAG, AT_MS),
            Edit("mongodb", "Oslo", AT_MS),
            "salesforce",
        )
        entry = ListedConflict("0/7", AT_MS, 9, Conflict(contest, "manual", None), waits=True)
        return ConflictPage((entry,)), {entry.id: entry.as_dict(None)}

    def resolve(
        self, wanted: Sequence[tuple[str, str, str]], take: Take, *, by: str, reason: str
    ) -> list[Resolved]:
        self.done.append(("resolve", *wanted, take.source.value, take.text, by, reason))
        return [Resolved(Decision(name, key, {field: "Oslo"}, None, ()), None) for name, key, field in wanted]

    def refused(self, asked: RefusalFilter) -> list[RefusedWrite]:
        return [RefusedWrite("Account", "001A", "salesforce", 4, ("TOO_LONG",), ("Site",), whole=False)]

    def retry(self, asked: RefusalFilter, *, by: str, reason: str) -> list[RefusedWrite]:
        self.done.append(("retry", asked.object, asked.key, asked.code, asked.field, by, reason))
        return self.refused(asked)

    def _letter(self) -> StoredLetter:
        headers = {
            **self.about,
            "exception.message": f"{TAG} Its own words: no such phone",
            "exception.class.name": "a.Bad",
        }
        return StoredLetter("salesforce-sink", 3, AT_MS, b"001A", b"", headers)

    def letters(self, asked: LetterFilter) -> Found:
        return Found(((self._letter(), None),))

    def letter(self, text: str) -> Any:
        return self._letter(), None, Plan(Mend.SEND, "Merge sends it again."), {"Site": TAG}

    def draft(
        self, text: str, *, hidden_in: Callable[[StoredLetter], Collection[str]]
    ) -> tuple[StoredLetter, str]:
        fields = {"Site": f"'{TAG}'", "Phone": "1"}
        hidden = hidden_in(self._letter())
        return self._letter(), "".join(f"{n}: {v}\n" for n, v in fields.items() if n not in hidden)

    def edit(self, text: str, corrected: str, *, by: str, reason: str) -> Plan:
        if "Fux" in corrected:
            raise ConfigError("line 1: not a synced field. Write the field's API name, e.g. Name.")
        self.done.append(("edit", text, corrected, by, reason))
        return Plan(Mend.SEND, "The corrected fields are agreed.")

    def replay(self, asked: LetterFilter, *, by: str, reason: str, dry_run: bool = False) -> DealtWith:
        return self._dealt("replay", asked, by, reason, dry_run)

    def discard(self, asked: LetterFilter, *, by: str, reason: str, dry_run: bool = False) -> DealtWith:
        return self._dealt("discard", asked, by, reason, dry_run)

    def _dealt(self, what: str, asked: LetterFilter, by: str, reason: str, dry_run: bool) -> DealtWith:
        if not dry_run:
            self.done.append((what, asked.ids, asked.subject, asked.code, by, reason))
        return DealtWith(
            (Dealt("salesforce-sink/3", "Account", "001A", Plan(Mend.SEND, "Merge sends it again.")),)
        )

    def waiting_deletes(self) -> list[WaitingDeletes]:
        return [WaitingDeletes("Account", "salesforce", ("001A", "001B"), (3,))]

    def decide_deletes(self, name: str, side: str, *, approve: bool, by: str) -> list[WaitingDeletes]:
        self.done.append(("approve" if approve else "discard", name, side, by))
        return self.waiting_deletes()

    def compare(self, objects: Sequence[str], *, repair: bool, by: str) -> bool:
        self.done.append(("compare", *objects, repair, by))
        return True


def console_of(
    api: Api, *sections: Section, seen: Overview | None = None
) -> tuple[TestClient, FakeOperations]:
    """A client of the console beside these sections, and what it works with."""
    console = Console(
        api.live, Path("sync.yaml"), operations=(operations := FakeOperations()), watching=FakeWatching(seen)
    )
    served = Served(Described("api", "api", {}, worker_id="", sync="crm", ordinal=0), Health(), api.metrics)
    app = application(api, served, sections, {PATH: console.application})
    client = TestClient(
        app, base_url=LOCAL, raise_server_exceptions=False, follow_redirects=False, client=CLIENT
    )
    return client, operations
