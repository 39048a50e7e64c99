"""The example of a side of one's own: files of JSON lines, without Kafka."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from jsonl_side import JsonlSettings, append
from jsonl_side.journal import line_of
from jsonl_side.sink import JsonlSink
from jsonl_side.source import JsonlSource
from salmon.plugin import (
    Change,
    FieldSchema,
    Kind,
    ObjectSchema,
    Op,
    OutcomeKind,
    Position,
    SetupError,
    ShowsRecords,
    Signal,
    SignalKind,
    SinkRecord,
    Unavailable,
    Value,
    Write,
    WriteOp,
)
from salmon.plugin.contract import Connects, SinkTask, SourceTask

NAME = "Contact"
SCHEMA = ObjectSchema(
    NAME,
    (
        FieldSchema("Phone", "phone", Kind.STRING),
        FieldSchema("Birthdate", "date", Kind.DATE),
        FieldSchema("Score__c", "double", Kind.DOUBLE),
    ),
    "003",
)


class Folder:
    """A folder, and what a worker would keep of its source."""

    def __init__(self, path: Path, agreed: set[str]) -> None:
        self.path, self.agreed = path, agreed
        self.file = path / f"{NAME}.jsonl"
        self.settings = JsonlSettings(folder=str(path), poll_s=0.001, keep_bytes=1024)
        self.positions: dict[str, Position] = {}
        self.schema = SCHEMA
        self.dead: list[bytes] = []
        self.answered: set[int] = set()
        self.restart()

    def restart(self) -> None:
        """The source's process is killed, and begins at what was committed."""
        self.source = JsonlSource(self.settings, {NAME: None}, "crm")
        self.source.connect()
        self.source.use({NAME: self.schema})
        self.source.use_records(lambda _: self.agreed)
        self.source.start(self.positions, {})

    def app(self, key: str, fields: dict[str, Any] | None) -> None:
        append(self.path, NAME, key, fields)

    def told(self) -> list[tuple[str, Change]]:
        """All that the source reports now, committed."""
        found: list[tuple[str, Change]] = []
        while True:
            batch = self.source.poll(0)
            self.answered |= batch.answered
            if not (batch.records or batch.positions):
                return found
            found += [(each.key, each.change) for each in batch.records]
            self.dead += [each.original for each in batch.dead_letters]
            self.positions |= {name: at for name, at in batch.positions.items() if at is not None}

    def sink(self) -> JsonlSink:
        sink = JsonlSink(self.settings, {NAME: None}, "crm")
        sink.start({NAME: self.schema}, None, clean=True)  # type: ignore[arg-type]
        return sink

    def put(self, *writes: SinkRecord) -> list[OutcomeKind]:
        return [outcome.kind for outcome in self.sink().put(writes)]


def write(key: str, seq: int, op: WriteOp, *, expected: int = 0, **fields: Value) -> SinkRecord:
    return SinkRecord(NAME, key, Write(seq, op, expected, fields=fields))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    found = Folder(tmp_path, set())
    assert found.told() == []
    return found


def test_the_tasks_keep_the_contract(folder: Folder) -> None:
    """As the types say, which mypy checks here."""
    source: SourceTask = folder.source
    sink: SinkTask = folder.sink()
    assert source is folder.source
    assert sink is not None


def test_a_first_start_tells_what_is_there_and_what_is_not(tmp_path: Path) -> None:
    """What was agreed before this side took part is told to be absent, so that it is made here."""
    append(tmp_path, NAME, "a", {"Phone": "1", "Birthdate": "1970-01-02"})
    first = dict(Folder(tmp_path, {"a", "b"}).told())
    assert first["a"].op is Op.ROW
    assert first["a"].fields == {"Phone": "1", "Birthdate": 1}
    assert first["b"].op is Op.ABSENT


def test_lines_are_events_in_their_order(folder: Folder) -> None:
    """Each names what it has changed, and nothing else; a line that changes nothing is no edit."""
    folder.app("a", {"Phone": "1", "Score__c": 2})
    folder.app("a", {"Phone": "1"})
    folder.app("a", {"Phone": None, "Score__c": 2.0})
    folder.app("a", None)
    folder.app("a", None)
    told = [change for _, change in folder.told()]
    assert [change.op for change in told] == [Op.CREATE, Op.UPDATE, Op.DELETE]
    assert told[1].changed == frozenset({"Phone"})
    assert told[1].fields == {}
    orders = [change.order for change in told]
    assert orders == sorted(set(orders))
    assert all(change.committed_at for change in told)


