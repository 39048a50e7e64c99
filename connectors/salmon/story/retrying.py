"""
Finds what was refused or could not be synced, and has it tried again after the reason is removed.

Merge's states show what was refused; the reports in `changes` show since when. For a refused write, this module writes an
operator's change, and merge sends the write again. A value that could not be synced is read again by its source (e.g.
because the topic accepts larger records now). So it is safe to ask twice, and the processes need not run at the moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import Message

from salmon.errors import ConfigError, DataError
from salmon.kafka import scans
from salmon.kafka.codecs.serdes import Changes, Signals
from salmon.kafka.foreign import decoded
from salmon.kafka.tables import Progress
from salmon.model import sides
from salmon.model.change import MISFIT_CODES, OPERATOR, Change, Op
from salmon.model.policies import EXISTENCE
from salmon.model.state import Park, State
from salmon.plugin.contract import Signal, SignalKind
from salmon.story.lookup import Lookup

_AT_ONCE: Final = 500  # most changes in one transaction
# Avro writes text as it is. So a state without any of these bytes has nothing to try again, and need not be decoded.
_IN_A_STATE: Final = tuple(text.encode() for text in (Park.REFUSED.value, *sorted(MISFIT_CODES)))
_READ: Final = 0  # in place of a write's seq: there is no write, and the value is read again


@dataclass(frozen=True, slots=True)
class RefusalFilter:
    """Which refusals are asked for; None: any."""

    object: str | None = None
    key: str | None = None
    code: str | None = None
    field: str | None = None
    since_ms: int | None = None  # since 1970


@dataclass(frozen=True, slots=True)
class RefusedWrite:
    """
    The parked part of one refused write. *whole*: the record's creation or deletion was refused. *misfit*: there is no write;
    the side has a value that cannot be synced.
    """

    object: str
    key: str
    side: str
    write: int  # its seq
    codes: tuple[str, ...]
    fields: tuple[str, ...]
    whole: bool

    @property
    def misfit(self) -> bool:
        return self.write == _READ

    def as_dict(self) -> dict[str, Any]:
        """As `salmon retry --json` prints it."""
        return {
            "object": self.object,
            "key": self.key,
            "side": self.side,
            "write": self.write,
            "codes": list(self.codes),
            "fields": list(self.fields),
            "whole": self.whole,
            "misfit": self.misfit,
        }


def check(lookup: Lookup, asked: RefusalFilter) -> None:
    """
    Check what needs no server.

    Raises:
        ConfigError: the sync does not have the object, or there is a key and no object.
    """
    if asked.key is not None and asked.object is None:
        raise ConfigError("--key needs --object, because several objects may use the same key.")
    if asked.object is not None:
        lookup.check_object(asked.object, given_as="--object")


def refusals(lookup: Lookup, asked: RefusalFilter, *, progress: Progress | None = None) -> list[RefusedWrite]:
    """
    Return what matches and is parked after a refusal or cannot be synced, in the order of objects and keys.

    Raises:
        ConfigError: the sync does not have the object or field, or as check().
        DataError: merge does not know the record.
        SetupError, Unavailable: Kafka or the registry cannot be used.
    """
    check(lookup, asked)
    names = _objects(lookup, asked)
    found = []
    for name in names:
        key = None
        if asked.key is not None:
            key, state = lookup.key_and_state(name, asked.key, progress=progress)
            if state is None:
                raise DataError(f"{name} {key}: Salmon does not know this record. Check its key.")
            refused = list(_refused(name, key, state))
        else:
            refused = _all_refused(lookup, name, progress)
        if refused and asked.since_ms is not None:
            since = _refused_since(lookup, name, asked.since_ms, key, progress)
            refused = [each for each in refused if (each.key, each.write) in since]
        found += [each for each in refused if _matches(each, asked)]
    return found


def send_again(
    lookup: Lookup,
    found: Sequence[RefusedWrite],
    *,
    by: str,
    reason: str = "",
    now: Callable[[], float] = time.time,
) -> None:
    """
    Have merge send *found* again, or the sources read it again. After a failure it is safe to call this again.

    Raises:
        Unavailable, SetupError: Kafka or the registry cannot be used.
    """
    if not found:
        return
    writes = list(dict.fromkeys((each.object, each.key, each.write) for each in found if not each.misfit))
    source = {"by": by, "reason": reason} if reason else {"by": by}
    codecs = {
        name: Changes(lookup.schema(name), lookup.registry, lookup.topics.changes(name))
        for name in {name for name, _, _ in writes}
    }
    # Only one operator at a time: a second one fences the first. What both ask for is done once.
    with lookup.producer("retry") as producer:
        for first in range(0, len(writes), _AT_ONCE):
            with producer.transaction() as transaction:
                for name, key, write in writes[first : first + _AT_ONCE]:
                    change = Change(
                        OPERATOR, Op.RETRY, committed_at=int(now() * 1000), ack=write, source=source
                    )
                    transaction.produce(codecs[name].topic, key, codecs[name].encode(change))
        with producer.transaction() as transaction:
            for topic, signal, encoded in _signals(lookup, found):
                transaction.produce(topic, signal.object, encoded, partition=0)


def _signals(lookup: Lookup, found: Sequence[RefusedWrite]) -> Iterator[tuple[str, Signal, bytes]]:
    """Yield the requests to read again what could not be synced."""
    places = sorted({(each.side, each.object) for each in found if each.misfit})
    for side, name in places:
        codec = Signals(lookup.registry, lookup.topics.signals(sides.named(side).source))
        keys = sorted(
            {each.key for each in found if each.misfit and (each.side, each.object) == (side, name)}
        )
        for first in range(0, len(keys), _AT_ONCE):
            some = tuple(keys[first : first + _AT_ONCE])
            signal = Signal(0, SignalKind.READ, name, keys=some, reason="salmon retry")
            yield codec.topic, signal, codec.encode(signal)


def _objects(lookup: Lookup, asked: RefusalFilter) -> list[str]:
    """Check the filter's field, and return the objects that the filter covers."""
    if asked.object is not None:
        if asked.field is not None:
            lookup.check_field(asked.object, asked.field)
        return [asked.object]
    names = list(lookup.config.objects)
    if asked.field is not None:
        names = [name for name in names if asked.field in lookup.schema(name).by_name]
        if not names:
            raise ConfigError(f"--field: no object of this sync has a field {asked.field}.")
    return names


