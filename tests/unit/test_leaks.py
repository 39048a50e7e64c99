"""The search for leaks finds what it is to find: a search that finds nothing proves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.leaks import leaks, none_in, secrets_of, values_of

SECRET = "pa ss/wörd"


@pytest.mark.parametrize("form", [SECRET, "pa%20ss%2Fw%C3%B6rd", "pa ss/w\\u00f6rd"])
def test_a_planted_secret_is_found_in_each_form(form: str) -> None:
    """As it is, in a URL, in JSON; and the report of it is no second leak."""
    assert leaks(f"all is well\nsigned in with {form} at last", [SECRET]) == ["signed in with <LEAK> at last"]


@pytest.mark.parametrize(
    "token",
    [
        "00D000000000001!AQ8AQx0123456789012345678901234567890",
        "5Aep861" + "x" * 40,
        "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2lnbmF0dXJl",
    ],
)
def test_what_signs_somebody_in_is_found_although_nobody_planted_it(token: str) -> None:
    """Sessions and tokens are made while the test runs."""
    assert leaks(f"token={token}", []) != []


def test_values_by_which_a_record_is_known_are_planted() -> None:
    """Not each word: a log may say Berlin. A key is no value, and may be named."""
    document = {
        "_id": "ada@acme.example",
        "Email": "Bob@acme.example",
        "Phone": "(555) 010-1234",
        "City": "Berlin",
    }
    assert values_of([document]) == {"Bob@acme.example", "(555) 010-1234"}


def test_the_secrets_of_an_org_are_those_that_sign_us_in(tmp_path: Path) -> None:
    """Its key by the line, because a log shows it by the line."""
    key = tmp_path / "key.pem"
    line = "M" * 64
    key.write_text(f"-----BEGIN PRIVATE KEY-----\n{line}\n-----END PRIVATE KEY-----\n")
    org = {"client_secret": "a", "password": "b", "security_token": "c", "person_client_secret": "d"}
    assert secrets_of({**org, "private_key": str(key), "username": "u"}) == {"a", "b", "c", "d", line}


def test_a_leak_fails_with_the_files_name(tmp_path: Path) -> None:
    """And without one, nothing happens."""
    file = tmp_path / "merge.log"
    file.write_text("all is well")
    none_in([file], [SECRET])
    file.write_text(f"oops {SECRET}")
    with pytest.raises(AssertionError, match=r"merge\.log"):
        none_in([file], [SECRET])
