"""
Our own small schema registry: Confluent's REST API over registry_store.py, for Avro.

    python -m salmon.devstack.registry --port P --data-dir D

Left out: other formats, references between schemas, contexts, modes and authentication; a request that asks for one of
them is refused. Source: Confluent Platform, Schema Registry API Reference.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from salmon.devstack.compatibility import Level
from salmon.devstack.processes import HOST
from salmon.devstack.registry_store import Refusal, RegistryStore, Version
from salmon.errors import SalmonError

_TYPES: Final = ["AVRO"]


class _Answer(JSONResponse):
    media_type = "application/vnd.schemaregistry.v1+json"


def app(store: RegistryStore) -> Starlette:
    """The registry as an ASGI application; all of its requests are served by one thread."""
    endpoints = _Endpoints(store)
    subject, version = "/subjects/{subject}", "/subjects/{subject}/versions/{version}"
    return Starlette(
        routes=[
            Route("/", endpoints.root),
            Route("/subjects", endpoints.subjects),
            Route(subject, endpoints.lookup, methods=["POST"]),
            Route(subject, endpoints.delete_subject, methods=["DELETE"]),
            Route(f"{subject}/versions", endpoints.versions),
            Route(f"{subject}/versions", endpoints.register, methods=["POST"]),
            Route(version, endpoints.version),
            Route(version, endpoints.delete_version, methods=["DELETE"]),
            Route(f"{version}/schema", endpoints.version_schema),
            Route("/schemas/types", endpoints.types),
            Route("/schemas/ids/{id:int}", endpoints.schema),
            Route("/schemas/ids/{id:int}/schema", endpoints.schema_text),
            Route("/schemas/ids/{id:int}/subjects", endpoints.schema_subjects),
            Route("/schemas/ids/{id:int}/versions", endpoints.schema_versions),
            Route("/compatibility" + version, endpoints.compatible, methods=["POST"]),
            Route(f"/compatibility{subject}/versions", endpoints.compatible, methods=["POST"]),
            Route("/config", endpoints.level),
            Route("/config", endpoints.set_level, methods=["PUT"]),
            Route("/config", endpoints.clear_level, methods=["DELETE"]),
            Route("/config/{subject}", endpoints.level),
            Route("/config/{subject}", endpoints.set_level, methods=["PUT"]),
            Route("/config/{subject}", endpoints.clear_level, methods=["DELETE"]),
            Route("/mode", endpoints.mode),
        ],
        exception_handlers={Refusal: _refused, HTTPException: _not_served},
    )


class _Endpoints:
    """One method a route. They are coroutines that never wait, so the store needs no lock."""

    def __init__(self, store: RegistryStore) -> None:
        self._store = store

    async def root(self, _request: Request) -> Response:
        return _Answer({})

    async def types(self, _request: Request) -> Response:
        return _Answer(_TYPES)

    async def mode(self, _request: Request) -> Response:
        return _Answer({"mode": "READWRITE"})

    # Subjects and versions

    async def subjects(self, request: Request) -> Response:
        prefix = request.query_params.get("subjectPrefix", "")
        found = self._store.subjects(deleted=_flag(request, "deleted"))
        return _Answer([subject for subject in found if subject.startswith(prefix)])

    async def lookup(self, request: Request) -> Response:
        text = await _schema_of(request)
        found = self._store.lookup(_subject(request), text, deleted=_flag(request, "deleted"))
        return _Answer(self._shown(found))

    async def delete_subject(self, request: Request) -> Response:
        return _Answer(self._store.delete_subject(_subject(request), permanent=_flag(request, "permanent")))

    async def versions(self, request: Request) -> Response:
        return _Answer(self._store.versions(_subject(request), deleted=_flag(request, "deleted")))

    async def register(self, request: Request) -> Response:
        text = await _schema_of(request)
        return _Answer({"id": self._store.register(_subject(request), text)})

    async def version(self, request: Request) -> Response:
        return _Answer(self._shown(self._version(request)))

    async def version_schema(self, request: Request) -> Response:
        return _plain(self._store.schema(self._version(request).id))

    async def delete_version(self, request: Request) -> Response:
        number = request.path_params["version"]
        permanent = _flag(request, "permanent")
        return _Answer(self._store.delete_version(_subject(request), number, permanent=permanent))

    # Schemas by id

    async def schema(self, request: Request) -> Response:
        return _Answer({"schema": self._store.schema(request.path_params["id"])})

    async def schema_text(self, request: Request) -> Response:
        return _plain(self._store.schema(request.path_params["id"]))

    async def schema_subjects(self, request: Request) -> Response:
        return _Answer(sorted({one.subject for one in self._uses(request)}))

    async def schema_versions(self, request: Request) -> Response:
        return _Answer([{"subject": one.subject, "version": one.number} for one in self._uses(request)])

    # Compatibility

    async def compatible(self, request: Request) -> Response:
        text = await _schema_of(request)
        found = self._store.breaches(_subject(request), text, request.path_params.get("version"))
        messages = {"messages": [str(one) for one in found]} if _flag(request, "verbose") else {}
        return _Answer({"is_compatible": not found, **messages})

    async def level(self, request: Request) -> Response:
        subject = request.path_params.get("subject", "")
        own = self._store.own_level(subject)
        if subject and own is None and not _flag(request, "defaultToGlobal"):
            raise _no_level(subject)
        return _Answer({"compatibilityLevel": own or self._store.level(subject)})

    async def set_level(self, request: Request) -> Response:
        wanted = (await _body(request)).get("compatibility")
        try:
            level = Level(str(wanted).upper())
        except ValueError:
            names = ", ".join(Level)
            raise Refusal(422, 42203, f"Invalid compatibility level. Valid values are {names}") from None
        self._store.set_level(request.path_params.get("subject", ""), level)
        return _Answer({"compatibility": level})

    async def clear_level(self, request: Request) -> Response:
        subject = request.path_params.get("subject", "")
        own = self._store.own_level(subject)
        if subject and own is None:
            raise _no_level(subject)
        self._store.set_level(subject, None)
        return _Answer({"compatibilityLevel": own or self._store.level(subject)})

    # Helpers

    def _version(self, request: Request) -> Version:
        number = request.path_params["version"]
        return self._store.version(_subject(request), number, deleted=_flag(request, "deleted"))

    def _uses(self, request: Request) -> list[Version]:
        return self._store.uses(request.path_params["id"], deleted=_flag(request, "deleted"))

    def _shown(self, one: Version) -> dict[str, Any]:
        schema = self._store.schema(one.id)
        return {"subject": one.subject, "version": one.number, "id": one.id, "schema": schema}


def _subject(request: Request) -> str:
    return str(request.path_params["subject"])


def _flag(request: Request, name: str) -> bool:
    return request.query_params.get(name, "").lower() == "true"


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Refusal(400, 400, "Unable to process JSON")
    return body


async def _schema_of(request: Request) -> str:
    body = await _body(request)
    if (kind := body.get("schemaType") or "AVRO") not in _TYPES:
        raise Refusal(422, 42201, f"Invalid schema type {kind}: this registry knows {', '.join(_TYPES)}")
    if body.get("references"):
        raise Refusal(422, 42201, "References between schemas are not supported by this registry")
    if not isinstance(text := body.get("schema"), str) or not text:
        raise Refusal(422, 42201, "Empty schema")
    return text


def _plain(text: str) -> Response:
    """A schema as it is, not as a JSON string of its text."""
    return Response(text, media_type=_Answer.media_type)


def _no_level(subject: str) -> Refusal:
    message = f"Subject '{subject}' does not have subject-level compatibility configured"
    return Refusal(404, 40408, message)


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return _Answer({"error_code": error.code, "message": str(error)}, status_code=error.status)


async def _not_served(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"HTTP {error.status_code} {error.detail}"
    return _Answer({"error_code": error.status_code, "message": message}, status_code=error.status_code)


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m salmon.devstack.registry")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data-dir", type=Path, required=True, help="for the file of its subjects")
    options = parser.parse_args(arguments)
    try:
        store = RegistryStore(options.data_dir)
    except SalmonError as error:
        print(json.dumps({"error": str(error)}), file=sys.stderr)  # noqa: T201
        return 2
    try:
        uvicorn.run(
            app(store),
            host=HOST,
            port=options.port,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=5,
        )
    finally:
        store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
