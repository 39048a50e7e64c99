"""Our registry over HTTP, where Confluent's answers are more than one suite for all registries asks."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import uvicorn

from salmon.devstack.processes import HOST
from salmon.devstack.registry import app
from salmon.devstack.registry_store import RegistryStore
from salmon.ports import free_ports
from support.waiting import until

SCHEMA = json.dumps({"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}]})
OTHER = json.dumps({"type": "record", "name": "R", "fields": [{"name": "a", "type": "string"}]})


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    (port,) = free_ports(1)
    store = RegistryStore(tmp_path_factory.mktemp("registry"))
    server = uvicorn.Server(uvicorn.Config(app(store), host=HOST, port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started, "the registry serves")
    yield f"http://{HOST}:{port}"
    server.should_exit = True
    thread.join(20)
    store.close()


def call(method: str, url: str, body: Any = None) -> tuple[int, Any]:
    answer = requests.request(method, url, json=body, timeout=10)
    assert answer.headers["Content-Type"] == "application/vnd.schemaregistry.v1+json"
    return answer.status_code, answer.json()


def test_a_subject_is_told_from_all_sides(url: str) -> None:
    """By subject, by version and by id."""
    _, made = call("POST", f"{url}/subjects/crm/versions", {"schema": SCHEMA})
    assert "crm" in call("GET", f"{url}/subjects")[1]
    assert call("GET", f"{url}/subjects?subjectPrefix=nobody")[1] == []
    _, version = call("GET", f"{url}/subjects/crm/versions/1")
    assert version == {"subject": "crm", "version": 1, "id": made["id"], "schema": version["schema"]}
    assert call("GET", f"{url}/subjects/crm/versions/1/schema")[1] == json.loads(SCHEMA)
    assert call("GET", f"{url}/schemas/ids/{made['id']}/schema")[1] == json.loads(SCHEMA)
    assert "crm" in call("GET", f"{url}/schemas/ids/{made['id']}/subjects")[1]
    assert {"subject": "crm", "version": 1} in call("GET", f"{url}/schemas/ids/{made['id']}/versions")[1]
    assert call("GET", f"{url}/schemas/types")[1] == ["AVRO"]
    assert call("GET", f"{url}/mode")[1] == {"mode": "READWRITE"}


def test_levels_are_set_told_and_taken_back(url: str) -> None:
    """For one subject and for all the others."""
    assert call("GET", f"{url}/config")[1] == {"compatibilityLevel": "BACKWARD"}
    assert call("GET", f"{url}/config/levels") == (
        404,
        {
            "error_code": 40408,
            "message": "Subject 'levels' does not have subject-level compatibility configured",
        },
    )
    assert call("GET", f"{url}/config/levels?defaultToGlobal=true")[1] == {"compatibilityLevel": "BACKWARD"}
    assert call("PUT", f"{url}/config/levels", {"compatibility": "full"})[1] == {"compatibility": "FULL"}
    assert call("DELETE", f"{url}/config/levels")[1] == {"compatibilityLevel": "FULL"}
    assert call("GET", f"{url}/config/levels")[0] == 404
    assert call("PUT", f"{url}/config/levels", {"compatibility": "SOMEWHAT"})[1]["error_code"] == 42203


def test_compatibility_says_why_when_it_is_asked_to(url: str) -> None:
    """The messages are for people; without `verbose` there are none."""
    call("POST", f"{url}/subjects/why/versions", {"schema": SCHEMA})
    latest = f"{url}/compatibility/subjects/why/versions/latest"
    assert call("POST", latest, {"schema": OTHER})[1] == {"is_compatible": False}
    _, verbose = call("POST", f"{latest}?verbose=true", {"schema": OTHER})
    assert "TYPE_MISMATCH" in verbose["messages"][0]
    assert call("POST", f"{url}/compatibility/subjects/why/versions", {"schema": SCHEMA})[1] == {
        "is_compatible": True
    }
    nobody = f"{url}/compatibility/subjects/nobody/versions/latest"
    assert call("POST", nobody, {"schema": SCHEMA})[1] == {"is_compatible": True}


def test_a_refusal_says_what_is_incompatible(url: str) -> None:
    """The 409 of a registration carries the reasons."""
    call("POST", f"{url}/subjects/refused/versions", {"schema": SCHEMA})
    status, said = call("POST", f"{url}/subjects/refused/versions", {"schema": OTHER})
    assert status == said["error_code"] == 409
    assert 'subject "refused"' in said["message"]
    assert "TYPE_MISMATCH at /fields/0/type" in said["message"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"schema": SCHEMA, "schemaType": "PROTOBUF"}, 422, 42201),
        ({"schema": SCHEMA, "references": [{"name": "x", "subject": "y", "version": 1}]}, 422, 42201),
        ({"schema": ""}, 422, 42201),
        ({"schema": "{"}, 422, 42201),
        ({}, 422, 42201),
        ([], 400, 400),
        ("text", 400, 400),
    ],
)
def test_what_it_cannot_do_is_refused_and_not_ignored(url: str, body: Any, status: int, code: int) -> None:
    """A schema that were taken for Avro by mistake would be a wrong id for ever."""
    answer = call("POST", f"{url}/subjects/strange/versions", body)
    assert (answer[0], answer[1]["error_code"]) == (status, code)


def test_a_path_that_is_not_served_is_answered_in_the_same_form(url: str) -> None:
    """Clients read error_code and message of every error."""
    assert call("GET", f"{url}/exporters") == (404, {"error_code": 404, "message": "HTTP 404 Not Found"})
    assert call("PUT", f"{url}/subjects", {})[1]["error_code"] == 405


def test_subjects_and_versions_are_deleted(url: str) -> None:
    """Softly, then for good; what was deleted is found where it is asked for."""
    call("POST", f"{url}/subjects/gone/versions", {"schema": SCHEMA})
    assert call("DELETE", f"{url}/subjects/gone/versions/latest")[1] == 1
    assert call("GET", f"{url}/subjects/gone/versions")[1]["error_code"] == 40401
    assert call("GET", f"{url}/subjects/gone/versions?deleted=true")[1] == [1]
    assert call("POST", f"{url}/subjects/gone?deleted=true", {"schema": SCHEMA})[1]["version"] == 1
    assert call("DELETE", f"{url}/subjects/gone?permanent=true")[1] == [1]
    assert call("DELETE", f"{url}/subjects/gone")[1]["error_code"] == 40401
