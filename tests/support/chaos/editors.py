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
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from bson import ObjectId

from support.chaos import fields
from support.chaos.fields import MONGODB, ROLES, SALESFORCE
from support.chaos.hands import Hands, World
from support.chaos.journal import ACKNOWLEDGED, FieldPlace

_PAUSE_S: Final = (0.05, 0.3)  # between two edits of one editor
_RESTART_AFTER: Final = (20, 60)  # edits
_AT_ONCE: Final = 8  # fields that go by turns at the same time
# Five rounds in ten minutes would look like two automations that undo each other (README, Known limits).
_TURNS_MAX: Final = 4
_SEEN_WITHIN_LOOKS: Final = 300
_FAMILY_MAX: Final = 12  # records that an editor keeps before it deletes


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

    def value(self, object_name: str, name: str) -> Any:
        """A new value for a field, in plain form."""
        kind = self.world.types[object_name][name]
        if kind.target:
            return self.rng.choice(self.world.keys[kind.target])
        return fields.drawn(kind, self.world.numbers(), self.rng)

    def shuffled(self, names: Mapping[str, Sequence[str]]) -> list[FieldPlace]:
        """These fields (by object) of all records that both sides had at the beginning, in any order."""
        places = [
            (object_name, key, name)
            for object_name, each in names.items()
            for key in self.world.keys[object_name]
            for name in each
        ]
        self.rng.shuffle(places)
        return places

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
        values = {name: self.value(object_name, name) for name in names}
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
    is_patient: bool = False  # it is deleted only when the application sees all that Salesforce has filled in


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
            self.hands.update(self._side, one.object_name, one.key, {name: self.value(one.object_name, name)})

    def _found(self) -> None:
        number, is_patient = self.world.numbers(), not self.world.hasty or self.world.untold.is_set()
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
        contact.is_patient = is_patient
        # The account stays: Salesforce deletes its contacts with it, whoever made them.
        self._living.append(contact)

    def _create(self, object_name: str, values: Mapping[str, Any]) -> _Child | None:
        """None where nobody knows whether it is there."""
        number = self.world.numbers()
        document_id = None
        if self._side == MONGODB:
            document_id = ObjectId() if number % 2 else f"chaos-{number}"
        edit = self.hands.create(self._side, object_name, values, document_id)
        if edit.outcome != ACKNOWLEDGED or edit.key is None:
            return None
        return _Child(object_name, edit.key, document_id)

    def _bury(self, one: _Child) -> None:
        """What refers to it goes first."""
        doomed = [each for each in (one.holds, one) if each is not None]
        if one.is_patient and not all(self._is_settled(each) for each in doomed):
            return
        self._living.remove(one)
        for each in doomed:
            edit = self.hands.delete(self._side, each.object_name, each.key, each.document_id)
            if edit.outcome != ACKNOWLEDGED:
                return  # it may still refer to the next one, and Salesforce would clear that

    def _is_settled(self, one: _Child) -> bool:
        """Whether an application sees all that Salesforce has filled in, and no reading of the org brings more."""
        if self._side == SALESFORCE:
            return True
        return not self.world.hole.is_set() and bool(
            self.hands.seen(MONGODB, one.object_name, one.key, "OwnerId")
        )


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
        self._places = self.shuffled({name: role.turns for name, role in ROLES.items()})
        self._open: list[_Turn] = []

    def edit(self) -> None:
        if self.world.hole.is_set():
            return
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
        value = self.value(turn.object_name, turn.name)
        edit = self.hands.update(side, turn.object_name, turn.key, {turn.name: value})
        turn.side, turn.value, turn.left, turn.looks = side, value, turn.left - 1, 0
        if edit.outcome != ACKNOWLEDGED:
            self._open.remove(turn)


class Races(Editor):
    """Each field is raced once: what stood before is known on both sides, and nothing is left to chance but the winner."""

    def __init__(self, world: World, seed: int) -> None:
        super().__init__("races", world, seed)
        self._places = self.shuffled({name: role.raced for name, role in ROLES.items()})
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
                hands.update, side, object_name, key, {name: self.value(object_name, name)}, race
            )
            for side, hands in sides.items()
        ]
        for each in running:
            each.result()


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
