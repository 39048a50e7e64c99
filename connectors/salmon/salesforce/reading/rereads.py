"""
Answering what waits for a row: reading the records again once the org's clock has passed the event, and reporting
rows and absences in the events' place.

Where much waits, as after many gap events, some batches are read at the same time. A key is in one batch only, and all of them are
reported by one thread, in the order in which they were taken, so the order of a key's changes is what it would be otherwise.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from salmon.calls import on_behalf_of
from salmon.errors import RateLimited, RequestRejected, RetriableError, SalmonError
from salmon.model.change import Change
from salmon.plugin.contract import Signal, SignalKind, SourceRecord
from salmon.salesforce.identity import Identity
from salmon.salesforce.ids import id18
from salmon.salesforce.reading.doubts import Doubts, Verdict
from salmon.salesforce.reading.draft import Harvest
from salmon.salesforce.reading.own_requests import OwnRequests
from salmon.salesforce.reading.stream.waiting_events import Held, Waiting
from salmon.salesforce.reading.whole.rows import BadRow, Row, RowReader
from salmon.salesforce.reading.whole.snapshot import Org
from salmon.salesforce.reading.whole.windows import Reads, Window
from salmon.salesforce.troubles import Troubles
from salmon.salesforce.wire.batches import IDS_A_QUERY, key_batches
from salmon.salesforce.wire.budget import Urgency, asked_as, during
from salmon.salesforce.wire.clock import SECOND_MS

AT_ONCE: Final = 4  # batches, of IDS_A_QUERY records each; an org answers 25 long calls at the same time
_DUE_MIN_S: Final = 0.05
_DUE_IN_TROUBLE_S: Final = 1.0  # what waits first may be of an object that the org refuses


@dataclass(frozen=True, slots=True)
class _Batch:
    """Records of one object that are read by the same queries. *strangers*: changes whose parents' keys are to be learnt."""

    name: str
    due: Sequence[tuple[str, Waiting]]
    strangers: Sequence[Change]
    deleted: frozenset[str]  # keys whose deletion an event reports


@dataclass(frozen=True, slots=True)
class _Found:
    """What was read for a batch: a row or an absence for each key. *unproved*: the keys of absences that nothing proves so far."""

    rows: Mapping[str, Row | BadRow]
    window: Window
    unproved: frozenset[str]
    unshown: frozenset[str]
    read_at_s: float


