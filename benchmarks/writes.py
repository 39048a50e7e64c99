"""
How many records per second does the Salesforce sink write to an org that takes 200 ms for each call?

The simulated org (`salmon simulator`, the real process) waits 200 ms before each answer. The sink's task updates contacts there by
its own calls, in batches as large as it asks for; then a plain loop over simple-salesforce sends the same updates, one Collections
call of 200 after the other. Then both create accounts, each with four contacts that refer to it: the task gets each account just
before its contacts and knows parents by their keys, as they come from MongoDB; the loop creates all accounts first, and puts their
Ids into the contacts. Both sign in, prepare and check each result; neither reads Kafka.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import requests
from benchmarks import measuring
from benchmarks.simulator import A_CALL, org
from simple_salesforce.api import Salesforce

from salmon.config.models import ObjectConfig
from salmon.model.change import Value, Write, WriteOp
from salmon.plugin.contract import OutcomeKind, SinkRecord
from salmon.salesforce.catalog import synced_object
from salmon.salesforce.config import SalesforceConfig
from salmon.salesforce.wire.rest import Rest
from salmon.salesforce.writing.sink import SalesforceSinkTask

ACCOUNT, CONTACT = "Account", "Contact"
CHILDREN: Final = 4  # contacts of an account
API: Final = "64.0"


class NoIdentities:
    """No record has another key than its Id."""

    def native_id(self, object: str, key: str) -> str | None:  # noqa: A002
        return None

    def key(self, object: str, native_id: str) -> str | None:  # noqa: A002
        return None


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--writes", type=int, default=20_000, help="records updated, by each of both")
    options.add_argument("--creations", type=int, default=20_000, help="records created, by each of both")
    options.add_argument("--latency", type=int, default=200, help="ms that the org takes for a call")
    chosen = options.parse_args()
    with (
        tempfile.TemporaryDirectory() as made,
        org(Path(made) / "org", ["--records", f"{CONTACT}={chosen.writes}"]) as (process, told),
    ):
        config = config_of(told)
        rest = Rest(config)
        ids = [
            str(row["Id"])
            for page in rest.pages(f"SELECT Id FROM {CONTACT} ORDER BY Id")
            for row in page.rows
        ]
        slow = {"fault": "latency", "api": "all", "ms": chosen.latency}
        requests.post(f"{told['control_url']}/faults", json=slow, timeout=10).raise_for_status()
        loop = plain_client(told, rest.sign_in.token().access_token)
        updates = compared(updated_by_salmon(config, rest, ids), updated_by_a_loop(loop, ids))
        families = chosen.creations // (1 + CHILDREN)
        creations = compared(created_by_salmon(config, rest, families), created_by_a_loop(loop, families))
        usage = process.usage()
    measuring.save(
        "writes",
        {
            "question": " ".join((__doc__ or "").strip().splitlines()[0].split()),
            "machine": measuring.machine(),
            "versions": measuring.versions("requests", "simple-salesforce"),
            "records": len(ids),
            "latency_ms": chosen.latency,
            **updates,
            "creations_with_parents": {"records": families * (1 + CHILDREN), **creations},
            "org_cpu_s": round(usage.cpu_s, 1),
            "lesson": lesson_of(updates, creations),
        },
    )


def compared(salmon: dict[str, Any], plain: dict[str, Any]) -> dict[str, Any]:
    return {
        "salmon": salmon,
        "plain_loop_of_simple_salesforce": plain,
        "ratio": round(salmon["records_a_second"] / plain["records_a_second"], 2),
    }


def lesson_of(updates: dict[str, Any], creations: dict[str, Any]) -> str:
    """What the figures say."""
    parts = [
        f"{what} {each['salmon']['records_a_second']:,} records a second, {each['ratio']} times a plain loop, with"
        f" {each['salmon']['calls_per_1000_records']} calls per 1,000 (the loop: {each['plain_loop_of_simple_salesforce']['calls_per_1000_records']})"
        for what, each in (
            ("Updates:", updates),
            ("Creations of parents and children in one stream:", creations),
        )
    ]
    return (
        f"{'. '.join(parts)}. What a loop lacks is calls at the same time; what creations cost beyond updates is that a parent's"
        " call must have ended before its children's begins, and that children of one parent are not in two calls at once."
    )


def config_of(told: dict[str, Any]) -> SalesforceConfig:
    auth = {
        "flow": "client_credentials",
        "client_id": told["client_id"],
        "client_secret": told["client_secret"],
    }
    return SalesforceConfig.model_validate(
        {
            "login_url": told["login_url"],
            "auth": auth,
            "ca_file": told["ca_file"],
            "bulk": {"write": "never"},
        }
    )


def changes(number: int) -> dict[str, Value]:
    return {"Title": f"Engineer {number}", "Phone": f"555 {number}"}


def updated_by_salmon(config: SalesforceConfig, rest: Rest, ids: Sequence[str]) -> dict[str, Any]:
    """By the sink's task; a record's parents are not written, so each may be in any call."""
    return put_by_salmon(
        config,
        rest,
        [
            SinkRecord(CONTACT, each, Write(seq, WriteOp.UPDATE, native_id=each, fields=changes(seq)))
            for seq, each in enumerate(ids, start=1)
        ],
    )


def created_by_salmon(config: SalesforceConfig, rest: Rest, families: int) -> dict[str, Any]:
    """By the sink's task, an account and then its contacts."""
    records: list[SinkRecord] = []
    for number in range(families):
        parent = f"account-{number}"
        records.append(creation(ACCOUNT, parent, account(number)))
        records += [
            creation(CONTACT, f"contact-{number}-{child}", {**contact(number, child), "AccountId": parent})
            for child in range(CHILDREN)
        ]
    return put_by_salmon(config, rest, records)


