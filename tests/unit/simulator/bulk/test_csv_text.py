"""The CSV of bulk jobs, without an org."""

from __future__ import annotations

import pytest

from salmon.simulator.bulk.csv_text import DELIMITERS, LINE_ENDINGS, BadCsv, read, write
from salmon.simulator.bulk.queries import java_double


@pytest.mark.parametrize("delimiter", DELIMITERS)
@pytest.mark.parametrize("line_ending", LINE_ENDINGS)
def test_what_is_written_is_read(delimiter: str, line_ending: str) -> None:
    """Quotes, delimiters and line breaks inside of values, and values that are empty."""
    rows = [['say "a"', "", "x,y;z|t\tu`v^w"], ["two\r\nlines", '"', " spaces "]]
    text = write(["A", "B", "C"], rows, delimiter, line_ending)
    assert read(text, delimiter, line_ending) == (["A", "B", "C"], rows)


def test_a_byte_order_mark_and_empty_lines_are_passed_over() -> None:
    """As spreadsheets make them."""
    assert read(b"\xef\xbb\xbfName\n\nA\n\n", "COMMA", "LF") == (["Name"], [["A"]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"A\rB\n", "LineEnding is invalid"),
        (b'A\n" x" \n', "unescaped quote"),
        (b'A\nx"\n', "unescaped quote"),
        (b'A\n"x\n', "EOF reached"),
        (b"A\n\xff\n", "UTF-8"),
        (b"A\n" + b"x" * 131_073 + b"\n", "field larger than field limit"),
        (b",".join([b"A"] * 5_001) + b"\n", "5000 columns"),
        (b"A,B,C,D\n" + b",".join([b"x" * 100_001] * 4) + b"\n", "longer than 400000"),
    ],
)
def test_what_is_no_csv_is_refused(content: bytes, message: str) -> None:
    """With the words of the job's errorMessage."""
    with pytest.raises(BadCsv, match=message):
        read(content, "COMMA", "LF")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0.0"), (5, "5.0"), (-1200.5, "-1200.5"), (9999999.0, "9999999.0"), (1e7, "1.0E7"),
        (-12345678.25, "-1.234567825E7"), (0.001, "0.001"), (0.00025, "2.5E-4"),
    ],
)  # fmt: skip
def test_doubles_are_written_as_java_writes_them(number: float, text: str) -> None:
    """In scientific notation from ten million on, and below a thousandth."""
    assert java_double(number) == text
