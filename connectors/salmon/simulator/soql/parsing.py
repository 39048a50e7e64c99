"""
SOQL text -> a query as data (syntax.py), with the errors of the real one (SOQL and SOSL Reference).

FOR UPDATE locks rows until the end of the transaction, which is the query itself here, so nobody sees it. Left out, and refused:
scopes but everything and mine, WITH (which of it is not of Knowledge is for Apex alone), DISTANCE, FORMAT, convertCurrency. Names
are resolved by names.py, which knows the objects.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from salmon.simulator.org.refusals import BadRequest
from salmon.simulator.soql.syntax import (
    AGGREGATES,
    AllOf,
    AnyOf,
    Comparison,
    Condition,
    Constant,
    Expression,
    FieldGroup,
    Function,
    Not,
    Operator,
    Order,
    Path,
    Query,
    Selected,
    SemiJoin,
    TypeOf,
    malformed,
)
from salmon.simulator.soql.tokens import Token, Tokens

LENGTH_MAX = 100_000  # characters, SOQL Reference, "SOQL Limits"
CHILD_QUERIES_MAX = 20  # SOQL Reference, "Understanding Relationship Query Limitations"

# They end the FROM part; anything else there is an alias.
_KEYWORDS = frozenset(
    {"from", "where", "order", "limit", "offset", "group", "having", "with", "for", "using", "all"}
)
_NOT_SERVED = frozenset({"with", "using", "all"})
DATE_FUNCTIONS = frozenset(
    {
        "CALENDAR_MONTH", "CALENDAR_QUARTER", "CALENDAR_YEAR", "DAY_IN_MONTH", "DAY_IN_WEEK", "DAY_IN_YEAR", "DAY_ONLY",
        "FISCAL_MONTH", "FISCAL_QUARTER", "FISCAL_YEAR", "HOUR_IN_DAY", "WEEK_IN_MONTH", "WEEK_IN_YEAR",
    }
)  # fmt: skip
_FUNCTIONS = AGGREGATES | DATE_FUNCTIONS | {"CONVERTTIMEZONE", "TOLABEL", "GROUPING"}
_FUNCTIONS_NOT_SERVED = frozenset({"DISTANCE", "FORMAT", "CONVERTCURRENCY"})
_APEX_ONLY = ("security_enforced", "user_mode", "system_mode")


def parse(text: str) -> Query:
    """
    Read a query.

    Raises:
        BadRequest: MALFORMED_QUERY, with the place; QUERY_TOO_COMPLICATED.
    """
    if len(text) > LENGTH_MAX:
        raise BadRequest("MALFORMED_QUERY", "SOQL statements cannot be longer than 100000 characters.")
    try:
        return _Parser(Tokens(text)).whole()
    except RecursionError:  # thousands of parentheses
        raise BadRequest(
            "QUERY_TOO_COMPLICATED", "The query is too complicated: too many parentheses."
        ) from None


def parse_returning(tokens: Tokens) -> Query:
    """Read one object of a search's RETURNING. Raises BadRequest: MALFORMED_QUERY."""
    return _Parser(tokens).returning()


