"""
MongoDB's two tasks in a ring with the real fold: whatever applications do, both sides end up alike.

The other side is a plain table that takes every write and answers it at once; mongod, source, sink and fold are
the real ones. The sink lags and repeats, the source is killed, or loses its position, at random.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from salmon.model.change import MONGODB, OWNED_BY_MERGE, SALESFORCE, Change, Op, Value, Write, WriteOp
from salmon.model.fold import fold
from salmon.model.rules import Rules
from salmon.model.schema import ObjectSchema
from salmon.model.state import State, new_state
from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.keys import key_of
from salmon.mongodb.reading.source import MongoSourceTask
from salmon.mongodb.writing.sink import MongoSinkTask
from salmon.plugin.contract import Outcome, OutcomeKind, Signal, SignalKind, SinkRecord
from support.mongo import ACCOUNT, Log, Mongo, NoIdentities, Synced
from support.waiting import until

_SCHEMA = ObjectSchema("Account", tuple(ACCOUNT.by_name[n] for n in ("Name", "Phone", "Interests")), "001")
_OBJECTS = {"Account": Synced("accounts")}
_PATIENCE_S = 60.0
_OUTCOMES = {OutcomeKind.GONE: Op.GONE, OutcomeKind.EXISTS: Op.EXISTS, OutcomeKind.REFUSED: Op.REFUSED}


@dataclass
class _Table:
    """The other side: it takes every write, and tells at once what came of it."""

    rows: dict[str, dict[str, Value]] = field(default_factory=dict)
    commits: int = 0

    def edit(self, key: str, fields: dict[str, Value], ack: int | None = None) -> Change:
        op = Op.UPDATE if key in self.rows else Op.CREATE
        self.rows.setdefault(key, {}).update(fields)
        changed = frozenset(fields) if op is Op.UPDATE else None
        return self._event(op, key, ack, changed, fields)

    def delete(self, key: str) -> Change:
        del self.rows[key]
        return self._event(Op.DELETE, key, None, None, {})

    def take(self, key: str, write: Write) -> list[Change]:
        if write.op is WriteOp.CREATE or (write.op is WriteOp.UPDATE and key in self.rows):
            return [self.edit(key, dict(write.fields), write.seq)]
        if key in self.rows:
            return [self.delete(key)]
        gone = Change(SALESFORCE, Op.GONE, ack=write.seq)
        return [gone, Change(SALESFORCE, Op.ABSENT, as_of=self.commits)]

    def _event(
        self, op: Op, key: str, ack: int | None, changed: frozenset[str] | None, fields: dict[str, Value]
    ) -> Change:
        self.commits += 1
        return Change(
            SALESFORCE,
            op,
            committed_at=int(time.time() * 1000),
            commit_time=self.commits,
            order=self.commits.to_bytes(8, "big"),
            native_id=f"001{key}",
            ack=ack,
            changed=changed,
            fields={name: value for name, value in fields.items() if value is not None},
        )


class _Ring:
    """Merge in a nutshell, and the two tasks of MongoDB."""

    def __init__(self, mongo: Mongo, seed: int) -> None:
        self.mongo, self.random = mongo, random.Random(seed)
        self.rules = Rules(_SCHEMA)
        self.table, self.log = _Table(), Log()
        self.states: dict[str, State] = {}
        self.owed: dict[str, Write] = {}  # the compacted topic of writes to MongoDB
        self.offset = self.folded = self.signals = 0
        self.sink = MongoSinkTask(mongo.config, _OBJECTS, "ring")
        self.sink.start({"Account": _SCHEMA}, NoIdentities(), clean=True)
        self.source = self.started()

    def started(self) -> MongoSourceTask:
        task = MongoSourceTask(self.mongo.config, _OBJECTS, "ring")
        task.use({"Account": _SCHEMA})
        self.log.begin(task)
        return task

    def fold(self, key: str, change: Change) -> None:
        self.offset += 1
        state = self.states.get(key) or new_state(self.rules.names)
        out = fold(state, change, object="Account", key=key, offset=self.offset, rules=self.rules)
        self.states[key] = out.state
        if MONGODB in out.writes:
            if (write := out.writes[MONGODB]) is None:
                self.owed.pop(key, None)
            else:
                self.owed[key] = write
        if MONGODB in out.to_read:
            self.ask(key)
        if (write := out.writes.get(SALESFORCE)) is not None:
            for answer in self.table.take(key, write):
                self.fold(key, answer)

    def ask(self, key: str) -> None:
        self.signals += 1
        self.source.request(Signal(self.signals, SignalKind.READ, "Account", (key,)))

    def poll(self) -> None:
        self.log.poll(self.source, 0.05)
        for record in self.log.records[self.folded :]:
            self.folded += 1
            self.fold(record.key, record.change)

    def put(self, *, share: float = 1.0) -> None:
        """Put some of what is owed, at times twice; as in the worker, a write stays owed until merge says not."""
        owed = [SinkRecord("Account", key, write) for key, write in self.owed.items()]
        owed = [record for record in owed if self.random.random() < share]
        for _ in range(self.random.choice((1, 1, 1, 2))):
            outcomes = self.sink.put(owed)
        for record, outcome in zip(owed, outcomes, strict=True):
            self.told(record, outcome)

    def told(self, record: SinkRecord, outcome: Outcome) -> None:
        if outcome.kind is not OutcomeKind.RETRY_LATER and self.owed.get(record.key) == record.write:
            del self.owed[record.key]
        if (op := _OUTCOMES.get(outcome.kind)) is not None:
            self.fold(record.key, Change(MONGODB, op, ack=record.write.seq))
            if op is not Op.REFUSED:
                self.ask(record.key)

    def restart(self, *, lose_position: bool) -> None:
        """Kill the source, with its position or without; what is edited meanwhile, no event may tell."""
        last = f"seen {self.offset}"
        self.mongo.accounts.insert_one({"_id": last})
        # A delete that no event tells is looked for by nobody yet, so all that came before is told first. And what
        # merge has asked for would be asked for again by the worker; here it is answered first.
        until(
            lambda: self.log.of(last) and len(self.log.answered) >= self.signals,
            within_s=_PATIENCE_S,
            between=self.poll,
        )
        self.source.close()
        self.mongo.accounts.update_many({"_id": {"$in": ["a", "b", "c"]}}, {"$set": {"Phone": self.text()}})
        if lose_position:
            self.log.positions["stream"] = {"token": {"_data": "nonsense"}, "reads": {}}
        self.source = self.started()

    def settle(self) -> None:
        """Until nothing is owed, asked for or on its way: the last document that is written has come back."""
        quiet = 0

        def turn() -> None:
            nonlocal quiet
            before = self.folded
            self.put()
            self.poll()
            done = all(told.done for told in self.source.progress())
            still = before == self.folded and not self.owed and len(self.log.answered) == self.signals
            quiet = quiet + 1 if still and done else 0

        until(lambda: quiet == 5, "it gets quiet", within_s=_PATIENCE_S, between=turn)

    def documents(self) -> dict[str, dict[str, Value]]:
        shape = DocumentShape(_SCHEMA, frozenset({"Account"}))
        return {
            key_of(document["_id"]): _without_own(dict(shape.reading(document).fields))
            for document in self.mongo.accounts.find()
        }

    # What people and applications do.

    def step(self) -> None:
        actions = [self.edit_table] * 4 + [self.edit_documents] * 6 + [self.poll] * 4
        actions += [lambda: self.put(share=0.5)] * 4
        self.random.choice(actions)()

    def edit_table(self) -> None:
        key = self.random.choice("abcdef")
        if key in self.table.rows and self.random.random() < 0.2:
            self.fold(key, self.table.delete(key))
        else:
            self.fold(key, self.table.edit(key, {self.random.choice(("Name", "Phone")): self.text()}))

    def edit_documents(self) -> None:
        accounts, key = self.mongo.accounts, {"_id": self.random.choice("abcdef")}
        document: dict[str, Any] | None = accounts.find_one(key)
        if document is None:
            accounts.insert_one({**key, "Name": self.text(), "Interests": [self.text()]})
            return
        match self.random.randrange(8):
            case 0:
                accounts.delete_one(key)
            case 1:
                accounts.replace_one(key, document | {"Name": self.text()})
            case 2:
                accounts.replace_one(key, {"Phone": self.text()})  # without our marker
            case 3:
                accounts.update_one(key, {"$push": {"Interests": self.text()}})
            case 4:
                accounts.update_one(key, {"$unset": {"Name": 1}})
            case 5:
                accounts.update_one(key, {"$set": document | {"Phone": self.text()}})
            case _:
                accounts.update_one(key, {"$set": {"Name": self.text(), "own": 1}})

    def text(self) -> str:
        return f"{self.random.randrange(1000)}"


def _without_own(fields: dict[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in fields.items() if value is not None and name not in OWNED_BY_MERGE}


@pytest.mark.parametrize("seed", range(6))
def test_both_sides_end_up_alike(uri: str, seed: int) -> None:
    """After any schedule of edits, lags, repetitions, restarts and holes, and nothing is written after that."""
    mongo = Mongo(uri)
    ring = _Ring(mongo, seed)
    try:
        for number in range(1, 161):
            ring.step()
            if number % 50 == 0:
                ring.restart(lose_position=number == 100 and seed % 2 == 1)
        ring.settle()
        told = {key: _without_own(dict(state.canonical)) for key, state in ring.states.items() if state.lives}
        assert ring.documents() == told, f"seed {seed}"
        assert {key: _without_own(row) for key, row in ring.table.rows.items()} == told, f"seed {seed}"
    finally:
        ring.source.close()
        ring.sink.close()
        mongo.close()
