"""The REST API is as its description at /openapi.json says, for requests that nobody would think of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings, strategies
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from salmon.ops.connect.application import application
from support.connect_rest import Worker, running

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
worker = Worker("mongodb-sink")
schema = schemathesis.openapi.from_asgi("/openapi.json", application(worker.served(worker.server)))


@pytest.fixture(scope="module", autouse=True)
def works() -> Iterator[None]:
    worker.health.running()
    with running(worker):
        yield


@given(
    case=strategies.one_of(
        [each.ok().as_strategy() for each in schema.get_all_operations() if isinstance(each, Ok)]
    )
)
@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_every_answer_is_one_that_the_description_has(case: schemathesis.Case[Any]) -> None:
    """No code, type or body that it does not name, and never a server error."""
    for name in ("connector", "plugin"):
        if name in case.path_parameters:  # a made up name is only ever 404
            case.path_parameters[name] = "mongodb-sink"
    case.headers["host"] = "127.0.0.1"
    case.call_and_validate(checks=CHECKS)
