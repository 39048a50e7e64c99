"""Habits that no linter keeps: who may sleep, how long a file may be, and what is never left lying about."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

import salmon

PACKAGE: Final = Path(salmon.__file__).parent
TESTS: Final = Path(__file__).parents[1]

LINES_MAX: Final = 450
# Those that are longer, and how long they may be: a file may shrink, and its number with it, and none is added.
LONGER: Final[Mapping[str, int]] = {
    "kafka/codecs/compiled.py": 639,  # of one module, C may call all functions without a header
    "merge/process.py": 460,
    "mongodb/reading/source.py": 483,
}
# Shorter by so many lines, and the number must follow.
SLACK_LINES: Final = 20
# In tests one waits for a condition, in one place. The chaos tool lets time pass: it plays faults of a given length.
MAY_SLEEP: Final = ("support/waiting.py", "support/chaos/")
LEFT_OVER: Final = re.compile(r"\b(TODO|FIXME|XXX)\b")


def of_product() -> list[str]:
    """The files that people wrote; what protoc wrote is as long as it is."""
    return sorted(
        path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if "_pb2" not in path.name
    )


def of_tests() -> list[str]:
    """The files that people wrote; what npm fetches for the tests of clients in JavaScript is not ours."""
    found = (path.relative_to(TESTS) for path in TESTS.rglob("*.py"))
    return sorted(path.as_posix() for path in found if "node_modules" not in path.parts)


def sleeps(source: str) -> Iterator[int]:
    """The lines of *source* that call sleep(), of whatever module. What a child program does in a string does not count."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = node.func
            if "sleep" in (getattr(name, "attr", ""), getattr(name, "id", "")):
                yield node.lineno


def swallows(source: str) -> Iterator[int]:
    """The lines of *source* where any error at all is caught, and nothing is done about it, or nobody knows which it is."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ExceptHandler):
            broad = isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"}
            if node.type is None or (broad and all(isinstance(each, ast.Pass) for each in node.body)):
                yield node.lineno


def unordered_names(source: str) -> Iterator[int]:
    """The lines of *source* with a set among the parameters of a test that are shown by str or repr.

    Its elements come in another order in each process, so pytest-xdist would see other tests in each worker.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "parametrize":
            shown = any(
                keyword.arg == "ids" and getattr(keyword.value, "id", "") in {"str", "repr"}
                for keyword in node.keywords
            )
            yield from (
                each.lineno for each in ast.walk(node) if shown and isinstance(each, ast.Set | ast.SetComp)
            )


def test_tests_sleep_only_in_the_waiting_helper() -> None:
    """A test that sleeps is slow on a fast machine, and fails on a slow one."""
    found = {
        name: lines
        for name in of_tests()
        if not name.startswith(MAY_SLEEP) and (lines := list(sleeps((TESTS / name).read_text())))
    }
    assert found == {}, "wait for a condition: support.waiting.until"


def test_a_file_of_the_product_is_short_enough_to_be_read() -> None:
    """The few that are longer may not grow, and are named no longer than they are."""
    lines = {name: len((PACKAGE / name).read_text().splitlines()) for name in of_product()}
    assert {name: count for name, count in lines.items() if count > LONGER.get(name, LINES_MAX)} == {}
    shorter = {
        name: lines.get(name) for name, most in LONGER.items() if lines.get(name, 0) < most - SLACK_LINES
    }
    assert shorter == {}, "they have shrunk: write the new number above, or take the name away"


def test_a_test_has_the_same_name_in_each_process() -> None:
    """The workers of pytest-xdist compare the names of all tests before the first one runs."""
    found = {
        name: lines for name in of_tests() if (lines := list(unordered_names((TESTS / name).read_text())))
    }
    assert found == {}, "a tuple has an order, a set has none"


@pytest.mark.parametrize(
    ("root", "names"), [(PACKAGE, of_product), (TESTS, of_tests)], ids=["product", "tests"]
)
def test_nothing_is_left_for_later_and_no_error_is_swallowed(
    root: Path, names: Callable[[], list[str]]
) -> None:
    """What is to be done is an issue; an error that is caught whatever it is, is told."""
    for path in map(root.joinpath, names()):
        text = path.read_text()
        assert path == Path(__file__) or LEFT_OVER.findall(text) == [], path
        assert list(swallows(text)) == [], path


def test_the_rules_can_fail() -> None:
    """Each finds what it is to find."""
    assert list(sleeps("import time\ntime.sleep(1)\nawaited = asyncio.sleep(0)\nsleep(3)")) == [2, 3, 4]
    assert list(sleeps("CHILD = 'time.sleep(1)'\ntime.monotonic()")) == []
    assert list(swallows("try:\n    f()\nexcept Exception:\n    pass")) == [3]
    assert list(swallows("try:\n    f()\nexcept:\n    g()")) == [3]
    assert list(swallows("try:\n    f()\nexcept Exception:\n    g()\nexcept KeyError:\n    pass")) == []
    assert list(unordered_names("parametrize('x', [1])\nmark.parametrize('x', [{1}], ids=str)")) == [2]
    assert (
        list(
            unordered_names("mark.parametrize('x', [{1}, {1: 2}])\nmark.parametrize('x', [{1: 2}], ids=str)")
        )
        == []
    )
    assert LEFT_OVER.findall("# TODO: later") != []
