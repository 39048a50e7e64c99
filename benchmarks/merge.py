"""
How many changes does one process of merge fold a second, exactly once?

Four kinds of change that a sync consists of, each poured into `changes` first and then folded by the real process
(`salmon run merge`), from its first commit to its last: the rows of a first load; the answers of the creations
that came of it; edits of one to three fields; the answers of their writes. Every state comes from the copy on disk, as
the process is started anew for each kind. Beside it, in the same run, what Kafka and Python cost anyway: a plain loop
that consumes the same rows and produces each of them to three topics, in transactions of the same size, and folds nothing.
CPU is that of all the process's threads; it says more than wall time on a machine that others use.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks import measuring
from benchmarks.measuring import MONGODB, OBJECT, SALESFORCE, Sync, Watched
from confluent_kafka import TopicPartition

from salmon.kafka import clients, tables, topics
from salmon.kafka.codecs.serdes import Changes, Writes
from salmon.kafka.extents import extents
from salmon.merge.process import BATCH_MAX
from salmon.model.change import Change, Op, WriteOp
from salmon.model.schema import Kind

GROUP: Final = "baseline"
OUTPUTS: Final = ("baseline.records", "baseline.state", "baseline.writes")
EDITED_AT: Final = 1_700_000_100_000


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--changes", type=int, default=50_000, help="of each kind")
    options.add_argument("--fields", type=int, default=41)
    options.add_argument("--stack", choices=["embedded", "jvm", "both"], default="both")
    options.add_argument("--loop", metavar="SERVERS", help=argparse.SUPPRESS)  # be the baseline
    chosen = options.parse_args()
    if chosen.loop:
        loop(chosen.loop)
        return
    stacks = ["embedded", "jvm"] if chosen.stack == "both" else [chosen.stack]
    schema = measuring.object_of(chosen.fields)
    set_fields = len(measuring.row_of(schema, 1))
    told = {
        "question": (__doc__ or "").strip().splitlines()[0],
        "machine": measuring.machine(),
        "versions": measuring.versions("confluent-kafka", "fastavro", "rocksdict"),
        "changes_of_each_kind": chosen.changes,
        "fields": f"{chosen.fields}, {set_fields} of them set, {chosen.fields - set_fields} null",
        "unit": "per_s: changes a second of wall time; cpu_us: CPU of the whole process a change",
        "stacks": {name: measured(name, chosen.changes, chosen.fields) for name in stacks},
    }
    measuring.save("merge", told)


def measured(stack: str, count: int, fields: int) -> dict[str, Any]:
    with (
        tempfile.TemporaryDirectory() as folder,
        measuring.sync_on(stack, Path(folder), fields=fields) as sync,
    ):
        found: dict[str, Any] = {}
        poured(sync, ((measuring.key_of(n), measuring.first_row(sync.schema, n)) for n in range(count)))
        floor = found["plain_loop"] = baseline(sync, count)
        found["first_load"] = folded(sync, count)
        poured(sync, answers(sync, Op.CREATE))
        found["answers_of_creations"] = folded(sync, count)
        poured(sync, edits(sync, count))
        found["edits"] = folded(sync, count)
        poured(sync, answers(sync, Op.UPDATE))
        found["answers_of_edits"] = folded(sync, count)
        for each in found.values():
            each["cpu_to_plain_loop"] = round(each["cpu_us"] / floor["cpu_us"], 1)
        return found


def poured(sync: Sync, changes: Iterable[tuple[str, Change]]) -> None:
    """Put changes into the log, some thousands a transaction."""
    topic = sync.topics.changes(OBJECT)
    codec, producer = Changes(sync.schema, sync.registry, topic), sync.producer("bench-pouring")
    for batch in batches(changes, 5_000):
        with producer.transaction() as transaction:
            for key, change in batch:
                transaction.produce(topic, key, codec.encode(change))


def batches(changes: Iterable[tuple[str, Change]], size: int) -> Iterator[list[tuple[str, Change]]]:
    batch = []
    for each in changes:
        batch.append(each)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def answers(sync: Sync, op: Op) -> Iterator[tuple[str, Change]]:
    """What MongoDB tells when it has carried out what `writes` says now."""
    topic = sync.topics.writes(MONGODB, OBJECT)
    codec = Writes(sync.schema, sync.registry, topic)
    for place, (key, data) in enumerate(tables.load(sync.kafka, topic).items()):
        write = codec.decode(data)
        clock = place + (1 if write.op is WriteOp.CREATE else 1 << 40)
        yield (
            key,
            Change(
                MONGODB,
                op,
                committed_at=EDITED_AT,
                commit_time=clock,
                order=clock.to_bytes(8, "big"),
                native_id=key,
                ack=write.seq,
                changed=None if op is Op.CREATE else frozenset(write.fields),
                fields=write.fields,
            ),
        )


def edits(sync: Sync, count: int) -> Iterator[tuple[str, Change]]:
    """Each record edited in Salesforce once, in an order of its own."""
    chance = random.Random(1)
    texts = [field.name for field in sync.schema.fields if field.update and field.kind is Kind.STRING]
    for place, number in enumerate(chance.sample(range(count), count)):
        names = chance.sample(texts, chance.randint(1, 3))
        clock = EDITED_AT + place
        change = Change(
            SALESFORCE,
            Op.UPDATE,
            committed_at=clock,
            commit_time=clock,
            order=clock.to_bytes(8, "big"),
            native_id=measuring.key_of(number),
            changed=frozenset(names),
            fields=dict.fromkeys(names, f"edited {number}"),
        )
        yield measuring.key_of(number), change


def folded(sync: Sync, count: int) -> dict[str, Any]:
    """Let merge fold what waits for it."""
    with measuring.merging(sync) as merge:
        return timed(sync, merge, f"{sync.config.name}-merge", count)


def timed(sync: Sync, process: Watched, group: str, count: int) -> dict[str, Any]:
    """From a process's first commit to the one that reaches the end of `changes`."""
    topic = sync.topics.changes(OBJECT)
    extent = extents(clients.admin(sync.kafka), topic, [0])[0]
    place = measuring.Place(sync, group, topic)
    before = place()
    process.until(lambda: place() > before)
    first, began = place(), process.usage()
    process.until(lambda: place() >= extent.end - 1)  # behind the last change is the mark of its transaction
    ended = process.usage()
    part = min(count, extent.end - first)
    if part <= 0:
        raise SystemExit(
            f"all of it was one commit: give more than {3 * BATCH_MAX} changes, so that several are measured"
        )
    return {
        "per_s": round(part / (ended.at_s - began.at_s)),
        "cpu_us": round((ended.cpu_s - began.cpu_s) / part * 1e6, 1),
        "rss_max_mib": round(ended.rss_max_mib),
        "measured": part,
    }