def test_a_write_of_ours_comes_back_with_its_number(folder: Folder) -> None:
    """The echo is the acknowledgement; a deletion needs none."""
    assert folder.put(write("a", 5, WriteOp.CREATE, Phone="1")) == [OutcomeKind.APPLIED]
    assert folder.put(write("a", 6, WriteOp.UPDATE, expected=5)) == [OutcomeKind.APPLIED]
    assert folder.put(write("a", 7, WriteOp.DELETE, expected=6)) == [OutcomeKind.APPLIED]
    assert [(change.op, change.ack) for _, change in folder.told()][:2] == [(Op.CREATE, 5), (Op.UPDATE, 6)]


def test_an_edit_under_a_write_of_ours_is_told_before_it(folder: Folder) -> None:
    """Nothing that an application has written is lost, whenever the sink writes the file anew."""
    folder.put(write("a", 5, WriteOp.CREATE, Phone="1"))
    sink = folder.sink()
    folder.app("a", {"Phone": "2"})
    assert sink.put([write("a", 6, WriteOp.UPDATE, expected=5, Phone="3")])[0].kind is OutcomeKind.APPLIED
    assert [(change.ack, change.fields["Phone"]) for _, change in folder.told()] == [
        (5, "1"),
        (None, "2"),
        (6, "3"),
    ]


def test_a_killed_source_goes_on_where_it_had_committed(folder: Folder) -> None:
    """Each line is told once."""
    folder.app("a", {"Phone": "1"})
    assert len(folder.told()) == 1
    folder.app("a", {"Phone": "2"})
    folder.source.poll(0)  # never committed
    folder.restart()
    assert [change.fields for _, change in folder.told()] == [{"Phone": "2"}]
    folder.restart()
    assert folder.told() == []


def test_a_line_without_an_end_waits_and_a_bad_one_is_set_aside(folder: Folder) -> None:
    """An application was killed as it wrote; the next one goes on in a new line, and nothing is cut."""
    with folder.file.open("ab") as file:
        file.write(b'{"key":"a","set":{"Pho')
    assert folder.told() == []
    folder.app("b", {"Phone": "2"})
    assert [key for key, _ in folder.told()] == ["b"]
    assert folder.dead == [b'{"key":"a","set":{"Pho\n']


@pytest.mark.parametrize(
    "line", [b"[]\n", b'{"set":{}}\n', b'{"key":" a","set":{}}\n', b'{"key":"a","set":1}\n']
)
def test_a_line_that_says_nothing_holds_up_no_other(folder: Folder, line: bytes) -> None:
    """It goes to the dead letter queue as it is."""
    with folder.file.open("ab") as file:
        file.write(line + line_of("a", {"Phone": "1"}))
    assert [key for key, _ in folder.told()] == ["a"]
    assert folder.dead == [line]


def test_a_value_that_does_not_fit_stays_where_it_is(folder: Folder) -> None:
    """The rest of the record is told, and the field is reported as a misfit without its value."""
    folder.app("a", {"Phone": "1", "Birthdate": "soon"})
    ((_, change),) = folder.told()
    assert change.changed == frozenset({"Phone", "Score__c"})
    assert "soon" not in change.misfits["Birthdate"].reason


def test_a_file_that_was_restored_is_another_history(folder: Folder) -> None:
    """All of it is read anew, and what it lacks is told to be absent."""
    folder.app("a", {"Phone": "1"})
    backup = folder.file.read_bytes()
    folder.app("a", {"Phone": "2"})
    folder.app("b", {"Phone": "3"})
    folder.told()
    folder.agreed = {"a", "b"}
    folder.file.write_bytes(backup)
    again = dict(folder.told())
    assert again["a"].fields == {"Phone": "1"}
    assert again["b"].op is Op.ABSENT
    assert {change.history for change in again.values()} != {""}
    folder.restart()
    assert folder.told() == [], "and once"


def test_a_source_that_was_away_too_long_reads_all_again(folder: Folder) -> None:
    """The sink has squashed lines that nobody was told of; the history is the same."""
    folder.app("a", {"Phone": "1"})
    folder.told()
    for seq in range(10, 200):
        folder.put(write("k", seq, WriteOp.CREATE if seq == 10 else WriteOp.UPDATE, Phone=str(seq)))
    assert folder.file.stat().st_size < 5 * 1024
    again = dict(folder.told())
    assert again["k"].fields == {"Phone": "199"}
    assert again["k"].ack == 199
    assert again["a"].history == ""


