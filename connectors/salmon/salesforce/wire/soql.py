"""
SOQL: the few queries we ask, as text. Pure.

Source: SOQL and SOSL Reference, "SELECT", "Quoted String Escape Sequences", "Date Formats and Date Literals".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime


def select(
    fields: Iterable[str],
    name: str,
    *,
    where: Sequence[str] = (),
    limit: int | None = None,
    backwards: bool = False,
) -> str:
    """SELECT fields FROM name, of the records for which all of *where* hold. With *limit*: the first by Id, or the last if *backwards*."""
    conditions = f" WHERE {' AND '.join(where)}" if where else ""
    order = " DESC" if backwards else ""
    some = f" ORDER BY Id{order} LIMIT {limit}" if limit is not None else ""
    return f"SELECT {','.join(fields)} FROM {name}{conditions}{some}"


def after(native_id: str) -> list[str]:
    """The condition of keyset paging: the records after that Id; none for the first page."""
    return [f"Id > {quoted(native_id)}"] if native_id else []


def between(after_id: str, to: str) -> list[str]:
    """The conditions of a range of Ids: above the one, and up to the other; "" is no end."""
    return [*after(after_id), *([f"Id <= {quoted(to)}"] if to else [])]


def one_of(field: str, values: Iterable[str]) -> str:
    """field IN (values)"""
    return f"{field} IN ({','.join(map(quoted, values))})"


def since(field: str, moment_ms: int) -> str:
    """field >= a moment"""
    return f"{field} >= {moment(moment_ms)}"


def moment(moment_ms: int) -> str:
    """A date and time, without its fraction of a second."""
    return f"{datetime.fromtimestamp(moment_ms // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def quoted(text: str) -> str:
    """A string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{escaped}'"
