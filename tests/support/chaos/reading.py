"""
What stands on both sides and in the topics, by stock clients: simple-salesforce, PyMongo and a plain Kafka consumer.

Nothing of the product reads here: what the judge is told must not depend on what he judges.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import fastavro
import requests
from confluent_kafka import Consumer, Message, TopicPartition
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import PyMongoError
from requests.adapters import HTTPAdapter
from simple_salesforce.api import Salesforce
from simple_salesforce.exceptions import SalesforceError

from salmon.devstack.sync_file import collections_of
from support.chaos import fields
from support.chaos.fields import Type
from support.chaos.journal import FieldPlace, Place
from support.chaos.stage import NAME, Stage

Document = dict[str, Any]
Records = dict[Place, dict[str, Any]]
COLLECTIONS: Final[Mapping[str, str]] = collections_of(fields.ROLES)
# Shorter than most suspensions, so that editors meet answers that never come, too.
_ANSWER_MAX_S: Final = 8.0
_KAFKA_MAX_S: Final = 10.0
# Everything that a stock client raises where a server does not answer, or says no.
FAILURES: Final = (SalesforceError, requests.RequestException, PyMongoError)
_WIRE_HEAD: Final = 5  # magic byte and schema id (Confluent, Wire Format)


class _Bounded(HTTPAdapter):
    """simple-salesforce waits for ever; its users bound it so."""

    def send(self, request: Any, **options: Any) -> Any:  # type: ignore[override]
        return super().send(request, **{**options, "timeout": _ANSWER_MAX_S})


def person(org: Mapping[str, str]) -> Any:
    """A new session of somebody who works in the org; a simple_salesforce.Salesforce."""
    session = requests.Session()
    session.mount("https://", _Bounded())
    session.verify, session.trust_env = org["ca_file"], False
    said = {
        "grant_type": "client_credentials",
        "client_id": org["person_client_id"],
        "client_secret": org["person_client_secret"],
    }
    answer = session.post(f"{org['rest_url']}/services/oauth2/token", data=said)
    answer.raise_for_status()
    return Salesforce(
        session_id=answer.json()["access_token"],
        instance_url=org["rest_url"],
        session=session,
        version="64.0",
    )


def application(uri: str) -> MongoClient[Document]:
    """A new client of a program that works with the documents."""
    return MongoClient(uri, tz_aware=True, timeoutMS=int(_ANSWER_MAX_S * 1000), appname="chaos")


def database(client: MongoClient[Document]) -> Database[Document]:
    return client[NAME]


def types_in(sf: Any) -> dict[str, dict[str, Type]]:
    """Object -> the fields that somebody may set, by the org's describe."""
    return {name: fields.types_of(getattr(sf, name).describe()) for name in fields.ROLES}


# The sides.


def salesforce_records(sf: Any, types: Mapping[str, Mapping[str, Type]]) -> Records:
    """Every record of the org, by record key: what stands in `Salmon_Id__c`, else the Id."""
    rows = {
        name: sf.query_all(f"SELECT Id, Salmon_Id__c, {', '.join(kinds)} FROM {name}")["records"]
        for name, kinds in types.items()
    }
    keys = {row["Id"]: row["Salmon_Id__c"] or row["Id"] for found in rows.values() for row in found}
    records: Records = {}
    for name, found in rows.items():
        for row in found:
            records[name, keys[row["Id"]]] = {
                kind.name: keys.get(plain, plain) if kind.target else plain
                for kind in types[name].values()
                if (plain := fields.from_org(kind, row[kind.name])) is not None
            }
    return records


def mongodb_records(db: Database[Document], types: Mapping[str, Mapping[str, Type]]) -> Records:
    """Every document, by record key."""
    records: Records = {}
    for name, kinds in types.items():
        for document in db[COLLECTIONS[name]].find():
            records[name, fields.key_of(document["_id"])] = {
                kind.name: plain
                for kind in kinds.values()
                if (plain := fields.from_document(kind, document.get(kind.name))) is not None
            }
    return records


# The topics.


def ends(stage: Stage) -> dict[tuple[str, int], int]:
    """Where the topics end through which edits flow."""
    consumer = _consumer(stage)
    try:
        return {
            (place.topic, place.partition): consumer.get_watermark_offsets(place, timeout=_KAFKA_MAX_S)[1]
            for place in _places(consumer, ("changes", "records", "writes"))
        }
    finally:
        consumer.close()


def conflicts(stage: Stage) -> list[FieldPlace]:
    """Object, record key and field of every conflict that was reported."""
    schemas: dict[int, Any] = {}
    found = []
    for message in _committed(stage, ("conflicts",)):
        value = message.value() or b""
        number = int.from_bytes(value[1:_WIRE_HEAD])
        if number not in schemas:
            answer = requests.get(f"{stage.registry_url}/schemas/ids/{number}", timeout=_KAFKA_MAX_S)
            schemas[number] = fastavro.parse_schema(json.loads(answer.json()["schema"]))
        told: Any = fastavro.schemaless_reader(io.BytesIO(value[_WIRE_HEAD:]), schemas[number], None)
        found.append((told["object"], told["key"], told["field"]))
    return found


def dead_letters(stage: Stage) -> list[str]:
    """For each dead letter its topic, key and what its headers say of it."""
    return [
        f"{message.topic()} {(message.key() or b'').decode(errors='replace')}: {_exception(message)}"
        for message in _committed(stage, ("dlq",))
    ]


def _exception(message: Message) -> str:
    said = dict(message.headers() or ()).get("__connect.errors.exception.message") or b""
    return said.decode(errors="replace") if isinstance(said, bytes) else said


def _committed(stage: Stage, kinds: tuple[str, ...]) -> Iterator[Message]:
    """All records of these topics up to their present ends, but for those of transactions that were aborted."""
    consumer = _consumer(stage)
    try:
        places = _places(consumer, kinds)
        consumer.assign(places)
        left = len(places)
        while left:
            for message in consumer.consume(1000, _KAFKA_MAX_S):
                if message.error() is None:
                    yield message
                else:
                    left -= 1
    finally:
        consumer.close()


def _consumer(stage: Stage) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": stage.bootstrap_servers,
            "group.id": "chaos-judge",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )


def _places(consumer: Consumer, kinds: tuple[str, ...]) -> list[TopicPartition]:
    """The beginnings of all partitions of the topics `<name>.<kind>` and `<name>.<kind>.<more>`."""
    topics = consumer.list_topics(timeout=_KAFKA_MAX_S).topics
    return [
        TopicPartition(name, partition, 0)
        for name, topic in topics.items()
        if name.split(".")[0] == NAME and name.split(".")[1] in kinds
        for partition in topic.partitions
    ]
