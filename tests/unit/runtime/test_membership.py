"""Spares: an instance without partitions that stands by, and one that should have some."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from salmon.errors import Unavailable
from salmon.ops.health import Health
from salmon.runtime.membership import SpareWatch, is_spare
from support.waiting import until


@pytest.mark.parametrize(
    ("held", "spare"),
    [((1, 1, 0), True), ((2, 1, 0), False), ((6, 0), False), ((0,), False), ((), False)],
)
def test_a_spare_is_told_from_one_whose_share_another_member_has(held: Sequence[int], spare: bool) -> None:
    """Kafka shares evenly: who has two would give one away, were it alive (case S11)."""
    assert is_spare(held) is spare


def test_the_group_is_looked_at_while_there_are_no_partitions() -> None:
    """A broker that does not answer is asked again."""
    health = Health()
    health.running()
    health.holds(0)
    answers: list[Sequence[int]] = [(1, 1, 0)]

    def held() -> Sequence[int]:
        if len(answers) == 1:
            answers.append(())
            raise Unavailable("no broker answers")
        return answers[0]

    watch = SpareWatch(health, held, every_s=0.01)
    until(lambda: health.report().ready, "it stands by")
    watch.close()
