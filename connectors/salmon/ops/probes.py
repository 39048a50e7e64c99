"""
Makes cheap calls to servers that have been silent for a while, so that a server that hangs is noticed even if nothing is synced.

Each server has its own thread: one that hangs must not hide another. The results are in salmon.calls.
"""

from __future__ import annotations

import threading
from typing import Final

import structlog

from salmon.calls import Calls, Peer, Probe

log = structlog.get_logger(__name__)

EVERY_S: Final = 10.0
# With EVERY_S, what hangs is seen within half a minute. A probe is answered from memory, so this is long.
PATIENCE_S: Final = 15.0


class Probes:
    """Probes peers from add() on, until it is closed. Only one thread may call add()."""

    def __init__(self, calls: Calls, *, every_s: float = EVERY_S) -> None:
        self._calls, self._every_s = calls, every_s
        self._closing = threading.Event()
        self._probes: dict[Peer, Probe] = {}

    def add(self, peer: Peer, probe: Probe) -> None:
        """Call *probe* whenever *peer* has been silent for a while. It replaces an earlier probe of the peer."""
        is_new = peer not in self._probes
        self._probes[peer] = probe
        if is_new:
            threading.Thread(target=self._run, args=(peer,), name=f"probe-{peer}", daemon=True).start()

    def close(self) -> None:
        """Stop all probes. Idempotent. The result of a running probe is not used."""
        self._closing.set()

    def _run(self, peer: Peer) -> None:
        wait_s = self._every_s
        while not self._closing.wait(wait_s):
            if (unheard_s := self._calls.unheard_s(peer)) >= self._every_s:
                self._ask(peer)
                unheard_s = 0.0
            wait_s = self._every_s - unheard_s

    def _ask(self, peer: Peer) -> None:
        call = self._calls.begin(peer, "checking that it answers", patience_s=PATIENCE_S, ours=False)
        try:
            if self._probes[peer]() is False:
                self._calls.dropped(call)
            else:
                self._calls.answered(call)
        except Exception as error:  # noqa: BLE001 - any error means that there was no answer
            log.debug("probe_not_answered", peer=peer, error=type(error).__name__)
            self._calls.given_up(call)
