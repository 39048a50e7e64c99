"""
SOQL text -> a query as data: the part of the language that a sync uses, with the errors of the real one.

Fields (with up to five parent steps), count(), count(field), FIELDS(ALL|STANDARD|CUSTOM); WHERE with AND, OR, NOT,
= != < <= > >= LIKE IN NOT IN INCLUDES EXCLUDES; ORDER BY, LIMIT, OFFSET. Left out, and refused: child subqueries,
grouping, other functions (SOQL and SOSL Reference). Names are resolved by query.py, which knows the objects.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from salmon.simulator.org.refusals import BadRequest

LENGTH_MAX = 100_000  # characters, SOQL Reference, "SOQL Limits"

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
_KEYWORDS = frozenset({"from", "where", "order", "limit", "offset", "group", "with", "for", "using", "all"})

LiteralKind = Literal["string", "datetime", "date", "number", "boolean", "null", "dateword"]
Operator = Literal["=", "!=", "<", "<=", ">", ">=", "LIKE", "IN", "NOT IN", "INCLUDES", "EXCLUDES"]


@dataclass(frozen=True, slots=True)
class Constant:
    """A value in a query; *text* is what is meant, without quotes and escapes."""

    kind: LiteralKind
    text: str
    like: str = ""  # of a string: with its backslashes, which LIKE needs


@dataclass(frozen=True, slots=True)
class Path:
    """A field, perhaps of a parent; *at* is where it stands in the text."""

    parts: tuple[str, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """field operator value(s)."""

    path: Path
    operator: Operator
    values: tuple[Constant, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class AllOf:
    """AND."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """OR."""

    conditions: tuple[Condition, ...]


Condition = Comparison | Not | AllOf | AnyOf


@dataclass(frozen=True, slots=True)
class Order:
    """One ORDER BY item."""

    path: Path
    descending: bool
    nulls_last: bool


@dataclass(frozen=True, slots=True)
class Count:
    """count(field) with its alias, or expr0."""

    path: Path
    alias: str


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query. Exactly one of *select*, *count_all*, *counts* and *field_group* says what is wanted."""

    text: str
    object_name: str
    object_at: int
    select: tuple[Path, ...] = ()
    count_all: bool = False
    counts: tuple[Count, ...] = ()
    field_group: str = ""  # all, standard or custom
    where: Condition | None = None
    order: tuple[Order, ...] = ()
    limit: int | None = None
    offset: int = 0


def malformed(text: str, at: int, what: str) -> BadRequest:
    """The query is no SOQL from here on."""
    return BadRequest("MALFORMED_QUERY", _pointing(text, at, what))


def invalid_field(text: str, at: int, what: str) -> BadRequest:
    """A field or relationship of the query does not exist, or not for this use."""
    return BadRequest("INVALID_FIELD", _pointing(text, at, what))


def invalid_type(text: str, at: int, name: str) -> BadRequest:
    """There is no such object."""
    what = (
        f"sObject type '{name}' is not supported. If you are attempting to use a custom object, be sure to append "
        f"the '__c' after the entity name. Please reference your WSDL or the describe call for the appropriate names."
    )
    return BadRequest("INVALID_TYPE", _pointing(text, at, what))


def parse(text: str) -> Query:
    """
    Read a query.

    Raises:
        BadRequest: MALFORMED_QUERY, with the place.
    """
    if len(text) > LENGTH_MAX:
        raise BadRequest("MALFORMED_QUERY", "SOQL statements cannot be longer than 100000 characters.")
    return _Parser(text).query()


