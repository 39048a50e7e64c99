"""The providers of references: what they read, and what they say where they cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from salmon.config.interpolation import Resolved, interpolated, names_alone

PROPERTIES = """
# comment: not.a.key = 1
user = sync
pass\\ word: a\\u00e9=b\\
            c
empty
db.url=mongodb://u:p@host/?x=y
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "org.properties").write_text(PROPERTIES, encoding="utf-8")
    (tmp_path / "bad.properties").write_text("a=\\u12x")
    (tmp_path / "odd:name").write_text("by its whole name\n")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "token").write_text("s3cret\n")
    (tmp_path / "elsewhere").write_text("x")
    return tmp_path


def resolved(text: str, folder: Path) -> tuple[str, Resolved]:
    into = Resolved()
    found = interpolated({"a": [text]}, env={"A": "a"}, folder=folder, into=into)
    return found["a"][0], into


@pytest.mark.parametrize(
    ("text", "value", "origin"),
    [
        ("${file:org.properties:user}", "sync", "the key user of the file org.properties"),
        ("${file:org.properties:pass word}", "aé=bc", "the key pass word of the file org.properties"),
        ("${file:org.properties:empty}", "", "the key empty of the file org.properties"),
        (
            "${file:org.properties:db.url}",
            "mongodb://u:p@host/?x=y",
            "the key db.url of the file org.properties",
        ),
        ("${file:odd:name}", "by its whole name", "the file odd:name"),
        ("${dir:secrets:token}", "s3cret", "the file secrets/token"),
        ("${directory:secrets:token}", "s3cret", "the file secrets/token"),
        ("${env:A}", "a", "the environment variable A"),
        ("${env:B:b}", "b", "the default, as the environment variable B is not set"),
    ],
)
def test_kafka_connects_providers_are_known(folder: Path, text: str, value: str, origin: str) -> None:
    """Its files of properties and its folders, by its notation; and it is known from where each value came."""
    found, into = resolved(text, folder)
    assert (found, into.faults) == (value, {})
    assert into.origins == {("a", "0"): [origin]}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("${file:org.properties:nobody}", "the file org.properties has no key nobody. Add a line nobody=..."),
        ("${file:none.properties:user}", "the file none.properties cannot be read (No such file"),
        ("${file:bad.properties:a}", "the file bad.properties is not valid as a file of properties"),
        ("${dir:secrets:../elsewhere}", "a folder and the name of a file that is directly in it are needed"),
        ("${dir:secrets:..}", "cannot be read"),
        ("${dir:secrets}", "a folder and the name of a file that is directly in it are needed"),
        ("${dir:secrets:none}", "the file secrets/none cannot be read (No such file"),
        ("${file:secrets}", "the file secrets cannot be read (Is a directory)"),
        ("${vault:a}", "${vault:...} is not known. Use ${env:NAME}"),
        (
            "mongodb://${env:HOST:27017",
            "a reference begins with ${ and has no closing brace. Write e.g. ${env:NAME}",
        ),
        ("${", "has no closing brace"),
    ],
)
def test_what_cannot_be_resolved_is_told_with_what_to_do(folder: Path, text: str, told: str) -> None:
    """The text stays as it is, and nothing of a file is quoted."""
    found, into = resolved(text, folder)
    assert found == text
    assert told in into.faults["a", "0"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("${env:A:secret}", "${env:A}"),
        ("${env:A:x:y}${file:/k:key}", "${env:A}${file:/k:key}"),
        ("${dir:/run/secrets:token}", "${dir:/run/secrets:token}"),
        ("x${env:A}", None),
        ("$${env:A}", None),
        ("${env:A:secret", None),
        ("secret", None),
    ],
)
def test_a_secret_is_named_only_by_its_references(text: str, names: str | None) -> None:
    """The default of a variable may be a secret, and so may a text around a reference; the key of a file is a name."""
    assert names_alone(text) == names
