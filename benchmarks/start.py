"""
How long after its start does each process carry its first record, and how soon does a standby source take over?

On a stack that has been in sync before, all five processes are stopped, one record is edited on each side, and the process in question is started
last, so that something waits for it: from the start of the command to the first record that it has committed. Beside it what
`python -c pass` and `salmon --help` take, and the CPU of each. Kafka Connect's worker takes 13 s to its first record on a machine like this one.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

from benchmarks import measuring
from benchmarks.latency import COLLECTIONS, person
from benchmarks.measuring import Watched, until
from confluent_kafka import TopicPartition
from pymongo import MongoClient

from salmon.devstack.stack import DevOptions, DevStack
from salmon.kafka import clients
from salmon.kafka.topics import CONNECTORS, Topics, partition_counts

CONNECT_S: Final = 13.0
SOURCES: Final = ("mongodb-source", "salesforce-source")
RECORDS: Final = {"Account": 500, "Contact": 500, "Opportunity": 100}
# What each process commits first, as topics: kind, and the side for writes.
FIRST: Final[Mapping[str, Callable[[Topics], tuple[str, ...]]]] = {
    "salesforce-source": lambda names: (names.changes("Account"),),
    "mongodb-source": lambda names: (names.changes("Account"),),
    "merge": lambda names: (names.records("Account"),),
}


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--stack", choices=["embedded", "jvm"], default="embedded")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        dev = DevStack(folder, DevOptions(jvm=chosen.stack == "jvm", records=RECORDS))
        where = dev.up()
        try:
            found = {name: started(name, number, where, folder) for number, name in enumerate(CONNECTORS)}
            takeovers_s = {name: taken_over_s(name, where, folder) for name in SOURCES}
        finally:
            dev.down()
    measuring.save(
        "start",
        {
            "question": (__doc__ or "").strip().splitlines()[0],
            "machine": measuring.machine(),
            "versions": measuring.versions("confluent-kafka", "fastavro", "grpcio", "pymongo", "pydantic"),
            "stack": chosen.stack,
            "python": of_command([sys.executable, "-c", "pass"]),
            "help": of_command([sys.executable, "-m", "salmon", "--help"]),
            "to_the_first_record": found,
            "standby_takes_over_after_kill_s": takeovers_s,
            "kafka_connect_s": CONNECT_S,
        },
    )


def of_command(command: list[str]) -> dict[str, float]:
    """Wall and CPU time of a command that ends by itself."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"s": round(time.monotonic() - began, 2), "cpu_s": round(cpu_s, 2)}


def started(name: str, number: int, where: dict[str, Any], folder: Path) -> dict[str, float]:
    """Everything but *name* runs, an edit waits, and it is started."""
    others = [each for each in CONNECTORS if each != name]
    with running(CONNECTORS, where["config"], folder):
        in_sync(where)
    database: Any = MongoClient(where["mongodb"]["uri"])[where["mongodb"]["database"]]
    org, key = person(where["salesforce"]), database.accounts.find_one({}, {"_id": 1})["_id"]
    text = f"before {name} started {number}"
    if name in {"mongodb-source", "salesforce-sink"}:
        database.accounts.update_one({"_id": key}, {"$set": {"Site": text}})
    else:
        org.Account.update(key, {"Site": text})
    carried = first_record(name, text=text, key=key, where=where, database=database, org=org)
    with running(others, where["config"], folder):
        time.sleep(5)  # what waits gets as far as it can
        before = carried()
        began = time.monotonic()
        with running((name,), where["config"], folder) as processes:
            processes[name].until(lambda: carried() != before, within_s=120)
            return {
                "s": round(time.monotonic() - began, 2),
                "cpu_s": round(processes[name].usage().cpu_s, 2),
            }


def taken_over_s(name: str, where: dict[str, Any], folder: Path) -> float:
    """How long nothing is told after SIGKILL of a source's leader, while a standby waits and people edit."""
    database: Any = MongoClient(where["mongodb"]["uri"])[where["mongodb"]["database"]]
    org, key = person(where["salesforce"]), database.accounts.find_one({}, {"_id": 1})["_id"]
    edits = count()

    def edit() -> None:
        text = f"{name} {next(edits)}"
        if name == "mongodb-source":
            database.accounts.update_one({"_id": key}, {"$set": {"Site": text}})
        else:
            org.Account.update(key, {"Site": text})

    ends = first_record(name, text="", key=key, where=where, database=database, org=org)
    command = [sys.executable, "-m", "salmon", "run", name, "-c", where["config"], "--port", "0", "--ordinal"]
    leader = Watched([*command, "0"], folder / "leader.log")
    try:
        before = ends()
        edit()
        leader.until(lambda: ends() != before, within_s=120)
        with measuring.watched_in([*command, "1"], folder / "standby.log") as standby:
            standby.until(lambda: "standing_by" in (folder / "standby.log").read_text(), within_s=120)
            leader.stop(kill=True)
            killed_at, before = time.monotonic(), ends()
            edit()
            standby.until(lambda: ends() != before, within_s=120)
            return round(time.monotonic() - killed_at, 2)
    finally:
        leader.stop(kill=True)


def first_record(
    name: str, *, text: str, key: str, where: dict[str, Any], database: Any, org: Any
) -> Callable[[], object]:
    """What changes when the process has carried its first record."""
    if name == "mongodb-sink":
        return lambda: database.accounts.find_one({"_id": key}, {"Site": 1}).get("Site") == text
    if name == "salesforce-sink":
        return lambda: org.Account.get(key)["Site"] == text
    kafka, topics = (
        {"bootstrap.servers": where["kafka"]["bootstrap_servers"]},
        FIRST[name](Topics(DevOptions().name)),
    )
    consumer = clients.consumer(kafka, group_id="bench-start", client_id="bench-start")
    counts = partition_counts(clients.admin(kafka))
    places = [TopicPartition(topic, p) for topic in topics for p in range(counts[topic])]
    return lambda: [consumer.get_watermark_offsets(place, timeout=10)[1] for place in places]


def in_sync(where: dict[str, Any]) -> None:
    database: Any = MongoClient(where["mongodb"]["uri"])[where["mongodb"]["database"]]
    until(
        lambda: all(database[COLLECTIONS[n]].count_documents({}) == many for n, many in RECORDS.items()),
        600,
        every_s=0.1,
    )


@contextmanager
def running(names: Sequence[str], config: str, folder: Path) -> Iterator[dict[str, Watched]]:
    """These processes, until the block ends."""
    processes = {
        name: Watched(
            [sys.executable, "-m", "salmon", "run", name, "-c", config, "--port", "0"], folder / f"{name}.log"
        )
        for name in names
    }
    try:
        yield processes
    finally:
        for each in processes.values():
            each.stop()


if __name__ == "__main__":
    main()
