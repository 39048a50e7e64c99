"""A file that one process locks against the others."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from salmon.locks import Lock, locked, locked_now
from support.waiting import until

HOLD = "import sys\nfrom pathlib import Path\nfrom salmon.locks import locked\nwith locked(Path(sys.argv[1])):\n print(flush=True)\n input()"


@contextmanager
def held_by_another(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock, until it is killed."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        child.stdout.readline()
        yield child
    finally:
        child.kill()
        child.communicate()


def test_a_lock_of_another_process_is_respected_and_falls_with_it(tmp_path: Path) -> None:
    """Who does not wait hears at once that it is taken; who waits has it once the other is killed."""
    path, taken = tmp_path / "lock", list[Lock]()
    with held_by_another(path) as child:
        assert locked_now(path) is None
        waiting = Thread(target=lambda: taken.append(locked(path)), daemon=True)
        waiting.start()
        child.kill()
        until(lambda: taken, "the lock of the dead one is ours")
    assert locked_now(path) is None, "of the process, whichever thread took it"
    taken[0].release()
    again = locked_now(path)
    assert again is not None
    again.release()
    assert path.exists(), "the next one locks the same file"


def test_a_lock_whose_folder_was_swept_away_is_not_taken_for_one(tmp_path: Path) -> None:
    """A file that has no name any more protects nothing."""
    (tmp_path / "spare").mkdir()
    old = locked(tmp_path / "spare" / "lock")
    shutil.rmtree(tmp_path / "spare")
    new = locked_now(tmp_path / "spare" / "lock")
    assert new is not None
    new.release()
    old.release()
