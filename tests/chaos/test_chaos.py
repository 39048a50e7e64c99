"""`make chaos` as a tool: bad input gets one clear sentence, and a minute of it finds nothing wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from salmon.kafka.topics import CONNECTORS
from support.chaos import options, results
from support.chaos.options import BadInput
from support.chaos.plan import HOLES, RUN_ALL, SUPERVISOR
from support.proof.evidence import ROOT
from support.stacks import seconds

SECONDS = 60
# First of all an event is lost and told of (gap), while all is well: a slow machine may reach little more within the minute. Then
# Kafka's coordinators are away, everything is killed, `run all` too, the registry, and a sink is suspended. Each of these heals,
# and without --hasty no application touches what Salesforce is about to fill in, where it is open whose edit stands: so every
# difference would be a fault of ours.
SEED = 227722
_RUN_MAX_S = 400
SLOWER = max(
    1.0, seconds("SALMON_TEST_RECOVERY_S", 45) / 15
)  # `make test` shares the machine with other tests


def chaos(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "tests/chaos/chaos.py", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": "tests"},
        capture_output=True,
        text=True,
        timeout=_RUN_MAX_S,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--seconds=abc",), "SECONDS must be a number from 10 to 86400, not 'abc'."),
        (("--seconds=nan",), "SECONDS must be a number from 10 to 86400, not 'nan'."),
        (("--seconds=1",), "SECONDS must be a number from 10 to 86400, not '1'."),
        (("--seed=-1x",), "SEED must be a whole number from 0 to 9223372036854775807, not '-1x'."),
        (("--seed=",), "SEED must be a whole number from 0 to 9223372036854775807, not ''."),
        (("--stack=foo",), "STACK must be embedded or jvm, not 'foo'."),
        (("--faults=kill,earthquake",), "--faults names 'earthquake', which is unknown; there are kill,"),
        (("--faults=",), "--faults names nothing;"),
        (("--only=moon",), "--only names 'moon', which is unknown; there are "),
        (("--supervisor=nobody",), "--supervisor must be own or run-all, not 'nobody'."),
        (("--faults=server-kill", "--only=org"), "--faults and --only leave no fault"),
        (("--dir=tests",), "is not an empty folder; name another one."),
        (("--stop-max=4",), "--stop-max must be a number from 5.0 to 600, not '4'."),
        (
            ("--seconds=600", "--stop-max=400"),
            "--stop-max 400 is more than half of SECONDS, so that one suspension could fill the run; set SECONDS to 800 or more.",
        ),
        (("--slower=0.5",), "--slower must be a number from 1 to 10, not '0.5'."),
        (("--quickly",), "Unrecognized arguments: --quickly; see --help."),
    ],
)
def test_bad_input_gets_one_sentence(arguments: tuple[str, ...], says: str) -> None:
    """It names what is wrong, and what would be right."""
    with pytest.raises(BadInput) as refused:
        options.parsed(arguments)
    assert says in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_bad_input_ends_the_command_with_exit_code_2() -> None:
    """Nothing is started, nothing is left behind, and nothing is printed where a script reads."""
    ended = chaos("--seconds=abc")
    assert ended.returncode == 2
    assert ended.stderr == "SECONDS must be a number from 10 to 86400, not 'abc'.\n"
    assert ended.stdout == ""


def test_a_plan_can_be_looked_at_without_playing_it() -> None:
    """The same seed, the same lines."""
    first, second = chaos("--plan", "--seed=5"), chaos("--plan", "--seed=5")
    assert first.returncode == 0
    assert first.stdout == second.stdout
    assert len(first.stdout.splitlines()) == 50


@pytest.mark.processes
def test_a_minute_of_chaos_loses_nothing(tmp_path: Path) -> None:
    """Whatever is killed, suspended, cut or refused: nothing lost, divergent, invented or set aside, no false conflict."""
    ended = chaos(f"--seconds={SECONDS}", f"--seed={SEED}", f"--slower={SLOWER}", f"--dir={tmp_path / 'run'}")
    assert ended.stdout, ended.stderr
    outcome: dict[str, Any] = json.loads(ended.stdout)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    assert results.is_good(outcome)
    assert outcome["supervisor"] == RUN_ALL
    assert len(outcome["faults"]) >= 3, "several kinds"
    assert HOLES & outcome["faults"].keys(), "the org was read again"
    assert outcome["kills"][SUPERVISOR] >= 1
    assert sum(outcome["kills"].values()) >= 3
    assert outcome["edits"]["acknowledged"] > 200
    assert all(outcome["edits"][kind] for kind in ("create", "update", "delete"))
    assert outcome["stopped_with"] in ({"supervisor": 0}, dict.fromkeys(CONNECTORS, 0))


# What is gathered.


def outcome(**differs: Any) -> dict[str, Any]:
    good = {
        "seed": 1,
        "stack": "embedded",
        "seconds": 60.0,
        "kills": {"merge": 2},
        "faults": {"kill": 2, "cut": 1},
        "missed": {"kill": 3},
        "edits": {"acknowledged": 10, "refused": 0, "unknown": 0},
        **dict.fromkeys(
            ("lost", "divergent", "invented", "false_conflicts", "dead_letters", "restarted_by_hand"), 0
        ),
        "verdicts_equal": True,
        "quiet": True,
        "not_recovered": [],
        "editors_failed": [],
        "interrupted": False,
    }
    return good | differs


def test_runs_are_gathered_and_summed_up_by_stack(tmp_path: Path) -> None:
    """A second run adds to the first."""
    file = tmp_path / "chaos.json"
    results.record(outcome(), file)
    results.record(outcome(stack="jvm", lost=1), file)
    gathered = json.loads(file.read_text())
    assert [run["stack"] for run in gathered["runs"]] == ["embedded", "jvm"]
    totals = gathered["totals"]
    assert (totals["runs"], totals["good"], totals["kills"], totals["faults"], totals["lost"]) == (
        2,
        1,
        4,
        6,
        1,
    )
    assert totals["faults_by_kind"] == {"cut": 2, "kill": 4}
    assert totals["missed"] == 6
    assert totals["by_stack"]["embedded"]["lost"] == 0
    assert totals["by_stack"]["jvm"]["lost"] == 1


def test_strikes_of_old_runs_count_only_as_far_as_somebody_was_killed() -> None:
    """They had one number for strikes and hits, and kills of servers stand beside those of processes."""
    old = outcome(kills={"merge": 2, "mongodb": 9}, faults={"kill": 7, "server-kill": 9, "stop": 1})
    del old["missed"]
    totals = results.totals([old, outcome()])
    assert totals["faults_by_kind"] == {"cut": 1, "kill": 2 + 2, "server-kill": 9, "stop": 1}
    assert totals["missed"] == 5 + 3


@pytest.mark.parametrize(
    ("differs", "says"),
    [
        ({"lost": 1}, "edits lost: 1."),
        ({"divergent": 2}, "values that differ between the sides: 2."),
        ({"invented": 1}, "values that nobody entered: 1."),
        ({"false_conflicts": 1}, "no edit was lost, but conflicts reported without a cause: 1."),
        ({"dead_letters": 1}, "no edit was lost, but dead letters: 1."),
        (
            {"restarted_by_hand": 1},
            "no edit was lost, but processes that did not come back by themselves: 1.",
        ),
        (
            {"verdicts_equal": False},
            "no edit was lost, but `salmon verify` found other differences than the judge.",
        ),
        ({"quiet": False}, "no edit was lost, but the sync did not come to rest; a slow machine?"),
        (
            {"not_recovered": ["kill merge (number 7), within 15 s"]},
            "no edit was lost, but it was not well again in time (kill merge (number 7), within 15 s); a slow machine?",
        ),
        (
            {"quiet": False, "not_recovered": ["at the end, within 180 s: not ready: merge"]},
            "no edit was lost, but the sync did not come to rest, and it was not well again in time (at the end, within "
            "180 s: not ready: merge); a slow machine?",
        ),
        (
            {"editors_failed": ["turns: KeyError"]},
            "no edit was lost, but an editor failed (turns: KeyError).",
        ),
        ({"interrupted": True}, "no edit was lost, but the run was interrupted."),
        (
            {"lost": 1, "quiet": False},
            "edits lost: 1, and the sync did not come to rest.",
        ),
    ],
)
def test_a_run_is_good_only_if_everything_is(differs: dict[str, Any], says: str) -> None:
    """Each of these alone makes the exit code 1, and one sentence names it."""
    assert results.is_good(outcome())
    assert not results.is_good(outcome(**differs))
    assert results.why_not_good(outcome(**differs)) == says
