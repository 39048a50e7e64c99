"""The compiled codec is the one in Python, over all recorded describes; and it touches no memory that is not its own."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from salmon.kafka.codecs.quick import IS_COMPILED, Make, compiled_bodies
from salmon.model.schema import ObjectSchema, schema_of_describe
from support.codec_fuzz import held_to_python, layouts
from support.orgs.describes import AT_HAND, describe

ROOT: Final = Path(__file__).parents[3]


def hook() -> Any:
    spec = importlib.util.spec_from_file_location("build_hook", ROOT / "deploy" / "build_hook.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def codec() -> Make:
    if compiled_bodies is None:
        pytest.skip("the codec was not compiled: no C compiler")
    return compiled_bodies


def recorded() -> list[ObjectSchema]:
    return [schema_of_describe(describe(file.stem)) for file in sorted(AT_HAND.glob("*.json"))]


def test_both_codecs_make_the_same_of_every_recorded_object(codec: Make) -> None:
    """Its rows, changes, writes and states: the same bytes, values and refusals, also of damaged bytes."""
    random, taken = Random(1), 0
    for schema in recorded():
        for layout in layouts(schema).values():
            taken += held_to_python(layout, codec, random, 20)
    assert taken > 100


def test_where_there_is_a_compiler_the_compiled_codec_is_used(codec: Make) -> None:
    """Else the difference would go unnoticed for months."""
    assert IS_COMPILED or os.environ.get("SALMON_CODEC") == "python"


def test_the_python_codec_can_be_chosen() -> None:
    """By a variable, to compare the two."""
    said = subprocess.run(
        [sys.executable, "-c", "from salmon.kafka.codecs import quick; print(quick.bodies.__module__)"],
        env={**os.environ, "SALMON_CODEC": "python"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == "salmon.kafka.codecs.bodies\n"


def stale(root: Path) -> Path:
    """A codec that was compiled beside its source, in a checkout without that source."""
    file = root / "connectors/salmon/kafka/codecs" / f"compiled{EXTENSION_SUFFIXES[0]}"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"former")
    return file


def test_processes_that_run_keep_their_codec_while_it_is_compiled_again(tmp_path: Path) -> None:
    """A file that a process has mapped and that is cut short ends the process (SIGBUS)."""
    file, made = stale(tmp_path), tmp_path / f"compiled{EXTENSION_SUFFIXES[0]}"
    made.write_bytes(b"new")
    with file.open("rb") as held:
        hook().put_beside(file.with_name("compiled.py"), made)
        assert held.read() == b"former"
    assert file.read_bytes() == b"new"
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("chosen", ["no", "yes"])
def test_where_nothing_was_compiled_no_former_codec_is_left(
    chosen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By choice, or because it failed: an editable install must not go on with a file of older sources."""
    monkeypatch.setenv("SALMON_COMPILE", chosen)
    file = stale(tmp_path)
    built: Any = hook().BuildHook(str(tmp_path), {}, None, None, str(tmp_path), "wheel")
    built.initialize("editable", {"force_include": {}})
    assert not file.exists()


def test_no_foreign_memory_is_read_or_written(tmp_path: Path) -> None:
    """Compiled anew with AddressSanitizer, which ends a process that does."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler, so nothing is compiled with AddressSanitizer")
    flags = ("-O1", "-g", "-fsanitize=address", "-fno-omit-frame-pointer")
    made = hook().compiled(ROOT / "connectors", tmp_path, flags)
    library = subprocess.run(
        ["cc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    environment = {
        **os.environ,
        "LD_PRELOAD": library,
        "PYTHONMALLOC": "malloc",  # so that each object has bounds that are watched
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONPATH": str(ROOT / "tests"),
    }
    run = subprocess.run(
        [sys.executable, "-m", "support.codec_fuzz", str(made), "300"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout[-7:]) == (0, "bodies\n"), run.stderr[-3000:]
