"""The words of a SOQL text, one after the other."""

from __future__ import annotations

import re
from dataclasses import dataclass

from salmon.simulator.org.refusals import BadRequest
from salmon.simulator.soql.syntax import Constant, malformed

_TOKEN = re.compile(
    r"""\s+
    | (?P<string>'(?:[^'\\]|\\.)*')
    | (?P<datetime>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d))
    | (?P<date>\d{4}-\d\d-\d\d)
    | (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    | (?P<name>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*(?::\d+)?)
    | (?P<operator><=|>=|!=|<>|=|<|>|\(|\)|,)
    """,
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


@dataclass(frozen=True, slots=True)
class Token:
    """One word; *at* is where it stands in the text."""

    kind: str  # string, datetime, date, number, name, operator, end
    text: str
    at: int


class Tokens:
    """The tokens of a text, and a place among them. What does not fit is raised as MALFORMED_QUERY."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._tokens = list(_scan(text))
        self._next = 0

    def peek(self, ahead: int = 0) -> Token:
        """The next token, or a later one; it stays."""
        return self._tokens[min(self._next + ahead, len(self._tokens) - 1)]

    def take(self, kind: str) -> Token:
        """The next token, which must be of this kind."""
        token = self.peek()
        if token.kind != kind:
            raise self.unexpected()
        self._next += 1
        return token

    def is_word(self, *words: str) -> bool:
        """Whether the next token is one of these words."""
        token = self.peek()
        return token.kind == "name" and token.text.lower() in words

    def word(self, word: str) -> bool:
        """Take the next token if it is this word."""
        found = self.is_word(word)
        self._next += found
        return found

    def symbol(self, symbol: str) -> bool:
        """Take the next token if it is this symbol."""
        token = self.peek()
        if token.kind == "operator" and token.text == symbol:
            self._next += 1
            return True
        return False

    def expect_word(self, word: str) -> None:
        """Take the next token, which must be this word."""
        if not self.word(word):
            raise self.unexpected()

    def expect(self, symbol: str) -> None:
        """Take the next token, which must be this symbol."""
        if not self.symbol(symbol):
            raise self.unexpected()

    def whole_number(self) -> int:
        """Take a number without a sign or a fraction."""
        token = self.take("number")
        if not token.text.isdigit():
            raise malformed(self.text, token.at, f"unexpected token: '{token.text}'")
        return int(token.text)

    def constant(self) -> Constant:
        """Take a value."""
        token = self.peek()
        self._next += 1
        if token.kind == "string":
            raw = token.text[1:-1]
            plain = re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), raw, flags=re.DOTALL)
            return Constant("string", plain, like=raw)
        if token.kind == "number":
            return Constant("number", token.text)
        if token.kind == "date":
            return Constant("date", token.text)
        if token.kind == "datetime":
            return Constant("datetime", token.text)
        if token.kind == "name" and token.text.lower() in {"true", "false"}:
            return Constant("boolean", token.text.lower())
        if token.kind == "name" and token.text.lower() == "null":
            return Constant("null", "")
        if token.kind == "name" and re.fullmatch(r"[A-Z0-9_]+(:\d+)?", token.text.upper()):
            return Constant("dateword", token.text.upper())
        self._next -= 1
        raise self.unexpected()

    def unexpected(self) -> BadRequest:
        """The next token does not belong here."""
        token = self.peek()
        return malformed(self.text, token.at, f"unexpected token: '{token.text}'")


def _scan(text: str) -> list[Token]:
    tokens, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise malformed(text, at, f"unexpected token: '{text[at]}'")
        if match.lastgroup:
            tokens.append(Token(match.lastgroup, match[0], at))
        at = match.end()
    tokens.append(Token("end", "<EOF>", len(text)))
    return tokens
