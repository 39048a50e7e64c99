"""
The demo from start to end.

    servers, connectors -> first load -> edits on both sides, acts between them -> verify

How it is shown is in salmon.cli.demo and salmon.cli.audience.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from salmon.config.registries import registry_of
from salmon.demo.acts import ACTS, Act, Scene, played
from salmon.demo.board import Board, Result, numbers
from salmon.demo.conflicts import Conflicts
from salmon.demo.crowd import Crowd
from salmon.demo.events import OPENED, Subscriber
from salmon.demo.people import Application, Person
from salmon.demo.reports import ACT as REPORT_MOVES
from salmon.demo.stage import Stage
from salmon.demo.watching import DocumentObserver, Observer, OrgObserver, Watch
from salmon.errors import SetupError
from salmon.kafka import clients
from salmon.kafka.topics import CONNECTORS
from salmon.model.change import MONGODB, SALESFORCE
from salmon.model.sides import OWN
from salmon.status.counting import counts
from salmon.verify.verifying import Watcher, verify

_ACTS: Final = (*ACTS, REPORT_MOVES)
_LOOK_S: Final = 0.25
_BOARD_S: Final = 0.5
_STANDSTILL_MAX_S: Final = 60.0
_DRAIN_MAX_S: Final = 30.0
_QUIET_LOOKS: Final = 3
_RESERVED: Final = 20  # records of each object that only the acts touch
_READ: Final = "kafka_connect_sink_task_metrics_sink_record_read_total"
_WRITTEN: Final = "kafka_connect_source_task_metrics_source_record_write_total"


class Audience(Protocol):
    """Shows the demo while it runs."""

    def scene(self, title: str) -> None:
        """A part begins that takes some time."""

    def loaded(self, done: Mapping[str, int], totals: Mapping[str, int]) -> None:
        """How many records of each object the first load has brought to MongoDB."""

    def board(self, board: Board) -> None:
        """The present numbers; called every half second."""

    def act(self, act: Act) -> None:
        """An act has ended."""

    def comparing(self) -> Any:
        """Return a context manager with a Watcher for the comparison."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a demo."""

    records: Mapping[str, int]
    seconds: float = 20.0  # how long edits are made, at least; they continue until the acts are over
    a_second: float = 10.0  # edits, on each side


