"""Kafka's coordinators alone are away for a while: groups and transactions are without one, and records pass (case S2)."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.chaos.crew import Crew
from support.chaos.plan import EMBEDDED, OWN_SUPERVISOR
from support.chaos.playing import begin
from support.chaos.stage import running_stage
from support.chaos.watching import Canary
from support.stacks import seconds

pytestmark = pytest.mark.processes

AWAY_S = 12.0  # longer than a session (6 s), and than a transaction (10 s), may last without a word
FIRST_MAX_S = 120.0
# The promise is 15 s on a machine of its own; `make test` shares it with other tests.
RECOVERY_MAX_S = seconds("SALMON_TEST_RECOVERY_S", 45)


def test_a_coordinator_that_is_away_for_twelve_seconds_ends_nobody_for_good(tmp_path: Path) -> None:
    """Nothing passes meanwhile; afterwards edits pass both ways in time, and no process has ended by itself."""
    with running_stage(EMBEDDED, tmp_path, seed=1) as stage:
        crew = Crew(stage.config, tmp_path, OWN_SUPERVISOR)
        crew.start()
        try:
            world, _ = begin(stage)
            canary = Canary(world, crew, world.keys["Account"][0])
            assert canary.recovered_s(within_s=FIRST_MAX_S) is not None
            stage.proxies.lose_coordinator("kafka")
            assert canary.recovered_s(within_s=AWAY_S) is None, "no transaction can be committed"
            stage.proxies.heal("kafka")
            assert canary.recovered_s(within_s=RECOVERY_MAX_S) is not None, crew.ready()
            canary.close()
            assert not crew.ended
        finally:
            crew.stop()