def _all_refused(lookup: Lookup, name: str, progress: Progress | None) -> list[RefusedWrite]:
    """Return what is parked, or could not be synced, in the newest state of each record. Foreign records are skipped."""
    codec = lookup.state_codec(name)
    found: dict[str, tuple[RefusedWrite, ...]] = {}

    def take(message: Message) -> None:
        key, value = (message.key() or b"").decode(errors="replace"), message.value()
        if value is None:
            found.pop(key, None)
            return
        may_tell = key in found or any(text in value for text in _IN_A_STATE)
        if may_tell and (state := decoded(message, codec.decode)) is not None:
            found[key] = tuple(_refused(name, key, state))

    places = scans.all_places(lookup.admin, [codec.topic])
    scans.scan(lookup.kafka, lookup.admin, places, take, progress=progress)
    return [each for _, refused in sorted(found.items()) for each in refused]


def _refused(name: str, key: str, state: State) -> Iterator[RefusedWrite]:
    for side, held in state.sides.items():
        writes: dict[int, dict[str, str]] = {}
        for field, parked in sorted(held.parked.items()):
            if parked.why is Park.REFUSED:
                writes.setdefault(parked.group, {})[field] = parked.code
        for write, codes in sorted(writes.items()):
            fields = tuple(field for field in codes if field != EXISTENCE)
            distinct = tuple(sorted(set(codes.values())))
            yield RefusedWrite(name, key, side, write, distinct, fields, EXISTENCE in codes)
        for field in sorted(held.misfits if state.lives else ()):
            yield RefusedWrite(name, key, side, _READ, (held.misfits[field].code,), (field,), whole=False)


def _refused_since(
    lookup: Lookup, name: str, since_ms: int, key: str | None, progress: Progress | None
) -> set[tuple[str, int]]:
    """Return key and write of what was reported at that time or later."""
    codec = Changes(lookup.schema(name), lookup.registry, lookup.topics.changes(name))
    found: set[tuple[str, int]] = set()

    def take(message: Message) -> None:
        raw_key, value = message.key(), message.value()
        if raw_key is None or value is None or message.timestamp()[1] < since_ms:
            return
        try:
            change = codec.decode(value)
        except DataError:
            return  # merge has set it aside
        if change.op is Op.REFUSED and change.ack is not None:
            found.add((raw_key.decode(errors="replace"), change.ack))
        if change.misfits:
            found.add((raw_key.decode(errors="replace"), _READ))

    places = (
        scans.all_places(lookup.admin, [codec.topic]) if key is None else [lookup.place(codec.topic, key)]
    )
    scans.scan(lookup.kafka, lookup.admin, places, take, since_ms=since_ms, progress=progress)
    return found


def _matches(refusal: RefusedWrite, asked: RefusalFilter) -> bool:
    return (asked.code is None or asked.code in refusal.codes) and (
        asked.field is None or asked.field in refusal.fields
    )
