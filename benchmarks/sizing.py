"""
What a sync of some size needs: topics, partitions, memory, disk, CPU, calls, time to start again.

Nothing is measured here. Topics are counted by the product's own code, bytes by its own codecs, and what a step costs is read from the results of
the benchmarks beside it. So the numbers of deploy/sizing.md, which are printed from here, change when those do.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import measuring

from salmon.kafka.codecs.serdes import Changes
from salmon.kafka.topics import Topics, specs
from salmon.model.change import Change, Op

_DAY_S: Final = 24 * 3600
_GIB: Final = 1024**3
_KEPT_DAYS: Final = 7  # `changes`
# A table of Kafka is cleaned when half of it is old (min.cleanable.dirty.ratio).
_UNCLEANED: Final = 2.0
# Of merge's working copies, measured once: 24 of them with 50 rows each, opened and opened again in one process.
_COPY_MIB, _COPY_FILES, _COPY_CPU_MS = 0.28, 7, 7.3
# What comes of an edit: it and the answer of its write are changes, and each of the org's changes is a delivery: an edit there, or an answer of
# ours. tests/property/test_sizing.py counts them in the World.
CHANGES_AN_EDIT: Final = 2
WRITES_AN_EDIT: Final = 1
DELIVERIES_AN_EDIT: Final = 1
_CALLS_A_BULK_JOB, _ROWS_A_JOB, _ROWS_A_PAGE = 10, 250_000, 10_000  # salesforce/reading/whole/bulk_rule.py


@dataclass(frozen=True, slots=True)
class Case:
    """
    Some orgs, each with a sync of its own.

    Args:
        objects, records: Of one org.
        edited: Which part of the records is edited in a day, on one side or the other.
        peak: How many times the average the busiest hour has.
    """

    name: str
    orgs: int
    objects: int
    records: int
    partitions: int
    edited: float = 0.05
    peak: float = 5.0
    replication: int = 3
    merges: int = 2  # replicas


CASES: Final = (
    Case("10 orgs, 20 objects each", 10, 20, 10_000_000, 6),
    Case("10 orgs, 200 objects each", 10, 200, 10_000_000, 6),
    Case("10 orgs, 200 objects each, 2 partitions", 10, 200, 10_000_000, 2),
    Case("1 org with all of it", 1, 200, 100_000_000, 6, merges=6),
)


class _Ids:
    """A registry that gives every schema the same id: the bytes are as long as with a real one."""

    def register(self, subject: str, schema: Mapping[str, Any]) -> int:
        return 1

    def schema_by_id(self, schema_id: int) -> dict[str, Any]:
        raise KeyError(schema_id)

    def latest(self, subject: str) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Costs:
    """What the benchmarks say of one record or change of 41 fields, 31 of them set."""

    row_bytes: int
    state_bytes: int
    edit_bytes: int
    load_us: float
    created_us: float
    edit_us: float
    answer_us: float
    event_ms: float
    calls_a_1000: float
    rebuilt_a_s: float
    restart_s: float
    merge_mib: float
    rebuild_mib: float


def costs() -> Costs:
    """Read them."""
    state = _results("state")["keys"]["10000000"]
    merge, stream, writes = _results("merge")["stacks"]["jvm"], _results("stream"), _results("writes")
    return Costs(
        row_bytes=state["bytes_a_key"]["of_it_the_row"],
        state_bytes=state["bytes_a_key"]["avro"],
        edit_bytes=edit_bytes(),
        load_us=merge["first_load"]["cpu_us"],
        created_us=merge["answers_of_creations"]["cpu_us"],
        edit_us=state["edits"]["cpu_us"],
        answer_us=merge["answers_of_edits"]["cpu_us"],
        event_ms=stream["salmon_into_kafka"]["cpu_ms_an_event"],
        calls_a_1000=writes["salmon"]["calls_per_1000_records"],
        rebuilt_a_s=state["rebuild"]["keys_per_s"],
        restart_s=state["restart"]["s"],
        merge_mib=state["edits"]["rss_max_mib"],
        rebuild_mib=state["rebuild"]["rss_max_mib"],
    )


def edit_bytes() -> int:
    """An event of two edited texts, as it is in `changes`."""
    schema = measuring.object_of(41)
    names = [field.name for field in schema.fields if field.update][:2]
    change = Change(
        measuring.SALESFORCE,
        Op.UPDATE,
        committed_at=1_700_000_000_000,
        commit_time=1_700_000_000_000,
        order=bytes(16),
        native_id=measuring.key_of(1),
        changed=frozenset(names),
        fields=dict.fromkeys(names, "an edited text"),
        source={"correlation": "0f9d2c51-6f0e-4d3b-9a53-1c2d3e4f5a6b"},
    )
    return len(Changes(schema, _Ids(), "changes").encode(change)) + len(measuring.key_of(1))


def needs(case: Case, each: Costs) -> dict[str, float]:
    """What *case* needs: all orgs together where the name does not say otherwise."""
    wanted = specs(
        Topics("crm"),
        [f"Object{number}__c" for number in range(case.objects)],
        partitions=case.partitions,
        replication_factor=case.replication,
    )
    partitions = sum(topic.partitions for topic in wanted)
    held = case.objects * case.partitions / case.merges  # by one replica of merge
    edits = case.records * case.edited  # of one org, in a day
    peak_a_s = edits / _DAY_S * case.peak
    tables = case.records * (each.row_bytes + each.state_bytes) * _UNCLEANED
    changes = edits * CHANGES_AN_EDIT * each.edit_bytes * _KEPT_DAYS
    load_us = each.load_us + each.created_us
    edit_us = each.edit_us + each.answer_us
    return {
        "processes": case.orgs * (4 + case.merges),
        "topics": case.orgs * len(wanted),
        "partitions": case.orgs * partitions,
        "partition_replicas": case.orgs * partitions * case.replication,
        "kafka_gib": case.orgs * (tables + changes) * case.replication / _GIB,
        "copy_gib": case.orgs * case.records * each.state_bytes / _GIB,
        "merge_mib": each.merge_mib + held * _COPY_MIB,
        "merge_files": held * _COPY_FILES,
        "load_cpu_h": case.orgs * case.records * load_us / 1e6 / 3600,
        "load_h_an_org": case.records * load_us / 1e6 / case.merges / 3600,
        "load_calls_an_org": case.objects * _CALLS_A_BULK_JOB
        + case.records / _ROWS_A_JOB * _CALLS_A_BULK_JOB
        + case.records / _ROWS_A_PAGE,
        "edits_a_s_at_peak": peak_a_s * case.orgs,
        "merge_cores_at_peak": case.orgs * peak_a_s * edit_us / 1e6,
        "source_cores_at_peak": case.orgs * peak_a_s * each.event_ms / 1e3,
        "calls_a_day_an_org": edits
        / 2
        * WRITES_AN_EDIT
        * each.calls_a_1000
        / 1000,  # half are edits in MongoDB
        "events_a_day_an_org": edits * DELIVERIES_AN_EDIT,
        "restart_s": each.restart_s + held * _COPY_CPU_MS / 1e3,
        "rebuild_s": case.records / case.merges / each.rebuilt_a_s,
    }


_ROWS: Final[Sequence[tuple[str, str, str]]] = (
    ("processes", "Processes, without standbys", ",.0f"),
    ("topics", "Topics", ",.0f"),
    ("partitions", "Partitions", ",.0f"),
    ("partition_replicas", "... with their replicas in the brokers", ",.0f"),
    ("kafka_gib", "Disk of all brokers, uncompressed (GiB)", ",.0f"),
    ("copy_gib", "Disk for merge's working copies, at most (GiB)", ",.0f"),
    ("merge_mib", "Memory of one merge (MiB)", ",.0f"),
    ("merge_files", "Open files of one merge", ",.0f"),
    ("load_cpu_h", "First load: CPU hours of merge", ",.1f"),
    ("load_h_an_org", "First load of one org, if merge is the slowest (h)", ",.1f"),
    ("load_calls_an_org", "First load of one org: API calls", ",.0f"),
    ("edits_a_s_at_peak", "Edits a second in the busiest hour", ",.0f"),
    ("merge_cores_at_peak", "... cores of all merges", ",.2f"),
    ("source_cores_at_peak", "... cores of all salesforce-sources", ",.2f"),
    ("calls_a_day_an_org", "API calls a day and org, for writes", ",.0f"),
    ("events_a_day_an_org", "Event deliveries a day and org", ",.0f"),
    ("restart_s", "Merge restarts with its copies (s)", ",.0f"),
    ("rebuild_s", "Merge restarts without them (s)", ",.0f"),
)


def table(cases: Sequence[Case] = CASES) -> str:
    """As Markdown."""
    each = costs()
    found = [needs(case, each) for case in cases]
    lines = ["| |" + "".join(f" {case.name} |" for case in cases), "|---|" + "---:|" * len(cases)]
    lines += [
        f"| {words} |" + "".join(f" {format(of[name], form)} |" for of in found)
        for name, words, form in _ROWS
    ]
    return "\n".join(lines) + "\n"


def costs_table() -> str:
    """What one record or change costs, as Markdown."""
    each = costs()
    rows = (
        ("a record in `records`", f"{each.row_bytes} bytes", "state.json"),
        ("... its state, and what merge keeps of it on disk at most", f"{each.state_bytes} bytes", "state.json"),
        ("an edit in `changes`", f"{each.edit_bytes} bytes", "the codec"),
        ("first load: merge, a row and the answer of its creation", f"{each.load_us:.0f} + {each.created_us:.0f} us of CPU", "merge.json"),
        ("an edit: merge, the edit and the answer of its write", f"{each.edit_us:.0f} + {each.answer_us:.0f} us of CPU", "state.json, merge.json"),
        ("an event in salesforce-source", f"{each.event_ms * 1000:.0f} us of CPU", "stream.json"),
        ("1,000 writes to Salesforce", f"{each.calls_a_1000} API calls", "writes.json"),
        ("a partition that merge holds", f"{_COPY_MIB} MiB, {_COPY_FILES} open files, {_COPY_CPU_MS} ms of CPU to open", "measured once"),
        ("merge reads its state again", f"{each.rebuilt_a_s:,.0f} keys a second, {each.rebuild_mib:.0f} MiB at most", "state.json"),
    )  # fmt: skip
    lines = ["| What | Costs | From |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {what} | {cost} | {source} |" for what, cost, source in rows)]) + "\n"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--orgs", type=int, help="a case of your own")
    options.add_argument("--objects", type=int, default=20, help="of one org")
    options.add_argument("--records", type=int, default=1_000_000, help="of one org")
    options.add_argument("--partitions", type=int, default=6)
    options.add_argument("--merges", type=int, default=2, help="replicas of merge")
    options.add_argument(
        "--edited", type=float, default=0.05, help="part of the records that is edited in a day"
    )
    options.add_argument("--peak", type=float, default=5.0, help="the busiest hour, in averages")
    options.add_argument("--replication", type=int, default=3)
    chosen = vars(options.parse_args())
    if chosen["orgs"] is None:
        print(costs_table(), table(), sep="\n")
    else:
        print(table([Case("yours", **chosen)]))


def _results(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(measuring.RESULTS) / f"{name}.json").read_text())
    return found


if __name__ == "__main__":
    main()
