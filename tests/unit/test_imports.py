"""
Imports point one way: each room may import from those that stand below it, there is no circle, and no string upward.

The order is DESIGN's (section 12): addresses, errors, backoff, calls, closing, foreign_json, harmless, locks, ports, scratch; model, plugin; kafka and the two sides; ops, runtime, config; the
workers; app, which puts them together; the operator's questions; demo and cli. The simulator and the
embedded servers are tools of their own. A room that needs another one says so here, in one line.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

import pytest

import salmon

PACKAGE: Final = Path(salmon.__file__).parent

_BASE: Final = {
    "addresses",
    "errors",
    "backoff",
    "calls",
    "closing",
    "foreign_json",
    "harmless",
    "locks",
    "ports",
    "scratch",
}
_FACTS: Final = {"errors", "model"}
_CONTRACT: Final = _BASE | {"model", "plugin"}
_WIRES: Final = _CONTRACT | {"transforms", "kafka", "salesforce", "mongodb"}
_SHARED: Final = _WIRES | {"ops", "runtime", "config"}
_WORKERS: Final = _SHARED | {"merge", "source", "sink"}
_APP: Final = _WORKERS | {"app"}
_QUESTIONS: Final = _APP | {
    "dlq",
    "doctor",
    "guard",
    "match",
    "schemas",
    "setup",
    "status",
    "story",
    "verify",
}

# Room -> the rooms that it may import from; a dotted name is an inner room, or one module of a room.
MAY_IMPORT: Final[Mapping[str, set[str]]] = {
    "addresses": set(),
    "errors": set(),
    "backoff": set(),
    "calls": set(),
    "harmless": set(),
    "closing": set(),
    "foreign_json": set(),
    "locks": set(),
    "ports": {"foreign_json"},
    "scratch": {"locks"},
    "model": {"errors"},
    "plugin": _FACTS | {"backoff", "calls"},
    "transforms": _FACTS | {"plugin"},
    "kafka": _CONTRACT,
    "salesforce": _CONTRACT,
    "mongodb": _CONTRACT | {"transforms"},
    "ops": _CONTRACT | {"kafka"},
    "runtime": _CONTRACT | {"kafka", "ops"},
    "config": _WIRES | {"runtime"},
    "source": _SHARED - {"salesforce", "mongodb"},
    "sink": _SHARED - {"salesforce", "mongodb"},
    "merge": _SHARED - {"salesforce", "mongodb"},
    "app": _WORKERS,
    "dlq": _APP | {"story"},
    "doctor": _APP,
    "guard": _APP,
    "match": _APP,
    "schemas": _APP | {"devstack.avro_types", "devstack.compatibility"},
    "setup": _APP,
    "status": _APP,
    "story": _APP,
    "verify": _APP,
    "api": _QUESTIONS,
    "demo": _QUESTIONS | {"devstack"},
    "cli": _QUESTIONS | {"api", "demo", "devstack", "simulator"},
    "__main__": {"cli"},
    # Tools of their own: an org in a box must not be built of the product that it is to test.
    "simulator": _FACTS
    | {
        "foreign_json",
        "harmless",
        "scratch",
        "salesforce.wire.pubsub_api.pubsub_api_pb2",
        "salesforce.wire.pubsub_api.pubsub_api_pb2_grpc",
    },
    "devstack": _BASE | {"simulator"},
}
# Of a side: the wire knows neither reading nor writing, and these two meet only in what stands at the side's top.
INNER_MAY_NOT: Final[Mapping[str, set[str]]] = {
    "salesforce/wire": {"salesforce.reading", "salesforce.writing"},
    "salesforce/reading": {"salesforce.writing"},
    "salesforce/reading/stream": {
        "salesforce.reading.whole",
        "salesforce.reading.feed",
        "salesforce.reading.source",
    },
    "salesforce/reading/whole": {
        "salesforce.reading.stream",
        "salesforce.reading.feed",
        "salesforce.reading.source",
    },
    "config/sections": {"config.models", "config.checking", "config.faults"},
    "salesforce/writing": {"salesforce.reading"},
    "mongodb/wire": {"mongodb.reading", "mongodb.writing"},
    "mongodb/reading": {"mongodb.writing"},
    "mongodb/writing": {"mongodb.reading"},
    "simulator/org": {"simulator.rest", "simulator.soql", "simulator.events", "simulator.seed"},
    "simulator/soql": {"simulator.rest", "simulator.events"},
    "simulator/events": {"simulator.rest", "simulator.soql"},
}
# The part of `story` that reads nothing.
TOLD_PURELY: Final = {
    "story/evidence.py",
    "story/filtered.py",
    "story/formatting.py",
    "story/present.py",
    "story/reporting.py",
}
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
    "re",
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


def strings_of(source: str) -> Iterator[str]:
    """Names of our modules in strings that are code: what is handed to importlib, `python -m` or a mock."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = node.value.partition(":")[0]
            if re.fullmatch(r"salmon(\.\w+)+", name) and name in MODULES - GROUPS:
                yield name


