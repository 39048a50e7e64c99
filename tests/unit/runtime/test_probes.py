"""Probes: a server that hangs is noticed while nobody needs it."""

from __future__ import annotations

import threading

from salmon.calls import Calls, Peer
from salmon.errors import Unavailable
from salmon.runtime.probes import Probes
from support.waiting import until


def test_a_quiet_server_is_asked_and_one_that_hangs_hides_no_other() -> None:
    """Each has a thread of its own (case S5)."""
    calls, hang, asked = Calls(), threading.Event(), []
    probes = Probes(calls, every_s=0.01)
    probes.add(Peer.KAFKA, lambda: hang.wait(30))
    probes.add(Peer.REGISTRY, lambda: asked.append(1))
    until(lambda: len(asked) > 2, "the registry is asked again and again")
    assert calls.unheard_s(Peer.KAFKA) == float("inf")
    hang.set()
    until(lambda: calls.unheard_s(Peer.KAFKA) < 30, "it answers")
    probes.close()


def test_a_server_that_is_heard_of_is_not_asked() -> None:
    """Work shows it: no call is made besides."""
    calls, asked = Calls(), []
    probes = Probes(calls, every_s=60)
    probes.add(Peer.KAFKA, lambda: asked.append(1))
    calls.heard(Peer.KAFKA)
    probes.close()
    assert asked == []


def test_a_probe_that_fails_is_no_answer_and_one_that_asks_nobody_is_nothing() -> None:
    """Where there is nobody to ask yet, nothing is known."""
    calls, asked = Calls(), []

    def refused() -> None:
        asked.append("kafka")
        raise Unavailable("no broker answers")

    def nobody() -> bool:
        asked.append("salesforce")
        return False

    probes = Probes(calls, every_s=0.01)
    probes.add(Peer.KAFKA, refused)
    probes.add(Peer.SALESFORCE, nobody)
    until(lambda: {"kafka", "salesforce"} <= set(asked), "both are asked")
    probes.close()
    assert {calls.unheard_s(peer) for peer in (Peer.KAFKA, Peer.SALESFORCE)} == {float("inf")}
