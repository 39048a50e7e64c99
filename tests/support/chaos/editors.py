"""
People and applications at work: each editor is a thread with stock clients, a seed, and an eye on the journal.

    Owner    edits the fields that its side alone edits, on records that exist
    Family   creates, edits and deletes records of its own, with references between them
    Turns    edits a field on one side, waits until the other shows it, and answers there
    Races    edits a field on both sides at once

An editor restarts now and then: its clients are closed, and new ones are made.
"""

from __future__ import annotations

import random
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

import requests
from bson import ObjectId
from pymongo import MongoClient
from pymongo.errors import PyMongoError
from simple_salesforce.exceptions import SalesforceError

from support.chaos import fields, reading
from support.chaos.fields import MONGODB, ROLES, SALESFORCE, Type
from support.chaos.journal import CREATE, DELETE, UPDATE, Edit, Journal
from support.chaos.reading import COLLECTIONS, Document
from support.chaos.stage import Stage

_PAUSE_S: Final = (0.05, 0.3)  # between two edits of one editor
_RESTART_AFTER: Final = (20, 60)  # edits
_AT_ONCE: Final = 8  # fields that go by turns at the same time
# Five rounds in ten minutes would look like two automations that undo each other (README, Known limits).
_TURNS_MAX: Final = 4
_SEEN_WITHIN_LOOKS: Final = 300
_FAMILY_MAX: Final = 12  # records that an editor keeps before it deletes
SERVER_FAULTS: Final = 500  # HTTP: from here on the server itself does not say what it did


@dataclass(frozen=True, slots=True)
class World:
    """
    What all editors share.

    Args:
        keys: Object -> the records that both sides had at the beginning.
        hasty: Whether applications also touch what Salesforce itself is about to fill in, or to clear: they leave a
            checkbox to it, refer to a contact that they delete, and delete a record that it has not answered yet.
    """

    stage: Stage
    journal: Journal
    types: Mapping[str, Mapping[str, Type]]
    keys: Mapping[str, list[str]]
    numbers: Callable[[], int]
    hasty: bool = False


class Hands:
    """The two clients of an editor, made when they are needed; and every edit goes through the journal."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._org: Any = None
        self._documents: MongoClient[Document] | None = None
        self.restarts = 0

    def restart(self) -> None:
        """Close both clients; the next edit makes new ones."""
        self.restarts += 1
        self._org = None
        if self._documents is not None:
            self._documents.close()
            self._documents = None

    def update(
        self, side: str, object_name: str, key: str, values: Mapping[str, Any], race: int | None = None
    ) -> Edit:
        """Set fields of a record."""
        edit = self._world.journal.begin(side, object_name, key, UPDATE, values, race=race)
        if side == SALESFORCE:
            return self._done(edit, lambda: getattr(self.org, object_name).update(key, self._for_org(edit)))
        return self._done(edit, lambda: self._set(edit))

    def create(self, side: str, object_name: str, values: Mapping[str, Any], document_id: Any = None) -> Edit:
        """Create a record; the edit's key is None where nobody knows whether it is there."""
        key = None if side == SALESFORCE else fields.key_of(document_id)
        edit = self._world.journal.begin(side, object_name, key, CREATE, values)
        if side == SALESFORCE:
            return self._done(edit, lambda: getattr(self.org, object_name).create(self._for_org(edit))["id"])
        document = {"_id": document_id, **self._for_document(edit)}
        return self._done(edit, lambda: self._collection(object_name).insert_one(document) and None)

    def delete(self, side: str, object_name: str, key: str, document_id: Any = None) -> Edit:
        """Delete a record."""
        edit = self._world.journal.begin(side, object_name, key, DELETE)
        if side == SALESFORCE:
            return self._done(edit, lambda: getattr(self.org, object_name).delete(key) and None)
        return self._done(
            edit, lambda: self._collection(object_name).delete_one({"_id": document_id}) and None
        )

    def seen(self, side: str, object_name: str, key: str, name: str) -> Any:
        """What a side shows of a field now, in plain form; None also where it does not answer."""
        kind = self._world.types[object_name][name]
        try:
            if side == SALESFORCE:
                return fields.from_org(kind, getattr(self.org, object_name).get(key)[name])
            document = self._collection(object_name).find_one({"_id": _document_id(key)}) or {}
        except reading.FAILURES:
            self.restart()
            return None
        return fields.from_document(kind, document.get(name))

    @property
    def org(self) -> Any:
        if self._org is None:
            self._org = reading.person(self._world.stage.org)
        return self._org

    def _collection(self, object_name: str) -> Any:
        if self._documents is None:
            self._documents = reading.application(self._world.stage.mongodb_uri)
        return reading.database(self._documents)[COLLECTIONS[object_name]]

    def _set(self, edit: Edit) -> None:
        assert edit.key is not None
        document_id = _document_id(edit.key)
        found = self._collection(edit.object_name).update_one(
            {"_id": document_id}, {"$set": self._for_document(edit)}
        )
        if not found.matched_count:
            self._world.journal.refused(edit)

    def _for_org(self, edit: Edit) -> dict[str, Any]:
        kinds = self._world.types[edit.object_name]
        return {name: fields.for_org(kinds[name], plain) for name, plain in edit.values.items()}

    def _for_document(self, edit: Edit) -> dict[str, Any]:
        kinds = self._world.types[edit.object_name]
        return {
            name: _document_id(plain)
            if kinds[name].target and plain
            else fields.for_document(kinds[name], plain)
            for name, plain in edit.values.items()
        }

    def _done(self, edit: Edit, send: Callable[[], Any]) -> Edit:
        """Send an edit, and write down what the server said of it."""
        journal = self._world.journal
        try:
            key = send()
        except SalesforceError as error:
            if error.status < SERVER_FAULTS:
                journal.refused(edit)
            self.restart()
        except (requests.RequestException, PyMongoError):
            self.restart()
        else:
            if edit.outcome != "refused":
                journal.acknowledged(edit, key if isinstance(key, str) else None)
        return edit


