"""Whole objects that are read at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from salmon.backoff import Backoff
from salmon.errors import Unavailable
from salmon.salesforce.identity import Identity
from salmon.salesforce.reading.whole.rows import ReadRows, RowReader
from salmon.salesforce.reading.whole.run import Run, Why
from salmon.salesforce.reading.whole.side_by_side import SideBySide
from salmon.salesforce.reading.whole.snapshot import Chunk
from support.orgs.salesforce import MemoryOrg, synced
from support.waiting import until

OBJECTS = {name: synced(name) for name in ("Account", "Contact", "Opportunity")}
A, B, C = (f"00100000000000{number}AAA" for number in (1, 2, 3))
OF_CONTACT = "003000000000001AAA"
RUN = Run("Account", Why.FIRST, began=0)


class Rig:
    """Accounts and a contact in memory; reading the objects of *slow* waits until a test lets it go on."""

    def __init__(self, *slow: str, at_once: int = 2) -> None:
        self.org = MemoryOrg()
        for native_id in (A, B, C):
            self.org.put("Account", native_id, Name="x")
        self.org.put("Contact", OF_CONTACT, LastName="x")
        self.go_on = threading.Event()
        self.taken: list[Chunk] = []
        identity = Identity({name: one.schema for name, one in OBJECTS.items()})
        readers = {name: RowReader(self.org, one, identity, OBJECTS) for name, one in OBJECTS.items()}
        for name in slow:
            self._slow(readers[name])
        self.readings = SideBySide(
            self.org, readers, at_once=at_once, rows_a_chunk=1, backoff=Backoff(first_s=0.001, max_s=0.01)
        )

    def _slow(self, reader: RowReader) -> None:
        after = reader.after

        def waiting(
            native_id: str, limit: int = 1, floor: int = 0, since: int | None = None, to: str = ""
        ) -> ReadRows:
            assert self.go_on.wait(30)
            return after(native_id, limit, floor, since, to)

        reader.after = waiting  # type: ignore[method-assign]

    def done(self, name: str) -> bool:
        """Take what there is; whether all of the object has been taken."""
        while (item := self.readings.take()) is not None:
            assert isinstance(item, Chunk)
            self.taken.append(item)
        return any(chunk.run.object == name and chunk.run.done for chunk in self.taken)

    def ids(self, name: str) -> list[str]:
        return [row.native_id for chunk in self.taken if chunk.run.object == name for row in chunk.read.rows]


@pytest.fixture
def made() -> Iterator[list[Rig]]:
    rigs: list[Rig] = []
    yield rigs
    for rig in rigs:
        rig.go_on.set()
        rig.readings.close()


def test_a_slow_object_holds_up_no_other(made: list[Rig]) -> None:
    """One query may take minutes, and a bulk job hours."""
    rig = Rig("Account")
    made.append(rig)
    rig.readings.begin(RUN)
    rig.readings.begin(replace(RUN, object="Contact"))
    until(lambda: rig.done("Contact"), "the other one is read")
    assert rig.ids("Account") == []
    rig.go_on.set()
    until(lambda: rig.done("Account"), "the slow one is read too")
    assert rig.ids("Account") == [A, B, C], "each in the order of the Ids, whoever else is read"


def test_more_objects_than_readers_are_all_read(made: list[Rig]) -> None:
    """The next one goes to whoever has the least to do."""
    rig = Rig(at_once=2)
    made.append(rig)
    for name in OBJECTS:
        rig.readings.begin(replace(RUN, object=name))
    for name in OBJECTS:
        until(lambda name=name: rig.done(name), f"{name} is read")  # type: ignore[misc]
    assert rig.ids("Account") == [A, B, C]


def test_an_object_that_is_begun_again_is_reported_by_its_new_run_alone(made: list[Rig]) -> None:
    """The former one is given up, wherever it is read."""
    rig = Rig("Account")
    made.append(rig)
    rig.readings.begin(RUN)
    rig.readings.begin(replace(RUN, object="Contact"))
    rig.readings.begin(replace(RUN, why=Why.ASKED))
    rig.go_on.set()
    until(lambda: rig.done("Account"), "it is read")
    assert {chunk.run.why for chunk in rig.taken if chunk.run.object == "Account"} == {Why.ASKED}


def test_an_object_that_is_given_up_is_reported_no_more(made: list[Rig]) -> None:
    """And whoever read it has time for others."""
    rig = Rig("Account")
    made.append(rig)
    rig.readings.begin(RUN)
    rig.readings.give_up("Account")
    rig.go_on.set()
    rig.readings.begin(replace(RUN, object="Contact"))
    until(lambda: rig.done("Contact"), "another one is read")
    assert rig.ids("Account") == []


def test_more_parts_than_readers_are_all_read(made: list[Rig]) -> None:
    """Whoever has ended one goes on with the next; other objects have a reader of their own meanwhile."""
    rig = Rig("Account", at_once=2)
    made.append(rig)
    rig.readings.begin(replace(RUN, by="rest").cut_at([A, B]))
    rig.readings.begin(replace(RUN, object="Contact"))
    until(lambda: rig.done("Contact"), "the other one is read")
    rig.go_on.set()
    until(lambda: rig.done("Account") and len(rig.ids("Account")) == 3, "all parts are read")
    assert rig.ids("Account") == [A, B, C]
    ended = [chunk.run.part for chunk in rig.taken if chunk.run.object == "Account" and chunk.run.done]
    assert ended == [0, 1, 2]


def test_a_small_object_does_not_wait_for_the_end_of_large_ones(made: list[Rig]) -> None:
    """Where every reader has one, they are read by turns: a hole of a few records must not hold up its events for hours."""
    rig = Rig("Account", at_once=1)
    made.append(rig)
    for number in range(10, 50):
        rig.org.put("Account", f"0010000000000{number}AAA", Name="x")
    rig.readings.begin(RUN)
    rig.readings.begin(replace(RUN, object="Contact"))
    rig.go_on.set()
    until(lambda: rig.done("Contact"), "the small one is read")
    assert len(rig.ids("Account")) < 20
    until(lambda: rig.done("Account"), "and the large one goes on")
    assert len(rig.ids("Account")) == len(set(rig.ids("Account"))) == 43


def test_a_reader_that_has_nothing_left_takes_a_part_of_another_object(made: list[Rig]) -> None:
    """No part waits while somebody could read it."""
    rig = Rig("Account", at_once=3)
    made.append(rig)
    rig.readings.begin(replace(RUN, object="Contact"))
    rig.readings.begin(replace(RUN, by="rest").cut_at([A, B]))
    until(lambda: rig.done("Contact"), "the small one is read")
    until(lambda: len(rig.readings._readers_of["Account"]) == 2, "its reader has taken a part")
    rig.go_on.set()
    until(lambda: rig.done("Account") and len(rig.ids("Account")) == 3, "all parts are read")


def test_an_object_in_parts_that_is_given_up_is_reported_no_more(made: list[Rig]) -> None:
    """None of its parts is, those that nobody reads yet neither."""
    rig = Rig("Account", at_once=3)
    made.append(rig)
    rig.readings.begin(replace(RUN, by="rest").cut_at([A, B]))
    rig.readings.begin(replace(RUN, why=Why.ASKED, by="rest"))
    rig.go_on.set()
    until(lambda: rig.done("Account"), "the new run is read")
    assert rig.ids("Account") == [A, B, C]
    assert {chunk.run.why for chunk in rig.taken} == {Why.ASKED}


def test_parts_that_nobody_reads_yet_are_given_up_with_their_object(made: list[Rig]) -> None:
    """Whoever has time afterwards does not begin them, and nothing of the object is kept."""
    rig = Rig("Account", at_once=3)
    made.append(rig)
    rig.readings.begin(replace(RUN, by="rest").cut_at([A, B]))
    rig.readings.give_up("Account")
    rig.go_on.set()
    rig.readings.begin(replace(RUN, object="Contact"))
    until(lambda: rig.done("Contact"), "another one is read")
    assert rig.ids("Account") == []
    assert rig.readings._left == {}, "and so is what was left of the one that is read"


def test_an_object_whose_parts_all_fail_waits_once(made: list[Rig]) -> None:
    """People are told what waits, and not how it is read."""
    rig = Rig(at_once=3)
    made.append(rig)
    rig.org.fails_with = Unavailable("away")
    rig.readings.begin(replace(RUN, by="rest").cut_at([A]))
    until(lambda: len([each for each in rig.readings._all if each.waiting()]) == 2, "both fail")
    assert [each.object for each in rig.readings.waiting()] == ["reading Account"]
    rig.org.fails_with = None
    until(lambda: rig.done("Account") and len(rig.ids("Account")) == 3, "all parts are read")
    assert rig.readings.waiting() == []
