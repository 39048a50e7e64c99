"""The files that a person decides in: what is written, what may be edited, and what is refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from salmon.errors import ConfigError
from salmon.match.files import Folder, Kind, Pair, PairsFile
from salmon.match.pairing import Doubt, Line

ONE, TWO = "003000000000001AAA", "003000000000002AAA"
KINDS = (Kind.PAIRS, Kind.DOUBTS, Kind.ONLY_SALESFORCE, Kind.ONLY_MONGODB)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def saved(folder: Folder, text: str) -> Path:
    path = folder.file("Contact", Kind.PAIRS)
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_written_is_read_again(folder: Folder) -> None:
    """Keys that a spreadsheet would take for numbers or formulas come back as they are; values are for people."""
    keys = ["$oid:65f000000000000000000001", "007", "=1+1", "it's", "'quoted", "a;b,c"]
    lines = [Line(f"00300000000000{n}AAA", key, ["=cmd"], ["x\ny"]) for n, key in enumerate(keys, start=1)]
    counts = folder.write("Contact", [(kind, lines) for kind in KINDS], ["Email"])
    assert counts == dict.fromkeys(KINDS, len(keys))
    pairs = PairsFile(folder.file("Contact", Kind.PAIRS))
    assert [pair.key for pair in pairs] == keys
    assert "'=cmd" in folder.file("Contact", Kind.PAIRS).read_text()
    assert folder.file("Contact", Kind.PAIRS).stat().st_mode & 0o077 == 0, "it shows values of records"


def test_files_that_somebody_may_have_edited_are_not_overwritten(folder: Folder) -> None:
    """The next run needs another folder, or that person's word."""
    saved(folder, "salesforce_id,key\n")
    folder.require_free(["Account"])
    with pytest.raises(ConfigError, match="perhaps somebody has edited it"):
        folder.require_free(["Account", "Contact"])


def test_a_run_that_is_killed_leaves_no_pairs_to_apply(folder: Folder) -> None:
    """The files appear when all of them are written."""

    def killed() -> list[Line]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        folder.write("Contact", [(Kind.PAIRS, [Line(ONE, "a")]), (Kind.DOUBTS, (x for x in killed()))], [])
    assert not folder.file("Contact", Kind.PAIRS).exists()
    with pytest.raises(ConfigError, match="does not exist"):
        PairsFile(folder.file("Contact", Kind.PAIRS))


@pytest.mark.parametrize(
    "text",
    [
        f"salesforce_id,key\n{ONE},a\n{TWO},b\n",
        f"\ufeffkey;note;salesforce_id\r\na;;{ONE}\r\n;;\r\nb;ok;{TWO[:15]}\r\n",
        f"salesforce_id\tkey\n{ONE}\ta\n\n{TWO}\tb",
    ],
)
def test_a_spreadsheet_may_save_it_in_its_own_way(folder: Folder, text: str) -> None:
    """Semicolons, tabs, a byte order mark, other columns in another order, empty lines, Ids of 15 characters."""
    assert [(pair.id, pair.key) for pair in PairsFile(saved(folder, text))] == [(ONE, "a"), (TWO, "b")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Id,Key\n", "does not name the columns"),
        ("", "does not name the columns"),
        (f"salesforce_id,key\n{ONE},a\n{ONE[:15]},b\n", "lines 2 and 3 name the same record"),
        (f"salesforce_id,key\n{ONE},a\n{TWO},a\n", "lines 2 and 3 name the same document"),
        ("salesforce_id,key\n0030001,a\n", "line 2 has no valid Salesforce Id"),
        (f"salesforce_id,key\n{ONE},\n", "line 2 has no record key"),
        (f"salesforce_id,key\n{ONE}, a\n", "blanks around it"),
    ],
)
def test_a_file_that_cannot_be_right_is_refused_as_a_whole(folder: Folder, text: str, says: str) -> None:
    """Before anything is written: with the lines, and without the values."""
    with pytest.raises(ConfigError, match=says):
        PairsFile(saved(folder, text))


def test_doubts_are_counted_by_their_lines(folder: Folder) -> None:
    """A person deletes them, or the file."""
    assert folder.doubts_left("Contact") == 0
    folder.write("Contact", [(Kind.DOUBTS, [Line(ONE, "a", doubt=Doubt.NEARLY), Line("", "b")])], ["Email"])
    assert folder.doubts_left("Contact") == 2


def test_refusals_of_an_earlier_run_do_not_stay(folder: Folder) -> None:
    """The file shows what the last run could not do."""
    folder.refuse("Contact", [(Pair(ONE, "a"), "why"), (Pair(TWO, "b"), "=cmd")])
    file = folder.file("Contact", Kind.REFUSED)
    assert "why" in file.read_text()
    assert "'=cmd" in file.read_text(), "an org's words are no formula either"
    assert file.stat().st_mode & 0o077 == 0, "they may quote a value (case X4)"
    folder.refuse("Contact", [])
    assert not folder.file("Contact", Kind.REFUSED).exists()
