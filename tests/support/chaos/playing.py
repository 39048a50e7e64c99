"""
One run from beginning to end: a stage, edits and faults, quiet, and the judge.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

from salmon.errors import SetupError
from salmon.kafka.topics import CONNECTORS
from support.chaos import outbox, plan, reading, results
from support.chaos.crew import Crew
from support.chaos.editors import Editors
from support.chaos.events import Publisher, verdict_on
from support.chaos.fields import defaults_of
from support.chaos.hands import World
from support.chaos.journal import Journal, Place, expected
from support.chaos.judge import Verdict, judge
from support.chaos.options import Options
from support.chaos.plan import Fault
from support.chaos.reading import Records
from support.chaos.results import Outcome
from support.chaos.stage import Stage, running_stage
from support.chaos.striking import Striker
from support.chaos.verifying import salmon_verify
from support.chaos.watching import Canary, Quiet
from support.proof.evidence import machine, versions

_FIRST_EQUAL_MAX_S: Final = 240.0
# After so long the next fault comes all the same: in a short run, after a quarter of it.
_RECOVERY_MAX_S: Final = 60.0
_RECOVERY_SHARE: Final = 0.25
_LAST_RECOVERY_MAX_S: Final = 180.0
# So soon after its cause has ended everything is well again: what is promised, on a machine that nobody else uses.
_PROMISED_S: Final = 15.0
# After several faults in a row a supervisor may also wait, by its own word, before it starts again what has ended: `run all`
# up to so long, ours up to 10 s.
_BACKOFF_MAX_S: Final = 30.0
_SEVERAL: Final = "several"  # in place of a kind, where one fault came on the heels of another
_HUSH_S: Final = 2.0  # an edit takes less to pass, where all is well
_QUIET_S: Final = 4.0
_QUIET_MAX_S: Final = 120.0
# What is not well after this time stays so: the sync's own waits, for a lock or a parent, are shorter.
_PATIENCE_S: Final = 60.0
_EVENTS_MAX_S: Final = 90.0  # a subscription that was refused is tried again after a minute

Say = Callable[[str], None]


@dataclass
class _Run:
    """
    What the parts of a run share, and what has happened so far.

    Args:
        took: Kind of fault, or "several" -> the seconds until everything was well again.
        well: Whether everything was well when last looked at, and nothing was broken since.
    """

    options: Options
    stage: Stage
    crew: Crew
    world: World
    begun_with: Records
    say: Say
    took: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    not_recovered: list[str] = field(default_factory=list)
    history: list[str] = field(default_factory=list)
    well: bool = True

    @property
    def bound_s(self) -> float:
        """How long a recovery may take that begins now."""
        return bounds_s(self.options.slower)["one_fault" if self.well else _SEVERAL]


def bounds_s(slower: float) -> dict[str, float]:
    """How long a recovery may take, after one fault and after several, where the machine is so many times slower."""
    return {"one_fault": _PROMISED_S * slower, _SEVERAL: (_PROMISED_S + _BACKOFF_MAX_S) * slower}


def play(options: Options, folder: Path, say: Say, enough: threading.Event) -> Outcome:
    """
    Play a run and judge it.

    Args:
        folder: For data and logs.
        say: What happens, one line each, for whoever watches.
        enough: Set it, and faults and edits end early.

    Raises:
        SetupError: a server could not be started, or the sync never became equal in the first place.
    """
    began = time.monotonic()
    wanted = options.wanted
    say(f"Starting the {wanted.stack} stack in {folder}; the supervisor is {options.supervisor}.")
    with running_stage(wanted.stack, folder, wanted.seed) as stage:
        crew = Crew(stage.config, folder, options.supervisor)
        crew.start()
        try:
            world, begun_with = begin(stage, hasty=options.hasty)
            say(
                f"Both sides are equal: {len(begun_with)} records. Faults and edits begin, for {options.wanted.seconds:.0f} s."
            )
            run = _Run(options, stage, crew, world, begun_with, say)
            outcome = _play(run, enough)
        finally:
            codes = crew.stop()
    return outcome | {"stopped_with": codes, "wall_s": round(time.monotonic() - began, 1)}


def begin(stage: Stage, *, hasty: bool = False) -> tuple[World, Records]:
    """
    Wait until both sides are equal for the first time; return what editors share, and the records that both sides have.

    Raises:
        SetupError: they never became equal.
    """
    org = reading.person(stage.org)
    types = reading.types_in(org)
    records = reading.salesforce_records(org, types)
    keys: dict[str, list[str]] = defaultdict(list)
    for object_name, key in sorted(records):
        keys[object_name].append(key)
    numbers = count(1)  # next() of it is safe in any thread
    world = World(stage, Journal(stage.folder / "journal.jsonl"), types, keys, lambda: next(numbers), hasty)
    deadline = time.monotonic() + _FIRST_EQUAL_MAX_S
    with reading.application(stage.mongodb_uri) as client:
        while reading.mongodb_records(reading.database(client), types) != records:
            if time.monotonic() > deadline:
                raise SetupError(
                    f"both sides were not equal within {_FIRST_EQUAL_MAX_S:.0f} s, before any fault. See {stage.folder}/logs."
                )
            time.sleep(0.5)
    return world, records


def _play(run: _Run, enough: threading.Event) -> Outcome:
    options, world, wanted = run.options, run.world, run.options.wanted
    # The canary's account is nobody else's.
    canary = Canary(world, run.crew, world.keys["Account"].pop(0))
    editors = Editors(world, wanted.seed)
    publisher = Publisher(world, wanted.seed)
    sender = outbox.Sender(world, wanted.seed)
    editors.everyone += [publisher, sender]
    striker = Striker(run.stage, run.crew, world.keys)
    began = time.monotonic()
    timer = threading.Timer(wanted.seconds, enough.set)
    timer.start()
    editors.start()
    try:
        _strike_all(run, striker, canary, enough)
    finally:
        timer.cancel()
        interrupted = time.monotonic() - began < wanted.seconds
        striker.calm()
        editors.stop()
    run.say("Edits and faults are over; waiting until everything is well and quiet.")
    recovered = _recovered_at_the_end(run, canary)
    canary.close()
    repaired = None
    if plan.UNTOLD & striker.struck.keys():
        # As an operator would: what no event tells of, only a comparison finds.
        run.say("Events were lost without a word: salmon verify --repair.")
        repaired = salmon_verify(run.stage, "--repair").says
    quiet, verdict, conflicts = judged(world, run.begun_with)
    events = verdict_on(run.stage, publisher, within_s=_EVENTS_MAX_S)
    sent = outbox.verdict_on(run.stage, sender, within_s=_EVENTS_MAX_S)
    letters = reading.dead_letters(run.stage)
    verified = salmon_verify(run.stage)
    edits = world.journal.edits()
    return {
        "seed": wanted.seed,
        "stack": wanted.stack,
        "commit": versions()["commit"],
        "supervisor": options.supervisor,
        "seconds": wanted.seconds,
        "kinds": sorted(wanted.kinds) if set(wanted.kinds) != set(plan.KINDS) else "all",
        "only": sorted(wanted.targets),
        "hasty": options.hasty,
        "relentless": wanted.relentless,
        "interrupted": interrupted,
        "kills": dict(sorted((+striker.kills).items())),
        "faults": dict(sorted(striker.struck.items())),
        "missed": dict(sorted(striker.missed.items())),
        "edits": results.of_edits(edits),
        "editors_restarted": editors.restarts,
        "editors_failed": editors.failures,
        **results.of_verdict(verdict),
        **events.as_outcome(),
        **sent.as_outcome(),
        "true_conflicts": conflicts - len(verdict.false_conflicts),
        "dead_letters": len(letters),
        "dead_letters_say": letters[:10],
        "ended_by_themselves": dict(sorted(run.crew.ended.items())),
        "restarted_by_hand": run.crew.restarted_by_hand,
        "recovery_s": results.of_recovery(run.took),
        "recovery_bound_s": bounds_s(options.slower),
        "slower": options.slower,
        "not_recovered": run.not_recovered,
        "quiet": quiet and recovered,
        "repaired_after_lost_events": repaired,
        "verify": verified.says,
        "verdicts_equal": verified.differs == verdict.divergent_records,
        "left_out": plan.left_out(wanted.stack),
        "history": run.history,
        "versions": versions(),
        "machine": machine(),
    }


def _strike_all(run: _Run, striker: Striker, canary: Canary, enough: threading.Event) -> None:
    began = time.monotonic()
    for fault in plan.faults(run.options.wanted, run.options.supervisor):
        if enough.wait(fault.pause_s):
            return
        at_s = time.monotonic() - began
        with _hole(run, fault, enough) if fault.makes_a_hole else nullcontext():
            came_of_it = _strike(run, striker, canary, fault, enough)
        line = f"{at_s:6.1f} s  {fault.number:3} {fault}{came_of_it}"
        run.history.append(line.strip())
        run.say(line)


def _strike(run: _Run, striker: Striker, canary: Canary, fault: Fault, enough: threading.Event) -> str:
    """
    One fault, and the recovery from it where the plan says so; what came of it in words.

    A hole begins only when all is well. If the source is behind, it would also lose events of long ago: an edit by turns
    whose event is still to come, and that a write of ours has gone over meanwhile, then leaves no trace (README, Known
    limits).
    """
    waited = ""
    if fault.makes_a_hole:
        took, came_of_it = _recovery(run, canary, f"before {fault} (number {fault.number})", enough)
        if took is None:
            return f"; left out: {came_of_it}"
        waited = f" {took:.1f} s later"
    if not striker.strike(fault, enough):
        return f"{waited}; met nobody"
    kind = fault.kind if run.well else _SEVERAL
    if not fault.waits or fault.kind in plan.RESTARTS_IN_TURN:
        run.well = False
    if not fault.waits:
        return waited
    took, came_of_it = _recovery(run, canary, f"{fault} (number {fault.number})", enough)
    if took is not None:
        run.took[kind].append(took)
    return f"{waited}; {came_of_it}"


@contextmanager
def _hole(run: _Run, fault: Fault, enough: threading.Event) -> Iterator[None]:
    """Nothing that goes by turns is under way when events get lost, nor until they are made up for."""
    run.world.hole.set()
    if fault.kind in plan.UNTOLD:
        run.world.untold.set()
    enough.wait(_HUSH_S)
    yield
    enough.wait(_HUSH_S)
    run.world.untold.clear()
    run.world.hole.clear()


def _recovery(run: _Run, canary: Canary, when: str, enough: threading.Event) -> tuple[float | None, str]:
    """How long it takes until everything is well; None if that is longer than the run waits. And the same in words."""
    within_s, bound_s = _within_s(run), run.bound_s
    took = canary.recovered_s(within_s=within_s, enough=enough.is_set)
    if took is None and enough.is_set():
        run.well = False
        return None, "the time is up"
    if (within_s if took is None else took) >= bound_s:
        run.not_recovered.append(f"{when}, within {bound_s:.0f} s")
    run.well = took is not None
    if took is None:
        return None, f"NOT well after {within_s:.0f} s: {_who_is_not_ready(run.crew)}"
    return took, f"well after {took:.1f} s" + (", which is late" if took >= bound_s else "")


def _recovered_at_the_end(run: _Run, canary: Canary) -> bool:
    """Whether everything becomes well at all; what is late is noted."""
    bound_s, last = run.bound_s, not run.well
    took = canary.recovered_s(within_s=_LAST_RECOVERY_MAX_S)
    if took is None:
        who = _who_is_not_ready(run.crew)
        run.not_recovered.append(f"at the end, within {_LAST_RECOVERY_MAX_S:.0f} s: {who}")
        return False
    if took >= bound_s:
        run.not_recovered.append(f"at the end, within {bound_s:.0f} s")
    if last:
        run.took[_SEVERAL].append(took)
    return True


def _within_s(run: _Run) -> float:
    return min(_RECOVERY_MAX_S, _RECOVERY_SHARE * run.options.wanted.seconds)


def _who_is_not_ready(crew: Crew) -> str:
    missing = sorted(set(CONNECTORS) - set(crew.ready()))
    if not missing:
        return "all are ready, but an edit has not passed"
    return "not ready: " + "; ".join(f"{name}: {crew.says(name)}" for name in missing)


def judged(world: World, begun_with: Records) -> tuple[bool, Verdict, int]:
    """
    Judge when it is quiet, and again for a while if something is wrong: what is late is not lost.

    Returns:
        Whether it became quiet, the verdict, and how many conflicts were reported.
    """
    watch = Quiet(world)
    deadline = time.monotonic() + _PATIENCE_S
    may_stand = expected(world.journal.edits(), begun_with=begun_with, filled_in=defaults_of(world.types))
    while True:
        quiet = watch.wait(for_s=_QUIET_S, within_s=_QUIET_MAX_S)
        salesforce, mongodb = watch.sides()
        conflicts = reading.conflicts(world.stage)
        verdict = judge(salesforce, mongodb, may_stand, conflicts)
        if verdict.clean or time.monotonic() > deadline:
            _write_down(world.stage.folder, verdict, salesforce, mongodb, may_stand.values)
            return quiet, verdict, len(set(conflicts))


def _write_down(
    folder: Path, verdict: Verdict, salesforce: Records, mongodb: Records, may_stand: Any
) -> None:
    """For whoever looks for the reason: each wrong place with what stands there, and what may."""
    lines = []
    for what in ("lost", "divergent", "false_conflicts"):
        for object_name, key, name in getattr(verdict, what):
            place: Place = (object_name, key)
            stands = f"salesforce {_shown(salesforce, place, name)}, mongodb {_shown(mongodb, place, name)}"
            lines.append(
                f"{what}: {object_name} {key} {name}: {stands}; may stand: {may_stand.get(place, {}).get(name)}"
            )
    lines += [f"invented: {' '.join(place)}" for place in verdict.invented]
    (folder / "verdict.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _shown(records: Records, place: Place, name: str) -> str:
    return repr(records[place].get(name)) if place in records else "has no such record"
