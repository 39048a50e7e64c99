"""fields.rename is changed while the sync runs: values move, and none is lost, whenever a process is killed; on a real mongod."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from salmon.errors import ConfigError
from salmon.model.change import Op, WriteOp
from salmon.mongodb import moving
from salmon.mongodb.form_store import COLLECTION
from salmon.mongodb.paths import mark_of
from salmon.mongodb.reading.source import MongoSourceTask
from salmon.mongodb.wire.client import Document
from salmon.mongodb.writing.sink import MongoSinkTask
from salmon.plugin.contract import OutcomeKind
from salmon.plugin.former_paths import CountsFormerPaths
from support.mongo import SCHEMAS, Log, Mongo, NoIdentities, Synced, put, write

OLD: Mapping[str, str] = {}
NEW = {"Phone": "contact.phone", "Name": "title"}
MARK = mark_of(NEW)


def objects(paths: Mapping[str, str], direction: str = "both") -> dict[str, Synced]:
    return {"Account": Synced("accounts", direction, paths), "Contact": Synced("contacts")}


@contextmanager
def reading(
    mongo: Mongo, log: Log, paths: Mapping[str, str], direction: str = "both"
) -> Iterator[MongoSourceTask]:
    """A source, until it is killed: what it has not reported is forgotten."""
    task = mongo.source(objects(paths, direction))
    try:
        log.begin(task)
        yield task
    finally:
        task.stop()
        task.close()


def read_all(mongo: Mongo, log: Log, paths: Mapping[str, str], direction: str = "both") -> None:
    """Run a source until nothing is left to read or to move, and its position is stored."""
    with reading(mongo, log, paths, direction) as task:
        log.until_read(task)
        log.until(task, lambda _: not task.waiting())
        mongo.contacts.replace_one({"_id": "end"}, {"LastName": str(len(log.records))}, upsert=True)
        before = len(log.of("end"))
        log.until(task, lambda log: len(log.of("end")) > before)


class Sink:
    """A sink with a configuration; its clock passes a second with each call."""

    def __init__(self, mongo: Mongo, paths: Mapping[str, str], direction: str = "both") -> None:
        self._now_s = 0.0
        self.task = MongoSinkTask(mongo.config, objects(paths, direction), "test", clock=self._clock)
        self.task.start(SCHEMAS, NoIdentities(), clean=True)

    def _clock(self) -> float:
        self._now_s += 1.0
        return self._now_s

    def puts(self, key: str, op: WriteOp, seq: int, expected: int = 0, **fields: Any) -> OutcomeKind:
        return put(self.task, write(key, op, seq, expected, **fields))[0].kind


@pytest.fixture
def sinks() -> Iterator[list[Sink]]:
    made: list[Sink] = []
    yield made
    for each in made:
        each.task.close()


def document(mongo: Mongo, key: str) -> Document:
    found = mongo.accounts.find_one({"_id": key})
    assert found is not None
    return found


def test_values_move_and_no_edit_is_reported(mongo: Mongo, sinks: list[Sink]) -> None:
    """Ours and an application's; what is beside them stays, and events from before the move are read at the old path."""
    log = Log()
    read_all(mongo, log, OLD)
    sinks.append(Sink(mongo, OLD))
    sinks[0].puts("a", WriteOp.CREATE, 5, Name="Acme", Phone="1")
    mongo.accounts.insert_one({"_id": "b", "Phone": "2", "contact": {"fax": "9"}, "Active": True})
    mongo.accounts.update_one({"_id": "b"}, {"$set": {"Phone": "3"}})
    read_all(mongo, log, NEW)
    assert document(mongo, "a") == {
        "_id": "a",
        "title": "Acme",
        "contact": {"phone": "1"},
        "_salmon": {"seq": 5, "paths": MARK},
    }
    moved = {"_id": "b", "contact": {"fax": "9", "phone": "3"}, "Active": True, "_salmon": {"paths": MARK}}
    assert document(mongo, "b") == moved
    assert [(each.op, each.fields.get("Phone")) for each in log.of("b")] == [
        (Op.CREATE, "2"),
        (Op.UPDATE, "3"),
    ]
    assert log.ops("a") == [Op.CREATE]


