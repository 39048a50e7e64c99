"""`salmon config`: what a person and a script learn of a file, without any server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from salmon.cli.main import app
from salmon.errors import ConfigError

FILE = """
name: crm
kafka: {bootstrap.servers: "${env:BROKERS:localhost:9092}", sasl.password: "${env:KAFKA_PASSWORD:default-pass-1}"}
schema_registry: {url: "http://${env:HOST}:8081", username: u, password: plain-pass-2, ca_file: plain-pass-2}
salesforce: {auth: {flow: client_credentials, client_id: app, client_secret: "${file:org.properties:secret}"}}
mongodb: {uri: "mongodb://u:mongo-pass-3@localhost", database: "${file:org.properties:database}"}
numbers: decimal
objects:
  Account: {collection: accounts, deletes: propagate, fields: {exclude: [Fax, "${env:HOST}"]}}
  Contact: {collection: contacts, numbers: double, conflicts: {fields: {Email: salesforce}}}
"""
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Writes a sync.yaml, and runs `salmon config`."""
    (tmp_path / "org.properties").write_text("secret=file-pass-4\ndatabase=crm\n")
    monkeypatch.setenv("HOST", "registry")
    for name in ("BROKERS", "KAFKA_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "sync.yaml"

    def run(*arguments: str, text: str = FILE) -> Result:
        file.write_text(text)
        return CliRunner().invoke(app, ["config", *arguments, "-c", str(file)])

    return run


def settings(run: Run, *arguments: str, text: str = FILE) -> dict[str, Any]:
    told = json.loads(run("explain", *arguments, "--json", text=text).stdout)
    return {each["key"]: each for each in told["settings"]}


def test_a_valid_file_is_summed_up_in_one_line(run: Run) -> None:
    """Exit code 0."""
    told = run("validate")
    assert (told.exit_code, told.stderr) == (0, "")
    assert told.stdout.endswith("sync.yaml: valid. crm syncs Account, Contact.\n")


def test_a_faulty_file_is_told_with_all_its_faults_and_exit_code_2(run: Run) -> None:
    """For people on standard error; for scripts as JSON with line, key and sentence."""
    text = FILE.replace("deletes: propagate", "deletes: never").replace("numbers: double", "number: double")
    told = run("validate", text=text)
    assert told.exit_code == 2
    assert told.stdout == ""
    assert "sync.yaml has 2 faults:" in told.stderr
    assert "line 9: objects.Account.deletes.mode: is text (str), but must be 'propagate'" in told.stderr
    told = run("validate", "--json", text=text)
    assert told.exit_code == 2
    found = json.loads(told.stdout)
    assert not found["valid"]
    assert [(each["line"], each["key"]) for each in found["faults"]] == [
        (9, "objects.Account.deletes.mode"),
        (10, "objects.Contact.number"),
    ]


def test_a_file_that_cannot_be_read_is_told_to_scripts_too(run: Run) -> None:
    """It has no key and no line."""
    found = json.loads(run("validate", "--json", text="name: [").stdout)
    assert [(each["line"], each["key"]) for each in found["faults"]] == [(None, "")]
    with pytest.raises(ConfigError, match="is not valid YAML"):
        raise run("validate", text="name: [").exception or AssertionError


def test_each_value_is_explained_by_where_it_comes_from(run: Run) -> None:
    """A line, the environment, a file, the default of a reference or of the setting, a plain word, or a setting of all objects."""
    found = {key: (each["value"], each["source"], each["line"]) for key, each in settings(run).items()}
    unset = "line 3, from the default, as the environment variable BROKERS is not set"
    assert found["name"] == ("crm", "line 2", 2)
    assert found["kafka.bootstrap.servers"] == ("localhost:9092", unset, 3)
    assert found["schema_registry.url"] == (
        "http://registry:8081",
        "line 4, from the environment variable HOST",
        4,
    )
    assert found["mongodb.database"][:2] == (
        "crm",
        "line 6, from the key database of the file org.properties",
    )
    assert found["topics.partitions"] == ("6", "default", None)
    assert found["objects.Account.deletes.mode"] == ("propagate", "line 9", 9)
    assert found["objects.Account.deletes.grace_s"] == ("2.0", "default", None)
    assert found["objects.Account.numbers"] == ("decimal", "numbers, line 7", 7)
    assert found["objects.Contact.numbers"] == ("double", "line 10", 10)
    assert found["objects.Account.fields.exclude"][:2] == (
        '["Fax", "registry"]',
        "line 9, from the environment variable HOST",
    )
    assert found["objects.Contact.conflicts.fields.Email"] == ("salesforce", "line 10", 10)


def test_no_secret_is_explained(run: Run) -> None:
    """References are shown as written, without their defaults; a secret in a place where none belongs is hidden, too."""
    for arguments in ((), ("--json",)):
        assert "-pass-" not in run("explain", *arguments).stdout
    found = {key: each["value"] for key, each in settings(run).items()}
    assert found["kafka.sasl.password"] == "${env:KAFKA_PASSWORD}"
    assert found["salesforce.auth.client_secret"] == "${file:org.properties:secret}"
    assert (
        found["mongodb.uri"]
        == found["schema_registry.password"]
        == found["schema_registry.ca_file"]
        == "[hidden]"
    )


def test_a_key_is_explained_with_its_meaning_and_what_it_accepts(run: Run) -> None:
    """And a group by all of its settings."""
    told = run("explain", "objects.Contact.deletes.grace_s").stdout
    assert told.startswith("objects.Contact.deletes.grace_s: 2.0 (default)\n")
    assert "How long a deletion waits" in told
    assert "Accepts: number, at least 0, at most 3600." in told
    assert [*settings(run, "objects.Contact.deletes")] == [
        "objects.Contact.deletes.mode",
        "objects.Contact.deletes.field",
        "objects.Contact.deletes.side",
        "objects.Contact.deletes.grace_s",
    ]


def test_a_key_that_there_is_not_is_answered_by_what_it_may_be_meant_for(run: Run) -> None:
    """As everywhere, in one sentence and with exit code 2."""
    with pytest.raises(
        ConfigError, match=r"no setting objects\.Acount\.deletes\. Did you mean objects\.Account\.deletes\?"
    ):
        raise run("explain", "objects.Acount.deletes").exception or AssertionError


def test_the_how_to_shows_a_flow_that_is_valid_and_the_faults_that_a_reader_sees(run: Run) -> None:
    """deploy/your-first-flow.md: its ten lines, and its two mistakes in them."""
    page = (Path(__file__).parents[3] / "deploy" / "your-first-flow.md").read_text(encoding="utf-8")
    flow = page.partition("```yaml\n")[2].partition("```")[0]
    assert len(flow.splitlines()) == 10
    text = FILE.partition("objects:")[0] + flow
    assert run("validate", text=text).stdout.endswith("valid. crm syncs Account, Contact.\n")
    key = "objects.Contact.direction"
    assert settings(run, key, text=text)[key]["value"] == "to_mongodb"
    wrong = text.replace("collection: customers", "colection: customers").replace("to_mongodb ", "sideways ")
    told = run("validate", text=wrong).stderr
    for sentence in page.partition("has 2 faults:\n")[2].partition("```")[0].splitlines():
        assert sentence.partition(": ")[2].removesuffix(" ...") in told


def test_the_schema_is_printed_for_editors() -> None:
    """As one JSON document, without any file."""
    told = CliRunner().invoke(app, ["config", "schema"])
    assert told.exit_code == 0
    assert json.loads(told.stdout)["properties"].keys() >= {"name", "objects", "events"}


def test_secrets_that_only_the_pods_have_are_noted_and_all_else_is_checked(run: Run) -> None:
    """A pipeline checks the file of a pull request without any secret; so does Kafka Connect's validate."""
    text = FILE.replace("mongodb://u:mongo-pass-3@localhost", "${env:NO_SUCH_URI}")
    text = text.replace("password: plain-pass-2", 'password: "${file:no.key}"')
    told = run("validate", text=text)
    assert (told.exit_code, told.stderr) == (0, "")
    assert "valid. crm syncs Account, Contact." in told.stdout
    assert "mongodb.uri: the environment variable NO_SUCH_URI is not set" in told.stdout
    assert "schema_registry.password: the file no.key cannot be read" in told.stdout
    said = run("validate", "--json", text=text.replace("numbers: double", "number: double")).stdout
    faulty = json.loads(said)
    assert (faulty["valid"], [each["key"] for each in faulty["faults"]]) == (
        False,
        ["objects.Contact.number"],
    )
    assert {each["key"] for each in faulty["notes"]} == {"mongodb.uri", "schema_registry.password"}
    assert run("explain", text=text).exit_code != 0, "a process needs the values"


def test_a_note_is_no_excuse_for_a_provider_that_does_not_exist(run: Run) -> None:
    """It is a mistake wherever the processes run."""
    assert run("validate", text=FILE.replace("name: crm", 'name: "${vault:x}"')).exit_code == 2
