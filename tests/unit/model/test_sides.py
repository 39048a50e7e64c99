"""The sides of a sync: their names are in one place."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

from salmon.config.models import SyncConfig
from salmon.kafka.topics import CONNECTORS
from salmon.model import sides
from salmon.model.change import SIDES
from salmon.runtime import discovery


def test_the_connectors_of_a_sync_are_those_of_its_sides_with_merge_between() -> None:
    """In the order in which they start and are shown."""
    assert CONNECTORS == ("salesforce-source", "mongodb-source", "merge", "mongodb-sink", "salesforce-sink")
    assert tuple(side.name for side in sides.OWN) == SIDES


@pytest.mark.parametrize("side", sides.OWN, ids=lambda side: side.name)
def test_a_side_has_a_section_of_the_configuration_and_two_entry_points(side: sides.Side) -> None:
    """All by its one name."""
    assert side.name in SyncConfig.model_fields
    for group in (discovery.SOURCES, discovery.SINKS):
        assert entry_points(group=group, name=side.name)
    assert sides.side_of(side.source) is sides.side_of(side.sink) is side


def test_merge_is_of_no_side() -> None:
    """Nor is a name that nobody has."""
    assert sides.side_of("merge") is None
    assert sides.side_of("oracle") is None


def test_a_further_side_has_its_connectors_by_the_same_rule() -> None:
    """They stand after Salmon's own sources, and before its own sinks."""
    sheets = sides.Side("sheets", guarded=True)
    assert sides.connectors_of((*sides.OWN, sheets)) == (
        "salesforce-source",
        "mongodb-source",
        "sheets-source",
        "merge",
        "sheets-sink",
        "mongodb-sink",
        "salesforce-sink",
    )
    found = sides.side_of("sheets-sink")
    assert found is not None
    assert (found.name, found.source, found.direction) == ("sheets", "sheets-source", "to_sheets")


def test_a_side_has_all_objects_but_those_that_say_otherwise() -> None:
    """Object by object."""
    roster = sides.Roster((*sides.OWN, sides.Side("sheets")), {"Lead": sides.OWN})
    assert roster.has("sheets", "Account")
    assert not roster.has("sheets", "Lead")
    assert roster.names_of("Lead") == SIDES


def test_one_side_describes_the_objects() -> None:
    """Its source starts first: the others take the schemas as they find them."""
    assert [side.name for side in sides.OWN if side.describes] == ["salesforce"]
