"""
Salesforce source task: change events and records in, changes out.

The task reports what happened in the org and judges nothing: what is an echo and who wins is for the fold. The
position is committed by the worker, in one transaction with the changes. What is reported, and in which order, is for feed.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeVar

import structlog

from salmon.calls import Calls, Peer, Probe
from salmon.errors import RetriableError, SchemaOutdated, SetupError
from salmon.model.schema import ObjectSchema
from salmon.plugin.contract import Position, Signal, SnapshotProgress, SourceBatch, WaitingObject
from salmon.salesforce.catalog import (
    DescribedOnce,
    Describes,
    ObjectConfig,
    ObjectUnusable,
    SyncedObject,
    as_registered,
    is_polled,
    live_fields,
    synced_object,
)
from salmon.salesforce.config import SalesforceConfig
from salmon.salesforce.identity import Identity
from salmon.salesforce.reading.channels import of_channel, with_channel
from salmon.salesforce.reading.dates import Dates
from salmon.salesforce.reading.draft import Harvest
from salmon.salesforce.reading.feed import SETTLE_S, Feed
from salmon.salesforce.reading.identities import load_identities
from salmon.salesforce.reading.platform_events import Gathered, PlatformEvents, is_position_of_events
from salmon.salesforce.reading.recurring import Recurring
from salmon.salesforce.reading.snapshot_runs import partition_of
from salmon.salesforce.reading.stream.selections import EVERY_S, Selections, selected_on
from salmon.salesforce.reading.stream.subscription import SELECT, Start, Subscription
from salmon.salesforce.reading.whole.bulk_jobs import BulkReads
from salmon.salesforce.reading.whole.rows import RowReader
from salmon.salesforce.reading.whole.side_by_side import SideBySide
from salmon.salesforce.troubles import AGAIN_S, Rechecks, Troubles, described
from salmon.salesforce.wire.budget import Budget, of_api_calls, of_deliveries
from salmon.salesforce.wire.bulk import BulkQueries
from salmon.salesforce.wire.pubsub_api.pubsub import PubSub
from salmon.salesforce.wire.rest import Rest
from salmon.salesforce.wire.signing_in.auth import SignIn

log = structlog.get_logger(__name__)
T = TypeVar("T")

WAITS_MIN_S: Final = 20.0  # what is over sooner is no news for people


class SalesforceSourceTask:
    """The source task of one org: all objects, by one subscription."""

    def __init__(
        self,
        config: SalesforceConfig,
        objects: Mapping[str, ObjectConfig],
        sync_name: str,
        *,
        settle_s: float = SETTLE_S,
        again_s: float = AGAIN_S,
        selections_every_s: float = EVERY_S,
    ) -> None:
        """
        Args:
            config: How to reach the org.
            objects: The config's `objects`.
            sync_name: For the logs.
            settle_s: How long the first position is waited for.
            again_s: How long an object that the org refuses waits until it is tried again.
            selections_every_s: How often it is looked at what is selected for change events.
        """
        self.dates = Dates()
        self._config = config
        # One for all objects: deliveries are counted for each subscriber.
        self._channel = config.pubsub.channel
        self._configured = objects
        self._polled = {name: each.capture.every_s for name, each in objects.items() if is_polled(each)}
        self._log = log.bind(sync=sync_name)
        self._settle_s, self._again_s, self._selections_every_s = settle_s, again_s, selections_every_s
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._calls = Calls()
        self._sign_in: SignIn | None = None
        self._rest: Rest | None = None
        self._described: DescribedOnce | None = None
        self._pubsub: PubSub | None = None
        self._subscription: Subscription | None = None
        self._objects: dict[str, SyncedObject] = {}
        self._held: frozenset[str] = frozenset()
        self._readers: dict[str, RowReader] = {}
        self._make_reader: Callable[[SyncedObject], RowReader] | None = None
        self._feed: Feed | None = None
        self._snapshots: SideBySide | None = None
        self._recurring: Recurring | None = None
        self._agreed_keys: Callable[[str], Collection[str]] = lambda _: ()
        self._registered: Mapping[str, ObjectSchema] = {}
        self._refused: dict[str, ObjectSchema] = {}  # what the org has, which the registry does not accept
        self._failures: Counter[str] = Counter()  # of describing each object
        self._selections: Selections | None = None
        self._selected: deque[Mapping[str, str]] = deque()  # from the thread of the selections
        self._troubles = Troubles(again_s=again_s)
        self._rechecks: Rechecks[SyncedObject] | None = None
        # From the thread of the rechecks: objects that are as they must be again, and those whose events have ended.
        self._mended: deque[SyncedObject] = deque()
        self._silent: deque[str] = deque()
        self._listened: Sequence[str] = ()
        self._events: PlatformEvents | None = None
        self._budget, self._deliveries = of_api_calls(config.api_budget), of_deliveries(config.event_budget)

    def watch(self, calls: Calls) -> Mapping[Peer, Probe]:
        """See Watched of the runtime."""
        self._calls = calls
        probes: dict[Peer, Probe] = {Peer.SALESFORCE: lambda: self._rest is not None and self._rest.probe()}
        if self._hears_changes:
            probes[Peer.PUBSUB] = lambda: self._pubsub is not None and self._pubsub.probe(self._channel)
        return probes

    def listen(self, events: Sequence[str]) -> None:
        """See ReportsEvents."""
        self._listened = tuple(events)

    def use_registered(self, schemas: Mapping[str, ObjectSchema]) -> None:
        """See KeepsSchemas."""
        self._registered = schemas

    def hold(self, objects: Collection[str]) -> None:
        """See HoldsObjects."""
        self._held = frozenset(objects)
        self._objects = {name: each for name, each in self._objects.items() if name not in objects}

    def connect(self) -> None:
        """
        Sign in and describe the objects; done by `start` if nobody did. An object that cannot be used waits, if it has
        worked before. Raises as `start` does.
        """
        if self._objects or self._held:
            return
        self.close()  # what an earlier try has left
        if self._sign_in is None:  # one for all tries: it knows when to ask again
            self._sign_in = SignIn(self._config, calls=self._calls)
        self._rest = rest = Rest(self._config, self._sign_in, calls=self._calls, budget=self._budget)
        self._pubsub = pubsub = PubSub(self._config, self._sign_in, calls=self._calls)
        self._troubles = Troubles(again_s=self._again_s)
        self._described = once = DescribedOnce(rest)
        describe = partial(self._describe, once)
        found, wrong = described(self._configured, describe, self._failures, may_wait=self._registered)
        if never_worked := [error for name, error in wrong.items() if name not in self._registered]:
            raise SetupError(" ".join(map(str, never_worked))) from never_worked[0]
        for name, error in wrong.items():
            found[name] = as_registered(self._registered[name])
            self._troubles.block(name, str(error))
        self._objects = {name: found[name] for name in self._configured}
        self._events = PlatformEvents(
            self._listened,
            pubsub,
            self._open_events,
            org_id=lambda: rest.sign_in.token().organization_id,
            again_s=self._again_s,
        )
        self._events.look()

    def describe_of(self, name: str) -> Mapping[str, Any]:
        """See ShowsDescribes."""
        return {} if self._described is None else self._described.take(name)

    def use_records(self, keys_of: Callable[[str], Collection[str]]) -> None:
        """See ComparesRecords."""
        self._agreed_keys = keys_of

    def event_schemas(self) -> Mapping[str, ObjectSchema]:
        """See ReportsEvents."""
        return {} if self._events is None else self._events.schemas()

    def use_event_schemas(self, schemas: Mapping[str, ObjectSchema], refused: Mapping[str, str]) -> None:
        """See ReportsEvents."""
        if self._events is not None:
            self._events.use(schemas, refused)

    def keep_registered(self, name: str, why: SetupError) -> ObjectSchema:
        """See KeepsSchemas."""
        if name not in self._registered:
            raise why
        self._refused[name] = self._objects[name].schema
        self._objects[name] = as_registered(self._registered[name])
        self._troubles.block(name, f"objects.{name}: {why}")
        return self._registered[name]

    def schemas(self) -> Mapping[str, ObjectSchema]:
        """The schema of each object, as the org has it now, with the fields that Salmon adds. After `connect`."""
        return {name: synced.registered for name, synced in self._objects.items()}

    def api_calls(self) -> Mapping[str, int]:
        """API calls made so far, by resource."""
        return self._rest.calls if self._rest is not None else {}

    def budgets(self) -> Sequence[Budget]:
        """See HasBudgets."""
        return self._budget, self._deliveries

    def start(self, positions: Mapping[str, Position], identities: Mapping[str, Mapping[str, str]]) -> None:
        """
        Resume after *positions*; with none, everything is read first. See SourceTask.start.

        Raises:
            ConfigError, SetupError: what only a person can mend, with the key and the mend.
            Unavailable, RateLimited: the org cannot be asked now.
        """
        self.connect()
        assert self._rest is not None
        assert self._pubsub is not None
        for earlier in (self._feed, self._rechecks, self._selections, self._recurring):
            if earlier is not None:
                earlier.close()
        rest, pubsub = self._rest, self._pubsub
        assert self._events is not None
        self._events.start(positions)
        positions = {n: each for n, each in positions.items() if not is_position_of_events(n)}
        positions = of_channel(positions, self._channel)
        identity = Identity(self.schemas())
        troubles = self._troubles
        # An object that has been read before may wait; one that never was must not be reported without its keys.
        worked = frozenset(
            name
            for name in self._objects
            if partition_of(name) in positions or (name in self._registered and not self._is_read_whole(name))
        )
        for name in self._objects.keys() & identities.keys():
            identity.load(name, identities[name])
        our_user = rest.sign_in.token().user_id
        self._make_reader = lambda synced: RowReader(rest, synced, identity, self._objects, our_user)
        readers = self._readers = {name: self._make_reader(synced) for name, synced in self._objects.items()}
        bulk = BulkQueries(rest, version=self._config.api_version, calls=self._calls)
        self._snapshots = SideBySide(
            rest,
            readers,
            wake=self._wake.set,
            troubles=troubles,
            bulk=lambda: BulkReads(bulk, readers),
            use_bulk=self._config.bulk.query,
        )
        self._recurring = Recurring(
            rest,
            self._configured,
            self._objects,
            readers,
            identity=identity,
            positions=positions,
            keys_of=self._agreed_keys,
            wake=self._wake.set,
            troubles=troubles,
            deliveries=self._deliveries,
            subscribe=self._open_stream,
            hears_changes=self._hears_changes,
        )
        self._feed = Feed(
            org=rest,
            objects=self._objects,
            # The target of a one-way object is not asked what it has.
            whole={n: each.schema.told for n, each in self._objects.items() if self._is_read_whole(n)},
            readers=readers,
            identity=identity,
            load_identities=lambda: load_identities(rest, self._objects, identity, troubles, worked),
            open_stream=self._recurring.open_stream,
            schema_of=pubsub.schema,
            snapshots=self._snapshots,
            troubles=troubles,
            schedule=self._recurring.schedule,
            doubts=self._recurring.doubts,
            our_user=our_user,
            positions=positions,
            org_id=lambda: rest.sign_in.token().organization_id,
            fields_of=lambda name: {field["name"]: field["type"] for field in rest.describe(name)["fields"]},
            settle_s=self._settle_s,
        )
        self._mended.clear()
        self._silent.clear()
        self._rechecks = Rechecks(
            troubles,
            self._recheck,
            lambda _, synced: self._hand_over(self._mended, synced),
            watch=lambda name: name in self._polled or live_fields(name, pubsub),
            broken=partial(self._hand_over, self._silent),
        )
        blocked = [name for name in self._objects if troubles.blocks(name)]
        heard = self._objects.keys() - self._polled.keys()
        self._rechecks.begin(blocked, watched=heard - set(blocked))
        self._selected.clear()
        if heard:
            look = partial(selected_on, rest, self._channel)
            take = partial(self._hand_over, self._selected)
            self._selections = Selections(look, heard, take, every_s=self._selections_every_s)
        self._log.info("source_started", objects=sorted(self._objects), resumed="stream" in positions)

    def poll(self, timeout_s: float) -> SourceBatch:
        """Return what arrived within *timeout_s*; an empty batch is a normal answer. Raises as `start` does."""
        assert self._feed is not None, "start first"
        deadline_s = time.monotonic() + timeout_s
        while not self._stopped.is_set():
            self._wake.clear()  # Before looking: what comes in from now on wakes us.
            while self._silent:
                # At once: it is stored that events were lost, and a restart forgets nothing of it.
                self._feed.read_again(self._silent.popleft())
            while self._selected:
                self._feed.selected(self._selected.popleft())
            while self._mended:
                self._take_back(self._mended.popleft())
            batch = self._gathered(self._feed)
            left_s = deadline_s - time.monotonic()
            if batch is not None or left_s <= 0:
                return batch or SourceBatch()
            due_in_s = self._feed.wait_s()
            self._wake.wait(left_s if due_in_s is None else min(left_s, due_in_s))
        return SourceBatch()

    def _gathered(self, feed: Feed) -> SourceBatch | None:
        """What there is to report; None if there is nothing. What keeps the records waiting does not hold up the events."""
        trouble: RetriableError | None = None
        harvest = Harvest()
        try:
            harvest = feed.gather()
        except RetriableError as error:
            trouble = error
        events = Gathered() if self._events is None else self._events.take()
        if self._recurring is not None:
            self._recurring.turn(feed.request, harvest)
        if not harvest and not events:
            if trouble is not None:
                raise trouble
            return None
        batch = harvest.batch()
        return replace(
            batch,
            events=events.events,
            positions={**with_channel(batch.positions, self._channel), **events.positions},
            dead_letters=(*batch.dead_letters, *events.dead_letters),
        )

    def request(self, signal: Signal) -> None:
        """Take a request; its answer comes in the stream's order, in some later batch."""
        assert self._feed is not None, "start first"
        self._feed.request(signal)

    def progress(self) -> Sequence[SnapshotProgress]:
        """How far the snapshots have come."""
        return self._feed.progress() if self._feed is not None else ()

    def note(self) -> str:
        """What a person should know, though all is well."""
        parts = (self._snapshots, self._events, self._recurring)
        notes = [self._feed.note if self._feed is not None else ""]
        return " ".join(filter(None, [*notes, *(each.note() for each in parts if each is not None)]))

    def waiting(self) -> Sequence[WaitingObject]:
        """The objects that the org refuses, while the others go on; and what keeps all of them waiting."""
        waits = {"requests to Salesforce": self._rest and self._rest.paused()}
        if self._subscription is not None:
            waits["change events"] = self._subscription.waiting_said()
        general = [WaitingObject(what, *wait) for what, wait in waits.items() if wait]
        for readings in (self._snapshots, self._recurring):
            general += readings.waiting() if readings is not None else ()
        events = self._events.waiting() if self._events is not None else []
        lasting = [each for each in general if each.since_s >= WAITS_MIN_S]
        doubts = self._recurring.doubts.waiting() if self._recurring is not None else []
        return [*lasting, *events, *doubts, *self._troubles.report()]

    def stop(self) -> None:
        """Unblock poll() and return at once. Idempotent; called from any thread."""
        self._stopped.set()
        for part in (self._rechecks, self._selections, self._feed, self._recurring, self._events):
            if part is not None:
                part.close()
        self._wake.set()

    def close(self) -> None:
        """Give up the connections, when nothing is polling any more."""
        for each in (self._rest, self._pubsub):
            if each is not None:
                each.close()

    def _describe(self, describes: Describes, name: str) -> SyncedObject:
        assert self._pubsub is not None
        registered = self._registered.get(name)
        return synced_object(name, self._configured, describes, self._pubsub, registered)

    def _recheck(self, name: str) -> SyncedObject:
        """Describe a blocked object again. Raises ObjectUnusable while it is as it was."""
        assert self._rest is not None
        synced = self._describe(self._rest, name)
        if synced.schema == self._refused.get(name):
            raise ObjectUnusable(name, self._troubles.sentence_of(name))
        return synced

    def _hand_over(self, to: deque[T], news: T) -> None:
        """From the threads beside the poll, which takes it."""
        to.append(news)
        self._wake.set()

    def _is_read_whole(self, name: str) -> bool:
        return self._configured[name].direction != "to_salesforce"

    def _take_back(self, synced: SyncedObject) -> None:
        """Go on with an object that was blocked: it is read again, since its events may be missing. Raises SchemaOutdated."""
        assert self._feed is not None
        assert self._make_reader is not None
        name = synced.name
        if synced.schema != self._objects[name].schema:
            raise SchemaOutdated(
                f"{name}: the org has it again, with other fields than before. The process restarts to use them."
            )
        self._objects[name] = synced
        self._readers[name] = self._make_reader(synced)
        self._troubles.unblock(name)
        self._feed.read_again(name)

    @property
    def _hears_changes(self) -> bool:
        """Whether any object has change events; those that are held count, too."""
        return not self._configured or self._configured.keys() > self._polled.keys()

    def _open_stream(self, start: Start) -> Subscription:
        self._subscription = self._subscribed(self._channel, start)
        return self._subscription

    def _open_events(self, topic: str, start: Start) -> Subscription:
        return self._subscribed(topic, start, mend="Let the integration user read the event.")

    def _subscribed(self, topic: str, start: Start, mend: str = SELECT) -> Subscription:
        assert self._pubsub is not None
        return Subscription(
            self._pubsub,
            topic,
            start,
            fetch_size=self._config.pubsub.fetch_size,
            silence_max_s=self._config.pubsub.silence_max_s,
            wake=self._wake.set,
            mend=mend,
        )
