"""
The servers between and beside the org: Kafka and its topics, the schema registry, and MongoDB.

Sources: MongoDB Manual, "connectionStatus", "Privilege Actions", "Built-In Roles".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC
from typing import Any, Final

from pymongo import timeout
from pymongo.database import Database

from salmon.app.events import specs_of
from salmon.app.sync import Sync
from salmon.config.events import outboxes_in
from salmon.config.models import SyncConfig
from salmon.doctor.checks import Check, Line, fail, ok, told_by, warn
from salmon.doctor.salesforce import clock_line
from salmon.errors import ConfigError, SalmonError, UnsafeTopic
from salmon.kafka import cluster, topics
from salmon.kafka.codecs.registry import object_schema
from salmon.mongodb.reading.outbox import fault_of
from salmon.mongodb.wire.client import Document, border, close, connect, database_of

KAFKA: Final = "kafka.reachable"
_KAFKA: Final = "Kafka: reachable"
MONGODB: Final = "mongodb.reachable"
_MONGODB: Final = "MongoDB: reachable"
_ANSWER_S: Final = 8.0  # below the patience with a check, so that the server's own reason is told
# What a sync does in its database (readWrite has all of it), and what dbAdmin adds.
_ACTIONS: Final = frozenset(
    {
        "find",
        "insert",
        "update",
        "remove",
        "changeStream",
        "createCollection",
        "createIndex",
        "listCollections",
    }
)
_ACTION_OF_ADMIN: Final = "collMod"


class KafkaChecks:
    """Kafka and the registry. *sync*: not entered yet; it is closed by whoever made it."""

    def __init__(self, sync: Sync) -> None:
        self._sync = sync

    def checks(self) -> Sequence[Check]:
        """All of them."""
        return (
            Check(KAFKA, _KAFKA, self._reachable),
            Check("kafka.topics", "Kafka: topics", self._topics, after=KAFKA),
            Check("registry.reachable", "Schema registry: reachable", self._registry),
        )

    def _reachable(self) -> Iterator[Line]:
        brokers = len(cluster.brokers(self._sync.admin, timeout_s=_ANSWER_S))
        wanted = self._sync.config.topics.replication_factor
        if wanted > brokers:
            yield fail(
                "kafka.brokers",
                "Kafka: brokers",
                f"{brokers} brokers answer, and each topic is to have {wanted} copies.",
                "Start the other brokers, or set topics.replication_factor lower: with 1, one broken disk loses data.",
            )
        yield ok(KAFKA, _KAFKA, f"Brokers that answer: {brokers}.")

    def _topics(self) -> Iterator[Line]:
        name, what, config = "kafka.topics", "Kafka: topics", self._sync.config
        wanted = specs_of(config)
        try:
            missing = topics.missing(self._sync.admin, wanted, timeout_s=_ANSWER_S)
        except (UnsafeTopic, ConfigError) as error:
            yield told_by(name, what, error)
            return
        there = len(wanted) - len(missing)
        rest = f"; the connectors create the other {len(missing)}" if missing else ""
        yield ok(name, what, f"{there} of {len(wanted)} exist, with settings that lose no data{rest}.")

    def _registry(self) -> Iterator[Line]:
        sync = self._sync
        known = [
            name
            for name in sync.config.objects
            if object_schema(sync.registry, sync.topics.records(name)) is not None
        ]
        rest = "" if len(known) == len(sync.config.objects) else "; salesforce-source registers the others"
        yield ok(
            "registry.reachable",
            "Schema registry: reachable",
            f"It answers, and has the schemas of {len(known)} of {len(sync.config.objects)} objects{rest}.",
        )


class MongoChecks:
    """MongoDB. *now_s*: this machine's clock."""

    def __init__(self, config: SyncConfig, now_s: Callable[[], float] = time.time) -> None:
        self._config = config
        self._now_s = now_s

    def checks(self) -> Sequence[Check]:
        """One, since all that is asked takes one connection."""
        return (Check(MONGODB, _MONGODB, self._look),)

    def _look(self) -> Iterator[Line]:
        try:
            with timeout(_ANSWER_S):
                client = connect(self._config.mongodb, app="salmon-doctor")
        except SalmonError as error:
            yield told_by(MONGODB, _MONGODB, error)
            return
        try:
            with border("looking at the server"), timeout(_ANSWER_S):
                hello = client.admin.command("hello")
                version = client.server_info()["version"]
                status = client.admin.command("connectionStatus", showPrivileges=True)
                outboxes = list(self._outboxes(database_of(client, self._config.mongodb)))
        finally:
            close(client)
        kind = f"replica set {hello['setName']}" if "setName" in hello else "a sharded cluster"
        yield ok(MONGODB, _MONGODB, f"MongoDB {version}, {kind}.")
        yield self._rights(status.get("authInfo") or {})
        yield from outboxes
        if "localTime" in hello:
            theirs_s = hello["localTime"].replace(tzinfo=UTC).timestamp()
            yield clock_line("mongodb.clock", "MongoDB: clock", theirs_s, self._now_s(), "the server's")

    def _outboxes(self, database: Database[Document]) -> Iterator[Line]:
        for event, each in outboxes_in(self._config.events).items():
            name, what = f"events.{event}.collection", f"Outbox {each.collection} of {event}"
            if (fault := fault_of(database, each.collection or "")) is not None:
                yield fail(name, what, fault, f"Correct events.{event}.collection.")
            else:
                yield ok(name, what, "Documents that are inserted into it can be published.")

    def _rights(self, who: Mapping[str, Any]) -> Line:
        name, what, database = "mongodb.rights", "MongoDB: rights of the user", self._config.mongodb.database
        if not who.get("authenticatedUsers"):
            return warn(
                name,
                what,
                "The server asks for no login: whoever reaches it may read and change everything.",
                "Switch on access control, unless nobody else reaches it.",
            )
        collections = [name for each in self._config.objects.values() for name in each.places]
        collections += [each.collection for each in self._config.events.values() if each.collection]
        may = actions_on(who.get("authenticatedUserPrivileges") or (), database, collections)
        if lacking := sorted(_ACTIONS - may):
            return fail(
                name,
                what,
                f"In the database {database}, the user may not: {', '.join(lacking)}.",
                f"Give it the role readWrite on {database}.",
            )
        if _ACTION_OF_ADMIN not in may:
            return ok(
                name,
                what,
                f"The user may read and write {database}. With dbAdmin as well, Salmon adapts the validators of its collections.",
            )
        return ok(name, what, f"The user may read and write {database}, and adapt its validators.")


def actions_on(privileges: Iterable[Document], database: str, collections: Sequence[str]) -> frozenset[str]:
    """The actions that the privileges allow on the whole database, or else on each of the collections."""
    everywhere: set[str] = set()
    on: dict[str, set[str]] = {name: set() for name in collections}
    for privilege in privileges:
        resource, actions = privilege.get("resource") or {}, privilege.get("actions") or ()
        if resource.get("anyResource") or (
            resource.get("db") in ("", database) and resource.get("collection") == ""
        ):
            everywhere.update(actions)
        elif resource.get("db") in ("", database) and resource.get("collection") in on:
            on[str(resource["collection"])].update(actions)
    return frozenset(everywhere | set.intersection(*on.values()) if on else everywhere)
