"""
Has a source read records again: whole objects, or the records of a Salesforce object that a condition selects.

The request is written into the source's signals. So the source need not run at the moment, and asking twice is safe. What it
reads goes through the fold like any other row. How it reads a whole object is for the source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from salmon.config.models import SyncConfig
from salmon.errors import ConfigError, RequestRejected
from salmon.kafka.clients import TransactionalProducer
from salmon.kafka.codecs.registry import Registry
from salmon.kafka.codecs.serdes import Signals
from salmon.kafka.topics import Topics
from salmon.model import sides
from salmon.model.change import SALESFORCE
from salmon.model.rules import Rules
from salmon.plugin.contract import Signal, SignalKind
from salmon.salesforce.wire import soql
from salmon.salesforce.wire.rest import PAGE_ROWS, URI_BYTES, Page

REASON: Final = "salmon snapshot"
# The source reads them 200 at a time, and keeps in memory which it still has to read.
SELECTED_MAX: Final = 50_000
_SIGNAL_IDS_MAX: Final = 200


class Asking(Protocol):
    """What is asked of a Sync."""

    @property
    def config(self) -> SyncConfig: ...
    @property
    def topics(self) -> Topics: ...
    @property
    def registry(self) -> Registry: ...
    def check_object(self, name: str, *, given_as: str = "") -> None: ...
    def rules(self, name: str) -> Rules: ...
    def producer(self, purpose: str) -> AbstractContextManager[TransactionalProducer]: ...


class Org(Protocol):
    """What is asked of Rest."""

    def query_bytes(self, soql: str) -> int: ...
    def pages(self, soql: str) -> Iterator[Page]: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """What a side's source was asked for: of each object, how many records; None: all."""

    side: str
    objects: Mapping[str, int | None]

    def as_dict(self) -> dict[str, Any]:
        """As `salmon snapshot --json` prints it."""
        return {"side": self.side, "objects": dict(self.objects)}


def check(sync: Asking, *, side: str, name: str | None, where: str | None) -> None:
    """
    Check what needs no server.

    Raises:
        ConfigError: there is no such side or object, or a condition has no object.
    """
    known = sync.config.roster.names
    if side not in known:
        raise ConfigError(f"--side {side}: there is no such side. Give {' or '.join(known)}.")
    if name is not None:
        sync.check_object(name, given_as="--object")
        if not sync.config.roster.has(side, name):
            raise ConfigError(f"--object {name}: {side} does not have it. See objects.{name}.sides.")
    if where is not None and (name is None or side != SALESFORCE):
        raise ConfigError(
            "--where is a condition on the fields of one Salesforce object: it needs --object, and no other --side."
        )


def read_again(
    sync: Asking,
    *,
    side: str = SALESFORCE,
    name: str | None = None,
    where: str | None = None,
    org: Callable[[], Org],
) -> Asked:
    """
    Ask the side's source to read an object again, or all of them.

    Args:
        where: Only the records for which this SOQL condition holds now. *org*: how to ask for them.

    Raises:
        ConfigError: there is no such side or object, the side is never read for it, or the org does not accept the condition.
        RetriableError, SetupError: Kafka, the registry or the org cannot be used.
    """
    check(sync, side=side, name=name, where=where)
    names = _objects(sync, side, name)
    if where is None:
        signals = [Signal(0, SignalKind.SNAPSHOT, each, reason=REASON) for each in names]
        asked: dict[str, int | None] = dict.fromkeys(names)
    else:
        assert name is not None, "checked above"
        ids = _selected(org(), name, where)
        signals = [
            Signal(
                0,
                SignalKind.READ,
                name,
                native_ids=tuple(ids[first : first + _SIGNAL_IDS_MAX]),
                reason=REASON,
            )
            for first in range(0, len(ids), _SIGNAL_IDS_MAX)
        ]
        asked = {name: len(ids)}
    if signals:
        codec = Signals(sync.registry, sync.topics.signals(sides.named(side).source))
        with sync.producer("snapshot") as producer, producer.transaction() as transaction:
            for signal in signals:
                transaction.produce(codec.topic, signal.object, codec.encode(signal), partition=0)
    return Asked(side, asked)


def read_record_again(sync: Asking, name: str, key: str, *, reason: str) -> Sequence[str]:
    """
    Ask the sources of an object to read one record again. Returns the sides that are asked: those that are read at all.

    Raises:
        ConfigError: the sync does not have the object.
        RetriableError, SetupError: Kafka or the registry cannot be used.
    """
    target = sync.rules(name).one_way_to
    asked = [side for side in sync.config.roster.names_of(name) if side != target]
    with sync.producer("snapshot") as producer, producer.transaction() as transaction:
        for side in asked:
            codec = Signals(sync.registry, sync.topics.signals(sides.named(side).source))
            signal = Signal(0, SignalKind.READ, name, keys=(key,), reason=reason)
            transaction.produce(codec.topic, name, codec.encode(signal), partition=0)
    return asked


def _objects(sync: Asking, side: str, name: str | None) -> Sequence[str]:
    if name is None:
        return [each for each in sync.config.objects_of(side) if sync.rules(each).one_way_to != side]
    if sync.rules(name).one_way_to == side:
        raise ConfigError(
            f"--object {name}: it is only written to {side}, and never read there. Read its other side: --side "
            f"{next(each for each in sync.config.roster.names if each != side)}."
        )
    return [name]


def _selected(org: Org, name: str, where: str) -> list[str]:
    ids: list[str] = []
    while True:
        conditions = [f"({where})", *soql.after(ids[-1] if ids else "")]
        query = soql.select(["Id"], name, where=conditions, limit=PAGE_ROWS)
        if org.query_bytes(query) > URI_BYTES:
            raise ConfigError(
                f"--where: the condition is too long: a query may have {URI_BYTES:,} bytes. Shorten it."
            )
        try:
            found = [str(row["Id"]) for page in org.pages(query) for row in page.rows]
        except RequestRejected as error:
            said = f"{error.code}: {error.words}" if error.words else error.code
            raise ConfigError(
                f"--where: Salesforce does not accept the condition ({said}). Give what follows WHERE in SOQL, without ORDER BY "
                f"and LIMIT: \"Industry = 'Energy'\"."
            ) from error
        ids += found
        if len(ids) > SELECTED_MAX:
            raise ConfigError(
                f"--where: the condition selects more than {SELECTED_MAX:,} records of {name}. Leave it out: the whole object is "
                f"read with fewer calls."
            )
        if len(found) < PAGE_ROWS:
            return ids
