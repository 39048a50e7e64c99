"""SIGHUP: what counts at once, what needs a restart, and what a bad file does."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from structlog.testing import capture_logs

from salmon.app.live import Live
from salmon.app.reloading import Reloading
from salmon.app.serving import config_of
from salmon.config import models as configuration
from salmon.config.live import Changed, changes, with_live_of
from salmon.ops.health import Health
from salmon.plugin.contract import HasBudgets, SharedBudget
from salmon.salesforce.wire.budget import Level, of_api_calls


class Task:
    """A task with a budget of API calls."""

    def __init__(self, live: Live) -> None:
        self.budget = of_api_calls(live.config.salesforce.api_budget)

    def budgets(self) -> list[SharedBudget]:
        return [self.budget]


class Process:
    """What a process has that its configuration may change."""

    def __init__(self, connector: str, file: Path) -> None:
        self.file = file
        self.live = Live(configuration.load(file))
        self.live.shown.update(config_of(connector, self.live.config, file))
        self.health = Health()
        self.health.running()
        self.guards, self.graces = self.live.guards_of(["Account"]), self.live.graces_of(["Account"])
        self.task = Task(self.live)
        assert isinstance(self.task, HasBudgets)
        self.live.watch("salesforce", self.task)
        self.reload = Reloading(connector, file, self.live, self.health).reload

    def edited(self, **keys: Any) -> list[Any]:
        """Change keys of the file (two underscores for a level), send SIGHUP, and return the log."""
        tree = yaml.safe_load(self.file.read_text())
        for path, value in keys.items():
            *above, last = path.split("__")
            place = tree
            for part in above:
                place = place.setdefault(part, {})
            place[last] = value
        self.file.write_text(yaml.safe_dump(tree))
        with capture_logs() as logged:
            self.reload()
        return list(logged)

    @property
    def waits(self) -> str:
        return " ".join(each.sentence for each in self.health.report().waiting_for)


@pytest.fixture
def process(sync_yaml: Path) -> Iterator[Process]:
    level = logging.getLogger("salmon").level
    yield Process("salesforce-sink", sync_yaml)
    logging.getLogger("salmon").setLevel(level)


def test_what_may_change_counts_at_once_for_all_that_share_it(process: Process) -> None:
    """Limits of errors and deletes, waits, budgets, intervals, the level of the log; and REST shows it."""
    process.task.budget.saw(700, 1000)
    levels = [process.task.budget.level]
    (told,) = process.edited(
        errors={"tolerance": "none", "limit.consecutive": 7},
        objects__Account__delete_guard={"deletes_max": 9},
        objects__Account__deletes={"grace_s": 1.5},
        objects__Account__refresh={"every": "2d"},
        salesforce__api_budget={"share": 0.9, "floor": 10},
        log={"level": "debug"},
    )
    assert (process.live.tolerance.tolerates, process.live.tolerance.consecutive) == (False, 7)
    assert process.guards["Account"].deletes_max == 9
    assert process.graces == {"Account": 1.5}
    assert process.live.objects["Account"].refresh.every_s == 172_800
    levels.append(process.task.budget.level)
    assert levels == [Level.NOTHING, Level.HALF]
    assert logging.getLogger("salmon").level == logging.DEBUG
    assert process.live.shown["errors.limit.consecutive"] == "7"
    assert told["event"] == "configuration_reloaded"
    assert told["need_restart"] == []
    assert "objects.Account.delete_guard.deletes_max" in told["changed"]
    assert process.health.report().message == "Worker has completed startup and runs."


def test_what_needs_a_restart_does_not_count_and_is_named(process: Process) -> None:
    """With what to do, until the file says again what counts; other settings of the same save count at once."""
    process.edited(
        objects__Account__fields={"exclude": ["Fax"]},
        objects__Lead={"collection": "leads"},
        errors={"limit.window": 50},
    )
    assert process.live.objects.keys() == {"Account"}
    assert process.live.objects["Account"].fields.exclude == ()
    assert process.live.tolerance.window == 50
    message = process.health.report().message
    assert (
        "objects.Account.fields.exclude, objects.Lead will count after a restart of salesforce-sink"
        in message
    )
    assert "POST /connectors/salesforce-sink/restart" in message
    assert "objects.Account.fields.exclude" not in process.live.shown
    tree = yaml.safe_load(process.file.read_text())
    del tree["objects"]["Lead"], tree["objects"]["Account"]["fields"]
    process.file.write_text(yaml.safe_dump(tree))
    process.reload()
    assert "restart" not in process.health.report().message


def test_a_process_names_only_what_it_uses(process: Process) -> None:
    """The other side's settings are nothing to it."""
    (told,) = process.edited(mongodb__database="other", name="crm2")
    assert told["need_restart"] == ["name"]


