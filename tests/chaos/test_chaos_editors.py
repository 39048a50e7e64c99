"""What the editors of a run leave alone, because nobody could know what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any, cast

import pytest

from support.chaos.editors import Family
from support.chaos.fields import MONGODB
from support.chaos.hands import Hands, World
from support.chaos.journal import CREATE, DELETE, Edit, Journal
from support.chaos.stage import Stage


class Both(Hands):
    """Hands that write nowhere. *filled_in*: whether the application sees what Salesforce fills in."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.journal = world.journal
        self.filled_in = False

    def create(self, side: str, object_name: str, values: Mapping[str, Any], document_id: Any = None) -> Edit:
        edit = self.journal.begin(side, object_name, str(document_id), CREATE, values)
        self.journal.acknowledged(edit)
        return edit

    def delete(self, side: str, object_name: str, key: str, document_id: Any = None) -> Edit:
        del document_id
        edit = self.journal.begin(side, object_name, key, DELETE)
        self.journal.acknowledged(edit)
        return edit

    def seen(self, side: str, object_name: str, key: str, name: str) -> Any:
        del side, object_name, key, name
        return "005" if self.filled_in else None


def founded(world: World) -> tuple[Family, Both]:
    family, hands = Family(MONGODB, world, seed=1), Both(world)
    family.hands = hands
    family._found()
    return family, hands


def deleted(world: World) -> list[str]:
    return [edit.object_name for edit in world.journal.edits() if edit.kind == DELETE]


@pytest.fixture
def world() -> World:
    numbers = count(1)
    return World(cast("Stage", None), Journal(), {}, {}, lambda: next(numbers), hasty=True)


def test_in_haste_a_family_is_deleted_unseen(world: World) -> None:
    """Also while events are missing, if the sync is told so."""
    world.hole.set()
    family, _ = founded(world)
    family._bury(family._living[0])
    assert deleted(world) == ["Opportunity", "Contact"]


def test_a_family_founded_while_events_get_lost_untold_is_deleted_only_when_it_was_seen(world: World) -> None:
    """
    The event of its account's creation may be lost. Then Salesforce's report of the contact has the account's Id instead of its
    key, which looks like an edit there: a deletion by somebody who has not seen it would be a conflict with it.
    """
    world.hole.set()
    world.untold.set()
    family, hands = founded(world)
    family._bury(family._living[0])
    world.untold.clear()
    world.hole.clear()
    family._bury(family._living[0])
    assert deleted(world) == []
    hands.filled_in = True
    family._bury(family._living[0])
    assert deleted(world) == ["Opportunity", "Contact"]
