"""
Has every record judged again after the filters, masks or computed fields of its object have changed.

An idle record has no changes of its own, so merge writes one for it into `changes`: an operator's RETRY without a write, which
changes nothing but that the record is folded once more (salmon.model.steps.admission). That goes through a partition's states
in the order of their keys, a few hundred in a transaction, and only while merge keeps up with the log; so writes of users are
not held up for long, and memory stays flat.

How far it has come is part of merge's position, and committed with those changes:

    views    the filters, masks and computed fields by which the records of the partition were judged, or are being judged
    judged   the last key that was asked for; missing when all were

So a restart, or another owner of the partition, goes on there. A record that is folded meanwhile is judged by that, and left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import structlog

from salmon.errors import SchemaMismatch
from salmon.kafka.output import Output
from salmon.merge.batch import Batch, ObjectCodecs
from salmon.merge.store import Place, Store
from salmon.model.change import OPERATOR, Change, Op
from salmon.model.steps.admission import is_current
from salmon.ops.health import Health
from salmon.plugin.contract import WaitingObject

log = structlog.get_logger(__name__)

# States that one step looks at. Most of them have to be judged again, and each is a change of some hundred bytes.
STEP: Final = 500
_NAME: Final = "views"


@dataclass(slots=True)
class _Pass:
    """The pass through one partition. *after*: the last key that it has asked for; None: it is done."""

    store: Store
    codecs: ObjectCodecs
    after: str | None
    since: float
    reached: str | None = None  # what `after` becomes when the step is committed


@dataclass
class Judging:
    """The passes through the partitions that this process has."""

    health: Health
    clock: Callable[[], float] = time.monotonic
    _passes: dict[Place, _Pass] = field(default_factory=dict)

    def opened(self, place: Place, store: Store, codecs: ObjectCodecs, stored: Mapping[str, Any]) -> None:
        """
        Begin with a partition, or go on with it.

        Args:
            stored: Its position.
        """
        digest = codecs.rules.views_digest
        if stored.get("views", "") == digest:
            after = stored.get("judged")
        else:
            after = ""
            log.info("records_judged_again", object=codecs.rules.schema.name, partition=place[1])
        self._passes[place] = _Pass(store, codecs, after, self.clock(), after)
        self._tell()

    def closed(self, place: Place) -> None:
        """The partition is no longer ours."""
        if self._passes.pop(place, None) is not None:
            self._tell()

    @property
    def is_under_way(self) -> bool:
        return any(each.after is not None for each in self._passes.values())

    @contextmanager
    def step(self, batch: Batch) -> Iterator[Place]:
        """Add the next changes of one partition to *batch*, which is to be committed within, together with its position()."""
        place, now = next((place, each) for place, each in self._passes.items() if each.after is not None)
        rows = list(islice(now.store.cache.rows_after(now.after or ""), STEP))
        batch.outputs += _changes(place, now, rows)
        now.reached = rows[-1][0] if len(rows) == STEP else None
        try:
            yield place
        except BaseException:
            now.reached = now.after  # the step is made again
            raise
        now.after = now.reached
        if now.after is None:
            log.info("records_were_judged_again", object=now.codecs.rules.schema.name, partition=place[1])
        self._tell()

    def position(self, place: Place) -> dict[str, str]:
        """What the position of the partition says about the pass; nothing if no side has a view of the object."""
        now = self._passes.get(place)
        if now is None:
            return {}
        digest = now.codecs.rules.views_digest
        reached = now.reached
        return ({"views": digest} if digest else {}) | ({} if reached is None else {"judged": reached})

    def _tell(self) -> None:
        since: dict[str, float] = {}
        left: dict[str, int] = {}
        for now in self._passes.values():
            if now.after is not None:
                name = now.codecs.rules.schema.name
                since[name] = min(since.get(name, now.since), now.since)
                left[name] = left.get(name, 0) + 1
        self.health.objects_wait(
            (
                WaitingObject(
                    name,
                    self.clock() - began,
                    f"{name}: its filters, masks or computed fields have changed, so all of its records are judged by them "
                    f"again; {left[name]} partitions of merge are left. It goes on by itself; until then, records that nobody edits may be on a side "
                    f"as they were before.",
                )
                for name, began in sorted(since.items())
            ),
            of=_NAME,
        )


def _changes(place: Place, now: _Pass, rows: list[tuple[str, bytes]]) -> Iterator[Output]:
    topic, partition = place
    asked = now.codecs.changes.encode(
        Change(
            OPERATOR,
            Op.RETRY,
            committed_at=round(time.time() * 1000),
            source={
                "by": "merge",
                "reason": "the filters, masks or computed fields of the object have changed",
            },
        )
    )
    for key, data in rows:
        try:
            if is_current(now.codecs.states.decode(data), now.codecs.rules):
                continue
        except SchemaMismatch:
            continue  # a foreign record: nothing is known of the key
        yield Output(topic, key, asked, partition=partition)
