"""The base of all that is opened for a `with` block and closed at its end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self


class Closing(ABC):
    """A context manager that calls close() at the end of its block, also after an error."""

    @abstractmethod
    def close(self) -> None:
        """Close what was opened."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()
