"""A feed over an org in memory: a stream that tests fill, chunks that are read when tests say so."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from salmon.model.change import Op
from salmon.plugin.contract import Position, SourceRecord
from salmon.salesforce.catalog import SyncedObject
from salmon.salesforce.identity import Identity
from salmon.salesforce.reading.doubts import Doubts
from salmon.salesforce.reading.draft import Harvest
from salmon.salesforce.reading.feed import Feed
from salmon.salesforce.reading.sight import Sight
from salmon.salesforce.reading.snapshot_runs import Schedule
from salmon.salesforce.reading.stream.subscription import Ended, Received, Start
from salmon.salesforce.reading.whole.rows import RowReader
from salmon.salesforce.reading.whole.run import Run, Why
from salmon.salesforce.reading.whole.snapshot import Chunk, Failed, Snapshots
from salmon.salesforce.troubles import Troubles
from support.orgs.salesforce import OUR_USER, MemoryOrg, event, schema_of, synced

ROWS_A_CHUNK = 2
A, B, C, D = (f"00100000000000{number}AAA" for number in (1, 2, 3, 4))
NOW = 1_000_000_000_000


class MemoryStream:
    """A subscription that holds what tests put in."""

    def __init__(self, start: Start) -> None:
        self.start = start
        self.items: deque[Received | Ended] = deque()
        self.closed = False

    def peek(self) -> Received | Ended | None:
        return self.items[0] if self.items else None

    def pop(self) -> None:
        self.items.popleft()

    def close(self) -> None:
        self.closed = True


class StepwiseSnapshots(Snapshots):
    """Runs whose chunks are read one at a time, in the caller's thread, when `read_chunk` says so."""

    def __init__(self, org: MemoryOrg, readers: Mapping[str, RowReader]) -> None:
        self.readers = readers
        self.org = org
        self.running: dict[str, Run] = {}
        self.begun: list[Run] = []
        self.ready: deque[Chunk] = deque()

    def begin(self, run: Run) -> None:
        self.begun.append(run)
        self.running[run.object] = run
        self.ready = deque(chunk for chunk in self.ready if chunk.run.object != run.object)

    def give_up(self, name: str) -> None:
        self.running.pop(name, None)
        self.ready = deque(chunk for chunk in self.ready if chunk.run.object != name)

    def take(self) -> Chunk | Failed | None:
        return self.ready.popleft() if self.ready else None

    def close(self) -> None:
        self.running.clear()

    def read_chunk(self, name: str = "Account") -> None:
        """Read the next chunk of the object's run, which must be due."""
        run = self.running[name]
        assert (self.org.clock.covered or 0) >= run.not_before, "not due yet"
        reader = self.readers[name]
        since = run.rows_since
        if run.why in (Why.POLLED, Why.REFRESH) and not (run.last or run.absences):
            self.org.look_at_clock()
            run = replace(run, began=max(run.began, self.org.clock.covered or 0))
        if run.absences:
            read = reader.deleted(run.last, since=run.since, limit=ROWS_A_CHUNK, floor=run.began)
        else:
            read = reader.after(run.last, limit=ROWS_A_CHUNK, floor=run.began, since=since, to=run.to)
        self.running[name] = run = self._told(replace(run, total=0), read)
        self.ready.append(Chunk(run, read))