def wrong_imports(room: str, source: str) -> list[str]:
    """The imports of *source*, a module of *room*, that the room may not make, those by a string among them."""
    allowed = MAY_IMPORT[room] | {room}
    names = [*imports_of(source), *strings_of(source)]
    return [name for name in names if _is_ours(name) and not _is_among(allowed, name)]


def modules() -> list[str]:
    return sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def name_of(module: str) -> str:
    return "salmon." + module.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


MODULES: Final = {name_of(module) for module in modules()}
# Groups of entry points that are called like a room.
GROUPS: Final = {"salmon.transforms"}


def circles(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """The modules of one circle of imports; none where there is no circle."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def _module_of(name: str) -> str | None:
    """The module of ours that an imported name is, or is in."""
    while name.startswith("salmon.") and name not in MODULES:
        name = name.rpartition(".")[0]
    return name if name in MODULES else None


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


@pytest.mark.parametrize("room", sorted(INNER_MAY_NOT))
def test_an_inner_room_keeps_to_its_concern(room: str) -> None:
    """What speaks to a side does not know who reads or writes; reading knows nothing of writing."""
    for path in (PACKAGE / room).rglob("*.py"):
        assert [
            name for name in imports_of(path.read_text()) if _is_among(INNER_MAY_NOT[room], name)
        ] == [], path


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Also not inside functions, and not for types alone: either of them could be read without the other."""
    graph = {
        name_of(module): {
            found
            for name in imports_of((PACKAGE / module).read_text())
            if (found := _module_of(name)) is not None and found != name_of(module)
        }
        for module in modules()
        if module != "__init__.py"
    }
    assert circles(graph) == []


def test_a_circle_is_found() -> None:
    """The rule can fail."""
    assert circles({"a": ["b"], "b": ["c"], "c": ["a"]}) != []


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
        ("plugin", "from salmon.runtime.instance import Instance"),
        ("salesforce", "import salmon.mongodb.keys"),
        ("mongodb", "def late():\n    from salmon.salesforce.ids import long_id"),
        ("kafka", "from salmon.config import models"),
        ("source", "from salmon.sink.buffer import SinkBuffer"),
        ("merge", "from salmon import simulator"),
        ("app", "from salmon.verify import verifying"),
        ("app", "COMMAND = ['-m', 'salmon.cli.main']"),
        ("runtime", "load('salmon.app.process:run')"),
        ("simulator", "from salmon.salesforce.wire.rest import Rest"),
        ("devstack", "from salmon.cli.main import main"),
    ],
)
def test_a_wrong_import_is_found(room: str, line: str) -> None:
    """The rule can fail: sides are strangers, nobody imports upwards, not even by a string, the product needs no simulator."""
    assert len(wrong_imports(room, line)) == 1


def test_a_room_may_import_from_itself_and_from_below() -> None:
    """And the simulator may speak Salesforce's own protocol, which is nobody's code."""
    assert wrong_imports("model", "from salmon.model.change import Change\nimport salmon.errors") == []
    assert wrong_imports("simulator", "from salmon.salesforce.wire.pubsub_api import pubsub_api_pb2") == []
