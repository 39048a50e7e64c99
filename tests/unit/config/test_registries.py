"""How a configuration says where the registry is, and how to sign in to it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from salmon.config.models import SyncConfig
from salmon.config.registries import registry_of
from support.sync_config import sync_config


def configured(**registry: Any) -> SyncConfig:
    return SyncConfig.model_validate(sync_config(schema_registry=registry))


def test_several_instances_are_named_in_one_line() -> None:
    """As Confluent's clients name them."""
    config = configured(url="http://a:8081, https://b/apis/ccompat/v7")
    registry_of(config).close()


@pytest.mark.parametrize("url", ["http://a:8081,", "http://a:8081,b:8081", "http://a:0,http://b", ","])
def test_each_of_them_must_be_a_url(url: str) -> None:
    """A comma too much is no instance."""
    with pytest.raises(ValidationError, match="url"):
        configured(url=url)


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"token": "t", "username": "u"}, "token and username exclude each other"),
        ({"certificate_file": "own.crt"}, "certificate_file and key_file belong together"),
        ({"key_file": "own.key"}, "certificate_file and key_file belong together"),
    ],
)
def test_ways_to_sign_in_that_exclude_or_need_each_other(more: dict[str, str], named: str) -> None:
    """One sentence says what to change."""
    with pytest.raises(ValidationError, match=named):
        configured(url="http://a:8081", **more)
