"""What the product relies on in a schema registry: one suite on our own and on Apicurio."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
import requests

from salmon.errors import SchemaMismatch, SetupError
from salmon.kafka.codecs.registry import COMPATIBILITY, SchemaRegistry
from support.fresh import fresh
from support.stacks import Stack

Schema = dict[str, Any]


def record(*fields: Mapping[str, Any], name: str = "Account") -> Schema:
    return {"type": "record", "name": name, "namespace": "salmon.test", "fields": list(fields)}


NAME = {"name": "Name", "type": ["null", "string"], "default": None}
PHONE = {"name": "Phone", "type": ["null", "string"], "default": None}
REQUIRED = {"name": "Rating", "type": "string"}


class Rest:
    """Bare HTTP, as any client speaks it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.headers["Content-Type"] = "application/vnd.schemaregistry.v1+json"

    def __call__(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> requests.Response:
        data = None if body is None else json.dumps(body)
        return self._session.request(method, self._url + path, data=data, timeout=20)

    def register(self, subject: str, schema: Schema) -> requests.Response:
        return self("POST", f"/subjects/{subject}/versions", {"schema": json.dumps(schema)})


@pytest.fixture
def rest(stack: Stack) -> Rest:
    return Rest(stack.registry_url)


@pytest.fixture
def subject() -> str:
    return f"{fresh('crm.records.Account')}-value"


def test_a_schema_is_registered_once_and_found_by_its_id(rest: Rest, subject: str) -> None:
    """Registering the same schema again gives the same id and no second version."""
    first, second = (rest.register(subject, record(NAME)) for _ in range(2))
    assert first.status_code == second.status_code == 200
    assert first.json()["id"] == second.json()["id"]
    assert rest("GET", f"/subjects/{subject}/versions").json() == [1]
    text = rest("GET", f"/schemas/ids/{first.json()['id']}").json()["schema"]
    assert json.loads(text)["fields"][0]["name"] == "Name"


def test_the_same_content_has_the_same_id_under_every_subject(rest: Rest) -> None:
    """Ids are of contents: two subjects with one schema share its id."""
    one, other = fresh("one"), fresh("other")
    unique = record(NAME, name=fresh("Account"))
    ids = {rest.register(subject, unique).json()["id"] for subject in (one, other)}
    assert len(ids) == 1


def test_the_latest_version_is_what_was_registered_last(rest: Rest, subject: str) -> None:
    """`latest` is how everybody but the source learns an object's schema."""
    rest.register(subject, record(NAME))
    newest = rest.register(subject, record(NAME, PHONE)).json()["id"]
    latest = rest("GET", f"/subjects/{subject}/versions/latest").json()
    assert (latest["subject"], latest["version"], latest["id"]) == (subject, 2, newest)
    assert [field["name"] for field in json.loads(latest["schema"])["fields"]] == ["Name", "Phone"]
    assert rest("GET", f"/subjects/{subject}/versions/1").json()["version"] == 1


def test_an_incompatible_schema_is_refused_with_409(rest: Rest, subject: str) -> None:
    """A field without a default could not be read from older records."""
    rest("PUT", f"/config/{subject}", {"compatibility": "BACKWARD"})
    rest.register(subject, record(NAME))
    refused = rest.register(subject, record(NAME, REQUIRED))
    assert refused.status_code == 409
    assert refused.json()["error_code"] == 409
    assert rest("GET", f"/subjects/{subject}/versions").json() == [1]


@pytest.mark.parametrize(
    ("level", "change", "is_fine"),
    [
        ("BACKWARD", record(NAME, PHONE), True),
        ("BACKWARD", record(), True),
        ("BACKWARD", record(NAME, REQUIRED), False),
        ("FORWARD", record(NAME, REQUIRED), True),
        ("FORWARD", record({"name": "Name", "type": "int"}), False),
        ("FULL", record(NAME, PHONE), True),
        ("FULL", record(NAME, REQUIRED), False),
        ("NONE", record({"name": "Name", "type": "int"}), True),
        ("BACKWARD", record({"name": "Name", "type": ["null", "string", "int"], "default": None}), True),
        ("BACKWARD", record({"name": "Name", "type": "string"}), False),
    ],
)
def test_compatibility_can_be_asked_without_registering(
    rest: Rest, subject: str, level: str, change: Schema, is_fine: bool
) -> None:
    """Every registry judges by Avro's rules, and the subject's level says which way."""
    rest("PUT", f"/config/{subject}", {"compatibility": level})
    rest.register(subject, record(NAME))
    asked = rest(
        "POST",
        f"/compatibility/subjects/{subject}/versions/latest?verbose=true",
        {"schema": json.dumps(change)},
    )
    assert asked.status_code == 200
    assert asked.json()["is_compatible"] is is_fine
    assert rest("GET", f"/subjects/{subject}/versions").json() == [1], "and nothing was registered"


def test_transitive_looks_further_back_than_the_last_version(rest: Rest, subject: str) -> None:
    """A field that was dropped must not come back as another type: old records are still in the topic."""
    again = record({"name": "Phone", "type": ["null", "int"], "default": None})
    for level, is_fine in (("BACKWARD", True), ("BACKWARD_TRANSITIVE", False)):
        of_level = subject + level
        rest("PUT", f"/config/{of_level}", {"compatibility": level})
        for version in (record(NAME, PHONE), record(NAME)):
            assert rest.register(of_level, version).status_code == 200
        assert (rest.register(of_level, again).status_code == 200) is is_fine


def test_a_subject_keeps_the_level_that_was_set_for_it(rest: Rest, subject: str) -> None:
    """Salmon sets BACKWARD_TRANSITIVE on each of its subjects."""
    rest.register(subject, record(NAME))
    said = rest("PUT", f"/config/{subject}", {"compatibility": "FULL_TRANSITIVE"})
    assert said.status_code == 200
    assert rest("GET", f"/config/{subject}").json()["compatibilityLevel"] == "FULL_TRANSITIVE"


def test_a_schema_is_looked_up_by_what_it_says(rest: Rest, subject: str) -> None:
    """POST /subjects/{subject} answers version and id, and registers nothing."""
    schema_id = rest.register(subject, record(NAME)).json()["id"]
    found = rest("POST", f"/subjects/{subject}", {"schema": json.dumps(record(NAME))}).json()
    assert (found["subject"], found["version"], found["id"]) == (subject, 1, schema_id)
    unknown = rest("POST", f"/subjects/{subject}", {"schema": json.dumps(record(PHONE))})
    assert (unknown.status_code, unknown.json()["error_code"]) == (404, 40403)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/subjects/nobody/versions/latest", 40401),
        ("/subjects/nobody/versions", 40401),
        ("/schemas/ids/999999999", 40403),
        ("/subjects/{subject}/versions/7", 40402),
    ],
)
def test_what_is_not_there_is_named_by_confluents_codes(
    rest: Rest, subject: str, path: str, code: int
) -> None:
    """Clients tell a missing subject from a missing version and a missing schema by code."""
    rest.register(subject, record(NAME))
    answer = rest("GET", path.format(subject=subject))
    assert (answer.status_code, answer.json()["error_code"]) == (404, code)