def test_a_source_killed_in_the_middle_goes_on(mongo: Mongo, monkeypatch: pytest.MonkeyPatch) -> None:
    """Again and again: every document is moved, and nothing is reported twice or as an edit."""
    monkeypatch.setattr(moving, "_DOCUMENTS_A_STEP", 2)
    log = Log()
    read_all(mongo, log, OLD)
    mongo.accounts.insert_many([{"_id": f"a{n}", "Phone": str(n)} for n in range(12)])
    read_all(mongo, log, OLD)
    for _ in range(4):
        with reading(mongo, log, NEW) as task:
            log.poll(task)
            assert task.waiting(), "the move is not over"
    left = mongo.accounts.count_documents({"Phone": {"$exists": True}})
    assert 0 < left < 12
    read_all(mongo, log, NEW)
    assert {each["contact"]["phone"] for each in mongo.accounts.find()} == {str(n) for n in range(12)}
    assert mongo.accounts.count_documents({"Phone": {"$exists": True}}) == 0
    assert all(log.ops(f"a{n}") == [Op.CREATE] for n in range(12))


def test_sinks_of_both_forms_wait_for_each_other(mongo: Mongo, sinks: list[Sink]) -> None:
    """The new one until all is moved, the old one from then on; the record is written once, in the new form."""
    log = Log()
    read_all(mongo, log, OLD)
    old, new = Sink(mongo, OLD), Sink(mongo, NEW)
    sinks += [old, new]
    assert old.puts("a", WriteOp.CREATE, 5, Phone="1") is OutcomeKind.APPLIED
    assert new.puts("a", WriteOp.UPDATE, 6, 5, Phone="2") is OutcomeKind.RETRY_LATER
    assert "mongodb-source" in new.task.waiting()[0].sentence
    read_all(mongo, log, NEW)
    assert old.puts("a", WriteOp.UPDATE, 6, 5, Phone="2") is OutcomeKind.RETRY_LATER
    assert "Restart" in old.task.waiting()[0].sentence
    assert new.puts("a", WriteOp.UPDATE, 6, 5, Phone="2") is OutcomeKind.APPLIED
    assert document(mongo, "a")["contact"] == {"phone": "2"}
    assert new.task.waiting() == []


def test_a_sink_that_has_not_looked_since_the_move_writes_nothing(mongo: Mongo) -> None:
    """Its guard asks for the form, so it need not know: an old sink that was suspended meanwhile."""
    log = Log()
    read_all(mongo, log, OLD)
    old = MongoSinkTask(mongo.config, objects(OLD), "test", clock=lambda: 0.0)
    old.start(SCHEMAS, NoIdentities(), clean=True)
    put(old, write("a", WriteOp.CREATE, 5, Phone="1"))
    read_all(mongo, log, NEW)
    for each in (
        write("a", WriteOp.UPDATE, 6, 5, Phone="2"),
        write("a", WriteOp.UPDATE, 6, 0, Phone="2"),
        write("a", WriteOp.CREATE, 6, Phone="2"),
        write("a", WriteOp.DELETE, 6, 5),
    ):
        assert put(old, each)[0].kind is OutcomeKind.RETRY_LATER
    assert document(mongo, "a")["contact"] == {"phone": "1"}
    # What it inserts is ours, and moved: its event says all that is in it.
    assert put(old, write("b", WriteOp.CREATE, 7, Phone="3"))[0].kind is OutcomeKind.APPLIED
    old.close()
    read_all(mongo, log, NEW)
    assert document(mongo, "b") == {
        "_id": "b",
        "contact": {"phone": "3"},
        "_salmon": {"seq": 7, "paths": MARK},
    }
    assert [(each.ack, each.fields.get("Phone")) for each in log.of("b")] == [(7, "3")]


def test_what_stands_at_the_new_path_already_is_an_edit(mongo: Mongo) -> None:
    """An application that was changed first: its value stays, and is reported by a row; the old one is removed."""
    log = Log()
    mongo.accounts.insert_one({"_id": "a", "Phone": "1"})
    read_all(mongo, log, OLD)
    mongo.accounts.update_one({"_id": "a"}, {"$set": {"contact": {"phone": "2"}}})
    read_all(mongo, log, NEW)
    assert document(mongo, "a")["contact"] == {"phone": "2"}
    assert "Phone" not in document(mongo, "a")
    assert [(each.op, each.fields["Phone"]) for each in log.of("a")] == [(Op.ROW, "1"), (Op.ROW, "2")]


