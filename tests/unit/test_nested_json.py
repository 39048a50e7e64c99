"""JSON that nests deeper than Python reads is one more way in which text is not JSON (cases L7 and X3)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

import salmon
from salmon.errors import ConfigError, DataError, SetupError
from salmon.foreign_json import json_in
from salmon.ops.connect.status_topic import decode
from salmon.simulator.org.objects.describes import load_describes
from salmon.status.scraping import addresses

PACKAGE = Path(salmon.__file__).parent
DEEP = "[" * 100_000


def test_a_foreign_record_of_the_status_topic_is_no_record_of_ours() -> None:
    """Each process reads that topic, and would end."""
    with pytest.raises(DataError, match="not a JSON object"):
        decode(DEEP.encode())


def test_a_file_that_is_given_to_a_command_is_refused_in_one_sentence(tmp_path: Path) -> None:
    """Whatever it is meant for."""
    file = tmp_path / "Account.json"
    file.write_text(DEEP)
    with pytest.raises(SetupError, match="is not JSON"):
        load_describes(tmp_path)
    with pytest.raises(ConfigError, match="--ports-file"):
        addresses(config_file=tmp_path / "sync.yaml", ports_file=file, host="h", port=1)


def test_text_that_is_not_json_and_text_nested_too_deep_are_one_error() -> None:
    """So whoever expects the one expects the other; what can be read is read as json does."""
    for text in (DEEP, DEEP.encode()):
        with pytest.raises(ValueError, match="nested too deeply"):
            json_in(text)
    for text in ("{", b"{"):
        with pytest.raises(ValueError, match="line 1 column 2"):
            json_in(text)
    assert json_in('{"a": 1.50}', parse_float=Decimal) == {"a": Decimal("1.50")}
    assert json_in(b"[null]") == [None]


def test_whoever_expects_text_that_is_not_json_reads_it_with_the_reader_of_foreign_json() -> None:
    """In the whole package: json.loads alone raises another error for text that nests too deep."""
    careless = [
        f"{file.relative_to(PACKAGE)}:{node.lineno}"
        for file in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Try) and _reads_json(node) and _caught(node) & {"ValueError"}
    ]
    assert careless == []


def _reads_json(node: ast.Try) -> bool:
    calls = (each for part in node.body for each in ast.walk(part) if isinstance(each, ast.Call))
    return any("json.loads" in ast.unparse(call) for call in calls)


def _caught(node: ast.Try) -> set[str]:
    return set(_names(node.handlers))


def _names(handlers: list[ast.ExceptHandler]) -> Iterator[str]:
    for handler in handlers:
        types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        yield from (ast.unparse(each) for each in types if each is not None)
