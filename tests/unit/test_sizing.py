"""deploy/sizing.md says what its formulas say."""

from __future__ import annotations

from pathlib import Path

from benchmarks import sizing

DOC = Path(__file__).parents[2] / "deploy" / "sizing.md"


def printed(name: str) -> str:
    text = DOC.read_text(encoding="utf-8")
    return text.partition(f"<!-- {name}: printed by benchmarks.sizing -->\n")[2].partition(
        f"<!-- /{name} -->"
    )[0]


def test_the_tables_of_sizing_are_printed_from_its_formulas() -> None:
    """A new result of a benchmark, or a new topic, changes what a reader is told: `python -m benchmarks.sizing` prints it."""
    assert printed("costs") == sizing.costs_table()
    assert printed("cases") == sizing.table()


def test_what_an_org_needs_does_not_depend_on_how_many_others_there_are() -> None:
    """Syncs add up: twice the orgs are twice the topics, and each merge is as large as before."""
    costs = sizing.costs()
    one, two = (
        sizing.needs(sizing.Case("", orgs, objects=20, records=1_000_000, partitions=6), costs)
        for orgs in (1, 2)
    )
    for name in ("topics", "partitions", "kafka_gib", "load_cpu_h", "processes"):
        assert two[name] == 2 * one[name]
    for name in ("merge_mib", "merge_files", "restart_s", "calls_a_day_an_org", "events_a_day_an_org"):
        assert two[name] == one[name]
