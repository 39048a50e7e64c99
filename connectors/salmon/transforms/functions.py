"""The functions of the expression language: what they take and return. All are pure, and as quick as their texts are short."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from salmon.transforms.kinds import ANY, CHOICES, DATE, EVERY, MOMENT, NULL, NUMBER, NUMBERS, TEXT, YES_NO

_EPOCH_DAY: Final = date(1970, 1, 1)
_TEXT: Final = frozenset({TEXT})
# What takes these is called with days since 1970, also for a moment.
DATED: Final = frozenset({DATE, MOMENT})


@dataclass(frozen=True, slots=True)
class Function:
    """
    Args:
        takes: The types that each argument may have.
        returns: The type of the result; None: that of the arguments, of which there may be any number, of one type.
        of_null: The result if an argument is null. Unless *takes_null*: then it is called nevertheless.
    """

    example: str
    takes: tuple[frozenset[str], ...]
    returns: str | None
    call: Callable[..., Any]
    of_null: Any = None
    takes_null: bool = False

    def fits(self, types: Sequence[str]) -> bool:
        """Whether it can be called with arguments of these types."""
        if self.returns is None:
            named = set(types) - {ANY, NULL}
            return len(types) > 0 and (len(named) < 2 or named <= NUMBERS)
        return len(types) == len(self.takes) and all(
            kind in {ANY, NULL} or kind in wanted for kind, wanted in zip(types, self.takes, strict=True)
        )


def _test(example: str, call: Callable[[Any, str], bool], first: frozenset[str] = _TEXT) -> Function:
    return Function(example, (first, _TEXT), YES_NO, call, of_null=False)


def _of_text(example: str, call: Callable[[str], str | None]) -> Function:
    return Function(example, (_TEXT,), TEXT, call)


def _of_day(part: str) -> Function:
    """A function of a day, as the number of days since 1970."""
    return Function(
        f"{part}(CloseDate)",
        (DATED,),
        NUMBER,
        lambda days: getattr(_EPOCH_DAY + timedelta(days=days), part),
    )


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


FUNCTIONS: Final[Mapping[str, Function]] = {
    "startsWith": _test('Name.startsWith("A")', lambda text, part: text.startswith(part)),
    "endsWith": _test('Email.endsWith("@acme.example")', lambda text, part: text.endswith(part)),
    "contains": _test('Name.contains("Inc")', lambda text, part: part in text, frozenset({TEXT, CHOICES})),
    "lower": _of_text("Email.lower()", lambda text: text.lower()),
    "upper": _of_text("Country.upper()", lambda text: text.upper()),
    "trim": _of_text("Name.trim()", lambda text: text.strip() or None),
    "size": Function("Name.size()", (frozenset({TEXT, CHOICES}),), NUMBER, len, of_null=0),
    "year": _of_day("year"),
    "month": _of_day("month"),
    "day": _of_day("day"),
    "has": Function("has(Email)", (EVERY,), YES_NO, lambda value: value is not None, takes_null=True),
    "coalesce": Function("coalesce(MobilePhone, Phone)", (), None, _first, takes_null=True),
}

_CLOCK: Final = (
    "the same record must always give the same result, whatever the time is; compare with timestamp(...)"
)
_PATTERNS: Final = "one pattern can take minutes; use startsWith, endsWith, contains or in [...]"
# What people may expect here -> why it is not here, and what to do.
NOT_OFFERED: Final[Mapping[str, str]] = {
    **dict.fromkeys(("now", "today", "TODAY", "NOW"), _CLOCK),
    **dict.fromkeys(("matches", "regex", "like"), _PATTERNS),
    **dict.fromkeys(("exists", "all", "map", "filter"), "there are no loops; use in or contains"),
}
