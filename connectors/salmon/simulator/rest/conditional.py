"""
Conditional requests (REST API Developer Guide, "Conditional Request Headers"): ETag and Last-Modified, 304 and 412.

Of rows, only those of Account have an ETag; the dates work for all of them, and for describes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from salmon.simulator.org.refusals import BadRequest
from salmon.simulator.rest.web import Answer, Call, encode


def etag_of(content: Any) -> str:
    """A hash of the content, as an org shows it: in quotes."""
    body = content if isinstance(content, bytes) else encode(content)
    digest = hashlib.sha1(body, usedforsecurity=False).digest()
    return f'"{base64.b64encode(digest).decode()}"'


def headers(modified_ms: int, etag: str) -> dict[str, str]:
    """Last-Modified and ETag."""
    moment = datetime.fromtimestamp(modified_ms // 1000, UTC)
    return {"Last-Modified": format_datetime(moment, usegmt=True), "ETag": etag}


def check_unmodified(call: Call, modified_ms: int, etag: str | None) -> None:
    """Raises BadRequest (412) if the caller wants to go on only with what has changed since."""
    unless_since = call.header_time_ms("If-Unmodified-Since")
    too_new = unless_since is not None and modified_ms > unless_since
    wanted = None if etag is None else _tags(call.headers, "if-match")
    if too_new or (wanted and "*" not in wanted and etag not in wanted):
        raise BadRequest("PRECONDITION_FAILED", "Precondition Failed", status=412)


def unchanged(call: Call, modified_ms: int, etag: str | None, sent: Mapping[str, str]) -> Answer | None:
    """The answer 304 if the caller has the latest already, else None."""
    since = call.header_time_ms("If-Modified-Since")
    known = set[str]() if etag is None else _tags(call.headers, "if-none-match")
    if known:  # It goes before the date (RFC 9110, 13.2.2).
        return Answer(304, None, sent) if "*" in known or etag in known else None
    return Answer(304, None, sent) if since is not None and modified_ms <= since else None


def _tags(given: Mapping[str, str], name: str) -> set[str]:
    """The ETags of a header, without the -gzip that a compressed answer adds to them."""
    tags = (part.strip().removeprefix("W/") for part in given.get(name, "").split(","))
    return {tag.replace('-gzip"', '"') for tag in tags if tag}
