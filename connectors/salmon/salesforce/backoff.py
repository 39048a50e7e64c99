"""Waiting before another try: exponential, with full jitter, so that many clients do not come back at once."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """How long to wait before each further try, until one of them works."""

    first_s: float = 0.2
    most_s: float = 30.0
    rng: random.Random = field(default_factory=random.Random)
    tries: int = 0

    def next_s(self) -> float:
        """The wait before the next try: anything up to a bound that doubles with each try."""
        bound = min(self.most_s, self.first_s * 2.0**self.tries)
        self.tries = min(self.tries + 1, 32)
        return self.rng.uniform(0, bound)

    def worked(self) -> None:
        """Begin anew: the last try worked."""
        self.tries = 0
