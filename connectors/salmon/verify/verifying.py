"""
Runs `salmon verify`: connects to all sides, Kafka and the registry, and checks one object after the other.

It only reads, whether the connectors run or not, and stores how many API calls that has cost. It asks the budget of API calls first,
as what can wait longest. A repair asks the sources, so all five processes must run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from salmon.app.spending import spending
from salmon.app.sync import Sync
from salmon.config.models import SyncConfig
from salmon.model.change import MONGODB, SALESFORCE
from salmon.model.rules import Rules
from salmon.mongodb.wire.client import connect, database_of
from salmon.plugin.contract import Connects, UsesSchemas
from salmon.plugin.showing import ShowsRecords
from salmon.runtime import discovery
from salmon.salesforce.catalog import SyncedObject
from salmon.salesforce.identity import Identity
from salmon.salesforce.ids import id18, prefix_of
from salmon.salesforce.reading.whole.rows import RowReader
from salmon.salesforce.wire.budget import Budget, Urgency
from salmon.salesforce.wire.rest import Rest
from salmon.scratch import scratch
from salmon.verify.agreed import Agreed
from salmon.verify.asking import ANSWER_MAX_S, Sources
from salmon.verify.checking import Check, Patience
from salmon.verify.comparing import ObjectVerdict, Terms, terms_of
from salmon.verify.ledger import Ledger, discard
from salmon.verify.reading import read
from salmon.verify.sides import FurtherSide, MongoSide, SalesforceSide, Side

# Called with: object, what is being read (records, salesforce, mongodb), how many records, of about how many.
Watcher = Callable[[str, str, int, int], None]

_PATIENCE: Final = Patience()


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """The result of a run."""

    objects: Mapping[str, ObjectVerdict]
    took_s: float
    nowhere: Sequence[str] = ()  # keys that were asked for and do not exist anywhere
    pages: int = 0  # of both sides, read in this run
    resumed: bool = False  # whether it continued an interrupted run

    @property
    def equal(self) -> bool:
        return all(each.all_equal for each in self.objects.values())

    @property
    def differs(self) -> bool:
        """Whether something certainly differs. If neither this nor `equal` is true, some records could not be compared."""
        return any(each.differs for each in self.objects.values())

    def as_dict(self) -> dict[str, object]:
        """As `salmon verify --json` prints it."""
        return {
            "equal": self.equal,
            "objects": {name: each.as_dict() for name, each in self.objects.items()},
            "took_s": round(self.took_s, 3),
            "nowhere": list(self.nowhere),
            "pages": self.pages,
            "resumed": self.resumed,
        }


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    What to verify.

    Args:
        objects: Only these; empty for all of the configuration.
        keys: Only these records: record keys or Salesforce Ids; None for all.
        repair: Whether the sources read again what differs.
        answer_max_s: How long to wait for an answer from a source, in seconds.
        folder: Keeps what was read, so that the next run continues an interrupted one; None for a temporary folder.
    """

    objects: Collection[str] = ()
    keys: Collection[str] | None = None
    repair: bool = False
    answer_max_s: float = ANSWER_MAX_S
    folder: Path | None = None


def verify(
    config: SyncConfig,
    objects: Collection[str] = (),
    *,
    wanted: Wanted | None = None,
    watcher: Watcher = lambda *_: None,
    patience: Patience = _PATIENCE,
) -> VerifyResult:
    """
    Compare Salesforce, MongoDB, the further sides that can be asked, and `records`.

    Args:
        objects: Only these; empty for all of the configuration.
        wanted: What to verify, instead of *objects*.

    Raises:
        ConfigError: an object is not in the configuration.
        SalmonError: something could not be read, so there is no result.
    """
    began = time.monotonic()
    wanted = wanted or Wanted(objects)
    sync = Sync(config)
    for name in wanted.objects:
        sync.check_object(name, given_as="--object")
    urgency = Urgency.SPARE if wanted.keys is None else Urgency.LATER
    with sync, ExitStack() as stack:
        for name in config.objects:
            sync.schema(name)  # of a sync that has never run, this says so best
        budget = stack.enter_context(spending(sync, "verify", urgency))
        run = _Run(sync, wanted, stack, watcher, patience, budget=budget)
        names = list(wanted.objects or config.objects)
        if wanted.keys is not None:
            verdicts = {name: run.some(name, wanted.keys) for name in names}
            return VerifyResult(verdicts, time.monotonic() - began, nowhere=run.nowhere(wanted.keys))
        folder = wanted.folder
        if folder is None:
            folder = stack.enter_context(scratch("verify"))
        verdicts = {name: run.whole(name, folder / name) for name in names}
        for name in names:
            # This run has its result, so the next one must read everything again.
            discard(folder / name)
    return VerifyResult(verdicts, time.monotonic() - began, pages=run.pages, resumed=run.resumed)


