"""
Runs `salmon match`: finds pairs, then, when a person has looked at them, applies them, or says that there is nothing to match.

Finding reads both sides and writes files, and nothing else. Applying writes keys into the org, and at the end of an object the mark in
`offsets` on which its first load waits (salmon.source.first_loads).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pymongo.database import Database

from salmon.app.events import specs_of
from salmon.app.sync import Sync
from salmon.config.models import SyncConfig
from salmon.config.sections.matching import MatchConfig
from salmon.errors import ConfigError
from salmon.kafka import clients, topics
from salmon.kafka.offsets import OffsetStore
from salmon.match.applying import Applied, Applying, Collected
from salmon.match.calling import Budget
from salmon.match.files import Folder, Kind, PairsFile
from salmon.match.pairing import Pairing
from salmon.match.reading import DocumentSide, OrgSide, Watcher
from salmon.mongodb.wire.client import Document, connect, database_of
from salmon.salesforce.catalog import SyncedObject, synced_object
from salmon.salesforce.wire.budget import Urgency, during, of_api_calls
from salmon.salesforce.wire.rest import Rest
from salmon.source.first_loads import MATCHED, begun

_CLIENT: Final = "salmon-match"


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of an object. The numbers of a side add up to its records."""

    matched: int  # have a common key already
    pairs: int
    doubts_in_salesforce: int
    doubts_in_mongodb: int
    only_salesforce: int
    only_mongodb: int
    files: Mapping[str, str]

    @property
    def has_doubts(self) -> bool:
        return self.doubts_in_salesforce > 0

    def as_dict(self) -> dict[str, Any]:
        """As `salmon match --json` prints it."""
        return {
            "matched": self.matched,
            "pairs": self.pairs,
            "doubts": {"salesforce": self.doubts_in_salesforce, "mongodb": self.doubts_in_mongodb},
            "only_salesforce": self.only_salesforce,
            "only_mongodb": self.only_mongodb,
            "files": dict(self.files),
        }


@dataclass(frozen=True, slots=True)
class Became:
    """
    What became of an object's pairs. *doubts*: lines that are left in the file of doubts. *loaded*: it was complete before, and the
    sync has begun to load it since, so nothing was written.
    """

    applied: Applied
    doubts: int
    loaded: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether the object can be loaded now."""
        return not self.applied.refused and not self.doubts

    def as_dict(self) -> dict[str, Any]:
        """As `salmon match --apply --json` prints it."""
        return {
            "written": self.applied.written,
            "there": self.applied.there,
            "refused": dict(self.applied.reasons),
            "doubts": self.doubts,
            "loaded": self.loaded,
            "complete": self.is_complete,
        }


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    What to match.

    Args:
        folder: Of the files.
        objects: Only these; empty for all that have `match`.
        api_share: How much of the org's API calls may be used up; see Budget.
        watch: Called with an object, what is done with it (salesforce, mongodb, applied), and how many records so far.
    """

    folder: Path
    objects: Collection[str] = ()
    api_share: float = 0.9
    watch: Callable[[str, str, int], None] = field(default=lambda *_: None)

    def watcher(self, name: str) -> Watcher:
        return lambda what, count: self.watch(name, what, count)


def find(config: SyncConfig, wanted: Wanted) -> Mapping[str, Found]:
    """
    Compare the sides, and write the files. Nothing is written to a side, and Kafka is not needed.

    Raises:
        ConfigError: an object has no `match`, a field cannot be matched by, or the folder has files already.
        RetriableError, SetupError: a side cannot be read.
    """
    names = _objects(config, wanted.objects)
    folder = Folder(wanted.folder)
    folder.require_free(names)
    with _sides(config, wanted) as sides:
        # All of them are checked before the first one is read.
        fields = {name: _terms(config, name).fields_of(sides.synced(name).schema) for name in names}
        return {name: sides.found(name, fields[name], folder) for name in names}


def apply(config: SyncConfig, wanted: Wanted) -> Mapping[str, Became]:
    """
    Give the pairs in the files a common key. What is complete can be loaded from then on.

    Raises:
        ConfigError: a file cannot be used, or an object has been loaded already: nothing was written.
        RetriableError, SetupError: a server cannot be used. What is written stays; run it again.
    """
    names = _objects(config, wanted.objects)
    folder = Folder(wanted.folder)
    files = {name: PairsFile(folder.file(name, Kind.PAIRS)) for name in names}
    doubts = {name: folder.doubts_left(name) for name in names}
    with _Marks(config) as marks, _sides(config, wanted) as sides:
        loaded = marks.loaded(names)
        became = {name: Became(Applied(), 0, loaded=True) for name in loaded}
        for name in names:
            if name in loaded:
                continue
            marks.unmark(name)
            became[name] = Became(sides.applied(name, files[name]), doubts[name])
            folder.refuse(name, became[name].applied.refused)
            if became[name].is_complete:
                marks.mark(name, "applied", pairs=files[name].count)
        return became


def waive(config: SyncConfig, objects: Collection[str]) -> Sequence[str]:
    """
    Say that these objects can be loaded, though not all that may have a counterpart was matched. Returns their names.

    Raises:
        ConfigError: none is named, or one has no `match`.
        RetriableError, SetupError: Kafka or the registry cannot be used.
    """
    if not objects:
        raise ConfigError(
            "--waive needs --object: name each object that is to be loaded without (more) matching."
        )
    names = _objects(config, objects)
    with _Marks(config) as marks:
        for name in names:
            marks.mark(name, "waived")
    return names


