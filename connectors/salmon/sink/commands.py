"""A command of a sink, and the partition from which it was read. sink.buffer decides what happens to them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

Key = tuple[str, str]  # object, record key
Place = tuple[str, int]  # topic, partition


@dataclass(slots=True, eq=False)
class Partition:
    """A partition while it is assigned to us. If it is assigned again later, a new Partition is made."""

    place: Place
    position: int  # the offset that comes next
    committed: int | None = None
    # Offsets that were read and are not finished, in rising order. An OrderedDict finds and removes the first one fast.
    unfinished: OrderedDict[int, None] = field(default_factory=OrderedDict)
    in_flight: int = 0
    closing: bool = False  # no further command of it is given out
    lost: bool = False  # no longer assigned to us

    def finished_up_to(self, assumed: Collection[int] = ()) -> int:
        """Return the offset that may be committed. *assumed*: offsets to count as finished."""
        return next((offset for offset in self.unfinished if offset not in assumed), self.position)


@dataclass(frozen=True, slots=True, eq=False)
class Command:
    """A record of a `writes` topic, with its value still in bytes. Compared by identity."""

    key: Key
    partition: Partition
    offset: int
    value: bytes
    message: Any = None  # the Kafka record, for a dead letter; the buffer does not use it
    added_at: float = 0.0  # by the buffer's clock

    @property
    def lost(self) -> bool:
        """Whether its partition is no longer ours. Then its outcome must not be reported."""
        return self.partition.lost


@dataclass(slots=True)
class Slot:
    """The unfinished commands of one key: at most one that waits and one in flight."""

    waiting: Command | None = None
    in_flight: Command | None = None
    tries: int = 0  # of the waiting command, so far
