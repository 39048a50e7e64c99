"""A process that writes a working copy is killed at any moment: the copy is whole, up to some batch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from salmon.merge.cache import Memory, RocksCache

KEYS = 50
# Batch n sets all keys to n and its mark to n, as fast as it can; a killed one goes on where it was.
WRITER = """
import sys
from pathlib import Path
from salmon.merge.cache import Mark, Memory, Origin, RocksCache
cache = RocksCache(Path(sys.argv[1]), Memory())
n = cache.mark.offset if cache.mark else 0
print("begun", flush=True)
while True:
    n += 1
    rows = {f"key {number}": b"%d" % n + bytes(2000) for number in range(int(sys.argv[2]))}
    cache.write(rows, Mark(Origin("c", "t", "", 0), n, n))
    if n % 100 == 0:
        print(n, flush=True)
"""


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_writer_leaves_whole_batches_with_their_marks(seed: int, tmp_path: Path) -> None:
    """Three lives, each ended by SIGKILL in the middle of batches; none of them loses what it had told of."""
    random, told = Random(seed), 0
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "copy"), str(KEYS)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        for _ in range(random.randint(1, 8)):
            told = int(line) if (line := process.stdout.readline().strip()).isdigit() else told
        process.kill()
        process.communicate()
        cache = RocksCache(tmp_path / "copy", Memory())
        mark = cache.mark
        found = {(cache.get(f"key {number}") or b"").rstrip(b"\0") for number in range(KEYS)}
        if mark is None:
            assert (found, told) == ({b""}, 0), "it was killed before its first batch"
        else:
            assert found == {b"%d" % mark.offset}, "one batch, all of it, and its own mark"
            assert mark.offset >= told
        cache.close()
