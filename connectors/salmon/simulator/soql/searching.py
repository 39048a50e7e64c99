"""
SOSL: FIND {words} IN ... FIELDS RETURNING ... (SOQL and SOSL Reference, "SOSL Syntax").

Found are the records of which some searched field has the words: whole ones, or beginnings where a word ends with *.
An org looks into an index that is some minutes old and knows word forms; here the records themselves are looked at,
and words are letters and digits. WITH, FORMAT, UPDATE and the ranking by relevance are left out; WITH is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from salmon.simulator.org.objects.object_types import TEXT_TYPES, Field
from salmon.simulator.org.org import Org
from salmon.simulator.org.refusals import BadRequest
from salmon.simulator.org.table import Table
from salmon.simulator.org.transaction import Row
from salmon.simulator.soql.answering import Result, run_parsed
from salmon.simulator.soql.parsing import parse_returning
from salmon.simulator.soql.syntax import Path, Query, Selected
from salmon.simulator.soql.tokens import Tokens

RECORDS_MAX = 2000  # "SOSL Limits on Search Results"
GROUPS = ("ALL", "NAME", "EMAIL", "PHONE", "SIDEBAR")

_FIND = re.compile(r"\s*FIND\s*\{((?:[^{}\\]|\\.)*)\}", re.IGNORECASE | re.DOTALL)
_TERM = re.compile(r'"([^"]*)"|(\()|(\))|([^\s()"]+)')
_WORDS = re.compile(r"[\w*?]+")

Words = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for, in which fields, and what is shown of what is found."""

    term: str
    group: str
    returning: tuple[Query, ...]
    limit: int = RECORDS_MAX


def parse_search(org: Org, text: str) -> Search:
    """
    Read a SOSL text.

    Raises:
        BadRequest: MALFORMED_SEARCH where there is no term, else as in SOQL.
    """
    found = _FIND.match(text)
    if found is None:
        raise _malformed("No search term found. The search term must be enclosed in braces.")
    # Blanks in its place, so that errors further on point at the right one.
    tokens = Tokens(" " * found.end() + text[found.end() :])
    group = "ALL"
    if tokens.word("in"):
        group = tokens.take("name").text.upper()
        if group not in GROUPS:
            raise _malformed(f"unexpected token: {group}")
        tokens.expect_word("fields")
    returning: list[Query] = []
    if tokens.word("returning"):
        returning.append(parse_returning(tokens))
        while tokens.symbol(","):
            returning.append(parse_returning(tokens))
    limit = tokens.whole_number() if tokens.word("limit") else RECORDS_MAX
    if tokens.peek().kind != "end":
        raise tokens.unexpected()
    term = re.sub(r"\\(.)", r"\1", found[1])
    return Search(term, group, tuple(returning) or everything(org), min(limit, RECORDS_MAX))


def everything(org: Org) -> tuple[Query, ...]:
    """The ids of all searchable objects: what a search shows that does not say what."""
    names = [name for name in org.objects if org.types[name].describe.get("searchable", True)]
    return tuple(Query("", name, 0, (Selected(Path(("Id",), 0)),)) for name in names)


def run_search(org: Org, search: Search) -> list[Result]:
    """What was found, object by object, no more than the limit altogether."""
    has_words = _matcher(search.term)
    results, left = [], search.limit
    for query in search.returning:
        found = run_parsed(org, query, also=lambda table: _test(table, search.group, has_words))
        if found.presenter is None:
            raise _malformed("Aggregate functions are not supported in a search")
        rows = found.rows[:left]
        left -= len(rows)
        results.append(Result(len(rows), rows, found.presenter))
    return results


def _malformed(what: str) -> BadRequest:
    return BadRequest("MALFORMED_SEARCH", what)


def _test(table: Table, group: str, has_words: Words) -> Callable[[Row], bool]:
    if not table.type.describe.get("searchable", True):
        raise BadRequest("INVALID_TYPE", f"sObject type '{table.type.name}' is not searchable.")
    names = [field.name for field in table.type.stored_fields if _searched(field, group)]
    return lambda row: has_words(
        " \n ".join(str(value) for name in names if (value := row.get(name)) is not None)
    )


def _searched(field: Field, group: str) -> bool:
    if group in {"EMAIL", "PHONE"}:
        return field.type == group.lower()
    if group == "NAME":
        return field.name in {"Name", "FirstName", "LastName"}
    return field.type in TEXT_TYPES


def _matcher(term: str) -> Words:
    """The term as a test of a text: AND binds before OR, and what stands side by side is AND."""
    if len(term.replace("*", "").replace("?", "").strip()) < 2:
        raise _malformed(f"search term must be longer than one character: {term}")
    parts = list(_TERM.finditer(term))
    test, rest = _any_of(parts)
    if rest:
        raise _malformed(f"unexpected token in the search term: {rest[0][0]}")
    return test


def _any_of(parts: Sequence[re.Match[str]]) -> tuple[Words, Sequence[re.Match[str]]]:
    tests = []
    while True:
        test, parts = _all_of(parts)
        tests.append(test)
        if not parts or parts[0][0].upper() != "OR":
            return (lambda text: any(each(text) for each in tests)), parts
        parts = parts[1:]


def _all_of(parts: Sequence[re.Match[str]]) -> tuple[Words, Sequence[re.Match[str]]]:
    tests: list[Words] = []
    while parts and parts[0][3] is None and parts[0][0].upper() != "OR":
        word = parts[0][0].upper()
        if word == "AND" and tests and len(parts) > 1 and parts[1][0].upper() != "NOT":
            parts = parts[1:]
        negated = word in {"AND", "NOT"} and len(parts) > 1 and "NOT" in {word, parts[1][0].upper()}
        if negated:
            parts = parts[2 if word == "AND" else 1 :]
        if not parts:
            break
        test, parts = _one(parts)
        tests.append((lambda text, test=test: not test(text)) if negated else test)  # type: ignore[misc]
    if not tests:
        raise _malformed("the search term has an empty part")
    return (lambda text: all(each(text) for each in tests)), parts


def _one(parts: Sequence[re.Match[str]]) -> tuple[Words, Sequence[re.Match[str]]]:
    if parts[0][2] is not None:
        test, rest = _any_of(parts[1:])
        if not rest or rest[0][3] is None:
            raise _malformed("a parenthesis is missing in the search term")
        return test, rest[1:]
    phrase = parts[0][1] if parts[0][1] is not None else parts[0][4]
    pieces = _WORDS.findall(phrase or "")  # a closing parenthesis has none
    if not pieces:
        raise _malformed("the search term has an empty part")
    pattern = r"\W+".join(re.escape(piece).replace(r"\*", r"\w*").replace(r"\?", r"\w") for piece in pieces)
    found = re.compile(rf"(?<!\w){pattern}(?!\w)", re.IGNORECASE)
    return (lambda text: found.search(text) is not None), parts[1:]
