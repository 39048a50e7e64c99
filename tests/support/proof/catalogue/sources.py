"""What sources owe merge: rows and events in an order that it can judge."""

from __future__ import annotations

from typing import Final

from support.proof.mutants import Mutant

SOURCES: Final = (
    # Salesforce.
    Mutant(
        "an event inside a window is told as an event",
        "5: an event of a chunk committed inside its window is answered by reading the record again",
        "salesforce.reading.feed",
        "return self._runs.row_comes_first(name, native_id) or self._reads[name].unsure(native_id, commit_time)",
        "return self._runs.row_comes_first(name, native_id)",
    ),
    Mutant(
        "events after a hole come before the re-read",
        "5: after a hole, a key's first event is preceded by its row",
        "salesforce.reading.feed",
        "return self._runs.row_comes_first(name, native_id) or self._reads[name].unsure(native_id, commit_time)",
        "return self._reads[name].unsure(native_id, commit_time)",
    ),
    Mutant(
        "events overtake those of their key that wait",
        "5: an event of a key that has not been re-read yet waits for that read, and those behind it",
        "salesforce.reading.feed",
        "is None or record in self._held or self._must_wait(",
        "is None or self._must_wait(",
    ),
    Mutant(
        "the position is stored past events that wait",
        "5: positions and records are produced in one transaction: nothing that was not told is passed",
        "salesforce.reading.feed",
        "        place = self._held.position if self._held.holds_position else self._place\n",
        "        place = self._place\n",
    ),
    Mutant(
        "windows are forgotten at a restart",
        "5: the source remembers each chunk's window (as_of, read until]",
        "salesforce.reading.polling",
        'Reads.from_position(positions.get(f"reads/{name}"))',
        "Reads.from_position(None)",
    ),
    Mutant(
        "a window is forgotten before the stream has passed it",
        "5: the source remembers each chunk's window (as_of, read until]",
        "salesforce.reading.windows",
        "        self.ranges = [known for known in self.ranges if known.window.until >= commit_time]\n",
        "        self.ranges = []\n",
    ),
    Mutant(
        "a window ends with the read's own second",
        "5: committed while a chunk was being read: may or may not be in its rows",
        "salesforce.wire.clock",
        "        return date_ms + int(took_s * 1000) + SECOND_MS\n",
        "        return date_ms + int(took_s * 1000)\n",
    ),
    Mutant(
        "a row claims the second that is not over",
        "5: as_of: the Date header of an earlier response, less one second",
        "salesforce.wire.clock",
        "        return None if seen is None else seen.date_ms - SECOND_MS\n",
        "        return None if seen is None else seen.date_ms\n",
    ),
    Mutant(
        "a record is read again before the clock has passed the event",
        "5: reading the record again, once that side's clock has passed the event",
        "salesforce.reading.rereads",
        "        if due_at is None or self._org.clock.now - SECOND_MS < due_at:\n            return\n"
        "        if (self._org.clock.covered or 0) < due_at:\n            self._org.look_at_clock()\n"
        "        name, due = self._held.due(self._org.clock.covered or 0, IDS_A_QUERY, without=waiting)\n",
        "        if due_at is None:\n            return\n"
        "        name, due = self._held.due(1 << 62, IDS_A_QUERY)\n",
    ),
    Mutant(
        "what waits of a blocked object keeps the others from the clock",
        "6: an object that the org refuses waits, and the others go on",
        "salesforce.reading.rereads",
        "self._held.due_at(without=waiting)",
        "self._held.due_at()",
    ),
    Mutant(
        "an event that names a parent of unknown key is left to its row",
        "3: an Id that is not known is read before it is published; 5: no event's content is lost for it",
        "salesforce.reading.rereads",
        "                change = self._by_key(name, change, unshown)\n",
        "                change = None\n",
    ),
    Mutant(
        "an event tells the Id of a parent whose key was not learnt",
        "3: an Id that is not known is read before it is published",
        "salesforce.reading.rereads",
        "            if target in unshown:\n                return None\n",
        "",
    ),
    Mutant(
        "the absence of a key is that of a former record",
        "5: who is asked to read a key tells its row, or that nobody has it",
        "salesforce.reading.rereads",
        "reader.absent(None, key, window, deleted_at)",
        "reader.absent(waiting.native_id, key, window, deleted_at)",
    ),
    Mutant(
        "after a hole nothing is read anew",
        "5: after a hole the lost window is read anew, absences included",
        "salesforce.reading.snapshot_runs",
        "        self._begin(\n            Run(\n                name,\n                Why.HOLE,",
        "        self._runs[name] = (\n            Run(\n                name,\n                Why.HOLE,",
    ),
    Mutant(
        "after a hole absences are not told",
        "5: the lost window is read anew, absences included",
        "salesforce.reading.snapshot",
        "        if run.absences or run.why is Why.FIRST or ",
        "        if True or ",
    ),
    Mutant(
        "a key dies with the record that carried it before",
        "3: identity: a key that another record carries by now does not die with the one that was deleted",
        "salesforce.reading.snapshot_runs",
        "            if not run.absences or self._identity.native_id(name, row.key) in (None, row.native_id):\n",
        "            if True:\n",
    ),
    Mutant(
        "a field that is added is not read",
        "5: what a position has passed by is read anew",
        "salesforce.reading.snapshot_runs",
        "            elif not fields <= run.covers:\n",
        "            elif False:\n",
    ),
    Mutant(
        "an object that is put back is not read",
        "5: what a position has passed by is read anew, absences included",
        "salesforce.reading.snapshot_runs",
        "            elif not run.covers:\n",
        "            elif False:\n",
    ),
    Mutant(
        "events that a row after a hole has covered are not told",
        "no lost causal edit: a row does not show an edit that our write overwrote",
        "salesforce.reading.snapshot_runs",
        "            return run.since is not None and commit_time < run.since\n",
        "            return commit_time <= run.began\n",
    ),
    Mutant(
        "an old event gives a key back to the record that carried it before",
        "3: identity: a key that another record carries by now does not die with the one that was deleted",
        "salesforce.identity",
        "        self._ids[name].setdefault(key, native_id)\n",
        "        self._ids[name][key] = native_id\n",
    ),
    Mutant(
        "what waits counts as told",
        "5: after a hole the lost window is read anew, absences included",
        "salesforce.reading.feed",
        "        return self._taken_up_to if oldest is None else min(self._taken_up_to, oldest)\n",
        "        return self._taken_up_to\n",
    ),
    Mutant(
        "a second hole forgets what the first has hidden",
        "5: after a hole the lost window is read anew, absences included",
        "salesforce.reading.snapshot_runs",
        "                since = None if given_up.since is None else min(since, given_up.since)\n",
        "                pass\n",
    ),
    # MongoDB.
    Mutant(
        "MongoDB: what was passed by is not read",
        "5: what a position has passed by is read anew",
        "mongodb.reading.snapshot",
        "        if covers <= self.covers:\n",
        "        if True:\n",
    ),
    Mutant(
        "a saved document acknowledges",
        "5: a replace never has an ack: an application that saves whole documents copies the marker",
        "mongodb.reading.events",
        'event["fullDocument"], op=Op.UPDATE, ack=None)',
        'event["fullDocument"], op=Op.UPDATE, ack=marker_of(event["fullDocument"]))',
    ),
    Mutant(
        "an insert does not acknowledge",
        "5: an insert that carries _salmon.seq has that ack",
        "mongodb.reading.events",
        "document, op=Op.CREATE, ack=marker_of(document))",
        "document, op=Op.CREATE, ack=None)",
    ),
    Mutant(
        "an update does not acknowledge",
        "5: an update whose updatedFields holds _salmon.seq has that ack",
        "mongodb.reading.events",
        "        elif path == SEQ_PATH:\n            self.ack = seq_of(shown)\n",
        "        elif path == SEQ_PATH:\n            pass\n",
    ),
    Mutant(
        "the first marker of a document does not acknowledge",
        "5: an update whose updatedFields holds _salmon.seq has that ack",
        "mongodb.reading.events",
        "            self.ack = seq_of(shown.get(SEQ)) if isinstance(shown, Mapping) else None\n",
        "            pass\n",
    ),
    Mutant(
        "a removed field is not told",
        "5: removed fields",
        "mongodb.reading.events",
        '    for path in description["removedFields"]:\n',
        '    for path in description["removedFields"][:0]:\n',
    ),
    Mutant(
        "a row of MongoDB does not show its marker",
        "2: for a row, the ack is the marker it carries",
        "mongodb.reading.events",
        "        as_of=as_of,\n        ack=marker_of(document),\n",
        "        as_of=as_of,\n",
    ),
)
