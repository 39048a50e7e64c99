"""
Collects everything for `salmon status`: what each process reports, and what is on its way in Kafka.

The processes come first: their part is ready within seconds, whatever hangs. This module reads Kafka and the REST ports, but
not Salesforce or MongoDB, so it costs no API calls.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from salmon.app.sync import Sync
from salmon.config.models import SyncConfig
from salmon.errors import SalmonError, SetupError, Unavailable
from salmon.kafka import tables
from salmon.kafka.codecs.serdes import Offsets
from salmon.kafka.errors import translated
from salmon.kafka.reader import Place
from salmon.kafka.topics import Topics
from salmon.model import sides
from salmon.model.sides import Roster
from salmon.plugin.contract import Position
from salmon.sink.guard.delete_guard import PREFIX as GUARD_PREFIX
from salmon.status.counting import NONE, Count, committed, counts
from salmon.status.scraping import Owner, ProcessReport, ask
from salmon.status.waiting import WHY, InStates, in_states, undealt

_CONNECT_S: Final = 10.0
_CONNECT_MARGIN_S: Final = 2.0
# `records` is counted by reading it; a larger one is estimated by its offsets.
_RECORDS_READ_MAX: Final = 200_000
_LAG: Final = "salmon_end_to_end_lag_seconds"
_MERGE: Final = "merge"
_OF_BUDGETS: Final = ("allowed", "used", "ours", "left", "level", "exhausted_in_seconds")


@dataclass(frozen=True, slots=True)
class Lag:
    """From an edit's commit to the echo of its write on the other side, in seconds, since merge started."""

    p50_s: float | None
    p99_s: float | None


@dataclass(frozen=True, slots=True)
class ObjectStatus:
    """One object."""

    name: str
    records: Count  # agreed ones
    unmerged: Count  # changes that merge has not folded yet
    owed: Mapping[str, Count]  # side -> records with a write that its sink has not carried out yet
    lags: Mapping[str, Lag]  # "to_mongodb", "to_salesforce"
    conflicts: int | None  # since merge started; None: merge does not report, as below
    held: int | None  # those of them that wait for a person
    snapshot_read: int | None  # by the Salesforce source, since it started; None: no snapshot
    snapshot_total: int | None
    parked: Mapping[str, int] | None = None  # why -> fields set aside since merge started
    freed: Mapping[str, int] | None = None  # why -> fields that no longer wait
    in_states: InStates | None = None  # None: too many states to read
    oscillating: int | None = None  # times that the breaker has tripped, since merge started
    guarded: Mapping[str, int] = field(default_factory=dict)  # side -> deletes that its sink holds back
    snapshot_left_s: int | None = None  # as it seems; 0 when it is done
    polled_s: int | None = (
        None  # of an object that is polled: how old what was found may be; None: it has events
    )

    def waits(self, why: str) -> Count | None:
        """How many fields wait now; if the states are too many to read, what merge has counted since it started, if it reports."""
        if self.in_states is not None:
            return Count(self.in_states.waiting.get(why, 0))
        if self.parked is None or self.freed is None:
            return None
        return Count(max(0, self.parked.get(why, 0) - self.freed.get(why, 0)), exact=False)

    @property
    def places(self) -> Mapping[str, Count]:
        """Of an object that has several collections: collection -> documents there. Empty if that is not known."""
        return {} if self.in_states is None else self.in_states.places


