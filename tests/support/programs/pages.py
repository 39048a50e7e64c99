"""Types the commands of a page into one shell, as its reader would, and holds what they print against what the page says."""

from __future__ import annotations

import doctest
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from support.programs.dockerfile import path_with
from support.proof.evidence import ROOT

_FENCE: Final = re.compile(r"^```(sh|text)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LOG_END: Final = 3000


@dataclass
class Step:
    """Commands of a page, and what it says they print; `...` stands for anything. None: it does not say."""

    commands: str
    shown: str | None = None


def block(page: str, name: str) -> str:
    """The block after the comment that names it."""
    found = re.search(rf"<!-- {re.escape(name)} -->\n```\w*\n(.*?)```", page, re.DOTALL)
    assert found is not None, name
    return found[1]


def steps(page: str) -> list[Step]:
    """The blocks of commands (```sh), each with the block of output (```text) that follows it."""
    found: list[Step] = []
    for language, text in _FENCE.findall(page):
        if language == "sh":
            found.append(Step(text))
        else:
            assert found[-1].shown is None, f"two outputs of {found[-1].commands}"
            found[-1].shown = text
    return found


def type_in(page: Path, folder: Path, environment: Mapping[str, str], *, within_s: float) -> None:
    """
    Run every command of a page, in one shell, and look at what each block has printed.

    Args:
        folder: Where; an empty one. Folders of the clone that the commands name are in it.
        environment: Besides that of the test.
    """
    told = steps(page.read_text(encoding="utf-8"))
    assert told, f"{page} has no commands"
    for name in ("deploy", "connectors", "tests"):
        (folder / name).symlink_to(ROOT / name)
    printed = [folder / f"{number}.out" for number in range(len(told))]
    script = "".join(f"{{\n{step.commands}}} > {file}\n" for step, file in zip(told, printed, strict=True))
    own = {"PATH": path_with(sys.executable), "NO_COLOR": "1"}
    faults = folder / "faults"
    with faults.open("w") as stderr:
        shell = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=folder,
            env={**os.environ, **own, **environment},
            stdin=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )
    try:
        ended = f"ended with {shell.wait(within_s)}"
    except subprocess.TimeoutExpired:
        ended = f"did not end within {within_s:.0f} s"
    finally:
        _end(shell)
    done = [file.read_text() for file in printed if file.exists()]
    logs = "".join(file.read_text()[-_LOG_END:] for file in folder.glob("play/*.log"))
    last = told[len(done) - 1].commands if done else script
    assert shell.returncode == 0, f"{last}printed {done[-1:]} and {ended}:\n{faults.read_text()}\n{logs}"
    for step, output in zip(told, done, strict=True):
        if step.shown is not None:
            assert _is_as(step.shown, output), (
                f"{step.commands}shall print\n{step.shown}but printed\n{output}"
            )


def _is_as(shown: str, output: str) -> bool:
    return doctest.OutputChecker().check_output(shown, output, doctest.ELLIPSIS)


def _end(shell: subprocess.Popen[bytes]) -> None:
    """End it with all that it has started and not ended; a command that failed leaves its background."""
    with suppress(ProcessLookupError):
        os.killpg(shell.pid, signal.SIGKILL)
    shell.wait()
