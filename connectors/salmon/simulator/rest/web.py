"""What the REST resources have in common: the call, the answer, and how bodies travel."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any

from salmon.foreign_json import json_in
from salmon.simulator.org.org import Org
from salmon.simulator.org.refusals import BadRequest, not_found
from salmon.simulator.org.saving.records import Unit
from salmon.simulator.org.saving.rules import DuplicateOptions
from salmon.simulator.org.sessions import User
from salmon.simulator.org.table import Table

GZIP_FROM_BYTES = 1024
BODY_BYTES_MAX = 50 * 1024 * 1024

FIRST_VERSION, LAST_VERSION = 31, 68  # of the API; older ones are retired


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came in; nobody has been let in yet."""

    path: list[str]
    method: str
    params: Mapping[str, str]
    headers: Mapping[str, str]  # names in lower case
    head_bytes: int  # URI and headers
    body: bytes

    @property
    def token(self) -> str:
        """The access token of the Authorization header; empty if there is none."""
        return self.headers.get("authorization", "").partition(" ")[2].strip()


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated REST call."""

    org: Org
    user: User
    version: str  # "64.0"
    method: str
    params: Mapping[str, str]
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    given: Any = None  # the body of a subrequest, which is JSON already

    def json(self) -> Any:
        """The body as JSON. Raises BadRequest where it is none."""
        if self.given is not None:
            return self.given
        try:
            return json_in(self.body or b"null", parse_float=Decimal)  # all the digits that were sent
        except ValueError:
            raise BadRequest(
                "JSON_PARSER_ERROR",
                "The HTTP entity body is required, but this request has none or it is not JSON.",
            ) from None

    def json_object(self) -> dict[str, Any]:
        """The body as a JSON object."""
        content = self.json()
        if not isinstance(content, dict):
            raise BadRequest("JSON_PARSER_ERROR", "The HTTP entity body must be a JSON object.")
        return content

    def table(self, name: str) -> Table:
        """The table of an object named in the path, in any case. Raises BadRequest (404)."""
        table = self.org.tables.get(self.org.object_name(name) or "")
        if table is None:
            raise not_found()
        return table

    def option(self, header: str, name: str) -> str | None:
        """One `name=value` of a header such as Sforce-Call-Options."""
        for part in re.split("[,;]", self.headers.get(header.lower(), "")):
            key, _, value = part.strip().partition("=")
            if key.strip().lower() == name.lower() and value:
                return value.strip()
        return None

    @contextmanager
    def transaction(self, *, with_client: bool) -> Iterator[Unit]:
        """A transaction of the org for this call, with what its headers say of it."""
        header = "Sforce-Duplicate-Rule-Header"
        duplicates = DuplicateOptions(
            allow_save=self.option(header, "allowSave") == "true",
            record_details=self.option(header, "includeRecordDetails") == "true",
            assign=self.headers.get("sforce-auto-assign", "true").strip().lower() != "false",
            version=self.version,
        )
        origin = self.change_origin(with_client=with_client)
        with self.org.transaction(self.user, origin, duplicates) as unit:
            yield unit

    def touch(self, record_id: str) -> None:
        """Let the record be the user's most recent one, unless the call says that it shall not (Sforce-Mru)."""
        if (self.option("Sforce-Mru", "updateMru") or "true").lower() != "false":
            self.org.recent.touch(self.user.user_id, record_id)

    def change_origin(self, *, with_client: bool) -> str:
        """
        What change events of this call name as their origin (Change Data Capture Developer Guide).

        The client's own name travels in Sforce-Call-Options, which is documented for rows and not for collections.
        """
        client = self.option("Sforce-Call-Options", "client") if with_client else None
        return f"com/salesforce/api/rest/{self.version}" + (f";client={client}" if client else "")

    def header_time_ms(self, name: str) -> int | None:
        """A date in a header such as If-Modified-Since, in epoch milliseconds; None if there is none to read."""
        try:
            return round(parsedate_to_datetime(self.headers.get(name.lower(), "")).timestamp() * 1000)
        except (TypeError, ValueError):
            return None


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, body (JSON, or bytes as they are; None for no body) and further headers."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


Resource = Callable[[Call], Answer]


def encode(body: Any) -> bytes:
    """JSON as it goes on the wire."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False, default=_number).encode()


def _number(number: Decimal) -> int | float:
    """A number with more digits than a double has: whole ones are shown with all of them."""
    return int(number) if number == number.to_integral_value() else float(number)


def unpacked(body: bytes, encoding: str, bytes_max: int = BODY_BYTES_MAX) -> bytes:
    """A request body without its Content-Encoding, at most *bytes_max* of it. Raises BadRequest where it does not unpack."""
    if encoding not in {"gzip", "deflate"}:
        return body
    try:
        unpacker = zlib.decompressobj(wbits=47)  # either format, told by its header
        content = unpacker.decompress(body, bytes_max)
    except zlib.error:
        raise BadRequest("INVALID_CONTENT_ENCODING", "The request body could not be decompressed.") from None
    if unpacker.unconsumed_tail:
        raise BadRequest("REQUEST_BODY_TOO_LARGE", "The request body is too large.", status=413)
    return content


def packed(body: bytes) -> bytes:
    """A response body in gzip, quickly rather than small."""
    return gzip.compress(body, compresslevel=1, mtime=0)
