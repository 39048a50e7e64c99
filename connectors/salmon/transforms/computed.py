"""
Computed fields: properties of a document whose values are made from the record's own fields (`fields.computed`).

Their types follow from their expressions. A value that its type cannot hold (a text longer than Salesforce's longest, a number out
of range) is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from salmon.errors import ConfigError
from salmon.model.change import Value
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.model.views import Compute
from salmon.plugin.failures import FAILURES
from salmon.transforms.expressions import Expression, Record, expression
from salmon.transforms.kinds import ANY, CHOICES, DATE, DOUBLE, MOMENT, NULL, NUMBER, TEXT, TIME, YES_NO

CHARS_MAX: Final = 131_072  # Salesforce Field Types: the longest long text area
# Of an exact number: what Avro stores. Decimal128 and Python's decimals keep no fewer digits.
DIGITS: Final = 28
PLACES: Final = 8

_MEND: Final = "change the expression, and report this as a fault of Salmon; until then the field is left out"

_KINDS: Final = {
    TEXT: (Kind.STRING, "string"),
    YES_NO: (Kind.BOOLEAN, "boolean"),
    NUMBER: (Kind.DECIMAL, "double"),
    DOUBLE: (Kind.DOUBLE, "double"),
    DATE: (Kind.DATE, "date"),
    MOMENT: (Kind.DATETIME, "datetime"),
    TIME: (Kind.TIME, "time"),
    CHOICES: (Kind.STRINGS, "multipicklist"),
}


@dataclass(frozen=True, slots=True)
class Computed:
    """
    A field that Salesforce does not have.

    Args:
        text: The expression of its values.
        decimal: Whether its object's numbers are decimals, with all their digits, instead of doubles.
    """

    name: str
    text: str
    decimal: bool = False

    def bound(self, schema: ObjectSchema) -> tuple[FieldSchema, Compute]:
        """
        Describe it as a field of its object, and say how its values are made.

        Args:
            schema: As the org has the object, or as the sync has registered it.

        Raises:
            ConfigError: the expression does not fit the object, or the object has such a field; a sentence that follows on the key.
        """
        # Salesforce takes no notice of capital letters in names.
        own = {name.casefold(): name for name in schema.of_org.by_name}
        if (same := own.get(self.name.casefold())) is not None:
            called = "" if same == self.name else f", called {same} there"
            raise ConfigError(
                f"is a field of {schema.name}{called}, so its value comes from there. Choose another name"
            )
        made = self.checked(schema.of_org)
        kind, type_ = _KINDS[made.type]
        if kind is Kind.DECIMAL and not self.decimal:
            kind = Kind.DOUBLE
        precision, scale = (DIGITS, PLACES) if kind is Kind.DECIMAL else (0, 0)
        field = FieldSchema(
            self.name,
            type_,
            kind,
            label=self.name,
            create=False,
            update=False,
            live=False,
            precision=precision,
            scale=scale,
            computed=True,
        )
        known = schema.by_name.get(self.name)
        if known is not None and known.kind is not kind:
            raise ConfigError(
                f"gives {made.type} now ({kind.value}), but its values have been {known.kind.value} in this sync: choose another name"
            )
        return field, _compute(made, kind, f"objects.{schema.name}.fields.computed.{self.name}")

    def checked(self, schema: ObjectSchema | None = None) -> Expression:
        """Check and prepare the expression. *schema*: None: not known yet. Raises ConfigError."""
        made = expression(self.text, schema)
        if made.type == NULL or (not made.fields and made.evaluate({}) is None):
            raise ConfigError("is always null: name a field, or write a value")
        if made.type == ANY and schema is not None:
            raise ConfigError("has no type: name a field, or write a value")
        return made


def _compute(made: Expression, kind: Kind, key: str) -> Compute:
    """*key*: where it is configured, to report a failure."""
    evaluate, fitted = made.evaluate, _FITTED.get(kind, _as_it_is)

    def compute(record: Record) -> Value:
        try:
            value = evaluate(record)
            return None if value is None else fitted(value)
        except ArithmeticError:
            # What has left the range of its type is null, as in any expression.
            return None
        except Exception as error:  # noqa: BLE001 - a fault of ours must not keep the record; nor must it be silent
            FAILURES.count(key, type(error).__name__, mend=_MEND)
            return None

    return compute


def _as_it_is(value: Any) -> Value:
    made: Value = value
    return made


def _text(value: Any) -> Value:
    # A document cannot tell empty text from none.
    return value if value and len(value) <= CHARS_MAX else None


def _double(value: Any) -> Value:
    number = float(value)
    return number if number - number == 0 else None


def _decimal(value: Any) -> Value:
    try:
        return Decimal(value).quantize(Decimal(1).scaleb(-PLACES))
    except ArithmeticError:
        return None


_FITTED: Final[dict[Kind, Callable[[Any], Value]]] = {
    Kind.STRING: _text,
    Kind.DOUBLE: _double,
    Kind.DECIMAL: _decimal,
}
