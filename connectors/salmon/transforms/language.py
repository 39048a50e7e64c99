"""
Reads an expression such as `Type == "Customer" && AnnualRevenue > 1000` into a tree.

The language is a part of CEL (https://cel.dev), with CEL's operators and their precedence. It has no loops, no regular expressions
and no clock, so the time that an expression takes is bounded by its length, and the same record always gives the same result.

Why no library: those for CEL know neither decimals nor our dates, take an empty field for an error, and do not say to an operator
what to correct. `eval` on a part of Python would be no shorter, and would have Python's syntax for null, and, or.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NoReturn

from salmon.errors import ConfigError

CHARS_MAX: Final = 2_000
# Deeper nesting than people write. It bounds Python's recursion, here and when the expression is evaluated.
DEPTH_MAX: Final = 40


@dataclass(frozen=True, slots=True)
class Literal:
    value: str | int | Decimal | bool | None
    at: int


@dataclass(frozen=True, slots=True)
class Name:
    """A field of the object."""

    name: str
    at: int


@dataclass(frozen=True, slots=True)
class Call:
    """An operator or a function. Of `Email.endsWith("x")`, Email is the first of the arguments."""

    function: str
    arguments: tuple[Node, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Many:
    """A list, for `in`."""

    items: tuple[Node, ...]
    at: int


Node = Literal | Name | Call | Many

_CONDITION: Final = "?:"
_NEGATION: Final = "-x"
_WORDS: Final[dict[str, bool | None]] = {"true": True, "false": False, "null": None}
# Binary operators by how tightly they bind, the loosest first.
_LEVELS: Final = (
    ("||",),
    ("&&",),
    ("==", "!=", "<=", ">=", "<", ">", "in"),
    ("+", "-"),
    ("*", "/"),
)
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<number>\d+(?:\.\d+)?)(?![\w.])
        |(?P<name>[A-Za-z_]\w*)
        |(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
        |(?P<sign>\|\||&&|==|!=|<=|>=|[-<>+*/!?:.,()\[\]]))""",
    re.VERBOSE | re.ASCII,
)
_ESCAPES: Final = {"n": "\n", "t": "\t", "\\": "\\", '"': '"', "'": "'"}
# What people try, from other languages -> what it is here.
_MEANT: Final = {
    "=": "==",
    "&": "&&",
    "|": "||",
    "and": "&&",
    "or": "||",
    "not": "!",
    "AND": "&&",
    "OR": "||",
    "None": "null",
    "NULL": "null",
    "True": "true",
    "False": "false",
}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # number, name, text, sign; end
    text: str
    at: int


def parsed(text: str) -> Node:
    """
    Return the tree of an expression.

    Raises:
        ConfigError: it is not one. The sentence says at which character, and quotes no more than one word of it.
    """
    if len(text) > CHARS_MAX:
        raise ConfigError(f"is an expression of {len(text)} characters, but must have at most {CHARS_MAX}")
    return _Parser(list(_tokens(text))).whole()


def fault_at(at: int, sentence: str, kind: type[ConfigError] = ConfigError) -> ConfigError:
    """An error about an expression, at the character with index *at*."""
    return kind(f"{sentence} (at character {at + 1})")


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while text[at:].strip():
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            begin = len(text) - len(text[at:].lstrip())
            raise fault_at(begin, _not_a_token(text[begin:]))
        yield _Token(found.lastgroup, found[found.lastgroup], found.start(found.lastgroup))
        at = found.end()
    yield _Token("end", "", len(text))


def _not_a_token(rest: str) -> str:
    if rest[0] in "\"'":
        return "has a text without an end: close it with the same quotation mark"
    if rest[0] in _MEANT:
        return f"has a single {rest[0]}: write {_MEANT[rest[0]]}"
    if rest[0].isdigit():
        return "has a number that is not written like 5 or 0.25"
    return "has a character that is not part of the language"


