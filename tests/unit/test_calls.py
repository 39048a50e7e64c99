"""Calls to servers: who owes us an answer, and since when."""

from __future__ import annotations

import threading

import pytest

from salmon.calls import CALL_MAX_S, GIVEN_UP_S, Calls, Peer, Silence, on_behalf_of
from support.clock import Clock


@pytest.fixture
def calls(clock: Clock) -> Calls:
    return Calls(clock=clock)


def test_a_call_without_an_answer_is_a_silence_before_half_a_minute_is_over(
    calls: Calls, clock: Clock
) -> None:
    """The org hangs: nobody has given up yet, and it can be seen (case S5)."""
    calls.begin(Peer.SALESFORCE, "PATCH /composite/sobjects")
    clock.now_s = CALL_MAX_S - 1
    assert calls.silences() == []
    clock.now_s = 29.0
    assert calls.silences() == [Silence(Peer.SALESFORCE, "PATCH /composite/sobjects", 29.0)]


def test_an_answer_ends_it_whatever_the_answer_is(calls: Calls, clock: Clock) -> None:
    """A refusal shows that somebody is there."""
    call = calls.begin(Peer.MONGODB, "find")
    clock.now_s = 40.0
    calls.answered(call)
    assert calls.silences() == []


def test_to_give_up_and_try_again_is_no_answer(calls: Calls, clock: Clock) -> None:
    """Time-outs are shorter than what is told: the silence began with the first try."""

    def try_it() -> None:
        with calls.calling(Peer.REGISTRY, "GET /subjects"):
            clock.now_s += 9
            raise TimeoutError

    for clock.now_s in (0.0, 10.0, 20.0):
        with pytest.raises(TimeoutError):
            try_it()
    assert calls.silences() == [Silence(Peer.REGISTRY, "GET /subjects", 29.0)]
    with calls.calling(Peer.REGISTRY, "GET /subjects"):
        pass
    assert calls.silences() == []


def test_one_call_that_hangs_shows_though_others_are_answered(calls: Calls, clock: Clock) -> None:
    """A query that never ends, while small calls go through."""
    calls.begin(Peer.SALESFORCE, "GET /query")
    for clock.now_s in (10.0, 20.0, 30.0):
        calls.answered(calls.begin(Peer.SALESFORCE, "GET /services/data"))
    assert [(each.peer, each.doing) for each in calls.silences()] == [(Peer.SALESFORCE, "GET /query")]


def test_a_dead_member_of_a_set_is_no_silence_while_another_answers(calls: Calls, clock: Clock) -> None:
    """MongoDB's driver asks each member; one that answers is MongoDB."""
    dead = calls.begin(Peer.MONGODB, "heartbeat", ours=False)
    clock.now_s = 10.0
    calls.answered(calls.begin(Peer.MONGODB, "heartbeat", ours=False))
    clock.now_s = 34.0
    assert calls.silences() == []
    calls.given_up(dead)
    assert calls.silences() == []
    clock.now_s = 35.0
    assert calls.silences() == [Silence(Peer.MONGODB, "heartbeat", 25.0)], "nobody has answered since"


def test_a_stream_that_brings_something_is_an_answer(calls: Calls, clock: Clock) -> None:
    """Nobody has asked, and the peer is there."""
    calls.given_up(calls.begin(Peer.PUBSUB, "GetTopic"))
    clock.now_s = 30.0
    calls.heard(Peer.PUBSUB)
    assert (calls.silences(), calls.unheard_s(Peer.PUBSUB)) == ([], 0.0)


def test_a_thread_that_waits_for_a_server_is_attended_but_not_for_ever(calls: Calls, clock: Clock) -> None:
    """Beyond every time-out it does not wait for the server any more: the library hangs (case S3)."""
    me = threading.get_ident()
    call = calls.begin(Peer.SALESFORCE, "GET /query")
    clock.now_s = 100.0
    assert (calls.attended(me), calls.attended(me + 1)) == (100.0, float("-inf"))
    clock.now_s = GIVEN_UP_S + 1
    assert calls.attended(me) == float("-inf")
    calls.answered(call)
    clock.now_s += 5
    assert calls.attended(me) == GIVEN_UP_S + 1


def test_who_waits_for_the_calls_of_other_threads_does_not_hang(calls: Calls, clock: Clock) -> None:
    """Several calls at the same time are made by threads; whoever waits for all of them waits for a server."""
    waiting = threading.get_ident()
    answered = threading.Event()

    def call() -> None:
        with on_behalf_of(waiting), calls.calling(Peer.SALESFORCE, "PATCH /composite/sobjects"):
            called.set()
            answered.wait(10)

    called = threading.Event()
    thread = threading.Thread(target=call)
    thread.start()
    assert called.wait(10)
    clock.now_s = 70.0
    assert calls.attended(waiting) == 70.0
    answered.set()
    thread.join()
    clock.now_s = 90.0
    assert calls.attended(waiting) == 70.0
