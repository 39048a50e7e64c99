"""
Imports point one way: errors <- model <- kafka, salesforce, mongodb <- merge, runtime <- the commands.

A room that needs another one says so here, in one line, and not by an import that happens to work.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

import salmon

PACKAGE: Final = Path(salmon.__file__).parent

_FACTS: Final = {"errors", "model"}
_WIRES: Final = _FACTS | {"calls", "kafka", "salesforce", "mongodb", "harmless"}
_PROCESSES: Final = _WIRES | {"merge", "runtime"}
_COMMANDS: Final = _PROCESSES | {"guard", "status", "story", "verify"}

# Room -> the rooms that it may import from; a dotted name is one module of a room. `errors` is for all.
MAY_IMPORT: Final[Mapping[str, set[str]]] = {
    "errors": set(),
    "calls": set(),
    "harmless": set(),
    "model": {"errors"},
    "kafka": _FACTS | {"calls"},
    "salesforce": _FACTS | {"calls"},
    "mongodb": _FACTS | {"calls"},
    "merge": _PROCESSES,
    "runtime": _PROCESSES,
    "guard": _PROCESSES,
    "status": _PROCESSES,
    "story": _PROCESSES,
    "verify": _PROCESSES,
    "demo": _COMMANDS | {"devstack"},
    "cli": _COMMANDS | {"demo", "devstack", "simulator"},
    # Tools of their own: an org in a box must not be built of the product that it is to test.
    "simulator": _FACTS | {"harmless", "salesforce.pubsub_api_pb2", "salesforce.pubsub_api_pb2_grpc"},
    "devstack": _FACTS | {"simulator"},
}
# The part of `story` that reads nothing.
TOLD_PURELY: Final = {"story/material.py", "story/present.py", "story/telling.py", "story/words.py"}
# What the model needs of Python: nothing that reads, waits, tells the time or throws dice.
PURE: Final = {
    "__future__",
    "collections",
    "dataclasses",
    "datetime",
    "decimal",
    "enum",
    "functools",
    "operator",
    "typing",
}


def imports_of(source: str) -> Iterator[str]:
    """The full names that *source* imports, also inside functions: `from salmon.a import b` is "salmon.a.b"."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import would hide which room it crosses into"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def wrong_imports(room: str, source: str) -> list[str]:
    """The imports of *source*, a module of *room*, that the room may not make."""
    allowed = MAY_IMPORT[room] | {room}
    return [name for name in imports_of(source) if _is_ours(name) and not _is_among(allowed, name)]


def modules() -> list[str]:
    return sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def _is_ours(name: str) -> bool:
    return name.startswith("salmon.") and name != "salmon.__version__"


def _is_among(allowed: set[str], name: str) -> bool:
    return any(f"{name}.".startswith(f"salmon.{room}.") for room in allowed)


def _room_of(module: str) -> str:
    return module.partition("/")[0].removesuffix(".py")


@pytest.mark.parametrize("module", modules())
def test_a_module_imports_only_what_its_room_may(module: str) -> None:
    """Each module of the product, by its own text."""
    if module == "__init__.py":
        assert list(imports_of((PACKAGE / module).read_text())) == []
        return
    assert _room_of(module) in MAY_IMPORT, f"a new room: say above what {_room_of(module)} may import"
    assert wrong_imports(_room_of(module), (PACKAGE / module).read_text()) == []


@pytest.mark.parametrize("module", [module for module in modules() if _room_of(module) == "model"])
def test_the_model_is_pure(module: str) -> None:
    """No I/O, no clock, no chance, no library: the same log gives the same state on every machine."""
    names = {name.split(".")[0] for name in imports_of((PACKAGE / module).read_text())}
    assert names - PURE - {"salmon"} == set()


@pytest.mark.parametrize("module", sorted(TOLD_PURELY))
def test_a_story_is_told_purely(module: str) -> None:
    """Records in, lines out: what fetches them is beside it, and knows Kafka."""
    names = [*imports_of((PACKAGE / module).read_text())]
    assert {name.split(".")[0] for name in names} - PURE - {"salmon", "re"} == set()
    allowed = _FACTS | {path.removesuffix(".py").replace("/", ".") for path in TOLD_PURELY}
    assert [name for name in names if _is_ours(name) and not _is_among(allowed, name)] == []


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("errors", "from salmon.model import change"),
        ("model", "from salmon.kafka.topics import Topics"),
        ("salesforce", "import salmon.mongodb.keys"),
        ("mongodb", "def late():\n    from salmon.salesforce.ids import long_id"),
        ("kafka", "from salmon.runtime import config"),
        ("merge", "from salmon import simulator"),
        ("simulator", "from salmon.salesforce.rest import Rest"),
        ("devstack", "from salmon.cli.main import main"),
    ],
)
def test_a_wrong_import_is_found(room: str, line: str) -> None:
    """The rule can fail: sides are strangers, nobody imports upwards, the product needs no simulator."""
    assert len(wrong_imports(room, line)) == 1


def test_a_room_may_import_from_itself_and_from_below() -> None:
    """And the simulator may speak Salesforce's own protocol, which is nobody's code."""
    assert wrong_imports("model", "from salmon.model.change import Change\nimport salmon.errors") == []
    assert wrong_imports("simulator", "from salmon.salesforce import pubsub_api_pb2") == []
