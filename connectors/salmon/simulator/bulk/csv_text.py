"""
The CSV of bulk jobs: read as strictly as Salesforce reads it, and written as it writes it.

Source: Bulk API 2.0 Developer Guide, "Prepare CSV Files"; messages as recorded in public issue threads.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

DELIMITERS: Final = {
    "BACKQUOTE": "`", "CARET": "^", "COMMA": ",", "PIPE": "|", "SEMICOLON": ";", "TAB": "\t",
}  # fmt: skip
LINE_ENDINGS: Final = {"LF": "\n", "CRLF": "\r\n"}

# "Bulk API and Bulk API 2.0 Limits and Allocations": characters of a field and of a record, and fields of a record.
FIELD_MAX: Final = 131_072
ROW_MAX: Final = 400_000
COLUMNS_MAX: Final = 5_000


class BadCsv(ValueError):
    """The data cannot be read; the message is the job's errorMessage."""


def read(content: bytes, delimiter: str, line_ending: str) -> tuple[list[str], list[list[str]]]:
    """
    The header and the rows of an upload. Values are not trimmed; empty lines are passed over.

    Args:
        content: What was uploaded, UTF-8.
        delimiter: A key of DELIMITERS.
        line_ending: A key of LINE_ENDINGS; rows may end with nothing else.

    Raises:
        BadCsv: The data has other line endings, an open or an unescaped quote, or rows that do not fit the header.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadCsv("ClientInputError : The CSV data is not valid UTF-8") from None
    mark = DELIMITERS[delimiter]
    _check_quotes_and_endings(text, mark, line_ending)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
    try:
        rows = [row for row in reader if row]
    except csv.Error as error:
        raise BadCsv(f"ClientInputError : Failed to parse CSV. {error}") from None
    # The csv module's own limit is the same, unless somebody else in the process has changed it.
    if any(len(value) > FIELD_MAX for row in rows for value in row):
        raise BadCsv(f"ClientInputError : Failed to parse CSV. field larger than field limit ({FIELD_MAX})")
    if not rows:
        raise BadCsv("ClientInputError : The CSV data has no header row")
    header, *records = rows
    if len(header) > COLUMNS_MAX:
        raise BadCsv(f"ClientInputError : The CSV data has more than {COLUMNS_MAX} columns")
    for number, row in enumerate(records, start=1):
        if len(row) != len(header):
            raise BadCsv(
                f"ClientInputError : Row {number} has {len(row)} values, and the header has {len(header)} columns"
            )
        if sum(map(len, row)) > ROW_MAX:
            raise BadCsv(f"ClientInputError : Row {number} is longer than {ROW_MAX} characters")
    return header, records


def write(
    header: Sequence[str], rows: Iterable[Sequence[str]], delimiter: str = "COMMA", line_ending: str = "LF"
) -> bytes:
    """A header and rows, every value in quotes."""
    text = io.StringIO(newline="")
    writer = csv.writer(
        text,
        delimiter=DELIMITERS[delimiter],
        lineterminator=LINE_ENDINGS[line_ending],
        quoting=csv.QUOTE_ALL,
    )
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


def _check_quotes_and_endings(text: str, mark: str, line_ending: str) -> None:
    # Every second part is outside of quotes; an escaped quote shows as an empty part between two that are inside.
    parts = text.split('"')
    closed = len(parts) % 2 == 1
    outside = parts[0::2]
    last = len(outside) - 1
    around = (mark, "\n", "\r")
    for index, part in enumerate(outside):
        starts_well = index == 0 or not part or part.startswith(around)
        ends_well = (closed and index == last) or not part or part.endswith(around)
        if not (starts_well and ends_well):
            raise BadCsv(
                "ClientInputError : Failed to parse CSV. "
                "Found unescaped quote. A value with quote should be within a quote"
            )
        plain = part.replace("\r\n", "") if line_ending == "CRLF" else part.replace("\n", "")
        # Under LF a carriage return is foreign, and so is a bare line feed under CRLF.
        if "\r" in plain or "\n" in plain:
            raise BadCsv(
                "ClientInputError : LineEnding is invalid on user data. "
                f"Current LineEnding setting is {line_ending}"
            )
    if not closed:
        raise BadCsv("ClientInputError : Failed to parse CSV. EOF reached before closing an opened quote")
