"""Values and times as people read and type them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from salmon.model.change import ERROR, PLACE, SALESFORCE_ID, Value
from salmon.model.convert import to_rest
from salmon.model.policies import EXISTENCE
from salmon.model.schema import FieldSchema

_AGO: Final = re.compile(r"(\d+)\s*([smhd])")
_UNIT_S: Final[Mapping[str, int]] = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIELDS: Final[Mapping[str, str]] = {
    SALESFORCE_ID: "its Salesforce Id",
    ERROR: "its error message",
    PLACE: "its collection",
    EXISTENCE: "its existence",
}
_SIDES: Final[Mapping[str, str]] = {
    "salesforce": "Salesforce",
    "mongodb": "MongoDB",
    "operator": "an operator",
}


# In place of a value that the reader may not see.
MASKED: Final = "(masked)"


def shown(value: Value, field: FieldSchema | None) -> Any:
    """Return a value for JSON, as Salesforce's API shows it: dates and times as text. If its field is not known, as it is."""
    if field is not None:
        return to_rest(field, value)
    if isinstance(value, Decimal):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def quoted(value: Value, field: FieldSchema | None) -> str:
    """Return a value as text for a sentence."""
    if value is None:
        return "nothing"
    text = shown(value, field)
    return (
        f"'{text}'" if isinstance(text, str) else str(text).lower() if isinstance(text, bool) else str(text)
    )


def when(ms: int) -> str:
    """Return a time as text, in UTC."""
    moment = _EPOCH + timedelta(milliseconds=ms)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03}Z"


def moment_ms(text: str, now_ms: int) -> int:
    """
    Convert a time that a person types to ms since 1970: 2026-11-25, 2026-11-25T13:05 (UTC, unless it has an offset), or how
    long ago: 90s, 30m, 2h, 7d.

    Raises:
        ValueError: it is not a time.
    """
    if (ago := _AGO.fullmatch(text.strip())) is not None:
        return now_ms - int(ago[1]) * _UNIT_S[ago[2]] * 1000
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def side_named(side: str) -> str:
    """Return the name of a side for people."""
    return _SIDES.get(side, side)


def called(field: str) -> str:
    """Return the name of a field for people."""
    return _FIELDS.get(field, field)


# Before what a side itself said of a refusal.
WORDS: Final = "Its own words: "


def without_words(text: str) -> str:
    """Return why something was refused without the side's own words, which may quote a value that is masked."""
    before, words, _ = text.partition(WORDS)
    return f"{before}{words}{MASKED}" if words else text


def because(code: str, reason: str) -> str:
    """Return why something was refused or waits, for use within a sentence: "CODE (reason)", or what there is of it."""
    reason = reason.rstrip(".")
    return f"{code} ({reason})" if code and reason else code or reason


def span(ms: int) -> str:
    """Return a duration as text."""
    if ms < 1000:
        return f"{ms} ms"
    seconds = ms / 1000
    for unit, name in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.1f} s"
