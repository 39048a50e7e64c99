"""The runner of the doctor's checks: in time, in order, and without one of them standing in another's way."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from salmon.doctor.checks import Check, Line, Outcome, examine, fail, ok
from salmon.doctor.doctor import worst
from salmon.errors import ConfigError, Unavailable


def good(name: str) -> Check:
    return Check(name, name, lambda: [ok(name, name, "It is well.")])


def bad(name: str, after: str = "") -> Check:
    return Check(name, name, lambda: [fail(name, name, "It is broken.", "Mend it.")], after)


def test_a_check_that_hangs_fails_in_time_and_holds_up_no_other() -> None:
    """Its line says that there was no answer, and stands where it belongs."""
    never = threading.Event()
    hanging = [
        Check(f"hangs-{number}", "a server", lambda: [ok("", "", str(never.wait()))]) for number in range(4)
    ]
    lines = list(examine([hanging[0], good("quick"), *hanging[1:]], patience_s=0.2, at_once=2))
    never.set()
    assert [line.name for line in lines] == ["hangs-0", "quick", "hangs-1", "hangs-2", "hangs-3"]
    assert [line.outcome for line in lines] == [Outcome.FAIL, Outcome.OK, *[Outcome.FAIL] * 3]
    assert lines[0].says == "No answer within 0.2 s."
    assert lines[0].mend


def test_checks_are_made_at_the_same_time() -> None:
    """Two that wait for each other both end."""
    both = threading.Barrier(2, timeout=10)

    def look(name: str) -> list[Line]:
        both.wait()
        return [ok(name, name, "Met.")]

    checks = [Check(name, name, lambda name=name: look(name)) for name in ("a", "b")]  # type: ignore[misc]
    assert [line.outcome for line in examine(checks)] == [Outcome.OK, Outcome.OK]


def test_no_more_checks_are_made_at_a_time_than_wanted() -> None:
    """An org with a hundred synced objects is not asked a hundred things at once."""
    running, most, lock = 0, 0, threading.Lock()

    def look() -> list[Line]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        with lock:
            running -= 1
        return []

    assert list(examine([Check(str(number), "", look) for number in range(50)], at_once=3)) == []
    assert most <= 3


def test_what_makes_no_sense_after_a_failure_is_not_looked_at() -> None:
    """Nor what comes after that, in turn. The lines say which one to mend, and only that one fails."""
    looked: list[str] = []

    def look(name: str) -> Iterator[Line]:
        looked.append(name)
        yield ok(name, name, "It is well.")

    checks = [
        bad("sign-in"),
        Check("object", "object", lambda: look("object"), after="sign-in"),
        Check("field", "field", lambda: look("field"), after="object"),
        Check("other", "other", lambda: look("other")),
    ]
    lines = list(examine(checks))
    assert [line.outcome for line in lines] == [Outcome.FAIL, Outcome.WARN, Outcome.WARN, Outcome.OK]
    assert looked == ["other"]
    assert "sign-in" in lines[1].says
    assert worst(lines) is Outcome.FAIL


@pytest.mark.parametrize(
    ("error", "says", "mend"),
    [
        (Unavailable("the server is away. Start it, or correct a.b."), "The server is away.", "Start it, or correct a.b."),
        (ConfigError("a.b: it must be e.g. C. Set it."), "a.b: it must be e.g. C.", "Set it."),
        (Unavailable("mongodb.uri: refused (HTTP 403). `salmon setup` helps."), "mongodb.uri: refused (HTTP 403).", "`salmon setup` helps."),
    ],
)  # fmt: skip
def test_an_error_is_told_as_what_happened_and_what_to_do(error: Exception, says: str, mend: str) -> None:
    """The first sentence of our errors says the one, the others the other."""

    def look() -> list[Line]:
        raise error

    (line,) = examine([Check("x", "the x", look)])
    assert (line.outcome, line.name, line.what, line.says, line.mend) == (
        Outcome.FAIL,
        "x",
        "the x",
        says,
        mend,
    )


def test_every_failure_has_a_mend() -> None:
    """Also that of an error of one sentence, and of a mistake of ours, which quotes nothing."""

    def wrong() -> list[Line]:
        raise KeyError("hush")

    def short() -> list[Line]:
        raise Unavailable("gone")

    lines = list(examine([Check("a", "a", wrong), Check("b", "b", short)]))
    assert all(line.outcome is Outcome.FAIL and line.mend for line in lines)
    assert "hush" not in lines[0].says
    assert "KeyError" in lines[0].says


def test_a_warning_is_no_failure() -> None:
    """The worst line decides."""
    lines = [ok("a", "a", ""), Line("b", "b", Outcome.WARN, "", "")]
    assert worst(lines) is Outcome.WARN
    assert worst([]) is Outcome.OK
