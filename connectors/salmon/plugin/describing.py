"""What a source may offer to those who fill in its objects' records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class ShowsDescribes(Protocol):
    """A source whose side describes its objects as Salesforce does."""

    def describe_of(self, name: str) -> Mapping[str, Any]:
        """
        The describe of an object: the one that was read for schemas(), when it is asked for the first time, and from then on a new
        one. From any thread, between connect() and close().

        Raises:
            SalmonError: it cannot be had.
        """
