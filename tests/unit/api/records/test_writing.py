"""Reading and writing one record of an object with several collections, while it moves from one of them to the other."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Final

import pytest

from salmon.api.handle import Api, ApiObject
from salmon.api.problems import Problem
from salmon.api.records import writing
from salmon.api.records.writing import Conditions
from support.at_hand.api_room import api_of

DOCUMENT: Final = {"_id": "a", "Name": "A"}


class Cars:
    """A collection; after a look at the first one, what the second one has is moved there."""

    def __init__(self, database: dict[str, Any]) -> None:
        self.database, self.held = database, dict[str, Any]()

    def _looked(self) -> dict[str, Any] | None:
        found = self.held or None
        first, second = self.database.values()
        if self is first and second.held:
            first.held, second.held = second.held, {}
        return found

    def find_one(self, *_: Any, **__: Any) -> dict[str, Any] | None:
        return self._looked()

    def find_one_and_update(self, *_: Any, **__: Any) -> dict[str, Any] | None:
        return self._looked()

    def delete_one(self, _: Any) -> Any:
        return SimpleNamespace(deleted_count=int(self._looked() is not None))


@pytest.fixture
def cars() -> tuple[Api, ApiObject, dict[str, Any]]:
    """The API, its object, and the two collections; the second one has the record."""
    two = [
        {"collection": "fiats", "filter": 'Make__c == "Fiat"'},
        {"collection": "others", "filter": 'Name != ""'},
    ]
    database: dict[str, Any] = {}
    database |= {name: Cars(database) for name in ("fiats", "others")}
    database["others"].held = dict(DOCUMENT)
    api = api_of("Car__c", database=database, objects={"Car__c": {"collection": None, "collections": two}})
    return api, api.objects["Car__c"], database


@pytest.mark.parametrize(
    "act",
    [
        lambda api, of: writing.require_found(writing.found(api, of, "a")),
        lambda api, of: writing.change(api, of, DOCUMENT, {"Name": "B"}, Conditions()),
        lambda api, of: writing.delete(api, of, DOCUMENT, Conditions()),
    ],
)
def test_a_record_that_moves_meanwhile_is_not_missing(
    cars: tuple[Api, ApiObject, dict[str, Any]], act: Callable[[Api, ApiObject], Any]
) -> None:
    """It moves to the collection that was looked at already; one that is nowhere is missing all the same."""
    api, of, database = cars
    act(api, of)
    database["fiats"].held = database["others"].held = {}
    with pytest.raises(Problem, match="no record with this key"):
        act(api, of)