def test_an_application_that_goes_on_to_write_the_old_path_is_told_of(mongo: Mongo) -> None:
    """It is not taken for an edit: a note in /health names the path once, and each field is counted, by its object alone."""
    log = Log()
    mongo.accounts.insert_one({"_id": "a", "Phone": "1"})
    read_all(mongo, log, OLD)
    read_all(mongo, log, NEW)
    with reading(mongo, log, NEW) as task:
        assert isinstance(task, CountsFormerPaths), "the process finds it by that"
        assert (task.note(), task.former_paths.writes()) == ("", {})
        mongo.accounts.update_one({"_id": "a"}, {"$set": {"Phone": "4"}})
        log.until(task, lambda _: bool(task.note()))
        assert "Phone of Account" in task.note()
        mongo.accounts.update_one({"_id": "a"}, {"$set": {"Phone": "5", "Name": "Acme"}})
        log.until(task, lambda _: task.former_paths.writes() == {"Account": 3})
    assert log.ops("a") == [Op.ROW]
    assert document(mongo, "a")["contact"] == {"phone": "1"}


def test_a_value_whose_way_is_blocked_stays_and_is_no_deletion(mongo: Mongo) -> None:
    """Text where the sub-document belongs: it is reported as a misfit, and the other fields move."""
    log = Log()
    mongo.accounts.insert_one({"_id": "a", "Name": "Acme", "Phone": "1", "contact": "by post"})
    read_all(mongo, log, OLD)
    read_all(mongo, log, NEW)
    moved = {"_id": "a", "title": "Acme", "Phone": "1", "contact": "by post", "_salmon": {"paths": MARK}}
    assert document(mongo, "a") == moved
    again = Log()
    read_all(mongo, again, NEW)
    (row,) = again.of("a")
    assert (row.fields["Name"], set(row.misfits)) == ("Acme", {"Phone"})


def test_a_document_that_mongodb_refuses_to_move_stops_no_other(mongo: Mongo) -> None:
    """A unique index of the administrator's: the others are moved, their events reported, and health names it and the mend."""
    log = Log()
    mongo.accounts.insert_many(
        [{"_id": "a", "Name": "Acme"}, {"_id": "b", "Name": "Acme"}, {"_id": "c", "Name": "C"}]
    )
    read_all(mongo, log, OLD)
    mongo.accounts.create_index("title", unique=True, sparse=True)
    with reading(mongo, log, NEW) as task:
        log.until(
            task, lambda _: any("refuses to move 1 of them" in each.sentence for each in task.waiting())
        )
        mongo.accounts.update_one({"_id": "c"}, {"$set": {"title": "D"}})
        log.until(task, lambda log: len(log.of("c")) == 2)
    assert mongo.accounts.count_documents({"title": {"$exists": True}}) == 2
    mongo.accounts.drop_index("title_1")
    read_all(mongo, log, NEW)
    assert mongo.accounts.count_documents({"title": {"$exists": True}}) == 3
    assert log.ops("a") == log.ops("b") == [Op.ROW]


def test_a_move_back_and_one_onwards_end_in_the_last_form(mongo: Mongo, sinks: list[Sink]) -> None:
    """Also where the move before is not over when the configuration changes again."""
    log = Log()
    read_all(mongo, log, OLD)
    sinks.append(Sink(mongo, OLD))
    sinks[0].puts("a", WriteOp.CREATE, 5, Phone="1")
    mongo.accounts.insert_one({"_id": "b", "Phone": "2"})
    read_all(mongo, log, NEW)
    read_all(mongo, log, OLD)
    assert document(mongo, "b")["Phone"] == "2"
    sinks.append(Sink(mongo, OLD))
    assert sinks[1].puts("a", WriteOp.UPDATE, 6, 5, Phone="3") is OutcomeKind.APPLIED
    with reading(mongo, log, NEW):
        pass  # killed before it has moved anything
    other = {"Phone": "telephone"}
    read_all(mongo, log, other)
    assert (document(mongo, "a")["telephone"], document(mongo, "b")["telephone"]) == ("3", "2")
    assert log.ops("b") == [Op.CREATE]


def test_a_first_start_with_renames_moves_nothing(mongo: Mongo) -> None:
    """What an application has under a field's own name is its own; fields may even have each other's names."""
    mongo.accounts.insert_one({"_id": "a", "Phone": "theirs", "contact": {"phone": "1"}})
    log = Log()
    read_all(mongo, log, NEW)
    assert document(mongo, "a") == {"_id": "a", "Phone": "theirs", "contact": {"phone": "1"}}
    assert log.of("a")[0].fields["Phone"] == "1"


