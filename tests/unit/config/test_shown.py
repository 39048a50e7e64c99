"""A configuration as others may see it: flat, references unresolved, no secret in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from salmon.app.connector_plugins import ConnectorPlugins, is_for
from salmon.app.serving import access_of, config_of
from salmon.config import models as configuration
from salmon.errors import ConfigError
from salmon.ops.connect.access import Refused

FILE = """
name: crm
kafka:
  bootstrap.servers: "${env:BROKERS:localhost:9092}"
  sasl.password: "${file:kafka.key}"
schema_registry: {url: "http://localhost:8081", username: u, password: plain-pass-1}
salesforce:
  login_url: https://login.salesforce.com
  auth: {flow: client_credentials, client_id: app, client_secret: "${env:SECRET:default-pass-2}"}
mongodb: {uri: "mongodb://u:mongo-pass-3@localhost", database: crm}
objects: {Account: {collection: accounts, fields: {exclude: [Fax]}, deletes: propagate}}
rest: {auth: {username: ops, password: rest-pass-4, token: "x${env:SECRET:default-pass-2}"}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "kafka.key").write_text("kafka-pass-5")
    (tmp_path / "sync.yaml").write_text(FILE)
    return tmp_path / "sync.yaml"


def test_references_are_shown_as_written_and_secrets_never(file: Path) -> None:
    """The default of a secret's reference is a secret too, and so is a text of which a reference is only a part."""
    config = configuration.load(file, env={"SECRET": "env-pass-6"})
    shown = config_of("mongodb-sink", config, file)
    assert "-pass-" not in str(shown)
    assert shown["kafka.bootstrap.servers"] == "${env:BROKERS:localhost:9092}"
    assert shown["kafka.sasl.password"] == "${file:kafka.key}"
    assert shown["schema_registry.password"] == shown["mongodb.uri"] == shown["rest.auth.token"] == "[hidden]"
    assert shown["objects.Account.fields.exclude"] == '["Fax"]'
    assert (shown["name"], shown["connector.class"], shown["sync"]) == ("mongodb-sink", "mongodb-sink", "crm")
    source = config_of("salesforce-source", config, file)
    assert source["salesforce.auth.client_secret"] == "${env:SECRET}"


def test_a_connector_shows_only_the_side_that_it_knows() -> None:
    """Merge knows neither."""
    assert is_for("mongodb-sink", "mongodb.uri")
    assert not is_for("mongodb-sink", "salesforce.login_url")
    assert not is_for("merge", "mongodb.uri")
    assert is_for("merge", "kafka.bootstrap.servers")


def test_what_is_shown_can_be_validated_as_it_is(file: Path) -> None:
    """A tool reads the configuration, and sends it to `validate`: it must not be told of settings of the other side."""
    config = configuration.load(file, env={"SECRET": "env-pass-6"})
    shown = dict(config_of("mongodb-source", config, file))
    checked = ConnectorPlugins(file.parent, env={"SECRET": "x"}).check("mongodb-source", shown)
    wrong = {each.value.name: each.value.errors for each in checked.configs if each.value.errors}
    assert set(wrong) <= {"mongodb.uri"}, "[hidden] is no address"
    assert checked.error_count == len(wrong)


def test_every_fault_is_reported_at_its_setting(tmp_path: Path) -> None:
    """Unknown settings, missing ones, wrong types, and a value where a group is."""
    plugins = ConnectorPlugins(tmp_path, env={})
    wrong = {"objects": "x", "objects.Account.collection": "a", "rest.port": "many", "nonsense": "1"}
    checked = plugins.check("merge", wrong)
    named = {each.value.name for each in checked.configs if each.value.errors}
    assert {"objects.Account.collection", "rest.port", "nonsense", "kafka", "sync"} <= named
    assert not any(name.startswith(("mongodb", "salesforce")) for name in named)


def test_a_plugin_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    """And one that the body contradicts is refused."""
    plugins = ConnectorPlugins(tmp_path, env={})
    with pytest.raises(Refused, match="Unknown plugin"):
        plugins.keys("FileStreamSource")
    with pytest.raises(Refused, match=r"connector\.class"):
        plugins.check("merge", {"connector.class": "mongodb-sink"})
    keys = plugins.keys("merge")
    assert [key.order for key in keys] == list(range(1, len(keys) + 1))
    assert {key.type for key in keys} >= {"STRING", "INT", "DOUBLE", "PASSWORD", "LIST"}


@pytest.mark.parametrize("auth", ["{}", "{username: ops}", "{password: x}"])
def test_half_of_the_credentials_is_a_fault(file: Path, auth: str) -> None:
    """Otherwise nobody could use it, or everybody."""
    text = FILE.partition("rest:")[0] + f"rest: {{auth: {auth}}}\n"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"rest\.auth"):
        configuration.load(file, env={"SECRET": "x"})


def test_who_may_use_the_server_follows_from_the_file(file: Path) -> None:
    """Its own references are resolved here."""
    access = access_of(configuration.load(file, env={"SECRET": "env"}))
    assert (access.username, access.password, access.token) == ("ops", "rest-pass-4", "xenv")
    assert access.has_credentials


def test_a_list_of_one_may_be_written_as_the_one(file: Path) -> None:
    """The group of a report: its keys are shown as they are in the file."""
    report = (
        "reports: {r: {object: Account, by: {field: CreatedDate, every: day}, measures: {accounts: count}}}\n"
    )
    file.write_text(f"{FILE}{report}")
    shown = config_of("merge", configuration.load(file, env={"SECRET": "env-pass-6"}), file)
    named = {key: value for key, value in shown.items() if key.startswith("reports.")}
    assert named == {
        "reports.r.object": "Account",
        "reports.r.by.field": "CreatedDate",
        "reports.r.by.every": "day",
        "reports.r.measures.accounts": "count",
    }
