"""
The CSV of a bulk query's results, value by value, as REST shows the same record in JSON. Pure.

In the CSV, nulls are empty (an org has no empty text), and doubles are written as Java does, with the digits of a double:
1.25E7. That is the same number as long as a decimal has no more than 15 digits. A longer one may look short: the double
nearest to 999,999,999,999,999.99 is 1.0E15. So a number is doubtful if so large a number of its field may have more digits.
The parts of a location are doubles in the org, too: of these, only the digits that are shown count.
Sources: Bulk API 2.0 Developer Guide, "Get Results for a Query Job"; the Java API, "Double.toString"; SOAP API Developer Guide,
"Compound Fields" (a location's latitude and longitude are doubles).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from salmon.model.schema import Kind, ObjectSchema

# Any decimal of so many digits is the only one of so many that its double stands for.
_SURE_DIGITS: Final = 15
_BOOLEANS: Final = {"true": True, "false": False}
_NUMBERS: Final = frozenset({Kind.INT, Kind.LONG, Kind.DOUBLE, Kind.DECIMAL})


class OtherColumns(Exception):
    """The results have other columns than the query of today selects: the object's fields have changed since."""


class ValuesOfCsv:
    """
    Reads the rows of one object.

    Args:
        schema: For the types of the fields.
        columns: What the query selects; a parent's field by its path (Account.Salmon_Id__c).
        header: The first row of the results.

    Raises:
        OtherColumns: they do not match.
    """

    def __init__(self, schema: ObjectSchema, columns: Sequence[str], header: Sequence[str]) -> None:
        known = {column.lower(): column for column in columns}
        if sorted(name.lower() for name in header) != sorted(known):
            raise OtherColumns
        self._names = [known[name.lower()].split(".") for name in header]
        kinds = {field.name: field.kind for field in schema.fields} | {schema.markers.seq: Kind.DECIMAL}
        self._shows = [_shower(kinds.get(".".join(names))) for names in self._names]
        by_name = schema.by_name
        # Of a double, REST has no more digits than the CSV. From where on another decimal of the field has the same double:
        self._unsure_from = {
            index: Decimal(10**_SURE_DIGITS).scaleb(-field.scale)
            if (field := by_name.get(".".join(names))) is not None and field.compound is None
            else Decimal(10**_SURE_DIGITS)
            for index, names in enumerate(self._names)
            if kinds.get(".".join(names)) is Kind.DECIMAL
        }
        self._id = self._names.index(["Id"])

    def native_id(self, row: Sequence[str]) -> str:
        """The record's Id."""
        return row[self._id]

    def shown(self, row: Sequence[str]) -> tuple[dict[str, Any], bool]:
        """The record, and whether one of its numbers may have more digits than are shown."""
        record: dict[str, Any] = {}
        for names, show, text in zip(self._names, self._shows, row, strict=True):
            value = show(text) if text else None
            if len(names) == 1:
                record[names[0]] = value
            else:  # a parent that is not there is null as a whole
                record[names[0]] = None if value is None else {names[1]: value}
        doubtful = any(
            row[index] and _may_have_more_digits(record[self._names[index][0]], unsure_from)
            for index, unsure_from in self._unsure_from.items()
        )
        return record, doubtful


def _shower(kind: Kind | None) -> Callable[[str], Any]:
    if kind in _NUMBERS:
        return _number
    if kind is Kind.BOOLEAN:
        return lambda text: _BOOLEANS.get(text, text)
    return lambda text: text


def _number(text: str) -> Decimal | str:
    """What is no number stays as it is: the conversion of the field says so, as of REST's."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return text


def _may_have_more_digits(number: Any, unsure_from: Decimal) -> bool:
    return isinstance(number, Decimal) and (
        abs(number) >= unsure_from or len(number.normalize().as_tuple().digits) > _SURE_DIGITS
    )
