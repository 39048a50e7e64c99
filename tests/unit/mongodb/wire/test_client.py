"""The client: what an operator is told of a connection string, and of a server's errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dns.resolver
import pytest
from pymongo.errors import OperationFailure

from salmon.errors import ConfigError, RetriableError, SetupError, SignInRefused, Unavailable
from salmon.model.change import WriteOp
from salmon.mongodb.config import MongoConfig
from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.wire.client import connect, translated
from salmon.mongodb.writing.delivery import refusal
from salmon.plugin.contract import OutcomeKind
from support.mongo import ACCOUNT, write

SHAPE = DocumentShape(ACCOUNT, frozenset({"Account"}))

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


@pytest.mark.parametrize("code", [1, 8, 46, 96, 133, 314, 365, 424_242])
def test_a_code_that_is_not_known_to_be_a_persons_to_mend_is_an_outage(code: int) -> None:
    """An internal error, a busy lock, a code of next year's server: the process waits, and /health shows the sentence."""
    error = translated(OperationFailure("no", code), "writing to crm.accounts")
    assert isinstance(error, RetriableError)
    assert "writing to crm.accounts" in str(error)
    assert str(code) in str(error)


def test_a_full_quota_in_atlas_is_not_a_wrong_password() -> None:
    """Atlas has one code for both: the sentence names both, and the process neither ends nor restarts."""
    error = translated(OperationFailure("no", 8000), "writing to crm.accounts")
    assert isinstance(error, RetriableError)
    assert "quota" in str(error)


@pytest.mark.parametrize("code", [11, 18])
def test_a_wrong_password_is_one(code: int) -> None:
    """Which ends a first start with one sentence, and is waited out where it has worked before."""
    assert isinstance(translated(OperationFailure("no", code), "connecting"), SignInRefused)


@pytest.mark.parametrize("code", [72, 166])
def test_a_view_in_the_place_of_a_collection_is_a_persons_to_mend(code: int) -> None:
    """No later attempt helps; the object waits alone (case V10)."""
    error = translated(OperationFailure("no", code), "writing to crm.accounts")
    assert isinstance(error, SetupError)
    assert "crm.accounts" in str(error)


@pytest.mark.parametrize("code", [46, 107, 314, 365, 8000])
def test_a_document_that_meets_a_busy_server_is_not_refused(code: int) -> None:
    """The same codes in the answer to one of many writes: it is put again, and nothing is set aside."""
    outcome = refusal({"code": code}, write("a", WriteOp.UPDATE, 5, 1, Name="x").write, SHAPE)
    assert outcome.kind is OutcomeKind.RETRY_LATER


@pytest.mark.parametrize(
    "trouble", [dns.resolver.NoNameservers, dns.resolver.LifetimeTimeout, dns.resolver.NXDOMAIN]
)
def test_a_dns_server_that_is_away_is_an_outage(
    trouble: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With mongodb+srv:// the hosts are looked up; a laptop that wakes up without a network must not end for good (case S4)."""

    def resolve(*_: Any, **__: Mapping[str, Any]) -> None:
        raise trouble

    monkeypatch.setattr(dns.resolver, "resolve", resolve)
    config = MongoConfig.model_validate({"uri": "mongodb+srv://me:secret@db.example.com/", "database": "crm"})
    with pytest.raises(Unavailable, match=r"mongodb\.uri: .*DNS") as reported:
        connect(config, app="test")
    assert "secret" not in str(reported.value)
