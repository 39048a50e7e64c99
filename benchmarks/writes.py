"""
How many records per second does the Salesforce sink write to an org that takes 200 ms for each call?

The simulated org (`salmon simulator`, the real process) waits 200 ms before each answer. The sink's task updates contacts there by
its own calls, in batches as large as it asks for; then a plain loop over simple-salesforce sends the same updates, one Collections
call of 200 after the other. Both sign in, prepare and check each result; neither reads Kafka.
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

CONTACT: Final = "Contact"
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
        salmon = by_salmon(config, rest, ids)
        plain = by_a_loop(told, rest.sign_in.token().access_token, ids)
        usage = process.usage()
    measuring.save(
        "writes",
        {
            "question": " ".join((__doc__ or "").strip().splitlines()[0].split()),
            "machine": measuring.machine(),
            "versions": measuring.versions("requests", "simple-salesforce"),
            "records": len(ids),
            "latency_ms": chosen.latency,
            "salmon": salmon,
            "plain_loop_of_simple_salesforce": plain,
            "ratio": round(salmon["records_a_second"] / plain["records_a_second"], 2),
            "org_cpu_s": round(usage.cpu_s, 1),
        },
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


def by_salmon(config: SalesforceConfig, rest: Rest, ids: Sequence[str]) -> dict[str, Any]:
    """By the sink's task; a record's parents are not written, so each may be in any call."""
    schema = synced_object(CONTACT, {CONTACT: ObjectConfig(collection="contacts")}, rest).schema
    task = SalesforceSinkTask(config, {}, "bench", rest=rest)
    task.start({CONTACT: schema}, NoIdentities(), clean=True)
    records = [
        SinkRecord(CONTACT, each, Write(seq, WriteOp.UPDATE, native_id=each, fields=changes(seq)))
        for seq, each in enumerate(ids, start=1)
    ]
    before, began = sum(rest.calls.values()), time.monotonic()
    for some in batches(records, task):
        assert {outcome.kind for outcome in task.put(some)} == {OutcomeKind.APPLIED}
    took_s = time.monotonic() - began
    calls = sum(rest.calls.values()) - before
    task.stop()
    return told_of(len(ids), took_s, calls) | {"concurrent_writes": config.concurrent_writes}


def batches(records: Sequence[SinkRecord], task: SalesforceSinkTask) -> Iterator[Sequence[SinkRecord]]:
    """As the worker hands them over."""
    at = 0
    while at < len(records):
        some = records[
            at : at + task.batch_for({(each.object, each.key) for each in records[at : at + 5_000]})
        ]
        at += len(some)
        yield some


def by_a_loop(told: dict[str, Any], token: str, ids: Sequence[str]) -> dict[str, Any]:
    http = requests.Session()
    http.verify, http.trust_env = told["ca_file"], False
    salesforce = Salesforce(instance_url=told["instance_url"], session_id=token, version=API, session=http)
    began, calls = time.monotonic(), 0
    for start in range(0, len(ids), A_CALL):
        body = {
            "allOrNone": False,
            "records": [
                {
                    "attributes": {"type": CONTACT},
                    "Id": each,
                    **changes(number),
                    "Salmon_Seq__c": len(ids) + number,
                }
                for number, each in enumerate(ids[start : start + A_CALL], start=start)
            ],
        }
        answers = salesforce.restful("composite/sobjects", method="PATCH", json=body)
        assert answers
        assert all(each["success"] for each in answers)
        calls += 1
    return told_of(len(ids), time.monotonic() - began, calls)


def told_of(records: int, took_s: float, calls: int) -> dict[str, Any]:
    return {
        "records_a_second": round(records / took_s),
        "took_s": round(took_s, 1),
        "calls": calls,
        "calls_per_1000_records": round(calls * 1000 / records, 2),
    }


if __name__ == "__main__":
    main()
