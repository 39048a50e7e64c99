"""The date words of SOQL ("Date Formats and Date Literals"): TODAY, LAST_N_DAYS:3, THIS_FISCAL_QUARTER and their like."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from salmon.simulator.org.clock import datetime_text
from salmon.simulator.org.objects.object_types import Field

_WORD = re.compile(
    r"(?P<day>TODAY|YESTERDAY|TOMORROW)"
    r"|(?P<ninety>LAST_90_DAYS|NEXT_90_DAYS)"
    r"|(?P<which>LAST|THIS|NEXT)_(?:FISCAL_)?(?P<unit>WEEK|MONTH|QUARTER|YEAR)"
    r"|(?P<way>LAST|NEXT)_N_(?:FISCAL_)?(?P<units>DAYS|WEEKS|MONTHS|QUARTERS|YEARS):(?P<count>\d{1,4})"
    r"|N_(?:FISCAL_)?(?P<ago>DAYS|WEEKS|MONTHS|QUARTERS|YEARS)_AGO:(?P<back>\d{1,4})"
)
_FISCAL = re.compile(r"FISCAL_(?!QUARTER|YEAR)")
_MONTHS = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}


def date_span(field: Field, word: str, now_ms: int) -> tuple[str, str] | None:
    """The time that a date word stands for, as (first, first after) in the form of *field*; None for another word."""
    found = _WORD.fullmatch(word)
    if found is None or _FISCAL.search(word) or field.type not in {"date", "datetime"}:
        return None
    today = datetime.fromtimestamp(now_ms // 1000, UTC).replace(hour=0, minute=0, second=0)
    try:
        start, end = _span(found, today)
        return _text(field, start), _text(field, end)
    except (OverflowError, ValueError):  # thousands of years from here
        return None


def _span(found: re.Match[str], today: datetime) -> tuple[datetime, datetime]:
    part = found.groupdict()
    if part["day"]:
        start = today + timedelta(days={"YESTERDAY": -1, "TOMORROW": 1}.get(part["day"], 0))
        return start, start + timedelta(days=1)
    if part["ninety"]:
        return _days("LAST" if found[0].startswith("LAST") else "NEXT", 90, today)
    if part["which"]:
        shift = _shifter(part["unit"], today)
        place = {"LAST": -1, "THIS": 0, "NEXT": 1}[part["which"]]
        return shift(place), shift(place + 1)
    if part["way"]:
        count = int(part["count"])
        if part["units"] == "DAYS":
            return _days(part["way"], count, today)
        shift = _shifter(part["units"][:-1], today)
        # Whole weeks, months and so on, without the present one.
        return (shift(-count), shift(0)) if part["way"] == "LAST" else (shift(1), shift(1 + count))
    back = int(part["back"])
    if part["ago"] == "DAYS":
        start = today - timedelta(days=back)
        return start, start + timedelta(days=1)
    shift = _shifter(part["ago"][:-1], today)
    return shift(-back), shift(1 - back)


def _days(way: str, count: int, today: datetime) -> tuple[datetime, datetime]:
    if way == "LAST":  # and today
        return today - timedelta(days=count), today + timedelta(days=1)
    return today + timedelta(days=1), today + timedelta(days=1 + count)


def _shifter(unit: str, today: datetime) -> Callable[[int], datetime]:
    """The beginning of the week, month, quarter or year that is so many after the present one."""
    if unit == "WEEK":  # It begins on Sunday, as in the locale en_US.
        sunday = today - timedelta(days=today.isoweekday() % 7)
        return lambda count: sunday + timedelta(weeks=count)
    months = _MONTHS[unit]
    first = (today.year * 12 + today.month - 1) // months * months

    def shift(count: int) -> datetime:
        year, month = divmod(first + count * months, 12)
        return today.replace(year=year, month=month + 1, day=1)

    return shift


def _text(field: Field, moment: datetime) -> str:
    if field.type == "date":
        return moment.date().isoformat()
    return datetime_text(round(moment.timestamp() * 1000))
