"""One object: differences are looked at again until nothing moves, so that a busy sync gives no false alarm."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from salmon.model.change import MONGODB, SALESFORCE, SALESFORCE_ID, SIDES, Value, WriteOp
from salmon.model.rules import Rules
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.model.state import Park, Parked, Sent, State, new_state
from salmon.verify.checking import Check, Patience
from salmon.verify.comparing import ObjectVerdict, Seen, terms_of

SCHEMA = ObjectSchema(
    "Account",
    (FieldSchema("Name", "string", Kind.STRING), FieldSchema("Phone", "phone", Kind.STRING)),
)
RULES = Rules(SCHEMA)
ID = "001000000000001AAA"
PATIENCE = Patience(most_s=30, quiet_s=5)


class Room:
    """Two sides and what was agreed, in dicts; *then* happens at each pause."""

    def __init__(self, *names: str) -> None:
        self.agreed: dict[str, dict[str, Value]] = {name: {"Name": name} for name in names}
        self.there = {side: {name: dict(row) for name, row in self.agreed.items()} for side in SIDES}
        self.ids = dict.fromkeys(names, ID)
        self.states: dict[str, State] = {}
        self.then: list[Callable[[], object]] = []
        self.now = 0.0
        self.moves = 0
        self.reads = 0

    def verdict(self, patience: Patience = PATIENCE) -> ObjectVerdict:
        sides = {side: _FakeSide(self, side) for side in SIDES}
        check = Check("Account", self, sides, terms_of(RULES), patience, lambda: self.now, self.pause)
        return check.run(lambda *_: None)

    def pause(self, seconds: float) -> None:
        self.now += seconds
        if self.then:
            self.then.pop(0)()

    # What the check asks of `records` and `state`.

    @property
    def keys(self) -> Collection[str]:
        return self.agreed.keys()

    def row(self, key: str) -> Mapping[str, Value] | None:
        return self.agreed.get(key)

    def state(self, key: str) -> State | None:
        return self.states.get(key)

    def follow(self) -> bool:
        moved, self.moves = self.moves > 0, max(0, self.moves - 1)
        return moved


class _FakeSide:
    def __init__(self, room: Room, side: str) -> None:
        self._room, self._side = room, side
        self.without_key = 0

    def pages(self) -> Iterator[Sequence[Seen]]:
        yield [self._seen(key) for key in sorted(self._room.there[self._side])]

    def read(self, keys: Collection[str]) -> Mapping[str, Seen]:
        self._room.reads += 1
        return {key: self._seen(key) for key in keys if key in self._room.there[self._side]}

    def _seen(self, key: str) -> Seen:
        fields = self._room.there[self._side][key]
        native_id = self._room.ids.get(key)
        if self._side == SALESFORCE:
            return Seen(key, fields, native_id=native_id)
        return Seen(key, {SALESFORCE_ID: native_id, **fields})


def test_equal_sides_are_read_once() -> None:
    """Nothing differs, so nothing is read again."""
    room = Room("a", "b")
    verdict = room.verdict()
    assert verdict.all_equal
    assert verdict.counts == {"salesforce": 2, "mongodb": 2, "records": 2}
    assert (verdict.equal, room.reads) == (2, 0)


def test_an_edit_on_its_way_is_no_difference_once_it_has_arrived() -> None:
    """The document is behind when it is read, and has caught up at the second look after that."""
    room = Room("a")
    room.there[MONGODB]["a"]["Name"] = "old"
    room.then = [lambda: None, lambda: room.there[MONGODB].update(a={"Name": "a"})]
    verdict = room.verdict()
    assert verdict.all_equal
    assert verdict.equal == 1


def test_a_record_that_is_created_or_deleted_meanwhile_ends_up_in_no_list() -> None:
    """It is read on one side before, and on the other after; in the end all three agree, and the counts with them."""
    room = Room("a", "b")
    del room.there[MONGODB]["b"]
    room.there[SALESFORCE]["c"] = {"Name": "c"}

    def arrive() -> None:
        room.there[SALESFORCE].pop("b")
        room.agreed.pop("b")
        room.agreed["c"] = room.there[MONGODB]["c"] = {"Name": "c"}

    room.then = [arrive]
    room.ids["c"] = ID
    verdict = room.verdict()
    assert verdict.all_equal
    assert verdict.counts == {"salesforce": 2, "mongodb": 2, "records": 2}


def test_what_stays_different_is_believed_after_a_quiet_while() -> None:
    """Nobody brings it in step: the field is named, and so is what is missing and what is too much."""
    room = Room("a", "b")
    room.there[MONGODB]["a"]["Phone"] = "555"
    del room.there[SALESFORCE]["b"]
    room.there[MONGODB]["z"] = {"Name": "z"}
    verdict = room.verdict()
    assert verdict.different == {"a": {MONGODB: ("Phone",)}}
    assert verdict.missing_in == {"salesforce": ["b"], "mongodb": [], "records": ["z"]}
    assert not verdict.all_equal
    assert 5 <= room.now < 10


def test_while_anything_moves_it_waits_longer_but_not_for_ever() -> None:
    """Another record's changes may stand before this one's in the log."""
    room = Room("a")
    room.there[MONGODB]["a"]["Phone"] = "555"
    room.moves = 1_000
    room.verdict()
    assert 30 <= room.now < 33


def test_a_record_that_is_edited_all_the_while_is_neither_equal_nor_different() -> None:
    """Each look shows another value; of the record beside it, which stands still, more can be said."""
    room = Room("hot", "cold")

    def edit() -> None:
        room.there[MONGODB]["hot"]["Phone"] = str(room.now)

    edit()
    room.then = [edit] * 1_000
    verdict = room.verdict()
    assert (verdict.moving, verdict.different, verdict.equal) == (["hot"], {}, 1)
    assert not verdict.differs
    assert not verdict.all_equal

    room = Room("hot", "cold")
    room.there[MONGODB]["cold"]["Phone"] = "555"
    room.then = [edit] * 1_000
    edit()
    verdict = room.verdict()
    assert (verdict.moving, list(verdict.different)) == (["hot"], ["cold"])
    assert verdict.differs


def test_what_is_parked_is_reported_apart_and_not_waited_for() -> None:
    """Salesforce refused the phone: that is known, and looking again would not change it."""
    room = Room("a")
    room.agreed["a"]["Phone"] = room.there[MONGODB]["a"]["Phone"] = "555"
    state = room.states["a"] = new_state(RULES.names)
    state.sides[SALESFORCE].parked["Phone"] = Parked(Park.REFUSED, 3, code="STRING_TOO_LONG")
    verdict = room.verdict()
    assert verdict.all_equal
    assert [(w.key, w.side, w.why, w.fields) for w in verdict.parked] == [
        ("a", SALESFORCE, "REFUSED", ("Phone",))
    ]
    assert (verdict.equal, room.now) == (0, 0.0)


def test_a_difference_with_a_write_on_its_way_is_told_as_such() -> None:
    """The sink is down: whoever reads the report should look there first."""
    room = Room("a")
    room.there[MONGODB]["a"]["Phone"] = "555"
    state = room.states["a"] = new_state(RULES.names)
    state.sides[MONGODB].sent[4] = Sent(WriteOp.UPDATE, {"Phone": None})
    assert room.verdict().on_their_way == 1


def test_a_document_without_the_id_of_its_salesforce_record_differs() -> None:
    """A record born in MongoDB has another key than its Id, and must get that back."""
    room = Room("mine")
    room.there[MONGODB]["mine"][SALESFORCE_ID] = None
    assert room.verdict().different == {"mine": {MONGODB: ("_salmon.salesforce_id",)}}
