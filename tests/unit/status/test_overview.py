"""What `salmon status --json` says of a process, by its own metrics."""

from __future__ import annotations

from io import StringIO

import pytest
from confluent_kafka.admin import AdminClient
from rich.console import Console

from salmon.cli.status import show_processes
from salmon.kafka import tables
from salmon.kafka.topics import Topics
from salmon.model.sides import OWN_ROSTER
from salmon.ops.metrics import Metrics
from salmon.source.reach import StreamAge
from salmon.status.counting import NONE
from salmon.status.overview import Overview, _Look
from salmon.status.scraping import ProcessReport, parsed


def test_status_says_how_far_a_source_has_read_and_how_old_the_oldest_write_is() -> None:
    """Beside how long the side keeps what follows; a process that does not report it has none."""
    source, sink = Metrics("mongodb-source"), Metrics("salesforce-sink")
    source.watch_positions(lambda: [StreamAge("stream", 7.0, 86_400.0)])
    sink.watch_writes(lambda: {"Account": 0})
    reports = tuple(
        ProcessReport(each.connector, "", "healthy", "", parsed(each.exposition().decode()))
        for each in (source, sink)
    )
    said = Overview(reports, (), NONE, {}, {}).as_dict()["processes"]
    assert said["mongodb-source"]["position_age_s"] == {"stream": 7.0}
    assert said["mongodb-source"]["position_kept_s"] == {"stream": 86_400.0}
    assert said["mongodb-source"]["oldest_write_s"] == {}
    assert said["salesforce-sink"]["oldest_write_s"] == {"Account": 0.0}
    assert said["salesforce-sink"]["position_age_s"] == {}


def test_status_counts_what_applications_still_write_at_former_paths() -> None:
    """From the metric of the source, for scripts and for people; an object without any is left out."""
    source = Metrics("mongodb-source")
    source.count_former_paths(lambda: {"Account": 3, "Contact": 0})
    report = ProcessReport("mongodb-source", "", "healthy", "", parsed(source.exposition().decode()))
    said = Overview((report,), (), NONE, {}, {}).as_dict()["processes"]["mongodb-source"]
    assert said["former_path_writes"] == {"Account": 3}
    output = Console(file=StringIO(), width=300)
    show_processes([report], output)
    assert isinstance(output.file, StringIO)
    shown = output.file.getvalue()
    assert "mongodb-source: Account: applications have written fields 3 times where they were before" in shown
    assert "Contact" not in shown


@pytest.mark.parametrize(("now", "named"), [("t1", False), ("t2", True), ("", False)])
def test_a_topic_with_another_id_than_merge_has_noted_is_made_again(
    monkeypatch: pytest.MonkeyPatch, now: str, named: bool
) -> None:
    """As merge itself decides it: by the topic's id beside its place; a broker without ids says nothing."""
    monkeypatch.setattr(tables, "describe", lambda *_: tables.Description("c", now, 1))
    topics = Topics("crm")
    changes = topics.changes("Account")
    look = _Look({}, topics, AdminClient({}), {}, {}, OWN_ROSTER)
    look.positions = {"merge": {f"{changes}/0": {"offset": 5, "topic_id": "t1"}}}
    assert look.made_again(["Account", "Contact"]) == ((changes,) if named else ())
