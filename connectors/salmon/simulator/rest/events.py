"""
Platform events over REST: published like a new record, one by one or in a collection. They cannot be read back.

The answer names the event's UUID in an "error" that is none, as recorded; the id is the same for all of them.
Source: Platform Events Developer Guide ("Publish Event Messages with Salesforce APIs").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from salmon.simulator.org.objects.object_types import ObjectType
from salmon.simulator.org.objects.platform_events import not_a_record
from salmon.simulator.org.refusals import BadRequest, not_found
from salmon.simulator.rest.web import Answer, Call

Resources = Mapping[str, Callable[[Call], Answer]]


def resources(event: ObjectType, path: list[str], describe: Callable[[Call], Answer]) -> Resources:
    """The resources at *path* below /sobjects/X__e, by method. Raises BadRequest (404) where there is none."""
    match path:
        case []:
            return {"POST": lambda call: Answer(201, published(call, event, call.json_object()))}
        case ["describe"]:
            return {"GET": describe}
        case [_id]:
            raise not_a_record(event.name)
    raise not_found()


def published(call: Call, event: ObjectType, body: dict[str, Any]) -> dict[str, Any]:
    """Publish one event and return what is said of it. Raises Refusal."""
    event_id = call.org.platform_events.publish(event.name, body, call.user.user_id)
    enqueued = {"statusCode": "OPERATION_ENQUEUED", "message": event_id, "fields": []}
    return {"id": f"{event.key_prefix}xx0000000001AAA", "success": True, "errors": [enqueued]}


def must_be_new(call: Call, event: ObjectType) -> None:
    """Raises BadRequest for a call that changes what is there."""
    if call.method != "POST":
        message = f"{event.name} is a platform event: it can be published (POST) and nothing else"
        raise BadRequest("INVALID_TYPE_FOR_OPERATION", message)
