"""Two sides and what was agreed, in dicts, as `salmon.verify` sees them; and a clock that only pauses move."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from salmon.model.change import MONGODB, SALESFORCE, SALESFORCE_ID, Value
from salmon.model.rules import Rules
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.model.state import State
from salmon.verify.agreed import TakeRows
from salmon.verify.checking import Asking, Check, Patience, Progress
from salmon.verify.comparing import ObjectVerdict, Seen, Terms, terms_of
from salmon.verify.ledger import Ledger
from salmon.verify.reading import Read, read
from salmon.verify.sides import Page

SCHEMA = ObjectSchema(
    "Account",
    (FieldSchema("Name", "string", Kind.STRING), FieldSchema("Phone", "phone", Kind.STRING)),
)
RULES = Rules(SCHEMA)
ID = "001000000000001AAA"
PATIENCE = Patience(most_s=30, quiet_s=5)


class Cut(Exception):
    """The process that reads is killed."""


class Room:
    """
    What a test sets up, and changes; *then* happens at each pause.

    Attributes:
        asked: Side -> keys that its source was asked for.
        on_asked: Called with them, in the sources' place; returns the sides that do not answer.
    """

    def __init__(self, *names: str, rules: Rules = RULES) -> None:
        self.rules = rules
        self.agreed: dict[str, dict[str, Value]] = {name: {"Name": name} for name in names}
        self.there = {side: {name: dict(row) for name, row in self.agreed.items()} for side in rules.sides}
        self.ids = dict.fromkeys(names, ID)
        self.states: dict[str, State] = {}
        self.then: list[Callable[[], object]] = []
        self.now = 0.0
        self.moves = 0
        self.reads = 0
        self.page = 1_000
        self.pages = 0
        self.cut_after: int | None = None  # pages
        self.asked: dict[str, list[str]] = {}
        self.on_asked: Callable[[Collection[str]], frozenset[str]] = lambda _keys: frozenset()

    def verdict(self, patience: Patience = PATIENCE, *, repair: bool = False) -> ObjectVerdict:
        """All of it, read anew."""
        with TemporaryDirectory() as folder:
            return self.resumed(Path(folder), patience, repair=repair)

    def resumed(self, folder: Path, patience: Patience = PATIENCE, *, repair: bool = False) -> ObjectVerdict:
        """All of it; what an earlier run has left in *folder* is not read again."""
        with self.ledger(folder) as ledger:
            told = self.read(ledger)
            return self.check(patience, repair=repair).whole(ledger, told.without_key, lambda *_: None)

    @contextmanager
    def ledger(self, folder: Path) -> Iterator[Ledger]:
        ledger = Ledger(folder, {"of": "a room"}, self.rules.sides)
        try:
            yield ledger
        finally:
            ledger.close()

    def read(self, ledger: Ledger) -> Read:
        sides = {side: RoomSide(self, side) for side in self.rules.sides}
        return read(ledger, _Rows(self), sides, self.terms, lambda *_: None)

    def check(self, patience: Patience = PATIENCE, *, repair: bool = False) -> Check:
        sides = {side: RoomSide(self, side) for side in self.rules.sides}
        asking: Asking | None = _Asking(self) if repair else None
        return Check(
            "Account", self, sides, self.terms, patience, asking, patience, lambda: self.now, self.pause
        )

    @property
    def terms(self) -> Mapping[str, Terms]:
        return terms_of(self.rules, self.rules.sides)

    def pause(self, seconds: float) -> None:
        self.now += seconds
        if self.then:
            self.then.pop(0)()

    def seen(self, side: str, key: str) -> Seen | None:
        """A record as a side shows it."""
        fields = self.there[side].get(key)
        if fields is None:
            return None
        native_id = self.ids.get(key)
        if side == SALESFORCE:
            return Seen(key, fields, native_id=native_id)
        return Seen(key, {SALESFORCE_ID: native_id, **fields} if side == MONGODB else fields)

    # What a check asks of `records` and `state`.

    def watch(self, keys: Collection[str]) -> None:
        assert len(keys) <= 10_000

    def row(self, key: str) -> Mapping[str, Value] | None:
        return self.agreed.get(key)

    def state(self, key: str) -> State | None:
        return self.states.get(key)

    def follow(self) -> bool:
        moved, self.moves = self.moves > 0, max(0, self.moves - 1)
        return moved


class _Rows:
    """`records`, in one partition."""

    def __init__(self, room: Room) -> None:
        self._room = room

    def read(
        self, offsets: Mapping[str, int], take: TakeRows, progress: Callable[[int, int], None] | None = None
    ) -> None:
        rows = self._room.agreed
        take(dict(rows), 0, len(rows))
        if progress:
            progress(len(rows), len(rows))


class RoomSide:
    """One side of a room."""

    def __init__(self, room: Room, side: str) -> None:
        self._room, self._side = room, side

    def pages(self, after: str = "") -> Iterator[Page]:
        keys = [key for key in sorted(self._room.there[self._side]) if key > after]
        for start in range(0, len(keys), self._room.page):
            if self._room.cut_after is not None and self._room.pages >= self._room.cut_after:
                raise Cut
            self._room.pages += 1
            some = keys[start : start + self._room.page]
            yield Page(list(self._shown(some)), some[-1])

    def read(self, keys: Collection[str]) -> Mapping[str, Seen]:
        self._room.reads += 1
        return {seen.key: seen for seen in self._shown(keys)}

    def _shown(self, keys: Collection[str]) -> Iterator[Seen]:
        for key in keys:
            if (seen := self._room.seen(self._side, key)) is not None:
                yield seen


class _Asking:
    def __init__(self, room: Room) -> None:
        self._room = room

    def ask(
        self, name: str, records: Sequence[tuple[str, str | None]], sides: Collection[str], progress: Progress
    ) -> frozenset[str]:
        for side in sides:
            self._room.asked.setdefault(side, []).extend(key for key, _ in records)
        return self._room.on_asked([key for key, _ in records])


__all__ = ["ID", "MONGODB", "PATIENCE", "RULES", "SALESFORCE", "Cut", "Room", "RoomSide"]
