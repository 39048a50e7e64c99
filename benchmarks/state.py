"""
Does the cost of a change grow with the number of records, and how soon is merge back?

For each number of keys: `state` is filled with as many states of a settled record (one is encoded, and its key and
texts varied), then the real process (`salmon run merge`) is started without its working copy (a rebuild), stopped, started
with it (a restart), and given edits of random keys: time, CPU, memory, and bytes a key in the topic and on disk.
Beside them, the same states as JSON and as BSON.

Fills, rebuilds and folds ten million keys in some tens of minutes and 15 GB, which are given back at the end; --dir keeps
what was filled, and the same command goes on where it was cut off.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks import measuring
from benchmarks.measuring import OBJECT, Sync, Watched
from benchmarks.merge import edits, poured, timed
from bson import encode as bson_encode
from rich.progress import Progress

from salmon.kafka import clients
from salmon.kafka.codecs.serdes import Changes
from salmon.kafka.extents import extents
from salmon.merge.settings import rules_of
from salmon.merge.states import States
from salmon.model.change import MONGODB, Change, Op
from salmon.model.fold import fold
from salmon.model.state import State, new_state

A_TRANSACTION: Final = 50_000


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--keys", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    options.add_argument("--changes", type=int, default=20_000, help="edits folded at each number of keys")
    options.add_argument("--fields", type=int, default=41)
    options.add_argument("--stack", choices=["embedded", "jvm"], default="jvm")
    options.add_argument("--dir", type=Path, help="folder that is kept; without it, one that is removed")
    chosen = options.parse_args()
    found: dict[str, Any] = {}
    for count in chosen.keys:
        with (
            folder_of(chosen.dir, count) as folder,
            measuring.sync_on(chosen.stack, folder, fields=chosen.fields) as sync,
        ):
            found[str(count)] = measured(sync, count, min(chosen.changes, count))
            # What is known is kept, should a larger number fail.
            measuring.save("state", told(chosen.stack, chosen.fields, found))


def told(stack: str, fields: int, found: dict[str, Any]) -> dict[str, Any]:
    smallest, largest = next(iter(found.values())), list(found.values())[-1]
    return {
        "question": (__doc__ or "").strip().splitlines()[0],
        "machine": measuring.machine(),
        "versions": measuring.versions("confluent-kafka", "fastavro", "rocksdict", "pymongo"),
        "stack": stack,
        "fields": f"{fields}, {len(measuring.row_of(measuring.object_of(fields), 1))} of them set",
        "keys": found,
        "cpu_a_change_largest_to_smallest": round(
            largest["edits"]["cpu_us"] / smallest["edits"]["cpu_us"], 2
        ),
    }


@contextmanager
def folder_of(kept: Path | None, count: int) -> Iterator[Path]:
    if kept is not None:
        folder = kept / str(count)
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def measured(sync: Sync, count: int, changes: int) -> dict[str, Any]:
    state = settled(sync)
    encoded = States(rules(sync), sync.registry, sync.topics.state(OBJECT)).encode(state)
    filled(sync, count, encoded)
    found: dict[str, Any] = {"bytes_a_key": bytes_a_key(sync, count, state, encoded)}
    shutil.rmtree(sync.folder / "state", ignore_errors=True)
    found["rebuild"] = started(sync, count)
    found["bytes_a_key"]["on_disk"] = round(size_of(sync.folder / "state") / count, 1)
    found["restart"] = started(sync, count)
    poured(sync, itertools.islice(edits(sync, count), changes))
    with measuring.merging(sync) as merge:
        found["edits"] = timed(sync, merge, f"{sync.config.name}-merge", changes)
    return found


def rules(sync: Sync) -> Any:
    return rules_of(sync.schema, sync.config.objects[OBJECT])


def settled(sync: Sync) -> State:
    """What merge remembers of a record that both sides hold alike, made by the fold itself."""
    row = measuring.first_row(sync.schema, 0)
    known = rules(sync)
    # As large as the seqs of ten million records, so that all have as many bytes.
    loaded = fold(
        new_state(known.names), row, object=OBJECT, key=measuring.key_of(0), offset=1 << 24, rules=known
    )
    write = loaded.writes[MONGODB]
    assert write is not None
    answer = Change(
        MONGODB,
        Op.CREATE,
        committed_at=row.committed_at,
        commit_time=1_700_000_000 << 32,
        order=b"\x82" + b"resume token, of which most bytes are like",
        native_id=measuring.key_of(0),
        ack=write.seq,
        fields=write.fields,
    )
    return fold(
        loaded.state, answer, object=OBJECT, key=measuring.key_of(0), offset=(1 << 24) + 1, rules=known
    ).state


def filled(sync: Sync, count: int, encoded: bytes) -> None:
    """Put *count* states into the topic; of those that an earlier run has put there, none again."""
    topic, old = sync.topics.state(OBJECT), measuring.key_of(0).encode()
    assert old in encoded
    there = sync.folder / "filled"
    begin = int(there.read_text()) if there.exists() else 0
    producer = sync.producer("bench-filling")
    with Progress() as progress:
        task = progress.add_task(f"filling {count:,} states", total=count, completed=begin)
        for first in range(begin, count, A_TRANSACTION):
            last = min(first + A_TRANSACTION, count)
            with producer.transaction() as transaction:
                for number in range(first, last):
                    key = measuring.key_of(number)
                    # The text fields too: records that are all alike would shrink to nothing.
                    value = encoded.replace(old, key.encode()).replace(b" 0", b" %d" % (number % 10))
                    transaction.produce(topic, key, value, partition=0)
            there.write_text(str(last))
            progress.update(task, completed=last)


def started(sync: Sync, count: int) -> dict[str, Any]:
    """From the command to the moment at which merge has its partition and folds: a probe is answered."""
    topic = sync.topics.changes(OBJECT)
    place = measuring.Place(sync, f"{sync.config.name}-merge", topic)
    began = time.monotonic()
    with measuring.merging(sync) as merge:
        end = probed(sync, count)
        merge.until(lambda: place() >= end)
        took_s, usage = time.monotonic() - began, merge.usage()
        marked(merge)
    return {
        "s": round(took_s, 1),
        "keys_per_s": round(count / took_s),
        "cpu_s": round(usage.cpu_s, 1),
        "rss_mib": round(usage.rss_mib),
        "rss_max_mib": round(usage.rss_max_mib),
    }


def probed(sync: Sync, count: int) -> int:
    """Tell one change of nobody's record, and where it ends."""
    topic = sync.topics.changes(OBJECT)
    key = measuring.key_of(count + time.time_ns() % 10**9)
    change = dataclasses.replace(measuring.first_row(sync.schema, 1), native_id=key)
    with sync.producer("bench-probing").transaction() as transaction:
        transaction.produce(
            topic, key, Changes(sync.schema, sync.registry, topic).encode(change), partition=0
        )
    return extents(clients.admin(sync.kafka), topic, [0])[0].end - 1


def marked(merge: Watched) -> None:
    """Until the copy is marked, which happens some seconds after a commit: else a restart reads more than it must."""
    until = time.monotonic() + 15
    merge.until(lambda: time.monotonic() > until)


def bytes_a_key(sync: Sync, count: int, state: State, encoded: bytes) -> dict[str, Any]:
    topic_files = list((sync.folder / "kafka").rglob(f"{sync.topics.state(OBJECT)}-*/*.log"))
    plain = json.loads(json.dumps(dataclasses.asdict(state), default=_plain))
    return {
        "avro": len(encoded),
        "of_it_the_row": len(States(rules(sync), sync.registry, "x").decode_parts(encoded)[1] or b""),
        "json": len(json.dumps(plain, separators=(",", ":"))),
        "bson": len(bson_encode(plain)),
        "in_the_topic_compressed": round(sum(file.stat().st_size for file in topic_files) / count, 1)
        if topic_files
        else None,
    }


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else sorted(value)


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


if __name__ == "__main__":
    main()
