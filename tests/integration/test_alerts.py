"""
A real Prometheus watches the five real processes: each alert's cause is brought about, and its expression becomes true.

The expressions are those of deploy/prometheus; a threshold that no test can wait for is a shorter one here (SHORTER), and
`for` is left out. What the real thresholds do is in tests/unit/deploy/alerts_test.yml.
"""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from bson import ObjectId
from confluent_kafka import Producer

from salmon.ports import free_ports
from support.plugins import install
from support.programs.certificates import Authority
from support.programs.prometheus import (
    ALERTS,
    RECORDING,
    Prometheus,
    alerts_without_waiting,
    metrics_in,
    queries,
    rules_of,
    running_prometheus,
)
from support.ring import Ring, running_ring
from support.stacks import Stack
from support.waiting import until

pytestmark = [
    pytest.mark.processes,
    pytest.mark.xdist_group("alerts"),
    pytest.mark.skipif(
        shutil.which("prometheus") is None,
        reason="prometheus is not installed: run tests/tools/prometheus.sh as root",
    ),
]

RECORDS = {"Account": 400, "Contact": 40, "Opportunity": 10}
OBJECTS: Final[dict[str, Any]] = {
    "Account": {
        "conflicts": {"fields": {"Website": "hold"}},
        "breaker": {"rounds": 1},
        "transforms": [{"type": "breaks", "fields": ["Fax"]}],
    },
    "Contact": {"delete_guard": {"deletes_max": 3, "share_floor": 3}},
    "Opportunity": {"direction": "to_mongodb", "capture": {"mode": "poll", "every": "2s"}},
}
SHORTER: Final = {
    "SalmonWaits": {"> 900": "> 1"},
    "SalmonServerSilent": {"> 60": "> 0"},
    "SalmonNotFresh": {"> 900": "> 15"},
    "SalmonPositionNearlyLost": {"> 3600": "> 15", "0.5": "0.00001"},
    "SalmonPollOld": {"> 3600": "> 8"},
    "SalmonBacklog": {"> 10000": "> 20"},
    "SalmonWritesUnacknowledged": {"> 900": "> 5"},
    "SalmonWritesParked": {"> 900": "> 0.2"},
    "SalmonSlow": {"> 60": "> 5"},
}
# Absent until an hour's pace would use an allowance up: tests/unit/salesforce/wire/test_budget.py has it.
RARE: Final = {"salmon_budget_exhausted_in_seconds"}
PLUGIN = """
    from salmon.plugin import NoSettings, TransformPlugin


    def shows(settings, field):
        def show(value):
            raise LookupError
        return show


    BREAKS = TransformPlugin(settings=NoSettings, shows=shows)
"""


