"""
Checks the types of an expression against an object's fields, and makes a function of it.

Empty fields are no error. A field that is empty equals null and nothing else; it is neither less nor greater than anything; it begins
with, ends with and contains nothing; and calculating with it gives null. So a condition is always true or false.

Numbers are compared and calculated exactly, as decimals, unless a field with a double is involved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from salmon.errors import ConfigError, UnknownField
from salmon.model.change import Value
from salmon.model.convert import from_text
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.transforms.functions import DATED, FUNCTIONS, NOT_OFFERED
from salmon.transforms.kinds import (
    ANY,
    CHOICES,
    DATE,
    DOUBLE,
    MOMENT,
    NULL,
    NUMBER,
    NUMBERS,
    OF_FIELD,
    ORDERED,
    TEXT,
    TIME,
    YES_NO,
)
from salmon.transforms.language import Call, Literal, Many, Name, Node, fault_at, parsed
from salmon.transforms.nearest import nearest

Record = Mapping[str, Value]
Evaluate = Callable[[Record], Any]

# Texts that become a value of their type when the expression is read.
_WRITTEN: Final = {"date": (DATE, Kind.DATE), "timestamp": (MOMENT, Kind.DATETIME), "time": (TIME, Kind.TIME)}
_MS_A_DAY: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Typed:
    """A part of an expression that was checked. *constant*: it is a value that was written down."""

    type: str
    evaluate: Evaluate
    constant: bool = False


@dataclass(frozen=True)
class Expression:
    """An expression about an object's records, ready to use."""

    text: str
    type: str
    fields: frozenset[str]  # those that it names
    evaluate: Evaluate

    def holds(self, record: Record) -> bool:
        """Whether the condition is true of the record. Null counts as false."""
        return self.evaluate(record) is True


def condition(text: str, schema: ObjectSchema | None = None) -> Expression:
    """
    Check and prepare a condition.

    Args:
        schema: Of the object. None: it is not known yet; names and types of fields are not checked.

    Raises:
        ConfigError: it is no condition about this object; a sentence that follows on the key.
    """
    found = expression(text, schema)
    if found.type not in {YES_NO, ANY}:
        raise ConfigError(
            f"is {_shown(found.type)}, but must be true or false: compare it with something, e.g. with != null"
        )
    return found


def expression(text: str, schema: ObjectSchema | None = None) -> Expression:
    """Check and prepare an expression of any type. Arguments and errors: see `condition`."""
    reader = _Checker(schema)
    typed = reader.typed(parsed(text))
    return Expression(text, typed.type, frozenset(reader.named), typed.evaluate)


def type_of(node: Node, schema: ObjectSchema) -> str:
    """The type of a part of an expression that was checked."""
    return _Checker(schema).typed(node).type


