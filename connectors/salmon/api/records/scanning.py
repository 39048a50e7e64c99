"""Text of a query's parameter, read from its beginning to its end."""

from __future__ import annotations


class Scanner:
    """What is left of *text*. Those who know its grammar inherit it."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def _takes(self, mark: str) -> bool:
        """Whether *mark* comes next; it is then behind us."""
        if not self._text.startswith(mark, self._at):
            return False
        self._at += len(mark)
        return True

    def _before(self, marks: str) -> str:
        """What comes before the next of these characters, or before the end."""
        begin = self._at
        while self._at < len(self._text) and self._text[self._at] not in marks:
            self._at += 1
        return self._text[begin : self._at]
