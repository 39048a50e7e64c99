"""Files of a stack that hold secrets are closed to others."""

from __future__ import annotations

from pathlib import Path

from salmon.devstack import private


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_files_and_folders_are_ours_alone_also_where_older_ones_were_open(tmp_path: Path) -> None:
    """A file that an earlier version has left is replaced, not filled (case X4)."""
    folder = tmp_path / "dev"
    private.folder(folder, ours=("stack.json",))
    assert mode(folder) == 0o700
    for name in ("stack.json", "endpoints.json"):
        (folder / name).write_text("old")
        (folder / name).chmod(0o644)
    private.written(folder / "stack.json", "secret")
    with private.opened(folder / "endpoints.json") as file:
        file.write(b"secret")
    assert {mode(path) for path in folder.iterdir()} == {0o600}
    folder.chmod(0o755)
    private.folder(folder, ours=("stack.json",))
    assert mode(folder) == 0o700


def test_a_folder_with_other_things_in_it_is_left_as_open_as_it_is(tmp_path: Path) -> None:
    """Whoever names a folder of theirs keeps it."""
    (tmp_path / "theirs.txt").touch()
    tmp_path.chmod(0o755)
    private.folder(tmp_path, ours=("stack.json",))
    assert mode(tmp_path) == 0o755
