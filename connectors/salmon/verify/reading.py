"""
Reads all of one object, page by page, into its ledger: `records`, the org, the collection, and what further sides show.

Each page is written together with the start of the next one. So an interrupted reading continues after its last page,
and a finished one is not repeated. Only `records` is read further, up to its end, every time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from salmon.model.change import MONGODB, SALESFORCE, SALESFORCE_ID, SIDES, Value
from salmon.verify.agreed import TakeRows
from salmon.verify.comparing import Terms
from salmon.verify.digests import Form
from salmon.verify.ledger import RECORDS, Ledger
from salmon.verify.sides import Side

_KEYLESS_MAX: Final = 100  # how many documents without a key are named

# Called with: what is being read, how many records were read, of how many.
Progress = Callable[[str, int, int], None]


class Rows(Protocol):
    """What this module needs of Agreed."""

    def read(
        self, offsets: Mapping[str, int], take: TakeRows, progress: Callable[[int, int], None] | None = None
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Read:
    """The result of reading one object."""

    without_key: int  # documents whose _id cannot be a record key
    keyless: Sequence[tuple[str, str]]  # the first of them, each with why
    pages: int  # read in this run
    resumed: bool  # whether an earlier run had begun


def compares_ids(terms: Mapping[str, Terms]) -> bool:
    """Whether documents must have the Salesforce Ids."""
    return SALESFORCE_ID in terms[MONGODB].compared


def read(
    ledger: Ledger, rows: Rows, sides: Mapping[str, Side], terms: Mapping[str, Terms], progress: Progress
) -> Read:
    """
    Read what the ledger does not have yet. *progress* is called after each page.

    Raises:
        SalmonError: a side or Kafka could not be read. What was read until then stays in the ledger.
    """
    with_ids = compares_ids(terms)
    forms = {side: Form(its, with_ids=with_ids and side in SIDES) for side, its in terms.items()}
    resumed = bool(ledger.place(RECORDS))
    offsets: dict[str, int] = ledger.place(RECORDS).get("offsets", {})

    def take(some: Mapping[str, Mapping[str, Value] | None], partition: int, following: int) -> None:
        offsets[str(partition)] = following
        digests = {
            key: None if row is None else {side: form.agreed(key, row) for side, form in forms.items()}
            for key, row in some.items()
        }
        ledger.take_agreed(digests, {"offsets": offsets})

    rows.read(offsets, take, lambda done, total: progress(RECORDS, done, total))
    pages = 0
    for side in terms:
        digest = forms[side].org if side == SALESFORCE else forms[side].document
        place = {"after": "", "read": 0, "without_key": 0, "keyless": [], "done": False, **ledger.place(side)}
        progress(side, place["read"], len(ledger))
        if place["done"]:
            continue
        for page in sides[side].pages(place["after"]):
            place["after"] = page.after
            place["read"] += len(page.records)
            place["without_key"] += len(page.keyless)
            place["keyless"] = [*place["keyless"], *map(list, page.keyless)][:_KEYLESS_MAX]
            ledger.take_side(side, [(seen, digest(seen)) for seen in page.records], place)
            pages += 1
            progress(side, place["read"], len(ledger))
        ledger.take_side(side, (), {**place, "done": True})
    last = ledger.place(MONGODB)
    keyless = [(shown, why) for shown, why in last.get("keyless", ())]
    return Read(last["without_key"], keyless, pages, resumed)