def baseline(sync: Sync, count: int) -> dict[str, Any]:
    specs = [topics.TopicSpec(name, 1, 1, {"cleanup.policy": "delete"}) for name in OUTPUTS]
    topics.ensure(clients.connect(sync.kafka), specs)
    servers = sync.kafka["bootstrap.servers"]
    command = [sys.executable, "-m", "benchmarks.merge", "--loop", servers]
    with measuring.watched(command, sync) as process:
        return timed(sync, process, GROUP, count)


def loop(servers: str) -> None:
    """Consume and produce, exactly once, and do nothing else."""
    kafka, topic = {"bootstrap.servers": servers}, topics.Topics("bench").changes(OBJECT)
    producer = clients.producer(kafka, transactional_id=GROUP, client_id=GROUP)
    producer.start()
    consumer = clients.consumer(kafka, group_id=GROUP, client_id=GROUP)
    consumer.subscribe(
        [topic],
        on_assign=lambda c, found: c.incremental_assign(
            [TopicPartition(topic, p.partition, 0) for p in found]
        ),
    )
    while True:
        messages = clients.read(consumer, BATCH_MAX, 0.5)
        if not messages:
            time.sleep(0.01)
            continue
        with producer.transaction() as transaction:
            for message in messages:
                for output in OUTPUTS:
                    transaction.produce(output, message.key(), message.value(), partition=0)
            _, partition, offset = clients.place_of(messages[-1])
            transaction.send_offsets(
                [TopicPartition(topic, partition, offset + 1)], consumer.consumer_group_metadata()
            )


if __name__ == "__main__":
    main()