@dataclass(frozen=True, slots=True)
class Overview:
    """The state of a sync."""

    processes: tuple[ProcessReport, ...]
    objects: tuple[ObjectStatus, ...]
    conflicts: Count  # in the topic
    dead_letters: Mapping[str, Count]  # connector -> letters in its queue that nobody has dealt with
    positions: Mapping[str, Mapping[str, Position]]  # connector -> partition -> where it continues
    missing_topics: tuple[str, ...] = ()
    trouble: str = ""  # why only the processes could be looked at
    made_again: tuple[str, ...] = ()  # `changes` topics that are not those that merge has read so far

    @property
    def healthy(self) -> bool:
        return (
            not self.missing_topics
            and not self.trouble
            and all(process.healthy for process in self.processes)
        )

    def as_dict(self) -> dict[str, Any]:
        """As `salmon status --json` prints it. If there is too much to count, a number is an estimate; null: it is not known."""
        return {
            "healthy": self.healthy,
            "processes": {
                each.connector: {
                    "url": each.url or None,
                    "status": each.status,
                    "message": each.message,
                    "ready": each.ready,
                    "degraded": each.degraded,
                    "waiting_for": list(each.waiting_for),
                    "notes": list(each.notes),
                    "deferred": each.counted("salmon_deferred_records"),
                    "position_age_s": each.samples.by("salmon_position_age_seconds", "stream"),
                    "position_kept_s": each.samples.by("salmon_position_retention_seconds", "stream"),
                    "oldest_write_s": each.samples.by("salmon_oldest_unacknowledged_write_seconds", "object"),
                    "api_calls": each.counted_by("salmon_api_calls_total", "resource"),
                    "former_path_writes": former_path_writes(each),
                    "budgets": budgets_of(each),
                }
                for each in self.processes
            },
            "objects": {
                each.name: {
                    "records": each.records.records,
                    "collections": {name: count.records for name, count in each.places.items()},
                    "in_flight": {
                        "changes": each.unmerged.records,
                        **{f"to_{side}": count.records for side, count in each.owed.items()},
                    },
                    "lag_s": {
                        direction: {"p50": lag.p50_s, "p99": lag.p99_s}
                        for direction, lag in each.lags.items()
                    },
                    "conflicts": each.conflicts,
                    "held": each.held,
                    "waiting": {
                        why: None if (waits := each.waits(why)) is None else waits.records for why in WHY
                    },
                    "parked": _by_why(each.parked),
                    "freed": _by_why(each.freed),
                    "oscillating": each.oscillating,
                    "deletes_held": dict(each.guarded),
                    "snapshot": {
                        "read": each.snapshot_read,
                        "total": each.snapshot_total,
                        "left_s": each.snapshot_left_s,
                    },
                    "polled_s": each.polled_s,
                }
                for each in self.objects
            },
            "conflicts": self.conflicts.records,
            "dead_letters": {name: count.records for name, count in self.dead_letters.items()},
            "positions": {name: dict(places) for name, places in self.positions.items()},
            "missing_topics": list(self.missing_topics),
            "topics_made_again": list(self.made_again),
            "trouble": self.trouble or None,
        }


def budgets_of(process: ProcessReport) -> dict[str, dict[str, int | None]]:
    """What a process may use of its side's allowances: name -> what its metrics say."""
    facts = {fact: process.samples.by(f"salmon_budget_{fact}", "budget") for fact in _OF_BUDGETS}
    return {
        name: {fact: int(shown[name]) if name in shown else None for fact, shown in facts.items()}
        for name in facts["left"]
    }


def former_path_writes(process: ProcessReport) -> dict[str, int]:
    """Object -> how many fields applications have written at their paths from before `fields.rename`; only objects with some."""
    counts = process.samples.by("salmon_former_path_writes_total", "object")
    return {name: int(count) for name, count in counts.items() if count}


