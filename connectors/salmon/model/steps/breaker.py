"""
The oscillation breaker: two automations that undo each other's value of one field are not obeyed for ever.

Each side edits in answer to what the other has just set, so both are right by the rule of causal edits, and the
field would go back and forth without end. A *turn* is an edit of one side that takes the place of an edit of the
other; two turns are a round. After `breaker_rounds` rounds within `breaker_window_ms` the field is parked on both
sides: each keeps its value, further edits are agreed on and published but sent to nobody, and the report says so.

It is free again by an operator's edit, when both sides hold the same, or by an edit after a window without any. Then
it is on probation: one more turn within a window is one too many. So a slow oscillation costs one round each time
somebody edits, and each of them is reported.

Time is that of the log (the timestamp of the folded record), so that the same log gives the same state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from salmon.model.rules import Rules
from salmon.model.state import Park, Parked, State, Turns, Version

CODE: Final = "OSCILLATING"


@dataclass(frozen=True, slots=True)
class Breaker:
    """Of one fold. *at*: when the log took the change, in ms; 0 where nobody knows, and then nothing is counted."""

    state: State
    rules: Rules
    at: int

    def taken(self, name: str, standing: Version, version: Version) -> bool:
        """*name* is of *version* now, after it was of *standing*. Says whether the breaker trips."""
        sides = self.rules.sides
        if version.origin not in sides:
            if self.state.turns.pop(name, None) is not None:
                self._free(name)  # an operator has decided
            return False
        found = standing.baseline or version.baseline  # that is nobody's edit
        undone = standing.origin in sides and standing.origin != version.origin and not found
        return self._counted(name, turns=1 if undone else 0)

    def overruled(self, name: str) -> bool:
        """A side undid what it was given, can never win, and is given it again. Says whether the breaker trips."""
        if name in self.rules.stamps and not self.rules.stamps_always:
            return False  # they cause no writes of their own
        return self._counted(name, turns=2)

    def settle(self) -> None:
        """At the end of a fold: what is parked is so on every side, and what is over is forgotten."""
        state = self.state
        if not state.turns:
            return
        if not state.lives:
            state.turns = {}  # whatever was parked of a life ends with it
            return
        for name, turns in list(state.turns.items()):
            if not turns.tripped:
                if self._is_quiet_since(turns):
                    del state.turns[name]
            elif self._is_agreed(name):
                self._free(name)
                state.turns[name] = self._on_probation(turns.times[-1])
            else:
                self._park(name)

    def _counted(self, name: str, *, turns: int) -> bool:
        known = self.state.turns.get(name)
        if known is not None and known.tripped:
            if self._is_quiet_since(known):
                self._free(name)
                self.state.turns[name] = self._on_probation(self.at)
            else:  # nothing is sent, and it is not over as long as it goes on
                self.state.turns[name] = Turns((max(self.at, known.times[-1]),), tripped=True)
            return False
        if not turns or not self.at:
            return False
        earlier = () if known is None else known.times
        lately = tuple(at for at in earlier if self.at - at <= self.rules.breaker_window_ms)
        times = lately + (self.at,) * turns
        trips = len(times) >= 2 * self.rules.breaker_rounds
        self.state.turns[name] = Turns((self.at,) if trips else times, tripped=trips)
        if trips:
            self._park(name)
        return trips

    def _on_probation(self, at: int) -> Turns:
        return Turns((at,) * (2 * self.rules.breaker_rounds - 1))

    def _is_quiet_since(self, turns: Turns) -> bool:
        return self.at - turns.times[-1] > self.rules.breaker_window_ms

    def _is_agreed(self, name: str) -> bool:
        agreed = self.state.canonical.get(name)
        return all(
            side.exists is not True
            or name not in self.rules.names[each]
            or (name not in side.unknown and side.shadow.get(name) == self.rules.shown_to(each, name, agreed))
            for each, side in self.state.sides.items()
        )

    def _park(self, name: str) -> None:
        minutes = self.rules.breaker_window_ms / 60_000
        reason = (
            f"{name} was set back and forth {self.rules.breaker_rounds} times within {minutes:g} min; each side keeps "
            f"its own until it is left alone for so long"
        )
        held = [side.parked[name] for side in self.state.sides.values() if name in side.parked]
        standing = next((parked for parked in held if parked.why is Park.OSCILLATING), None)
        parked = standing or Parked(Park.OSCILLATING, self.state.seq, CODE, reason)
        for side in self.state.sides.values():
            # A conflict on hold is for a person to decide, and nothing is sent meanwhile either.
            if name not in side.parked or side.parked[name].why is not Park.HELD:
                side.parked[name] = parked

    def _free(self, name: str) -> None:
        for side in self.state.sides.values():
            if name in side.parked and side.parked[name].why is Park.OSCILLATING:
                del side.parked[name]