class Editor(ABC):
    """One thread of edits."""

    def __init__(self, name: str, world: World, seed: int) -> None:
        self.name = name
        self.world = world
        self.rng = random.Random(f"{name} {seed}")
        self.hands = Hands(world)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self.failure: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Return when the last edit has been answered, or given up."""
        self._stopped.set()
        self._thread.join()

    @abstractmethod
    def edit(self) -> None:
        """One step."""

    def value(self, object_name: str, name: str, side: str) -> Any:
        """A new value for a field, in plain form."""
        kind = self.world.types[object_name][name]
        if kind.target:
            return self.rng.choice(self.world.keys[kind.target])
        return fields.drawn(kind, self.world.numbers(), self.rng)

    def _work(self) -> None:
        left = self.rng.randint(*_RESTART_AFTER)
        try:
            while not self._stopped.wait(self.rng.uniform(*_PAUSE_S)):
                self.edit()
                left -= 1
                if left == 0:
                    self.hands.restart()
                    left = self.rng.randint(*_RESTART_AFTER)
        except Exception as error:  # noqa: BLE001  # told by the run: an editor that broke down has shown nothing
            self.failure = error
        finally:
            self.hands.restart()


class Owner(Editor):
    """Edits what its side alone edits."""

    def __init__(self, side: str, world: World, seed: int) -> None:
        super().__init__(f"owner-{side}", world, seed)
        self._side = side

    def edit(self) -> None:
        object_name = self.rng.choice(tuple(ROLES))
        key = self.rng.choice(self.world.keys[object_name])
        own = ROLES[object_name].of(self._side)
        names = self.rng.sample(own, self.rng.randint(1, 3))
        values = {name: self.value(object_name, name, self._side) for name in names}
        if values.get("ReportsToId") == key:
            del values["ReportsToId"]  # nobody reports to himself
        if values:
            self.hands.update(self._side, object_name, key, values)


@dataclass(slots=True)
class _Child:
    object_name: str
    key: str
    document_id: Any = None
    holds: _Child | None = None  # what refers to it, and goes before it


class Family(Editor):
    """Creates an account, a contact of it and an opportunity of both; edits them; deletes what is too much."""

    def __init__(self, side: str, world: World, seed: int) -> None:
        super().__init__(f"family-{side}", world, seed)
        self._side = side
        self._living: list[_Child] = []

    def edit(self) -> None:
        if len(self._living) > _FAMILY_MAX:
            self._bury(self.rng.choice(self._living))
        elif not self._living or self.rng.random() < 0.3:
            self._found()
        else:
            family = self.rng.choice(self._living)
            one = self.rng.choice([family, family.holds or family])
            name = self.rng.choice(
                [each for each in ROLES[one.object_name].of(self._side) if not each.endswith("Id")]
            )
            self.hands.update(
                self._side, one.object_name, one.key, {name: self.value(one.object_name, name, self._side)}
            )

    def _found(self) -> None:
        number = self.world.numbers()
        account = self._create("Account", {"Name": f"Chaos {number}", "Site": f"Site {number}"})
        if account is None:
            return
        contact = self._create("Contact", {"LastName": f"Chaos {number}", "AccountId": account.key})
        if contact is None:
            return
        says: dict[str, Any] = {
            "Name": f"Chaos {number}",
            "StageName": "Prospecting",
            "CloseDate": "2027-01-31",
            "AccountId": account.key,
        }
        if self.world.hasty:
            says["ContactId"] = contact.key  # set once, and cleared by Salesforce when the contact goes
        else:
            says["IsPrivate"] = False  # else Salesforce fills it in, perhaps while we edit it
        contact.holds = self._create("Opportunity", says)
        # The account stays: Salesforce deletes its contacts with it, whoever made them.
        self._living.append(contact)

    def _create(self, object_name: str, values: Mapping[str, Any]) -> _Child | None:
        """None where nobody knows whether it is there."""
        number = self.world.numbers()
        document_id = None
        if self._side == MONGODB:
            document_id = ObjectId() if number % 2 else f"chaos-{number}"
        edit = self.hands.create(self._side, object_name, values, document_id)
        if edit.outcome != "acknowledged" or edit.key is None:
            return None
        return _Child(object_name, edit.key, document_id)

    def _bury(self, one: _Child) -> None:
        """What refers to it goes first."""
        doomed = [each for each in (one.holds, one) if each is not None]
        if not self.world.hasty and not all(self._is_whole(each) for each in doomed):
            return
        self._living.remove(one)
        for each in doomed:
            self.hands.delete(self._side, each.object_name, each.key, each.document_id)

    def _is_whole(self, one: _Child) -> bool:
        """Whether an application sees what Salesforce has filled in: who deletes earlier, has not seen all."""
        return self._side == SALESFORCE or bool(self.hands.seen(MONGODB, one.object_name, one.key, "OwnerId"))


@dataclass(slots=True)
class _Turn:
    object_name: str
    key: str
    name: str
    side: str  # who has edited last
    value: Any
    left: int
    looks: int = 0


class Turns(Editor):
    """Many fields at a time, so that waiting costs nothing."""

    def __init__(self, world: World, seed: int) -> None:
        super().__init__("turns", world, seed)
        places = [
            (object_name, key, name)
            for object_name, role in ROLES.items()
            for key in world.keys[object_name]
            for name in role.turns
        ]
        self.rng.shuffle(places)
        self._places = places
        self._open: list[_Turn] = []

    def edit(self) -> None:
        while len(self._open) < _AT_ONCE and self._places:
            object_name, key, name = self._places.pop()
            side = self.rng.choice((SALESFORCE, MONGODB))
            turn = _Turn(object_name, key, name, side, None, _TURNS_MAX)
            self._open.append(turn)
            self._write(turn, side)
        for turn in tuple(self._open):
            other = MONGODB if turn.side == SALESFORCE else SALESFORCE
            turn.looks += 1
            if self.hands.seen(other, turn.object_name, turn.key, turn.name) == turn.value:
                self._write(turn, other)
            elif turn.looks > _SEEN_WITHIN_LOOKS:
                self._open.remove(turn)

    def _write(self, turn: _Turn, side: str) -> None:
        """Write the next value; whose outcome is not known has no successor."""
        if turn.left == 0:
            self._open.remove(turn)
            return
        value = self.value(turn.object_name, turn.name, side)
        edit = self.hands.update(side, turn.object_name, turn.key, {turn.name: value})
        turn.side, turn.value, turn.left, turn.looks = side, value, turn.left - 1, 0
        if edit.outcome != "acknowledged":
            self._open.remove(turn)


class Races(Editor):
    """Each field is raced once: what stood before is known on both sides, and nothing is left to chance but the winner."""

    def __init__(self, world: World, seed: int) -> None:
        super().__init__("races", world, seed)
        places = [
            (object_name, key, name)
            for object_name, role in ROLES.items()
            for key in world.keys[object_name]
            for name in role.raced
        ]
        self.rng.shuffle(places)
        self._places = places
        self._numbers = count(1)
        self._both = ThreadPoolExecutor(2, thread_name_prefix="race")
        self._others = Hands(world)

    def edit(self) -> None:
        if not self._places:
            return
        object_name, key, name = self._places.pop()
        race = next(self._numbers)
        sides = {SALESFORCE: self.hands, MONGODB: self._others}
        running = [
            self._both.submit(
                hands.update, side, object_name, key, {name: self.value(object_name, name, side)}, race
            )
            for side, hands in sides.items()
        ]
        for each in running:
            each.result()


def _document_id(key: str) -> Any:
    """The `_id` of a record key that an editor made."""
    return ObjectId(key.removeprefix("$oid:")) if key.startswith("$oid:") else key


@dataclass
class Editors:
    """All editors of a run."""

    world: World
    seed: int
    everyone: list[Editor] = field(init=False)

    def __post_init__(self) -> None:
        world, seed = self.world, self.seed
        self.everyone = [
            *(Owner(side, world, seed) for side in (SALESFORCE, MONGODB)),
            *(Family(side, world, seed) for side in (SALESFORCE, MONGODB)),
            Turns(world, seed),
            Races(world, seed),
        ]

    def start(self) -> None:
        for editor in self.everyone:
            editor.start()

    def stop(self) -> None:
        for editor in self.everyone:
            editor.stop()

    @property
    def restarts(self) -> int:
        return sum(editor.hands.restarts for editor in self.everyone)

    @property
    def failures(self) -> list[str]:
        """Editors that broke down, and how."""
        return [
            f"{each.name}: {type(each.failure).__name__}: {each.failure}"
            for each in self.everyone
            if each.failure
        ]
