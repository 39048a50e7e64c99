"""Salesforce record ids: 15 case-sensitive characters, or 18 with a checksum of their case."""

from __future__ import annotations

import re

_CHECKSUM = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"  # also the order in which ids sort
_SHAPE = re.compile(r"[0-9A-Za-z]{15}(?:[A-Z0-5]{3})?")

# Key prefixes of standard objects, for references to objects that the box does not hold
# (Object Reference, and the key-prefix lists in public repositories).
STANDARD_PREFIXES = {
    "Account": "001", "Contact": "003", "User": "005", "Opportunity": "006", "Lead": "00Q", "Case": "500",
    "Task": "00T", "Event": "00U", "OpportunityLineItem": "00k", "OpportunityContactRole": "00K",
    "Product2": "01t", "Pricebook2": "01s", "PricebookEntry": "01u", "Campaign": "701", "CampaignMember": "00v",
    "Contract": "800", "Order": "801", "OrderItem": "802", "Asset": "02i", "Document": "015", "Attachment": "00P",
    "Organization": "00D", "Profile": "00e", "UserRole": "00E", "RecordType": "012", "Group": "00G",
}  # fmt: skip


def with_checksum(id15: str) -> str:
    """The 18-character form of a 15-character id."""
    suffix = ""
    for start in (0, 5, 10):
        bits = sum(1 << i for i, char in enumerate(id15[start : start + 5]) if "A" <= char <= "Z")
        suffix += _CHECKSUM[bits]
    return id15 + suffix


def id18(text: object) -> str | None:
    """The 18-character form of an id in either form; None if *text* is no id at all."""
    if not isinstance(text, str) or not _SHAPE.fullmatch(text):
        return None
    full = with_checksum(text[:15])
    return full if len(text) == 15 or full == text else None


def make_id(prefix: str, number: int) -> str:
    """The 18-character id of the record *number* of an object with this key prefix; they sort by number."""
    digits = ""
    for _ in range(9):
        number, digit = divmod(number, 62)
        digits = _BASE62[digit] + digits
    return with_checksum(f"{prefix}Sm0{digits}")