def test_what_is_no_schema_is_refused(rest: Rest, subject: str) -> None:
    """422, and the subject does not come to be."""
    answer = rest("POST", f"/subjects/{subject}/versions", {"schema": '{"type": "nonsense"}'})
    assert (answer.status_code, answer.json()["error_code"]) == (422, 42201)
    assert rest("GET", f"/subjects/{subject}/versions").status_code == 404


def test_a_deleted_version_is_not_listed_but_its_records_can_be_read(rest: Rest, subject: str) -> None:
    """Deleting is soft: whoever meets the id in a record still finds the schema."""
    rest.register(subject, record(NAME))
    newest = rest.register(subject, record(NAME, PHONE)).json()["id"]
    assert rest("DELETE", f"/subjects/{subject}/versions/2").status_code == 200
    assert rest("GET", f"/subjects/{subject}/versions").json() == [1]
    assert rest("GET", f"/schemas/ids/{newest}").status_code == 200


def test_our_client_registers_with_the_level_that_our_promises_need(stack: Stack, subject: str) -> None:
    """The product's own client: registration, ids for ever, the newest schema, and the level."""
    client = SchemaRegistry(stack.registry_url)
    assert client.latest(subject) is None
    first = client.register(subject, record(NAME))
    assert client.register(subject, record(NAME)) == first
    second = client.register(subject, record(NAME, PHONE))
    newest = client.latest(subject)
    assert newest is not None
    assert newest[0] == second
    assert [field["name"] for field in client.schema_by_id(first)["fields"]] == ["Name"]
    level = requests.get(f"{stack.registry_url}/config/{subject}", timeout=10).json()["compatibilityLevel"]
    assert level == COMPATIBILITY
    client.close()


def test_our_client_says_why_a_schema_is_refused(stack: Stack, subject: str) -> None:
    """A person reads the sentence: it names the subject and the field."""
    client = SchemaRegistry(stack.registry_url)
    client.register(subject, record(NAME))
    with pytest.raises(SetupError, match="incompatible") as refused:
        client.register(subject, record(NAME, REQUIRED))
    assert subject in str(refused.value)
    with pytest.raises(SchemaMismatch):
        client.schema_by_id(999_999_999)
    client.close()
