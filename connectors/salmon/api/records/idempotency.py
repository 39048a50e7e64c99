"""
Idempotency-Key: a POST that is repeated with the same key is carried out once, and answered alike.

What was answered is kept in a collection of Salmon's own for some time. The `_id`s of what is created follow from the key, the body and when the
request first came, so a request whose process was killed after the write, and before it noted the answer, creates nothing twice when it is
repeated; and a key that is used again after its entry has expired creates something new.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from bson.binary import Binary
from bson.objectid import ObjectId
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from salmon.api.grants import Caller
from salmon.api.handle import Api
from salmon.api.problems import Problem, at_fault
from salmon.mongodb.paths import MARKER
from salmon.mongodb.wire.client import Document, border

COLLECTION: Final = f"{MARKER}.api_requests"
KEY_MAX: Final = 255
# A request that has not been answered for so long has no process any more.
_GIVEN_UP_S: Final = 120
# A larger answer is kept without its body: whoever posts giant lists must not fill the database with answers.
_ANSWER_MAX: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Once:
    """
    One request with an Idempotency-Key.

    Args:
        print: The SHA-256 of its body.
        began_ms: When it first came, in ms since 1970.
    """

    api: Api
    id: str
    print: str
    began_ms: int

    def document_id(self, number: int) -> ObjectId:
        """The `_id` of the record that is at this place in the request."""
        seed = f"{self.id}:{self.print}:{self.began_ms}:{number}"
        return ObjectId(hashlib.sha256(seed.encode()).digest()[:12])

    def done(self, answer: Answer) -> None:
        """Note the answer. Blocks."""
        headers, body = answer.headers, answer.body
        if len(body) > _ANSWER_MAX:
            headers = {name: text for name, text in headers.items() if name != "content-type"}
            body = b""
        update = {"status": answer.status, "headers": headers, "body": Binary(body)}
        with border("noting an answer"):
            self.api.database[COLLECTION].update_one({"_id": self.id}, {"$set": update})

    def release(self) -> None:
        """
        Let the same request be carried out again: it failed, or has changed nothing. Blocks.

        The entry stays: something may have been written all the same, and the repetition must give it the same `_id`.
        """
        with border("noting an answer"):
            self.api.database[COLLECTION].update_one({"_id": self.id}, {"$set": {"released": True}})


def begin(api: Api, caller: Caller, path: str, key: str, body: bytes) -> Once | Answer:
    """
    Begin a request. Blocks.

    Returns:
        The answer that it got before; or, if it is new, where to note one.

    Raises:
        Problem: 422: another request had the key; 409: it is still being carried out.
    """
    if not 0 < len(key) <= KEY_MAX or not key.isprintable():
        raise at_fault("Idempotency-Key", "not-a-key", f"must be 1 to {KEY_MAX} characters that can be seen")
    name = hashlib.sha256("\0".join((caller.name, path, key)).encode()).hexdigest()
    print_ = hashlib.sha256(body).hexdigest()
    now = datetime.now(UTC)
    began_ms = int(now.timestamp() * 1000)
    collection = api.database[COLLECTION]
    with border("looking for an earlier request"):
        try:
            collection.insert_one({"_id": name, "print": print_, "at": now, "began_ms": began_ms})
            return Once(api, name, print_, began_ms)
        except DuplicateKeyError:
            earlier = collection.find_one({"_id": name})
        if earlier is None:
            raise _busy()
        if earlier.get("print") != print_:
            raise Problem(
                422,
                "idempotency-key-reused",
                "Another body was sent with this Idempotency-Key. Give each request its own.",
            )
        if "status" in earlier:
            return Answer(earlier["status"], dict(earlier["headers"]), bytes(earlier["body"]))
        stale = {
            "_id": name,
            "$or": [{"at": {"$lt": now - timedelta(seconds=_GIVEN_UP_S)}}, {"released": True}],
            "status": {"$exists": False},
        }
        again = {"$set": {"at": now}, "$unset": {"released": ""}}
        if collection.update_one(stale, again).modified_count:
            return Once(api, name, print_, int(earlier.get("began_ms", 0)))
    raise _busy()


def prepare(database: Database[Document], kept_s: int) -> None:
    """Have MongoDB forget the answers in time. Idempotent."""
    with border("preparing api_requests"):
        collection = database[COLLECTION]
        known = collection.index_information().get("kept", {})
        if known.get("expireAfterSeconds", kept_s) != kept_s:
            collection.drop_index("kept")
        collection.create_index("at", name="kept", expireAfterSeconds=kept_s)


def _busy() -> Problem:
    return Problem(
        409, "in-progress", "The same request is still being carried out.", headers={"Retry-After": "1"}
    )
