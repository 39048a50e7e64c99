"""The fault registry: states, deeds, and faults that are spent."""

from __future__ import annotations

import pytest

from salmon.simulator.org.faults import BadFault, FaultRegistry, Params, UnknownFault


def test_a_counted_fault_strikes_so_often_and_only_where_it_should() -> None:
    """Two 503s for collections: other calls pass, and so does the third."""
    faults = FaultRegistry(frozenset({"http"}))
    faults.set("http", {"api": "collections", "status": 503, "times": 2})
    assert faults.take("http", api="rest") is None
    assert [faults.take("http", api="collections") is not None for _ in range(3)] == [True, True, False]
    assert faults.all() == []


def test_a_fault_without_a_place_or_for_all_strikes_everywhere() -> None:
    """Missing parameters and "all" match anything, a list matches its members."""
    faults = FaultRegistry(frozenset({"latency", "lock_rows"}))
    assert faults.active("latency", api="rest") is None
    faults.set("latency", {"api": "all", "ms": 5})
    assert faults.active("latency", api="rest") == {"api": "all", "ms": 5}
    faults.set("lock_rows", {"ids": ["a", "b"]})
    assert faults.active("lock_rows", object="Account", ids="b") is not None
    assert faults.active("lock_rows", object="Account", ids="c") is None


def test_a_state_may_be_checked_before_it_is_on() -> None:
    """What could never strike is told at once."""
    faults = FaultRegistry()
    faults.register("exhaust_api")

    def needs_ms(params: Params) -> None:
        if "ms" not in params:
            raise BadFault("latency: ms must be a number")

    faults.register("latency", needs_ms)
    with pytest.raises(BadFault, match="ms must be a number"):
        faults.set("latency", {"api": "rest"})
    faults.set("exhaust_api", {})
    assert faults.all() == [{"fault": "exhaust_api"}]


def test_a_fault_that_lasts_no_time_is_over() -> None:
    """`s` is how long it lasts."""
    faults = FaultRegistry(frozenset({"lock_rows"}))
    faults.set("lock_rows", {"s": 0})
    assert faults.active("lock_rows") is None


def test_a_deed_is_told_once_and_not_kept() -> None:
    """Whoever registered keeps what lasts of it, and is told when all is called off."""
    faults = FaultRegistry()
    told: list[Params] = []

    def refuse(_params: Params) -> None:
        raise BadFault("gap: count must be a number")

    faults.on("cut_streams", told.append)
    faults.on_clear(lambda: told.append({"cleared": True}))
    faults.on("gap", refuse)
    faults.set("cut_streams", {"x": 1})
    faults.clear()
    assert told == [{"x": 1}, {"cleared": True}]
    assert faults.all() == []
    with pytest.raises(BadFault):
        faults.set("gap", {})


def test_an_unknown_fault_is_told_with_the_known_ones() -> None:
    """So that a typing error is not a fault that never strikes."""
    faults = FaultRegistry(frozenset({"latency"}))
    faults.on("gap", lambda _params: None)
    with pytest.raises(UnknownFault, match="no fault 'latencey'; there are gap, latency"):
        faults.set("latencey", {})
    with pytest.raises(BadFault, match="times"):
        faults.set("latency", {"times": 0})