class Look:
    """
    Looks at everything: first the processes, and then Kafka, which may be away.

    Args:
        addresses: Process -> base address of its port. That of a connector which is missing is unknown.
    """

    def __init__(self, config: SyncConfig, addresses: Mapping[str, str]) -> None:
        self._roster = config.roster
        self._sync = Sync(config, client_id="salmon-status", connect_s=_CONNECT_S)
        self._addresses = addresses
        self._cluster_id: str | None = None
        self._admin: AdminClient | None = None
        self._partitions: Mapping[str, int] = {}
        self._trouble: SalmonError | None = None
        # Kafka is asked at once, because its cluster id shows whether the processes belong to this sync.
        self._thread = threading.Thread(target=self._connect, name="kafka", daemon=True)
        self._thread.start()
        self._processes: tuple[ProcessReport, ...] | None = None

    @property
    def processes(self) -> tuple[ProcessReport, ...]:
        """Return what each process reports, within a bounded time, whatever hangs."""
        if self._processes is None:
            owner = Owner(self._sync.config.name, lambda: self._cluster_id)
            config = self._sync.config
            tls, api_tls = config.rest.tls, None if config.api is None else config.api.tls
            found = ask(
                owner,
                self._addresses,
                ca_file=None if tls is None else tls.ca_file,
                api_ca_file=None if api_tls is None else api_tls.ca_file,
            )
            reports = {each.connector: each for each in found}
            names = dict.fromkeys((*self._roster.connectors, *self._addresses))
            self._processes = tuple(reports.get(name) or _unknown(name) for name in names)
        return self._processes

    def overview(self) -> Overview:
        """
        Everything.

        Raises:
            Unavailable, SetupError, ConfigError: Kafka or the registry cannot be reached or read.
        """
        sync, processes = self._sync, self.processes
        self._thread.join(_CONNECT_S + _CONNECT_MARGIN_S)
        if self._trouble is not None:
            raise self._trouble
        if self._admin is None:
            raise Unavailable(
                f"no Kafka broker has answered within {_CONNECT_S:.0f} s. Check that the brokers run, and "
                f"kafka.bootstrap.servers."
            )
        topics, objects = sync.topics, sync.config.objects
        looked = _Look(
            sync.kafka,
            topics,
            self._admin,
            self._partitions,
            {each.connector: each for each in processes},
            self._roster,
        )
        missing = tuple(sorted(looked.needed(objects) - self._partitions.keys()))
        if missing:
            return Overview(processes, (), NONE, {}, {}, missing)
        counted = looked.counted(map(topics.dlq, self._roster.connectors))
        queues = {name: counted[topics.dlq(name)] for name in self._roster.connectors}
        with closing(sync):
            looked.positions = _positions(
                sync.kafka, Offsets(sync.registry, topics.offsets), self._roster.connectors
            )
            dead_letters = undealt(sync, queues, marks_exist=topics.handled in self._partitions)
            looked.in_states = {name: self._in_states(name) for name in objects}
        return Overview(
            processes,
            looked.objects(list(objects)),
            looked.counted([topics.conflicts])[topics.conflicts],
            dead_letters,
            looked.positions,
            made_again=looked.made_again(objects),
        )

    def _in_states(self, name: str) -> InStates | None:
        if self._sync.topics.state(name) not in self._partitions:
            return None
        try:
            return in_states(self._sync, name)
        except SetupError:
            return None  # its schema is not known yet, so nothing was merged

    def without_kafka(self, trouble: SalmonError) -> Overview:
        """Return the overview for the case that overview() raised *trouble*."""
        return Overview(self.processes, (), NONE, {}, {}, trouble=str(trouble))

    def _connect(self) -> None:
        try:
            admin = self._sync.admin
            cluster = admin.list_topics(timeout=_CONNECT_S)
            self._cluster_id = cluster.cluster_id
            self._partitions = {name: len(topic.partitions) for name, topic in cluster.topics.items()}
            self._admin = admin
        except SalmonError as trouble:
            self._trouble = trouble
        except KafkaException as error:
            self._trouble = translated(error, "connecting to Kafka")


def _unknown(connector: str) -> ProcessReport:
    return ProcessReport(
        connector, "", "unknown", "Its port is not known. Give the --ports-file that `salmon run all` wrote."
    )


def _positions(
    kafka: Mapping[str, Any], serde: Offsets, connectors: Collection[str]
) -> dict[str, dict[str, Position]]:
    found: dict[str, dict[str, Position]] = {}
    for key, position in sorted(tables.load(kafka, serde.topic, serde.decode).items()):
        connector, _, partition = key.partition("/")
        if connector not in connectors:
            continue  # e.g. which instance runs: not a position
        found.setdefault(connector, {})[partition] = position
    return found


