"""The REST API is as its description at /openapi.json says, for requests that nobody would think of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies

from salmon.ops.connect.application import application
from support.at_hand.connect_rest import Worker, running

if TYPE_CHECKING:
    import schemathesis

worker = Worker("mongodb-sink")
served = application(worker.served(worker.server))


@pytest.fixture(scope="module", autouse=True)
def works() -> Iterator[None]:
    worker.health.running()
    with running(worker):
        yield


def requests_of_the_description() -> strategies.SearchStrategy[schemathesis.Case[Any]]:
    """Made by the test, and not when it is collected: only one process of many needs the package, which takes seconds to import."""
    import schemathesis
    from schemathesis.core.result import Ok

    schema = schemathesis.openapi.from_asgi("/openapi.json", served)
    return strategies.one_of(
        [each.ok().as_strategy() for each in schema.get_all_operations() if isinstance(each, Ok)]
    )


@given(case=strategies.deferred(requests_of_the_description))
@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_every_answer_is_one_that_the_description_has(case: schemathesis.Case[Any]) -> None:
    """No code, type or body that it does not name, and never a server error."""
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    for name in ("connector", "plugin"):
        if name in case.path_parameters:  # a made up name is only ever 404
            case.path_parameters[name] = "mongodb-sink"
    case.headers["host"] = "127.0.0.1"
    case.call_and_validate(
        checks=[
            not_a_server_error,
            checks.status_code_conformance,
            checks.content_type_conformance,
            checks.response_schema_conformance,
        ]
    )