class Rig:
    """A feed of Accounts (and Contacts), what it told, and what would be stored."""

    snapshots_as: type[StepwiseSnapshots] = StepwiseSnapshots

    def __init__(
        self,
        org: MemoryOrg | None = None,
        positions: Mapping[str, Position] | None = None,
        configured: Sequence[SyncedObject] | None = None,
        one_way: Collection[str] = (),
        org_id: str = "00D000000000001",
        polled: Mapping[str, float] | None = None,
        refreshed: Mapping[str, float] | None = None,
        sight: Sight | None = None,
    ) -> None:
        self.spare = True
        self.org = org or MemoryOrg()
        self.stored: dict[str, Position] = dict(positions or {})
        self.streams: list[MemoryStream] = []
        self.told: list[SourceRecord] = []
        self.identities: list[tuple[str, str, str | None]] = []
        self.answered: set[int] = set()
        self.dead: list[str] = []
        self.number = 0
        objects = {one.schema.name: one for one in configured or (synced("Account"), synced("Contact"))}
        self.identity = Identity({name: one.schema for name, one in objects.items()})
        readers = {name: RowReader(self.org, one, self.identity, objects) for name, one in objects.items()}
        self.snapshots = self.snapshots_as(self.org, readers)
        self.polled = polled or {}
        self.polls = StepwiseSnapshots(self.org, readers)
        self.troubles = Troubles(clock=lambda: self.org.now_ms / 1000)
        self.identity_loads = 0
        self.org_id = org_id
        self.feed = Feed(
            org=self.org,
            objects=objects,
            whole={
                name: frozenset(one.schema.by_name) for name, one in objects.items() if name not in one_way
            },
            readers=readers,
            identity=self.identity,
            load_identities=self._load,
            open_stream=self._open,
            schema_of=schema_of,
            snapshots=self.snapshots,
            schedule=Schedule(
                self.polled, self.polls if self.polled else None, refreshed or {}, lambda: self.spare
            ),
            our_user=OUR_USER,
            positions=self.stored,
            troubles=self.troubles,
            doubts=Doubts(sight, self.stored),
            org_id=lambda: self.org_id,
            monotonic_s=lambda: self.org.now_ms / 1000,
        )

    @classmethod
    def streaming(cls, org: MemoryOrg | None = None) -> Rig:
        """A rig whose snapshots were done long ago."""
        done = {"why": "first", "began": 0, "not_before": 0, "since": None, "last": "", "absences": False}
        run = {**done, "done": True, "read": 0, "total": 0, "signals": []}
        runs: dict[str, Position] = {
            f"snapshot/{name}": {**run, "covers": sorted(synced(name).schema.by_name)}
            for name in ("Account", "Contact")
        }
        positions: dict[str, Position] = {
            "stream": {"replay_id": "00", "commit_time": 0},
            **runs,
        }
        rig = cls(org, positions)
        rig.gather()
        return rig

    def restarted(
        self,
        configured: Sequence[SyncedObject] | None = None,
        *,
        one_way: Collection[str] = (),
        org_id: str | None = None,
        polled: Mapping[str, float] | None = None,
    ) -> Rig:
        """A new rig on the same org, from what was stored; perhaps with another configuration, or another org's Id."""
        polls = self.polled if polled is None else polled
        return Rig(self.org, self.stored, configured, one_way, org_id or self.org_id, polls)

    @property
    def stream(self) -> MemoryStream:
        return self.streams[-1]

    def hear(self, *bodies: Mapping[str, Any]) -> None:
        """Let one response with these events come."""
        events = []
        for body in bodies:
            self.number += 1
            events.append(event(self.number, body))
        self.stream.items.append(Received(events, events[-1].replay_id))

    def keepalive(self) -> None:
        """Let an empty response come, that tells a position."""
        self.number += 1
        self.stream.items.append(Received((), self.number.to_bytes(8, "big")))

    def gather(self) -> Harvest:
        """Gather once, and commit it."""
        harvest = self.feed.gather()
        for partition, position in harvest.positions.items():
            if position is None:
                self.stored.pop(partition, None)
            else:
                self.stored[partition] = position
        self.told.extend(harvest.records)
        self.identities.extend((one.object, one.native_id, one.key) for one in harvest.identities)
        self.answered |= harvest.answered
        self.dead.extend(one.key for one in harvest.dead_letters)
        return harvest

    def pass_s(self, seconds: float) -> None:
        """Let time pass; nobody asks for the clock meanwhile."""
        self.org.now_ms += int(seconds * 1000)

    def ops(self) -> list[tuple[str, Op]]:
        """What was told since the last call, as (key, op)."""
        told, self.told = self.told, []
        return [(record.key, record.change.op) for record in told]

    @property
    def place(self) -> int:
        """The stored stream position, as the number of the response or event."""
        return int(self.stored["stream"]["replay_id"], 16)

    def _open(self, start: Start) -> MemoryStream:
        self.streams.append(MemoryStream(start))
        return self.streams[-1]

    def _load(self) -> None:
        self.identity_loads += 1
        for name, records in self.org.records.items():
            for native_id, row in records.items():
                if row.get("Salmon_Id__c"):
                    self.identity.learn(name, native_id, row["Salmon_Id__c"])


def keys(ops: Sequence[tuple[str, Op]], op: Op) -> list[str]:
    """The keys that one kind of change was told of."""
    return [key for key, told in ops if told is op]


def org_of(*ids: str) -> MemoryOrg:
    org = MemoryOrg(NOW)
    for native_id in ids:
        org.put("Account", native_id, Name="Acme", LastModifiedDate="2001-09-09T01:46:40.000+0000")
    return org


def read_all(rig: Rig, *names: str) -> None:
    """Read and tell what there is of these objects."""
    for name in names or ("Account", "Contact"):
        while name in rig.snapshots.running and not rig.snapshots.running[name].done:
            rig.snapshots.read_chunk(name)
            rig.gather()
