"""
Carrying out one batch of writes: looking first where it must be looked, parents before their children, deletions
last and children first, and every record's own result looked into.

What a repetition is, and what is remembered from batch to batch, is for sink.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from salmon.model.change import WriteOp
from salmon.model.schema import ObjectSchema
from salmon.plugin.contract import Outcome, OutcomeKind, OwedTo, SinkRecord
from salmon.plugin.leave import always
from salmon.salesforce.ids import ID_CHARS_SHORT
from salmon.salesforce.wire.codes import BLOCKED, ROLLED_BACK
from salmon.salesforce.wire.rest import RowResult
from salmon.salesforce.writing.blocked_deletes import BlockedDeletes, Lookup, Refused
from salmon.salesforce.writing.bulk_writes import BulkWrites
from salmon.salesforce.writing.calling import Calling, Job, Send
from salmon.salesforce.writing.lanes import Lanes
from salmon.salesforce.writing.likeness import LIKE, Likeness
from salmon.salesforce.writing.markers import Found, Overwrite, Querying, judged, read_markers
from salmon.salesforce.writing.narrowing import Nameless, Narrowing
from salmon.salesforce.writing.outcomes import (
    Look,
    deferred,
    duplicate_of_nothing,
    orphaned,
    outcome_of,
    refusal_of,
    refused,
)
from salmon.salesforce.writing.references import Body, RecordId, References, depths
from salmon.salesforce.writing.saving import Records, Saves
from salmon.salesforce.writing.triggers import SmallerCalls
from salmon.salesforce.writing.unique_values import UniqueValues, clearing, within
from salmon.salesforce.writing.unreadable import UnreadableFields

OUT_OF_RANGE: Final = "VALUE_OUT_OF_RANGE"  # ours: such a value is not sent


class Collections(Querying, Saves, Protocol):
    """What is asked of Rest."""

    def delete(self, ids: Sequence[str]) -> Sequence[RowResult]: ...


def _sure_id(job: Job) -> str | None:
    """The record's Id; None where only the identities tell it, which may still be those of an earlier life of its key."""
    known = job.record.write.native_id is not None or job.native_id == job.record.key
    return job.native_id if known else None