def test_a_field_cannot_move_to_where_another_one_was(mongo: Mongo) -> None:
    """Nothing is changed before a person has done it in two steps."""
    log = Log()
    mongo.accounts.insert_one({"_id": "a", "Phone": "1", "Name": "Acme"})
    read_all(mongo, log, OLD)
    with (
        pytest.raises(ConfigError, match="in two steps"),
        reading(mongo, log, {"Phone": "Name", "Name": "Phone"}),
    ):
        pass
    assert document(mongo, "a") == {"_id": "a", "Phone": "1", "Name": "Acme"}
    assert COLLECTION not in mongo.database.list_collection_names()


def test_where_mongodb_is_only_written_the_sink_moves(mongo: Mongo, sinks: list[Sink]) -> None:
    """Only documents of ours: the others are nobody's."""
    sinks += [Sink(mongo, OLD, "to_mongodb")]
    assert sinks[0].puts("a", WriteOp.CREATE, 5, Phone="1") is OutcomeKind.APPLIED
    mongo.accounts.insert_one({"_id": "x", "Phone": "theirs"})
    sinks += [Sink(mongo, NEW, "to_mongodb")]
    while sinks[1].puts("a", WriteOp.CREATE, 6, Phone="2") is OutcomeKind.RETRY_LATER:
        pass
    assert document(mongo, "a")["contact"] == {"phone": "2"}
    assert document(mongo, "x") == {"_id": "x", "Phone": "theirs"}


def test_where_mongodb_is_only_read_documents_are_read_again_and_left_alone(mongo: Mongo) -> None:
    """Their application owns them."""
    log = Log()
    mongo.accounts.insert_one({"_id": "a", "Phone": "1", "contact": {"phone": "2"}})
    read_all(mongo, log, OLD, "to_salesforce")
    read_all(mongo, log, NEW, "to_salesforce")
    assert [each.fields["Phone"] for each in log.of("a")] == ["1", "2"]
    assert document(mongo, "a") == {"_id": "a", "Phone": "1", "contact": {"phone": "2"}}
    assert COLLECTION not in mongo.database.list_collection_names()


@pytest.mark.parametrize("order", ["alone", "with a validator"])
def test_a_sub_document_that_the_move_has_emptied_is_taken_out(mongo: Mongo, order: str) -> None:
    """Together with the move, and no application is blamed for it; what an application has beside our fields stays."""
    inner = {"Phone": "contact.way.phone", "Name": "contact.title", "Employees": "contact.size.people"}
    documents: list[Document] = [
        {"_id": "a", "contact": {"way": {"phone": "1"}, "title": "Acme", "size": {"people": 7}}},
        {"_id": "b", "contact": {"way": {"phone": "1", "fax": "9"}, "title": "Acme"}},
        {"_id": "c", "contact": {"title": "Acme"}, "Name": "Other"},
        {"_id": "d", "contact": {}, "other": 1},
    ]
    mongo.accounts.insert_many(documents)
    log = Log()
    read_all(mongo, log, inner)
    if order == "with a validator":
        mongo.database.command(
            "collMod", "accounts", validator={"$or": [{"contact": {"$type": "object"}}, {"_id": "z"}]}
        )
    with reading(mongo, log, {}) as task:
        log.until(task, lambda _: not task.waiting())
        mongo.contacts.insert_one({"_id": "z", "LastName": "end"})
        log.until(task, lambda log: bool(log.of("z")))
        assert isinstance(task, CountsFormerPaths)
        assert task.former_paths.writes() == {}
    left = {each["_id"]: each for each in mongo.accounts.find({}, {"_salmon": 0})}
    assert {name: left["a"][name] for name in ("Phone", "Name", "Employees")} == {
        "Phone": "1",
        "Name": "Acme",
        "Employees": 7,
    }
    assert left["b"]["contact"] == {"way": {"fax": "9"}}
    assert left["c"]["Name"] == "Other"
    assert left["d"]["contact"] == {}
    assert ("contact" in left["a"], "contact" in left["c"]) == ((order != "alone"),) * 2
    assert [change.op for change in log.of("a")][1:] == []
