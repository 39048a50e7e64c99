"""MongoDB's source when the server is restored from a backup: noticed, told, and read anew. On a real mongod."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from salmon.devstack.mongod import EmbeddedMongod, binary
from salmon.errors import SetupError
from salmon.model.change import Op
from support.mongo import Log, Mongo, read_signal
from support.waiting import until

KEPT, CHANGED, LOST = "$int:1", "$int:2", "$int:3"


class Restorable:
    """A mongod of the test's own, whose files are copied and put back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = Log()

    @contextmanager
    def running(self) -> Iterator[Mongo]:
        server = EmbeddedMongod(self.folder / "data", self.folder / "mongod.log")
        server.start()
        mongo = Mongo(server.uri, "restored")
        try:
            yield mongo
        finally:
            mongo.client.close()
            server.stop()

    def back_up(self) -> None:
        shutil.copytree(self.folder / "data", self.folder / "backup")

    def restore(self) -> None:
        shutil.rmtree(self.folder / "data")
        shutil.copytree(self.folder / "backup", self.folder / "data")

    def tell(self, mongo: Mongo, enough: Callable[[Log], bool]) -> str:
        """Let a source start where the last one ended, and tell until it is *enough*; returns its note."""
        source = mongo.source()
        try:
            self.log.begin(source)
            self.log.until(source, enough)
            self.log.until_read(source)
            # A position is told with the next record, or after a while.
            source.request(read_signal(99, KEPT))
            self.log.until(source, lambda log: 99 in log.answered)
            self.log.answered.clear()
            return source.note()
        finally:
            source.stop()
            source.close()


@pytest.fixture
def restorable(tmp_path: Path) -> Restorable:
    with suppress(SetupError):
        binary()
        return Restorable(tmp_path)
    pytest.skip("there is no embedded mongod here")


def test_a_restored_server_is_noticed_also_where_it_serves_the_stored_position(
    restorable: Restorable,
) -> None:
    """
    It has been running for a while since, so its clock is past the position, which it therefore serves: only the last
    event that was told is missing in its log. All rows are of a new history, and so is each absence and later edit.
    """
    it = restorable
    with it.running() as mongo:
        mongo.accounts.insert_many([{"_id": 1, "Name": "kept"}, {"_id": 2, "Name": "old"}])
        it.tell(mongo, lambda log: len(log.records) >= 2)
    it.back_up()
    with it.running() as mongo:
        mongo.accounts.insert_one({"_id": 3, "Name": "of the time that is lost"})
        mongo.accounts.update_one({"_id": 2}, {"$set": {"Name": "new"}})
        it.tell(mongo, lambda log: log.ops(CHANGED)[-1] is Op.UPDATE)
    assert {each.change.history for each in it.log.records} == {""}
    it.restore()
    it.log.records.clear()
    with it.running() as mongo:
        ahead = it.log.positions["stream"]["token"]["_data"][2:10]

        def passed() -> bool:
            mongo.client["other"]["ticks"].insert_one({})
            return bool(mongo.client.admin.command("hello")["operationTime"].time > int(ahead, 16) + 1)

        until(passed, "the server's clock is past the position")
        note = it.tell(mongo, lambda log: bool(log.ops(CHANGED)))
        assert "shows an earlier time" in note
        assert "salmon verify --repair" in note
        (history,) = {each.change.history for each in it.log.records}
        assert history
        assert it.log.of(CHANGED)[0].fields["Name"] == "old"
        # A later process still says of which history it tells; and what is missing was deleted by nobody.
        mongo.accounts.update_one({"_id": 1}, {"$set": {"Name": "edited since"}})
        it.tell(mongo, lambda log: Op.UPDATE in log.ops(KEPT))
        source = mongo.source()
        it.log.begin(source)
        source.request(read_signal(7, LOST))
        it.log.until(source, lambda log: 7 in log.answered)
        source.close()
    assert it.log.of(LOST)[-1].op is Op.ABSENT
    assert {each.change.history for each in it.log.records} == {history}


def test_a_server_that_merely_started_again_has_not_gone_back(restorable: Restorable) -> None:
    """Its log has the last event that was told: nothing is read anew, and nothing is said."""
    it = restorable
    with it.running() as mongo:
        mongo.accounts.insert_one({"_id": 1, "Name": "kept"})
        it.tell(mongo, lambda log: bool(log.records))
        mongo.accounts.update_one({"_id": 1}, {"$set": {"Name": "edited"}})
        it.tell(mongo, lambda log: Op.UPDATE in log.ops(KEPT))
    it.log.records.clear()
    with it.running() as mongo:
        mongo.accounts.update_one({"_id": 1}, {"$set": {"Name": "edited again"}})
        assert it.tell(mongo, lambda log: Op.UPDATE in log.ops(KEPT)) == ""
    assert it.log.ops(KEPT)[0] is Op.UPDATE
    assert {each.change.history for each in it.log.records} == {""}


def test_another_server_with_copies_of_the_documents_is_another_history(
    restorable: Restorable, tmp_path: Path
) -> None:
    """A dump that was read into a fresh server: the position is lost, and all collections were made anew."""
    it = restorable
    with it.running() as mongo:
        mongo.accounts.insert_one({"_id": 1, "Name": "old"})
        it.tell(mongo, lambda log: bool(log.records))
    shutil.rmtree(tmp_path / "data")
    it.log.records.clear()
    with it.running() as mongo:
        mongo.accounts.insert_one({"_id": 1, "Name": "older"})
        assert "shows an earlier time" in it.tell(mongo, lambda log: bool(log.records))
    assert all(each.change.history for each in it.log.records)
