"""
The health of a process. /health, the connector's status and the probes all use it.

Live: the loop runs, or waits for a server within that server's time-out; a restart would not help. Ready: the process does
its work, or is on standby for its leader. Degraded: something that it needs is missing, for all objects or for some;
`waiting_for` says what, since when, and what to do. The words healthy, starting and unhealthy are Kafka Connect's (KIP-1017).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from threading import Lock
from typing import Final

from salmon.calls import Calls, Peer, Silence
from salmon.harmless import harmless_error
from salmon.plugin.contract import WaitingObject

TURN_MAX_S: Final = 60.0  # a loop without a turn for this long hangs: no step of it may take half as long
FAILING_MAX_S: Final = 30.0  # what fails for longer does not end by itself: a person should look
PARTITIONS_MAX_S: Final = 30.0  # a rebalance takes much less

# Peer -> its name, and what to check if it does not answer.
_PEERS: Final[Mapping[Peer, tuple[str, str]]] = {
    Peer.SALESFORCE: (
        "Salesforce",
        "Check that the org is up (status.salesforce.com) and that the network and proxies let us reach it.",
    ),
    Peer.PUBSUB: (
        "Salesforce's Pub/Sub API",
        "Check that the org is up (status.salesforce.com) and that the network lets us reach salesforce.pubsub.endpoint.",
    ),
    Peer.MONGODB: ("MongoDB", "Check that its primary runs and is not overloaded, and the network to it."),
    Peer.KAFKA: ("Kafka", "Check that the brokers run, and the network to them."),
    Peer.REGISTRY: ("The schema registry", "Check that it runs, and the network to it."),
}
_GOES_ON: Final = "The process continues by itself as soon as it answers."


class Status(StrEnum):
    """KIP-1017's words, and the HTTP status for each."""

    HEALTHY = "healthy"
    STARTING = "starting"
    UNHEALTHY = "unhealthy"

    @property
    def http_status(self) -> int:
        return {Status.HEALTHY: 200, Status.STARTING: 503, Status.UNHEALTHY: 500}[self]


class State(StrEnum):
    """Those of Kafka Connect's states of connectors and tasks that occur here."""

    UNASSIGNED = "UNASSIGNED"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    RESTARTING = "RESTARTING"
    FAILED = "FAILED"
    STOPPED = "STOPPED"


@dataclass(frozen=True, slots=True)
class WaitingFor:
    """What the process waits for. *since*: in seconds since 1970. *sentence*: what it is, and what to do."""

    what: str
    since_s: float
    since: float
    sentence: str


@dataclass(frozen=True, slots=True)
class HealthReport:
    """What /health reports. *live*: the process need not be killed. *degraded*: something has been missing for too long."""

    status: Status
    message: str
    live: bool
    state: State
    trace: str | None = None  # why it FAILED
    degraded: bool = False
    waiting_for: tuple[WaitingFor, ...] = ()
    has_run: bool = False  # once at least, since the process began
    shares: Mapping[State, float] = field(default_factory=dict)  # of the time since it began, by state
    notes: tuple[str, ...] = ()  # sentences: what a person should do, although the process works

    @property
    def ready(self) -> bool:
        return self.status is Status.HEALTHY


