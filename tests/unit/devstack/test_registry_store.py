"""What our registry keeps: ids over restarts, deletions in two steps, and a file that may be torn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from salmon.devstack.compatibility import Level
from salmon.devstack.registry_store import Refusal, RegistryStore
from salmon.errors import SetupError


def schema(*names: str) -> str:
    fields = [{"name": name, "type": ["null", "string"], "default": None} for name in names]
    return json.dumps({"type": "record", "name": "Account", "fields": fields})


def test_ids_and_versions_survive_a_restart(tmp_path: Path) -> None:
    """Records in Kafka carry the ids: after a restart each must mean what it meant."""
    store = RegistryStore(tmp_path)
    first, second = store.register("s", schema("a")), store.register("s", schema("a", "b"))
    store.set_level("s", Level.FULL)
    store.delete_version("s", "1", permanent=False)
    store.close()
    again = RegistryStore(tmp_path)
    assert json.loads(again.schema(first)) == json.loads(schema("a"))
    assert again.versions("s") == [2]
    assert again.versions("s", deleted=True) == [1, 2]
    assert again.level("s") is Level.FULL
    assert again.register("s", schema("a", "b")) == second
    assert again.register("other", schema("a", "b", "c")) == second + 1


def test_a_line_that_was_being_written_at_the_end_is_forgotten(tmp_path: Path) -> None:
    """The machine stopped before the answer: nobody knows of that change."""
    store = RegistryStore(tmp_path)
    store.register("s", schema("a"))
    store.close()
    file = tmp_path / "registry.jsonl"
    with file.open("ab") as lines:
        lines.write(b'{"subject": "s", "ver')
    again = RegistryStore(tmp_path)
    assert again.versions("s") == [1]
    again.register("s", schema("b"))
    again.close()
    assert RegistryStore(tmp_path).versions("s") == [1, 2]


@pytest.mark.parametrize("line", ["nonsense", '{"what": 1}', '{"schema": 1, "text": "nonsense"}'])
def test_a_file_that_is_not_ours_is_refused_with_its_line(tmp_path: Path, line: str) -> None:
    """Ids that were made up would be worse than no registry."""
    (tmp_path / "registry.jsonl").write_text(line + "\n")
    with pytest.raises(SetupError, match="line 1"):
        RegistryStore(tmp_path)


def test_a_schema_keeps_its_id_when_spelt_otherwise(tmp_path: Path) -> None:
    """Ids are of contents, over all subjects."""
    store = RegistryStore(tmp_path)
    first = store.register("s", schema("a"))
    assert store.register("s", json.dumps(json.loads(schema("a")), indent=2, sort_keys=True)) == first
    assert store.register("other", schema("a")) == first
    assert [(use.subject, use.number) for use in store.uses(first)] == [("s", 1), ("other", 1)]


def test_a_softly_deleted_subject_counts_on_when_it_comes_back(tmp_path: Path) -> None:
    """A version number is never given twice, unless its subject was removed for good."""
    store = RegistryStore(tmp_path)
    store.register("s", schema("a"))
    assert store.delete_subject("s", permanent=False) == [1]
    assert store.subjects() == []
    assert store.subjects(deleted=True) == ["s"]
    store.register("s", schema("a"))
    assert store.versions("s") == [2]
    store.delete_subject("s", permanent=False)
    assert store.delete_subject("s", permanent=True) == [1, 2]
    store.register("s", schema("a"))
    assert store.versions("s") == [1]


def test_deleting_has_two_steps_in_one_order(tmp_path: Path) -> None:
    """Each wrong step has a code of its own."""
    store = RegistryStore(tmp_path)
    store.register("s", schema("a"))
    codes = []
    for permanent in (True, False, False, True, True):
        try:
            store.delete_version("s", "1", permanent=permanent)
            codes.append(0)
        except Refusal as refused:
            codes.append(refused.code)
    assert codes == [40407, 0, 40406, 0, 40401]
    store.register("t", schema("a"))
    with pytest.raises(Refusal) as refusal:
        store.delete_subject("t", permanent=True)
    assert refusal.value.code == 40405
    store.delete_subject("t", permanent=False)
    with pytest.raises(Refusal) as refusal:
        store.delete_subject("t", permanent=False)
    assert refusal.value.code == 40404


def test_a_deleted_version_binds_nobody(tmp_path: Path) -> None:
    """Compatibility is with the versions that are there."""
    store = RegistryStore(tmp_path)
    store.register("s", schema("a"))
    other = '{"type": "record", "name": "Account", "fields": [{"name": "a", "type": "int"}]}'
    with pytest.raises(Refusal) as refused:
        store.register("s", other)
    assert refused.value.status == 409
    store.delete_version("s", "1", permanent=False)
    store.register("s", other)
    assert store.versions("s") == [2]


def test_a_subject_without_a_level_of_its_own_has_everybodys(tmp_path: Path) -> None:
    """BACKWARD until somebody says otherwise."""
    store = RegistryStore(tmp_path)
    assert store.level("s") is Level.BACKWARD
    store.set_level("", Level.NONE)
    assert store.level("s") is Level.NONE
    store.set_level("s", Level.FULL)
    assert store.level("s") is Level.FULL
    store.set_level("s", None)
    assert store.level("s") is Level.NONE


@pytest.mark.parametrize("number", ["0", "-2", "two", "99999999999", ""])
def test_a_version_is_a_number_or_latest(tmp_path: Path, number: str) -> None:
    """Anything else is refused by a code of its own."""
    store = RegistryStore(tmp_path)
    store.register("s", schema("a"))
    with pytest.raises(Refusal) as refused:
        store.version("s", number)
    assert refused.value.code == 42202
