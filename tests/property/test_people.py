"""Accounts of both kinds under random edits on both sides, with an org that is as strict as a real one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

import pytest

from salmon.model.change import OWNED_BY_MERGE, SALESFORCE_ID, Value, WriteOp
from salmon.model.people import FLAG, NAME, name_of
from salmon.model.rules import Rules
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from support.at_hand.stories import KEY, Story, text

SCHEMA = ObjectSchema(
    "Account",
    (
        text(NAME, required=True, nillable=False, compound=NAME, only="business"),
        text("FirstName", compound=NAME, only="person"),
        text("LastName", compound=NAME, only="person"),
        text("PersonEmail", only="person"),
        text("Phone"),
        FieldSchema(FLAG, "boolean", Kind.BOOLEAN, create=False, update=False, nillable=False),
    ),
    "001",
)
OF_PERSONS = {"FirstName", "LastName", "PersonEmail"}
EDITABLE = (NAME, "FirstName", "LastName", "PersonEmail", "Phone")


@dataclass
class Play:
    """One record, its two sides, and what is on its way between them and merge."""

    seed: int
    org: dict[str, Value] = field(default_factory=dict)
    document: dict[str, Value] = field(default_factory=dict)
    marker: int = 0

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.story = Story(Rules(SCHEMA), key=KEY)
        self.events: list[tuple[WriteOp, set[str], dict[str, Value], int | None]] = []
        self.edits: list[tuple[WriteOp, dict[str, Value], int | None]] = []
        self.values = 0
        self.is_person = self.random.random() < 0.6
        born = {"FirstName": "F0", "LastName": "L0"} if self.is_person else {NAME: "N0"}
        if self.random.random() < 0.5:
            self.save(born, None)
        else:
            typed = {NAME: "typed"} if self.is_person and self.random.random() < 0.5 else {}
            self.document = {**born, **typed}
            self.edits.append((WriteOp.CREATE, dict(self.document), None))

    # What the org is like.

    def save(self, fields: Mapping[str, Value], seq: int | None) -> None:
        """Create or update the record. What a record of its kind cannot be given is refused; a person's name follows."""
        is_new = not self.org
        wrong = {NAME} if self.is_person else OF_PERSONS
        assert wrong.isdisjoint(fields), (
            f"seed {self.seed}: {sorted(wrong & fields.keys())} cannot be written"
        )
        after: dict[str, Value] = {n: v for n, v in {**self.org, **fields}.items() if v is not None}
        after[FLAG] = self.is_person
        if self.is_person:
            assert after.get("LastName") is not None, f"seed {self.seed}: a person without a last name"
            after[NAME] = name_of(after)
        changed = {n for n in after.keys() | self.org.keys() if after.get(n) != self.org.get(n)}
        if changed & {NAME, "FirstName", "LastName"}:
            changed.add(FLAG)
        if self.is_person:
            changed -= {NAME}  # events have the parts alone
        told = {n: after.get(n) for n in changed}
        self.org = after
        if is_new or changed or seq is not None:
            self.events.append((WriteOp.CREATE if is_new else WriteOp.UPDATE, changed, told, seq))

    # What happens, in any order.

    def somebody_edits_the_org(self) -> None:
        if not self.org:
            return
        own = ("FirstName", "LastName", "PersonEmail", "Phone") if self.is_person else (NAME, "Phone")
        name = self.random.choice(own)
        may_clear = name not in (NAME, "LastName")
        self.save({name: None if may_clear and self.random.random() < 0.2 else self.new(name)}, None)

    def an_application_edits_the_document(self) -> None:
        if not self.document:
            return
        names = self.random.sample(EDITABLE, self.random.choice((1, 1, 2)))
        said: dict[str, Value] = {n: None if self.random.random() < 0.2 else self.new(n) for n in names}
        self.document = {n: v for n, v in {**self.document, **said}.items() if v is not None}
        self.edits.append((WriteOp.UPDATE, said, None))

    def the_org_reports(self) -> None:
        if self.events:
            op, changed, told, seq = self.events.pop(0)
            if op is WriteOp.CREATE:
                self.story.salesforce.creates({n: v for n, v in told.items() if v is not None}, ack=seq)
            else:
                self.story.salesforce.edits({n: told[n] for n in changed}, ack=seq)

    def mongodb_reports(self) -> None:
        if self.edits:
            op, said, seq = self.edits.pop(0)
            if op is WriteOp.CREATE:
                self.story.mongodb.creates(said, ack=seq)
            else:
                self.story.mongodb.edits(said, ack=seq)

    def the_org_is_written(self) -> None:
        write = self.story.writes.get("salesforce")
        if write is not None and (write.seq > self.marker or self.random.random() < 0.1):
            self.marker = max(self.marker, write.seq)
            self.save(write.fields, write.seq)  # a creation over an earlier one is an update

    def mongodb_is_written(self) -> None:
        write = self.story.writes.get("mongodb")
        newest = self.document.get("seq")
        if write is None or (isinstance(newest, int) and write.seq <= newest):
            return
        op = WriteOp.CREATE if write.op is WriteOp.CREATE and not self.document else WriteOp.UPDATE
        after = {**self.document, **write.fields, "seq": write.seq}
        self.document = {n: v for n, v in after.items() if v is not None}
        self.edits.append((op, dict(write.fields), write.seq))

    def new(self, name: str) -> str:
        self.values += 1
        return f"{name[0]}{self.values}"


@pytest.mark.parametrize("first", range(0, 600, 150))
def test_both_sides_agree_and_nothing_is_written_that_the_org_refuses(first: int) -> None:
    """Whatever is edited where, and in which order it is told: a person's name is right on both sides in the end, without a read."""
    for seed in range(first, first + 150):
        play = Play(seed)
        steps = (
            play.somebody_edits_the_org,
            play.an_application_edits_the_document,
            play.the_org_reports,
            play.mongodb_reports,
            play.the_org_is_written,
            play.mongodb_is_written,
        )
        for _ in range(40):
            play.random.choice(steps)()
            assert play.story.last.to_read == set() or not play.story.state.lives, f"seed {seed}"
        for _ in range(200):
            for step in steps[2:]:
                step()
        shown = {n: v for n, v in play.document.items() if n not in {"seq", *OWNED_BY_MERGE}}
        assert shown == play.org == play.story.state.canonical, f"seed {seed}"
        assert play.document[SALESFORCE_ID] == KEY
        assert play.story.writes == {}, f"seed {seed}"
