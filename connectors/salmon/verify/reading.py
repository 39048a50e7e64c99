"""
Reading all of one object, page by page, into its ledger: `records`, the org, and the collection.

Each page is written together with where the next one begins. So a reading that is cut goes on behind its last page,
and one that was finished is not repeated; only `records` is read on to its end every time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from salmon.model.change import MONGODB, SALESFORCE, SALESFORCE_ID, SIDES, Value
from salmon.verify.agreed import TakeRows
from salmon.verify.comparing import Terms
from salmon.verify.digests import Form
from salmon.verify.ledger import RECORDS, Ledger
from salmon.verify.sides import Side

# What is being read, how many of how many records.
Progress = Callable[[str, int, int], None]


class Rows(Protocol):
    """What is asked of Agreed."""

    def read(
        self, offsets: Mapping[str, int], take: TakeRows, progress: Callable[[int, int], None] | None = None
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Read:
    """How much was read now, and how much an earlier run had left."""

    without_key: int  # documents whose _id cannot be a record key
    pages: int
    resumed: bool


def ids_told(terms: Mapping[str, Terms]) -> bool:
    """Whether documents are to tell Salesforce's Ids."""
    return SALESFORCE_ID in terms[MONGODB].compared


def read(
    ledger: Ledger, rows: Rows, sides: Mapping[str, Side], terms: Mapping[str, Terms], progress: Progress
) -> Read:
    """
    Read what the ledger lacks. *progress* is told of each page.

    Raises:
        SalmonError: a side or Kafka could not be read; what was read until then stays in the ledger.
    """
    told = ids_told(terms)
    forms = {side: Form(terms[side], ids_told=told) for side in SIDES}
    resumed = bool(ledger.place(RECORDS))
    offsets: dict[str, int] = ledger.place(RECORDS).get("offsets", {})

    def take(some: Mapping[str, Mapping[str, Value] | None], partition: int, following: int) -> None:
        offsets[str(partition)] = following
        digests = {
            key: None if row is None else {side: forms[side].agreed(key, row) for side in SIDES}
            for key, row in some.items()
        }
        ledger.take_agreed(digests, {"offsets": offsets})

    rows.read(offsets, take, lambda done, total: progress(RECORDS, done, total))
    pages = 0
    for side in SIDES:
        digest = forms[side].org if side == SALESFORCE else forms[side].document
        place = {"after": "", "read": 0, "without_key": 0, "done": False, **ledger.place(side)}
        progress(side, place["read"], len(ledger))
        if place["done"]:
            continue
        for page in sides[side].pages(place["after"]):
            place["after"] = page.after
            place["read"] += len(page.records)
            place["without_key"] += page.without_key
            ledger.take_side(side, [(seen, digest(seen)) for seen in page.records], place)
            pages += 1
            progress(side, place["read"], len(ledger))
        ledger.take_side(side, (), {**place, "done": True})
    return Read(ledger.place(MONGODB)["without_key"], pages, resumed)