@dataclass(slots=True)
class _Look:
    """Reads the numbers from Kafka."""

    kafka: Mapping[str, Any]
    topics: Topics
    admin: AdminClient
    partitions: Mapping[str, int]
    processes: Mapping[str, ProcessReport]
    roster: Roster
    positions: dict[str, dict[str, Position]] = field(default_factory=dict)
    in_states: Mapping[str, InStates | None] = field(default_factory=dict)

    def needed(self, objects: Iterable[str]) -> set[str]:
        """The topics that are read."""
        topics = self.topics
        return {
            topics.offsets,
            topics.conflicts,
            *map(topics.dlq, self.roster.connectors),
            *(make(name) for name in objects for make in (topics.changes, topics.records)),
        } | {topics.writes(side, name) for name in objects for side in self.roster.names_of(name)}

    def objects(self, names: Sequence[str]) -> tuple[ObjectStatus, ...]:
        topics = self.topics
        records = counts(
            self.kafka,
            self.admin,
            dict.fromkeys(self._places(map(topics.records, names))),
            owed=True,
            most=_RECORDS_READ_MAX,
        )
        merged = self.positions.get(_MERGE, {})
        unmerged = counts(
            self.kafka,
            self.admin,
            {
                (topic, number): _offset_of(merged.get(f"{topic}/{number}"))
                for topic, number in self._places(map(topics.changes, names))
            },
        )
        owed = {
            side: self._owed(side, [name for name in names if self.roster.has(side, name)])
            for side in self.roster.names
        }
        return tuple(
            self._object(
                name,
                records[topics.records(name)],
                unmerged[topics.changes(name)],
                {side: owed[side][topics.writes(side, name)] for side in self.roster.names_of(name)},
            )
            for name in names
        )

    def made_again(self, names: Iterable[str]) -> tuple[str, ...]:
        """The `changes` topics whose id is another one than merge has noted: of another or restored Kafka, or made again."""
        noted: dict[str, set[str]] = {}
        for place, position in self.positions.get(_MERGE, {}).items():
            if topic_id := position.get("topic_id"):
                noted.setdefault(place.rpartition("/")[0], set()).add(str(topic_id))
        return tuple(
            topic
            for topic in map(self.topics.changes, names)
            if (known := noted.get(topic)) and tables.describe(self.admin, topic).topic_id not in {"", *known}
        )

    def counted(self, topics: Iterable[str]) -> dict[str, Count]:
        """Return how many records topics have."""
        return counts(self.kafka, self.admin, dict.fromkeys(self._places(topics)))

    def _owed(self, side: str, names: Collection[str]) -> dict[str, Count]:
        places = self._places(self.topics.writes(side, name) for name in names)
        group = f"{self.topics.name}-{sides.named(side).sink}"
        return counts(self.kafka, self.admin, committed(self.kafka, group, places), owed=True)

    def _places(self, topics: Iterable[str]) -> list[Place]:
        return [(topic, number) for topic in topics for number in range(self.partitions[topic])]

    def _guarded(self, side: str, name: str) -> int:
        """Return what the sink has stored, because the sink may be down."""
        kept = self.positions.get(sides.named(side).sink, {})
        return sum(_held_in(at) for entry, at in kept.items() if entry.startswith(f"{GUARD_PREFIX}{name}/"))

    def _object(self, name: str, records: Count, unmerged: Count, owed: Mapping[str, Count]) -> ObjectStatus:
        merge = self.processes[_MERGE]
        source = self.processes[sides.DESCRIBING.source].samples
        labels = {"object": name}
        read = [value for _, value in source.of("salmon_snapshot_read_records", **labels)]
        total = [value for _, value in source.of("salmon_snapshot_total_records", **labels)]
        left = [value for _, value in source.of("salmon_snapshot_left_seconds", **labels)]
        polled = [value for _, value in source.of("salmon_poll_age_seconds", **labels)]
        lags = {
            direction: Lag(
                *(merge.samples.quantile(_LAG, q, direction=direction, **labels) for q in (0.5, 0.99))
            )
            for direction in (side.direction for side in self.roster.of(name))
        }
        return ObjectStatus(
            name=name,
            records=records,
            unmerged=unmerged,
            owed=owed,
            lags=lags,
            conflicts=merge.counted("salmon_conflicts_total", **labels),
            held=merge.counted("salmon_conflicts_total", winner="held", **labels),
            oscillating=merge.counted("salmon_folded_total", fact="oscillating", **labels),
            guarded={side: self._guarded(side, name) for side in self.roster.names_of(name)},
            snapshot_read=int(read[0]) if read else None,
            snapshot_total=int(total[0]) if total else None,
            snapshot_left_s=round(left[0]) if left else None,
            polled_s=round(polled[0]) if polled else None,
            parked=merge.counted_by("salmon_parked_fields_total", "why", **labels),
            freed=merge.counted_by("salmon_freed_fields_total", "why", **labels),
            in_states=self.in_states.get(name),
        )


def _by_why(numbers: Mapping[str, int] | None) -> dict[str, int | None]:
    return {why: None if numbers is None else numbers.get(why, 0) for why in WHY}


def _held_in(position: Position) -> int:
    return int(position["held"]) if position["paused"] else 0


def _offset_of(position: Position | None) -> int | None:
    return None if position is None else int(position["offset"])
