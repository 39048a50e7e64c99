"""Dead letters, listed, replayed and discarded: each once, by the way that loses nothing, and again after any kill."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

import pytest

from salmon.dlq.letters import Handled, LetterFilter, StoredLetter, found, one
from salmon.dlq.replaying import Mend, discard, replay
from salmon.errors import ConfigError, RequestRejected, Unavailable
from salmon.kafka import transactions
from salmon.kafka.codecs.serdes import Signals
from salmon.model.change import OPERATOR, Change, Op
from salmon.plugin.contract import Signal, SignalKind
from support.at_hand.dead_letters import INSERTED, PUBLISHED, Desk
from support.runtime import OBJECT

EVERY = LetterFilter()


@pytest.fixture
def desk() -> Desk:
    return Desk()


def changes(desk: Desk) -> list[tuple[str, Change]]:
    return desk.sync.changes()


def asked_to_read(desk: Desk, connector: str) -> list[str]:
    """The keys that a source was asked to read again, one by one."""
    topic = desk.topics.signals(connector)
    codec = Signals(desk.registry, topic)
    signals = [codec.decode(value or b"", offset=0) for value in desk.memory.values(topic)]
    assert all(signal.kind is SignalKind.READ and signal.object == OBJECT for signal in signals)
    return [key for signal in signals for key in signal.keys]


def mends(desk: Desk) -> list[Mend]:
    return [each.plan.mend for each in replay(desk, EVERY, by="me", dry_run=True).letters]


def test_a_refused_write_is_sent_again_by_merge_and_not_as_it_was(desk: Desk) -> None:
    """A replay names the write that was refused, as `salmon retry` does; no old value is written anywhere."""
    desk.refused("a", 7, Name="too long")
    replay(desk, EVERY, by="me", reason="the rule is gone")
    ((key, change),) = changes(desk)
    assert (key, change.origin, change.op, change.ack, change.fields) == ("a", OPERATOR, Op.RETRY, 7, {})
    assert change.source == {"by": "me", "reason": "the rule is gone"}


def test_replaying_twice_has_one_effect(desk: Desk) -> None:
    """The second call finds the mark of the first."""
    desk.refused("a", 7)
    assert [each.plan.mend for each in replay(desk, EVERY, by="me").letters] == [Mend.SEND]
    again = replay(desk, EVERY, by="me")
    assert (again.letters, again.before) == ((), 1)
    assert len(changes(desk)) == 1


def test_a_replay_that_is_killed_before_its_commit_has_done_nothing_and_is_done_by_the_next(
    desk: Desk,
) -> None:
    """What is done for a letter and its mark are one transaction."""
    for number in range(3):
        desk.refused(f"k{number}", number + 1)
    killed = patch.object(transactions.TransactionalProducer, "_commit", side_effect=Unavailable("killed"))
    with killed, pytest.raises(Unavailable):
        replay(desk, EVERY, by="me")
    assert changes(desk) == []
    assert len(found(desk, EVERY, limit=10).letters) == 3
    assert len(replay(desk, EVERY, by="me").letters) == 3
    assert sorted(key for key, _ in changes(desk)) == ["k0", "k1", "k2"]


def test_what_could_not_be_read_or_folded_is_read_again_on_its_side(desk: Desk) -> None:
    """A document, a change of a side, a write that nobody can decode: its source reads the record as it is now."""
    codec = desk.sync.changes_codec
    desk.letter("mongodb-source", "doc", b'{"Name": 1}')
    of_salesforce = codec.encode(Change("salesforce", Op.UPDATE, changed=frozenset({"Name"})))
    desk.letter("merge", "record", of_salesforce, topic=codec.topic)
    desk.letter("mongodb-sink", "both", b"?", topic=desk.topics.writes("mongodb", OBJECT))
    assert mends(desk) == [Mend.READ] * 3
    replay(desk, EVERY, by="me")
    assert sorted(asked_to_read(desk, "mongodb-source")) == ["both", "doc"]
    assert sorted(asked_to_read(desk, "salesforce-source")) == ["both", "record"]
    assert changes(desk) == []


def test_the_target_of_a_one_way_object_is_not_read(desk: Desk) -> None:
    """Nobody reads it, so nothing can be replayed, and the letter stays."""
    desk.one_way_to = "mongodb"
    desk.letter("mongodb-source", "doc", b"{}")
    (dealt,) = replay(desk, EVERY, by="me").letters
    assert dealt.plan.mend is Mend.NONE
    assert "one direction" in dealt.plan.says
    assert len(found(desk, EVERY, limit=10).letters) == 1


def test_an_operators_change_and_a_request_to_a_source_go_back_as_they_were(desk: Desk) -> None:
    """No side can be asked for them again."""
    codec = desk.sync.changes_codec
    edit = codec.encode(Change(OPERATOR, Op.EDIT, changed=frozenset({"Name"}), fields={"Name": "x"}))
    desk.letter("merge", "a", edit, topic=codec.topic)
    topic = desk.topics.signals("mongodb-source")
    signal = Signals(desk.registry, topic).encode(Signal(0, SignalKind.READ, OBJECT, keys=("b",)))
    desk.letter("mongodb-source", OBJECT, signal, topic=topic, subject="")
    assert mends(desk) == [Mend.RETURN] * 2
    replay(desk, EVERY, by="me")
    assert desk.memory.values(codec.topic) == [edit]
    assert desk.memory.values(topic) == [signal]


@pytest.mark.parametrize(("queue", "event"), [("mongodb-sink", INSERTED), ("salesforce-sink", PUBLISHED)])
def test_an_event_goes_to_its_own_sink_alone_and_keeps_where_it_came_from(
    desk: Desk, queue: str, event: str
) -> None:
    """Other readers of the topic do not see it twice."""
    topic = desk.topics.events(event) if event == INSERTED else desk.topics.changes(OBJECT)
    desk.letter(queue, "e1", b"event", topic=topic, subject=event, stage="TASK_PUT", offset=5)
    assert mends(desk) == [Mend.CARRY]
    replay(desk, EVERY, by="me")
    (record,) = desk.sync.records(desk.topics.replays(event))
    (letter,) = desk.sync.dead_letters(queue)
    assert (record.key(), record.value(), record.headers()) == (b"e1", b"event", letter.headers())


def test_what_is_not_ours_cannot_be_replayed_and_says_why(desk: Desk) -> None:
    """A key that is no text, an object that is not synced, a request that nobody can read."""
    desk.letter("merge", b"\xff", b"x", topic=desk.topics.changes(OBJECT))
    desk.letter("merge", "a", b"x", topic="other", subject="Other")
    desk.letter("mongodb-source", OBJECT, b"x", topic=desk.topics.signals("mongodb-source"), subject="")
    dealt = replay(desk, EVERY, by="me").letters
    assert [each.plan.mend for each in dealt] == [Mend.NONE] * 3
    assert all(each.plan.says.endswith(".") for each in dealt)


def test_a_discarded_letter_is_no_longer_listed_and_is_not_replayed(desk: Desk) -> None:
    """Nothing else is done for it; who did it, when and why is kept."""
    desk.refused("a", 7)
    discard(desk, EVERY, by="me", reason="old", now=lambda: 5.0)
    assert found(desk, EVERY, limit=10).letters == ()
    ((_, handled),) = found(desk, replace(EVERY, handled=True), limit=10).letters
    assert handled == Handled("discarded", "me", 5000, "old")
    assert replay(desk, EVERY, by="me").letters == ()
    assert changes(desk) == []


def test_letters_are_found_by_what_they_are_about(desk: Desk) -> None:
    """By connector, object, key, code and id; the newest come first, and what does not fit is counted."""
    desk.refused("a", 1, RequestRejected("no", code="STRING_TOO_LONG"))
    desk.refused("b", 2, RequestRejected("no", code="FIELD_CUSTOM_VALIDATION_EXCEPTION"))
    desk.letter("mongodb-source", "a", b"{}")

    def ids(asked: LetterFilter, limit: int = 10) -> list[str]:
        return [letter.id for letter, _ in found(desk, asked, limit=limit).letters]

    assert sorted(ids(EVERY)) == ["mongodb-source/0", "salesforce-sink/0", "salesforce-sink/2"]
    assert sorted(ids(LetterFilter(key="a"))) == ["mongodb-source/0", "salesforce-sink/0"]
    assert ids(LetterFilter(code="STRING_TOO_LONG")) == ["salesforce-sink/0"]
    assert ids(LetterFilter(code="DataError")) == ["mongodb-source/0"]
    assert ids(LetterFilter(queue="mongodb-source")) == ["mongodb-source/0"]
    assert ids(LetterFilter(subject="Other")) == []
    assert ids(LetterFilter(ids=("salesforce-sink/2",))) == ["salesforce-sink/2"]
    assert found(desk, EVERY, limit=1).more == 2
    assert one(desk, "salesforce-sink/2")[0].key_text == "b"


@pytest.mark.parametrize(
    ("topic", "subject"),
    [
        ("crm.changes.Account", "Account"),
        ("crm.writes.salesforce.Account", "Account"),
        ("crm.events.Made__e", "Made__e"),
        ("crm.signals.merge", ""),
        ("", ""),
    ],
)
def test_a_letter_without_our_headers_is_about_what_its_topic_is(topic: str, subject: str) -> None:
    """Those of merge, and of earlier versions."""
    assert StoredLetter("merge", 0, 0, None, None, {"topic": topic}).subject == subject


@pytest.mark.parametrize("text", ["17", "nobody/1", "merge/x", "merge/9"])
def test_an_id_that_is_none_is_refused_in_one_sentence(desk: Desk, text: str) -> None:
    """It is not taken for an empty queue."""
    with pytest.raises(ConfigError, match=text):
        one(desk, text)


def test_marks_of_letters_that_have_expired_are_taken_away(desk: Desk) -> None:
    """The table of marks does not grow with the years."""
    desk.refused("a", 1)
    desk.refused("b", 2)
    replay(desk, LetterFilter(key="a"), by="me")
    desk.memory.broker.delete_before(desk.topics.dlq("salesforce-sink"), 0, 2)
    replay(desk, EVERY, by="me")
    marks = desk.memory.values(desk.topics.handled)
    assert len([mark for mark in marks if mark is None]) == 1


def test_letters_beyond_the_most_of_one_call_are_left_for_the_next(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call has a bound, says that there is more, and the next one continues."""
    monkeypatch.setattr("salmon.dlq.replaying.AT_MOST", 2)
    for number in range(3):
        desk.refused(f"k{number}", number + 1)
    first = replay(desk, EVERY, by="me")
    assert (len(first.letters), first.more) == (2, True)
    second = replay(desk, EVERY, by="me")
    assert (len(second.letters), second.before, second.more) == (1, 2, False)