def test_what_was_told_goes_on_across_a_squash(folder: Folder) -> None:
    """A place in the file means the same line before and after."""
    for seq in range(10, 200):
        folder.put(write("k", seq, WriteOp.CREATE if seq == 10 else WriteOp.UPDATE, Phone=str(seq)))
        assert [change.ack for _, change in folder.told()] == [seq]
    head = json.loads(folder.file.read_bytes().partition(b"\n")[0])["salmon"]
    assert head["kept"] > 0, "it was squashed"


def test_a_request_is_answered_by_rows(folder: Folder) -> None:
    """Single records, and all of them."""
    folder.app("a", {"Phone": "1"})
    folder.told()
    folder.source.request(Signal(3, SignalKind.READ, NAME, keys=("a", "z")))
    assert [(key, change.op) for key, change in folder.told()] == [("a", Op.ROW), ("z", Op.ABSENT)]
    folder.source.request(Signal(4, SignalKind.SNAPSHOT, NAME))
    assert [key for key, _ in folder.told()] == ["a"]
    assert folder.answered == {3, 4}


def test_a_field_that_is_new_to_the_sync_is_read(folder: Folder) -> None:
    """No line has told of it."""
    folder.app("a", {"Phone": "1", "Fax": "2"})
    folder.told()
    folder.schema = replace(SCHEMA, fields=(*SCHEMA.fields, FieldSchema("Fax", "phone", Kind.STRING)))
    folder.restart()
    assert dict(folder.told())["a"].fields == {"Phone": "1", "Fax": "2"}


def test_a_lock_that_nobody_gives_back_is_an_outage(folder: Folder) -> None:
    """The writes wait, and are put again."""
    sink = folder.sink()
    journal = sink._journals[NAME]
    with journal.locked():
        journal.lock_wait_s = 0
        with pytest.raises(Unavailable):
            sink.put([write("a", 5, WriteOp.CREATE)])


@pytest.mark.parametrize("task", [JsonlSource, JsonlSink])
def test_a_folder_that_is_not_there_is_a_mistake_of_the_configuration(
    tmp_path: Path, task: type[JsonlSource] | type[JsonlSink]
) -> None:
    """One sentence names the key, before the start, and for the doctor."""
    made = task(JsonlSettings(folder=str(tmp_path / "no")), {NAME: None}, "crm")
    assert isinstance(made, Connects)
    with pytest.raises(SetupError, match=r"sides\.jsonl\.folder"):
        made.connect()


def test_verify_sees_what_the_file_says_now(folder: Folder) -> None:
    """Page by page, and some by their keys; nothing is taken from the task that works."""
    for number in range(3):
        folder.app(f"k{number}", {"Phone": str(number)})
    shown = JsonlSource(folder.settings, {NAME: None}, "crm")
    shown.use({NAME: SCHEMA})
    assert isinstance(shown, ShowsRecords)
    assert [each.key for each in shown.show_after(NAME, "k0")] == ["k1", "k2"]
    assert shown.show_after(NAME, "k2") == []
    folder.app("k1", {"Phone": "new"})
    assert [each.change.fields for each in shown.show(NAME, ["k1", "z"])] == [{"Phone": "new"}]
    assert len(folder.told()) == 4


def test_trouble_with_one_file_loses_nothing_of_another(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was gathered of it is told; if the trouble goes on, the next poll reports that."""
    source = JsonlSource(folder.settings, {NAME: None, "Lead": None}, "crm")
    source.use({NAME: SCHEMA, "Lead": replace(SCHEMA, name="Lead")})
    source.start({}, {})
    source.poll(0)
    folder.app("a", {"Phone": "1"})
    append(folder.path, "Lead", "b", {"Phone": "2"})

    def fails() -> NoReturn:
        raise Unavailable("the disk is away.")

    with monkeypatch.context() as patched:
        patched.setattr(source._readings["Lead"].journal, "_read", fails)
        assert [record.key for record in source.poll(0).records] == ["a"]
        with pytest.raises(Unavailable):
            source.poll(0)
    assert [record.key for record in source.poll(0).records] == ["b"]
