"""
What does `salmon verify` need of memory and time, at ten times the records?

A real topic `records` (on Apache Kafka where Java and Maven are there), and two sides that make their pages up in this process, so that what is
measured is verify's own work. Beside it the straightforward way: the topic as a table in memory, each record compared as it
is read, and a set of keys a place. Each measurement is a process of its own; ten records differ and must be found.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from hashlib import shake_128
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from salmon.devstack import jvm
from salmon.devstack.broker import EmbeddedBroker, Kafka
from salmon.devstack.registry_process import RegistryProcess
from salmon.kafka import clients, tables, topics
from salmon.kafka.codecs.registry import SchemaRegistry
from salmon.kafka.codecs.serdes import Records
from salmon.kafka.topics import Topics
from salmon.model.change import MONGODB, SALESFORCE, SALESFORCE_ID, SIDES, Value
from salmon.model.rules import Rules
from salmon.model.schema import Kind, ObjectSchema
from salmon.salesforce.ids import id18
from salmon.verify.agreed import Agreed
from salmon.verify.checking import Check, Patience
from salmon.verify.comparing import Seen, findings, terms_of
from salmon.verify.ledger import Ledger
from salmon.verify.reading import read
from salmon.verify.sides import Page, Side

RESULTS: Final = Path(__file__).parent / "results" / "verify.json"
SCHEMA_FILE: Final = Path(__file__).parents[1] / "schemas-avro" / "objects" / "Account.avsc"
DIFFERING: Final = 10
PAGE: Final = 2_000
_MADE: Final[Mapping[Kind, Value]] = {
    Kind.STRING: "a text",  # see row_of
    Kind.INT: 12_345,
    Kind.LONG: 12_345,
    Kind.DOUBLE: 1234.5,
    Kind.BOOLEAN: True,
    Kind.DATE: 20_000,
    Kind.DATETIME: 1_700_000_000_000,
    Kind.TIME: 3_600_000,
    Kind.STRINGS: ("one", "two"),
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--records", type=int, nargs="+", default=[10_000, 100_000])
    options.add_argument("--measure", nargs=3, metavar=("WAY", "RECORDS", "SERVERS"), help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.measure:
        way, count, servers = chosen.measure
        print(json.dumps(measured(way, int(count), json.loads(servers))))
        return
    found: dict[str, dict[str, Any]] = {"digests": {}, "tables": {}}
    with tempfile.TemporaryDirectory() as folder:
        stack = "embedded" if jvm.missing() else "Apache Kafka"
        kind = EmbeddedBroker if jvm.missing() else jvm.ApacheKafka
        broker: Kafka = kind(Path(folder) / "kafka", Path(folder) / "kafka.log")
        registry = RegistryProcess(Path(folder) / "registry", Path(folder) / "registry.log")
        try:
            broker.start()
            registry.start()
            servers = {"kafka": broker.bootstrap_servers, "registry": registry.url}
            for count in chosen.records:
                fill(count, servers)
                for way, numbers in found.items():
                    numbers[str(count)] = in_a_process(way, count, servers)
                    print(way, count, numbers[str(count)], flush=True)
        finally:
            registry.stop()
            broker.stop()
    few, many = str(min(chosen.records)), str(max(chosen.records))
    told = {
        "question": (__doc__ or "").strip().splitlines()[0],
        "machine": {
            "cores": os.cpu_count(),
            "load_1m": round(os.getloadavg()[0], 1),
            "python": platform.python_version(),
            "system": platform.platform(),
        },
        "versions": {name: version(name) for name in ("confluent-kafka", "fastavro", "rocksdict")},
        "broker": stack,
        "fields": len(schema().fields),
        "ways": found,
        "lesson": "Verify's memory hardly follows the records; the straightforward way's does. The price is the digests: "
        "each record is hashed on both sides' terms. The embedded broker ignores how much a fetch may bring, and hands a "
        "slow reader the whole topic: there, and only there, the peak follows it.",
        "memory_growth_mib": {
            way: round(each[many]["peak_mib"] - each[few]["peak_mib"], 1) for way, each in found.items()
        },
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(told, indent=2) + "\n")


def in_a_process(way: str, count: int, servers: Mapping[str, str]) -> dict[str, Any]:
    command = [sys.executable, __file__, "--measure", way, str(count), json.dumps(servers)]
    ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    told: dict[str, Any] = json.loads(ended.stdout)
    return told


# The object: as the demo's accounts.


def schema() -> ObjectSchema:
    return ObjectSchema.from_avro(json.loads(SCHEMA_FILE.read_text()))


def key_of(number: int) -> str:
    key = id18(f"001{number:012}")
    assert key is not None
    return key


def row_of(number: int, plain: Mapping[str, Value]) -> dict[str, Value]:
    """Texts of its own, so that batches shrink by no more than they do in earnest."""
    texts = shake_128(b"%d" % number).hexdigest(24 * len(plain))
    own = {
        name: texts[48 * place : 48 * place + 24]
        for place, (name, value) in enumerate(plain.items())
        if isinstance(value, str)
    }
    return {**plain, **own, "Name": f"Account {number}"}


def plain_row(of: ObjectSchema) -> dict[str, Value]:
    """What all records share: every second field, as in a usual org."""
    return {field.name: _MADE[field.kind] for field in of.fields[::2] if field.kind in _MADE}


def fill(count: int, servers: Mapping[str, str]) -> None:
    """Write `records` of a sync that is named for their number, a tenth of them twice."""
    kafka, names, of = {"bootstrap.servers": servers["kafka"]}, Topics(f"of{count}"), schema()
    topics.ensure(clients.connect(kafka), topics.specs(names, [of.name], partitions=6, replication_factor=1))
    codec = Records(of, SchemaRegistry(servers["registry"]), names.records(of.name))
    producer = clients.producer(kafka, transactional_id=names.name, client_id=names.name)
    producer.start()
    plain = plain_row(of)
    for start in range(0, count, 1_000):
        with producer.transaction() as transaction:
            for number in range(start, min(count, start + 1_000)):
                if number % 10 == 0:
                    older = codec.encode({**plain, "Name": "older"})
                    transaction.produce(codec.topic, key_of(number), older)
                transaction.produce(codec.topic, key_of(number), codec.encode(row_of(number, plain)))


class MadeUp:
    """A side that has all records and makes them up when it is asked; some documents differ."""

    def __init__(self, side: str, count: int, of: ObjectSchema) -> None:
        self._side, self._count, self._plain = side, count, plain_row(of)

    def pages(self, after: str = "") -> Iterator[Page]:
        for start in range(int(after or 0), self._count, PAGE):
            end = min(self._count, start + PAGE)
            yield Page([self._seen(number) for number in range(start, end)], str(end))

    def read(self, keys: Collection[str]) -> Mapping[str, Seen]:
        return {key: self._seen(int(key[3:15])) for key in keys}

    def _seen(self, number: int) -> Seen:
        key, fields = key_of(number), row_of(number, self._plain)
        if self._side == SALESFORCE:
            return Seen(key, fields, native_id=key)
        if number % max(1, self._count // DIFFERING) == 0:
            fields["Name"] = "edited behind our back"
        return Seen(key, {**fields, SALESFORCE_ID: key})


# The two ways.


def measured(way: str, count: int, servers: Mapping[str, str]) -> dict[str, Any]:
    kafka, names, of = {"bootstrap.servers": servers["kafka"]}, Topics(f"of{count}"), schema()
    registry = SchemaRegistry(servers["registry"])
    sides: dict[str, Side] = {side: MadeUp(side, count, of) for side in SIDES}
    began = time.monotonic()
    found = (by_digests if way == "digests" else by_tables)(kafka, names, Rules(of), registry, sides)
    took_s = time.monotonic() - began
    assert found == DIFFERING, f"{found} differences were found"
    return {
        "seconds": round(took_s, 2),
        "records_per_s": round(count / took_s),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def by_digests(
    kafka: Mapping[str, Any],
    names: Topics,
    rules: Rules,
    registry: SchemaRegistry,
    sides: Mapping[str, Side],
) -> int:
    """As `salmon verify` does."""
    terms = terms_of(rules)
    with tempfile.TemporaryDirectory() as folder, Agreed(kafka, names, rules, registry) as agreed:
        ledger = Ledger(Path(folder), {})
        told = read(ledger, agreed, sides, terms, lambda *_: None)
        patience = Patience(most_s=0, quiet_s=0)  # nobody edits here
        check = Check(rules.schema.name, agreed, sides, terms, patience)
        verdict = check.whole(ledger, told.without_key, lambda *_: None)
        ledger.close()
    return len(verdict.different)


def by_tables(
    kafka: Mapping[str, Any],
    names: Topics,
    rules: Rules,
    registry: SchemaRegistry,
    sides: Mapping[str, Side],
) -> int:
    """The straightforward way."""
    codec = Records(rules.schema, registry, names.records(rules.schema.name))
    rows, terms = tables.load(kafka, codec.topic), terms_of(rules)
    differing: set[str] = set()
    for side in SIDES:
        there: set[str] = set()
        for page in sides[side].pages():
            for seen in page.records:
                there.add(seen.key)
                data = rows.get(seen.key)
                agreed = None if data is None else codec.decode(data)
                if agreed is not None and side == MONGODB:
                    agreed[SALESFORCE_ID] = id18(seen.key)
                if findings(seen.key, agreed, {side: seen}, terms)[side].differs:
                    differing.add(seen.key)
        differing |= rows.keys() - there
    return len(differing)


if __name__ == "__main__":
    main()
