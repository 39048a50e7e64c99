"""What the doctor makes of the answers of servers: rights of a MongoDB user, and clocks."""

from __future__ import annotations

from typing import Any

import pytest

from salmon.doctor.checks import Outcome
from salmon.doctor.salesforce import clock_line
from salmon.doctor.servers import actions_on


def privilege(*actions: str, **resource: Any) -> dict[str, Any]:
    return {"resource": resource, "actions": list(actions)}


@pytest.mark.parametrize(
    ("privileges", "expected"),
    [
        ([privilege("find", db="crm", collection="")], {"find"}),
        ([privilege("find", db="", collection="")], {"find"}),
        ([privilege("anyAction", anyResource=True)], {"anyAction"}),
        ([privilege("find", db="other", collection="")], set()),
        ([privilege("serverStatus", cluster=True)], set()),
        ([privilege("find", db="crm", collection="a")], set()),
        ([privilege("find", "insert", db="crm", collection="a"), privilege("find", db="crm", collection="b")], {"find"}),
        ([privilege("find", db="crm", collection=""), privilege("insert", db="crm", collection="a")], {"find"}),
    ],
)  # fmt: skip
def test_a_right_counts_that_all_synced_collections_have(
    privileges: list[dict[str, Any]], expected: set[str]
) -> None:
    """By the database, by all databases, or by each collection; what is given for others is none."""
    assert actions_on(privileges, "crm", ["a", "b"]) == expected


@pytest.mark.parametrize(
    ("ours_s", "outcome", "words"),
    [(1000.0, Outcome.OK, "agree"), (1004.9, Outcome.OK, "agree"), (1090.0, Outcome.WARN, "90 s ahead of"),
     (400.0, Outcome.WARN, "600 s behind")],
)  # fmt: skip
def test_a_clock_that_is_off_is_told_by_how_much_and_which_way(
    ours_s: float, outcome: Outcome, words: str
) -> None:
    """What a Date header cannot tell is forgiven."""
    line = clock_line("c", "clock", 1000.0, ours_s, "the org's")
    assert line.outcome is outcome
    assert words in line.says
    assert bool(line.mend) is (outcome is Outcome.WARN)
