"""
Person accounts: an object whose records are of two kinds, businesses and persons, with fields that only one kind can be given.

An org that has enabled them shows IsPersonAccount. A business has a Name, which is written; a person's is put together by
Salesforce from its parts, and the fields Person* and those with the suffix __pc are a person's. Behind each person is a
Contact that follows it, and that Salesforce lets nobody write.
Sources: Salesforce Help, "Person Accounts"; Object Reference, Account, "Person Account Fields", and Contact ("Name":
concatenation of FirstName, MiddleName, LastName and Suffix).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

FLAG: Final = "IsPersonAccount"
NAME: Final = "Name"
LAST_NAME: Final = "LastName"
PERSON: Final = "person"
BUSINESS: Final = "business"

# How Salesforce puts names together: by the locale of the user who reads, the family name comes last or first.
_ORDERS: Final = (
    ("FirstName", "MiddleName", "LastName", "Suffix"),
    ("LastName", "MiddleName", "FirstName", "Suffix"),
)
PARTS: Final = frozenset({"Salutation", "InformalName", *_ORDERS[0]})
JOINED: Final = frozenset(_ORDERS[0])


def fields_of_one_kind(fields: Iterable[Mapping[str, Any]]) -> Mapping[str, str]:
    """Described fields that records of one kind alone can be given -> that kind. Empty if the object has no kinds."""
    by_name = {field["name"]: field for field in fields}
    if FLAG not in by_name:
        return {}
    if LAST_NAME in by_name and NAME in by_name and by_name[NAME]["createable"]:
        return {NAME: BUSINESS} | {name: PERSON for name in by_name if _is_of_persons(name)}
    # Contact: the one behind a person is written by way of its account.
    return dict.fromkeys(by_name, BUSINESS)


def name_of(parts: Mapping[str, Any], order: int = 0) -> str:
    """The name that Salesforce puts together from its parts."""
    return " ".join(str(parts[part]) for part in _ORDERS[order] if parts.get(part))


def name_after(parts: Mapping[str, Any], *, name_before: Any, before: Mapping[str, Any]) -> str | None:
    """
    The name of a person whose parts have changed, in the order in which this org has put the former one together.

    Args:
        parts: The parts now.
        name_before, before: The name and the parts until now; None and none for a new person.

    Returns:
        None if the former name was put together in another way, so that this one has to be read.
    """
    if name_before is None:
        return name_of(parts)
    order = next((n for n in range(len(_ORDERS)) if name_of(before, n) == name_before), None)
    return None if order is None else name_of(parts, order)


def _is_of_persons(name: str) -> bool:
    standard = name.startswith("Person") and not name.endswith(("__c", "__s"))
    return name in PARTS or name.endswith(("__pc", "__ps")) or standard