@pytest.fixture(scope="module")
def ring(embedded_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ring]:
    """One that has not started, with settings that let things go wrong soon."""
    installed = tmp_path_factory.mktemp("installed")
    (installed / "breaks.py").write_text(textwrap.dedent(PLUGIN))
    with pytest.MonkeyPatch.context() as patched:
        install(patched, installed, "salmon.transforms", breaks="breaks:BREAKS")
        patched.setenv("PYTHONPATH", os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")]))
        with running_ring(embedded_stack, "alerts", records=RECORDS, objects=OBJECTS) as ring:
            said = yaml.safe_load(ring.config_path.read_text())
            said["errors"] = {"limit.consecutive": 4}
            ring.config_path.write_text(yaml.safe_dump(said))
            ring.reload()
            yield ring


@pytest.fixture(scope="module")
def prometheus(ring: Ring) -> Iterator[Prometheus]:
    """It scrapes the ring from before its first load."""
    with running_prometheus(ring.folder / "prometheus", alerts_without_waiting(SHORTER)) as prometheus:
        ring.start()
        prometheus.scrape(ring.ports)
        yield prometheus


@pytest.fixture(scope="module")
def loaded(ring: Ring, prometheus: Prometheus) -> Ring:
    """It has read all there is."""
    until(lambda: ring.db.accounts.count_documents({}) == RECORDS["Account"], "the first load", within_s=120)
    ring.wait_ready()
    return ring


@contextmanager
def provoked(prometheus: Prometheus, *alerts: str, within_s: float = 60.0) -> Iterator[None]:
    """None of these alerts fires before the block; each has fired soon after it."""
    before = {name: prometheus.firing(name) for name in alerts if prometheus.firing(name)}
    assert before == {}, "nothing is wrong yet"
    yield
    missing = set(alerts)

    def all_fire() -> bool:
        missing.difference_update([name for name in missing if prometheus.firing(name)])
        return not missing

    until(all_fire, "these alerts fire:", within_s=within_s, every_s=0.3, seen=lambda: sorted(missing))


def quiet_again(prometheus: Prometheus, *alerts: str, within_s: float = 60.0) -> None:
    for name in alerts:
        until(lambda name=name: not prometheus.firing(name), f"{name} ends", within_s=within_s, every_s=0.3)  # type: ignore[misc]


def fault(ring: Ring, name: str, **params: Any) -> None:
    ring.http.post(f"{ring.org['control_url']}/faults", json={"fault": name, **params}).raise_for_status()


def no_faults(ring: Ring) -> None:
    ring.http.delete(f"{ring.org['control_url']}/faults").raise_for_status()


@pytest.fixture(autouse=True)
def nothing_stays_broken(ring: Ring) -> Iterator[None]:
    """A test that fails takes no other with it."""
    yield
    no_faults(ring)


def restart(ring: Ring, prometheus: Prometheus, *names: str) -> None:
    ring.start(*names)
    prometheus.scrape(ring.ports)


def test_a_first_load_is_a_backlog_with_a_short_oplog_and_shows_a_plugin_that_fails(
    loaded: Ring, prometheus: Prometheus
) -> None:
    """The backlog ends by itself. A quick machine may have shown none at any scrape: then there is work until it shows."""
    for name in ("SalmonOplogShort", "SalmonPluginFails"):
        until(lambda name=name: prometheus.has_fired(name), f"{name} has fired")  # type: ignore[misc]

    def falls_behind() -> bool:
        if not prometheus.has_fired("SalmonBacklog"):
            loaded.db.accounts.update_many({}, {"$set": {"Phone": f"555 {next(numbers):04}"}})
        return prometheus.has_fired("SalmonBacklog")

    numbers = count()
    until(falls_behind, "SalmonBacklog has fired", every_s=0.5)
    quiet_again(prometheus, "SalmonBacklog", within_s=120)


def test_two_edits_are_one_conflict_that_a_person_is_called_for(loaded: Ring, prometheus: Prometheus) -> None:
    """Its very first occurrence counts, though the counter has no series before it."""
    ring, account = loaded, loaded.ids("Account")[0]
    with provoked(prometheus, "SalmonConflictsHeld"):
        ring.stop("merge")
        ring.sf.Account.update(account, {"Website": "a.example"})
        ring.db.accounts.update_one({"_id": account}, {"$set": {"Website": "b.example"}})
        restart(ring, prometheus, "merge")


def test_fields_that_a_side_refuses_and_then_a_rule_that_refuses_all(
    loaded: Ring, prometheus: Prometheus
) -> None:
    """A refusal is a parked field and a dead letter; when all fail alike, the sink stops setting them aside."""
    ring, (refused, *accounts) = loaded, loaded.ids("Account")[1:10]
    with (
        ring.trigger(object="Account", when={"field": "Site"}, refuse=True),
        provoked(prometheus, "SalmonErrorLimit"),
    ):
        with provoked(prometheus, "SalmonFieldsParked", "SalmonDeadLetters"):
            ring.db.accounts.update_one({"_id": refused}, {"$set": {"Site": "Oslo"}})
        ring.db.accounts.update_many({"_id": {"$in": accounts}}, {"$set": {"Site": "Oslo"}})
    quiet_again(prometheus, "SalmonErrorLimit")


def test_a_record_of_another_program(loaded: Ring, prometheus: Prometheus) -> None:
    """It is in a topic of ours, and is skipped."""
    with provoked(prometheus, "SalmonForeignRecords"):
        stranger = Producer(loaded.config.kafka_properties())
        stranger.produce("alerts.writes.mongodb.Account", key=b"stranger", value=b"not ours")
        stranger.flush(10)


def test_two_automations_that_undo_each_other(loaded: Ring, prometheus: Prometheus) -> None:
    """A trigger of the org and an application each insist on their value."""
    ring, account = loaded, loaded.ids("Account")[11]
    with (
        ring.trigger(object="Account", when={"field": "Site"}, set={"Site": "by the org"}),
        provoked(prometheus, "SalmonBreakerTripped"),
    ):
        ours = {"$set": {"Site": "by the application"}}
        ring.db.accounts.update_one({"_id": account}, ours)

        def insisted() -> bool:
            ring.db.accounts.update_one({"_id": account, "Site": "by the org"}, ours)
            return bool(prometheus.firing("SalmonBreakerTripped"))

        until(insisted, "the breaker trips", within_s=60, every_s=0.1)


def test_a_locked_row(loaded: Ring, prometheus: Prometheus) -> None:
    """Its write is tried until the lock is gone; others pass."""
    ring, account = loaded, loaded.ids("Account")[12]
    with provoked(prometheus, "SalmonWritesParked"):
        fault(ring, "lock_rows", object="Account", ids=[account], s=600)
        ring.db.accounts.update_one({"_id": account}, {"$set": {"Phone": "555 0102"}})
    no_faults(ring)
    quiet_again(prometheus, "SalmonWritesParked")


def test_a_child_waits_for_its_parent(loaded: Ring, prometheus: Prometheus) -> None:
    """No alert: it is shown, and heals by itself."""
    ring, parent, child = loaded, ObjectId(), ObjectId()
    ring.db.contacts.insert_one({"_id": child, "LastName": "Child", "AccountId": parent})
    until(lambda: prometheus.ask("salmon_deferred_records > 0"), "the wait is shown", every_s=0.3)
    ring.db.accounts.insert_one({"_id": parent, "Name": "Parent"})
    until(lambda: prometheus.ask("salmon_freed_fields_total > 0"), "its end is shown", every_s=0.3)


def test_a_process_that_is_killed_and_cannot_start_again(loaded: Ring, prometheus: Prometheus) -> None:
    """Down while Prometheus knows of it, missing also when it does not; it does not lead before the org has answered."""
    ring = loaded
    with provoked(prometheus, "SalmonProcessDown", "SalmonConnectorMissing"):
        ring.kill("salesforce-source")
    prometheus.scrape({name: port for name, port in ring.ports.items() if name != "salesforce-source"})
    quiet_again(prometheus, "SalmonProcessDown")
    assert prometheus.firing("SalmonConnectorMissing"), "also where Prometheus has never known it"
    with ring.org_suspended(), provoked(prometheus, "SalmonNobodyLeads", "SalmonNotReady"):
        restart(ring, prometheus, "salesforce-source")
    ring.wait_ready()


def test_an_application_that_has_not_followed_a_rename(loaded: Ring, prometheus: Prometheus) -> None:
    """It writes a field where documents had it before."""
    ring, contact = loaded, loaded.ids("Contact")[0]
    ring.sf.Contact.update(contact, {"Department": "Purchasing"})
    ring.wait_document("contacts", contact, lambda seen: seen.get("Department") == "Purchasing")
    said = yaml.safe_load(ring.config_path.read_text())
    said["objects"]["Contact"]["fields"] = {"rename": {"Department": "job.department"}}
    ring.config_path.write_text(yaml.safe_dump(said))
    ring.stop("mongodb-source", "mongodb-sink")
    restart(ring, prometheus, "mongodb-source", "mongodb-sink")
    ring.wait_document("contacts", contact, lambda seen: seen.get("job") == {"department": "Purchasing"})
    with provoked(prometheus, "SalmonFormerPathWrites"):

        def went_on() -> bool:
            """Until all documents are moved, what it writes there is moved as well."""
            ring.db.contacts.update_one({"_id": contact}, {"$set": {"Department": str(next(numbers))}})
            return bool(prometheus.firing("SalmonFormerPathWrites"))

        numbers = count()
        until(went_on, "it is told of", within_s=60, every_s=0.5)


def test_a_certificate_that_ends_soon(loaded: Ring, prometheus: Prometheus, tmp_path: Path) -> None:
    """Of one more instance, which stands by, and whose REST port speaks TLS."""
    ring = loaded
    said = yaml.safe_load(ring.config_path.read_text())
    pair = Authority(tmp_path).gives(days=5)
    said["rest"] = {"tls": {"certificate_file": pair.certificate_file, "key_file": pair.key_file}}
    other = tmp_path / "sync.yaml"
    other.write_text(yaml.safe_dump(said))
    (port,) = free_ports(1)
    with provoked(prometheus, "SalmonCertificateEnds"), pytest.MonkeyPatch.context() as patched:
        patched.setenv("SALMON_ORDINAL", "1")
        patched.setattr(ring, "config_path", other)
        ring.processes["spare"] = ring.spawn("salesforce-source", port)
        prometheus.scrape(ring.ports, secure=[port])
    prometheus.scrape(ring.ports)
    ring.stop("spare")


def test_an_org_that_is_away_and_then_silent(loaded: Ring, prometheus: Prometheus) -> None:
    """It refuses every call, then it answers none; what is late grows older meanwhile, and an edit takes long."""
    # Not accounts, of which there were so many quick edits that a slow one is below the 99th percentile.
    ring, (contact, other) = loaded, loaded.ids("Contact")[13:15]
    ring.db.contacts.update_one({"_id": contact}, {"$set": {"Phone": "555 0103"}})
    ring.wait_row("Contact", contact, lambda seen: seen["Phone"] == "555 0103")
    ring.sf.Contact.update(other, {"Phone": "555 0104"})
    ring.wait_document("contacts", other, lambda seen: seen.get("Phone") == "555 0104")
    late = ("SalmonNotFresh", "SalmonPositionNearlyLost", "SalmonPollOld", "SalmonWritesUnacknowledged")
    quiet_again(prometheus, "SalmonWaits", *late)
    with provoked(prometheus, "SalmonSideAway", "SalmonWaits", *late):
        fault(ring, "http", api="all", status=503, error_code="SERVER_UNAVAILABLE")
        fault(ring, "silence", s=600)  # nor does a stream say that there is nothing
        ring.db.contacts.update_one({"_id": contact}, {"$set": {"Phone": "555 0105"}})
    with provoked(prometheus, "SalmonServerSilent"), ring.org_suspended():
        until(lambda: prometheus.firing("SalmonServerSilent"), "the silence is noticed", every_s=0.3)
    no_faults(ring)
    with provoked(prometheus, "SalmonSlow"):
        ring.wait_row("Contact", contact, lambda seen: seen["Phone"] == "555 0105")
    quiet_again(prometheus, "SalmonSideAway", "SalmonServerSilent", "SalmonWritesUnacknowledged")


def test_a_verify_that_finds_what_no_event_told_and_one_that_cannot_look(
    loaded: Ring, prometheus: Prometheus
) -> None:
    """An edit in the org whose event was lost; then the org is away."""
    ring, account = loaded, loaded.ids("Account")[16]
    said = yaml.safe_load(ring.config_path.read_text())
    ring.config_path.write_text(yaml.safe_dump({**said, "verify": {"every": "10s"}}))
    ring.reload()
    ring.stop("merge")
    with provoked(prometheus, "SalmonDrift", within_s=120):
        fault(ring, "lose_events", object="Account", count=1)
        ring.sf.Account.update(account, {"Phone": "555 0106"})
        restart(ring, prometheus, "merge")
    with provoked(prometheus, "SalmonVerifyFails", within_s=120):
        fault(ring, "http", api="all", status=503, error_code="SERVER_UNAVAILABLE")
    no_faults(ring)


def test_far_too_many_deletes(loaded: Ring, prometheus: Prometheus) -> None:
    """The guard lets three pass."""
    ring = loaded
    with provoked(prometheus, "SalmonDeletesHeld"):
        ring.db.contacts.delete_many({"_id": {"$in": ring.ids("Contact")[20:30]}})


def test_an_allowance_that_others_use_up(loaded: Ring, prometheus: Prometheus) -> None:
    """At a fifth the sync begins to save, at nothing it waits; when there is more, it goes on by itself."""
    ring, account = loaded, loaded.ids("Account")[15]
    floor = ring.config.salesforce.api_budget.floor
    used = int(prometheus.ask('max(salmon_budget_used{budget="api_calls"})')[0]["value"][1])

    def allow(calls: int) -> None:
        body = {"DailyApiRequests": calls}
        ring.http.post(f"{ring.org['control_url']}/allowances", json=body).raise_for_status()
        ring.db.accounts.update_one({"_id": account}, {"$set": {"Phone": str(calls)}})

    with provoked(prometheus, "SalmonBudgetLow"):
        allow(floor + round(used * 1.24))
    with provoked(prometheus, "SalmonBudgetUsedUp"):
        allow(floor)
    allow(1_000_000)


def answered(prometheus: Prometheus, query: str, sobject: str) -> bool:
    """Whether a panel's query had an answer at any time of this module, with this object chosen."""
    for name, value in {"$job": "salmon", "$object": sobject, "$__rate_interval": "30s"}.items():
        query = query.replace(name, value)
    return bool(prometheus.ask(f"count_over_time(({query})[30m:5s])"))


def test_every_metric_that_is_asked_for_has_moved_and_every_panel_has_had_an_answer(
    loaded: Ring, prometheus: Prometheus
) -> None:
    """After all that has happened above: no rule has failed, and no query of a dashboard was in vain."""
    assert prometheus.rules_are_well()
    missing = [rule["alert"] for rule in rules_of(ALERTS) if not prometheus.has_fired(rule["alert"])]
    assert missing == [], "each alert was brought about in this module"
    rules = [rule["expr"] for rule in (*rules_of(ALERTS), *rules_of(RECORDING))]
    asked = set[str]().union(*map(metrics_in, (*rules, *queries())))
    unmoved = [name for name in sorted(asked - RARE) if not prometheus.ask(f"max_over_time({name}[1h]) > 0")]
    unanswered = [
        query
        for query in queries()
        if not RARE & metrics_in(query)
        and not any(answered(prometheus, query, sobject) for sobject in ("Account", "Contact"))
    ]
    assert (unmoved, unanswered) == ([], []), "\n".join([*unmoved, *unanswered])
