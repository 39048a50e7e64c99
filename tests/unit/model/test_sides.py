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
    assert tuple(side.name for side in sides.ALL) == SIDES


@pytest.mark.parametrize("side", sides.ALL, ids=lambda side: side.name)
def test_a_side_has_a_section_of_the_configuration_and_two_entry_points(side: sides.Side) -> None:
    """All by its one name."""
    assert side.name in SyncConfig.model_fields
    for group in (discovery.SOURCES, discovery.SINKS):
        assert entry_points(group=group, name=side.name)
    assert sides.side_of(side.source) is sides.side_of(side.sink) is side


def test_merge_is_of_no_side() -> None:
    """Nor is a name that nobody has."""
    assert sides.side_of("merge") is None
    assert sides.side_of("oracle-source") is None


def test_one_side_describes_the_objects() -> None:
    """Its source starts first: the others take the schemas as they find them."""
    assert [side.name for side in sides.ALL if side.describes] == ["salesforce"]
