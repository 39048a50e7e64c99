"""The numbers of the demo: the table shown while both sides are edited, and the summary at the end. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from salmon.demo.acts import Act
from salmon.demo.watching import Watch, quantile
from salmon.model.change import MONGODB, SALESFORCE


@dataclass(frozen=True, slots=True)
class ObjectNumbers:
    """One object at one moment."""

    name: str
    in_step: int  # records without an edit on its way
    in_flight: int  # edits that the other side has not shown yet
    from_salesforce: int  # edits made there
    from_mongodb: int
    p50_ms: float | None  # from the return of the edit's call until the other side shows it
    p99_ms: float | None
    conflicts: int


@dataclass(frozen=True, slots=True)
class Board:
    """All objects, and the numbers that belong to no object."""

    objects: tuple[ObjectNumbers, ...]
    api_calls: int  # Salmon's own, since its start
    left_s: float  # until the edits end


def numbers(
    name: str, watch: Watch, edits: Mapping[tuple[str, str], int], records: int, conflicts: int
) -> ObjectNumbers:
    """Return the numbers of one object. *records*: how many there are."""
    in_flight = watch.in_flight()[name]
    lags_s = watch.lags_s(name=name)
    return ObjectNumbers(
        name=name,
        in_step=max(0, records - in_flight),
        in_flight=in_flight,
        from_salesforce=edits.get((name, SALESFORCE), 0),
        from_mongodb=edits.get((name, MONGODB), 0),
        p50_ms=ms(quantile(lags_s, 0.5)),
        p99_ms=ms(quantile(lags_s, 0.99)),
        conflicts=conflicts,
    )


def ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


def lag_numbers(lags_s: Sequence[float]) -> Mapping[str, float | int | None]:
    """Return the number, p50, p99 and the largest, in ms."""
    return {
        "count": len(lags_s),
        "p50_ms": ms(quantile(lags_s, 0.5)),
        "p99_ms": ms(quantile(lags_s, 0.99)),
        "max_ms": ms(max(lags_s, default=None)),
    }


@dataclass(frozen=True, slots=True)
class Result:
    """The result of the demo. *unmet*: the promises that were not kept, one sentence each."""

    snapshot_records: int
    snapshot_s: float
    edits_s: float
    board: Board
    lags_s: Mapping[str, Sequence[float]]  # direction -> of every edit of the crowd
    acts: tuple[Act, ...]
    conflicts: int
    dead_letters: int
    verdict: Mapping[str, Any]  # as `salmon verify --json` prints it
    unmet: tuple[str, ...]

    @property
    def proven(self) -> bool:
        return not self.unmet

    def lines(self) -> tuple[str, ...]:
        """Return what was shown, in three lines; or what failed."""
        if self.unmet:
            return tuple(f"Failed: {sentence}" for sentence in self.unmet)
        records = sum(each["records"] for each in self.verdict["objects"].values())
        lags_s = [lag for lags in self.lags_s.values() for lag in lags]
        numbers = lag_numbers(lags_s)
        return (
            f"Nothing was lost: {records:,} records are equal in Salesforce, MongoDB and Kafka, compared field by "
            f"field in {self.verdict['took_s']:.1f} s.",
            f"It is fast: {len(lags_s):,} edits, made on both sides at once, were on the other side after "
            f"{numbers['p50_ms']:.0f} ms (p50) and {numbers['p99_ms']:.0f} ms (p99).",
            f"It decides correctly: {len(self.acts)} of {len(self.acts)} hard cases passed, with "
            f"{self.conflicts} conflict where two people edited the same field, no other conflict, and no dead letter.",
        )

    def as_dict(self) -> dict[str, Any]:
        """As `salmon demo --json` prints it."""
        return {
            "proven": self.proven,
            "unmet": list(self.unmet),
            "snapshot": {"records": self.snapshot_records, "took_s": round(self.snapshot_s, 3)},
            "edits": {
                "took_s": round(self.edits_s, 3),
                **{direction: lag_numbers(lags) for direction, lags in self.lags_s.items()},
            },
            "objects": {
                each.name: {
                    "in_step": each.in_step,
                    "in_flight": each.in_flight,
                    "edits": {SALESFORCE: each.from_salesforce, MONGODB: each.from_mongodb},
                    "p50_ms": each.p50_ms,
                    "p99_ms": each.p99_ms,
                    "conflicts": each.conflicts,
                }
                for each in self.board.objects
            },
            "acts": [
                {
                    "name": act.name,
                    "passed": act.passed,
                    "detail": act.detail,
                    "took_s": round(act.took_s, 3),
                }
                for act in self.acts
            ],
            "conflicts": self.conflicts,
            "dead_letters": self.dead_letters,
            "api_calls": self.board.api_calls,
            "verify": dict(self.verdict),
        }
