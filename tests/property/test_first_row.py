"""The short ways of merge, held to the long ones: the same judgement, and the same bytes."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from salmon.kafka.codecs.bodies import Bodies
from salmon.kafka.codecs.serdes import Changes, Conflicts, Records, Signals, Writes
from salmon.kafka.output import Output
from salmon.kafka.topics import Topics
from salmon.merge import batch
from salmon.merge.batch import Batch, ObjectCodecs
from salmon.merge.states import States
from salmon.merge.store import Recent, Store
from salmon.model.change import MONGODB, SALESFORCE, SALESFORCE_ID, SIDES, Change, Op
from salmon.model.fold import fold
from salmon.model.policies import POLICIES
from salmon.model.rules import Rules
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.model.state import new_state
from salmon.model.steps.first_load import fold_first_row
from support.at_hand.memory_cache import MemoryCache
from support.at_hand.registries import MemoryRegistry

TOPICS = Topics("crm")
KEYS = ("001A", "001B")
_values: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.STRING: st.sampled_from(["", "a", "b", "é" * 70]),
    Kind.DOUBLE: st.sampled_from([0.0, -0.0, 1.5]),
    Kind.BOOLEAN: st.booleans(),
    Kind.LONG: st.sampled_from([0, -1, 2**40]),
    Kind.STRINGS: st.sampled_from([("x",), ("y",), ("x", "y")]),
}


@st.composite
def schemas(draw: st.DrawFn) -> ObjectSchema:
    """Some fields of some kinds, of which each side may set some."""
    kinds = draw(st.lists(st.sampled_from(sorted(_values)), min_size=1, max_size=6))
    return ObjectSchema(
        "Account",
        tuple(
            FieldSchema(f"F{n}__c", "any", kind, create=draw(st.booleans()), update=draw(st.booleans()))
            for n, kind in enumerate(kinds)
        ),
        "001",
    )


@st.composite
def any_rules(draw: st.DrawFn, schema: ObjectSchema) -> Rules:
    return Rules(
        schema,
        initial=draw(st.sampled_from([SALESFORCE, MONGODB])),
        policy=POLICIES[draw(st.sampled_from(sorted(POLICIES)))],
        one_way_to=draw(st.sampled_from([None, None, MONGODB, SALESFORCE])),
        sides=draw(st.sampled_from([SIDES, (*SIDES, "files")])),
    )


@st.composite
def changes(draw: st.DrawFn, schema: ObjectSchema) -> Change:
    """Mostly first rows, told by either side; some events, and what no row says."""
    origin = draw(st.sampled_from([SALESFORCE, SALESFORCE, MONGODB]))
    op = draw(st.sampled_from([Op.ROW, Op.ROW, Op.ROW, Op.UPDATE, Op.CREATE, Op.DELETE, Op.ABSENT]))
    fields = {f.name: draw(_values[f.kind]) for f in schema.fields if draw(st.booleans())}
    if origin == MONGODB and draw(st.booleans()):
        fields[SALESFORCE_ID] = "001A"
    is_row = op in (Op.ROW, Op.ABSENT)
    return Change(
        origin,
        op,
        committed_at=draw(st.integers(0, 3)),
        commit_time=0 if is_row else draw(st.integers(0, 3)),
        order=b"" if is_row else draw(st.sampled_from([b"1", b"2", b"3"])),
        as_of=draw(st.integers(-1, 3)) if is_row else None,
        native_id=draw(st.sampled_from([None, "001A", "001B"])),
        ack=draw(st.sampled_from([None, None, 0, 1, 2, 3])),
        changed=frozenset(fields) if op is Op.UPDATE or draw(st.integers(0, 5)) == 0 else None,
        fields={} if op in (Op.DELETE, Op.ABSENT) else fields,
    )


many = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


@many
@given(data=st.data(), offset=st.integers(0, 9))
def test_the_short_way_of_a_first_row_is_the_folds(data: st.DataObject, offset: int) -> None:
    """State, write, record and report: what it gives is what the fold gives."""
    schema = data.draw(schemas())
    rules, change = data.draw(any_rules(schema)), data.draw(changes(schema))
    short = fold_first_row(change, offset=offset, rules=rules, correlation="c")
    if short is not None:
        known = new_state(rules.names)
        assert short == fold(
            known, change, object="Account", key="001A", offset=offset, rules=rules, correlation="c"
        )


@pytest.mark.parametrize("native_id", [None, "001A"])
def test_a_plain_first_row_goes_the_short_way(native_id: str | None) -> None:
    """The property above would hold for a short way that is never taken, too."""
    rules = Rules(ObjectSchema("Account", (FieldSchema("Name", "string", Kind.STRING),), "001"))
    row = Change(SALESFORCE, Op.ROW, as_of=5, native_id=native_id, fields={"Name": "Acme"})
    assert fold_first_row(row, offset=0, rules=rules) is not None


class Merge:
    """One partition of one object, in memory."""

    def __init__(self, rules: Rules, registry: MemoryRegistry) -> None:
        schema = rules.schema
        self.codecs = ObjectCodecs(
            rules,
            Changes(schema, registry, TOPICS.changes("Account")),
            {side: Writes(schema, registry, TOPICS.writes(side, "Account")) for side in rules.sides},
            Records(schema, registry, TOPICS.records("Account")),
            States(rules, registry, TOPICS.state("Account")),
        )
        place = (TOPICS.changes("Account"), 0)
        self.store = Store(place, self.codecs.states, rules, MemoryCache(), Recent(most=1))
        self.registry = registry

    def says(self, log: list[tuple[str, bytes]]) -> list[Output]:
        """All that it puts out for *log*, one batch a change; most states come from their bytes."""
        said: list[Output] = []
        for offset, (key, value) in enumerate(log):
            made = Batch(
                TOPICS,
                Conflicts(self.registry, TOPICS.conflicts),
                Signals(self.registry, TOPICS.signals("salesforce-source")),
            )
            made.add(self.codecs, self.store, key=key, value=value, partition=0, offset=offset)
            for drafts in made.drafts.values():
                self.store.put(drafts, {each: made.states["Account", each].value for each in drafts})
            said += [*made.outputs, *made.states.values()]
        return said


def without_short_ways(rules: Rules, registry: MemoryRegistry, log: list[tuple[str, bytes]]) -> list[Output]:
    with (
        patch.object(batch, "fold_first_row", lambda *_args, **_named: None),
        patch.object(Bodies, "read", side_effect=ValueError),
        patch.object(Bodies, "write", side_effect=ValueError),
        patch.object(Changes, "encode_with", lambda *_: None),
        patch.object(Writes, "encode_with", lambda *_: None),
        patch.object(States, "encode_with", lambda *_: None),
    ):
        return Merge(rules, registry).says(log)


@many
@given(data=st.data())
def test_the_bytes_of_the_short_ways_are_those_of_the_long_ones(data: st.DataObject) -> None:
    """Random logs of two keys, read and written by fastavro and folded as a whole: the very same outputs."""
    schema, registry = data.draw(schemas()), MemoryRegistry()
    rules = data.draw(any_rules(schema))
    written_by = [schema]
    if data.draw(st.booleans()):  # some of it by a source that knows one field less
        written_by.append(ObjectSchema("Account", schema.fields[:-1], "001"))
    log = []
    for _ in range(data.draw(st.integers(1, 6))):
        author = data.draw(st.sampled_from(written_by))
        codec = Changes(author, registry, TOPICS.changes("Account"))
        log.append((data.draw(st.sampled_from(KEYS)), codec.encode(data.draw(changes(author)))))
    assert Merge(rules, registry).says(log) == without_short_ways(rules, registry, log)
