"""
Salesforce sink task: writes in, one outcome for each out, by sObject Collections, and by Bulk API 2.0 where very many wait.

Creations are inserts that carry the record key in a marker field (Salmon_Id__c), not upserts on it: an upsert would overwrite a
record that somebody else made with that key before anybody could look, where the insert is refused by the unique
field. Updates and deletions go by Id. Salesforce has no guard of its own, so markers are read first wherever a
write may be a repetition: after a restart without a clean stop, after partitions were taken over, after an answer
that never came, and before every deletion. What is owed, and to whom a refused write matters, is for merge.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

import structlog

from salmon.calls import Calls, Peer, Probe
from salmon.errors import RetriableError
from salmon.model.change import WriteOp
from salmon.model.schema import ObjectSchema
from salmon.plugin.clashes import Clashes, nothing_owed
from salmon.plugin.contract import (
    Identities,
    Outcome,
    OutcomeKind,
    OwedTo,
    SinkRecord,
    WaitingObject,
)
from salmon.plugin.leave import always
from salmon.salesforce.catalog import ObjectConfig, SyncedObject, is_polled, synced_object
from salmon.salesforce.config import SalesforceConfig
from salmon.salesforce.troubles import AGAIN_S, ObjectRefused, Rechecks, Troubles, described
from salmon.salesforce.wire.budget import Budget, of_api_calls
from salmon.salesforce.wire.bulk import BulkIngests
from salmon.salesforce.wire.codes import BLOCKED, DUPLICATE, ROW_LOCKS, WRAPPERS
from salmon.salesforce.wire.rest import COLLECTION_ROWS, Rest
from salmon.salesforce.writing.blocked_deletes import Lookup
from salmon.salesforce.writing.bulk_writes import BULK_ROWS_MIN, BulkWrites
from salmon.salesforce.writing.delivery import Delivery
from salmon.salesforce.writing.lanes import Lanes
from salmon.salesforce.writing.narrowing import Narrowing
from salmon.salesforce.writing.outcomes import locked, with_paths
from salmon.salesforce.writing.references import RecordId, References
from salmon.salesforce.writing.saving import Saves, savers
from salmon.salesforce.writing.triggers import SmallerCalls

log = structlog.get_logger(__name__)

_SURE_MAX: Final = 100_000  # keys that are known to need no look; to forget one costs a look
_OBJECT_REFUSED: Final = "OBJECT_REFUSED"
_UNEXPLAINED: Final = "UNKNOWN_EXCEPTION"
# By time and not by tries: an incident that fails every write so for minutes must not set them all aside, and one
# write that a trigger fails for good must not hold up its key for ever.
_UNEXPLAINED_MAX_S: Final = 15 * 60.0
_ROW_LOCK_MAX_S: Final = 2 * 60.0
# After such an outcome of a write that was looked at, no newer one of its key has been carried out before. All others
# leave that open: one that was skipped, or finds a record under its own Id, has told nothing of newer ones.
_NEWEST: Final = frozenset({OutcomeKind.APPLIED, OutcomeKind.REFUSED})


class SalesforceSinkTask:
    """The sink task of one org."""

    batch_max = COLLECTION_ROWS
    # Parents that another call creates at the same time would not be known to this one, and two calls that touch
    # children of one parent lock each other out.
    concurrency = 1

    def __init__(
        self,
        config: SalesforceConfig,
        objects: Mapping[str, ObjectConfig],
        sync_name: str,
        *,
        rest: Rest | None = None,
        clock: Callable[[], float] = time.monotonic,
        again_s: float = AGAIN_S,
        bulk_rows_min: int = BULK_ROWS_MIN,
    ) -> None:
        """
        Args:
            config: How to reach the org.
            objects: The config's `objects`.
            sync_name: For the logs.
            rest: A connection to use instead of an own one.
            clock: Seconds that only ever grow.
            again_s: How long an object that the org refuses waits until it is described again.
            bulk_rows_min: See BulkWrites.
        """
        self._config = config
        self._configured = objects
        self._paths = {name: each.paths for name, each in objects.items()}
        self._log = log.bind(sync=sync_name)
        self._rest, self._clock = rest, clock
        self._calls = Calls()
        self._budget = of_api_calls(config.api_budget)
        self._bulk: BulkWrites | None = None
        self._bulk_rows_min = bulk_rows_min
        self._lanes = Lanes(1)
        self._savers: Mapping[str, Saves] = {}
        self._stopped = threading.Event()
        self._schemas: Mapping[str, ObjectSchema] = {}
        self._references: References | None = None
        self._failures: Counter[str] = Counter()  # of describing each object
        self._troubles = Troubles(again_s=again_s)
        self._rechecks = Rechecks(self._troubles, self._describe, self._mended)
        self._doubted: set[RecordId] = set()  # an earlier put of them may have been carried out
        self._unclean = False  # so may one of any key, by whoever had its partition before us
        self._sure: OrderedDict[RecordId, None] = OrderedDict()
        self._owed: OwedTo = nothing_owed
        self._may_send: Callable[[], bool] = always
        self._clashes, self._blocked = Clashes(DUPLICATE, clock), Clashes(BLOCKED, clock)
        self._forbids: dict[str, frozenset[Lookup]] = {}  # as the org has described the objects
        one_way = [name for name, each in objects.items() if each.direction == "to_salesforce"]
        self._narrowing = Narrowing(one_way, clock=clock)
        self._smaller_calls = SmallerCalls(clock=clock)
        self._polled = {n for n, each in objects.items() if each.direction == "both" and is_polled(each)}
        # Of what fails for no known reason, or finds its row locked: seq, and when it first did.
        self._unexplained: dict[RecordId, tuple[int, float]] = {}

    def watch(self, calls: Calls) -> Mapping[Peer, Probe]:
        """See Watched of the runtime."""
        self._calls = calls
        return {Peer.SALESFORCE: lambda: self._rest is not None and self._rest.probe()}

    def look_up(self, owed: OwedTo) -> None:
        """How to ask what is owed to a record."""
        self._owed = owed

    def ask_leave(self, may_send: Callable[[], bool]) -> None:
        """See AsksForLeave."""
        self._may_send = may_send

    def connect(self) -> None:
        """
        Sign in, and check that the objects and their markers are there. An object that is not as it must be waits: it has
        worked before, because the source has registered its schema. Raises as `start` does.
        """
        if self._rest is None:
            self._rest = Rest(self._config, calls=self._calls, budget=self._budget)
        self._savers = savers(self._configured, self._rest)
        if self._bulk is None:
            self._lanes = Lanes(self._config.concurrent_writes)
            self._bulk = BulkWrites(
                BulkIngests(self._rest, self._calls),
                self._stopped,
                enabled=self._config.bulk.write == "auto",
                leave=[name for name, each in self._configured.items() if each.assignment_rules],
                rows_min=self._bulk_rows_min,
                may_send=self._has_leave,
                clock=self._clock,
            )
        found, wrong = described(self._configured, self._describe, self._failures, may_wait=self._configured)
        self._forbids = {name: each.forbidding for name, each in found.items()}
        for name, error in wrong.items():
            self._troubles.block(name, str(error))

    def start(self, schemas: Mapping[str, ObjectSchema], identities: Identities, *, clean: bool) -> None:
        """
        Connect and prepare. See SinkTask.start.

        Raises:
            ConfigError, SetupError: what only a person can mend, with the key and the mend.
            Unavailable, RateLimited: the org cannot be asked now.
        """
        self.connect()
        self._schemas = schemas
        self._references = References(schemas, identities)
        self._unclean = not clean
        self._doubted.clear()
        self._sure = OrderedDict()
        self._rechecks.begin(name for name in self._configured if self._troubles.blocks(name))
        self._log.info("sink_started", objects=sorted(schemas), markers_are_read_first=not clean)

    def caught_up(self) -> None:
        """
        All that was owed when this instance started, or last took partitions, has been put. What comes from now on, no
        other instance can have carried out, so nothing need be read on that account any more. A worker that does not
        know never calls it; then the first write of each key costs a look.
        """
        self._unclean = False
        self._sure = OrderedDict()

    def doubt(self) -> None:
        """
        Partitions were taken over: whoever had them may have carried out what is put next. Called from the worker's
        loop, also while a put is on its way.
        """
        if self._bulk is not None:
            self._bulk.doubt()
        self._sure = OrderedDict()  # A new one: what flies was perhaps not looked at, and fills the old one.
        self._unclean = True

    def api_calls(self) -> Mapping[str, int]:
        """API calls made so far, by resource."""
        return self._rest.calls if self._rest is not None else {}

    def budgets(self) -> Sequence[Budget]:
        """See HasBudgets."""
        return [self._budget]

    def batch_for(self, ready: Collection[RecordId]) -> int:
        """See TakesBacklogs."""
        by_bulk = self._bulk.batch_for(ready) if self._bulk is not None else 0
        return max(by_bulk, self._lanes.batch_max)

    def put(self, records: Sequence[SinkRecord]) -> Sequence[Outcome]:
        """
        Carry out *records* (at most one of each key) and return one outcome for each, in their order.

        A write with a reference to a record that is not there is DEFERRED as a whole, never carried out in part.

        Raises:
            RetriableError: nothing is known of any of them. The same ones are to be put again, or newer ones of
                their keys; their markers are read then.
            ConfigError, SetupError: the org lets us in no more.
        """
        assert self._rest is not None, "start first"
        assert self._references is not None, "start first"
        if any(self._troubles.blocks(record.object) for record in records):
            return self._put_those_not_blocked(records)
        delivery = Delivery(
            self._rest,
            self._schemas,
            self._references,
            self._stopped,
            narrowing=self._narrowing,
            owed=self._owed,
            bulk=self._bulk,
            lanes=self._lanes,
            savers=self._savers,
            smaller_calls=self._smaller_calls,
            may_send=self._has_leave,
            forbids=self._forbids,
        )
        sure, looked = self._sure, self._unclean
        try:
            if self._bulk is not None:
                self._bulk.settle()
            outcomes = delivery.carry_out(records, self._must_look)
        except ObjectRefused as refused:
            self._doubted.update(record.id for record in records)
            self._troubles.found(refused.name, refused.error)
            return self._put_others(records, {refused.name: str(refused)})
        except RetriableError:
            self._doubted.update(record.id for record in records)
            raise
        for name in {record.object for record in records}:
            self._troubles.over(name)
        for record, outcome in zip(records, outcomes, strict=True):
            self._doubted.discard(record.id)
            if outcome.kind is OutcomeKind.APPLIED:
                self._narrowing.took(record)
            if looked and outcome.kind in _NEWEST:
                sure[record.id] = None
                sure.move_to_end(record.id)
        while len(sure) > _SURE_MAX:
            sure.popitem(last=False)
        bounded = [self._bounded(record, outcome) for record, outcome in zip(records, outcomes, strict=True)]
        return [
            with_paths(outcome, self._paths.get(record.object, {}))
            for record, outcome in zip(records, bounded, strict=True)
        ]

    def stop(self) -> None:
        """Let put() make no further call. Idempotent; called from any thread."""
        self._stopped.set()
        self._rechecks.close()

    def close(self) -> None:
        """Give up the connections, when nothing is put any more."""
        if self._rest is not None:
            self._rest.close()

    def waiting(self) -> Sequence[WaitingObject]:
        """The objects that the org does not have as they must be, while the others go on; and what all of them wait for."""
        bulk = self._bulk.waiting() if self._bulk is not None else ()
        return [*self._budget.waiting(), *bulk, *self._troubles.report()]

    def _has_leave(self) -> bool:
        return self._may_send()

    def _describe(self, name: str) -> SyncedObject:
        assert self._rest is not None
        return synced_object(name, self._configured, self._rest)

    def _mended(self, name: str, found: SyncedObject) -> None:
        self._forbids[name] = found.forbidding
        self._troubles.unblock(name)

    def _put_those_not_blocked(self, records: Sequence[SinkRecord]) -> Sequence[Outcome]:
        names = {record.object for record in records}
        return self._put_others(
            records, {name: self._troubles.sentence_of(name) for name in names if self._troubles.blocks(name)}
        )

    def _put_others(self, records: Sequence[SinkRecord], refused: Mapping[str, str]) -> Sequence[Outcome]:
        """Carry out the writes of all objects but *refused*: those that the org refuses as a whole, each with the reason."""
        rest = [record for record in records if record.object not in refused]
        others = iter(self.put(rest) if rest else ())
        return [
            Outcome(
                OutcomeKind.RETRY_LATER,
                code=_OBJECT_REFUSED,
                reason=refused[record.object],
                again_s=self._troubles.again_s,
            )
            if record.object in refused
            else next(others)
            for record in records
        ]

    def _must_look(self, record: SinkRecord) -> bool:
        return record.id in self._doubted or (self._unclean and record.id not in self._sure)

    def _bounded(self, record: SinkRecord, outcome: Outcome) -> Outcome:
        """
        The outcome; REFUSED where Salesforce has failed on it for long without saying why, and one to be tried late where
        its row has been locked for longer than a transaction lasts.
        """
        outcome = self._blocked.judged(record, self._clashes.judged(record, outcome))
        outcome = self._smaller_calls.judged(outcome)
        if (
            outcome.kind is OutcomeKind.APPLIED
            and record.write.op is WriteOp.DELETE
            and record.object in self._polled
        ):
            # No event answers it, and that a poll does not find the record does not say that it was our write.
            return Outcome(OutcomeKind.GONE, reason="it was deleted, and no event will say so")
        is_lock = outcome.code in ROW_LOCKS or outcome.code in WRAPPERS
        if outcome.kind is not OutcomeKind.RETRY_LATER or not (is_lock or outcome.code == _UNEXPLAINED):
            self._unexplained.pop(record.id, None)
            return outcome
        now = self._clock()
        seq, since = self._unexplained.get(record.id, (record.write.seq, now))
        since = since if seq == record.write.seq else now
        if now - since < (_ROW_LOCK_MAX_S if is_lock else _UNEXPLAINED_MAX_S):
            self._unexplained[record.id] = record.write.seq, since
            return outcome
        self._unexplained.pop(record.id, None)
        if is_lock:
            return locked(outcome.code)
        return replace(
            outcome,
            kind=OutcomeKind.REFUSED,
            reason=f"Salesforce failed on it for {now - since:.0f} s without saying why",
        )
