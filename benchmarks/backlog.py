"""
Does a process need more memory when more waits for it?

Merge, and each sink, is started on a topic in which 20,000 or 200,000 records wait already, as after a day's outage, and works them off. Its largest
memory is looked at from outside. Every queue in it has a bound, so ten times as much waiting must not show.
"""

from __future__ import annotations

import argparse
from typing import Any

from benchmarks import measuring
from benchmarks.measuring import Sync
from benchmarks.scale_out import KINDS, bench, carried_out, replicas


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--waiting", type=int, nargs="+", default=[20_000, 200_000])
    options.add_argument("--only", choices=KINDS, nargs="+", default=["merge", "mongodb-sink"])
    options.add_argument("--stack", choices=["embedded", "jvm"], default="embedded")
    chosen = options.parse_args()
    found = {
        kind: {str(count): worked_off(kind, chosen.stack, count) for count in chosen.waiting}
        for kind in chosen.only
    }
    least, most = str(min(chosen.waiting)), str(max(chosen.waiting))
    measuring.save(
        "backlog",
        {
            "question": (__doc__ or "").strip().splitlines()[0],
            "machine": measuring.machine(),
            "versions": measuring.versions("confluent-kafka", "fastavro", "rocksdict", "pymongo"),
            "stack": chosen.stack,
            "waiting": found,
            "growth_mib": {
                kind: each[most]["rss_max_mib"] - each[least]["rss_max_mib"] for kind, each in found.items()
            },
        },
    )


def worked_off(kind: str, stack: str, count: int) -> dict[str, Any]:
    """One process, and *count* records that wait when it starts."""
    with bench(kind, stack, count) as (sync, pour):
        topic = pour()
        return by_one(sync, kind, topic)


def by_one(sync: Sync, kind: str, topic: str) -> dict[str, Any]:
    with replicas(sync, kind, 1) as processes:
        return carried_out(sync, processes, f"{sync.config.name}-{kind}", topic)


if __name__ == "__main__":
    main()
