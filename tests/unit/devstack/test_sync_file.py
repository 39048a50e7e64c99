"""The sync.yaml of a stack: a configuration that the product takes as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from salmon.config.models import load
from salmon.devstack import sync_file


@pytest.mark.parametrize(
    ("name", "collection"),
    [
        ("Account", "accounts"),
        ("Contact", "contacts"),
        ("Opportunity", "opportunities"),
        ("Case", "cases"),
        ("Day__c", "days"),
        ("Order_Line__c", "order_lines"),
        ("Box__c", "boxes"),
        ("Address", "addresses"),
    ],
)
def test_a_collection_is_the_plural_of_its_object(name: str, collection: str) -> None:
    """As a person would have called it."""
    assert sync_file.collections_of([name]) == {name: collection}


def test_two_objects_never_share_a_collection() -> None:
    """A custom object may be called as a standard one."""
    assert sync_file.collections_of(["Order", "Order__c"]) == {"Order": "orders", "Order__c": "order__c"}


def test_the_product_takes_the_file_as_it_is(tmp_path: Path) -> None:
    """Every key is one that the configuration knows, and the key file is read through it."""
    key = tmp_path / "jwt.key"
    key.write_text("-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n")
    ca = tmp_path / "ca.pem"
    ca.write_text("")
    file = tmp_path / "sync.yaml"
    sync_file.write(
        file,
        name="crm",
        bootstrap_servers="127.0.0.1:9092",
        registry_url="http://127.0.0.1:8081",
        mongodb={"uri": "mongodb://127.0.0.1:27017/?replicaSet=rs0", "database": "crm"},
        salesforce={
            "login_url": "https://127.0.0.1:8443",
            "client_id": "app",
            "username": "sync@salmon.example",
            "private_key": str(key),
            "pubsub_endpoint": "127.0.0.1:7443",
            "ca_file": str(ca),
        },
        objects=["Account", "Contact"],
    )
    config = load(file)
    assert config.name == "crm"
    assert config.topics.replication_factor == 1
    assert {name: synced.collection for name, synced in config.objects.items()} == {
        "Account": "accounts",
        "Contact": "contacts",
    }