class _Checker:
    def __init__(self, schema: ObjectSchema | None) -> None:
        self._schema = schema
        self.named: set[str] = set()

    def typed(self, node: Node) -> Typed:
        match node:
            case Literal():
                return _literal(node.value)
            case Name():
                return self._field(node)
            case Many():
                raise fault_at(node.at, "has a list where it cannot be: a list stands only behind `in`")
            case Call(function="&&" | "||" | "!"):
                return self._logical(node)
            case Call(function="==" | "!="):
                return self._equality(node)
            case Call(function="<" | "<=" | ">" | ">="):
                return self._order(node)
            case Call(function="in"):
                return self._membership(node)
            case Call(function="+" | "-" | "*" | "/"):
                return self._calculation(node)
            case Call(function="-x"):
                return self._negative(node)
            case Call(function="?:"):
                return self._choice(node)
            case _:
                return self._function(node)

    def _field(self, node: Name) -> Typed:
        name = node.name
        self.named.add(name)
        kind = ANY
        if self._schema is not None:
            field = self._schema.by_name.get(name)
            if field is None:
                raise fault_at(
                    node.at,
                    f"names {name}, but {self._schema.name} has no field {name} that is synced"
                    f"{nearest(name, self._schema.by_name)}. Correct the name, or sync the field",
                    UnknownField,
                )
            kind = OF_FIELD[field.kind]
        return Typed(kind, lambda record: record.get(name))

    def _logical(self, node: Call) -> Typed:
        parts = [self._yes_no(each, node.function) for each in node.arguments]
        if node.function == "!":
            (only,) = parts
            return Typed(YES_NO, lambda record: only(record) is not True)
        left, right = parts
        if node.function == "&&":
            return Typed(YES_NO, lambda record: left(record) is True and right(record) is True)
        return Typed(YES_NO, lambda record: left(record) is True or right(record) is True)

    def _yes_no(self, node: Node, sign: str) -> Evaluate:
        typed = self.typed(node)
        if typed.type not in {YES_NO, ANY}:
            raise fault_at(node.at, f"has {_shown(typed.type)} beside {sign}, which needs true or false")
        return typed.evaluate

    def _pair(self, node: Call) -> tuple[str, Evaluate, Evaluate]:
        """Both sides of a comparison or calculation, made comparable, and their common type."""
        left, right = (self.typed(each) for each in node.arguments)
        types = {left.type, right.type} - {ANY, NULL}
        if types == {NUMBER, DOUBLE}:
            return DOUBLE, _as_double(left), _as_double(right)
        if len(types) > 1:
            raise fault_at(
                node.at,
                f"has {_shown(left.type)} {node.function} {_shown(right.type)}{_mend(left.type, right.type)}",
            )
        if not types and ANY in {left.type, right.type}:
            return ANY, left.evaluate, right.evaluate
        return (types.pop() if types else NULL), left.evaluate, right.evaluate

    def _equality(self, node: Call) -> Typed:
        _, left, right = self._pair(node)
        if node.function == "==":
            return Typed(YES_NO, lambda record: left(record) == right(record))
        return Typed(YES_NO, lambda record: left(record) != right(record))

    def _order(self, node: Call) -> Typed:
        kind, left, right = self._pair(node)
        if kind not in ORDERED | {ANY}:
            raise fault_at(
                node.at, f"compares {_shown(kind)} by {node.function}, but it has no order: use == or !="
            )
        compare = _COMPARISONS[node.function]

        def ordered(record: Record) -> bool:
            first, second = left(record), right(record)
            return first is not None and second is not None and compare(first, second)

        return Typed(YES_NO, ordered)

    def _membership(self, node: Call) -> Typed:
        item, many = node.arguments
        if not isinstance(many, Many):
            value, choices = self.typed(item), self.typed(many)
            if choices.type not in {CHOICES, ANY} or value.type not in {TEXT, ANY}:
                raise fault_at(
                    node.at, 'needs a list behind in: Type in ["a", "b"], or "a" in a multi-select picklist'
                )
            return Typed(YES_NO, lambda record: value.evaluate(record) in (choices.evaluate(record) or ()))
        tests = [self._equality(Call("==", (item, each), each.at)).evaluate for each in many.items]
        return Typed(YES_NO, lambda record: any(test(record) for test in tests))

    def _calculation(self, node: Call) -> Typed:
        kind, left, right = self._pair(node)
        if kind == TEXT and node.function == "+":
            return Typed(TEXT, _of_both(left, right, lambda first, second: first + second))
        if kind not in NUMBERS | {ANY}:
            raise fault_at(
                node.at,
                f"calculates {_shown(kind)} {node.function} {_shown(kind)}: only numbers can be calculated with, and texts"
                f" put together by +",
            )
        calculate = _CALCULATIONS[node.function]
        return Typed(kind, _of_both(left, right, lambda first, second: _number(calculate, first, second)))

    def _negative(self, node: Call) -> Typed:
        typed = self.typed(node.arguments[0])
        if typed.type not in NUMBERS | {ANY}:
            raise fault_at(node.at, f"has - in front of {_shown(typed.type)}: it must be a number")
        inner = typed.evaluate

        def negative(record: Record) -> Any:
            value = inner(record)
            return None if value is None else -value

        return Typed(typed.type, negative, constant=typed.constant)

    def _choice(self, node: Call) -> Typed:
        which = self._yes_no(node.arguments[0], "?")
        kind, yes, no = self._pair(Call(":", node.arguments[1:], node.at))
        return Typed(kind, lambda record: yes(record) if which(record) is True else no(record))

    def _function(self, node: Call) -> Typed:
        name = node.function
        if name in _WRITTEN:
            return _written(node)
        if name in NOT_OFFERED:
            raise fault_at(node.at, f"calls {name}(), which is not offered: {NOT_OFFERED[name]}")
        function = FUNCTIONS.get(name)
        if function is None:
            every = [*FUNCTIONS, *_WRITTEN]
            raise fault_at(
                node.at,
                f"calls {name}(), which is not known{nearest(name, every)}. Known: {', '.join(every)}",
            )
        typed = [self.typed(each) for each in node.arguments]
        if not function.fits([each.type for each in typed]):
            raise fault_at(node.at, f"calls {name}() in another way than {function.example}")
        types = {each.type for each in typed}
        common = (
            DOUBLE if types >= NUMBERS else next(iter(types - {ANY, NULL}), ANY if ANY in types else NULL)
        )
        inner = [
            _prepared(each, DOUBLE in types, MOMENT in types and DATED in function.takes) for each in typed
        ]
        call, of_null, takes_null = function.call, function.of_null, function.takes_null

        def called(record: Record) -> Any:
            values = [each(record) for each in inner]
            if None in values and not takes_null:
                return of_null
            try:
                return call(*values)
            except ArithmeticError:  # a day that no calendar has
                return of_null

        return Typed(function.returns or common, called)


