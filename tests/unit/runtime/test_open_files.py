"""The limit of open files."""

from __future__ import annotations

import subprocess
import sys

_SCRIPT = """
import resource
from salmon.runtime import open_files
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
print(open_files.allow_all() == resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard)
"""


def test_a_process_takes_all_the_open_files_that_it_may_have() -> None:
    """A merge of 200 objects has 7,200 of them; a shell gives it 1,024."""
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout.strip() == "True"
