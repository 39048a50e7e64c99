"""
How long after an edit on one side is it on the other?

From the moment the edit's call has returned to the moment the other side shows it, asked over and over; one edit at a
time, on an idle machine, on an object set with 10,000 records. On both stacks, and beside the floor of each: one
Kafka transaction there and back, of which every change makes two.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import requests
from benchmarks.measuring import until
from pymongo import MongoClient
from simple_salesforce.api import Salesforce

from salmon.devstack.stack import DEMO_RECORDS, DevOptions, DevStack
from salmon.kafka import clients, topics

RESULTS = Path(__file__).parent / "results" / "latency.json"
COLLECTIONS = {"Account": "accounts", "Contact": "contacts", "Opportunity": "opportunities"}
WARM_UP = 20


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--edits", type=int, default=300, help="measured in each direction")
    options.add_argument("--stack", choices=["embedded", "jvm", "both"], default="both")
    chosen = options.parse_args()
    stacks = ["embedded", "jvm"] if chosen.stack == "both" else [chosen.stack]
    found = {name: measured(name, chosen.edits) for name in stacks}
    told = {
        "question": (__doc__ or "").strip().splitlines()[0],
        "machine": {
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "system": platform.platform(),
        },
        "versions": {name: version(name) for name in ("confluent-kafka", "fastavro", "pymongo", "grpcio")},
        "unit": "ms",
        "stacks": found,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(told, indent=2) + "\n")
    print(json.dumps(found, indent=2))


def measured(stack: str, edits: int) -> dict[str, Any]:
    """Both directions and the floor, on one stack."""
    with tempfile.TemporaryDirectory() as folder:
        dev = DevStack(Path(folder), DevOptions(jvm=stack == "jvm", records=DEMO_RECORDS))
        where = dev.up()
        try:
            with connectors(where["config"], Path(folder)):
                return _measured_on(where, edits)
        finally:
            dev.down()


def _measured_on(where: dict[str, Any], edits: int) -> dict[str, Any]:
    database: Any = MongoClient(where["mongodb"]["uri"])[where["mongodb"]["database"]]
    org = person(where["salesforce"])
    began = time.monotonic()
    until(
        lambda: all(database[COLLECTIONS[n]].count_documents({}) == c for n, c in DEMO_RECORDS.items()),
        600,
        every_s=0.1,
    )
    snapshot_s = time.monotonic() - began
    keys = [each["_id"] for each in database.accounts.find({}, {"_id": 1}).limit(edits + WARM_UP)]

    def to_mongodb(key: str, value: str) -> float:
        org.Account.update(key, {"Site": value})
        return seen(lambda: database.accounts.find_one({"_id": key}, {"Site": 1}).get("Site") == value)

    def to_salesforce(key: str, value: str) -> float:
        database.accounts.update_one({"_id": key}, {"$set": {"Site": value}})
        return seen(lambda: org.Account.get(key)["Site"] == value)

    floor = summary([hop() for hop in [hops(where["kafka"]["bootstrap_servers"])] for _ in range(edits)])
    found: dict[str, Any] = {"snapshot_of_10000_s": round(snapshot_s, 1), "one_transaction_and_back": floor}
    for name, edit in (("salesforce_to_mongodb", to_mongodb), ("mongodb_to_salesforce", to_salesforce)):
        times = [edit(key, f"{name[0]}{number}") for number, key in enumerate(keys)][WARM_UP:]
        found[name] = summary(times) | {
            "p50_to_floor": round(statistics.median(times) * 1000 / floor["p50"], 1)
        }
    return found


def seen(condition: Callable[[], bool]) -> float:
    """Seconds from now until *condition* holds."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > 30:
            raise TimeoutError("the edit never arrived")
    return time.monotonic() - began


def hops(bootstrap_servers: str) -> Callable[[], float]:
    """A function that times one transaction and its arrival at a read_committed consumer."""
    from confluent_kafka import TopicPartition

    kafka = {"bootstrap.servers": bootstrap_servers}
    topic = "floor"
    topics.ensure(clients.connect(kafka), [topics.TopicSpec(topic, 1, 1, {"cleanup.policy": "delete"})])
    producer = clients.producer(kafka, transactional_id="floor", client_id="floor")
    producer.start()
    consumer = clients.consumer(kafka, group_id="floor", client_id="floor")
    consumer.assign([TopicPartition(topic, 0, 0)])

    def hop() -> float:
        began = time.monotonic()
        with producer.transaction() as transaction:
            transaction.produce(topic, "key", b"x" * 500)
        while not clients.read(consumer, 10, 1):
            pass
        return time.monotonic() - began

    hop()
    return hop


def summary(times_s: list[float]) -> dict[str, float]:
    ordered = sorted(times_s)
    return {
        "edits": len(ordered),
        "p50": round(statistics.median(ordered) * 1000, 1),
        "p99": round(ordered[int(len(ordered) * 0.99)] * 1000, 1),
    }


@contextmanager
def connectors(config: str, folder: Path) -> Iterator[None]:
    """All five processes, as `salmon run all` runs them."""
    with (folder / "run.log").open("wb") as log:
        command = [sys.executable, "-m", "salmon", "run", "all", "-c", config, "--port", "0"]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def person(endpoints: dict[str, str]) -> Any:
    """A user of the org who is not Salmon."""
    session = requests.Session()
    session.trust_env = False
    session.verify = endpoints["ca_file"]
    answer = session.post(
        f"{endpoints['login_url']}/services/oauth2/token",
        data={
            "grant_type": "client_credentials",
            "client_id": endpoints["person_client_id"],
            "client_secret": endpoints["person_client_secret"],
        },
        timeout=10,
    )
    return Salesforce(
        session_id=answer.json()["access_token"], instance_url=endpoints["instance_url"], session=session
    )


if __name__ == "__main__":
    main()
