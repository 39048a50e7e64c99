"""A clock that the test moves: the fixture `clock` of tests/conftest.py."""

from __future__ import annotations


class Clock:
    """Seconds from 0 on; whoever wants time to pass sets *now_s*."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s
