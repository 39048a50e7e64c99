"""
A condition of the expression language as a query of MongoDB's. Pure.

It means what salmon.transforms.expressions says: a field that is empty equals null and nothing else. What MongoDB cannot do in the
very same way (calculations, lower(), times of day) is refused; a computed field can have it. The query has two parts: what an index can
find, and the whole condition, by which what was found is judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, Inexact
from typing import Any, Final

from bson.decimal128 import Decimal128, create_decimal128_context
from bson.int64 import Int64

from salmon.errors import DataError
from salmon.model.convert import from_text
from salmon.model.schema import FieldSchema, Kind
from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.reports.values import Expr, held
from salmon.transforms.expressions import condition, type_of
from salmon.transforms.kinds import CHOICES, DOUBLE, NULL, TEXT, TIME
from salmon.transforms.language import Call, Literal, Many, Name, Node, fault_at, parsed

Query = dict[str, Any]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY: Final = timedelta(days=1)
_LAST_DAY: Final = datetime(9999, 12, 31, tzinfo=UTC)
_INT64_MAX: Final = 2**63 - 1
_COMPARES: Final[Mapping[str, str]] = {"<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte"}
_TURNED: Final[Mapping[str, str]] = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_MEND: Final = "make a computed field of it (fields.computed), and name that here"


@dataclass(frozen=True, slots=True)
class Condition:
    """
    Which documents count.

    Args:
        query: For MongoDB; {}: all.
        fields: Those that it names.
        equal, ranged: The paths that an index can find documents by: those with given values, and those between bounds.
    """

    query: Query | None = None
    fields: frozenset[str] = frozenset()
    equal: tuple[str, ...] = ()
    ranged: tuple[str, ...] = ()

    def without(self, path: str) -> Condition:
        """The same, without those documents whose checkbox at *path* is ticked."""
        unmarked: Query = {path: {"$ne": True}}
        return replace(self, query={"$and": [self.query, unmarked]} if self.query else unmarked)


def condition_of(text: str, shape: DocumentShape) -> Condition:
    """
    Return the query for a condition.

    Raises:
        ConfigError: it is no condition about this object, or MongoDB cannot judge it as Salmon does; a sentence that follows on the key.
    """
    checked = condition(text, shape.schema)
    tree = parsed(text)
    translation = _Translation(shape)
    whole = translation.truth(tree)
    finds = list(_Index(shape, translation).parts(tree))
    query: Query = {"$and": [*(each for _, each, _ in finds), {"$expr": whole}]}
    equal = tuple(dict.fromkeys(path for path, _, is_equal in finds if is_equal))
    ranged = tuple(dict.fromkeys(path for path, _, _ in finds if path not in equal))
    return Condition(query, checked.fields, equal, ranged)


class _Translation:
    """Makes expressions of MongoDB's of a tree that was checked."""

    def __init__(self, shape: DocumentShape) -> None:
        self._shape = shape

    def truth(self, node: Node) -> Expr:
        """Whether it is true; null counts as false."""
        return {"$eq": [self.value(node), True]}

    def value(self, node: Node, *, double: bool = False) -> Expr:
        """
        Its value.

        Args:
            double: Whether it stands beside a double: then an exact number is one, too.
        """
        match node:
            case Literal(value=value):
                return {"$literal": number_of(value, node.at, double=double)}
            case Name():
                field = self.field(node)
                if self.link(node) is not None:
                    raise fault_at(
                        node.at,
                        f"has the lookup {field.name} where only a text can be: a lookup goes with ==, !=, in and has()",
                    )
                found = held(self._shape, field)
                return {"$toDouble": found} if double and field.kind is not Kind.DOUBLE else found
            case Call(function="&&" | "||"):
                sign = "$and" if node.function == "&&" else "$or"
                return {sign: [self.truth(each) for each in node.arguments]}
            case Call(function="!"):
                return {"$not": [self.truth(node.arguments[0])]}
            case Call(function="==" | "!="):
                equal = self._equal(*node.arguments)
                return equal if node.function == "==" else {"$not": [equal]}
            case Call(function="<" | "<=" | ">" | ">="):
                return self._ordered(node)
            case Call(function="in"):
                return self._among(node)
            case Call(function="?:"):
                which, yes, no = node.arguments
                parts = [self.value(each, double=double) for each in (yes, no)]
                return {"$cond": [self.truth(which), *parts]}
            case Call():
                return self._function(node, double=double)
            case _:
                raise fault_at(node.at, f"has a list, which a report cannot use here: {_MEND}")

    def field(self, node: Name) -> FieldSchema:
        """A field that MongoDB can judge. Raises ConfigError: it cannot."""
        field = self._shape.schema.by_name[node.name]
        if node.name in self._shape.flow.forms:
            raise fault_at(
                node.at,
                f"names {node.name}, to which `transforms` give another type in documents: {_MEND}",
            )
        return field

    def link(self, node: Node) -> FieldSchema | None:
        """The lookup that a part of an expression is, if it is one whose documents hold an `_id`."""
        if not isinstance(node, Name):
            return None
        field = self._shape.schema.by_name[node.name]
        return field if field.is_polymorphic or field.name in self._shape.links else None

    def target(self, field: FieldSchema, node: Node) -> Any:
        """What a document holds of a key that a lookup is compared with."""
        if not isinstance(node, Literal) or not isinstance(node.value, str | None):
            raise fault_at(
                node.at, f"compares the lookup {field.name} with something else than a key in quotation marks"
            )
        if node.value is None:
            return None
        if field.is_polymorphic:
            raise fault_at(
                node.at,
                f"compares {field.name}, which can point to several objects; only == null and != null are possible",
            )
        try:
            return self._shape.shown(field.name, node.value)
        except (DataError, ValueError, OverflowError):
            raise fault_at(
                node.at, f"compares {field.name} with a text that is the key of no record"
            ) from None

    def double(self, *nodes: Node) -> bool:
        """Whether one of them is a double, so that all are compared as doubles."""
        return DOUBLE in {type_of(each, self._shape.schema) for each in nodes}

    def _equal(self, left: Node, right: Node) -> Expr:
        for one, other in ((left, right), (right, left)):
            if (field := self.link(one)) is not None:
                target = self.target(field, other)
                return {"$eq": [held(self._shape, field), {"$literal": target}]}
        self._refuse_times(left, right)
        double = self.double(left, right)
        return {"$eq": [self.value(left, double=double), self.value(right, double=double)]}

    def _refuse_times(self, *nodes: Node) -> None:
        for each in nodes:
            if type_of(each, self._shape.schema) == TIME:
                raise fault_at(each.at, f"compares a time of day, which documents hold as text: {_MEND}")
            if type_of(each, self._shape.schema) == CHOICES and not _is_null_beside(each, nodes):
                raise fault_at(each.at, 'compares a multi-select picklist: write "..." in the field')

    def _ordered(self, node: Call) -> Expr:
        left, right = node.arguments
        self._refuse_times(left, right)
        double = self.double(left, right)
        first, second = self.value(left, double=double), self.value(right, double=double)
        there = [{"$ne": [each, None]} for each in (first, second)]
        return {"$and": [*there, {_COMPARES[node.function]: [first, second]}]}

    def _among(self, node: Call) -> Expr:
        item, many = node.arguments
        if isinstance(many, Many):
            return {"$or": [self._equal(item, each) for each in many.items]}
        return {"$in": [self.value(item), {"$ifNull": [self.value(many), []]}]}

    def _function(self, node: Call, *, double: bool) -> Expr:
        function, arguments = node.function, node.arguments
        match function:
            case "-x":
                return {"$multiply": [self.value(arguments[0], double=double), -1]}
            case "date" | "timestamp":
                return {"$literal": moment_of(node)}
            case "has":
                link = self.link(arguments[0])
                found = self.value(arguments[0]) if link is None else held(self._shape, link)
                return {"$ne": [found, None]}
            case "coalesce":
                double = double or self.double(*arguments)
                return {"$ifNull": [*(self.value(each, double=double) for each in arguments), None]}
            case "year" | "month" | "day":
                part = "$dayOfMonth" if function == "day" else f"${function}"
                return {part: self.value(arguments[0])}
            case "size" if type_of(arguments[0], self._shape.schema) in {TEXT, NULL}:
                return {"$strLenCP": {"$ifNull": [self.value(arguments[0]), ""]}}
            case "contains" if type_of(arguments[0], self._shape.schema) == CHOICES:
                return {"$in": [self.value(arguments[1]), {"$ifNull": [self.value(arguments[0]), []]}]}
            case "startsWith" | "endsWith" | "contains":
                return self._part(function, *(self.value(each) for each in arguments))
            case _:
                called = f"calls {function}()" if function[0].isalpha() else f"calculates with {function[0]}"
                raise fault_at(node.at, f"{called}, which MongoDB does in another way: {_MEND}")

    def _part(self, function: str, text: Expr, part: Expr) -> Expr:
        at = {"$indexOfCP": [text, part]}
        found: Expr = {"$eq": [at, 0]} if function == "startsWith" else {"$gte": [at, 0]}
        if function == "endsWith":
            length, of_part = {"$strLenCP": text}, {"$strLenCP": part}
            tail = {"$substrCP": [text, {"$max": [0, {"$subtract": [length, of_part]}]}, of_part]}
            found = {"$eq": [tail, part]}
        there = [{"$ne": [each, None]} for each in (text, part)]
        return {"$cond": [{"$and": there}, found, False]}


