"""
How much more do 2 and 4 replicas of merge and of each sink do than one?

The real processes (`salmon run ... --ordinal N`) share eight partitions. They are started first, and when each has its share, so many
records are poured in; from the first commit to the last. A second of CPU is one of all replicas together: on a machine with fewer cores than replicas only
that figure says whether they are in each other's way. What they write to is one mongod and one simulated org, which are not counted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final

from benchmarks import measuring
from benchmarks.measuring import MONGODB, OBJECT, SALESFORCE, Place, Sync, Watched
from benchmarks.simulator import org, signed_in

from salmon.devstack.mongod import EmbeddedMongod
from salmon.kafka import clients, cluster
from salmon.kafka.codecs.serdes import Changes, Writes
from salmon.kafka.extents import extents
from salmon.model.change import Write, WriteOp

PARTITIONS: Final = 8
KINDS: Final = ("merge", "mongodb-sink", "salesforce-sink")
A_TRANSACTION: Final = 5_000

Records = Iterable[tuple[str, bytes]]


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--records", type=int, default=40_000, help="for each number of replicas")
    options.add_argument("--replicas", type=int, nargs="+", default=[1, 2, 4])
    options.add_argument("--only", choices=KINDS, nargs="+", default=KINDS)
    options.add_argument("--stack", choices=["embedded", "jvm"], default="embedded")
    chosen = options.parse_args()
    found = {}
    for kind in chosen.only:
        with bench(kind, chosen.stack, chosen.records) as (sync, pour):
            found[kind] = {str(many): shared(sync, kind, many, pour) for many in chosen.replicas}
    fewest = str(min(chosen.replicas))
    for of_kind in found.values():
        for each in of_kind.values():
            each["a_cpu_second_to_fewest"] = round(each["a_cpu_second"] / of_kind[fewest]["a_cpu_second"], 2)
    measuring.save(
        "scale_out",
        {
            "question": " ".join((__doc__ or "").strip().splitlines()[0].split()),
            "machine": measuring.machine(),
            "versions": measuring.versions("confluent-kafka", "fastavro", "rocksdict", "pymongo"),
            "stack": chosen.stack,
            "records": chosen.records,
            "partitions": PARTITIONS,
            "replicas": found,
        },
    )


@contextmanager
def bench(kind: str, stack: str, count: int) -> Iterator[tuple[Sync, Callable[[], str]]]:
    """A sync for one kind of process, and what pours so many new records into its topic, whose name it returns."""
    with tempfile.TemporaryDirectory() as made, ExitStack() as servers:
        folder = Path(made)
        settings: dict[str, Any] = {}
        ids: Sequence[str] = ()
        if kind == "mongodb-sink":
            mongod = EmbeddedMongod(folder / "mongod", folder / "mongod.log")
            mongod.start()
            servers.callback(mongod.stop)
            settings["mongodb"] = {"uri": mongod.uri, "database": "bench"}
        if kind == "salesforce-sink":
            _, told = servers.enter_context(org(folder / "org", ["--records", f"{OBJECT}={count}"]))
            settings["salesforce"] = salesforce_of(told)
            ids = ids_of(told)
        sync = servers.enter_context(
            measuring.sync_on(stack, folder, fields=41, partitions=PARTITIONS, more=settings)
        )
        pours: dict[str, Callable[[int], tuple[str, Records]]] = {
            "merge": lambda runs: (sync.topics.changes(OBJECT), rows(sync, runs * count, count)),
            "mongodb-sink": lambda runs: (
                sync.topics.writes(MONGODB, OBJECT),
                creations(sync, runs * count, count),
            ),
            "salesforce-sink": lambda runs: (
                sync.topics.writes(SALESFORCE, OBJECT),
                updates(sync, ids, runs),
            ),
        }
        runs = 0

        def pour() -> str:
            nonlocal runs
            topic, records = pours[kind](runs)
            into(sync, topic, records)
            runs += 1
            return topic

        yield sync, pour


def salesforce_of(told: dict[str, Any]) -> dict[str, Any]:
    """How the configuration names the simulated org."""
    auth = {
        "flow": "client_credentials",
        "client_id": told["client_id"],
        "client_secret": told["client_secret"],
    }
    return {
        "login_url": told["login_url"],
        "auth": auth,
        "pubsub": {"endpoint": told["pubsub_endpoint"]},
        "ca_file": told["ca_file"],
        "api_budget": {"share": 1.0, "floor": 0},
    }


def ids_of(told: dict[str, Any]) -> Sequence[str]:
    """The Ids of the org's records."""
    http, _ = signed_in(told)
    url, found = f"/services/data/v64.0/query?q=SELECT+Id+FROM+{OBJECT}+ORDER+BY+Id", list[str]()
    while url:
        page = http.get(f"{told['instance_url']}{url}").json()
        found += [row["Id"] for row in page["records"]]
        url = page.get("nextRecordsUrl", "")
    return found