def test_a_bad_file_changes_nothing_and_is_told_until_it_is_corrected(process: Process) -> None:
    """Not even what is right in it: the former configuration counts on, as a whole."""
    before = process.live.config
    (told,) = process.edited(errors={"limit.consecutive": 7, "limit.ratio": 5}, log={"level": "debug"})
    assert (told["event"], told["log_level"]) == ("configuration_refused", "error")
    assert process.live.config is before
    assert process.live.tolerance.consecutive == 1000
    assert process.health.report().degraded
    assert "errors.limit.ratio: is a whole number (int), but must be less than or equal to 1" in process.waits
    assert "the former one counts on; but a restart would fail" in process.waits
    process.edited(errors={"limit.consecutive": 7})
    assert process.live.tolerance.consecutive == 7
    assert not process.health.report().degraded
    assert process.waits == ""


def test_going_from_keys_to_a_provider_never_opens_the_api(sync_yaml: Path) -> None:
    """The keys would be gone at once, and the provider would only count after a restart: the reload is refused until then."""
    key = {"hash": f"sha256:{'0' * 64}", "scopes": ["*:read"]}
    tree = yaml.safe_load(sync_yaml.read_text())
    sync_yaml.write_text(yaml.safe_dump({**tree, "api": {"host": "0.0.0.0", "keys": {"shop": key}}}))
    api, merge = Process("api", sync_yaml), Process("merge", sync_yaml)
    oidc = {"issuer": "https://login.acme.example", "audience": "salmon"}
    (told,) = api.edited(api={"host": "0.0.0.0", "oidc": oidc})
    assert (told["event"], told["log_level"]) == ("configuration_refused", "error")
    assert api.live.config.api is not None
    assert api.live.config.api.has_credentials
    assert "Restart the API" in api.waits
    merge.reload()
    assert merge.waits == "", "no process but the API is concerned"
    api.edited(api={"host": "0.0.0.0", "oidc": oidc, "keys": {"till": key}})
    assert list(api.live.config.api.known_keys) == ["till"]
    assert api.waits == ""


def test_a_file_that_is_gone_changes_nothing(process: Process) -> None:
    """An editor replaces files; a mount may be away for a moment."""
    process.file.unlink()
    process.reload()
    assert "cannot be read" in process.waits


def test_the_level_of_the_command_line_counts_whatever_the_file_says(sync_yaml: Path) -> None:
    """--log-level."""
    live = Live(configuration.load(sync_yaml), "warning")
    tree = yaml.safe_load(sync_yaml.read_text())
    sync_yaml.write_text(yaml.safe_dump({**tree, "log": {"level": "debug"}}))
    Reloading("merge", sync_yaml, live, Health()).reload()
    assert (live.config.log.level, live.log_level) == ("debug", "warning")


def test_the_settings_that_count_at_once_are_marked_in_the_table() -> None:
    """They say only when and how much: none of them names a field, a place or a person, but for who may use the API."""
    marked = {row.split("`")[1] for row in configuration.settings_table().splitlines() if "*Reload.*" in row}
    assert {key.rpartition(".")[0] for key in marked} == {
        "api",
        "api.keys.<name>",
        "api.oidc",
        "errors",
        "errors.limit",
        "errors.retry",
        "errors.retry.delay.max",
        "log",
        "objects.<sObject>.capture",
        "objects.<sObject>.delete_guard",
        "objects.<sObject>.deletes",
        "objects.<sObject>.refresh",
        "salesforce.api_budget",
        "salesforce.event_budget",
    }
    assert not any(key.endswith((".mode", ".direction", ".collection")) for key in marked)


def test_the_live_part_of_a_configuration_is_what_its_marks_say(sync_yaml: Path) -> None:
    """Taking it from a newer one leaves exactly what needs a restart as a difference."""
    old = configuration.load(sync_yaml)
    tree = yaml.safe_load(sync_yaml.read_text())
    tree |= {
        "errors": {"retry.timeout": 5},
        "kafka": {"bootstrap.servers": "b:1"},
        "merge": {"state_dir": "x"},
    }
    sync_yaml.write_text(yaml.safe_dump(tree))
    new = configuration.load(sync_yaml)
    assert set(changes(old, new)) == {
        Changed("errors.retry.timeout", live=True),
        Changed("kafka.bootstrap.servers", live=False),
        Changed("merge.state_dir", live=False),
    }
    taken = with_live_of(old, new)
    assert [each.key for each in changes(taken, new)] == ["kafka.bootstrap.servers", "merge.state_dir"]
    assert [each.key for each in changes(old, taken)] == ["errors.retry.timeout"]