def _is_null_beside(node: Node, nodes: tuple[Node, ...]) -> bool:
    others = [each for each in nodes if each is not node]
    return all(isinstance(each, Literal) and each.value is None for each in others)


class _Index:
    """
    Finds, in a condition whose parts must all hold, those by which an index can find documents. Each is a query that every document
    fulfils of which the condition is true.
    """

    def __init__(self, shape: DocumentShape, translation: _Translation) -> None:
        self._shape, self._translation = shape, translation

    def parts(self, node: Node) -> Iterator[tuple[str, Query, bool]]:
        """Path, query, and whether it is for given values."""
        match node:
            case Call(function="&&"):
                for each in node.arguments:
                    yield from self.parts(each)
            case Name() if self._translation.field(node).kind is Kind.BOOLEAN:
                path = self._shape.path[node.name]
                yield path, {path: True}, True
            case Call(function="==", arguments=(left, right)):
                yield from self._among(*((left, right) if isinstance(left, Name) else (right, left)))
            case Call(function="in", arguments=(item, Many(items=items))):
                yield from self._among(item, *items)
            case Call(function="<" | "<=" | ">" | ">=", arguments=(left, right)):
                turned = not isinstance(left, Name)
                sign = _TURNED[node.function] if turned else node.function
                yield from self._between(*((right, left) if turned else (left, right)), sign)

    def _among(self, item: Node, *values: Node) -> Iterator[tuple[str, Query, bool]]:
        given = [self._given(item, each) for each in values]
        if not isinstance(item, Name) or not given or None in given:
            return
        path = self._shape.path[item.name]
        if self._kind(item) is Kind.DATE:
            if len(given) == 1:  # with any time of day
                yield path, {path: {"$gte": given[0], **_until(given[0])}}, False
            return
        yield path, {path: {"$in": given}}, True

    def _between(self, item: Node, value: Node, sign: str) -> Iterator[tuple[str, Query, bool]]:
        given = self._given(item, value)
        if not isinstance(item, Name) or given is None:
            return
        path = self._shape.path[item.name]
        if self._kind(item) is Kind.DATE and sign in {"<=", ">"}:
            bound = _until(given) if sign == "<=" else {"$gte": given}
        else:
            bound = {_COMPARES[sign]: given}
        if bound:
            yield path, {path: bound}, False

    def _kind(self, item: Name) -> Kind:
        return self._shape.schema.by_name[item.name].kind

    def _given(self, item: Node, value: Node) -> Any:
        """What a document holds that has this value; None: no single value can be said."""
        if not isinstance(item, Name):
            return None
        if (link := self._translation.link(item)) is not None:
            return self._translation.target(link, value)
        kind = self._kind(item)
        # Of a decimal, a document may hold a double that stands for it.
        if kind in {Kind.DECIMAL, Kind.STRINGS, Kind.TIME}:
            return None
        if isinstance(value, Literal):
            return number_of(value.value, value.at, double=kind is Kind.DOUBLE)
        if (
            isinstance(value, Call)
            and value.function == "-x"
            and isinstance(inner := value.arguments[0], Literal)
        ):
            number = number_of(inner.value, inner.at, double=kind is Kind.DOUBLE)
            return None if isinstance(number, Decimal128) else -number
        return (
            moment_of(value) if isinstance(value, Call) and value.function in {"date", "timestamp"} else None
        )


