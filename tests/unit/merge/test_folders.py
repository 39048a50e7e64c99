"""Which folder a process takes, and what it clears away."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from salmon.errors import SetupError
from salmon.merge.folders import StateFolder


def test_each_ordinal_has_its_own_folder(tmp_path: Path) -> None:
    """Two instances of merge on one disk never meet."""
    first, second = StateFolder(str(tmp_path), "crm", 0), StateFolder(str(tmp_path), "crm", 1)
    assert (first.path, second.path) == (tmp_path / "crm" / "merge-0", tmp_path / "crm" / "merge-1")


def test_a_folder_that_is_in_use_is_left_alone_and_a_spare_is_taken(tmp_path: Path) -> None:
    """An instance that has not noticed yet that it is fenced holds the lock; the newer one does not wait."""
    older = StateFolder(str(tmp_path), "crm", 0)
    older.open_cache("crm.state.Account", 0).write({"001A": b"1"})
    newer = StateFolder(str(tmp_path), "crm", 0)
    assert newer.path == tmp_path / "crm" / "merge-0.1"
    assert newer.open_cache("crm.state.Account", 0).get("001A") is None


def test_what_is_let_go_is_taken_again_and_unused_spares_are_removed(tmp_path: Path) -> None:
    """After all have ended, the next one finds what the first has left, and nothing piles up."""
    older, newer = StateFolder(str(tmp_path), "crm", 0), StateFolder(str(tmp_path), "crm", 0)
    cache = older.open_cache("crm.state.Account", 0)
    cache.write({"001A": b"1"})
    cache.close()
    older.close()
    newer.close()
    next_one = StateFolder(str(tmp_path), "crm", 0)
    assert next_one.open_cache("crm.state.Account", 0).get("001A") == b"1"
    assert [each.name for each in (tmp_path / "crm").iterdir()] == ["merge-0"]


def test_a_copy_that_nobody_has_touched_for_a_week_is_removed(tmp_path: Path) -> None:
    """Its partition went to another instance and never came back; the copy would be read anew anyway."""
    folder = StateFolder(str(tmp_path), "crm", 0)
    for partition in (0, 1):
        folder.open_cache("crm.state.Account", partition).close()
    folder.close()
    for each in (folder.path / "crm.state.Account-1").iterdir():
        os.utime(each, (1, 1))
    StateFolder(str(tmp_path), "crm", 0)
    assert {each.name for each in folder.path.iterdir()} == {"lock", "crm.state.Account-0"}


def test_without_a_setting_it_lies_among_temporary_files_readable_by_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds records."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = StateFolder(None, "crm", 0)
    base = tmp_path / f"salmon-{os.getuid()}"
    assert folder.path == base / "crm" / "merge-0"
    assert stat.S_IMODE(base.stat().st_mode) == 0o700


def test_a_link_that_somebody_has_laid_there_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everybody may write to the system's folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"salmon-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SetupError, match=r"merge\.state_dir"):
        StateFolder(None, "crm", 0)


def test_a_place_that_cannot_be_used_is_told_by_the_settings_name(tmp_path: Path) -> None:
    """Here a file is in the way."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match=r"merge\.state_dir: .*file cannot be used"):
        StateFolder(str(tmp_path / "file"), "crm", 0)
