"""
What is done as Salmon is built, by hatchling (pyproject.toml).

The commit is written into what is built, for `salmon --version`. And the Avro codec is compiled (salmon.kafka.codecs.compiled), into the
wheel, or beside its source where the package is installed as editable. Without a C compiler, Cython or setuptools that is left out, and
one line says so: the same is then done in Python, more slowly. `SALMON_COMPILE=no` leaves it out, too, for a wheel that runs everywhere.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FILE: Final = "COMMIT"
CODEC: Final = "salmon/kafka/codecs/compiled.py"
# No debug information, and no folder of this machine in it: the same sources give the same file.
FLAGS: Final = ("-O3", "-g0", "-ffile-prefix-map=/=", "-fvisibility=hidden")


class BuildHook(BuildHookInterface[Any]):
    """A wheel that is made of an sdist has the sdist's commit."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        self._folder = tempfile.TemporaryDirectory()
        if version != "editable" and (commit := self._commit()):
            file = Path(self._folder.name, FILE)
            file.write_text(f"{commit}\n", encoding="ascii")
            build_data["force_include"][str(file)] = FILE if self.target_name == "sdist" else f"salmon/{FILE}"
        if self.target_name == "wheel":
            self._compile(version, build_data)

    def _commit(self) -> str:
        if (kept := Path(self.root) / FILE).exists():  # in an sdist
            return kept.read_text(encoding="ascii").strip()
        if given := os.environ.get("SALMON_COMMIT"):
            return given
        if not (Path(self.root) / ".git").exists():
            return ""
        asked = subprocess.run(
            ["git", "-C", self.root, "rev-parse", "HEAD"], capture_output=True, text=True, check=False
        )
        return asked.stdout.strip()

    def _compile(self, version: str, build_data: dict[str, Any]) -> None:
        sources = Path(self.root) / "connectors"
        made = None if os.environ.get("SALMON_COMPILE") == "no" else self._made(sources)
        if version == "editable":
            put_beside(sources / CODEC, made)
        elif made is not None:
            build_data["force_include"][str(made)] = CODEC.replace("compiled.py", made.name)
            build_data["pure_python"], build_data["infer_tag"] = False, True

    def _made(self, sources: Path) -> Path | None:
        try:
            return compiled(sources, Path(self._folder.name), FLAGS)
        except Exception as error:  # noqa: BLE001 - whatever it is, Salmon works without
            said = str(error).strip().splitlines() or [type(error).__name__]
            sys.stderr.write(f"The Avro codec is not compiled, and runs in Python instead: {said[0]}\n")
            return None


def put_beside(source: Path, made: Path | None) -> None:
    """
    Put a compiled file beside its source in place of the one that this Python would load from there; None: only remove that.

    Processes that run go on with the former file: it is replaced as a whole, and never written to.
    """
    if made is None:
        for suffix in EXTENSION_SUFFIXES:
            source.with_suffix(suffix).unlink(missing_ok=True)
        return
    # The same file system, so that the last step is a rename; of another name for each build that runs.
    with tempfile.TemporaryDirectory(prefix=".compiled-", dir=source.parent) as folder:
        os.replace(shutil.copyfile(made, Path(folder, made.name)), source.with_name(made.name))


def compiled(sources: Path, folder: Path, flags: tuple[str, ...]) -> Path:
    """
    Compile the codec, with C flags, in *folder*. Returns the file. *sources*: the folder with the package.

    Raises:
        Exception: Cython, setuptools or a C compiler is missing, or does not take it.
    """
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    before = Path.cwd()
    os.chdir(sources)  # so that what is made does not depend on where the sources are
    try:
        extension = Extension(
            CODEC.removesuffix(".py").replace("/", "."),
            [CODEC],
            extra_compile_args=list(flags),
            extra_link_args=[flag for flag in flags if flag.startswith("-fsanitize")],
        )
        made = cythonize([extension], build_dir=str(folder), language_level=3, quiet=True)
        command = Distribution({"ext_modules": made}).get_command_obj("build_ext")
        command.build_lib, command.build_temp = str(folder / "lib"), str(folder)
        command.ensure_finalized()
        command.run()
        return folder / "lib" / command.get_ext_filename(extension.name)
    finally:
        os.chdir(before)
