"""`salmon run api`: which servers end its start, and which it waits for."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

from salmon.api import process
from salmon.api.application import Switch, waiting
from salmon.api.process import Serving
from salmon.app.live import Live
from salmon.app.process import REACHED_VARIABLE
from salmon.backoff import Backoff
from salmon.config.models import SyncConfig
from salmon.errors import FatalError, SignInRefused, Unavailable
from salmon.mongodb.config import MongoConfig
from salmon.ops.api_metrics import ApiMetrics
from salmon.ops.connect.described import Described, Served
from salmon.ops.health import Health
from salmon.runtime.retry import Retrying
from support.sync_config import sync_config

AWAY: Final = Unavailable("mongodb.uri: none of its hosts answered.")
REFUSED: Final = SignInRefused("mongodb.uri: MongoDB refused the user.")


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(REACHED_VARIABLE, raising=False)
    monkeypatch.setattr(process, "FIRST_CONTACT_MAX_S", 0.0)

    def retrying(stop: Any, listener: Any) -> Retrying:
        return Retrying(stop, listener, Backoff(first_s=0.001, max_s=0.001))

    monkeypatch.setattr(process, "Retrying", retrying)


def serve(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *answers: Exception, uri: str = "mongodb://u:p@a,b/?w=1"
) -> list[Exception]:
    """Start where MongoDB gives these answers and then serves; end as soon as it does. Returns the answers that are left."""
    mongodb = {"uri": uri, "database": "crm"}
    config = SyncConfig.model_validate(sync_config(mongodb=mongodb, merge={"state_dir": str(folder)}))
    left = list(answers)
    client, console = SimpleNamespace(close=lambda: None), SimpleNamespace(close=lambda: None)

    def connect(*_: Any, **__: Any) -> Any:
        if left:
            raise left.pop(0)
        return client

    monkeypatch.setattr(process, "connect", connect)
    monkeypatch.setattr(process, "database_of", lambda *_: None)
    monkeypatch.setattr("salmon.runtime.schemas.await_schemas", lambda *_, **__: {})
    monkeypatch.setattr("salmon.api.records.idempotency.prepare", lambda *_: None)
    monkeypatch.setattr(Serving, "_looked", lambda _self, _database, _access, _registry, known: known)
    metrics = ApiMetrics("api")
    served = Served(Described("api", "api", {}, worker_id="", sync="crm", ordinal=0), Health(), metrics)
    serving = Serving(Live(config), served, metrics, Switch(waiting(served)), console)  # type: ignore[arg-type]
    monkeypatch.setattr(Serving, "_switch_to", lambda *_: serving.stop())
    serving.run()
    return left


@pytest.mark.parametrize("trouble", [AWAY, REFUSED])
def test_a_mongodb_that_never_served_it_ends_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    """Exit code 2, and the sentence says what to correct."""
    with pytest.raises(FatalError, match=r"mongodb\.uri"):
        serve(tmp_path, monkeypatch, trouble)


def test_a_mongodb_that_served_it_once_is_waited_for_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outage of MongoDB or of its sign-in as the machine restarts would end `run all` with all processes (case S4)."""
    serve(tmp_path, monkeypatch)
    assert serve(tmp_path, monkeypatch, AWAY, REFUSED, AWAY, uri="mongodb://u:changed@a,b/?w=1") == []
    with pytest.raises(FatalError):
        serve(tmp_path, monkeypatch, AWAY, uri="mongodb://u:p@elsewhere/?w=1")


@pytest.mark.parametrize(
    ("uri", "hosts"),
    [
        ("mongodb://a", "a"),
        ("mongodb://u:p%40@a:1,b:2/admin?tls=true", "a:1,b:2"),
        ("mongodb+srv://u:p/q@cluster.example/?appName=x@y", "cluster.example"),
    ],
)
def test_the_hosts_of_a_connection_string_have_no_password(uri: str, hosts: str) -> None:
    """Nor options, which may have a token."""
    assert MongoConfig.model_validate({"uri": uri, "database": "crm"}).hosts == hosts
