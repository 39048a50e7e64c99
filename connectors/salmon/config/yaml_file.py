"""
Reads a YAML file within bounds: its size, its depth, and the number of values after aliases are expanded. It also says on which line
each key is.

Error messages never quote the file's content: what looks like an alias or a tag may be a password.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from yaml.reader import ReaderError

from salmon.errors import ConfigError

BYTES_MAX: Final = 256 * 1024
_DEPTH_MAX: Final = 30
_VALUES_MAX: Final = 50_000  # aliases written out
_BOOL_TAG: Final = "tag:yaml.org,2002:bool"
_TEXT_TAG: Final = "tag:yaml.org,2002:str"
_MERGE_TAG: Final = "tag:yaml.org,2002:merge"


# What PyYAML's sentences call the kinds of tokens, and what a person calls them.
_TOKENS: Final = {
    "'<stream end>'": "the end of the file",
    "<stream end>": "the end of the file",
    "end of stream": "end of the file",
    "'<block mapping start>'": "a key",
    "'<block sequence start>'": "a list",
    "'<block end>'": "the end of the block",
    "<block end>": "the end of the block",
    "'<scalar>'": "a text",
    "while scanning a simple key": "in a key",
    "while scanning a quoted scalar": "in a quoted text",
    "while parsing a flow sequence": "in a list in brackets",
    "while parsing a flow mapping": "in a mapping in braces",
    "while parsing a block mapping": "in a mapping",
    "while parsing a block collection": "in a list",
}
_QUOTED: Final = re.compile(r"'[^']*'|\"[^\"]*\"")
# Punctuation, and a tab as PyYAML writes it. A letter or digit may be of a password.
_SIGN: Final = re.compile(r"'([^\w\s']{1,3}|\\t)'")
_MENDS: Final = {
    r"'\t'": "Indent with spaces, not with tabs.",
    "cannot start any token": "Put the value in quotes.",
    "mapping values are not allowed": "Put a value that contains a colon and a space in quotes; or check the indentation.",
    "could not find expected ':'": "Put a colon and a space after the key.",
    "unexpected end of stream": "Close the quote.",
    "expected <block end>": "Check the indentation, and whether a value needs quotes as a whole.",
    "but got '<stream end>'": "Close the bracket.",
    "unknown escape character": "Put the value in single quotes.",
}

KeyPath = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """
    What a file contains.

    Args:
        content: None for an empty file.
        lines: Path of keys -> the line of the last of them, from 1. In a list, the keys are 0, 1, 2 ...
        doubles: Keys that are there twice: path -> sentence.
    """

    content: Any
    lines: Mapping[KeyPath, int]
    doubles: Mapping[KeyPath, str]

    def line_of(self, path: KeyPath) -> int | None:
        """The line of a key, or of the nearest key above it that is in the file."""
        return next(
            (self.lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self.lines), None
        )


def read(file: Path) -> Any:
    """
    Read what the file contains; nothing for an empty one.

    Raises:
        ConfigError: it cannot be read, is too large, is nested too deep, is not YAML, or has a key twice.
    """
    written = written_in(file)
    for path, sentence in written.doubles.items():
        raise ConfigError(f"{file}: line {written.line_of(path)}: {'.'.join(path)}: {sentence}")
    return written.content


def written_in(file: Path) -> Written:
    """
    Read what the file contains, and where.

    Raises:
        ConfigError: it cannot be read, is too large, is nested too deep, or is not YAML.
    """
    try:
        with file.open("rb") as opened:
            data = opened.read(BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "that is not a valid file name"
        raise ConfigError(f"{file}: cannot be read ({reason}). Give the sync's YAML file with -c.") from None
    if len(data) > BYTES_MAX:
        raise ConfigError(
            f"{file}: is larger than {BYTES_MAX // 1024} KiB. Give the sync's YAML file with -c."
        )
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: is not UTF-8 text. Give the sync's YAML file with -c.") from None
    try:
        return _loaded(text)
    except _Refused as refused:
        raise ConfigError(f"{file}: {refused}") from None
    except yaml.MarkedYAMLError as error:
        raise ConfigError(
            f"{file}: is not valid YAML: {_sentence(error)} ({_place(error.problem_mark)}).{_mend(error)}"
        ) from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            f"{file}: is not valid YAML: line {line} has a control character, which YAML does not allow. Remove it."
        ) from None
    except yaml.YAMLError:
        raise ConfigError(f"{file}: is not valid YAML.") from None
    except (ValueError, TypeError, OverflowError, LookupError, AttributeError):
        # PyYAML does not catch these itself: 2001-99-99 looks like a date, but is not one.
        raise ConfigError(
            f"{file}: contains a value that looks like a date or a number, but is not valid as one. Put it in quotes."
        ) from None


class _Refused(Exception):
    """A sentence about the file."""


class _Loader(yaml.SafeLoader):
    """YAML's safe types. A key that is there twice is noted; PyYAML would silently drop the first one."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._count = 0
        self.twice: dict[int, int] = {}  # identity of a key's node -> the line of the same key before it

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._depth += 1
        self._count += 1
        if self._depth > _DEPTH_MAX:
            raise _Refused(
                f"is nested more than {_DEPTH_MAX} levels deep. No setting needs that; check the indentation."
            )
        if self._count > _VALUES_MAX:
            raise _too_many()
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == _MERGE_TAG:
                continue
            if key_node.tag == _BOOL_TAG:
                key_node.tag = (
                    _TEXT_TAG  # All keys are text; YAML 1.1 takes on, off, yes and no for true and false.
                )
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, (list, dict, set)):
                continue  # which is refused next
            if key in seen:
                self.twice[id(key_node)] = seen[key]
            seen[key] = key_node.start_mark.line + 1
        return super().construct_mapping(node, deep)


