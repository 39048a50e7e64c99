"""
Transforms and predicates of installed packages, as they are configured. What they promise (salmon.plugin.transforms) is checked here,
value by value, so that a fault in a package cannot make an edit that nobody made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, TypeVar

from salmon.errors import ConfigError, SchemaMismatch
from salmon.model.change import SALESFORCE, Value
from salmon.model.convert import from_document, from_json, to_document, to_json
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.plugin.failures import FAILURES
from salmon.plugin.transforms import Convert, PredicatePlugin, TransformPlugin
from salmon.transforms.expressions import Expression, Record
from salmon.transforms.forms import BSON_TYPES, Form
from salmon.transforms.kinds import YES_NO
from salmon.transforms.masks import Masked

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plugged:
    """
    A transform of a package.

    Args:
        fingerprint: Differs if the package or its settings may give other values.
    """

    name: str
    plugin: TransformPlugin[Any]
    settings: Any
    fingerprint: str
    fields: tuple[str, ...]

    @property
    def is_one_way(self) -> bool:
        return self.plugin.reads is None

    def mask(self, of: FieldSchema, side: str) -> Masked:
        """Return what a side gets of a field, one-way. Raises ConfigError: a sentence that follows on the key."""
        self._require_own_value(of)
        if side == SALESFORCE and not of.settable:
            raise ConfigError(
                f"is for {of.name}, which Salesforce does not let anybody set: remove it there, or choose another side"
            )
        show = self._made(self.plugin.shows, of)

        def mask(value: Value) -> Value:
            made = _called(self.name, show, value)
            try:
                return _fitting(of, made)
            except (SchemaMismatch, ValueError, ArithmeticError):
                FAILURES.count(self.name, f"gave a {type(made).__name__} for a {of.type}")
                raise

        return lambda value: None if value is None else mask(value)

    def form(self, of: FieldSchema) -> Form:
        """Return how documents hold a field, both ways. Raises ConfigError: a sentence that follows on the key."""
        self._require_own_value(of)
        assert self.plugin.reads is not None
        show, read = self._made(self.plugin.shows, of), self._made(self.plugin.reads, of)
        held = replace(of, kind=self.plugin.kind or of.kind)

        def back(shown: Value) -> Value:
            return _fitting(of, _called(self.name, read, shown, may_refuse=True))

        def shown(value: Value) -> Any:
            made = _fitting(held, _called(self.name, show, value))
            if made is None or back(made) != value:
                raise ValueError
            if held.kind is of.kind and made != value and _is_mistaken(back, value):
                raise ValueError
            return to_document(held, made)

        return Form(
            BSON_TYPES[held.kind],
            shown,
            lambda found: back(from_document(held, found)),
            long=held.kind is Kind.LONG,
            expected=f"{held.kind.value} as {self.name} makes it",
        )

    def _made(self, maker: Callable[[Any, FieldSchema], Convert], of: FieldSchema) -> Convert:
        return _made(self.name, of.name, lambda: maker(self.settings, of))

    def _require_own_value(self, of: FieldSchema) -> None:
        if of.reference_to:
            raise ConfigError(
                f"is for {of.name}, which refers to another record: changed, it would refer to none. Remove it from `fields`"
            )


@dataclass(frozen=True, slots=True)
class PluggedPredicate:
    """A predicate of a package. Arguments: see Plugged."""

    name: str
    plugin: PredicatePlugin[Any]
    settings: Any
    fingerprint: str

    def condition(self, schema: ObjectSchema) -> Expression:
        """Return it as a condition about this object. Raises ConfigError: a sentence that follows on the key."""
        holds = _made(self.name, schema.name, lambda: self.plugin.holds(self.settings, schema))

        def evaluate(record: Record) -> bool:
            found = _called(self.name, holds, MappingProxyType(record))
            if not isinstance(found, bool):
                FAILURES.count(self.name, f"gave a {type(found).__name__} for true or false")
                raise SchemaMismatch(
                    f"{self.name} has answered with a {type(found).__name__}, but must say true or false. Correct the plugin."
                )
            return found

        return Expression(self.name, YES_NO, frozenset(), evaluate)


def _made(name: str, of: str, make: Callable[[], T]) -> T:
    """Let a package make its function, once. Raises ConfigError."""
    try:
        made = make()
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"is {name}, which has failed for {of} ({type(error).__name__}): correct the plugin, or remove it"
        ) from error
    if not callable(made):
        raise ConfigError(
            f"is {name}, which has made a {type(made).__name__} for {of}, but must make a function: correct the plugin"
        )
    return made


def _called(name: str, function: Callable[[Any], T], given: Any, *, may_refuse: bool = False) -> T:
    """
    Call a package's function.

    Raises:
        SchemaMismatch: it has failed; without what it said, which may quote the value.
        ValueError: it has refused what it was given, which it *may*.
    """
    try:
        return function(given)
    except ValueError as error:
        if may_refuse:
            raise ValueError from None
        raise _failed(name, error) from None
    except Exception as error:  # noqa: BLE001 - a fault in a package concerns one value, and does not stop a process
        raise _failed(name, error) from None


def _failed(name: str, error: Exception) -> SchemaMismatch:
    FAILURES.count(name, type(error).__name__)
    return SchemaMismatch(f"{name} has failed ({type(error).__name__}). Correct the plugin.")


def _fitting(of: FieldSchema, value: Value) -> Value:
    """The value as a field of this kind has it. Raises SchemaMismatch, ValueError: it is not of the kind, or is not Unicode."""
    if isinstance(value, str):
        value.encode()
    fitting: Value = from_json(of, to_json(of, value))
    return fitting


def _is_mistaken(back: Convert, value: Value) -> bool:
    """Whether a document from before the transform, which holds the value as it is, would be read as another value."""
    try:
        return back(value) != value
    except (SchemaMismatch, ValueError, ArithmeticError):
        return False
