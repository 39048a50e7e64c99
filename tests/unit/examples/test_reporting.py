"""The example of reports is a whole configuration, and its reports fit the objects of an ordinary org."""

from __future__ import annotations

from pathlib import Path

from salmon.config.bound_reports import bound_reports
from salmon.config.checking import checked
from salmon.config.models import SyncConfig
from support.at_hand.api_room import schemas_of
from support.plugins import EXAMPLES


def test_it_can_be_used_as_it_stands(tmp_path: Path) -> None:
    """Once the org's addresses and the secrets that it refers to are there; each report names fields that are there."""
    (tmp_path / "ca.pem").touch()
    env = {"SALESFORCE_PUBSUB_ENDPOINT": "localhost:7443", "SALESFORCE_CA_FILE": str(tmp_path / "ca.pem")}
    found = checked(EXAMPLES / "reporting" / "sync.yaml", SyncConfig, env=env, without_values=True)
    config = found.usable()
    assert {note.key[0] for note in found.notes} == {"salesforce", "mongodb"}, "what is missing, are secrets"
    bound = bound_reports(config, schemas_of(*config.objects))
    assert bound.faults == {}
    assert list(bound.usable) == list(config.reports)
