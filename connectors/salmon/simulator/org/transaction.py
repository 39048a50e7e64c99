"""What the org passes to its event bus: committed transactions, with values as REST shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

# A stored value, exactly as the REST API shows it: text, true/false, numbers, date "2022-03-17",
# datetime "2022-03-17T16:21:26.000+0000", time "13:05:30.000Z", multi-select picklist "a;b".
# A number is a Decimal where it has more digits than a float.
Stored = str | bool | int | float | Decimal | None
Row = Mapping[str, Stored]

ChangeType = Literal["CREATE", "UPDATE", "DELETE", "UNDELETE", "GAP_UPDATE"]


@dataclass(frozen=True, slots=True)
class RecordChange:
    """
    The net effect of one transaction on one record. *before* is None for a CREATE, *after* for a DELETE. Both are for the
    conversion of a field, whose event shows nothing.
    """

    entity: str  # sObject name, e.g. "Account"
    record_id: str  # 18 characters; or, of a conversion, the prefix of all the object's ids and "*"
    change_type: ChangeType
    before: Row | None
    after: Row | None


@dataclass(frozen=True, slots=True)
class Transaction:
    """One commit in the org, in commit order; *changes* are in the order in which they were made."""

    key: str  # transactionKey, UUID-like
    commit_number: int  # rises with every commit
    commit_timestamp_ms: int  # the org's clock, whole seconds in ms (FACTS 3.2)
    user_id: str  # 18 characters
    change_origin: str  # FACTS 3.9
    changes: tuple[RecordChange, ...]
