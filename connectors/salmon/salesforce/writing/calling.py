"""
The calls of one batch of writes: by Bulk where very many wait, else by Collections, several at the same time; in smaller calls
where one of their records, or a trigger, has failed all of a call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

from salmon.errors import RequestRejected, Unavailable
from salmon.model.change import WriteOp
from salmon.model.schema import ObjectSchema
from salmon.plugin.contract import SinkRecord
from salmon.plugin.leave import always
from salmon.salesforce.wire.codes import ROW_LOCKS
from salmon.salesforce.wire.rest import COLLECTION_ROWS, COLLECTION_RUNS, RowError, RowResult
from salmon.salesforce.writing.bulk_writes import TAKEN_AWAY, BulkWrites
from salmon.salesforce.writing.lanes import Lanes, divided
from salmon.salesforce.writing.references import RecordId
from salmon.salesforce.writing.triggers import IN_COMPANY, Allowance, SmallerCalls

Send = Callable[[Sequence[Any]], Sequence[RowResult]]


@dataclass(frozen=True, slots=True)
class Job:
    """One write on its way: how it is carried out, and at which place of the batch its outcome stands."""

    index: int
    record: SinkRecord
    op: WriteOp
    native_id: str | None

    @property
    def id(self) -> RecordId:
        return self.record.object, self.record.key


Call = Sequence[tuple[Job, Any]]


class Calling:
    """
    Made for one batch, used once.

    Args:
        stopped: No call is made once it is set.
        may_send: Asked before each call (see AsksForLeave).
        smaller_calls: What is known of earlier batches' calls that have failed as a whole.
        apart: Object -> a number; records of objects with another number are in other calls.
    """

    def __init__(
        self,
        schemas: Mapping[str, ObjectSchema],
        stopped: threading.Event,
        *,
        bulk: BulkWrites | None,
        lanes: Lanes,
        smaller_calls: SmallerCalls,
        may_send: Callable[[], bool] = always,
        apart: Callable[[str], int] = lambda _: 0,
    ) -> None:
        self._schemas, self._stopped, self._apart = schemas, stopped, apart
        self._bulk, self._lanes = bulk, lanes
        self._smaller_calls, self._may_send = smaller_calls, may_send

    def results(self, jobs: Call, send: Send, op: WriteOp | None) -> Iterator[tuple[Job, RowResult]]:
        """
        Send the body of each job; what became of each.

        Args:
            op: What the jobs are, if they may be sent in any order.

        Raises RetriableError: nothing is known then of any of them.
        """
        written: Mapping[int, RowResult] = {}
        if self._bulk is not None and op is not None:
            records = [(job.record.object, body) for job, body in jobs]
            written = self._bulk.sent(op, records, self._schemas)
        yield from ((jobs[place][0], result) for place, result in written.items())
        rest = [pair for place, pair in enumerate(jobs) if place not in written]
        suspects = self._smaller_calls.apart([job.id for job, _ in rest])
        groups = [[rest[place] for place in places] for places in suspects]
        apart = set(chain(*suspects))
        rest = [pair for place, pair in enumerate(rest) if place not in apart]
        if op is not None:
            rest.sort(key=lambda pair: self._apart(pair[0].record.object))
        width = 1 if op is None else self._lanes.width
        lanes = [
            list(self._calls(rest[place] for place in lane))
            for lane in divided(list(map(self._touched, rest)), width)
        ]
        answers = self._lanes.along(
            [[partial(self._answer, [body for _, body in call], send) for call in lane] for lane in lanes]
        )
        settled: list[tuple[Job, RowResult]] = []
        for call, answer in zip(chain(*lanes), chain(*answers), strict=True):
            settled += self._settled(call, answer, send, self._smaller_calls.for_a_call())
        allowance = self._smaller_calls.for_suspects()
        for call in chain(*map(self._calls, groups)):
            settled += self._sent_apart(call, send, allowance)
        if op is not None:
            self._lanes.met(locks=any(e.code in ROW_LOCKS for _, result in settled for e in result.errors))
        yield from settled

    def called(self, bodies: Sequence[Any], send: Send) -> Sequence[RowResult]:
        """Make one call, and smaller ones where a record spoils it. One result for each record."""
        return self._readable(bodies, self._answer(bodies, send), send)

    def _touched(self, pair: tuple[Job, Any]) -> list[str]:
        """The Ids of the records that a creation or update locks: itself and its parents."""
        job, body = pair
        if not isinstance(body, Mapping):
            return []
        parents = [body.get(field.name) for field in self._schemas[job.record.object].references]
        return [each for each in (job.native_id, *parents) if isinstance(each, str)]

    def _answer(self, bodies: Sequence[Any], send: Send) -> Sequence[RowResult] | RequestRejected:
        """One call's answer. Several threads are here at the same time, and change nothing."""
        if self._stopped.is_set():
            raise Unavailable("the sink is being stopped: what was not sent yet is put by its successor")
        if not self._may_send():
            raise Unavailable(TAKEN_AWAY)
        try:
            return send(bodies)
        except RequestRejected as error:
            return error

    def _settled(
        self, call: Call, answer: Sequence[RowResult] | RequestRejected, send: Send, allowance: Allowance
    ) -> list[tuple[Job, RowResult]]:
        """What became of each record of a call: of one that a trigger failed with others, by smaller calls."""
        bodies = [body for _, body in call]
        results = self._smaller_calls.settled(
            [job.id for job, _ in call],
            self._readable(bodies, answer, send),
            lambda places: self.called([bodies[place] for place in places], send),
            allowance,
        )
        return [(job, result) for (job, _), result in zip(call, results, strict=True)]

    def _sent_apart(self, call: Call, send: Send, allowance: Allowance) -> list[tuple[Job, RowResult]]:
        """The same, of records that have failed in company before, and are sent if a call is left for them."""
        if not allowance.take():
            return [(job, IN_COMPANY) for job, _ in call]
        return self._settled(call, self._answer([body for _, body in call], send), send, allowance)

    def _readable(
        self, bodies: Sequence[Any], answer: Sequence[RowResult] | RequestRejected, send: Send
    ) -> Sequence[RowResult]:
        """One result for each record. One that spoils the whole call (by a value's type, say) is found by halving."""
        if not isinstance(answer, RequestRejected):
            return answer
        if len(bodies) == 1:
            return [RowResult(False, None, (RowError(answer.code, answer.fields),))]
        middle = len(bodies) // 2
        return [*self.called(bodies[:middle], send), *self.called(bodies[middle:], send)]

    def _calls(self, jobs: Iterable[tuple[Job, Any]]) -> Iterator[list[tuple[Job, Any]]]:
        """Jobs as calls take them: few enough, in few enough runs of one object, and no record twice."""
        call: list[tuple[Job, Any]] = []
        runs = 0
        ids: set[str] = set()
        for job, body in jobs:
            name = job.record.object
            new_run = not call or call[-1][0].record.object != name
            if call and (
                len(call) == COLLECTION_ROWS
                or (new_run and runs == COLLECTION_RUNS)
                or job.native_id in ids
                or (isinstance(body, Mapping) and self._apart(call[-1][0].record.object) != self._apart(name))
            ):
                yield call
                call, runs, ids, new_run = [], 0, set(), True
            call.append((job, body))
            runs += new_run
            if job.native_id is not None:
                ids.add(job.native_id)
        if call:
            yield call