def _loaded(text: str) -> Written:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return Written(None, {}, {})
        if _written_out(node, {}) > _VALUES_MAX:
            raise _too_many()
        content = loader.construct_document(node)
        lines: dict[KeyPath, int] = {}
        doubles: dict[KeyPath, str] = {}
        _note_lines(node, (), loader.twice, lines, doubles)
        return Written(content, lines, doubles)
    finally:
        loader.dispose()


def _note_lines(
    node: yaml.Node,
    path: KeyPath,
    twice: Mapping[int, int],
    lines: dict[KeyPath, int],
    doubles: dict[KeyPath, str],
) -> None:
    """Note where each key is. The merges (<<) of *node* are resolved: what they bring comes first, and counts if nothing follows."""
    if isinstance(node, yaml.SequenceNode):
        pairs = [(str(index), each, each) for index, each in enumerate(node.value)]
    elif isinstance(node, yaml.MappingNode):
        pairs = [(_key_text(key), key, value) for key, value in node.value]
    else:
        return
    for name, place, value in pairs:
        inner = (*path, name)
        if (first := twice.get(id(place))) is not None:
            doubles.setdefault(inner, f"is there twice; the first is on line {first}. Remove one of them.")
        lines[inner] = place.start_mark.line + 1
        _note_lines(value, inner, twice, lines, doubles)


def _key_text(node: yaml.Node) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else ""


def _written_out(node: yaml.Node, known: dict[int, int | None]) -> int:
    """How many values *node* is, with its aliases written out; *known*: of nodes counted, None for those under way."""
    if (identity := id(node)) in known:
        count = known[identity]
        if count is None:
            raise _Refused(
                "an alias (*) is used inside its own anchor (&), so it would never end. Write the value out instead."
            )
        return count
    known[identity] = None
    count = 1
    if isinstance(node, yaml.SequenceNode):
        count += sum(_written_out(each, known) for each in node.value)
    elif isinstance(node, yaml.MappingNode):
        count += sum(_written_out(each, known) for pair in node.value for each in pair)
    known[identity] = count
    return count


def _too_many() -> _Refused:
    return _Refused(
        f"contains more than {_VALUES_MAX:,} values once its aliases (*) are expanded. Use fewer aliases."
    )


def _sentence(error: yaml.MarkedYAMLError) -> str:
    """PyYAML's own sentence, without what it quotes of the file; and where the thing begins that is at fault."""
    problem = error.problem or "it cannot be read"
    if problem.startswith(("found undefined alias", "could not determine a constructor for the tag")):
        return "a value begins with * or !, which have a special meaning in YAML; put it in quotes"
    said = _without_values(problem)
    began = error.context_mark
    if not error.context or began is None or (error.problem_mark and began.line == error.problem_mark.line):
        return said
    return f"{said}, {_without_values(error.context)} that begins on line {began.line + 1}"


def _without_values(sentence: str) -> str:
    """A sentence of PyYAML's with the signs and the kinds of tokens that it quotes, but without the file's own texts."""
    for token, plain in _TOKENS.items():
        sentence = sentence.replace(token, plain)
    return _QUOTED.sub(lambda found: found[0] if _SIGN.fullmatch(found[0]) else "...", sentence)


def _mend(error: yaml.MarkedYAMLError) -> str:
    """What to do about the faults that people make most."""
    problem = error.problem or ""
    return next((f" {mend}" for part, mend in _MENDS.items() if part in problem), "")


def _place(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"
