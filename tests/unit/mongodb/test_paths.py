"""Paths: where a field may be in a document."""

from __future__ import annotations

import pytest

from salmon.mongodb.paths import PLAIN, at, clashes_in, in_the_way, mark_of, put, usable_path


@pytest.mark.parametrize("path", ["city", "address.city", "a.b.c", "Ort größer", "price$", "address._id"])
def test_a_field_may_be_at_the_top_or_in_a_sub_document(path: str) -> None:
    """Whatever the application calls it."""
    assert usable_path(path) == path


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("", "single dots"),
        ("address.", "single dots"),
        ("a..b", "single dots"),
        ("_id", "_id"),
        ("_id.city", "_id"),
        ("_salmon.error", "_salmon"),
        ("address.$city", r"\$"),
        ("lines.0.city", "array"),
        ("a. b", "blank"),
        ("a\x00b", "invisible"),
        ("x" * 256, "255 bytes"),
        (".".join("abcdefghijk"), "10 names"),
    ],
)
def test_a_path_that_cannot_work_is_refused_with_the_reason(path: str, why: str) -> None:
    """What MongoDB or Salmon keeps for itself, what is no name, and what is over-long."""
    with pytest.raises(ValueError, match=why):
        usable_path(path)


def test_two_fields_on_one_path_are_named() -> None:
    """Each of them would overwrite the other."""
    (fault,) = clashes_in({"City": "place", "Town": "place", "Zip": "zip"})
    assert "City and Town have the same path, place" in fault


def test_a_field_within_another_is_named() -> None:
    """However deep; and names that only begin alike are apart."""
    (fault,) = clashes_in({"A": "address", "B": "address.home.city", "C": "addresses.city"})
    assert fault.startswith("B would be at address.home.city, within address, where A is")


def test_the_mark_is_that_of_the_names_and_paths_in_whatever_order() -> None:
    """Documents whose fields have their own names carry none."""
    assert mark_of({}) == PLAIN
    assert mark_of({"A": "x", "B": "y"}) == mark_of({"B": "y", "A": "x"}) != mark_of({"A": "y", "B": "x"})


def test_a_value_is_put_where_it_is_found() -> None:
    """Sub-documents are made, and what is in them stays."""
    document = {"address": {"zip": "1"}}
    put(document, "address.home.city", "Bonn")
    assert document == {"address": {"zip": "1", "home": {"city": "Bonn"}}}
    assert at(document, "address.home.city") == "Bonn"
    assert at(document, "address.zip.city") is None


def test_null_is_not_in_the_way_and_anything_else_is() -> None:
    """A sub-document that is null is missing."""
    assert in_the_way({"a": None}, "a.b.c") is None
    assert in_the_way({}, "a.b.c") is None
    assert in_the_way({"a": {"b": {}}}, "a.b.c") is None
    assert in_the_way({"a": {"b": 5}}, "a.b.c") == ("a.b", 5)
    assert in_the_way({"a": []}, "a.b.c") == ("a", [])