def _prepared(typed: Typed, as_double: bool, as_day: bool) -> Evaluate:
    inner = typed.evaluate
    if as_double:
        return _as_double(typed)
    if not as_day:
        return inner

    def day(record: Record) -> int | None:
        moment = inner(record)
        return None if moment is None else moment // _MS_A_DAY

    return day


def _literal(value: Any) -> Typed:
    kinds = {str: TEXT, bool: YES_NO, int: NUMBER, Decimal: NUMBER, type(None): NULL}
    return Typed(kinds[type(value)], lambda _: value, constant=True)


def _written(node: Call) -> Typed:
    """A date or time that is written as text, e.g. date("2026-11-29")."""
    kind, of_field = _WRITTEN[node.function]
    example = {
        DATE: 'date("2026-11-29")',
        MOMENT: 'timestamp("2026-11-29T13:05:00Z")',
        TIME: 'time("13:05:00")',
    }
    argument = node.arguments[0] if len(node.arguments) == 1 else None
    if not isinstance(argument, Literal) or not isinstance(argument.value, str):
        raise fault_at(node.at, f"calls {node.function}() in another way than {example[kind]}")
    try:
        value = from_text(FieldSchema(node.function, node.function, of_field), argument.value)
    except Exception as error:
        raise fault_at(
            node.at, f"calls {node.function}() with another text than in {example[kind]}"
        ) from error
    return Typed(kind, lambda _: value, constant=True)


def _as_double(typed: Typed) -> Evaluate:
    inner = typed.evaluate
    if typed.type != NUMBER:
        return inner

    def double(record: Record) -> float | None:
        value = inner(record)
        return None if value is None else float(value)

    return double


def _of_both(left: Evaluate, right: Evaluate, call: Callable[[Any, Any], Any]) -> Evaluate:
    def both(record: Record) -> Any:
        first, second = left(record), right(record)
        return None if first is None or second is None else call(first, second)

    return both


def _number(calculate: Callable[[Any, Any], Any], first: Any, second: Any) -> Any:
    """Calculate; null for what is no number: division by nothing, and what has left the range of its type."""
    if not isinstance(first, float) and not isinstance(second, float):
        first, second = Decimal(first), Decimal(second)
    try:
        result = calculate(first, second)
    except ArithmeticError:
        return None
    return result if result - result == 0 else None


_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "<": lambda first, second: first < second,
    "<=": lambda first, second: first <= second,
    ">": lambda first, second: first > second,
    ">=": lambda first, second: first >= second,
}
_CALCULATIONS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "+": lambda first, second: first + second,
    "-": lambda first, second: first - second,
    "*": lambda first, second: first * second,
    "/": lambda first, second: first / second,
}


def _shown(kind: str) -> str:
    return "a number" if kind == DOUBLE else kind


def _mend(left: str, right: str) -> str:
    """What to write instead, for what people get wrong most."""
    both = {left, right}
    if TEXT in both:
        for function, (kind, _) in _WRITTEN.items():
            if kind in both:
                return f': write {function}("...") around the text'
        if both & NUMBERS:
            return ": write the number without quotation marks"
        if CHOICES in both:
            return ': write "..." in the field'
        if YES_NO in both:
            return ": write true or false without quotation marks"
    if both == {DATE, MOMENT}:
        return ": a date has no time of day; compare the other one with timestamp(...)"
    return ": they cannot be compared or put together"