class _Marks:
    """The marks in `offsets`. A context manager: Kafka and the registry are reached first."""

    def __init__(self, config: SyncConfig) -> None:
        self._config = config
        self._sync = Sync(config, client_id=_CLIENT)

    def __enter__(self) -> _Marks:
        self._sync.__enter__()
        # The sync may never have run: then this creates its topics, as its first process would.
        topics.ensure(self._sync.admin, specs_of(self._config))
        self._store = OffsetStore(clients.Clients(self._sync.kafka), self._sync.topics, self._sync.registry)
        return self

    def __exit__(self, *_: object) -> None:
        self._sync.close()

    def loaded(self, names: Collection[str]) -> Collection[str]:
        """Return those that the sync has begun to load, after they were matched. Raises ConfigError if one never was."""
        entries = self._store.entries()
        loaded = [name for name in names if begun(name, entries)]
        if never := [name for name in loaded if f"{MATCHED}/{name}" not in entries]:
            raise ConfigError(
                f"{', '.join(never)}: the sync has loaded this already, without matching, so its records have keys, which never change. "
                f"Nothing was written. Remove `match` from it, or name the other objects with --object."
            )
        return loaded

    def unmark(self, name: str) -> None:
        """Let the object wait again, if it does not: it is matched again, and must not be loaded meanwhile."""
        if f"{MATCHED}/{name}" in self._store.entries():
            self._put(name, None)

    def mark(self, name: str, how: str, **more: int) -> None:
        """Let the object be loaded."""
        self._put(name, {"how": how, "at_ms": int(time.time() * 1000), **more})

    def _put(self, name: str, mark: Mapping[str, Any] | None) -> None:
        key, value = self._store.record(MATCHED, name, mark)
        with self._sync.producer("match") as producer, producer.transaction() as transaction:
            transaction.produce(self._store.topic, key, value)


class _Sides:
    """The connections to both sides."""

    def __init__(self, config: SyncConfig, wanted: Wanted, rest: Rest, database: Database[Document]) -> None:
        self._config, self._wanted = config, wanted
        self._rest, self._database = rest, database
        self._budget = Budget(rest, wanted.api_share)
        self._synced: dict[str, SyncedObject] = {}

    def synced(self, name: str) -> SyncedObject:
        """The object as the org has it. Raises SetupError."""
        if name not in self._synced:
            self._synced[name] = synced_object(name, self._config.objects, self._rest)
        return self._synced[name]

    def found(self, name: str, on: Sequence[Any], folder: Folder) -> Found:
        config, synced = self._config, self.synced(name)
        watch = self._wanted.watcher(name)
        org = OrgSide(
            self._rest,
            synced,
            on,
            self._budget,
            config.salesforce.api_version,
            config.salesforce.bulk.query,
        )
        settings = config.objects[name]
        documents = DocumentSide(
            self._database,
            settings.places[0],
            synced.schema,
            on,
            settings.paths,
            settings.flow(name).bound(synced.schema),
        )
        nearly = _terms(config, name).nearly == "pair"
        with Pairing(nearly_is_enough=nearly) as pairing:
            org.add_to(pairing, watch)
            documents.add_to(pairing, watch)
            pairing.settle()
            in_doubt = pairing.in_doubt()
            counts = folder.write(
                name,
                [
                    (Kind.PAIRS, pairing.pairs()),
                    (Kind.DOUBTS, pairing.doubts()),
                    (Kind.ONLY_SALESFORCE, pairing.left_in_org()),
                    (Kind.ONLY_MONGODB, pairing.left_in_mongodb()),
                ],
                [each.name for each in on],
            )
            return Found(
                matched=pairing.matched(),
                pairs=counts[Kind.PAIRS],
                doubts_in_salesforce=in_doubt[0],
                doubts_in_mongodb=in_doubt[1],
                only_salesforce=counts[Kind.ONLY_SALESFORCE],
                only_mongodb=counts[Kind.ONLY_MONGODB],
                files={str(kind): str(folder.file(name, kind)) for kind in counts},
            )

    def applied(self, name: str, pairs: PairsFile) -> Applied:
        documents = Collected(self._database, self._config.objects[name].places[0])
        schema = self.synced(name).schema
        applying = Applying(
            name,
            schema.key_prefix,
            self._rest,
            documents,
            budget=self._budget,
            watch=lambda count: self._wanted.watch(name, "applied", count),
            carrier=schema.markers.key,
        )
        return applying.apply(pairs)


@contextmanager
def _sides(config: SyncConfig, wanted: Wanted) -> Iterator[_Sides]:
    with ExitStack() as stack:
        client = connect(config.mongodb, app=_CLIENT)
        stack.callback(client.close)
        # Kafka need not be there: what other processes have used is not known, but what everybody has, the org says.
        rest = Rest(config.salesforce, budget=of_api_calls(config.salesforce.api_budget, patient=True))
        stack.callback(rest.close)
        stack.enter_context(during(Urgency.LATER))
        yield _Sides(config, wanted, rest, database_of(client, config.mongodb))


def _objects(config: SyncConfig, named: Collection[str]) -> Sequence[str]:
    """The objects to match. Raises ConfigError if there is none, or one of them has no `match`."""
    having = [name for name, each in config.objects.items() if each.match is not None]
    if not having:
        raise ConfigError(
            "objects: none has `match`. Say by which fields records of both sides are the same, e.g. objects.Contact.match: {on: [Email]}."
        )
    if wrong := [name for name in named if name not in having]:
        raise ConfigError(
            f"--object: {', '.join(wrong)} has no `match` in the configuration. These have: {', '.join(having)}."
        )
    return [name for name in having if name in named] if named else having


def _terms(config: SyncConfig, name: str) -> MatchConfig:
    match = config.objects[name].match
    assert match is not None
    return match
