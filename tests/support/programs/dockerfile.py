"""Reads a Dockerfile, and does what its stages say in a folder, without an engine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_QUOTED: Final = re.compile(r'([A-Za-z_][\w.]*)=("[^"]*"|\S*)')


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction: `RUN`, and what follows it, with continued lines joined."""

    word: str
    rest: str

    @property
    def pairs(self) -> dict[str, str]:
        """Of ENV and LABEL."""
        return {name: value.strip('"') for name, value in _QUOTED.findall(self.rest)}


@dataclass(slots=True)
class Stage:
    base: str
    name: str
    steps: list[Step] = field(default_factory=list)

    def of(self, word: str) -> list[Step]:
        return [step for step in self.steps if step.word == word]


def stages(file: Path) -> list[Stage]:
    """The stages of a Dockerfile. What stands before the first FROM is left out."""
    found: list[Stage] = []
    for step in _steps(file.read_text(encoding="utf-8")):
        if step.word == "FROM":
            base, _, name = step.rest.partition(" AS ")
            found.append(Stage(base, name))
        elif found:
            found[-1].steps.append(step)
    return found


def _steps(text: str) -> Iterator[Step]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield Step(word.upper(), rest.strip())


def carry_out(stage: Stage, context: Path, root: Path, environment: Mapping[str, str]) -> None:
    """
    Do what a stage says that does not copy from another stage: COPY, ENV, WORKDIR and RUN.

    Args:
        context: The folder that COPY copies from.
        root: Stands for `/`: a path that an ENV or WORKDIR names is a folder in it. So a step must name its folders by
            variables, or relative to WORKDIR; one that names another absolute path is refused.
        environment: What the engine would give: PATH, build arguments.
    """
    variables, folder = dict(environment), root
    for step in stage.steps:
        match step.word:
            case "ENV":
                for name, value in step.pairs.items():
                    given = re.sub(r"\$\{(\w+)\}", lambda found: variables.get(found[1], ""), value)
                    variables[name] = str(root / given[1:]) if given.startswith("/") else given
            case "WORKDIR":
                folder = root / step.rest[1:]
                folder.mkdir(parents=True, exist_ok=True)
            case "COPY":
                *sources, target = step.rest.split()
                for source in sources:
                    into = folder / target
                    if target.endswith("/"):
                        into.mkdir(parents=True, exist_ok=True)
                    _copy(context / source, into)
            case "RUN":
                command = re.sub(r"^(--mount=type=cache\S* )+", "", step.rest)  # only the engine's
                assert not re.search(r"""(^|[\s"'=])/\w""", command), f"an absolute path in: {command}"
                subprocess.run(["/bin/sh", "-ec", command], cwd=folder, env=variables, check=True)
            case "ARG":
                name, _, default = step.rest.partition("=")
                variables.setdefault(name, default.strip('"'))
            case _:
                raise AssertionError(f"{step.word} is not known here")


def _copy(source: Path, target: Path) -> None:
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc", "COMMIT")
    if source.is_dir():
        shutil.copytree(source, target, ignore=ignore, dirs_exist_ok=True)
    else:
        into = target / source.name if target.is_dir() else target
        into.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, into)


def argv(stage: Stage, word: str) -> list[str]:
    """The words of an ENTRYPOINT or CMD in its exec form."""
    (step,) = stage.of(word)
    found: list[str] = json.loads(step.rest)
    return found


def path_with(python: str) -> str:
    """A PATH on which `python` is this one."""
    return os.pathsep.join([str(Path(python).parent), os.environ["PATH"]])
