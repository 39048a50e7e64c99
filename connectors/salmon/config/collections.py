"""Names of collections, as the configuration may give them (MongoDB Manual, Restrictions on Collection Names)."""

from __future__ import annotations

from typing import Final

from salmon.mongodb.paths import MARKER

PATTERN: Final = r"^[^$\x00]+$"
# MongoDB Manual, Limits and Thresholds, Namespace Length: 255 bytes with the database (63 at most) and a dot.
_MAX_BYTES: Final = 191


def usable_collection(value: str) -> str:
    """Return *value*. Raises ValueError if MongoDB would refuse it as a name, or keeps it for itself."""
    if not value.isprintable():
        raise ValueError("must not contain control characters or other invisible characters")
    if value == MARKER:
        raise ValueError(f"must not be {MARKER}, which Salmon uses for itself")
    if value.startswith("system."):
        raise ValueError("must not begin with system., which is reserved by MongoDB")
    if value.startswith(".") or value.endswith("."):
        raise ValueError("must not begin or end with a dot, which MongoDB refuses")
    if value != value.strip():
        raise ValueError("must not begin or end with a blank")
    if len(value.encode()) > _MAX_BYTES:
        raise ValueError(f"must have {_MAX_BYTES} bytes or fewer")
    return value
