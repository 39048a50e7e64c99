"""Events that come while an object is read in parts: whoever follows what is reported ends with what the org holds."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from hypothesis import example, given, settings
from hypothesis import strategies as st

from salmon.salesforce.reading.stream.subscription import Received
from salmon.salesforce.reading.whole.rows import ReadRows, RowReader
from salmon.salesforce.reading.whole.run import Run
from salmon.salesforce.reading.whole.snapshot import Chunk
from salmon.salesforce.reading.whole.windows import Window
from support.orgs.salesforce import MemoryOrg, payload
from support.orgs.salesforce_box import view_of
from support.orgs.salesforce_feed import Rig, StepwiseSnapshots, org_of, read_all

IDS: Final = [f"00100000000000{number}AAA" for number in range(1, 10)]
CUTS: Final = [IDS[2], IDS[5]]


class InParts(StepwiseSnapshots):
    """Each run of Accounts is cut in three, and the parts are read in the order that a test chooses."""

    def __init__(self, org: MemoryOrg, readers: Mapping[str, RowReader]) -> None:
        super().__init__(org, readers)
        self.left: list[Run] = []

    def begin(self, run: Run) -> None:
        super().begin(run)
        if run.object == "Account":
            self.left = run.pieces()

    def read_part(self, at: int) -> None:
        """Read the next chunk of a part, if it is due; before the first one, cut the run."""
        if not self.left or (self.org.clock.covered or 0) < self.left[0].not_before:
            return
        run = self.running["Account"] = self.left.pop(at % len(self.left))
        if not (run.by or run.absences):
            begun = replace(run, by="rest", total=0).cut_at(CUTS)
            self.ready.append(Chunk(begun, ReadRows((), Window(run.began, run.began))))
            return
        self.read_chunk()
        if not (run := self.running["Account"]).done:
            self.left.append(run)


class PartsRig(Rig):
    """A person who edits Accounts. The events come when a test lets them."""

    snapshots_as = InParts
    snapshots: InParts

    def __init__(self, org: MemoryOrg, earlier: PartsRig | None = None) -> None:
        """*earlier*: what was killed; what it has not stored is gone, and events behind the stored place come again."""
        super().__init__(org, earlier.stored if earlier else None)
        self.to_come: deque[Mapping[str, Any]] = earlier.to_come if earlier else deque()
        self.came: list[Received] = []
        self.commit = 0
        if earlier is not None:
            self.told, self.commit, self.number, self.came = (
                earlier.told,
                earlier.commit,
                earlier.number,
                earlier.came,
            )
            self.stream.items.extend(
                each for each in self.came if int.from_bytes(each.place, "big") > earlier.place
            )

    def edit(self, at: int) -> None:
        if (native_id := IDS[at]) in self.org.records["Account"]:
            self.commit += 1
            self.org.records["Account"][native_id]["Name"] = f"edited {self.commit}"
            self._committed("UPDATE", native_id, Name=f"edited {self.commit}")

    def delete(self, at: int) -> None:
        if (native_id := IDS[at]) in self.org.records["Account"]:
            self.commit += 1
            self.org.remove("Account", native_id, "2001-09-09T03:00:00Z")
            self._committed("DELETE", native_id)

    def hear_next(self) -> None:
        if self.to_come:
            self.hear(self.to_come.popleft())
            item = self.stream.items[-1]
            assert isinstance(item, Received)
            self.came.append(item)

    def settle(self) -> None:
        """Everybody rests: all events come, all parts are read, and what waits for a row gets it."""
        while self.to_come:
            self.hear_next()
        for _ in range(60):
            self.pass_s(2)
            self.org.look_at_clock()
            self.snapshots.read_part(0)
            self.gather()
        assert all(each.done for each in self.feed.progress())

    def _committed(self, kind: str, native_id: str, **fields: Any) -> None:
        at = self.org.now_ms // 1000 * 1000
        self.to_come.append(payload(kind, native_id, at=at, commit=self.commit, **fields))


PLAYS: Final[Mapping[str, Callable[[PartsRig, int], Any]]] = {
    "read": lambda rig, at: rig.snapshots.read_part(at),
    "edit": PartsRig.edit,
    "delete": PartsRig.delete,
    "hear": lambda rig, _: rig.hear_next(),
    "report": lambda rig, _: rig.gather(),
    "pass": lambda rig, at: rig.pass_s(at / 3),
    "hole": lambda rig, _: rig.feed.read_again("Account"),
}


@settings(deadline=None)
@example(
    [("read", 0), ("report", 0), ("read", 0), ("delete", 0)]
)  # its end is heard before its row is reported
@given(st.lists(st.tuples(st.sampled_from([*PLAYS, "kill"]), st.integers(0, len(IDS) - 1)), max_size=80))
def test_whatever_happens_while_parts_are_read_the_reports_end_with_what_the_org_holds(
    plays: list[tuple[str, int]],
) -> None:
    """Edits and deletions whose events come late, holes, and kills, between chunks of any part."""
    rig = PartsRig(org_of(*IDS))
    rig.keepalive()
    rig.gather()
    read_all(rig, "Contact")
    for play, at in plays:
        if play == "kill":
            rig = PartsRig(rig.org, rig)
        else:
            PLAYS[play](rig, at)
    rig.settle()
    shown = {key: fields["Name"] for key, fields in view_of(rig.told).items()}
    assert shown == {native_id: row["Name"] for native_id, row in rig.org.records["Account"].items()}