def _pointing(text: str, at: int, what: str) -> str:
    start = max(0, at - 40)
    shown = " ".join(text[start : at + 40].splitlines()) or " "
    row = text.count("\n", 0, at) + 1
    column = at - (text.rfind("\n", 0, at) + 1) + 1
    return f"\n{shown}\n{' ' * (at - start)}^\nERROR at Row:{row}:Column:{column}\n{what}"


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # string, datetime, date, number, name, operator, end
    text: str
    at: int


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._scan(text))
        self._next = 0

    def query(self) -> Query:
        self._expect_word("select")
        select, count_all, counts, group = self._selection()
        self._expect_word("from")
        source = self._take("name")
        alias = ""
        if self._peek().kind == "name" and self._peek().text.lower() not in _KEYWORDS:
            alias = self._take("name").text
        self._prefixes = {source.text.lower(), alias.lower()}
        where = self._condition() if self._word("where") else None
        order = self._order() if self._word("order") else ()
        limit = self._whole_number() if self._word("limit") else None
        offset = self._whole_number() if self._word("offset") else 0
        if self._peek().kind != "end":
            raise self._unexpected()
        return Query(
            text=self._text,
            object_name=source.text,
            object_at=source.at,
            select=tuple(self._own(path) for path in select),
            count_all=count_all,
            counts=tuple(Count(self._own(count.path), count.alias) for count in counts),
            field_group=group,
            where=where,
            order=order,
            limit=limit,
            offset=offset,
        )

    # What is selected

    def _selection(self) -> tuple[list[Path], bool, list[Count], str]:
        select: list[Path] = []
        counts: list[Count] = []
        while True:
            token = self._peek()
            if token.text == "(":
                raise malformed(self._text, token.at, "child subqueries are not served by the simulator")
            name = self._take("name")
            if self._peek().text == "(":
                self._next += 1
                if name.text.lower() == "fields":
                    return [], False, [], self._field_group()
                if name.text.lower() != "count":
                    raise malformed(self._text, name.at, f"unexpected token: '{name.text}'")
                if self._symbol(")"):
                    return [], True, [], ""
                field = self._take("name")
                self._expect(")")
                alias = f"expr{len(counts)}"
                if self._peek().kind == "name" and self._peek().text.lower() != "from":
                    alias = self._take("name").text
                counts.append(Count(Path(tuple(field.text.split(".")), field.at), alias))
            else:
                select.append(Path(tuple(name.text.split(".")), name.at))
            if not self._symbol(","):
                break
        if select and counts:
            raise malformed(self._text, select[0].at, "Grouped query required")
        return select, False, counts, ""

    def _field_group(self) -> str:
        word = self._take("name")
        if word.text.lower() not in {"all", "standard", "custom"}:
            raise malformed(self._text, word.at, f"unexpected token: '{word.text}'")
        self._expect(")")
        return word.text.lower()

    # Conditions

    def _condition(self) -> Condition:
        # AND and OR are not mixed without parentheses: what follows the wrong one is an unexpected token.
        parts = [self._not()]
        if self._peek_word("and"):
            while self._word("and"):
                parts.append(self._not())
            return AllOf(tuple(parts))
        while self._word("or"):
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    def _not(self) -> Condition:
        if self._word("not"):
            return Not(self._not())
        if self._symbol("("):
            inner = self._condition()
            self._expect(")")
            return inner
        return self._comparison()

    def _comparison(self) -> Comparison:
        name = self._take("name")
        path = self._own(Path(tuple(name.text.split(".")), name.at))
        token = self._peek()
        if token.kind == "operator" and token.text in {"=", "!=", "<>", "<", "<=", ">", ">="}:
            self._next += 1
            operator: Operator = "!=" if token.text == "<>" else token.text  # type: ignore[assignment]
            return Comparison(path, operator, (self._constant(),))
        if self._word("like"):
            return Comparison(path, "LIKE", (self._constant(),))
        if self._word("in"):
            return Comparison(path, "IN", self._list())
        if self._word("includes"):
            return Comparison(path, "INCLUDES", self._list())
        if self._word("excludes"):
            return Comparison(path, "EXCLUDES", self._list())
        if self._word("not"):
            self._expect_word("in")
            return Comparison(path, "NOT IN", self._list())
        raise self._unexpected()

    def _list(self) -> tuple[Constant, ...]:
        self._expect("(")
        if self._peek().text.lower() == "select":
            raise malformed(self._text, self._peek().at, "subqueries are not served by the simulator")
        values = [self._constant()]
        while self._symbol(","):
            values.append(self._constant())
        self._expect(")")
        return tuple(values)

    def _constant(self) -> Constant:
        token = self._peek()
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
        if token.kind == "name" and re.fullmatch(r"[A-Z_]+(:\d+)?", token.text.upper()):
            return Constant("dateword", token.text.upper())
        self._next -= 1
        raise self._unexpected()

    # The rest

    def _order(self) -> tuple[Order, ...]:
        self._expect_word("by")
        items = []
        while True:
            name = self._take("name")
            descending = self._word("desc")
            if not descending:
                self._word("asc")
            nulls_last = False
            if self._word("nulls"):
                nulls_last = self._word("last")
                if not nulls_last:
                    self._expect_word("first")
            path = self._own(Path(tuple(name.text.split(".")), name.at))
            items.append(Order(path, descending, nulls_last))
            if not self._symbol(","):
                return tuple(items)

    def _whole_number(self) -> int:
        token = self._take("number")
        if not token.text.isdigit():
            raise malformed(self._text, token.at, f"unexpected token: '{token.text}'")
        return int(token.text)

    def _own(self, path: Path) -> Path:
        """*path* without the object's own name or alias in front."""
        if len(path.parts) > 1 and path.parts[0].lower() in self._prefixes:
            return Path(path.parts[1:], path.at)
        return path

    # Tokens

    def _scan(self, text: str) -> list[_Token]:
        tokens, at = [], 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise malformed(text, at, f"unexpected token: '{text[at]}'")
            if match.lastgroup:
                tokens.append(_Token(match.lastgroup, match[0], at))
            at = match.end()
        tokens.append(_Token("end", "<EOF>", len(text)))
        return tokens

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self, kind: str) -> _Token:
        token = self._peek()
        if token.kind != kind:
            raise self._unexpected()
        self._next += 1
        return token

    def _peek_word(self, word: str) -> bool:
        token = self._peek()
        return token.kind == "name" and token.text.lower() == word

    def _word(self, word: str) -> bool:
        found = self._peek_word(word)
        self._next += found
        return found

    def _symbol(self, symbol: str) -> bool:
        token = self._peek()
        if token.kind == "operator" and token.text == symbol:
            self._next += 1
            return True
        return False

    def _expect_word(self, word: str) -> None:
        if not self._word(word):
            raise self._unexpected()

    def _expect(self, symbol: str) -> None:
        if not self._symbol(symbol):
            raise self._unexpected()

    def _unexpected(self) -> BadRequest:
        token = self._peek()
        return malformed(self._text, token.at, f"unexpected token: '{token.text}'")