class Delivery:
    """One batch. Made for it, used once."""

    def __init__(
        self,
        org: Collections,
        schemas: Mapping[str, ObjectSchema],
        references: References,
        stopped: threading.Event,
        *,
        narrowing: Narrowing,
        owed: OwedTo,
        bulk: BulkWrites | None = None,
        lanes: Lanes | None = None,
        savers: Mapping[str, Saves] | None = None,
        smaller_calls: SmallerCalls | None = None,
        may_send: Callable[[], bool] = always,
        forbids: Mapping[str, Collection[Lookup]] | None = None,
    ) -> None:
        """*savers*: who saves the records of objects that *org* does not save as it saves all others; *forbids*: see BlockedDeletes."""
        self._org, self._forbids = org, forbids or {}
        self._savers = savers or {}
        kinds = list(dict.fromkeys(self._savers.values()))
        apart = {name: kinds.index(each) + 1 for name, each in self._savers.items()}
        self._schemas = schemas
        self._references = references
        self._stopped = stopped
        self._owed = owed
        self._calling = Calling(
            schemas,
            stopped,
            bulk=bulk,
            lanes=lanes or Lanes(1),
            apart=lambda name: apart.get(name, 0),
            smaller_calls=smaller_calls or SmallerCalls(),
            may_send=may_send,
        )
        self._outcomes: dict[int, Outcome] = {}
        self._unreadable = UnreadableFields(org, schemas)
        self._narrowing = narrowing
        self._nameless: dict[int, tuple[Job, Nameless]] = {}  # refused without a field's name
        self._clashes: list[tuple[Job, RowResult]] = []  # kept away by a unique value of another record
        self._alike: dict[int, tuple[Job, dict[str, Any]]] = {}  # kept away by a duplicate rule

    def carry_out(
        self, records: Sequence[SinkRecord], must_look: Callable[[SinkRecord], bool]
    ) -> Sequence[Outcome]:
        """
        One outcome for each record, in order. *must_look*: whether the write may have been carried out already.

        Raises RetriableError: nothing is known then of any of them.
        """
        jobs = self._after_looking(
            [self._job(index, record) for index, record in enumerate(records)], must_look
        )
        todo = [job for job in jobs if job.op is not WriteOp.DELETE]
        while todo:
            ready, todo = self._ready(todo)
            self._save(ready)
        self._delete([job for job in jobs if job.op is WriteOp.DELETE])
        self._settle_clashes()
        self._narrow_down()
        self._look_for_likeness()
        return [self._outcomes[index] for index in range(len(records))]

    # Looking at markers before.

    def _job(self, index: int, record: SinkRecord) -> Job:
        write, native_id = record.write, None
        if write.op is not WriteOp.CREATE:
            native_id = write.native_id or self._references.native_id(record.id)
        return Job(index, record, write.op, native_id)

    def _after_looking(self, jobs: Sequence[Job], must_look: Callable[[SinkRecord], bool]) -> list[Job]:
        """The jobs that are still to be done, each as it is to be done."""
        jobs = self._without_the_living(jobs)
        doubtful = [job for job in jobs if must_look(job.record) or self._always_looked_at(job)]
        markers = self._markers([(job.id, _sure_id(job)) for job in doubtful])
        decided = {job.index: self._decided(job, markers[job.id]) for job in doubtful}
        return [job for job in (decided.get(job.index, job) for job in jobs) if job is not None]

    def _without_the_living(self, jobs: Sequence[Job]) -> list[Job]:
        """
        All jobs but the creations of records that live under the very Id that is their key: those were born in
        Salesforce, and nobody has read them yet. Created under that key, each would be there twice.
        """
        own = {
            job.index: own_id
            for job in jobs
            if job.op is WriteOp.CREATE and (own_id := self._references.own_id(job.id)) is not None
        }
        lives = self._markers([(job.id, own[job.index]) for job in jobs if job.index in own])
        rest: list[Job] = []
        for job in jobs:
            if job.index in own and lives[job.id] is not None:
                self._outcomes[job.index] = Outcome(
                    OutcomeKind.EXISTS, native_id=own[job.index], reason="the record exists under its own Id"
                )
            else:
                rest.append(job)
        return rest

    def _always_looked_at(self, job: Job) -> bool:
        if job.op is WriteOp.CREATE:
            # Perhaps it lives already; perhaps that was an earlier life of its key.
            return self._references.carried(job.id)
        return job.op is WriteOp.DELETE or job.native_id is None

    def _decided(self, job: Job, found: Found | None) -> Job | None:
        match judged(job.record.write, found):
            case Outcome() as outcome:
                self._outcomes[job.index] = outcome
                return None
            case Overwrite(native_id):
                return replace(job, op=WriteOp.UPDATE, native_id=native_id)
            case _:
                return job if found is None else replace(job, native_id=found.native_id)

    def _markers(self, asked: Iterable[tuple[RecordId, str | None]]) -> Mapping[RecordId, Found | None]:
        return read_markers(self._org, asked, self._schemas)

    # Creations and updates, in rounds: whoever refers to a record of the batch waits until that one is there.

    def _ready(self, todo: Sequence[Job]) -> tuple[list[tuple[Job, Body]], list[Job]]:
        to_create = {job.id for job in todo if job.op is WriteOp.CREATE}
        ready: list[tuple[Job, Body]] = []
        waiting: list[Job] = []
        for job in todo:
            body = self._body(job, to_create)
            awaited = {parent for parents in body.missing.values() for parent in parents} & to_create
            if awaited - {job.id}:
                waiting.append(job)
            else:
                ready.append((job, body))
        if not ready:  # They wait for each other.
            ready, waiting = [(job, self._body(job, to_create)) for job in waiting], []
        return [pair for pair in ready if self._complete(*pair)], waiting

    def _body(self, job: Job, to_create: set[RecordId]) -> Body:
        schema, fields = self._schemas[job.record.object], job.record.write.fields
        if job.op is not job.record.write.op:  # A creation over our own earlier one: what an update may set.
            fields = {n: v for n, v in fields.items() if n not in schema.by_name or schema.by_name[n].update}
        return self._references.body(job.record.object, fields, to_create)

    def _complete(self, job: Job, body: Body) -> bool:
        """Whether it can be sent; tells the outcome of one that cannot."""
        if body.unknown:
            self._outcomes[job.index] = Outcome(
                OutcomeKind.RETRY_LATER,
                fields=frozenset(body.unknown),
                code="SCHEMA_CHANGED",
                reason=f"{', '.join(body.unknown)} came after this process started: restart it",
            )
        elif body.out_of_range:
            names = ", ".join(sorted(body.out_of_range))
            self._outcomes[job.index] = Outcome(
                OutcomeKind.REFUSED,
                fields=frozenset(body.out_of_range),
                code=OUT_OF_RANGE,
                reason=f"{names}: Salesforce keeps dates of the years 1700 to 4000 only. Correct the date.",
            )
        elif body.missing:
            waits_for = tuple(parent for parents in body.missing.values() for parent in parents)
            self._outcomes[job.index] = deferred(body.missing, tuple(dict.fromkeys(waits_for)))
        return job.index not in self._outcomes

    def _save(self, ready: Sequence[tuple[Job, Body]]) -> None:
        overwrites = self._insert([pair for pair in ready if pair[0].op is WriteOp.CREATE])
        self._update([*(pair for pair in ready if pair[0].op is WriteOp.UPDATE), *overwrites])

    def _sent(self, job: Job, body: Body) -> dict[str, Any]:
        """What is sent of a creation or update, Id and key aside."""
        return {
            "attributes": {"type": job.record.object},
            **body.fields,
            self._schemas[job.record.object].markers.seq: job.record.write.seq,
        }

    def _insert(self, ready: Sequence[tuple[Job, Body]]) -> list[tuple[Job, Body]]:
        """Insert; what turns out to be there by an older creation of ours is given back, to be updated."""
        bodies = {
            job.index: self._sent(job, body) | {self._schemas[job.record.object].markers.key: job.record.key}
            for job, body in ready
        }
        jobs = [job for job, _ in ready]
        looks: dict[Look, list[tuple[Job, RowResult]]] = {look: [] for look in Look}
        for job, answer in self._results(
            jobs, lambda job: bodies[job.index], self._insert_call, WriteOp.CREATE
        ):
            result = self._unreadable.named(answer, bodies[job.index])
            outcome = outcome_of(result, WriteOp.CREATE, None, ())
            if isinstance(outcome, Look):
                looks[outcome].append((job, result))
                continue
            if outcome.kind is OutcomeKind.APPLIED and outcome.native_id:
                self._references.created(job.id, outcome.native_id)
            if outcome.code == LIKE:
                self._alike[job.index] = job, bodies[job.index]
            self._outcomes[job.index] = outcome
        self._settle_references([(job, result, bodies[job.index]) for job, result in looks[Look.IS_IT_THERE]])
        return self._after_duplicates(looks[Look.WHO_HAS_THE_KEY])

    def _after_duplicates(self, taken: Sequence[tuple[Job, RowResult]]) -> list[tuple[Job, Body]]:
        markers = self._markers([(job.id, None) for job, _ in taken])
        overwrites: list[tuple[Job, Body]] = []
        for job, result in taken:
            if markers[job.id] is None:
                outcome = duplicate_of_nothing(
                    refusal_of(result), self._schemas[job.record.object].markers.key
                )
                if isinstance(outcome, Look):
                    self._clashes.append((job, result))
                else:
                    self._outcomes[job.index] = outcome
            elif (decided := self._decided(job, markers[job.id])) is not None:
                overwrites.append((decided, self._body(decided, set())))
        return [pair for pair in overwrites if self._complete(*pair)]

    def _update(self, ready: Sequence[tuple[Job, Body]]) -> None:
        bodies = {job.index: {**self._sent(job, body), "Id": job.native_id} for job, body in ready}
        unsure: list[tuple[Job, RowResult]] = []
        jobs = [job for job, _ in ready]
        for job, answer in self._results(
            jobs, lambda job: bodies[job.index], self._update_call, WriteOp.UPDATE
        ):
            result = self._unreadable.named(answer, bodies[job.index])
            references = self._schemas[job.record.object].references
            referring = [field.name for field in references if field.name in bodies[job.index]]
            outcome = outcome_of(result, WriteOp.UPDATE, job.native_id, referring)
            if outcome is Look.WHO_HAS_THE_VALUE:
                self._clashes.append((job, result))
            elif isinstance(outcome, Look):
                unsure.append((job, result))
            else:
                self._outcomes[job.index] = outcome
                if outcome.code == LIKE:
                    self._alike[job.index] = job, bodies[job.index]
                schema = self._schemas[job.record.object]
                if nameless := self._narrowing.nameless(job.record, outcome, schema, bodies[job.index]):
                    self._nameless[job.index] = job, nameless
        markers = self._markers([(job.id, job.native_id) for job, _ in unsure])
        for job, result in unsure:
            if markers[job.id] is None:
                self._outcomes[job.index] = Outcome(
                    OutcomeKind.GONE, code=refusal_of(result).code, reason="the record is not there"
                )
        there = [(job, result) for job, result in unsure if markers[job.id] is not None]
        self._settle_references([(job, result, bodies[job.index]) for job, result in there])

    def _settle_references(self, refusals: Sequence[tuple[Job, RowResult, Mapping[str, Any]]]) -> None:
        """
        Tell the outcomes of writes that refer to a record that is not there. Salesforce seldom says which: so the parents
        are looked at, and the fields named, that the rest may be sent without them. A parent of the sync may come, or come
        back; any other is refused.
        """
        meant = {job.index: self._references.meant(job.record) for job, *_ in refusals}
        parents = {
            (job.index, name): ((target, body[name]), body[name])
            for job, _, body in refusals
            for name, (target, _) in meant[job.index].items()
            if body.get(name)
        }
        found = self._markers(parents.values())
        for job, result, _ in refusals:
            written = meant[job.index]
            missing = {
                name: written[name]
                for (index, name), (parent, _) in parents.items()
                if index == job.index and found[parent] is None
            }
            refusal, waits_for = refusal_of(result), tuple(dict.fromkeys(missing.values()))
            if not missing:
                self._outcomes[job.index] = refused(refusal)
            elif all(len(key) == ID_CHARS_SHORT for _, key in missing.values()):
                # Any 15 letters and digits look like an Id: they may be the key of a parent that is still to come.
                self._outcomes[job.index] = deferred(missing, waits_for)
            else:
                self._outcomes[job.index] = orphaned(refusal.code, missing, waits_for)

    def _delete(self, jobs: Sequence[Job]) -> None:
        above = depths(self._schemas)
        left = sorted(jobs, key=lambda job: -above[job.record.object])  # children first
        tried = 0
        blocked: dict[int, Refused] = {}
        while left and len(left) != tried:
            tried = len(left)
            blocked.clear()
            for job, result in self._results(left, lambda job: job.native_id, self._org.delete):
                outcome = outcome_of(result, WriteOp.DELETE, job.native_id, ())
                assert isinstance(outcome, Outcome)
                self._outcomes[job.index] = outcome
                if outcome.code == BLOCKED:
                    blocked[job.index] = Refused(job.id, job.native_id or "", outcome)
            left = [job for job in left if job.index in blocked]  # who stood in the way may be gone by now
        owed = within([(job.id, job.record.write) for job in left], self._owed)
        self._outcomes |= BlockedDeletes(self._org, self._schemas, self._forbids, owed).outcomes(blocked)

    # Unique values. A value that another write of the batch gives up is free once that one is carried out.

    def _settle_clashes(self) -> None:
        cleared: set[int] = set()
        moved = any(outcome.kind is OutcomeKind.APPLIED for outcome in self._outcomes.values())
        while self._clashes:
            if not moved and not self._clear_one(cleared):
                break
            clashes, self._clashes = self._clashes, []
            pairs = [(job, self._body(job, set())) for job, _ in clashes]
            self._save([pair for pair in pairs if self._complete(*pair)])
            moved = len(self._clashes) < len(clashes)
        unique = self._unique_values()
        for job, result in self._clashes:
            clash = unique.clash(job.id, job.record.write, job.native_id, result)
            self._outcomes[job.index] = unique.outcome(clash)

    def _clear_one(self, cleared: set[int]) -> bool:
        """Take one record out of a circle of writes that wait for each other; says whether there was one."""
        unique = self._unique_values()
        for job, result in self._clashes:
            if job.index in cleared or job.op is not WriteOp.UPDATE:
                continue
            clash = unique.clash(job.id, job.record.write, job.native_id, result)
            if unique.is_circle(clash):
                cleared.add(job.index)
                (answer,) = self._calling.called(
                    [clearing(clash, self._schemas[clash.id[0]].markers)], self._update_call
                )
                if answer.success:
                    return True
        return False

    def _unique_values(self) -> UniqueValues:
        batch = [(job.id, job.record.write) for job, _ in self._clashes]
        return UniqueValues(self._org, within(batch, self._owed), self._schemas)

    # Refusals that name no field.

    def _narrow_down(self) -> None:
        """Have them sent in parts, but not those of records that cannot be saved even if no field is set."""
        if not self._narrowing.is_allowed([each for _, each in self._nameless.values()]):
            return
        unsure = [job for job, each in self._nameless.values() if self._narrowing.must_be_saved(each)]
        for job, result in self._results(unsure, _nothing, self._update_call):
            outcome = outcome_of(result, WriteOp.UPDATE, job.native_id, ())
            if isinstance(outcome, Outcome) and outcome.code == ROLLED_BACK:
                self._outcomes[job.index] = outcome  # It is not known yet.
            elif isinstance(outcome, Look) or outcome.kind is not OutcomeKind.REFUSED:
                self._narrowing.saved(self._nameless[job.index][1])
        for job, each in self._nameless.values():
            if not self._narrowing.must_be_saved(each):
                self._outcomes[job.index] = self._narrowing.outcome(each)

    # Duplicate rules.

    def _look_for_likeness(self) -> None:
        """See what those are like that are refused in the end; not of objects with calls of their own, whose headers say more."""
        asked = [
            (job, body, self._outcomes[job.index])
            for job, body in self._alike.values()
            if job.record.object not in self._savers
            and (self._outcomes[job.index].kind, self._outcomes[job.index].code)
            == (OutcomeKind.REFUSED, LIKE)
        ]
        likeness = Likeness(self._org, self._schemas, self._owed)
        outcomes = likeness.judged([(body, refused) for _, body, refused in asked])
        for (job, _, _), outcome in zip(asked, outcomes, strict=True):
            self._outcomes[job.index] = outcome
            if job.op is WriteOp.CREATE and outcome.kind is OutcomeKind.APPLIED and outcome.native_id:
                self._references.created(job.id, outcome.native_id)

    def _insert_call(self, records: Records) -> Sequence[RowResult]:
        return self._saver_of(records).insert(records)

    def _update_call(self, records: Records) -> Sequence[RowResult]:
        return self._saver_of(records).update(records)

    def _saver_of(self, records: Records) -> Saves:
        """Of all records of a call (see Calling)."""
        return self._savers.get(records[0]["attributes"]["type"], self._org)

    def _results(
        self, jobs: Sequence[Job], body_of: Callable[[Job], Any], send: Send, op: WriteOp | None = None
    ) -> Iterator[tuple[Job, RowResult]]:
        return self._calling.results([(job, body_of(job)) for job in jobs], send, op)


def _nothing(job: Job) -> dict[str, Any]:
    """The update of a job's record that sets no field."""
    return {"attributes": {"type": job.record.object}, "Id": job.native_id}