class Health:
    """The health of one process. Its loop reports it, and its REST server reads it. Thread-safe."""

    def __init__(
        self,
        *,
        turn_max_s: float = TURN_MAX_S,
        failing_max_s: float = FAILING_MAX_S,
        partitions_max_s: float = PARTITIONS_MAX_S,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        calls: Calls | None = None,
    ) -> None:
        self._turn_max_s = turn_max_s
        self._failing_max_s = failing_max_s
        self._partitions_max_s = partitions_max_s
        self._clock, self._wall_clock = clock, wall_clock
        self.calls = calls or Calls(clock=clock)
        self._lock = Lock()
        self._now, self._now_since, self._past_s = State.UNASSIGNED, clock(), dict[State, float]()
        self._phase, self._phase_since, self._phase_mend = "starting", clock(), ""
        self._standby = False
        self._turned_at: float | None = None  # None until the loop has begun
        self._thread = 0  # the loop's
        self._failing_since: float | None = None
        self._failure = ""
        self._notes: dict[str, str] = {}  # by who reports it
        # What waits, by who reports it: name, since when by the clock, sentence.
        self._objects: dict[str, list[tuple[str, float, str]]] = {}
        self._partitions: int | None = None  # None: not of a kind that needs any
        self._without_since: float | None = None
        self._had_partitions = False
        self._spare = False
        self._put_down: tuple[float, str] | None = (
            None  # since when a person has paused or stopped it, and the sentence
        )
        self.has_run = False  # start-up was done once: what it needs was reached

    @property
    def wheel(self) -> float | None:
        """Return a value that changes with each turn of the loop or call to a server; None if no loop has to turn."""
        if self._turned_at is None:
            return None
        return max(self._turned_at, self.calls.attended(self._thread))

    def starting(self, doing: str, mend: str = "") -> None:
        """
        Report what is being done before the loop begins, e.g. "waiting for the schema of Account".

        Args:
            mend: What a person should do if it takes long, as a sentence.
        """
        with self._lock:
            self._standby, self._turned_at = False, None
            if doing != self._phase:
                self._phase_since = self._clock()
            self._phase, self._phase_mend = doing, mend

    def standing_by(self) -> None:
        """
        Another member of the group has the lead. This one takes over when that one ends; spare() says whether it is one
        of ours.
        """
        with self._lock:
            self._standby = True
            self._partitions, self._without_since, self._spare = 0, self._clock(), True
        self.turned()

    def running(self) -> None:
        """Start-up is done. From now on the loop must turn."""
        with self._lock:
            self._state, self._standby, self.has_run = State.RUNNING, False, True
        self.turned()

    def turned(self) -> None:
        """The loop (also that of a standby) has made one more turn."""
        self._thread = threading.get_ident()
        self._turned_at = self._clock()

    def failing(self, doing: str, error: Exception) -> None:
        """Something failed and is tried again."""
        with self._lock:
            if self._failing_since is None:
                self._failing_since = self._clock()
            self._failure = f"{doing}: {error}"
            if self._turned_at is not None:
                self._turned_at = self._clock()  # A loop that waits for its next try is not hung.

    def note(self, sentence: str, *, of: str = "") -> None:
        """Something waits for a person, although the process works. An empty sentence removes the note. *of*: who reports it."""
        with self._lock:
            self._notes[of] = sentence

    def objects_wait(self, objects: Iterable[WaitingObject], *, of: str = "") -> None:
        """These objects wait for a person, while the process does its work for all others. *of*: the part that reports it."""
        now = self._clock()
        waiting = [(each.object, now - each.since_s, each.sentence) for each in objects]
        with self._lock:
            self._objects[of] = waiting

    def holds(self, partitions: int) -> None:
        """Report how many partitions this instance has. Without any, it does nothing."""
        with self._lock:
            if partitions == 0 and self._partitions != 0:
                self._without_since = self._clock()
            self._partitions = partitions
            if partitions:
                self._without_since, self._had_partitions, self._spare = None, True, False

    @property
    def without_partitions(self) -> bool:
        """Whether it needs partitions and has none."""
        return self._partitions == 0

    def spare(self, is_spare: bool) -> None:
        """Report whether other instances have all partitions, so that it is normal for this one to have none."""
        with self._lock:
            if self._spare and not is_spare:
                self._without_since = self._clock()  # up to now, others had them
            self._spare = is_spare

    def put_down(self, state: State, since_s: float, sentence: str) -> None:
        """A person has paused or stopped the connector: no loop turns, and nothing is missing. *since_s*: seconds ago."""
        with self._lock:
            self._state, self._standby, self._turned_at = state, False, None
            self._put_down = (self._clock() - since_s, sentence)
            self._failing_since, self._failure, self._without_since = None, "", None

    def recovered(self) -> None:
        with self._lock:
            self._failing_since, self._failure = None, ""

    def restarting(self, reason: str) -> None:
        """The process restarts itself."""
        with self._lock:
            self._state, self._standby, self._turned_at = State.RESTARTING, False, None
            self._put_down = None
            self._phase = f"restarting, because {reason}"

    def ended(self, error: BaseException | None = None) -> None:
        """The loop has ended: normally, or because of *error*."""
        with self._lock:
            self._state, self._turned_at = State.STOPPED if error is None else State.FAILED, None
            self._failure = "" if error is None else harmless_error(error)
            self._put_down = None

    def report(self) -> HealthReport:
        """Return the health now."""
        silences = self.calls.silences()
        with self._lock:
            notes = tuple(filter(None, self._notes.values()))
            return replace(self._report(silences), has_run=self.has_run, shares=self._shares(), notes=notes)

    @property
    def _state(self) -> State:
        return self._now

    @_state.setter
    def _state(self, state: State) -> None:
        at = self._clock()
        self._past_s[self._now] = self._past_s.get(self._now, 0.0) + at - self._now_since
        self._now, self._now_since = state, at

    def _shares(self) -> Mapping[State, float]:
        lasted_s = {
            **self._past_s,
            self._now: self._past_s.get(self._now, 0.0) + self._clock() - self._now_since,
        }
        whole_s = sum(lasted_s.values())
        return {state: each / whole_s if whole_s else 0.0 for state, each in lasted_s.items()}

    def _report(self, silences: list[Silence]) -> HealthReport:
        now = self._clock()
        if (rest := self._report_at_rest(now)) is not None:
            return rest
        waits = [self._silence(each) for each in silences]
        failing_s = None if self._failing_since is None else now - self._failing_since
        if failing_s is not None:
            waits.append(
                self._waiting(
                    self._failure.partition(":")[0],
                    failing_s,
                    f"Something failed and is tried again: {self._failure}",
                )
            )
        away = any(each.peer is Peer.KAFKA for each in silences)
        lacking_s = None if away else self._lacking_partitions_s(now)  # Kafka itself is what is missing
        if lacking_s is not None:
            waits.append(self._waiting("partitions", lacking_s, self._without_partitions(lacking_s)))
        all_objects = [each for reported in self._objects.values() for each in reported]
        objects = all_objects if self._state is State.RUNNING else []
        waits += [self._waiting(name, now - since, sentence) for name, since, sentence in objects]
        if self._is_starting and not self._standby:
            began_s = now - self._phase_since
            waits.append(self._waiting(self._phase, began_s, self._phase_sentence(began_s)))

        def report(
            status: Status, message: str, *, live: bool = True, degraded: bool = bool(objects)
        ) -> HealthReport:
            return HealthReport(
                status, message, live, self._state, degraded=degraded, waiting_for=tuple(waits)
            )

        if (still_s := self._still_s(now)) > self._turn_max_s:
            message = f"The main loop has not moved for {still_s:.0f} s: the process hangs. Restart it."
            return report(Status.UNHEALTHY, message, live=False, degraded=True)
        missing = [self._silence(each).sentence for each in silences]
        if failing_s is not None and failing_s > self._failing_max_s:
            missing.append(f"Failing for {failing_s:.0f} s: {self._failure}")
        if lacking_s is not None and lacking_s > self._partitions_max_s:
            missing.append(self._without_partitions(lacking_s))
        if missing:
            return report(Status.UNHEALTHY, " ".join(missing), degraded=True)
        if self._standby:
            return report(
                Status.HEALTHY,
                "On standby: another instance is the leader; this one takes over when that one ends.",
            )
        if self._is_starting:
            return report(Status.STARTING, f"Worker is still starting up: {self._phase}.")
        if lacking_s is not None and not self._had_partitions:
            return report(Status.STARTING, "Worker is still starting up: waiting for its partitions.")
        suffix = f" Trying again: {self._failure}" if failing_s is not None else ""
        suffix += "".join(f" {note}" for note in self._notes.values() if note)
        suffix += "".join(f" {sentence}" for _, _, sentence in objects)
        if self._spare:
            message = (
                "On standby: other instances have all partitions; this one takes over when one of them ends."
            )
            return report(Status.HEALTHY, f"{message}{suffix}")
        return report(Status.HEALTHY, f"Worker has completed startup and runs.{suffix}")

    def _report_at_rest(self, now: float) -> HealthReport | None:
        """The report of a process whose work has failed, or was paused or stopped."""
        if self._state is State.FAILED:
            return HealthReport(Status.UNHEALTHY, self._failure, False, self._state, trace=self._failure)
        if self._put_down is not None and self._state in {State.PAUSED, State.STOPPED}:
            since, sentence = self._put_down
            waiting = self._waiting(self._state.lower(), now - since, sentence)
            return HealthReport(
                Status.HEALTHY, sentence, True, self._state, degraded=True, waiting_for=(waiting,)
            )
        if self._state is State.STOPPED:
            return HealthReport(Status.UNHEALTHY, "Stopped.", True, self._state)
        return None

    @property
    def _is_starting(self) -> bool:
        return self._state in {State.UNASSIGNED, State.RESTARTING}

    def _still_s(self, now: float) -> float:
        """Return for how long the loop has neither turned nor waited for a server."""
        wheel = self.wheel
        return 0.0 if wheel is None else now - wheel

    def _lacking_partitions_s(self, now: float) -> float | None:
        works = self._standby or self._state is State.RUNNING
        if self._without_since is None or self._spare or not works:
            return None
        return now - self._without_since

    def _without_partitions(self, since_s: float) -> str:
        what, them = ("the lead", "it") if self._standby else ("a partition", "them")
        return (
            f"Kafka has not given this instance {what} for {since_s:.0f} s, so it has nothing to do. Another member of its "
            f"consumer group may have {them}, or may have ended without leaving the group; Kafka then waits for "
            f"kafka.session.timeout.ms. If nobody of this sync has {them}, this instance joins the group again by itself. Look at the "
            f"group's members, and stop any that should not run."
        )

    def _phase_sentence(self, began_s: float) -> str:
        return f"{self._phase[:1].upper()}{self._phase[1:]}, for {began_s:.0f} s now.{f' {self._phase_mend}' if self._phase_mend else ''}"

    def _silence(self, silence: Silence) -> WaitingFor:
        name, mend = _PEERS[silence.peer]
        sentence = f"{name} has not answered for {silence.since_s:.0f} s ({silence.doing}). {mend} {_GOES_ON}"
        return self._waiting(silence.peer, silence.since_s, sentence)

    def _waiting(self, what: str, since_s: float, sentence: str) -> WaitingFor:
        return WaitingFor(what, since_s, self._wall_clock() - since_s, sentence)
