"""What sinks owe merge: the newest write of each key, once, and never over what nobody has read."""

from __future__ import annotations

from typing import Final

from support.proof.mutants import Mutant

SINKS: Final = (
    # Coalescing.
    Mutant(
        "a tombstone does not take back what waits",
        "2: a tombstone when the key owes that side nothing",
        "sink.buffer",
        "                if slot is not None and slot.waiting is not None:\n",
        "                if False:\n",
    ),
    Mutant(
        "the older of two commands is carried out",
        "6: coalesce to the newest command per key",
        "sink.buffer",
        "            slot.waiting, slot.tries, slot.delayed = command, 0, False\n",
        "            slot.waiting = slot.waiting or command\n",
    ),
    Mutant(
        "what is put again overtakes a newer command",
        "6: keep order per key; a later write supersedes all earlier ones of its key",
        "sink.buffer",
        "        slot = self._landed(command)\n        if slot.waiting is not None:\n",
        "        slot = self._landed(command)\n        if False:\n",
    ),
    Mutant(
        "an outcome names no write",
        "3: outcomes of the write ack, which only sinks make",
        "sink.reporting",
        "        ack=write.seq,\n        # An outcome",
        "        ack=0,\n        # An outcome",
    ),
    Mutant(
        "an outcome does not name the fields at fault",
        "3: REFUSED (for good; with the fields at fault)",
        "sink.reporting",
        "        changed=outcome.fields or None,\n",
        "        changed=None,\n",
    ),
    # MongoDB.
    Mutant(
        "MongoDB: an older write is carried out over a newer one",
        "6: a write applies only if its seq is newer than _salmon.seq",
        "mongodb.writing.unique_values",
        '        return {"_id": document_id, SEQ_PATH: older, **form}\n    marker: Document = {"$lt": Int64(write.seq)}\n',
        '        return {"_id": document_id, **form}\n    marker: Document = {"$gte": Int64(0)}\n',
    ),
    Mutant(
        "MongoDB: a create over the unread",
        "6: never create or overwrite what nobody has read: a CREATE of one that is there without our marker: EXISTS",
        "mongodb.writing.delivery",
        "        elif marker is None or marker >= _bound(write):\n            outcomes[key] = _EXISTS\n",
        "        elif marker is None:\n            operations[key] = UpdateOne(\n"
        '                {"_id": id_of(key)}, shape.whole_update(write.fields, write.seq)\n            )\n',
    ),
    Mutant(
        "MongoDB: a create that is repeated overwrites",
        "6: idempotent: where the key exists with this or a newer marker, it was done",
        "mongodb.writing.delivery",
        "        elif marker >= write.seq:\n            outcomes[key] = APPLIED if marker == write.seq else SKIPPED\n",
        "        elif marker >= write.seq:\n            operations[key] = UpdateOne(\n"
        '                {"_id": id_of(key)}, shape.whole_update(write.fields, write.seq)\n            )\n',
    ),
    Mutant(
        "MongoDB: a create over our own leaves what it does not name",
        "6: where the key exists with a marker it becomes the guarded UPDATE (of all fields)",
        "mongodb.writing.delivery",
        "            update = shape.whole_update(fields, write.seq, knows)\n",
        "            update = shape.update(fields, write.seq)\n",
    ),
    Mutant(
        "MongoDB: a create over our own clears fields that its writer did not know",
        "4a: of a field that the writer did not know, a CREATE says nothing, and so does the sink that carries it out",
        "mongodb.writing.delivery",
        "            update = shape.whole_update(fields, write.seq, knows)\n",
        "            update = shape.whole_update(fields, write.seq)\n",
    ),
    Mutant(
        "MongoDB: a create over our own goes over what was edited since",
        "6: where an earlier CREATE on its way has made the document, it becomes an update of the fields in which they differ",
        "plugin.guard",
        "    if write.differs is None or marker < write.expected:\n",
        "    if True:\n",
    ),
    Mutant(
        "MongoDB: a create changes only what differs from those on their way, whoever made the document",
        "6: where an earlier CREATE on its way has made the document, it becomes an update of the fields in which they differ",
        "plugin.guard",
        "    if write.differs is None or marker < write.expected:\n",
        "    if write.differs is None:\n",
    ),
    Mutant(
        "a write of an older schema speaks of all fields",
        "4a: of a field that the writer did not know, a CREATE says nothing",
        "kafka.codecs.serdes",
        "            self._known[writer] = None if self._fields.keys() <= known else known | OWNED_BY_MERGE\n",
        "            self._known[writer] = None\n",
    ),
    Mutant(
        "a write does not tell which fields it leaves alone",
        "4a: of a field that an earlier CREATE on its way did not know, a CREATE says nothing where it does not set it",
        "kafka.codecs.serdes",
        "        if not lacks:\n            return known\n",
        "        return known\n",
    ),
    Mutant(
        "MongoDB: a delete without a look at the marker",
        "6: a DELETE applies only where the marker is not older than expected",
        "mongodb.writing.delivery",
        "            return DeleteOne(guard(document_id, write, shape.mark))\n",
        '            return DeleteOne({"_id": document_id})\n',
    ),
    Mutant(
        "MongoDB: a delete of another life",
        "6: a DELETE applies only where the marker is not older than expected: it lives another life, and is EXISTS",
        "mongodb.writing.unique_values",
        '        marker["$gte"] = Int64(write.expected)\n',
        "        pass\n",
    ),
    Mutant(
        "MongoDB: an update that creates",
        "6: an UPDATE of a record that is gone: GONE",
        "mongodb.writing.delivery",
        "return UpdateOne(guard(document_id, write, shape.mark), shape.update(write.fields, write.seq))",
        "return UpdateOne(guard(document_id, write, shape.mark), shape.update(write.fields, write.seq), upsert=True)",
    ),
    Mutant(
        "MongoDB: an update of another life",
        "6: expected: a document whose marker is gone lives another life, and is EXISTS",
        "mongodb.writing.delivery",
        "            return UpdateOne(guard(document_id, write, shape.mark), shape.update(write.fields, write.seq))\n",
        '            return UpdateOne({"_id": document_id}, shape.update(write.fields, write.seq))\n',
    ),
    Mutant(
        "MongoDB: a value that its holder gives up is refused",
        "4a: a refusal belongs to the record that can mend it",
        "mongodb.writing.unique_values",
        "            if holder.key is None or not self._gives_up(holder.key, holder):\n",
        "            if True:\n",
    ),
    Mutant(
        "MongoDB: circles are not swapped",
        "4a: what waits for each other in a circle is carried out together",
        "mongodb.writing.unique_values",
        "        if circle is not None and self._swap(circle):\n",
        "        if False:\n",
    ),
    Mutant(
        "MongoDB: a step on the way to a write is taken for an edit",
        "4a: a consequence of our own write is no edit",
        "mongodb.reading.events",
        '    if update.is_step and "txnNumber" in event:\n',
        "    if False:\n",
    ),
    Mutant(
        "Salesforce: circles are not opened",
        "4a: what waits for each other in a circle is carried out together",
        "salesforce.writing.delivery",
        "            if unique.is_circle(clash):\n",
        "            if False:\n",
    ),
    Mutant(
        "a unique value is refused at once",
        "4a: a refusal that depends on another record is not final while merge may still judge what frees it",
        "plugin.clashes",
        "            if now - since >= self._final_after_s:\n",
        "            if True:\n",
    ),
    Mutant(
        "MongoDB: what is gone is taken for done",
        "6: an UPDATE of a record that is gone: GONE",
        "mongodb.writing.delivery",
        "    if not is_there:\n        return _GONE\n",
        "    if not is_there:\n        return APPLIED\n",
    ),
    # Salesforce.
    Mutant(
        "Salesforce: nobody looks after a restart",
        "6: it reads the markers first where a repetition is possible, and skips what is older",
        "salesforce.writing.sink",
        "return _id(record) in self._doubted or (self._unclean and _id(record) not in self._sure)",
        "return False",
    ),
    Mutant(
        "Salesforce: an older write is carried out over a newer one",
        "6: it reads the markers first where a repetition is possible, and skips what is older",
        "salesforce.writing.markers",
        "    if seq >= write.seq:\n",
        "    if False:\n",
    ),
    Mutant(
        "Salesforce: a create over the unread",
        "6: never create or overwrite what nobody has read: a CREATE of one that is there without our marker: EXISTS",
        "salesforce.writing.markers",
        "    if write.op is WriteOp.CREATE and found.seq is None:\n",
        "    if False:\n",
    ),
    Mutant(
        "Salesforce: a record is created a second time under its own Id",
        "6: never create what nobody has read: a record born in Salesforce carries no key",
        "salesforce.writing.delivery",
        "            if job.index in own and lives[job.id] is not None:\n",
        "            if False:\n",
    ),
    Mutant(
        "Salesforce: a delete without a look at the marker",
        "6: it reads the markers first before deletes",
        "salesforce.writing.delivery",
        "        return job.op is WriteOp.DELETE or job.native_id is None\n",
        "        return job.native_id is None\n",
    ),
    Mutant(
        "Salesforce: a delete of another life",
        "6: a DELETE applies only where the marker is not older than expected: it lives another life, and is EXISTS",
        "salesforce.writing.markers",
        "    if write.op is WriteOp.DELETE and seq < write.expected:\n",
        "    if False:\n",
    ),
    Mutant(
        "Salesforce: what is gone is created by an update",
        "6: an UPDATE of a record that is gone: GONE",
        "salesforce.writing.markers",
        "return None if write.op is WriteOp.CREATE else Outcome(OutcomeKind.GONE",
        "return None if write.op is not WriteOp.DELETE else Outcome(OutcomeKind.GONE",
    ),
    Mutant(
        "Salesforce: the marker is not set",
        "5: a marker field, set by every write of ours, gives ack exactly",
        "salesforce.writing.delivery",
        "            self._schemas[job.record.object].markers.seq: job.record.write.seq,\n",
        "            **({self._schemas[job.record.object].markers.seq: job.record.write.seq} if job.op is WriteOp.CREATE else {}),\n",
    ),
)
