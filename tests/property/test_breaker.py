"""Automations of every kind, on both sides at once: whatever they do to each other, the sync comes to rest."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from salmon.model.change import MONGODB, SALESFORCE, Value
from salmon.model.fold import Fact
from salmon.model.state import Park
from support.at_hand.stories import SECOND, Story, in_step, rules

FIELDS = ("Phone", "City")
Automation = Callable[[Value], Value]

# What an automation makes of a value that it is given; one that gives back the value leaves it alone.
AUTOMATIONS: dict[str, Automation] = {
    "leaves it": lambda value: value,
    "shouts": lambda value: str(value).upper(),
    "whispers": lambda value: str(value).lower(),
    "appends": lambda value: f"{value}!",
    "insists": lambda _: "mine",
    "clears": lambda _: None,
}
automations = st.sampled_from(sorted(AUTOMATIONS))


def carry_out(story: Story, random: Random, side: str, made: Automation, *, at_once: bool) -> None:
    """The side carries out what it is owed; its automation runs in that transaction, or in one of its own after it."""
    teller = story.salesforce if side == SALESFORCE else story.mongodb
    write = story.writes[side]
    answers = {n: made(v) for n, v in write.fields.items() if n in FIELDS and made(v) != v}
    story.clock_ms += random.randrange(20) * SECOND
    if at_once:
        teller.edits({**write.fields, **answers}, ack=write.seq)
    else:
        teller.acks(write)
        if answers:
            teller.edits(answers)


@settings(deadline=None)  # a busy machine is no failure
@given(
    of_the_org=automations,
    of_the_application=automations,
    at_once=st.booleans(),
    users=st.lists(st.tuples(st.sampled_from((SALESFORCE, MONGODB)), st.sampled_from(FIELDS)), max_size=8),
    on_reject=st.sampled_from(("keep", "revert")),
    seed=st.integers(0, 1_000),
)
def test_a_finite_number_of_users_edits_causes_a_finite_number_of_writes(
    of_the_org: str,
    of_the_application: str,
    at_once: bool,
    users: list[tuple[str, str]],
    on_reject: str,
    seed: int,
) -> None:
    """Termination; and where the sides differ in the end, it is parked on both and was reported."""
    random = Random(seed)
    made = {SALESFORCE: AUTOMATIONS[of_the_org], MONGODB: AUTOMATIONS[of_the_application]}
    story = in_step(rules(on_reject=on_reject), Name="Acme", Phone="Phone", City="City")
    story.timed = True
    for number, (side, name) in enumerate([*users, (MONGODB, "Phone")]):
        teller = story.salesforce if side == SALESFORCE else story.mongodb
        teller.edits({name: f"Value {number}"})
        story.clock_ms += random.randrange(100) * SECOND
        for _ in range(200):
            if not story.writes:
                break
            owed = random.choice(sorted(story.writes))
            carry_out(story, random, owed, made[owed], at_once=at_once and owed == SALESFORCE)
        assert not story.writes, f"{made}: it does not come to rest"
    for name in FIELDS:
        if story.salesforce.holds.get(name) != story.mongodb.holds.get(name):
            for parked in (story.salesforce.parked, story.mongodb.parked):
                assert parked[name].why is Park.OSCILLATING
            assert story.seen[Fact.OSCILLATING]


def test_the_watcher_sees_an_oscillation_that_nobody_stops() -> None:
    """Without timestamps there is no breaker, and the same two automations go on for ever."""
    story, random = in_step(Name="Acme", Phone="a"), Random(7)
    story.mongodb.edits(Phone="b")
    for _ in range(200):
        owed = sorted(story.writes)[0]
        carry_out(story, random, owed, AUTOMATIONS["appends"], at_once=False)
    assert story.writes
