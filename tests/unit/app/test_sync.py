"""One handle on a sync: what it says of objects, and what it opens and closes."""

from __future__ import annotations

from typing import Any, cast

import pytest

from salmon.app import sync as handles
from salmon.app.sync import Sync
from salmon.config.models import SyncConfig
from salmon.errors import ConfigError, SetupError, Unavailable
from salmon.kafka.codecs.registry import SchemaRegistry
from salmon.model.change import MONGODB
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.runtime import schemas
from support.at_hand.registries import MemoryRegistry
from support.sync_config import sync_config

ACCOUNT = ObjectSchema("Account", (FieldSchema("Name", "string", Kind.STRING),), key_prefix="001")
NOBODY: dict[str, Any] = {"bootstrap.servers": "127.0.0.1:1"}


class Closing(MemoryRegistry):
    """A registry that counts how often it is closed."""

    closed = 0

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def config() -> SyncConfig:
    """A sync of one object, whose Kafka is not there."""
    return SyncConfig.model_validate(
        sync_config(
            kafka=NOBODY,
            schema_registry={"url": "http://127.0.0.1:1"},
            objects={"Account": {"collection": "accounts", "direction": "to_mongodb"}},
        )
    )


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Closing:
    made = Closing()
    monkeypatch.setattr(handles, "registry_of", lambda _: cast(SchemaRegistry, made))
    return made


def test_an_object_that_the_configuration_does_not_have_is_refused_with_those_it_has(
    config: SyncConfig,
) -> None:
    """In one sentence for all commands; one that took it from an option names that."""
    sync = Sync(config)
    with pytest.raises(
        ConfigError, match=r"^Lead: this object is not in the configuration. It has Account.$"
    ):
        sync.schema("Lead")
    with pytest.raises(ConfigError, match=r"^--object Lead: this object is not in the configuration."):
        sync.check_object("Lead", given_as="--object")


def test_an_object_that_nobody_has_registered_yet_says_what_to_start(
    config: SyncConfig, registry: Closing
) -> None:
    """The commands can be asked before the connectors have ever run."""
    sync = Sync(config)
    with pytest.raises(SetupError, match=r"does not know Account yet. Start .*`salmon run all`"):
        sync.rules("Account")
    schemas.register(registry, config.topic_names, {"Account": ACCOUNT}, clock=lambda: 1.0)
    assert sync.schema("Account") == ACCOUNT
    assert sync.rules("Account").one_way_to == MONGODB
    assert sync.state_codec("Account").topic == config.topic_names.state("Account")


def test_it_closes_what_it_opened_and_nothing_else(config: SyncConfig, registry: Closing) -> None:
    """What nobody has asked is not opened to be closed; closing twice is once."""
    sync = Sync(config)
    sync.close()
    assert registry.closed == 0
    assert sync.registry.latest("none") is None
    sync.close()
    sync.close()
    assert registry.closed == 1


def test_whoever_enters_hears_first_that_kafka_is_away(config: SyncConfig) -> None:
    """And what to do about it, within the time that was allowed."""
    with (
        pytest.raises(Unavailable, match=r"no Kafka broker answers at 127\.0\.0\.1:1"),
        Sync(config, connect_s=0.2),
    ):
        pytest.fail("it was entered")
