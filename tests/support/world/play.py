"""
The World's play: users, triggers, sources, sinks and merge take turns at random, and come to rest at the end.

All that judges, weaves, coalesces and guards is the product's own code; only the org, the database and the users
are the World's. `World(seed).run()` plays the same story whenever it is called; what must hold of it is in
support.world.promises.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from random import Random
from typing import Any

from salmon.model.change import MONGODB, OPERATOR, OWNED_BY_MERGE, SALESFORCE, Change, Op, Value
from salmon.model.policies import EXISTENCE
from salmon.model.rules import Rules
from salmon.model.schema import ObjectSchema
from salmon.model.state import Park
from salmon.mongodb.paths import MARKER
from salmon.plugin.contract import SinkRecord
from support.world.database import Database
from support.world.merge import Merge
from support.world.nature import (
    ADDED,
    EDITABLE,
    GROWN,
    LINK,
    RANK,
    SCHEMA,
    THIRD,
    Knobs,
    Nature,
    any_knobs,
    other,
)
from support.world.org import Org
from support.world.sinks import DatabaseTask, OrgTask, Sink, Task
from support.world.sources import DatabaseSource, OrgSource
from support.world.views import COLLECTIONS, LABEL, MASKED, OWN, judge_again

_ROUNDS_MAX = 600
_ROUNDS_AT_REST = 3
_RECORDS = 2
STEPS = 60
_DOWN_STEPS = 30
_TURNS_MAX = 50


class World:
    """One seed is one story."""

    def __init__(self, seed: int, knobs: Knobs | None = None) -> None:
        self.seed, random = seed, Random(seed)
        kind = any_knobs(random)  # also where the knobs are given: with its own, a seed tells its own story
        self.nature = Nature(random, replace(knobs or kind))
        self.knobs = self.nature.knobs
        skews = (0, 0, 3_600_000, -3_600_000)
        self.org = Org(self.nature, random.choice(skews))
        self.database = Database(self.nature, random.choice(skews))
        self.sides = self.nature.sides
        self.databases = {MONGODB: self.database}
        if self.knobs.third:
            self.databases[THIRD] = Database(self.nature, random.choice(skews), side=THIRD)
        self.edited = (
            *EDITABLE,
            *((ADDED,) if self.knobs.grows else ()),
            *((LINK,) if self.knobs.follows else ()),
            *((RANK,) if self.knobs.ranks else ()),
        )
        self.births = 0
        self.org_sink_is_down = False
        self.outdated: list[
            OrgSource | DatabaseSource | Sink
        ] = []  # processes that know an older schema than merge
        self.before()
        self.begin(self.nature.rules(SCHEMA))

    # Before the sync began, and its beginning.

    def before(self) -> None:
        """Records on one side, or on both and not quite alike."""
        for _ in range(_RECORDS):
            fields = {n: self.nature.token(n, None) for n in self.edited}
            first = self.nature.random.choice(self.sides)
            key = self.born(first, fields)
            if self.knobs.on_both:
                for side in self.sides:
                    if side != first:
                        self._found_there_too(key, side, fields)
        self.nature.history.found |= self.nature.history.authored
        self.nature.history.touched.clear()
        self.nature.pass_ms(5000)
        self.org.log.clear()
        for database in self.databases.values():
            database.log.clear()

    def _found_there_too(self, key: str, side: str, fields: dict[str, str]) -> None:
        chance, token = self.nature.chance, self.nature.token
        alike = {n: v if chance(0.6) else token(n, None) for n, v in fields.items()}
        alike = {n: v for n, v in alike.items() if chance(0.8)}
        self.nature.history.records.update(dict.fromkeys(alike.values(), key))
        if side == SALESFORCE:
            self.org.create(alike, carried=key)
        else:
            self.databases[side].insert({"_id": key, **alike})
        self._brought(side, key, alike)

    def begin(self, rules: Rules) -> None:
        """Start the five processes."""
        identities: dict[str, str] = {}
        self.merge = Merge(
            rules, ask=lambda side, key: self.ask(side, key, None), now=lambda: self.nature.time.ms
        )
        self.merge.began_anew = self._forgive_what_is_unheard
        self.sources: dict[str, OrgSource | DatabaseSource] = {
            SALESFORCE: OrgSource(self.nature, self.org, rules, self.source_tell, identities),
        }
        for side, database in self.databases.items():
            self.sources[side] = DatabaseSource(
                self.nature, database, rules, self.source_tell, lambda: set(self.merge.states)
            )
        tasks: dict[str, Task] = {
            SALESFORCE: OrgTask(
                self.org,
                identities,
                one_way=self.knobs.one_way_to == SALESFORCE,
                polled=self.knobs.polled,
            ),
        }
        tasks |= {side: DatabaseTask(database) for side, database in self.databases.items()}
        self.sinks = {
            side: Sink(
                self.nature,
                side,
                task,
                self.merge.schemas,
                self.merge.written_by[side],
                self.merge_tell,
                lambda key, native_id, side=side: self.ask(side, key, native_id),  # type: ignore[misc]
                self.merge.writes[side],
            )
            for side, task in tasks.items()
        }
        self.sinks[SALESFORCE].repeated = self._hear_of_late_call
        self.merge.carried_out_again = self._carried_out_again
        if self.knobs.polled:
            # Nobody can tell a repeated call from an edit whose marker is not older than the last one that was shown.
            self.sinks[SALESFORCE].before_late = self._hear_everything
        for side, database in self.databases.items():
            if self.knobs.early:
                self.source_of(side).unread = set(database.documents)
            else:
                self.source_of(side).read_all()

    @property
    def org_source(self) -> OrgSource:
        source = self.sources[SALESFORCE]
        assert isinstance(source, OrgSource)
        return source

    @property
    def database_source(self) -> DatabaseSource:
        return self.source_of(MONGODB)

    def source_of(self, side: str) -> DatabaseSource:
        source = self.sources[side]
        assert isinstance(source, DatabaseSource)
        return source

    def source_tell(self, key: str, change: Change) -> None:
        """What a source tells; where it has an older schema than merge, of the fields that it knows."""
        rules = self.sources[change.origin].rules
        if (
            change.op in (Op.CREATE, Op.UPDATE, Op.ROW)
            and rules.schema.by_name.keys() < self.merge.rules.schema.by_name.keys()
        ):
            of_events = change.origin == SALESFORCE and change.is_event
            known = rules.live[SALESFORCE] if of_events else frozenset(rules.schema.by_name)
            change = replace(change, knows=known | OWNED_BY_MERGE)
        self.merge_tell(key, change)

    def merge_tell(self, key: str, change: Change) -> None:
        if change.origin != self.merge.rules.one_way_to or change.is_outcome:
            self.merge.tell(key, change)

    def ask(self, side: str, key: str, native_id: str | None) -> None:
        """A signal to a source: read this record."""
        if side == SALESFORCE:
            self.org_source.ask(key, native_id)
        else:
            self.source_of(side).read([key])

    # The play.

    def run(self, steps: int = STEPS) -> World:
        grows_at = self.nature.random.randrange(steps) if self.knobs.grows else -1
        views_change_at = self.nature.random.randrange(steps) if self.knobs.views_change else -1
        leaves_at = self.nature.random.randrange(steps) if self.knobs.leaves else -1
        saved_at, back_at = sorted(self._times(steps)) if self.knobs.goes_back else (-1, -1)
        for step in range(steps):
            self.nature.pass_ms()
            self.org_sink_is_down = self.knobs.parting and grows_at <= step < grows_at + _DOWN_STEPS
            if step == grows_at:
                if self.knobs.parting:
                    self._part_with_a_document()
                if self.knobs.overlaps:
                    self.overlap_creations()
                self.change_schema(GROWN)
            if self.outdated and self.nature.chance(0.1):
                self._renew(self.nature.random.choice(self.outdated))
            if self.knobs.fades and step == (grows_at + steps) // 2:
                self.change_schema(SCHEMA)
            if step == views_change_at:
                self._change_views()
            if step == leaves_at:
                self._leave_documents_behind()
            judge_again(self, at_most=1)
            if step == saved_at:
                self._save_backups()
            if step == back_at:
                self._go_back()
            if self.knobs.retries and self.nature.chance(self.knobs.retries):
                self.retry()
            if self.knobs.operator and self.nature.chance(self.knobs.operator):
                self._operate()
            self._act()
        self._end()
        return self

    def _end(self) -> None:
        """It comes to rest, and somebody looks after what nobody is told of."""
        for key in sorted(self.database.twins):
            if self.nature.chance(0.8):
                self.heal(key)
        self.settle()
        if self.knobs.leaves:
            self.database_source.read_all()  # `salmon verify --repair` looks for what nobody has touched since
            self.settle()
        if self.knobs.polled:
            # Between two polls, our write went over it: nobody ever hears of that.
            self.nature.history.unheard |= self.nature.history.authored - self.merge.known
            self.look_again()  # polls tell nothing twice; a refusal of what the org holds by itself is over at its next row

    def _act(self) -> None:
        random, knobs, side = self.nature.random, self.knobs, self.nature.random.choice(self.sides)
        act = random.random()
        if act < 0.25:
            for _ in range(random.randint(2, 4) if self.nature.chance(knobs.bursts) else 1):
                self.user(side)
        elif act < 0.25 + knobs.rows * 0.2:
            self._read_something(side)
        elif act < 0.34 and self.nature.chance(knobs.restarts):
            self.merge.restart()
        elif act < 0.34 and self.nature.chance(knobs.holes):
            self.sources[side].lose_events()
        elif act < 0.7:
            self.source_turn(side)
        elif side != SALESFORCE or not self.org_sink_is_down:
            self.sinks[side].read(random.randint(0, 3))
            self.sinks[side].put()

    def _change_views(self) -> None:
        """The operator changes the filter and the mask: merge starts anew, and the others do not care."""
        self.nature.views_changed = True
        self.merge.rules = self.nature.rules(self.merge.rules.schema)
        self.merge.restart()

    def _times(self, steps: int) -> tuple[int, int]:
        return self.nature.random.randrange(steps), self.nature.random.randrange(steps)

    def _save_backups(self) -> None:
        self.saved_org, self.saved_database = self.org.backup(), self.database.backup()

    def _go_back(self) -> None:
        """A side shows again what was true when its backup was made."""
        if self.knobs.goes_back == SALESFORCE:
            self.org_source.go_back(self.saved_org, set(self.merge.states))
        else:
            self.database_source.go_back(self.saved_database)
        self._forgive_what_is_unheard()
        # Our write went over these, and its event, by which that would have been known, is lost.
        sides = [state.sides[self.knobs.goes_back or ""] for state in self.merge.states.values()]
        self.nature.history.unheard |= {known.edit for x in sides for known in x.overwritten if known.edited}

    def _forgive_what_is_unheard(self) -> None:
        """
        What was not told before the history was lost is lost with it, and what is edited before the first row of the new
        one looks as if it had been there in the backup.
        """
        history = self.nature.history
        history.unheard |= history.authored - self.merge.known
        # Of what cannot be taken, merge is told no value, but that the field holds such a one.
        history.unheard |= {
            value for value, place in history.unfit.items() if place not in self.merge.misfits
        }

    def _leave_documents_behind(self) -> None:
        """
        Once all is told of MongoDB's documents, the configuration names another collection, which has only some of them.

        What a sink that was killed has carried out without Kafka knowing is carried out again before that; that a creation of the former
        collection may be repeated in the next one is in the design's list of limits.
        """
        source, database, history = self.database_source, self.database, self.nature.history
        knobs = replace(self.knobs)
        if self.nature.chance(0.5):
            self.settle()
        self.knobs.crashes = 0
        self.sinks[MONGODB].finish()
        self.knobs.crashes, self.knobs.repeats, self.knobs.locks = knobs.crashes, knobs.repeats, knobs.locks
        while source.turn():
            pass
        behind = {key for key in self.keys(MONGODB) if self.nature.chance(0.5)}
        lost = [part[key] for part in (database.documents, database.twins) for key in behind & part.keys()]
        values = {value for document in lost for value in document.values() if isinstance(value, str)}
        history.unheard |= values - self.merge.known
        source.leave(behind)
        kept = [key for key in self.keys(MONGODB) if key not in database.twins and self._is_agreed(key)]
        if kept and self.nature.chance(0.5):
            self.delete(MONGODB, key := self.nature.random.choice(kept))
            history.mourned.add(key)

    def _is_agreed(self, key: str) -> bool:
        """Whether everybody holds the same, has told of it, and nothing is on its way to anybody."""
        state = self.merge.states.get(key)
        if (
            state is None
            or not state.lives
            or not all(part.quiet for part in (*self.sources.values(), *self.sinks.values()))
        ):
            return False
        return all(
            self._is_known(side, key) and not (told.sent or told.parked or told.misfits or told.held)
            for side, told in state.sides.items()
        )

    def _part_with_a_document(self) -> None:
        """Somebody deletes a document of which both sides have told all, and merge hears of it."""
        keys = [k for k in self.keys(MONGODB) if all(self._is_known(side, k) for side in self.sides)]
        if keys:
            self.delete(MONGODB, self.nature.random.choice(keys))
            while self.database_source.turn():
                pass

    def overlap_creations(self) -> str | None:
        """
        A new record of the org is edited before its document is told: a second creation is on its way to what the first
        has made, in which somebody has set what neither of them names, and the field that the sync is about to know.

        Returns:
            The record's key; None where it did not come to that.
        """
        writes, sink = self.merge.writes[MONGODB], self.sinks[MONGODB]
        key = self.born(SALESFORCE, {n: self.nature.token(n, None) for n in ("Name", "City")})
        if not self._until(lambda: any(k == key for k, _ in writes)):
            return None
        sink.read(len(writes))
        while key not in self.database.documents and sink.put():
            pass
        told = len(writes)
        held = self.fields(SALESFORCE, key)
        if held is None or key not in self.database.documents:
            return None
        self.edit(SALESFORCE, key, {"Name": self.nature.token("Name", held.get("Name"))})
        self._until(lambda: any(k == key for k, _ in writes[told:]))
        value, phone = self.nature.token(ADDED, None), self.nature.token("Phone", None)
        self.nature.history.found.add(value)
        self.nature.history.records |= {value: key, phone: key}
        self.edit(MONGODB, key, {"Phone": phone, ADDED: value})
        return key

    def _until(self, is_so: Callable[[], bool]) -> bool:
        """Let the source of the org tell on until it is so, or for a while."""
        for _ in range(_TURNS_MAX):
            if is_so():
                return True
            self.nature.pass_ms()
            self.source_turn(SALESFORCE)
        return False

    def source_turn(self, side: str) -> bool:
        """Let a source take in and tell what there is next."""
        if side != SALESFORCE:
            return self.source_of(side).turn()
        for _ in range(self.nature.random.randint(0, 2)):
            self.org_source.hear()
        if self.nature.chance(0.5):
            self.org_source.read_chunk()
        return self.org_source.turn()

    def _hear_of_late_call(self, record: SinkRecord) -> None:
        """A call was carried out late: let the source of the org tell of it."""
        for told in self.org.log[-1:]:
            if told.change.ack == record.write.seq:  # else it was refused
                self.merge.called_late(record.key, told.change)
        self._hear_everything()

    def _carried_out_again(self, row: Change) -> Iterator[Change]:
        """The events of the calls that the org, since it was refreshed, has carried out once more on the record of the *row*."""
        if self.org.number == 1:
            return
        seen: set[int] = set()
        for place, told in enumerate(self.org.log):
            if told.native_id != row.native_id or told.change.ack is None:
                continue
            if place >= self.org.lost and told.change.ack in seen:
                yield told.change
            seen.add(told.change.ack)

    def _hear_everything(self) -> None:
        """Let the source of the org tell all that has happened there."""
        source = self.org_source
        while not source.has_told:
            self.nature.pass_ms(1000)
            source.hear()
            if self.knobs.polled:
                source.read_chunk()
            source.turn()

    def _read_something(self, side: str) -> None:
        keys = sorted(self.merge.states)
        whole = not keys or self.nature.chance(0.2)
        if side == SALESFORCE:
            self.org_source.ask(None if whole else self.nature.random.choice(keys))
        elif whole:
            self.source_of(side).read_all()
        else:
            self.source_of(side).read([self.nature.random.choice(keys)])

    def change_schema(self, schema: ObjectSchema) -> None:
        """The sync knows other fields from now on: all processes start anew, and the sources see what they missed."""
        self._renew_all()
        rules = self.nature.rules(schema)
        untold = not all(self._is_known(side, key) for side in self.sides for key in self.merge.states)
        self.merge.change_rules(rules)
        self.outdated = [*self.sources.values(), *self.sinks.values()]
        if not (self.knobs.staggers and ADDED in schema.by_name):
            self._renew_all()
        if untold and ADDED not in schema.by_name:
            # What only the field's first value held up is owed now, and nobody comes by: `salmon verify --repair`.
            self.org_source.ask(None)
            self._read_databases()

    def _renew_all(self) -> None:
        while self.outdated:
            self._renew(self.outdated[0])

    def _renew(self, part: OrgSource | DatabaseSource | Sink) -> None:
        """One process begins anew with what the sync knows now; one that read what it did not know has done so before."""
        self.outdated.remove(part)
        if isinstance(part, Sink):
            part.renew()
        else:
            part.rules = self.merge.rules
            part.start()

    # The operator.

    def held(self) -> list[tuple[str, str, str]]:
        """Key, field and side of what waits for somebody's decision."""
        return [
            (key, name, side)
            for key, state in sorted(self.merge.states.items())
            for side in self.sides
            for name, parked in sorted(state.sides[side].parked.items())
            if parked.why is Park.HELD
        ]

    def resolve(self, key: str, name: str, side: str) -> None:
        """The operator, who sees what both sides hold, decides for one of the two, or for a third value."""
        state = self.merge.states[key]
        if name == EXISTENCE:
            self._decide_life(key, lives=self.nature.chance(0.5))
            return
        agreed, other_value = state.canonical.get(name), state.sides[side].shadow.get(name)
        self.nature.history.cleared |= {agreed, other_value}
        if self.nature.chance(0.3):
            self._decide(key, name, self.nature.token(name, agreed))
        else:
            chosen = self.nature.random.choice((agreed, other_value))
            self.nature.history.chosen.add(chosen)
            self._decide(key, name, chosen)

    def retry(self, *, all_of_it: bool = False) -> None:
        """An operator has what was refused sent again, all of it or of one record; some of it twice."""
        refused = [
            (key, parked.group)
            for key, state in sorted(self.merge.states.items())
            for side in state.sides.values()
            for _, parked in sorted(side.parked.items())
            if parked.why is Park.REFUSED
        ]
        chosen = refused if all_of_it or not refused else [self.nature.random.choice(refused)]
        for key, group in chosen:
            self.merge.tell(key, Change(OPERATOR, Op.RETRY, committed_at=self.nature.time.ms, ack=group))

    def _operate(self) -> None:
        """The operator resolves what is held, or edits something of which both sides have told."""
        if held := self.held():
            self.resolve(*self.nature.random.choice(held))
            return
        keys = [
            key for key in sorted(self.merge.states) if all(self._is_known(side, key) for side in self.sides)
        ]
        keys = [key for key in keys if self.merge.states[key].lives]
        if keys:
            key, name = self.nature.random.choice(keys), self.nature.random.choice(EDITABLE)
            seen = self.merge.states[key].canonical.get(name)
            self._decide(key, name, self.nature.token(name, seen))

    def _decide_life(self, key: str, *, lives: bool) -> None:
        """The record lives, or it does not."""
        self.nature.history.mourned.discard(key)
        op, changed = (Op.EDIT, frozenset({EXISTENCE})) if lives else (Op.DELETE, None)
        self.merge.tell(key, Change(OPERATOR, op, committed_at=self.nature.time.ms, changed=changed))

    def _decide(self, key: str, name: str, value: Value) -> None:
        self.nature.history.mourned.discard(key)
        told = {} if value is None else {name: value}
        at = self.nature.time.ms
        self.merge.tell(
            key, Change(OPERATOR, Op.EDIT, committed_at=at, changed=frozenset({name}), fields=told)
        )

    # The users.

    def user(self, side: str) -> None:
        """Somebody does something on a side; nobody works on the target of a one-way object."""
        if side == self.knobs.one_way_to:
            return
        if self.knobs.places and side == MONGODB and self.keys(side) and self.nature.chance(0.25):
            self._somebody_rearranges(self.nature.random.choice(self.keys(side)))
            return
        act, knobs = self.nature.random.random(), self.knobs
        keys = self.keys(side)
        if act < 0.05 or not keys:
            self._somebody_creates(side)
        elif act < 0.05 + knobs.deletes:
            key = self.nature.random.choice(keys)
            # That our own creation is deleted before the very first look at the org is known only after a later look.
            if side != SALESFORCE or self._is_known(side, key):
                self.delete(side, key)
        elif act < 0.15 + knobs.undeletes and knobs.undeletes and side == SALESFORCE and self.org.bin:
            again = self.org.bin[self.nature.random.choice(sorted(self.org.bin))]
            self.nature.history.mourned.discard(again.key)
            self.nature.history.born.add((SALESFORCE, again.key))
            self.org.undelete(again)
        elif (
            act < 0.15 + knobs.restores
            and knobs.restores
            and side != SALESFORCE
            and self.databases[side].backups
        ):
            self._restore(side, self.nature.random.choice(self.databases[side].backups))
        elif knobs.computes and side != SALESFORCE and self.nature.chance(0.2):
            self._somebody_labels(side, self.nature.random.choice(keys))
        else:
            self._somebody_edits(side, self.nature.random.choice(keys))

    def _somebody_rearranges(self, key: str) -> None:
        """An application moves a document to the other collection, or copies it there, or sets a property that is its own."""
        act, database = self.nature.random.random(), self.database
        if key in database.twins:
            self.heal(key)
        elif act < 0.4:
            database.move(key)
        elif act < 0.5:
            database.insert(copy.deepcopy(database.documents[key]), database.other_than(database.places[key]))
        else:
            self.births += 1
            database.owns(key, f"own{self.births}")

    def heal(self, key: str) -> None:
        """Somebody deletes one of two documents with the same `_id`; what was edited in that one since the copy is gone with it."""
        database = self.database
        if self.nature.chance(0.5):
            database.delete_twin(key)
            return
        lost, kept = database.documents[key], database.twins[key]
        self.nature.history.unheard |= {v for n, v in lost.items() if isinstance(v, str) and kept.get(n) != v}
        self.nature.history.unheard |= {
            kept[n] for n in kept if isinstance(kept[n], str) and lost.get(n) != kept[n]
        }
        database.delete(key)
        database.own.pop(key, None)
        if OWN in kept:
            database.own[key] = kept[OWN]

    def _somebody_labels(self, side: str, key: str) -> None:
        """Which is nobody's edit: the label is made, and is set right again."""
        label = self.nature.random.choice(("mine", 7, None))
        self.databases[side].set(key, {LABEL: label})

    @property
    def org_ids(self) -> set[str]:
        """All Ids that the org has ever given."""
        return {event.native_id for event in self.org.log} | self.org.records.keys() | self.org.bin.keys()

    def keys(self, side: str) -> list[str]:
        if side == SALESFORCE:
            return sorted(record.key for record in self.org.records.values())
        return sorted(self.databases[side].documents)

    def fields(self, side: str, key: str) -> dict[str, Value] | None:
        """What a side holds of a record; None if it is not there."""
        if side == SALESFORCE:
            record = self.org.by_key(key)
            return None if record is None else {n: v for n, v in record.fields.items() if v is not None}
        document = self.databases[side].documents.get(key)
        return None if document is None else {n: v for n, v in document.items() if n not in ("_id", MARKER)}

    def edit(self, side: str, key: str, fields: dict[str, Value]) -> None:
        """A user's edit."""
        self.nature.history.touched.add((side, key))
        self.nature.history.mourned.discard(key)
        self._unheard(side, fields)
        if side == SALESFORCE:
            record = self.org.by_key(key)
            assert record is not None
            self.org.edit(record, fields)
        else:
            self.databases[side].set(key, fields)

    def _brought(self, side: str, key: str, fields: Mapping[str, Value]) -> None:
        """Somebody has created a record, or brought one back."""
        self.nature.history.touched.add((side, key))
        self.nature.history.mourned.discard(key)
        self.nature.history.born.add((side, key))
        self._unheard(side, fields)

    def _unheard(self, side: str, fields: Mapping[str, Value]) -> None:
        """What is set in a masked field counts for nothing."""
        if self.knobs.masks == side and MASKED in fields:
            self.nature.history.unheard.add(fields[MASKED])

    def delete(self, side: str, key: str) -> None:
        if side == MONGODB and key in self.database.twins:
            self.heal(key)
            return
        self.nature.history.ended.add((side, key))
        if side == SALESFORCE:
            record = self.org.by_key(key)
            assert record is not None
            self.org.delete(record)
        else:
            self.databases[side].delete(key)
            self.databases[side].own.pop(key, None)

    def born(self, side: str, fields: Mapping[str, Value]) -> str:
        """A user's creation; returns the record's key."""
        if side == SALESFORCE:
            key = self.org.create(dict(fields)).key
        else:
            self.births += 1
            key = f"m{self.births}"
            self.databases[side].insert({"_id": key, **fields}, self._somewhere(side))
        self._brought(side, key, fields)
        self.nature.history.records.update(dict.fromkeys(fields.values(), key))
        return key

    def _somebody_creates(self, side: str) -> None:
        gone = (
            []
            if side == SALESFORCE
            else sorted(set(self.merge.states) - self.databases[side].documents.keys())
        )
        if self.knobs.goes_back:
            gone = [
                key for key in gone if key not in self.org_ids
            ]  # its very Id may come back; see Org.undelete
        again = gone and self.knobs.deletes and self.nature.chance(0.5)
        if again or len(self.merge.states) < 2 * _RECORDS:
            unfit = "City" if side != SALESFORCE and self._errs() else ""
            fields: dict[str, Value] = {
                n: self.nature.unfit(None) if n == unfit else self.nature.token(n, None) for n in self.edited
            }
            if again:
                key = self.nature.random.choice(gone)
                self.databases[side].insert({"_id": key, **fields}, self._somewhere(side))
                self._brought(side, key, fields)
            else:
                self.born(side, fields)

    def _errs(self) -> bool:
        """Whether somebody puts in the database what the field cannot hold."""
        return self.knobs.unfit > 0 and self.nature.chance(self.knobs.unfit)

    def _somebody_edits(self, side: str, key: str) -> None:
        held, name = self.fields(side, key), self.nature.random.choice(self.edited)
        assert held is not None
        if side != SALESFORCE and self._errs():
            unfit = self.nature.unfit(held.get(name))
            self.nature.history.unfit[unfit] = (key, name)
            self.edit(side, key, {name: unfit})
            return
        # Who sets a Rank in a document that lacks one is taken to have seen none, and not the one that is on its way back.
        keeps = side == SALESFORCE and name == RANK
        value = self.nature.token(name, held.get(name)) if keeps or self.nature.chance(0.9) else None
        self.nature.history.records[value] = key
        if value is None:
            self.nature.history.cleared.add(held.get(name))
            self.nature.history.emptied.add((key, name))
        elif not self._is_known(side, key) and not self._is_made_by_us(side, key):
            self.nature.history.found.add(value)  # nobody can tell it from what was there before ...
            self.nature.history.unsure[value] = side  # ... but by an event that comes before any row
        if side != SALESFORCE and self.nature.chance(0.2):
            # An application that saves the whole document, marker and all.
            document = copy.deepcopy(self.databases[side].documents[key])
            document.pop(name, None)
            self.nature.history.touched.add((side, key))
            self._unheard(side, {name: value})
            self.databases[side].replace(document if value is None else {**document, name: value})
        else:
            self.edit(side, key, {name: value})

    def _is_known(self, side: str, key: str) -> bool:
        """Whether the side has told of the record as a whole."""
        state = self.merge.states.get(key)
        return state is not None and state.sides[side].exists is True and not state.sides[side].unknown

    def _is_made_by_us(self, side: str, key: str) -> bool:
        """
        Whether whoever edits it edits what our sink has set, and will be heard: the org's events of the time before its
        source began never are.
        """
        return side != SALESFORCE and MARKER in self.databases[side].documents[key]

    def _restore(self, side: str, backup: dict[str, Any]) -> None:
        """A document comes back from a backup, or a copy of it under another key, each with its old marker."""
        document = copy.deepcopy(backup)
        if self.nature.chance(0.3):
            self.births += 1
            document["_id"] = f"m{self.births}"
        self._brought(side, str(document["_id"]), document)
        database = self.databases[side]
        if document["_id"] in database.documents:
            database.replace(document)
        else:
            database.insert(document, self._somewhere(side))
        if OWN in document:
            database.own[str(document["_id"])] = document[OWN]
        else:
            database.own.pop(str(document["_id"]), None)

    def _somewhere(self, side: str) -> str:
        """The collection in which somebody creates a document: an application does not know all rules."""
        places = COLLECTIONS if self.knobs.places and side == MONGODB else COLLECTIONS[:1]
        return self.nature.random.choice(places) if len(places) > 1 else places[0]

    # The end.

    def settle(self) -> None:
        """Drain everything, and nobody dies any more: a finite number of edits must come to rest."""
        self.org_sink_is_down = False
        judge_again(self, at_most=len(self.merge.states))
        self._renew_all()
        self.knobs.crashes = self.knobs.repeats = self.knobs.locks = 0
        at_rest = 0
        for _ in range(_ROUNDS_MAX):
            self.nature.pass_ms()
            busy = False
            for side in self.sides:
                self.org_source.hear()
                self.org_source.hear()
                self.org_source.read_chunk()
                busy |= self.source_turn(side)
                self.sinks[side].read(9)
                busy |= self.sinks[side].put()
            quiet = all(part.quiet for part in (*self.sources.values(), *self.sinks.values()))
            at_rest = 0 if busy or not quiet else at_rest + 1
            if at_rest == _ROUNDS_AT_REST:
                return
        raise AssertionError("it does not come to rest")

    def tell_again(self) -> None:
        """Repeat every event of each side."""
        for event in self.org.log[self.org.lost :]:
            self.org_source.tell_again(event)
        for side, database in self.databases.items():
            for number in range(database.lost, len(database.log)):
                self.source_of(side).tell_again(number)

    def _read_databases(self) -> None:
        for side in self.databases:
            self.source_of(side).read_all()

    def look_again(self) -> None:
        """Read everything once more: nobody has done anything."""
        self.org_source.ask(None)
        self._read_databases()
        self.nature.pass_ms(10_000)
        self.settle()


__all__ = ["World", "other"]