# What is poured.


def rows(sync: Sync, start: int, count: int) -> Records:
    """Rows of a first load."""
    codec = Changes(sync.schema, sync.registry, sync.topics.changes(OBJECT))
    for number in range(start, start + count):
        yield measuring.key_of(number), codec.encode(measuring.first_row(sync.schema, number))


def creations(sync: Sync, start: int, count: int) -> Records:
    """Writes that create documents."""
    codec = Writes(sync.schema, sync.registry, sync.topics.writes(MONGODB, OBJECT))
    for number in range(start, start + count):
        key = measuring.key_of(number)
        write = Write(number + 1, WriteOp.CREATE, native_id=key, fields=measuring.row_of(sync.schema, number))
        yield key, codec.encode(write)


def updates(sync: Sync, ids: Sequence[str], run: int) -> Records:
    """Writes that set one text of each record of the org."""
    codec = Writes(sync.schema, sync.registry, sync.topics.writes(SALESFORCE, OBJECT))
    for number, key in enumerate(ids):
        write = Write(
            run + 1, WriteOp.UPDATE, expected=run, native_id=key, fields={"Site": f"site {run} of {number}"}
        )
        yield key, codec.encode(write)


def into(sync: Sync, topic: str, records: Records) -> None:
    producer = sync.producer("bench-pouring")
    waiting = iter(records)
    while batch := list(islice(waiting, A_TRANSACTION)):
        with producer.transaction() as transaction:
            for key, value in batch:
                transaction.produce(topic, key, value)
    producer.close()


# What is measured.


def shared(sync: Sync, kind: str, many: int, pour: Callable[[], str]) -> dict[str, Any]:
    """What *many* replicas do a second, when each has its share."""
    with replicas(sync, kind, many) as processes:
        admin, group = clients.admin(sync.kafka), f"{sync.config.name}-{kind}"

        def balanced() -> bool:
            held = [each.partitions for each in cluster.members(admin, group)]
            return len(held) == many and sum(held) == PARTITIONS and max(held) - min(held) <= 1

        processes[0].until(balanced, within_s=300)
        topic = pour()
        return carried_out(sync, processes, group, topic)


def carried_out(sync: Sync, processes: Sequence[Watched], group: str, topic: str) -> dict[str, Any]:
    """From the first commit to the one that reaches the end of *topic*."""
    place = Place(sync, group, topic)
    numbers = range(PARTITIONS)
    ends = sum(each.end for each in extents(clients.admin(sync.kafka), topic, list(numbers)).values())
    before = place()
    processes[0].until(lambda: place() > before)
    first, began = place(), [each.usage() for each in processes]
    # Behind the last record of a partition is the mark of its transaction.
    processes[0].until(lambda: place() >= ends - len(numbers))
    ended = [each.usage() for each in processes]
    part = ends - first
    wall_s = ended[0].at_s - began[0].at_s
    cpu_s = sum(after.cpu_s - then.cpu_s for after, then in zip(ended, began, strict=True))
    if not part or not cpu_s:
        raise SystemExit(
            "The first commit carried nearly all records, so there is nothing to measure. Give more of them."
        )
    return {
        "per_s": round(part / wall_s),
        "a_cpu_second": round(part / cpu_s),
        "cores": round(cpu_s / wall_s, 2),
        "rss_max_mib": round(max(each.rss_max_mib for each in ended)),
        "measured": part,
    }


@contextmanager
def replicas(sync: Sync, kind: str, many: int) -> Iterator[Sequence[Watched]]:
    """So many instances of a connector, each with an ordinal of its own."""
    with ExitStack() as started:
        yield [
            started.enter_context(
                measuring.watched(
                    [
                        *(sys.executable, "-m", "salmon", "run", kind, "-c", str(sync.path)),
                        *("--port", "0", "--ordinal", str(number)),
                    ],
                    sync,
                )
            )
            for number in range(many)
        ]


if __name__ == "__main__":
    main()
