"""Which conflicts and dead letters a person means who gives a key."""

from __future__ import annotations

import pytest

from salmon.dlq.letters import LetterFilter, found
from salmon.kafka.codecs.serdes import ConflictRecord, Conflicts, Identities
from salmon.model.policies import Conflict, Contest, Edit
from salmon.story.conflicts import ConflictFilter, listed
from support.at_hand.dead_letters import Desk
from support.runtime import OBJECT

ID = "0015g00000Xyz12AAB"


@pytest.fixture
def desk() -> Desk:
    """A conflict and a dead letter of each of two records; the first of them has an Id in Salesforce."""
    made = Desk()
    identities = Identities(made.registry, made.topics.identity(OBJECT))
    conflicts = Conflicts(made.registry, made.topics.conflicts)
    one, two = Edit("salesforce", "a", 1), Edit("mongodb", "b", 2)
    keys = {1: "$int:7", 2: "other"}
    with made.producer("setup") as producer, producer.transaction() as transaction:
        transaction.produce(identities.topic, ID, identities.encode(keys[1]))
        for seq, key in keys.items():
            contest = Contest(OBJECT, key, "Name", one, two, "salesforce")
            record = ConflictRecord(Conflict(contest, "last_writer_wins", two), seq, "c")
            transaction.produce(conflicts.topic, key, conflicts.encode(record))
    for seq, key in keys.items():
        made.refused(key, seq)
    return made


@pytest.mark.parametrize("name", [OBJECT, None], ids=["with the object", "of any object"])
@pytest.mark.parametrize("text", ["$int:7", "7", "7.0", '{"$numberLong": "7"}', ID, ID[:15]])
def test_a_record_is_found_by_its_key_its_id_and_its_salesforce_id(
    desk: Desk, name: str | None, text: str
) -> None:
    """As in `why`: fifteen characters are as good as eighteen, and no number needs its tag (cases V1 and V2)."""
    conflicts = listed(desk, ConflictFilter(name, text=text), limit=9).conflicts
    assert [each.conflict.contest.key for each in conflicts] == ["$int:7"]
    letters = found(desk, LetterFilter(subject=name, key=text), limit=9).letters
    assert [letter.key_text for letter, _ in letters] == ["$int:7"]


def test_nothing_else_is_found(desk: Desk) -> None:
    """A key that nobody has, and the Id of another record."""
    for text in ("8", "0015g00000Xyz13AAB", "Other"):
        assert listed(desk, ConflictFilter(text=text), limit=9).conflicts == ()
        assert found(desk, LetterFilter(key=text), limit=9).letters == ()
    assert len(listed(desk, ConflictFilter(), limit=9).conflicts) == 2
    assert len(listed(desk, ConflictFilter(key="other"), limit=9).conflicts) == 1
