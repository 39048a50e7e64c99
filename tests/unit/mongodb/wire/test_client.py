"""The client: what an operator is told of a connection string, and of a server's errors."""

from __future__ import annotations

import pytest

from salmon.errors import ConfigError, Unavailable
from salmon.mongodb.config import MongoConfig
from salmon.mongodb.wire.client import connect

NOBODY = "127.0.0.1:1"


@pytest.mark.parametrize("password", ["pa／ss", "p：q", "p＠q", "p？q", "p＃q", "p[q", "p]q"])
def test_a_password_may_contain_what_only_a_url_forbids(password: str) -> None:
    """Full-width signs, as some keyboards type them, and brackets: what PyMongo reads is a connection string."""
    uri = f"mongodb://user:{password}@{NOBODY}/?serverSelectionTimeoutMS=50"
    with pytest.raises(Unavailable, match=NOBODY) as reported:
        connect(MongoConfig.model_validate({"uri": uri, "database": "crm"}), app="test")
    assert password not in str(reported.value)


@pytest.mark.parametrize("place", ["user:{}@[::1", "user:{}@host:99999", "user:{}%zz@host", "user:{}@[v1.x]"])
def test_a_connection_string_that_cannot_be_read_is_one_sentence_without_its_password(place: str) -> None:
    """The operator reads the key and the form that is right; nothing of the string, in no cause either."""
    uri = f"mongodb://{place.format('pa／ss')}/?serverSelectionTimeoutMS=50"
    with pytest.raises((ConfigError, Unavailable), match=r"mongodb\.uri") as reported:
        connect(MongoConfig.model_validate({"uri": uri, "database": "crm"}), app="test")
    assert "pa／ss" not in str(reported.value)