class _Parser:
    """Reads one query; those inside it have parsers of their own, on the same tokens."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._prefixes: set[str] = set()

    def whole(self) -> Query:
        query = self.query(outermost=True)
        if self._tokens.peek().kind != "end":
            raise self._tokens.unexpected()
        return query

    def query(self, *, outermost: bool = False) -> Query:
        tokens = self._tokens
        tokens.expect_word("select")
        select = self._selection()
        tokens.expect_word("from")
        source = tokens.take("name")
        alias = ""
        if tokens.peek().kind == "name" and tokens.peek().text.lower() not in _KEYWORDS:
            alias = tokens.take("name").text
        scope = self._filter_scope() if outermost and tokens.word("using") else "everything"
        query = self._clauses(source, alias, select)
        return replace(query, scope=scope, viewed=self._use(query)) if outermost else query

    def returning(self) -> Query:
        """One object of a search: Account, or Account(fields WHERE ... ORDER BY ... LIMIT ... OFFSET ...)."""
        tokens = self._tokens
        source = tokens.take("name")
        if not tokens.symbol("("):
            return Query(tokens.text, source.text, source.at, (Selected(Path(("Id",), source.at)),))
        query = self._clauses(source, "", self._selection())
        tokens.expect(")")
        return query

    def _clauses(
        self, source: Token, alias: str, select: list[Selected | FieldGroup | TypeOf | Query]
    ) -> Query:
        tokens = self._tokens
        self._prefixes = {source.text.lower(), alias.lower()}
        self._refuse_what_is_not_served()
        where = self._condition() if tokens.word("where") else None
        group_kind, group_by = self._grouping()
        having = self._condition() if tokens.word("having") else None
        order = self._order() if tokens.word("order") else ()
        limit = tokens.whole_number() if tokens.word("limit") else None
        offset = tokens.whole_number() if tokens.word("offset") else 0
        self._refuse_what_is_not_served()
        return Query(
            text=tokens.text,
            source=source.text,
            source_at=source.at,
            select=tuple(self._own_item(item) for item in select),
            where=where,
            group_by=group_by,
            group_kind=group_kind,
            having=having,
            order=order,
            limit=limit,
            offset=offset,
        )

    def _refuse_what_is_not_served(self) -> None:
        token, after = self._tokens.peek(), self._tokens.peek(1)
        if self._tokens.is_word("with") and after.text.lower() in _APEX_ONLY:
            what = f"{token.text} {after.text} is available only in Apex"
            raise malformed(self._tokens.text, token.at, what)
        if self._tokens.is_word(*_NOT_SERVED):
            raise malformed(self._tokens.text, token.at, f"{token.text} is not served by the simulator")

    def _filter_scope(self) -> Literal["everything", "mine"]:
        """What follows USING."""
        tokens = self._tokens
        tokens.expect_word("scope")
        scope = tokens.take("name")
        match scope.text.lower():
            case "everything":
                return "everything"
            case "mine":
                return "mine"
        raise malformed(tokens.text, scope.at, f"the scope {scope.text} is not served by the simulator")

    def _use(self, query: Query) -> bool:
        """Read FOR VIEW, FOR REFERENCE and FOR UPDATE; whether the user views what is found."""
        tokens = self._tokens
        viewed = tokens.is_word("for") and tokens.peek(1).text.lower() in {"view", "reference"}
        if viewed:
            tokens.take("name")
            tokens.take("name")
        if tokens.word("for"):
            at = tokens.peek().at
            tokens.expect_word("update")
            if query.order:
                raise malformed(tokens.text, at, "ORDER BY is not allowed with FOR UPDATE")
        return viewed

    # What is selected

    def _selection(self) -> list[Selected | FieldGroup | TypeOf | Query]:
        tokens, items = self._tokens, list[Selected | FieldGroup | TypeOf | Query]()
        while True:
            token = tokens.peek()
            if tokens.symbol("("):
                items.append(_Parser(tokens).query())
                tokens.expect(")")
            elif tokens.is_word("typeof") and tokens.peek(1).kind == "name":
                items.append(self._type_of())
            elif token.text.lower() == "fields" and tokens.peek(1).text == "(":
                items.append(self._field_group())
            else:
                what = self._expression()
                alias = ""
                if tokens.peek().kind == "name" and tokens.peek().text.lower() not in _KEYWORDS:
                    alias = tokens.take("name").text
                items.append(Selected(what, alias))
            if not tokens.symbol(","):
                break
        if sum(1 for item in items if isinstance(item, Query)) > CHILD_QUERIES_MAX:
            raise malformed(tokens.text, 0, f"a query has at most {CHILD_QUERIES_MAX} subqueries")
        alone = [
            i
            for i in items
            if isinstance(i, Selected) and isinstance(i.what, Function) and not i.what.argument
        ]
        if alone and len(items) > 1:
            raise malformed(
                tokens.text, alone[0].what.at, "count() must be the only element in the select list"
            )
        return items

    def _field_group(self) -> FieldGroup:
        tokens = self._tokens
        at = tokens.take("name").at
        tokens.expect("(")
        if not tokens.is_word("all", "standard", "custom"):
            raise tokens.unexpected()
        which = tokens.take("name").text.lower()
        tokens.expect(")")
        return FieldGroup(which, at)

    def _type_of(self) -> TypeOf:
        tokens = self._tokens
        tokens.expect_word("typeof")
        relationship = self._path()
        whens = []
        while tokens.word("when"):
            kind = self._path()
            tokens.expect_word("then")
            whens.append((kind, self._paths()))
        if not whens:
            raise tokens.unexpected()
        otherwise = self._paths() if tokens.word("else") else ()
        tokens.expect_word("end")
        return TypeOf(relationship, tuple(whens), otherwise)

    def _paths(self) -> tuple[Path, ...]:
        paths = [self._path()]
        while self._tokens.symbol(","):
            paths.append(self._path())
        return tuple(paths)

    def _path(self) -> Path:
        name = self._tokens.take("name")
        return self._own(Path(tuple(name.text.split(".")), name.at))

    def _expression(self) -> Expression:
        tokens = self._tokens
        token = tokens.peek()
        if token.kind != "name" or tokens.peek(1).text != "(":
            return self._path()
        name = tokens.take("name").text.upper()
        tokens.expect("(")
        if name in _FUNCTIONS_NOT_SERVED:
            raise malformed(tokens.text, token.at, f"{token.text} is not served by the simulator")
        if name not in _FUNCTIONS:
            raise malformed(tokens.text, token.at, f"unexpected token: '{token.text}'")
        argument = None if name == "COUNT" and tokens.peek().text == ")" else self._expression()
        tokens.expect(")")
        return Function(name, argument, token.at)

    # Groups

    def _grouping(self) -> tuple[Literal["", "ROLLUP", "CUBE"], tuple[Expression, ...]]:
        tokens = self._tokens
        if not tokens.word("group"):
            return "", ()
        tokens.expect_word("by")
        kind: Literal["", "ROLLUP", "CUBE"] = ""
        if tokens.is_word("rollup", "cube") and tokens.peek(1).text == "(":
            kind = "ROLLUP" if tokens.take("name").text.upper() == "ROLLUP" else "CUBE"
            tokens.expect("(")
        items = [self._expression()]
        while tokens.symbol(","):
            items.append(self._expression())
        if kind:
            tokens.expect(")")
        return kind, tuple(items)

    # Conditions

    def _condition(self) -> Condition:
        # AND and OR are not mixed without parentheses: what follows the wrong one is an unexpected token.
        parts = [self._not()]
        if self._tokens.is_word("and"):
            while self._tokens.word("and"):
                parts.append(self._not())
            return AllOf(tuple(parts))
        while self._tokens.word("or"):
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    def _not(self) -> Condition:
        if self._tokens.word("not"):
            return Not(self._not())
        if self._tokens.symbol("("):
            inner = self._condition()
            self._tokens.expect(")")
            return inner
        return self._comparison()

    def _comparison(self) -> Comparison | SemiJoin:
        tokens = self._tokens
        left = self._expression()
        token = tokens.peek()
        if token.kind == "operator" and token.text in {"=", "!=", "<>", "<", "<=", ">", ">="}:
            tokens.take("operator")
            operator: Operator = "!=" if token.text == "<>" else token.text  # type: ignore[assignment]
            return Comparison(left, operator, (tokens.constant(),))
        if tokens.word("like"):
            return Comparison(left, "LIKE", (tokens.constant(),))
        if tokens.word("in"):
            return self._membership(left, anti=False)
        if tokens.word("includes"):
            return Comparison(left, "INCLUDES", self._list())
        if tokens.word("excludes"):
            return Comparison(left, "EXCLUDES", self._list())
        if tokens.word("not"):
            tokens.expect_word("in")
            return self._membership(left, anti=True)
        raise tokens.unexpected()

    def _membership(self, left: Expression, *, anti: bool) -> Comparison | SemiJoin:
        tokens = self._tokens
        if tokens.peek().text != "(" or tokens.peek(1).text.lower() != "select":
            return Comparison(left, "NOT IN" if anti else "IN", self._list())
        if not isinstance(left, Path):
            raise malformed(tokens.text, tokens.peek(1).at, f"unexpected token: '{tokens.peek(1).text}'")
        tokens.expect("(")
        inner = _Parser(tokens).query()
        tokens.expect(")")
        return SemiJoin(left, inner, anti)

    def _list(self) -> tuple[Constant, ...]:
        self._tokens.expect("(")
        values = [self._tokens.constant()]
        while self._tokens.symbol(","):
            values.append(self._tokens.constant())
        self._tokens.expect(")")
        return tuple(values)

    # The rest

    def _order(self) -> tuple[Order, ...]:
        tokens = self._tokens
        tokens.expect_word("by")
        items = []
        while True:
            by = self._expression()
            descending = tokens.word("desc")
            if not descending:
                tokens.word("asc")
            nulls_last = False
            if tokens.word("nulls"):
                nulls_last = tokens.word("last")
                if not nulls_last:
                    tokens.expect_word("first")
            items.append(Order(by, descending, nulls_last))
            if not tokens.symbol(","):
                return tuple(items)

    def _own(self, path: Path) -> Path:
        """*path* without the object's own name or alias in front."""
        if len(path.parts) > 1 and path.parts[0].lower() in self._prefixes:
            return Path(path.parts[1:], path.at)
        return path

    def _own_item(
        self, item: Selected | FieldGroup | TypeOf | Query
    ) -> Selected | FieldGroup | TypeOf | Query:
        """The selected item without the object's own name, which was not known when it was read."""
        if isinstance(item, Selected):
            return Selected(self._own_expression(item.what), item.alias)
        if isinstance(item, TypeOf):
            return TypeOf(self._own(item.relationship), item.whens, item.otherwise)
        return item

    def _own_expression(self, what: Expression) -> Expression:
        if isinstance(what, Path):
            return self._own(what)
        return (
            what
            if what.argument is None
            else Function(what.name, self._own_expression(what.argument), what.at)
        )
