"""The date functions of SOQL, on dates and datetimes as rows hold them; the user's time zone is GMT."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

# Of a time of day: a date has none.
OF_TIME = frozenset({"HOUR_IN_DAY"})


def _day(text: str) -> date:
    return date.fromisoformat(text[:10])


def _week_in_year(text: str) -> int:
    """ "Date Functions": the first week is from January 1 to January 7."""
    return (_day(text).timetuple().tm_yday - 1) // 7 + 1


# The fiscal year is the calendar year: the organization's starts in its first month.
DATE_FUNCTIONS: dict[str, Callable[[str], int | str]] = {
    "CALENDAR_MONTH": lambda text: _day(text).month,
    "CALENDAR_QUARTER": lambda text: (_day(text).month + 2) // 3,
    "CALENDAR_YEAR": lambda text: _day(text).year,
    "DAY_IN_MONTH": lambda text: _day(text).day,
    "DAY_IN_WEEK": lambda text: _day(text).isoweekday() % 7 + 1,  # 1 is Sunday
    "DAY_IN_YEAR": lambda text: _day(text).timetuple().tm_yday,
    "DAY_ONLY": lambda text: text[:10],
    "FISCAL_MONTH": lambda text: _day(text).month,
    "FISCAL_QUARTER": lambda text: (_day(text).month + 2) // 3,
    "FISCAL_YEAR": lambda text: _day(text).year,
    "HOUR_IN_DAY": lambda text: int(text[11:13]),
    "WEEK_IN_MONTH": lambda text: (_day(text).day - 1) // 7 + 1,
    "WEEK_IN_YEAR": _week_in_year,
}
