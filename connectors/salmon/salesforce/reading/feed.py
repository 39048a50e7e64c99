"""
What the source reports, and in which order: the stream's events, and between them the rows that are read meanwhile.

Rules:
- The stream's position is known before the first row is read; where it takes minutes, all is read again when it is (see beginning).
- An event that may or may not be in its record's row already is answered by reading the record again.
- After a hole, the first event of a record is preceded by its row.
- The position that is stored is never past an event that has not been reported.
- An org with another Id than before is of another history (a sandbox that was refreshed): all is read again, and each change
  says of which history it is.
One thread calls it; the stream and the snapshots fill their queues from theirs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog

from salmon.errors import PositionLost, RetriableError
from salmon.plugin.contract import (
    IdentityRecord,
    Position,
    Signal,
    SignalKind,
    SnapshotProgress,
    SourceRecord,
)
from salmon.salesforce.catalog import STAMP, SyncedObject
from salmon.salesforce.identity import Identity
from salmon.salesforce.reading.doubts import Doubts
from salmon.salesforce.reading.draft import Harvest
from salmon.salesforce.reading.intake import EVENTS_A_POLL, Decoded, Intake
from salmon.salesforce.reading.parents import Parents
from salmon.salesforce.reading.polling import reads_of
from salmon.salesforce.reading.rereads import Rereads, records_of
from salmon.salesforce.reading.snapshot_runs import ReadsWhole, Runs, Schedule
from salmon.salesforce.reading.stream.beginning import NO_PLACE, Beginning
from salmon.salesforce.reading.stream.events import EventId, Report, Told, understood
from salmon.salesforce.reading.stream.history import History
from salmon.salesforce.reading.stream.subscription import Ended, Preset, Start, Stream, start_at
from salmon.salesforce.reading.stream.waiting_events import KEYS_MAX, Held, Waiting
from salmon.salesforce.reading.whole.rows import RowReader
from salmon.salesforce.reading.whole.snapshot import Org
from salmon.salesforce.troubles import Troubles
from salmon.salesforce.wire.clock import SECOND_MS
from salmon.salesforce.wire.pubsub_api.pubsub import EventSchema

log = structlog.get_logger(__name__)

IDENTITIES_A_POLL: Final = 5_000
SETTLE_S: Final = 5.0
STREAM: Final = "stream"  # the partition of the source's position that the stream's is
# Requests are answered in the stream's order: what was committed before one has come when its row is read.
_ASKED_MARGIN_MS: Final = SECOND_MS


class Feed:
    """What is reported over one connection. Each start of the source task makes a new one."""

    def __init__(
        self,
        *,
        org: Org,
        objects: Mapping[str, SyncedObject],
        whole: Mapping[str, frozenset[str]],
        readers: Mapping[str, RowReader],
        identity: Identity,
        load_identities: Callable[[], None],
        open_stream: Callable[[Start], Stream],
        schema_of: Callable[[str], EventSchema],
        snapshots: ReadsWhole,
        our_user: str,
        positions: Mapping[str, Position],
        troubles: Troubles | None = None,
        schedule: Schedule | None = None,
        doubts: Doubts | None = None,
        org_id: Callable[[], str] = lambda: "",
        fields_of: Callable[[str], Mapping[str, str]] = lambda _: {},
        settle_s: float = SETTLE_S,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            org: For its clock.
            objects, readers, identity: What is synced, how it is read, and the keys of it.
            whole: The objects whose records are reported too, and not their events alone; each with what is told of them.
            load_identities: Reads every key that records of the org carry into *identity*.
            open_stream: Subscribes from a position on.
            schema_of: The event schema of a schema id.
            snapshots: Reads whole objects.
            our_user: The Id of the user that Salmon writes as.
            positions: As they were stored.
            troubles: The objects that the org refuses; shared with the snapshots.
            schedule: What is read again and again. If an event of an object comes that is polled, it is ignored.
            doubts: Absences that nothing proves.
            org_id: The Id of the org that we are signed in to.
            fields_of: The fields that an object has now, with their types.
            settle_s: How long the first position is waited for; see `_arrived`.
            monotonic_s: A clock for that waiting.
        """
        self._org = org
        self._objects = objects
        self._identity = identity
        self._load_identities = load_identities
        self._open_stream = open_stream
        self._our_user = our_user
        self._settle_s = settle_s
        self._monotonic_s = monotonic_s

        stored = positions.get(STREAM)
        self._history = History(org_id, stored, objects)
        # The Id of each object's selection for change events, as far as it could be seen.
        self._selected: dict[str, str] = dict(stored.get("selected", {})) if stored is not None else {}
        is_another = self._history.is_another()
        if is_another:
            stored = None  # nothing in it is of this org
        # It was there once: that is a hole, and no first start.
        was_forgotten = is_another or (stored is None and bool(positions))
        self._doubts = doubts or Doubts(None, {})
        if stored is None:
            self._doubts.forget()
            positions = {}  # rows without the stream that goes on after them say nothing
        schedule = schedule or Schedule()
        self._polled = schedule.polled
        self._reads = reads_of(objects, self._polled, positions)
        self._runs = Runs(
            org,
            snapshots,
            self._reads,
            identity,
            whole=whole,
            positions=positions,
            schedule=schedule,
            monotonic_s=monotonic_s,
        )
        self._held = Held()
        self._troubles = troubles or Troubles()
        self._rereads = Rereads(
            org=org,
            readers=readers,
            reads=self._reads,
            held=self._held,
            identity=identity,
            must_wait=self._must_wait,
            troubles=self._troubles,
            doubts=self._doubts,
            read_whole=lambda name: self._fall_into_hole(name, 0),
            spare=schedule.spare,
        )
        parents = Parents(
            objects=objects,
            readers=readers,
            reads=self._reads,
            held=self._held,
            identity=identity,
            troubles=self._troubles,
            our_user=our_user,
            monotonic_s=monotonic_s,
        )
        self._parents = parents
        self._intake = Intake(objects, objects.keys() - self._polled.keys(), schema_of, fields_of, parents)
        self._snapshots = [each for each in (snapshots, schedule.polls) if each is not None]
        self._identities_due = True
        self._has_begun = False
        # Where the stream is to go on, as hex; NO_PLACE: see beginning. None: nothing was read yet.
        self._place: str | None = None if stored is None else stored["replay_id"]
        self._stored_place = self._place or None  # NO_PLACE is stored again, with its time
        self._stored_selected = dict(self._selected)
        # Of the latest event that was ever received.
        self._commit_time: int = 0 if stored is None else stored["commit_time"]
        # Of the latest event that was reported or waits here. After a restart, those that waited are received again.
        self._taken_up_to: int = 0 if stored is None else stored.get("told_up_to", 0)
        self._lost = was_forgotten
        self._beginning = Beginning(stored)
        self._arriving_since: float | None = None if self._place else monotonic_s()
        self._stream = open_stream(start_at(self._place or None))

    def gather(self) -> Harvest:
        """
        What there is to report now, perhaps nothing.

        Raises RetriableError where the org could not be asked: the next call tries again. What was taken in before is told first.
        """
        harvest = Harvest()
        try:
            self._gather(harvest)
        except RetriableError:
            if not harvest:
                raise
            # What is reported goes with the windows and keys that belong to it, or a kill would part them.
            self._add_identities(harvest, None)
            self._add_positions(harvest)
        harvest.records = self._history.marked(harvest.records)
        return harvest

    def _gather(self, harvest: Harvest) -> None:
        if self._arriving_since is not None and not self._arrived(self._arriving_since):
            return
        if self._place == NO_PLACE:
            self._take_first_position()
        if self._identities_due:
            self._load_identities()
            self._identities_due = False
        self._add_identities(harvest, IDENTITIES_A_POLL)
        if len(harvest.identities) == IDENTITIES_A_POLL:
            return
        if not self._has_begun:
            # Before the first event is reported: what it covers must be reported by rows alone.
            self._runs.begin_first(self._commit_time, self._reported_up_to())
            for name in self._objects:
                # Perhaps its events do not come meanwhile. This is stored, so it is also read again if the process restarts.
                if self._troubles.blocks(name):
                    self._runs.fall_into_hole(name, self._commit_time, 0)
            self._has_begun = True
        self._rereads.answer(harvest)
        if self._place != NO_PLACE:
            self._take_stream(harvest)
        self._runs.begin_due()
        self._runs.take(harvest)
        self._add_identities(harvest, None)
        self._add_positions(harvest)

    def wait_s(self) -> float | None:
        """For how long there is nothing to do if nothing comes in; None: for ever."""
        if self._arriving_since is not None:
            return max(0.0, self._arriving_since + self._settle_s - self._monotonic_s())
        due = [each for each in (self._rereads.due_in_s(), self._runs.due_in_s()) if each is not None]
        return min(due, default=None)

    def request(self, signal: Signal) -> None:
        """Take a request; a later harvest answers it."""
        asked_at = self._org.clock.now + _ASKED_MARGIN_MS
        not_before = max(asked_at - asked_at % SECOND_MS, self._commit_time)
        if signal.object not in self._objects:
            log.warning("signal_for_an_object_that_is_not_synced", object=signal.object, id=signal.id)
            self._rereads.request(signal.id, (), not_before)
        elif signal.kind is SignalKind.SNAPSHOT:
            self._runs.want(signal.object, signal.id, not_before)
        else:
            self._rereads.request(signal.id, records_of(signal, self._identity), not_before)

    def read_again(self, name: str) -> None:
        """Read the whole object and its keys again: events of it may not have come."""
        self._selected.pop(name, None)  # it may be selected again by now: that is made up for
        self._fall_into_hole(name, 0)

    def selected(self, ids: Mapping[str, str]) -> None:
        """Take the Ids of the objects' selections. Another one than before: for a time, events were not published."""
        for name, selection in ids.items():
            if self._selected.get(name, selection) != selection:
                log.warning("object_was_deselected_meanwhile", object=name)
                self._fall_into_hole(name, 0)  # since when, nobody knows: the events of others went on
            self._selected[name] = selection

    def progress(self) -> list[SnapshotProgress]:
        """How far the reading of whole objects has come."""
        return self._runs.progress()

    @property
    def note(self) -> str:
        """What a person should know, though all is well."""
        return self._history.note

    def close(self) -> None:
        """End the stream and the snapshots; return at once."""
        self._stream.close()
        self._rereads.close()
        for each in self._snapshots:
            each.close()

    # The stream's first position, and the first after a lost one.

    def _arrived(self, since_s: float) -> bool:
        """
        Whether anything may be read by now: LATEST is settled when its first response comes, and not before; see beginning.

        An event that comes first is older than the first rows, and so is the rest of it, if it was split.
        """
        if self._take_first_position():
            return True
        if self._monotonic_s() < since_s + self._settle_s:
            return False
        self._org.look_at_clock()
        self._arriving_since = None
        if self._place is None:
            self._place = NO_PLACE
            self._beginning.begins(self._org.clock.covered)
        log.info("records_read_before_the_stream_has_a_position")
        if self._lost:
            self._lost = False
            self._read_all_again(self._reported_up_to())
        return True

    def _take_first_position(self) -> bool:
        """Take it from the stream's first response, if that has come. What was read before is read again."""
        first = self._stream.peek()
        if isinstance(first, Ended):
            raise first.error
        if first is not None and first.first_place:
            self._org.look_at_clock()
        if first is not None and not first.events:
            self._stream.pop()
        if first is None or not first.first_place:
            return False
        was_read, self._place = self._place == NO_PLACE, first.first_place.hex()
        self._arriving_since, self._identities_due = None, True
        log.info("stream_position_taken", rows_were_read_before=was_read)
        if self._lost or was_read:
            self._lost = False
            self._read_all_again(self._beginning.since if was_read else self._reported_up_to())
        return True

    def _read_all_again(self, reported_up_to: int) -> None:
        for name, one in self._objects.items():
            self._runs.fall_into_hole(name, self._commit_time, reported_up_to, window=STAMP in one.names)

    def _lose_position(self, error: PositionLost) -> None:
        """Take a new position; when it is known, everything is read again."""
        if self._history.is_another():
            self._commit_time = self._taken_up_to = 0  # by another org's clock
            self._selected.clear()
        log.error("stream_position_lost", error=str(error))
        self._stream.close()
        self._stream = self._open_stream(Preset.LATEST)
        self._place = None
        self._lost = True
        self._arriving_since = self._monotonic_s()
        self._held.detach()

    # Events.

    def _take_stream(self, harvest: Harvest) -> None:
        received_events = 0
        self._forget_events_that_stop_the_stream()
        while received_events < EVENTS_A_POLL and not self._held.with_keys(KEYS_MAX):
            response = self._intake.peek(self._stream, keys_are_due=self._identities_due)
            if response is None:
                break
            if isinstance(response, Ended):
                try:
                    if not isinstance(response.error, PositionLost):
                        raise response.error
                    self._lose_position(response.error)
                except Exception:
                    if not harvest:
                        raise  # else the next call meets it again
                return
            for each in response.events:
                self._take_event(each, harvest)
            self._intake.pop()
            received_events += response.received
            # Only between responses: several events may share one replay id.
            self._place = response.place.hex() or self._place
        self._forget_events_that_stop_the_stream()
        for reads in self._reads.values():
            reads.passed(self._commit_time)

    def _forget_events_that_stop_the_stream(self) -> None:
        """
        An object that the org refuses for long, or that cannot be read, would stop the stream for all others while its events
        come. Read it again as a whole instead, when that works. One that is only the target of a sync is not read.
        """
        for name in self._held.with_keys(KEYS_MAX):
            reported_up_to = self._reported_up_to()
            if self._troubles.sentence_of(name) and self._held.forget_events(name):
                self._fall_into_hole(name, reported_up_to)

    def _take_event(self, taken: Decoded, harvest: Harvest) -> None:
        name = taken.schema.layout.object
        if taken.payload is None:
            self._fall_into_hole(name)
            return
        report = self._understood(taken, taken.payload)
        self._commit_time = max(self._commit_time, report.commit_time)
        self._taken_up_to = max(self._taken_up_to, report.commit_time)
        self._org.clock.passed(report.commit_time)
        if report.whole:
            self._fall_into_hole(name)
        for told in report.told:
            if report.key is not None and report.key != told.native_id:
                self._identity.learn_from_event(name, told.native_id, report.key)
            self._report_record(name, told, report.commit_time, harvest)

    def _understood(self, taken: Decoded, payload: Mapping[str, Any]) -> Report:
        layout = taken.schema.layout
        return understood(
            payload,
            EventId(taken.event.replay_id, taken.event.event.id),
            layout=layout,
            schema=self._objects[layout.object].schema,
            identity=self._identity,
            our_user=self._our_user,
        )

    def _report_record(self, name: str, told: Told, commit_time: int, harvest: Harvest) -> None:
        if self._runs.is_reported_already(name, commit_time):
            return
        record = name, self._identity.key(name, told.native_id)
        strange = self._parents.has_stranger(name, told.change, keys_are_due=self._identities_due)
        change = None if strange else told.change
        if change is None or record in self._held or self._must_wait(name, told.native_id, commit_time):
            kept = Waiting(
                told.native_id, commit_time, told.change, names_stranger=strange, before=self._place
            )
            self._held.add(record, kept)
        else:
            harvest.records.append(SourceRecord(name, record[1], change))

    def _must_wait(self, name: str, native_id: str, commit_time: int) -> bool:
        """Whether an event may not be reported before its record is read (again)."""
        return self._runs.row_comes_first(name, native_id) or self._reads[name].unsure(native_id, commit_time)

    def _fall_into_hole(self, name: str, reported_up_to: int | None = None) -> None:
        up_to = self._reported_up_to() if reported_up_to is None else reported_up_to
        self._runs.fall_into_hole(name, self._commit_time, up_to)
        self._identities_due = True

    def _reported_up_to(self) -> int:
        """
        When the latest event was committed before which none waits, in memory or behind the stored place: what was
        deleted before then has been reported.
        """
        oldest = self._held.oldest_event()
        return self._taken_up_to if oldest is None else min(self._taken_up_to, oldest)

    # What goes along.

    def _add_identities(self, harvest: Harvest, limit: int | None) -> None:
        harvest.identities.extend(IdentityRecord(*news) for news in self._identity.news(limit))

    def _add_positions(self, harvest: Harvest) -> None:
        place = self._held.position if self._held.holds_position else self._place
        if place is not None and (place, self._selected) != (self._stored_place, self._stored_selected):
            harvest.positions[STREAM] = {
                "replay_id": place,
                "commit_time": self._commit_time,
                "told_up_to": self._reported_up_to(),
                **self._history.to_position(),
                "selected": dict(self._selected),
                **self._beginning.to_position(place),
            }
            self._stored_place, self._stored_selected = place, dict(self._selected)
        self._runs.add_positions(harvest)
        self._doubts.add_positions(harvest)
        for name, reads in self._reads.items():
            if reads.changed:
                harvest.positions[f"reads/{name}"] = reads.to_position()
