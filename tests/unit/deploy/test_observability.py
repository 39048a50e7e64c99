"""Alerts, recording rules, dashboards and runbooks: each names what there is, and each alert is tested and has its page."""

from __future__ import annotations

import functools
import json
import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from typer.main import get_command

from salmon.cli.main import app
from support.programs.prometheus import (
    ALERTS,
    DASHBOARDS,
    DEPLOY,
    RECORDING,
    metrics_in,
    queries,
    rules_of,
    tool,
)

RUNBOOKS: Final = {file.stem: file for file in (DEPLOY / "runbooks").glob("Salmon*.md")}
ALERT: Final = {rule["alert"]: rule for rule in rules_of(ALERTS)}
RECORDED: Final = {rule["record"]: rule for rule in rules_of(RECORDING)}
PACKAGE: Final = DEPLOY.parent / "connectors" / "salmon"
RULE_TESTS: Final = Path(__file__).with_name("alerts_test.yml")
PARTS: Final = ("What it means", "What is not lost", "How to look", "How to mend")
# Declared by prometheus_client for every process.
OF_PROCESSES: Final = {"process_resident_memory_bytes", "process_cpu_seconds_total"}
OF_PROMETHEUS: Final = {"up", "ALERTS"}


@functools.cache
def source_of(room: str) -> str:
    """All that is written in a room of the package."""
    return "\n".join(file.read_text() for file in sorted((PACKAGE / room).rglob("*.py")))


@functools.cache
def declared() -> set[str]:
    """The names of all metrics, as the product declares them, with what Prometheus' formats add."""
    source = source_of("ops")
    names = set(re.findall(r"\"(salmon_[a-z_]+)\"", source))
    names |= {
        f"salmon_budget_{name}" for name in re.findall(r"^\s+\(?\"(\w+)\",", source, flags=re.MULTILINE)
    }
    groups = re.findall(r"\"((?:source_task|sink_task|task_error|connector_task)_metrics_\w+)\"", source)
    names |= {f"kafka_connect_{name}" for name in groups}
    return names | OF_PROCESSES


def base(metric: str) -> str:
    return re.sub(r"_(?:total|bucket|sum|count|avg|max|rate)$", "", metric)