@dataclass(slots=True)
class Play:
    """One demo on one stage."""

    stage: Stage
    options: Options
    audience: Audience
    watch: Watch = field(default_factory=Watch)

    def run(self) -> Result:
        """
        Play all of the demo.

        Raises:
            SalmonError: it cannot continue: a server does not start, a connector has ended, nothing changes any more.
        """
        self.audience.scene("Starting Kafka, the schema registry, MongoDB and a simulated Salesforce org")
        self.stage.start_servers()
        self.audience.scene("Starting the five connectors, and the API")
        self.stage.start_connectors()
        with ExitStack() as stack:
            application = Application(self.stage.config)
            stack.callback(application.close)
            total, took_s = self._first_load(application)
            registry = registry_of(self.stage.config)
            stack.callback(registry.close)
            kafka = self.stage.config.kafka_properties()
            conflicts = stack.enter_context(Conflicts(kafka, self.stage.config.topic_names, registry))
            person = Person(self.stage.org)
            observers: list[Observer] = [
                DocumentObserver(self.watch, application),
                OrgObserver(self.watch, person),
            ]
            for observer in observers:
                observer.start()
                stack.callback(observer.close)
            opened = Subscriber(person, OPENED)
            stack.callback(opened.close)
            return self._edits(application, person, conflicts, opened, observers, load=(total, took_s))

    # The first load.

    def _first_load(self, application: Application) -> tuple[int, float]:
        """Wait until MongoDB has all records of the org. Returns how many there are, and how long it took."""
        totals = {name: self.options.records[name] for name in self.stage.config.objects}
        self.audience.scene(f"First load of {sum(totals.values()):,} records")
        began = moved_at = time.monotonic()
        done: dict[str, int] = {}
        while any(done.get(name, 0) < total for name, total in totals.items()):
            self.stage.require_connectors()
            before = done
            done = {name: application.collection(name).estimated_document_count() for name in totals}
            self.audience.loaded(done, totals)
            now = time.monotonic()
            moved_at = now if done != before else moved_at
            if now - moved_at > _STANDSTILL_MAX_S:
                raise SetupError(
                    f"the first load has made no progress for {_STANDSTILL_MAX_S:.0f} s. See {self.stage.log_file}."
                )
            time.sleep(_LOOK_S)
        took_s = time.monotonic() - began
        self.audience.scene("Waiting for the echoes of the first load")
        self._until_quiet()
        return sum(totals.values()), took_s

    def _until_quiet(self) -> None:
        """Return when merge has read everything that the sources wrote, and they write no more."""
        quiet, last = 0, (-1.0, -1.0)
        deadline = time.monotonic() + _STANDSTILL_MAX_S
        while quiet < _QUIET_LOOKS:
            self.stage.require_connectors()
            sources = self.stage.reports(*(side.source for side in OWN))
            written = sum(report.samples.total(_WRITTEN) for report in sources)
            read = sum(report.samples.total(_READ) for report in self.stage.reports("merge"))
            quiet = quiet + 1 if (written, read) == last and read >= written else 0
            if (written, read) != last:
                deadline = time.monotonic() + _STANDSTILL_MAX_S
            elif time.monotonic() > deadline:
                raise SetupError(f"merge has stopped reading. See {self.stage.log_file}.")
            last = (written, read)
            time.sleep(_LOOK_S)

    # Edits on both sides, and the acts between them.

    def _edits(
        self,
        application: Application,
        person: Person,
        conflicts: Conflicts,
        opened: Subscriber,
        observers: list[Observer],
        *,
        load: tuple[int, float],
    ) -> Result:
        client = person.client()
        ids = {
            name: [row["Id"] for row in client.query_all(f"SELECT Id FROM {name} ORDER BY Id")["records"]]
            for name in self.options.records
        }
        crowd = Crowd(
            person,
            application,
            self.watch,
            {name: some[_RESERVED:] for name, some in ids.items()},
            self.options.a_second,
        )
        scene = Scene(
            client,
            application,
            conflicts,
            self.stage.org["control_url"],
            opened,
            {name: some[:_RESERVED] for name, some in ids.items()},
            self.stage.api_address,
        )
        self.audience.scene(f"Edits on both sides at once, for {self.options.seconds:.0f} s")
        began = time.monotonic()
        crowd.start()
        try:
            acts = self._acts(scene, crowd, began)
        finally:
            crowd.stop()
        edits_s = time.monotonic() - began
        self._drain(crowd, scene, observers)
        return self._proof(crowd, scene, acts, load, edits_s)

    def _acts(self, scene: Scene, crowd: Crowd, began: float) -> tuple[Act, ...]:
        """Play the acts, spread over the time, and show the numbers meanwhile."""
        acts: list[Act] = []

        def play_all() -> None:
            for number, (name, title, play) in enumerate(_ACTS):
                starts_at = began + self.options.seconds * (number + 0.5) / (len(_ACTS) + 1)
                time.sleep(max(0.0, starts_at - time.monotonic()))
                act = played(scene, name, title, play)
                acts.append(act)
                self.audience.act(act)

        failed: list[BaseException] = []
        thread = threading.Thread(target=_caught, args=(play_all, failed), name="acts", daemon=True)
        thread.start()
        while thread.is_alive() or time.monotonic() < began + self.options.seconds:
            self.stage.require_connectors()
            self.audience.board(self._board(crowd, scene, began))
            time.sleep(_BOARD_S)
        if failed:
            raise failed[0]
        return tuple(acts)

    def _board(self, crowd: Crowd, scene: Scene, began: float) -> Board:
        by_object = Counter(each.contest.object for each in scene.conflicts.all())
        return Board(
            tuple(
                numbers(
                    name,
                    self.watch,
                    crowd.edits,
                    scene.application.collection(name).estimated_document_count(),
                    by_object[name],
                )
                for name in self.options.records
            ),
            api_calls=self._api_calls(),
            left_s=max(0.0, began + self.options.seconds - time.monotonic()),
        )

    def _api_calls(self) -> int:
        reports = self.stage.reports("salesforce-source", "salesforce-sink")
        return int(sum(report.samples.total("salmon_api_calls_total") for report in reports))

    def _drain(self, crowd: Crowd, scene: Scene, observers: list[Observer]) -> None:
        """Wait for the edits that are still on their way."""
        deadline = time.monotonic() + _DRAIN_MAX_S
        while self.watch.in_flight().total() and time.monotonic() < deadline:
            self.stage.require_connectors()
            for observer in observers:
                if observer.error is not None:
                    raise observer.error
            self.audience.board(self._board(crowd, scene, began=0.0))
            time.sleep(_BOARD_S)
        self.audience.board(self._board(crowd, scene, began=0.0))

    # The proof.

    def _proof(
        self, crowd: Crowd, scene: Scene, acts: tuple[Act, ...], load: tuple[int, float], edits_s: float
    ) -> Result:
        self.audience.scene("Comparing both sides and the agreed records")
        with self.audience.comparing() as watcher:
            verdict = self._verdict(watcher)
        board = self._board(crowd, scene, began=0.0)
        conflicts = len(scene.conflicts.all())
        dead_letters = self._dead_letters()
        return Result(
            snapshot_records=load[0],
            snapshot_s=load[1],
            edits_s=edits_s,
            board=board,
            lags_s={
                "to_mongodb": self.watch.lags_s(side=SALESFORCE),
                "to_salesforce": self.watch.lags_s(side=MONGODB),
            },
            acts=acts,
            conflicts=conflicts,
            dead_letters=dead_letters,
            verdict=verdict,
            unmet=tuple(
                _unmet(
                    crowd, self.watch, acts, conflicts=conflicts, dead_letters=dead_letters, verdict=verdict
                )
            ),
        )

    def _verdict(self, watcher: Watcher) -> Mapping[str, Any]:
        return verify(self.stage.config, watcher=watcher).as_dict()

    def _dead_letters(self) -> int:
        kafka, topics = self.stage.config.kafka_properties(), self.stage.config.topic_names
        found = counts(kafka, clients.admin(kafka), {(topics.dlq(name), 0): None for name in CONNECTORS})
        return sum(count.records for count in found.values())


def _unmet(
    crowd: Crowd,
    watch: Watch,
    acts: tuple[Act, ...],
    *,
    conflicts: int,
    dead_letters: int,
    verdict: Mapping[str, Any],
) -> list[str]:
    """Return the promises that were not kept."""
    unmet = [f"{act.title}: {act.detail}." for act in acts if not act.passed]
    if lost := watch.in_flight().total():
        unmet.append(f"{lost} edits did not reach the other side within {_DRAIN_MAX_S:.0f} s.")
    if crowd.failures:
        kinds = ", ".join(f"{kind} ({count})" for kind, count in Counter(crowd.failures).items())
        unmet.append(f"{len(crowd.failures)} edits could not be made: {kinds}.")
    if conflicts != 1:
        unmet.append(f"one conflict was expected, but there are {conflicts}.")
    if dead_letters:
        unmet.append(f"{dead_letters} records are in a dead letter queue.")
    if not verdict["equal"]:
        unmet.append("both sides and `records` are not equal: run `salmon verify` to see what differs.")
    return unmet


def _caught(work: Callable[[], None], failed: list[BaseException]) -> None:
    try:
        work()
    except BaseException as error:  # noqa: BLE001 - raised in the thread that waits for this one
        failed.append(error)