class Rereads:
    """Reads what waits in *held*. For one thread."""

    def __init__(
        self,
        *,
        org: Org,
        readers: Mapping[str, RowReader],
        reads: Mapping[str, Reads],
        held: Held,
        identity: Identity,
        must_wait: Callable[[str, str, int], bool],
        troubles: Troubles,
        doubts: Doubts,
        read_whole: Callable[[str], None],
        spare: Callable[[], bool] = lambda: True,
    ) -> None:
        """
        Args:
            must_wait: Whether an event of (object, Id, commit_time) has to wait (again) for a row.
            doubts: Where absences wait that nothing proves.
            read_whole: Has a whole object read again, of which too many are in doubt.
            spare: Whether the org has API calls left for what can wait. If not, batches are read one after the other.
        """
        self._org = org
        self._readers = readers
        self._reads = reads
        self._held = held
        self._identity = identity
        self._must_wait = must_wait
        self._troubles = troubles
        self._doubts, self._read_whole = doubts, read_whole
        self._spare = spare
        self._again: OwnRequests[None] = OwnRequests()
        self._threads: ThreadPoolExecutor | None = None
        self._unanswered: dict[int, int] = {}  # signal -> records of it that still wait
        self._nothing_asked: set[int] = set()

    def request(self, signal: int, records: Iterable[tuple[str, str, str | None]], commit_time: int) -> None:
        """Let (object, key, Id if known) be read for *signal*, holding all that was committed by *commit_time*."""
        asked = list(dict.fromkeys(records))
        if asked:
            self._unanswered[signal] = len(asked)
        else:
            self._nothing_asked.add(signal)
        for name, key, native_id in asked:
            self._held.add((name, key), Waiting(native_id, commit_time, signal=signal))

    def due_in_s(self) -> float | None:
        """How long until something of what waits can be answered; None if nothing waits."""
        due_at = self._held.due_at()
        waits = [max(_DUE_MIN_S, self._doubts.wait_s(name)) for name in self._held.with_put_by]
        if (in_doubt_s := self._doubts.due_in_s()) is not None:
            waits.append(max(_DUE_MIN_S, in_doubt_s))
        if due_at is not None:
            least_s = _DUE_IN_TROUBLE_S if self._troubles.waiting() else _DUE_MIN_S
            waits.append(max(least_s, (due_at + SECOND_MS - self._org.clock.now) / 1000))
        return min(waits, default=None)

    def answer(self, harvest: Harvest) -> None:
        """
        Read what can be read now, and report it.

        Raises RetriableError if something could not be read: then it still waits, and is tried at the next call. So it is without
        an error where an allowance is used up: only what waits for a row waits for that.
        """
        harvest.answered |= self._nothing_asked
        self._nothing_asked = set()
        self._look_at_doubts()
        try:
            self._answer_due(harvest)
        finally:
            self._again.answered(harvest)  # nobody else asked for that

    def _look_at_doubts(self) -> None:
        """Let be read again what could not be told to be deleted, if that can be known by now."""
        for name in self._held.with_put_by:
            if self._doubts.wait_s(name) <= 0:
                self._held.take_up(name)
        for name, records, too_many in self._doubts.back():
            if too_many:
                self._read_whole(name)
            for known in (True, False):
                some = [each for each in records if (each[1] is not None) == known]
                if some:
                    self._again.ask(
                        self._request_again,
                        None,
                        SignalKind.READ,
                        name,
                        keys=tuple(key for key, _ in some),
                        native_ids=tuple(native_id for _, native_id in some if native_id is not None),
                        reason="the user sees all records again",
                    )

    def _request_again(self, signal: Signal) -> None:
        self.request(signal.id, records_of(signal, self._identity), self._org.clock.covered or 0)

    def _answer_due(self, harvest: Harvest) -> None:
        waiting = self._troubles.waiting()
        due_at = self._held.due_at(without=waiting)
        if due_at is None or self._org.clock.now - SECOND_MS < due_at:
            return
        if (self._org.clock.covered or 0) < due_at:
            self._org.look_at_clock()
        batches = self._due(waiting)
        trouble: BaseException | None = None
        for batch, found in zip(batches, self._read_all(batches), strict=True):
            if isinstance(found, BaseException):
                # The others are reported nevertheless: nothing of them is left behind.
                trouble = self._trouble(batch, found) or trouble
            else:
                self._report(batch, found, harvest)
        if trouble is not None:
            raise trouble

    def close(self) -> None:
        """End the threads; return at once."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def _due(self, without: Container[str]) -> list[_Batch]:
        """Take what can be read now: full batches, as many as may be read at the same time, and one that is not full."""
        batches: list[_Batch] = []
        while len(batches) < (AT_ONCE if self._spare() else 1):
            name, due = self._held.due(self._org.clock.covered or 0, IDS_A_QUERY, without=without)
            if due:
                strangers = [each for key, _ in due for each in self._held.naming_strangers((name, key))]
                deleted = frozenset(key for key, _ in due if self._held.tells_deletion((name, key)))
                batches.append(_Batch(name, due, strangers, deleted))
            if len(due) < IDS_A_QUERY:
                break
        return batches

    def _read_all(self, batches: list[_Batch]) -> list[_Found | BaseException]:
        read = partial(self._read_batch, waiting=threading.get_ident(), urgency=asked_as())
        if len(batches) < 2:
            return [read(each) for each in batches]
        if self._threads is None:
            self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="salesforce-reread")
        return list(self._threads.map(read, batches))

    def _read_batch(self, batch: _Batch, waiting: int, urgency: Urgency) -> _Found | BaseException:
        """In any thread, for the one that is *waiting*: it changes nothing that waits."""
        try:
            with on_behalf_of(waiting), during(urgency):
                rows, window, unproved = self._read(batch.name, batch.due)
                unshown = self._readers[batch.name].learn_parents(batch.strangers)
        except BaseException as error:  # noqa: BLE001 -- the waiting thread deals with it
            return error
        return _Found(rows, window, unproved - batch.deleted, unshown, self._doubts.now_s())

    def _report(self, batch: _Batch, found: _Found, harvest: Harvest) -> None:
        name = batch.name
        self._troubles.over(name)
        for key, first in batch.due:
            row = found.rows[key]
            verdict = Verdict.DELETED
            if key in found.unproved:
                verdict = self._doubts.judge((name, key), first.native_id, found.read_at_s)
            if verdict is Verdict.LATER:
                self._held.put_by((name, key))
                continue
            if verdict is Verdict.DELETED:
                harvest.row(name, row)
                self._reads[name].read_records(
                    {row.native_id, first.native_id or row.native_id} - {""}, found.window
                )
            self._settle(name, key, first, found.window, harvest, unshown=found.unshown)

    def _trouble(self, batch: _Batch, error: BaseException) -> BaseException | None:
        """Let the batch wait again. Returns the error, if it is not of this object alone."""
        for key, _ in batch.due:
            self._held.reconsider((batch.name, key))
        if isinstance(error, RequestRejected):
            self._troubles.found(batch.name, error)
            return None
        if isinstance(error, RateLimited):
            return None  # people are told of the allowance; events that wait for no row go on
        try:
            if isinstance(error, RetriableError) and self._is_about_the_object(batch.name, error):
                return None
        except SalmonError as outage:
            return outage
        return error

    def _is_about_the_object(self, name: str, error: RetriableError) -> bool:
        """Whether the org answers, and reading this object has failed for so long that the others go on without it."""
        self._org.look_at_clock()  # in an outage this raises
        return self._troubles.failed(name, error)

    def _settle(
        self,
        name: str,
        key: str,
        first: Waiting,
        window: Window,
        harvest: Harvest,
        *,
        unshown: Container[str],
    ) -> None:
        """
        Answer what the row covers, and report the events behind it that need not wait any more. Those that it covers
        are reported too: one of them may be an edit that a write of ours overwrote before the row was read. *unshown*: objects
        whose keys cannot be learnt: what refers to one of them is left to the row.
        """
        for waiting in self._held.line((name, key)):
            covered = waiting.commit_time <= window.as_of and waiting.native_id in (None, first.native_id)
            change = waiting.change
            waits = (
                change is None
                or waiting.names_stranger
                or self._must_wait(name, waiting.native_id or "", waiting.commit_time)
            )
            if waiting is not first and not covered and waits:
                break
            if change is not None and waiting.names_stranger:
                change = self._by_key(name, change, unshown)
            if change is not None:
                # It came before its record was known to carry a key, perhaps.
                own = self._identity.key(name, waiting.native_id) if waiting.native_id else key
                harvest.records.append(SourceRecord(name, own, change))
            if waiting.signal is not None:
                self._unanswered[waiting.signal] -= 1
                if not self._unanswered[waiting.signal]:
                    del self._unanswered[waiting.signal]
                    harvest.answered.add(waiting.signal)
        self._held.reconsider((name, key))

    def _by_key(self, name: str, change: Change, unshown: Container[str]) -> Change | None:
        """The change with the keys of the records that it refers to, as far as they were learnt; None if they cannot be."""
        fields = dict(change.fields)
        for field in self._readers[name].schema.references:
            value = fields.get(field.name)
            parent = self._identity.told_by_id(field, value) if isinstance(value, str) else None
            if parent is None:
                continue
            if parent[0] in unshown:
                return None
            fields[field.name] = self._identity.reference_key(field, parent[1])
        return replace(change, fields=fields)

    def _read(
        self, name: str, due: Sequence[tuple[str, Waiting]]
    ) -> tuple[Mapping[str, Row | BadRow], Window, frozenset[str]]:
        """A row or an absence for each key; and the keys of absences that the recycle bin does not prove."""
        reader = self._readers[name]
        ids = sorted({waiting.native_id for _, waiting in due if waiting.native_id})
        by_id: dict[str, Row | BadRow] = {}
        windows = []
        if ids:
            live = reader.by_id(ids)
            by_id.update((row.native_id, row) for row in live.rows)
            windows.append(live.window)
        found: dict[str, Row | BadRow] = {}
        for key, waiting in due:
            row = by_id.get(waiting.native_id or "")
            # Under its Id waits also what was reported of a record before it was known to carry a key.
            if row is not None and key in (row.key, row.native_id):
                found[key] = row
        # A key that looks like an Id may be carried as well: by the record that lives on for one that was deleted.
        for keys in key_batches(key for key, _ in due if key not in found):
            carrying = reader.by_key(keys)
            found.update((row.key, row) for row in carrying.rows)
            windows.append(carrying.window)
        # Or nobody carries it any more, and it is the Id itself of a record that was restored.
        own = {key for key, _ in due if key not in found and self._identity.looks_like_id(name, key)}
        if own := own.difference(ids):
            restored = reader.by_id(sorted(own))
            found.update((row.key, row) for row in restored.rows if row.key == row.native_id)
            windows.append(restored.window)
        lost = [(key, waiting) for key, waiting in due if key not in found]
        lost_ids = sorted({waiting.native_id for _, waiting in lost if waiting.native_id} - by_id.keys())
        bin_: dict[str, Row | BadRow] = {}
        if lost_ids:
            deleted = reader.deleted(native_ids=lost_ids, limit=None)
            bin_.update((row.native_id, row) for row in deleted.rows)
            windows.append(deleted.window)
        window = Window(min(known.as_of for known in windows), max(known.until for known in windows))
        unproved = set()
        for key, waiting in lost:
            row = bin_.get(waiting.native_id or "")
            if row is None:
                unproved.add(key)
            deleted_at = row.change.committed_at if isinstance(row, Row) else 0
            # Whichever record was asked for, no other one has the key either.
            found[key] = reader.absent(None, key, window, deleted_at)
        return found, window, frozenset(unproved)


def records_of(signal: Signal, identity: Identity) -> list[tuple[str, str, str | None]]:
    """The records that a signal names, as (object, key, Id if known)."""
    name, ids = signal.object, [id18(native_id) for native_id in signal.native_ids]
    named: list[tuple[str | None, str | None]] = (
        list(zip(signal.keys, ids, strict=True))
        if len(signal.keys) == len(ids)
        else [*((key, None) for key in signal.keys), *((None, native_id) for native_id in ids)]
    )
    records: list[tuple[str, str, str | None]] = []
    for key, native_id in named:
        if key is None and native_id is not None:
            records.append((name, identity.key(name, native_id), native_id))
        elif key is not None:
            records.append((name, key, native_id or identity.likely_id(name, key)))
    return records