def test_promtool_finds_each_alert_silent_before_firing_when_it_should_and_silent_where_nothing_is_wrong() -> (
    None
):
    """The unit tests of the rules."""
    ended = subprocess.run(
        [tool("promtool"), "test", "rules", str(RULE_TESTS)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_each_alert_has_unit_tests_that_see_it_fire_and_stay_silent() -> None:
    """Whoever adds an alert adds both."""
    told = yaml.safe_load(RULE_TESTS.read_text())["tests"]
    fire = {case["alertname"] for test in told for case in test["alert_rule_test"] if case["exp_alerts"]}
    silent = {
        case["alertname"] for test in told for case in test["alert_rule_test"] if "wrong" in test["name"]
    }
    assert fire == silent == set(ALERT)


@pytest.mark.parametrize("name", ALERT)
def test_an_alert_says_how_bad_it_is_and_in_a_sentence_what_is_wrong(name: str) -> None:
    """A sentence for a person, what to do first, and a page that says more."""
    rule = ALERT[name]
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in {"critical", "warning"}
    told = rule["annotations"]
    assert told.keys() == {"summary", "description", "runbook_url"}
    assert told["summary"][0].isupper() or told["summary"].startswith("{{")
    assert told["summary"].endswith(".")
    assert told["runbook_url"] == f"deploy/runbooks/{name}.md"


def test_each_alert_has_its_runbook_and_each_runbook_its_alert() -> None:
    """And the list of runbooks names all of them."""
    assert RUNBOOKS.keys() == ALERT.keys()
    index = (DEPLOY / "runbooks" / "README.md").read_text()
    assert re.findall(r"\[(Salmon\w+)\]\(\1\.md\) \| (\w+) \| (.+) \|", index) == [
        (name, rule["labels"]["severity"], rule["annotations"]["description"]) for name, rule in ALERT.items()
    ]


@pytest.mark.parametrize("name", RUNBOOKS)
def test_a_runbook_answers_four_questions_and_links_to_pages_that_exist(name: str) -> None:
    """In the order in which they are asked at 3 a.m., each with an answer."""
    text = RUNBOOKS[name].read_text()
    rule = ALERT[name]
    head, *parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    assert head == f"# {name}\n\n**{rule['labels']['severity']}** · {rule['annotations']['description']}\n\n"
    assert tuple(parts[::2]) == PARTS
    assert all(len(part.split()) >= 3 for part in parts[1::2])
    for target in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert (RUNBOOKS[name].parent / target).exists(), target


def commands(text: str) -> list[list[str]]:
    """The `salmon ...` commands in a page."""
    return [found.split() for found in re.findall(r"(?:^|`)salmon ((?!/)[^`\n]+)", text, flags=re.MULTILINE)]


@pytest.mark.parametrize("page", sorted((DEPLOY / "runbooks").glob("*.md")), ids=lambda page: page.stem)
def test_the_commands_of_a_runbook_exist_with_these_options(page: Path) -> None:
    """What somebody types at 3 a.m. works."""
    for words in commands(page.read_text()):
        command: Any = get_command(app)
        rest = list(words)
        while rest and hasattr(command, "commands") and rest[0] in command.commands:
            command = command.commands[rest.pop(0)]
        assert not hasattr(command, "commands") or rest == [], words
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("-")} <= known, words


@pytest.mark.parametrize("page", sorted((DEPLOY / "runbooks").glob("*.md")), ids=lambda page: page.stem)
def test_the_metrics_and_events_that_a_runbook_names_exist(page: Path) -> None:
    """Nobody looks for a name that no process shows."""
    source = source_of("")
    settings = (DEPLOY.parent / "README.md").read_text()
    names = declared()
    for told in re.findall(r"`([a-z_]+)`", page.read_text()):
        if told.startswith(("salmon_", "kafka_connect_")):
            assert told in names or base(told) in names, told
        elif "_" in told:
            assert f'"{told}"' in source or f"`{told}" in settings or told in settings, told


def test_every_metric_that_is_asked_for_is_declared_and_every_recording_is_made() -> None:
    """A query on a name that nobody exports shows nothing, for ever."""
    names, used = declared(), set[str]()
    for query in (*(rule["expr"] for rule in (*ALERT.values(), *RECORDED.values())), *queries()):
        plain = re.sub(r"\"[^\"]*\"", '""', query)
        for recorded in re.findall(r"\b\w+:\w+:?\w*\b", plain):
            assert recorded in RECORDED, query
            used.add(recorded)
        asked = metrics_in(query)
        assert asked or re.search(r"\b(?:up|ALERTS)\b|\w:\w", plain), query
        for name in asked:
            assert name in names or base(name) in names, (name, query)
    assert used == set(RECORDED), "no rule is recorded for nobody"


def test_dashboards_are_complete_and_their_panels_do_not_overlap() -> None:
    """Each has its own uid and the choice of Prometheus and sync; each panel a title, a sentence, a unit, and a place of its own."""
    told = [json.loads(file.read_text()) for file in DASHBOARDS]
    assert len({each["uid"] for each in told}) == len(told) == 5
    for file, dashboard in zip(DASHBOARDS, told, strict=True):
        assert file.stem == dashboard["uid"]
        variables = [each["name"] for each in dashboard["templating"]["list"]]
        assert variables[:2] == ["datasource", "job"]
        taken: set[tuple[int, int]] = set()
        assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
        for panel in dashboard["panels"]:
            at = panel["gridPos"]
            place = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
            assert not taken & place, panel["title"]
            assert at["x"] + at["w"] <= 24
            taken |= place
            if panel["type"] != "row":
                assert panel["description"].endswith(".")
                assert panel["fieldConfig"]["defaults"]["unit"]
                asked = " ".join(target["expr"] for target in panel["targets"])
                used = set(re.findall(r"\$(\w+)", asked)) - {"__rate_interval"}
                assert used <= set(variables), panel["title"]


def test_grafana_and_prometheus_are_given_the_files() -> None:
    """The provisioning is valid YAML of the form that Grafana reads; Prometheus names both rule files."""
    folder = DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "salmon.yaml").read_text())["datasources"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    (provider,) = yaml.safe_load((folder / "dashboards" / "salmon.yaml").read_text())["providers"]
    assert provider["type"] == "file"
    told = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    assert told["rule_files"] == [RECORDING.name, ALERTS.name]
    ended = subprocess.run(
        [tool("promtool"), "check", "config", str(DEPLOY / "prometheus" / "prometheus.yml")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("page", ["README.md", "security.md", "disaster.md", "runbooks/README.md"])
def test_the_links_of_a_page_lead_somewhere(page: str) -> None:
    """To a file of this repository; also each test that a page names as its proof."""
    file = DEPLOY / page
    for target in re.findall(r"\]\((?!http)([^)#]+)", file.read_text()):
        assert (file.parent / target).exists(), target
