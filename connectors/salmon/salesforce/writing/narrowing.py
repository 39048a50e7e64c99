"""
Updates that the org refuses without naming a field. They are sent in parts, so that one bad field holds up no other.

A validation rule whose message is shown at the top of the page, and a trigger's error on the record, name no field. Then a
part of the fields is DEFERRED. Merge sends the other part at once, as a write of its own, and what was deferred as soon as
that write has an outcome, whatever it is. So each part is an ordinary write, with its own seq, marker, event and outcome, and
nothing of it has to be known after a crash. A part that is refused is divided again. What is refused alone is REFUSED by its
name, and what the org takes is written.

Merge sends a field again as long as its event has not come. So it is remembered what the org took of a record: if the fields
that wait are refused together with these, only those that wait are divided.

Before that the record is saved once without any field, because many rules refuse a record as a whole: if the org refuses
this too, no part of the update would be taken, and all of it is refused at once.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from salmon.model.change import Value, WriteOp
from salmon.model.schema import ObjectSchema
from salmon.plugin.contract import Outcome, OutcomeKind, SinkRecord
from salmon.salesforce.wire.codes import ABOUT_THE_RECORD
from salmon.salesforce.writing.outcomes import Refusal, refused
from salmon.salesforce.writing.references import RecordId

# Merge sends what was deferred when the rest has its outcome. So long it waits if merge has no rest to send.
AGAIN_S: Final = 5.0
_HOUR_S: Final = 3_600.0
# Each costs one call more, and the calls that carry the parts; all records of a batch share them.
_BATCHES_AN_HOUR_MAX: Final = 1_000
_PROGRESS_MAX: Final = 10_000  # records
_PROGRESS_S: Final = 60.0
_SUSPECTS_MAX: Final = 1_000
_RECORD_TYPE: Final = "RecordTypeId"
_PICKLISTS: Final = frozenset({"picklist", "multipicklist"})

Unit = frozenset[str]
K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Nameless:
    """An update that was refused, and no field named. *units*: its fields, those together that are never torn apart."""

    record: SinkRecord
    code: str
    units: tuple[Unit, ...]
    said: str = field(default="", repr=False)  # see Outcome.said


@dataclass(slots=True)
class _Progress:
    """What is known of a record whose updates are sent in parts: it can be saved without any field."""

    at_s: float
    taken: dict[str, bytes] = field(default_factory=dict)  # field -> digest of the value that the org took


class Narrowing:
    """
    What a sink knows of such refusals, from batch to batch.

    Args:
        one_way: Objects of which Salesforce is only the target. Merge keeps no account of what they wait for.
        clock: Seconds that only ever grow.
    """

    def __init__(self, one_way: Collection[str] = (), *, clock: Callable[[], float] = time.monotonic) -> None:
        self._one_way, self._clock = frozenset(one_way), clock
        self._progress: OrderedDict[RecordId, _Progress] = OrderedDict()
        # (object, code) -> what was last refused alone: the next refusal of this kind is probably for the same.
        self._suspects: OrderedDict[tuple[str, str], Unit] = OrderedDict()
        self._hour_began_s, self._batches = clock(), 0

    def nameless(
        self, record: SinkRecord, outcome: Outcome, schema: ObjectSchema, sent: Iterable[str]
    ) -> Nameless | None:
        """The refusal, if it is one of an update with the fields *sent* that is to be narrowed down; else None."""
        if (
            outcome.kind is not OutcomeKind.REFUSED
            or outcome.fields
            or outcome.code in ABOUT_THE_RECORD
            or record.write.op is not WriteOp.UPDATE
            or record.object in self._one_way
        ):
            return None
        found = units(schema, sent)
        return Nameless(record, outcome.code, found, outcome.said) if found else None

    def is_allowed(self, refusals: Collection[Nameless]) -> bool:
        """
        Whether a batch may be narrowed down in this hour. The limit protects the org's allowance of API calls from a refusal
        of very many records that come one by one. What was sent alone costs nothing.
        """
        if all(len(each.units) == 1 for each in refusals):
            return True
        now_s = self._clock()
        if now_s - self._hour_began_s >= _HOUR_S:
            self._hour_began_s, self._batches = now_s, 0
        self._batches += 1
        return self._batches <= _BATCHES_AN_HOUR_MAX

    def must_be_saved(self, each: Nameless) -> bool:
        """Whether it is not known yet that the record can be saved at all."""
        return len(each.units) > 1 and self._progress_of(each.record) is None

    def saved(self, each: Nameless) -> None:
        """The record could be saved without any field."""
        _remember(self._progress, each.record.id, _Progress(self._clock()), _PROGRESS_MAX)

    def took(self, record: SinkRecord) -> None:
        """The org has carried out a write."""
        if (progress := self._progress_of(record)) is not None:
            progress.taken |= {name: _digest(value) for name, value in record.write.fields.items()}
            progress.at_s = self._clock()

    def outcome(self, each: Nameless) -> Outcome:
        """REFUSED by its name, if nothing else can be at fault; else DEFERRED with a part of its fields."""
        kind, written = (each.record.object, each.code), each.record.write.fields
        progress = self._progress_of(each.record)
        taken = progress.taken if progress is not None else {}
        doubtful = [
            unit for unit in each.units if any(taken.get(name) != _digest(written[name]) for name in unit)
        ]
        if not doubtful:
            # The org took each of these values, and does not take them any more.
            return refused(Refusal(each.code, frozenset(), each.said))
        if len(doubtful) == 1:
            _remember(self._suspects, kind, doubtful[0], _SUSPECTS_MAX)
            return refused(Refusal(each.code, doubtful[0], each.said))
        suspect = self._suspects.get(kind, frozenset())
        later = [unit for unit in doubtful if not unit.isdisjoint(suspect)]
        if not 0 < len(later) < len(doubtful):
            later = doubtful[: len(doubtful) // 2]
        return Outcome(
            OutcomeKind.DEFERRED,
            fields=frozenset[str]().union(*later),
            code=each.code,
            reason="Salesforce refused the fields of a write together and named none of them, so they are sent in parts",
            again_s=AGAIN_S,
        )

    def _progress_of(self, record: SinkRecord) -> _Progress | None:
        progress = self._progress.get(record.id)
        if progress is None or self._clock() - progress.at_s > _PROGRESS_S:
            return None
        return progress


def units(schema: ObjectSchema, names: Iterable[str]) -> tuple[Unit, ...]:
    """
    The fields, in the schema's order, as they may be sent apart. The parts of a compound (of an address, of a person's name)
    stay together, and so do the record type and all picklists: it decides which of their values are valid.
    """
    sent = frozenset(names)
    groups: dict[str, set[str]] = {}
    for each in schema.fields:
        if each.name in sent:
            of_type = _RECORD_TYPE in sent and (
                each.name == _RECORD_TYPE or (each.type in _PICKLISTS and not each.compound)
            )
            name = _RECORD_TYPE if of_type else each.compound or each.name
            groups.setdefault(name, set()).add(each.name)
    return tuple(frozenset(group) for group in groups.values())


def _digest(value: Value) -> bytes:
    return hashlib.blake2b(repr(value).encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _remember(known: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    known[key] = value
    known.move_to_end(key)
    if len(known) > most:
        known.popitem(last=False)
