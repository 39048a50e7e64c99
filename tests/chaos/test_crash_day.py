"""
A rolling upgrade and a day of crashes, rehearsed: the connectors run as the pods of deploy/kubernetes, people and applications
edit all the time, and the chaos oracle judges what came of it.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from salmon.app.ending import EXIT_FATAL, EXIT_FENCED, EXIT_OK
from salmon.kafka.topics import CONNECTORS
from support.chaos import playing, reading
from support.chaos.editors import Editors
from support.chaos.hands import World
from support.chaos.judge import Verdict
from support.chaos.plan import EMBEDDED
from support.chaos.stage import Stage, running_stage
from support.chaos.verifying import salmon_verify
from support.chaos.watching import Canary
from support.kubelet import cluster
from support.kubelet.cluster import Sets
from support.kubelet.manifests import config_map, pod_spec
from support.kubelet.pods import Surroundings
from support.stacks import seconds

# It takes less than two minutes on a quiet machine, and several on a busy one.
pytestmark = [pytest.mark.processes, pytest.mark.timeout(900)]

SEED: Final = 18
# The manifests' periods are for a cluster; a test has less time.
FACTOR: Final = 0.5
CONFIG_MAP: Final = "crm-salmon-config"
# On a busy machine a call to Kafka may hang, which ends its process after a minute (salmon.runtime.watchdog).
WELL_MAX_S: Final = seconds("SALMON_TEST_RECOVERY_S", 150)
LOST, LEFT = "node-a", "node-b"


@dataclass
class Day:
    """What happens on the day is said to these."""

    stage: Stage
    sets: Sets
    world: World
    begun_with: reading.Records
    canary: Canary

    def is_well(self, when: str) -> None:
        """Every pod that exists is ready, and an edit of each side reaches the other."""
        took = self.canary.recovered_s(within_s=WELL_MAX_S)
        missing = sorted(set(CONNECTORS) - set(self.sets.ready()))
        assert took is not None, f"{when}: not well within {WELL_MAX_S:.0f} s; not ready: {missing}"

    @contextmanager
    def edited(self) -> Iterator[None]:
        """People and applications edit until the block ends."""
        editors = Editors(self.world, SEED)
        editors.start()
        try:
            yield
        finally:
            editors.stop()
        assert editors.failures == []


def surroundings_of(stage: Stage) -> Surroundings:
    """
    The cluster's ConfigMap and Secrets: the manifest's sync.yaml, with the servers and the objects of the stage.

    What the manifest reads from the environment and from a Secret's file comes from there here, too.
    """
    of_stage = yaml.safe_load(stage.config.read_text(encoding="utf-8"))
    sync: dict[str, Any] = yaml.safe_load(config_map(CONFIG_MAP)["sync.yaml"])
    auth = {**of_stage["salesforce"]["auth"], **sync["salesforce"]["auth"]}
    auth["username"] = of_stage["salesforce"]["auth"]["username"]
    sync |= {name: of_stage[name] for name in ("name", "kafka", "schema_registry", "objects", "events")}
    sync["salesforce"] = {**of_stage["salesforce"], "auth": auth}
    sync["mongodb"]["database"] = of_stage["mongodb"]["database"]
    sync["topics"]["replication_factor"] = of_stage["topics"]["replication_factor"]
    key = Path(stage.org["private_key"]).read_text(encoding="ascii")
    return Surroundings(
        folder=stage.folder / "cluster",
        program=(sys.executable, "-m", "salmon"),
        config_maps={CONFIG_MAP: {"sync.yaml": yaml.safe_dump(sync)}},
        secrets={
            "salmon-env": {
                "MONGODB_URI": of_stage["mongodb"]["uri"],
                "SALESFORCE_CLIENT_ID": of_stage["salesforce"]["auth"]["client_id"],
            },
            "salmon-salesforce": {"private.key": key},
        },
        factor=FACTOR,
    )


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    """All five sets with their replicas on two nodes, and both sides equal for the first time."""
    specs = [pod_spec(name, factor=FACTOR) for name in CONNECTORS]
    # Of this test run alone, so that another one on the machine can have the same port.
    network = f"127.{os.getpid() // 250 % 250 + 1}.{os.getpid() % 250 + 1}"
    with (
        running_stage(EMBEDDED, tmp_path_factory.mktemp("crash-day"), SEED) as stage,
        cluster.running(surroundings_of(stage), specs, (LOST, LEFT), network) as sets,
    ):
        world, begun_with = playing.begin(stage)
        canary = Canary(world, sets, world.keys["Account"].pop(0))
        yield Day(stage, sets, world, begun_with, canary)
        canary.close()


def test_a_rolling_upgrade_and_a_crash_day_lose_nothing_and_need_no_hand(day: Day) -> None:
    """Pods are replaced one by one, joined by one more, killed, and lost with their node and volume: at the end both sides are equal."""
    sets = day.sets
    sets.wait_ready()
    first = dict(sets.pods)
    with day.edited():
        sets.roll()
        day.is_well("after a rolling upgrade")
        assert all(sets.pods[place] is not pod for place, pod in first.items()), "each was replaced"

        sets.surge(lambda: day.is_well("with one pod more"))
        day.is_well("after one pod more, and one less")

        sets.kill_each(on=LEFT)
        day.is_well("after a container of each was killed")
        assert all("signal SIGKILL" in pod.ended for pod in sets.pods.values() if pod.node == LEFT)

        lost = sets.lose_node(LOST)
        assert {pod.spec.component for pod in lost} == set(CONNECTORS)
        day.is_well("with one node left, where standbys have taken over")

        sets.apply()
        sets.wait_ready()
        day.is_well("with all pods again, merge's without its volume")
        assert {pod.node for pod in sets.pods.values()} == {LEFT}

    quiet, verdict, _ = playing.judged(day.world, day.begun_with)
    assert verdict == Verdict()
    assert quiet
    assert reading.dead_letters(day.stage) == []
    assert salmon_verify(day.stage).says == "equal"
    edits = Counter(edit.kind for edit in day.world.journal.edits())
    assert all(edits[kind] > 10 for kind in ("create", "update", "delete")), edits

    too_large = {pod.name: pod.peak_mib for pod in sets.pods.values() if pod.peak_mib > pod.spec.memory_mib}
    assert too_large == {}, "a small sync takes no more memory than its pods ask for"

    sets.stop()
    assert {pod.name: pod.exit_code for pod in sets.gone} == {pod.name: EXIT_OK for pod in sets.gone}
    by_themselves = Counter(how for pod in sets.everyone() for how in pod.ended)
    assert not by_themselves.keys() & {f"exit code {EXIT_FATAL}", f"exit code {EXIT_FENCED}"}, by_themselves