def creation(name: str, key: str, fields: dict[str, Value]) -> SinkRecord:
    return SinkRecord(name, key, Write(1, WriteOp.CREATE, fields=fields))


def account(number: int) -> dict[str, Value]:
    return {"Name": f"Company {number}", "Phone": f"555 {number}"}


def contact(number: int, child: int) -> dict[str, Value]:
    return {"LastName": f"Person {number} {child}", "Title": f"Engineer {child}"}


def put_by_salmon(config: SalesforceConfig, rest: Rest, records: Sequence[SinkRecord]) -> dict[str, Any]:
    objects = {name: ObjectConfig(collection=name.lower()) for name in (ACCOUNT, CONTACT)}
    schemas = {name: synced_object(name, objects, rest).schema for name in objects}
    task = SalesforceSinkTask(config, {}, "bench", rest=rest)
    task.start(schemas, NoIdentities(), clean=True)
    before, began = sum(rest.calls.values()), time.monotonic()
    for some in batches(records, task):
        assert {outcome.kind for outcome in task.put(some)} == {OutcomeKind.APPLIED}
    took_s = time.monotonic() - began
    calls = sum(rest.calls.values()) - before
    task.stop()
    return told_of(len(records), took_s, calls) | {"concurrent_writes": config.concurrent_writes}


def batches(records: Sequence[SinkRecord], task: SalesforceSinkTask) -> Iterator[Sequence[SinkRecord]]:
    """As the worker hands them over."""
    at = 0
    while at < len(records):
        some = records[
            at : at + task.batch_for({(each.object, each.key) for each in records[at : at + 5_000]})
        ]
        at += len(some)
        yield some


def plain_client(told: dict[str, Any], token: str) -> Salesforce:
    http = requests.Session()
    http.verify, http.trust_env = told["ca_file"], False
    return Salesforce(instance_url=told["instance_url"], session_id=token, version=API, session=http)


def updated_by_a_loop(salesforce: Salesforce, ids: Sequence[str]) -> dict[str, Any]:
    began = time.monotonic()
    records = [
        {"Id": each, **changes(number), "Salmon_Seq__c": len(ids) + number} for number, each in enumerate(ids)
    ]
    _, calls = sent_by_a_loop(salesforce, "PATCH", CONTACT, records)
    return told_of(len(ids), time.monotonic() - began, calls)


def created_by_a_loop(salesforce: Salesforce, families: int) -> dict[str, Any]:
    """All accounts, then all contacts with the Ids of theirs."""
    began = time.monotonic()
    accounts = [{**account(each), "Salmon_Id__c": f"plain-{each}"} for each in range(families)]
    made, calls = sent_by_a_loop(salesforce, "POST", ACCOUNT, accounts)
    contacts = [
        {**contact(number, child), "AccountId": parent, "Salmon_Id__c": f"plain-{number}-{child}"}
        for number, parent in enumerate(made)
        for child in range(CHILDREN)
    ]
    _, more = sent_by_a_loop(salesforce, "POST", CONTACT, contacts)
    return told_of(len(accounts) + len(contacts), time.monotonic() - began, calls + more)


def sent_by_a_loop(
    salesforce: Salesforce, method: str, name: str, records: Sequence[dict[str, Any]]
) -> tuple[list[str], int]:
    """The Ids of the records, in their order, and the calls."""
    ids: list[str] = []
    for start in range(0, len(records), A_CALL):
        body = {
            "allOrNone": False,
            "records": [{"attributes": {"type": name}, **each} for each in records[start : start + A_CALL]],
        }
        answers = salesforce.restful("composite/sobjects", method=method, json=body)
        assert answers
        assert all(each["success"] for each in answers)
        ids += [str(each["id"]) for each in answers]
    return ids, -(-len(records) // A_CALL)


def told_of(records: int, took_s: float, calls: int) -> dict[str, Any]:
    return {
        "records_a_second": round(records / took_s),
        "took_s": round(took_s, 1),
        "calls": calls,
        "calls_per_1000_records": round(calls * 1000 / records, 2),
    }


if __name__ == "__main__":
    main()
