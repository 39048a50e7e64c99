"""
The whole of `salmon verify`: connect to both sides, Kafka and the registry, and check one object after the other.

It reads only, and can run beside the connectors or without them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final

from salmon.errors import ConfigError, SetupError
from salmon.kafka import clients
from salmon.kafka.registry import Registry, object_schema
from salmon.merge.settings import rules_of
from salmon.model.change import MONGODB, SALESFORCE
from salmon.model.rules import Rules
from salmon.mongodb.client import connect, database_of
from salmon.runtime.config import SyncConfig
from salmon.runtime.registries import registry_of
from salmon.salesforce.catalog import SyncedObject
from salmon.salesforce.identity import Identity
from salmon.salesforce.rest import Rest
from salmon.salesforce.rows import RowReader
from salmon.verify.agreed import Agreed
from salmon.verify.checking import RECORDS, Check, Patience
from salmon.verify.comparing import ObjectVerdict, terms_of
from salmon.verify.sides import MongoSide, SalesforceSide, Side

# Object, what of it is compared (records, salesforce, mongodb), how many of about how many.
Watcher = Callable[[str, str, int, int], None]

_PATIENCE: Final = Patience()
_CONNECT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of it."""

    objects: Mapping[str, ObjectVerdict]
    took_s: float

    @property
    def equal(self) -> bool:
        return all(each.all_equal for each in self.objects.values())

    @property
    def differs(self) -> bool:
        """Whether something surely differs. Neither this nor equal: it could not be told."""
        return any(each.differs for each in self.objects.values())

    def as_dict(self) -> dict[str, object]:
        """As `salmon verify --json` prints it."""
        return {
            "equal": self.equal,
            "objects": {name: each.as_dict() for name, each in self.objects.items()},
            "took_s": round(self.took_s, 3),
        }


def verify(
    config: SyncConfig,
    objects: Collection[str] = (),
    *,
    watcher: Watcher = lambda *_: None,
    patience: Patience = _PATIENCE,
) -> Verdict:
    """
    Compare Salesforce, MongoDB and `records`.

    Args:
        objects: Only these; none for all of the configuration.

    Raises:
        ConfigError: an object that the configuration does not have.
        SalmonError: something could not be read, so that nothing can be said.
    """
    began = time.monotonic()
    for name in objects:
        if name not in config.objects:
            raise ConfigError(
                f"--object {name}: the configuration has no such object. It has {', '.join(config.objects)}."
            )
    with ExitStack() as stack:
        kafka = config.kafka_properties()
        clients.connect(kafka, timeout_s=_CONNECT_S)
        registry = registry_of(config)
        stack.callback(registry.close)
        rules = {name: _rules(config, registry, name) for name in config.objects}
        client = connect(config.mongodb, app="salmon-verify")
        stack.callback(client.close)
        database = database_of(client, config.mongodb)
        rest = Rest(config.salesforce)
        stack.callback(rest.close)
        synced = {name: _synced(rest, each) for name, each in rules.items()}
        # One for all objects: the keys that one object's rows tell of another's need not be asked for again.
        identity = Identity({name: each.schema for name, each in rules.items()})
        verdicts = {}
        for name in objects or config.objects:
            sides: dict[str, Side] = {
                SALESFORCE: SalesforceSide(RowReader(rest, synced[name], identity, synced)),
                MONGODB: MongoSide(
                    database, config.objects[name].collection, rules[name].schema, config.objects
                ),
            }
            watched = partial(watcher, name)
            with Agreed(kafka, config.topic_names, rules[name], registry) as agreed:
                agreed.load(partial(watched, RECORDS))
                check = Check(name, agreed, sides, terms_of(rules[name]), patience)
                verdicts[name] = check.run(watched)
    return Verdict(verdicts, time.monotonic() - began)


def _rules(config: SyncConfig, registry: Registry, name: str) -> Rules:
    schema = object_schema(registry, config.topic_names.records(name))
    if schema is None:
        raise SetupError(
            f"objects.{name}: the schema registry does not know {name} yet. Start the connectors of this sync "
            f"(`salmon run all`): salesforce-source registers it."
        )
    return rules_of(schema, config.objects[name])


def _synced(rest: Rest, rules: Rules) -> SyncedObject:
    """The object with the fields that the sync agreed on; what the org has beyond them is not compared."""
    described = rest.describe(rules.schema.name)
    return SyncedObject(rules.schema, frozenset(field["name"] for field in described["fields"]))
