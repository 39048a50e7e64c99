"""
What each editor wrote, when, and whether the server said yes; and what may therefore stand in the end.

An edit whose answer never came may have been carried out, now or once the server runs on: both is allowed for ever.
"""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

CREATE: Final = "create"
UPDATE: Final = "update"
DELETE: Final = "delete"

UNKNOWN: Final = "unknown"
ACKNOWLEDGED: Final = "acknowledged"
REFUSED: Final = "refused"

Place = tuple[str, str]  # object, record key
FieldPlace = tuple[str, str, str]  # object, record key, field


@dataclass(slots=True)
class Edit:
    """
    One write of one editor.

    Args:
        key: The record key; None for a creation in Salesforce whose answer has not come.
        values: Field -> its value in plain form (fields.py), as the reader of either side would show it.
        race: Edits with the same number were made at once on both sides: any of them may stand.
        outcome: Unknown until the server has answered.
    """

    at_s: float
    side: str
    object_name: str
    key: str | None
    kind: str
    values: dict[str, Any] = field(default_factory=dict)
    race: int | None = None
    outcome: str = UNKNOWN


class Journal:
    """All edits of a run, in the order in which they were begun. Safe for any thread."""

    def __init__(self, file: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        """*file*: where each edit is written down as it begins and as it ends, one JSON object a line."""
        self._lock = threading.Lock()
        self._edits: list[Edit] = []
        self._file = file
        self._clock = clock

    def begin(
        self,
        side: str,
        object_name: str,
        key: str | None,
        kind: str,
        values: Mapping[str, Any] | None = None,
        *,
        race: int | None = None,
    ) -> Edit:
        """Note an edit before it is sent."""
        edit = Edit(self._clock(), side, object_name, key, kind, dict(values or {}), race)
        with self._lock:
            self._edits.append(edit)
        self._write(edit)
        return edit

    def acknowledged(self, edit: Edit, key: str | None = None) -> None:
        """The server said yes. *key*: of a record that the server named."""
        edit.key = key or edit.key
        edit.outcome = ACKNOWLEDGED
        self._write(edit)

    def refused(self, edit: Edit) -> None:
        """The server said no: nothing was written."""
        edit.outcome = REFUSED
        self._write(edit)

    def edits(self) -> list[Edit]:
        with self._lock:
            return list(self._edits)

    def _write(self, edit: Edit) -> None:
        if self._file is None:
            return
        line = json.dumps(asdict(edit), default=str)
        with self._lock, suppress(OSError), self._file.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")


@dataclass(slots=True)
class Expected:
    """
    What may stand in the end.

    Args:
        lives: Record -> whether it may exist (True), may be gone (False), or either.
        values: Record -> field -> the values that may stand there; a field that nobody edited is not named.
        raced: Fields whose edits were concurrent: a conflict there is a true one.
        nameless: Object -> how many creations have no key, because their answers never came.
    """

    lives: dict[Place, set[bool]] = field(default_factory=dict)
    values: dict[Place, dict[str, list[Any]]] = field(default_factory=lambda: defaultdict(dict))
    raced: set[FieldPlace] = field(default_factory=set)
    nameless: dict[str, int] = field(default_factory=lambda: defaultdict(int))


def expected(
    edits: list[Edit],
    *,
    begun_with: Mapping[Place, Mapping[str, Any]],
    filled_in: Mapping[str, Mapping[str, Any]] | None = None,
) -> Expected:
    """
    What *edits* allow.

    Args:
        begun_with: The records that both sides had before the first edit, with their values.
        filled_in: Object -> field -> what stands there by itself in a record whose creation left the field out.
    """
    by_itself = filled_in or {}
    found = Expected(lives={place: {True} for place in begun_with})
    histories: dict[FieldPlace, list[Edit]] = defaultdict(list)
    for edit in edits:
        if edit.outcome == REFUSED:
            continue
        if edit.key is None:
            found.nameless[edit.object_name] += 1
            continue
        place = (edit.object_name, edit.key)
        _live(found.lives, place, edit)
        for name in edit.values:
            histories[*place, name].append(edit)
            if edit.race is not None:
                found.raced.add((*place, name))
    for (object_name, key, name), history in histories.items():
        place = (object_name, key)
        first = begun_with[place] if place in begun_with else by_itself.get(object_name, {})
        found.values[place][name] = _may_stand(history, name, first.get(name))
    return found


def _live(lives: dict[Place, set[bool]], place: Place, edit: Edit) -> None:
    sure = edit.outcome == ACKNOWLEDGED
    if edit.kind == CREATE:
        lives[place] = {True} if sure else {True, False}
    elif edit.kind == DELETE:
        lives[place] = {False} if sure else {True, False}


def _may_stand(history: list[Edit], name: str, first: Any) -> list[Any]:
    """
    The last acknowledged value, with those that were written at the same time, and every unknown one. *first*: what stood
    there before all of them.
    """
    standing, race, unknown = [first], None, []
    for edit in history:
        value = edit.values[name]
        if edit.outcome == UNKNOWN:
            unknown.append(value)
        elif edit.race is not None and edit.race == race:
            standing.append(value)
        else:
            standing, race = [value], edit.race
    return standing + unknown


def counted(edits: list[Edit]) -> Iterator[tuple[str, int]]:
    """How many edits there were, by outcome."""
    for outcome in (ACKNOWLEDGED, REFUSED, UNKNOWN):
        yield outcome, sum(edit.outcome == outcome for edit in edits)
