"""One command of a sink, and the partition it came from; what there is to do with them is sink_buffer's."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

Key = tuple[str, str]  # object, record key
Place = tuple[str, int]  # topic, partition


@dataclass(slots=True, eq=False)
class Partition:
    """One partition as long as it is ours. Assigned again later, it is another Partition."""

    place: Place
    position: int  # the offset that comes next
    committed: int | None = None
    # Offsets that were read and are not finished, rising; a linked list at heart, so that the first is cheap.
    unfinished: OrderedDict[int, None] = field(default_factory=OrderedDict)
    flying: int = 0
    closing: bool = False  # nothing new is begun of it
    lost: bool = False  # it is no longer ours

    def finished_up_to(self, assumed: Collection[int] = ()) -> int:
        """The offset that may be committed, if those *assumed* were finished too."""
        return next((offset for offset in self.unfinished if offset not in assumed), self.position)


@dataclass(frozen=True, slots=True, eq=False)
class Command:
    """One record of a `writes` topic, its value still in bytes. Compared by identity."""

    key: Key
    partition: Partition
    offset: int
    value: bytes
    message: Any = (
        None  # what the loop added it with, given back unchanged: the Kafka record, for a dead letter
    )
    added_at: float = 0.0  # by the buffer's clock

    @property
    def lost(self) -> bool:
        """Whether its partition is no longer ours: nothing more may come of it."""
        return self.partition.lost


@dataclass(slots=True)
class Slot:
    """What there is of one key."""

    waiting: Command | None = None
    flying: Command | None = None
    tries: int = 0  # of the waiting command, so far
    delayed: bool = False
