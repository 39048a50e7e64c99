"""Config: what an operator may set, and what is never shown."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from pymongo.common import URI_OPTIONS_ALIAS_MAP, URI_OPTIONS_VALIDATOR_MAP

from salmon.mongodb.config import USUAL_OPTIONS, MongoConfig, read_from_mongodb, written_to_mongodb
from support.mongo import Synced


def test_the_connection_string_is_a_secret() -> None:
    """It can hold a password: neither repr nor an error shows it."""
    config = MongoConfig.model_validate({"uri": "mongodb://me:secret@host/", "database": "crm"})
    assert "secret" not in repr(config)
    assert config.uri.get_secret_value() == "mongodb://me:secret@host/"


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"uri": "http://host", "database": "crm"}, "uri"),
        ({"uri": "mongodb://host", "database": "a.b"}, "database"),
        ({"uri": "mongodb://host", "database": ""}, "database"),
        ({"uri": "mongodb://host", "database": "crm", "collection": "x"}, "collection"),
        ({"uri": "mongodb://host"}, "database"),
    ],
)
def test_a_setting_that_cannot_be_right_is_named(settings: dict[str, Any], key: str) -> None:
    """Unknown keys are refused too: a misspelt setting must not be ignored."""
    with pytest.raises(ValidationError) as told:
        MongoConfig.model_validate(settings)
    assert [error["loc"] for error in told.value.errors()] == [(key,)]


@pytest.mark.parametrize(
    ("direction", "told", "written"),
    [("both", True, True), ("to_mongodb", False, True), ("to_salesforce", True, False)],
)
def test_a_direction_says_who_is_listened_to(direction: str, told: bool, written: bool) -> None:
    """A one-way object is either streamed or written, never both."""
    settings = Synced("accounts", direction)
    assert (read_from_mongodb(settings), written_to_mongodb(settings)) == (told, written)


def test_the_usual_options_are_all_known_to_pymongo() -> None:
    """It is not asked about them, so a word too many would let a misspelt option pass."""
    assert {*URI_OPTIONS_VALIDATOR_MAP, *URI_OPTIONS_ALIAS_MAP} >= USUAL_OPTIONS
