"""
Durations as people write them: a whole number with a unit.
"""

from __future__ import annotations

import re
from typing import Final

_UNITS_S: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds_of(text: str) -> float | None:
    """How many seconds *text* is, e.g. 30m; None if it is no duration."""
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    return None if found is None else int(found[1]) * _UNITS_S[found[2]]


def checked(text: str, *, least_s: float, most_s: float | None = None) -> str:
    """Return *text*, if it is a duration within the bounds. Raises ValueError."""
    seconds = seconds_of(text)
    if seconds is None or seconds < least_s or (most_s is not None and seconds > most_s):
        bounds = f"at least {least_s:.0f}s" + (
            "" if most_s is None else f" and at most {most_s / 86400:.0f}d"
        )
        raise ValueError(
            f"is text (str), but must be a whole number followed by s, m, h or d, e.g. 24h or 30m, and {bounds}"
        )
    return text