class _Parser:
    """One function a level of precedence would be eleven functions: a loop over the levels is one."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens, self._next, self._depth = tokens, 0, 0

    def whole(self) -> Node:
        if self._here.kind == "end":
            raise ConfigError('is empty, but must be an expression, e.g. Email != null && Type == "Customer"')
        node = self._condition()
        if self._here.kind != "end":
            self._unexpected("an operator, or the end")
        return node

    @property
    def _here(self) -> _Token:
        return self._tokens[self._next]

    def _take(self, *signs: str) -> _Token | None:
        token = self._here
        if token.text in signs and token.kind in {"sign", "name"}:
            self._next += 1
            return token
        return None

    def _require(self, sign: str) -> None:
        if not self._take(sign):
            self._unexpected(sign)

    def _unexpected(self, wanted: str) -> NoReturn:
        token = self._here
        if token.kind == "end":
            raise fault_at(token.at, f"ends too early: expected {wanted}")
        hint = f": write {_MEANT[token.text]}" if token.text in _MEANT else f", expected {wanted}"
        word = "a text" if token.kind == "text" else token.text
        raise fault_at(token.at, f"has {word} where it cannot be{hint}")

    def _condition(self) -> Node:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise fault_at(self._here.at, f"is nested more than {DEPTH_MAX} levels deep")
        node = self._binary(0)
        if question := self._take("?"):
            yes = self._condition()
            self._require(":")
            node = Call(_CONDITION, (node, yes, self._condition()), question.at)
        self._depth -= 1
        return node

    def _binary(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self._unary()
        node = self._binary(level + 1)
        while sign := self._take(*_LEVELS[level]):
            node = Call(sign.text, (node, self._binary(level + 1)), sign.at)
            # A long chain is as deep a tree as brackets are.
            if _depth(node) > DEPTH_MAX:
                raise fault_at(
                    sign.at,
                    f"is nested more than {DEPTH_MAX} levels deep; for many values of a field, use in [...]",
                )
        return node

    def _unary(self) -> Node:
        signs = []
        while sign := self._take("!", "-"):
            signs.append(sign)
        if len(signs) > DEPTH_MAX:
            raise fault_at(signs[0].at, f"is nested more than {DEPTH_MAX} levels deep")
        node = self._member()
        for sign in reversed(signs):
            node = Call(_NEGATION if sign.text == "-" else "!", (node,), sign.at)
        return node

    def _member(self) -> Node:
        node = self._primary()
        while self._take("."):
            token = self._here
            if token.kind != "name":
                self._unexpected("the name of a function")
            self._next += 1
            if not self._take("("):
                raise fault_at(
                    token.at,
                    "reaches into another record, which is not possible: name a field of the object itself",
                )
            node = Call(token.text, (node, *self._list(")")), token.at)
        return node

    def _primary(self) -> Node:
        token = self._here
        if token.kind == "end" or (token.kind == "sign" and token.text not in "(["):
            self._unexpected("a field, a value or a bracket")
        self._next += 1
        match token.kind:
            case "number":
                is_whole = token.text.isdigit()
                return Literal(int(token.text) if is_whole else Decimal(token.text), token.at)
            case "text":
                return Literal(_unescaped(token), token.at)
            case "name" if token.text in _WORDS:
                return Literal(_WORDS[token.text], token.at)
            case "name" if token.text in _MEANT:
                raise fault_at(token.at, f"has {token.text}: write {_MEANT[token.text]}")
            case "name" if self._take("("):
                return Call(token.text, self._list(")"), token.at)
            case "name":
                return Name(token.text, token.at)
            case _ if token.text == "[":
                return Many(self._list("]"), token.at)
        node = self._condition()
        self._require(")")
        return node

    def _list(self, end: str) -> tuple[Node, ...]:
        items: list[Node] = []
        while not self._take(end):
            if items:
                self._require(",")
            items.append(self._condition())
        return tuple(items)


def _depth(node: Node) -> int:
    """How deep the tree is; the number of levels to the left, which is where chains grow."""
    count = 0
    while isinstance(node, Call) and node.arguments:
        node, count = node.arguments[0], count + 1
    return count


def _unescaped(token: _Token) -> str:
    def meant(found: re.Match[str]) -> str:
        if found[1] not in _ESCAPES:
            raise fault_at(
                token.at, f"has a text with \\{found[1]}, which is not known; for a backslash write two"
            )
        return _ESCAPES[found[1]]

    return re.sub(r"\\(.)", meant, token.text[1:-1], flags=re.DOTALL)
