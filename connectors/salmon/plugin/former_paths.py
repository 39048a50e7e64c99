"""What a source may count where fields have moved on its side: who still writes them where they were. For metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable


class FormerPaths(Protocol):
    """Writes to fields at the paths that they had before, where they are not synced."""

    def writes(self) -> Mapping[str, int]:
        """Object -> how many fields were written so. Called from any thread; quick."""


@runtime_checkable
class CountsFormerPaths(Protocol):
    """A source that counts them."""

    former_paths: FormerPaths