class _Run:
    """The connections of one run, and what it has found."""

    def __init__(
        self,
        sync: Sync,
        wanted: Wanted,
        stack: ExitStack,
        watcher: Watcher,
        patience: Patience,
        *,
        budget: Budget,
    ) -> None:
        config = sync.config
        self._sync, self._watcher, self._patience = sync, watcher, patience
        self._rules = {name: sync.rules(name) for name in config.objects}
        client = connect(config.mongodb, app="salmon-verify")
        stack.callback(client.close)
        self._database = database_of(client, config.mongodb)
        self._rest = Rest(config.salesforce, budget=budget)
        stack.callback(self._rest.close)
        self._further = self._readers()
        self._synced = {name: _synced(self._rest, each) for name, each in self._rules.items()}
        self._schemas = {name: each.schema for name, each in self._rules.items()}
        self._sources: Sources | None = None
        if wanted.repair:
            self._sources = Sources(sync.kafka, sync.topics, sync.registry, answer_max_s=wanted.answer_max_s)
            stack.callback(self._sources.close)
        self.pages = 0
        self.resumed = False
        self._found: set[str] = set()  # the keys and Ids that were asked for and exist somewhere

    def whole(self, name: str, folder: Path) -> ObjectVerdict:
        """Read all of an object, or what an interrupted run has left to read, and compare."""
        watched = partial(self._watcher, name)
        sides = self._sides(name)
        with self._agreed(name) as agreed, self._ledger(name, folder, agreed) as ledger:
            reading = read(ledger, agreed, sides, self._terms(name), watched)
            self.pages += reading.pages
            self.resumed = self.resumed or reading.resumed
            verdict = self._check(name, agreed, sides).whole(ledger, reading.without_key, watched)
            verdict.keyless = reading.keyless
            return verdict

    @contextmanager
    def _ledger(self, name: str, folder: Path, agreed: Agreed) -> Iterator[Ledger]:
        """Open the ledger of an object: the one of an interrupted run, or a new one."""
        config = self._sync.config
        about = {
            "sync": config.name,
            "org": config.salesforce.login_url,
            "collection": f"{config.mongodb.database}.{', '.join(config.objects[name].places)}",
            "terms": {
                side: [sorted(each.compared), sorted(each.later), each.extra_counts]
                for side, each in self._terms(name).items()
            },
            "views": self._rules[name].views_digest,
            **agreed.origin(),
        }
        ledger = Ledger(folder, about, list(self._terms(name)))
        try:
            yield ledger
        finally:
            ledger.close()

    def some(self, name: str, asked: Collection[str]) -> ObjectVerdict:
        """Compare some records of an object."""
        with self._agreed(name) as agreed:
            sides = self._sides(name)
            keys = self._keys(name, asked, agreed, sides)
            verdict = self._check(name, agreed, sides).some(keys, partial(self._watcher, name))
            for key, each in keys.items():
                if verdict.exist is not None and key in verdict.exist:
                    self._found |= each
            return verdict

    def nowhere(self, asked: Collection[str]) -> list[str]:
        """Return the keys and Ids that were asked for and exist neither on a side nor in `records`."""
        return sorted(set(asked) - self._found)

    def _keys(
        self, name: str, asked: Collection[str], agreed: Agreed, sides: Mapping[str, Side]
    ) -> dict[str, set[str]]:
        """Return record key -> how it was asked for. Ids of other synced objects are left out."""
        prefix = self._schemas[name].key_prefix
        others = {schema.key_prefix for schema in self._schemas.values()} - {prefix, ""}
        of_id = {each: native_id for each in asked if (native_id := id18(each)) is not None}
        mine = {each: i for each, i in of_id.items() if prefix_of(i) not in others}
        ids = sorted(set(mine.values()))
        org = sides[SALESFORCE]
        assert isinstance(org, SalesforceSide)
        known = {**agreed.keys_of(ids), **org.keys_of(ids)} if ids else {}
        keys: dict[str, set[str]] = {}
        for each in asked:
            if each in mine:
                keys.setdefault(known.get(mine[each], mine[each]), set()).add(each)
            elif each not in of_id:
                keys.setdefault(each, set()).add(each)
        return keys

    def _agreed(self, name: str) -> Agreed:
        return Agreed(self._sync.kafka, self._sync.topics, self._rules[name], self._sync.registry)

    def _check(self, name: str, agreed: Agreed, sides: Mapping[str, Side]) -> Check:
        return Check(name, agreed, sides, self._terms(name), self._patience, self._sources)

    def _terms(self, name: str) -> Mapping[str, Terms]:
        return terms_of(self._rules[name], self._further)

    def _readers(self) -> dict[str, ShowsRecords]:
        """What shows the records of the further sides, of those that can be asked."""
        config = self._sync.config
        found: dict[str, ShowsRecords] = {}
        for side in config.sides:
            objects = config.objects_of(side)
            task = discovery.source_factory(side)(config.settings_of(side), objects, config.name)
            if not isinstance(task, ShowsRecords):
                continue
            if isinstance(task, UsesSchemas):
                task.use({name: self._rules[name].schema for name in objects})
            if isinstance(task, Connects):
                task.connect()
            found[side] = task
        return found

    def _sides(self, name: str) -> dict[str, Side]:
        def reader(identity: Identity) -> RowReader:
            return RowReader(self._rest, self._synced[name], identity, self._synced)

        settings = self._sync.config.objects[name]
        collections = {each: config.places for each, config in self._sync.config.objects.items()}
        own: dict[str, Side] = {
            SALESFORCE: SalesforceSide(reader, self._schemas),
            MONGODB: MongoSide(
                self._database,
                collections,
                self._schemas[name],
                settings.paths,
                settings.flow(name).bound(self._schemas[name]),
            ),
        }
        return own | {side: FurtherSide(task, name) for side, task in self._further.items()}


def _synced(rest: Rest, rules: Rules) -> SyncedObject:
    """Return the object with the fields of the sync; other fields of the org are not compared."""
    described = rest.describe(rules.schema.name)
    return SyncedObject(rules.schema.of_org, frozenset(field["name"] for field in described["fields"]))