def _until(day: datetime) -> Query:
    """The end of a day, as a bound; none for the last day of the calendar."""
    return {"$lt": day + _DAY} if day < _LAST_DAY else {}


def number_of(value: Any, at: int, *, double: bool) -> Any:
    """A value that is written in an expression, for MongoDB. *double*: as it stands beside one."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return value
    if double:
        try:
            return float(value)
        except OverflowError:
            raise fault_at(at, "has a number that is beyond all numbers") from None
    if isinstance(value, int) and value <= _INT64_MAX:
        return Int64(value)
    context = create_decimal128_context()
    context.traps[Inexact] = True
    try:
        return Decimal128(context.create_decimal(value))
    except ArithmeticError:
        raise fault_at(at, "has a number of more than 34 digits") from None


def moment_of(node: Call) -> datetime:
    """The time of date("...") or timestamp("...")."""
    (written,) = node.arguments
    assert isinstance(written, Literal)
    is_day = node.function == "date"
    kind = Kind.DATE if is_day else Kind.DATETIME
    value = from_text(FieldSchema(node.function, node.function, kind), str(written.value))
    assert isinstance(value, int)
    try:
        return _EPOCH + (timedelta(days=value) if is_day else timedelta(milliseconds=value))
    except OverflowError:
        raise fault_at(node.at, "has a date beyond the year 9999") from None
