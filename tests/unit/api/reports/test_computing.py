"""Who asks for a report at the same time shares one answer, which is never older than the question; and no more may wait than threads can bear."""

from __future__ import annotations

from threading import Event, Thread
from typing import Any

import pytest

from salmon.api.problems import Problem
from salmon.api.reports.computing import WAITING_FOR_ONE_MAX, Computing, Result
from support.at_hand.api_room import api_of
from support.waiting import until

REPORT = {"object": "Car__c", "by": "Name", "measures": {"cars": "count"}}


class Collection:
    """Answers when it may, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked, self.may = 0, Event()

    def __getitem__(self, _: str) -> Collection:
        return self

    def aggregate(self, *_: Any, **__: Any) -> list[dict[str, Any]]:
        self.asked += 1
        assert self.may.wait(30)
        return [{"_id": {"g0": "a"}, "m0": self.asked}]


@pytest.fixture
def collection() -> Collection:
    return Collection()


@pytest.fixture
def computing(collection: Collection) -> Computing:
    return api_of("Car__c", database=collection, reports={"cars": REPORT, "others": REPORT}).reports.computing


def asking(
    computing: Computing, count: int, name: str = "cars"
) -> tuple[list[Thread], list[Result | Problem]]:
    """So many who ask at the same time, and their answers."""
    answers: list[Result | Problem] = []

    def ask() -> None:
        try:
            answers.append(computing.result(name))
        except Problem as problem:
            answers.append(problem)

    threads = [Thread(target=ask, daemon=True) for _ in range(count)]
    for each in threads:
        each.start()
    return threads, answers


def test_those_who_wait_share_the_next_answer(collection: Collection, computing: Computing) -> None:
    """The first question is under way; what has changed since then, its answer may lack, so the others get a newer one, together."""
    first, answers = asking(computing, 1)
    until(lambda: collection.asked == 1, "the first is worked out")
    others, shared = asking(computing, 6)
    until(lambda: computing._waiting_for["cars"]._value == WAITING_FOR_ONE_MAX - 6, "the others wait")
    collection.may.set()
    for each in (*first, *others):
        each.join(30)
    assert collection.asked == 2
    assert isinstance(answers[0], Result)
    assert {id(each) for each in shared} == {id(shared[0])}
    assert shared[0] is not answers[0]


def test_an_answer_that_is_shared_is_written_once(collection: Collection, computing: Computing) -> None:
    """For those who may see the same of it."""
    collection.may.set()
    result, written = computing.result("cars"), list[str]()

    def write() -> str:
        written.append("a")
        return f"text {len(written)}"

    assert [result.text(form, write) for form in ("json", "json", "csv")] == ["text 1", "text 1", "text 2"]


def test_a_later_question_gets_a_new_answer(collection: Collection, computing: Computing) -> None:
    """Whoever has written something, sees it in the report."""
    collection.may.set()
    assert [computing.result("cars").rows[0].measures for _ in range(2)] == [(1,), (2,)]


def test_more_than_threads_can_bear_are_refused(collection: Collection, computing: Computing) -> None:
    """At once, and not after they have waited."""
    threads, answers = asking(computing, 1 + WAITING_FOR_ONE_MAX + 1)
    (refused,) = until(lambda: list(answers), "one is refused")
    assert isinstance(refused, Problem)
    assert (refused.status, refused.code) == (503, "busy")
    collection.may.set()
    for each in threads:
        each.join(30)
    assert sum(isinstance(each, Result) for each in answers) == 1 + WAITING_FOR_ONE_MAX


def test_many_who_wait_for_a_slow_report_deny_nobody_another_one(
    collection: Collection, computing: Computing
) -> None:
    """They take the places of those who wait for it, and one of those that are worked out."""
    threads, slow = asking(computing, 40)
    until(lambda: len(slow) == 40 - 1 - WAITING_FOR_ONE_MAX, "there are as many as may be")
    more, answers = asking(computing, 2, "others")
    until(lambda: collection.asked == 2, "the other one is worked out")
    until(lambda: computing._waiting_for["others"]._value == WAITING_FOR_ONE_MAX - 1, "and waited for")
    collection.may.set()
    for each in (*threads, *more):
        each.join(30)
    assert [type(each) for each in answers] == [Result, Result]
