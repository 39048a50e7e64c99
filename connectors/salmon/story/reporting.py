"""
Makes a record's history: its edits, writes, echoes, conflicts and refusals, one entry each, in order. Pure.

It is made from the topics alone (salmon.story.evidence). The changes are folded again; if that leads to the state that
merge has, the history shows every write. Otherwise it shows the writes that are still in `writes`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from salmon.model.change import CUT, OPERATOR, Change, Op, Value, Write
from salmon.model.policies import EXISTENCE, Conflict
from salmon.model.rules import Rules
from salmon.model.schema import FieldSchema
from salmon.model.steps.work import Fact, Folded
from salmon.story.evidence import At, Evidence, Letter, Replay
from salmon.story.formatting import (
    MASKED,
    WORDS,
    because,
    called,
    quoted,
    shown,
    side_named,
    span,
    when,
    without_words,
)

_FIELDS_SHOWN_MAX: Final = 6
_OPS: Final[Mapping[Op, str]] = {
    Op.CREATE: "created it",
    Op.UPDATE: "edited it",
    Op.DELETE: "deleted it",
    Op.ROW: "was read",
    Op.ABSENT: "was read: it is not there",
    Op.REFUSED: "refused",
    Op.GONE: "no longer has the record, noticed by",
    Op.EXISTS: "already has the record, noticed by",
    Op.RETRY: "is ready to be tried again with",
}
# What the fold reports that a reader should know; the other facts can be seen from the entries themselves.
_REMARKS: Final[Mapping[Fact, str]] = {
    Fact.OVERRULED: "ignored: this side may not set or clear it",
    Fact.FIRST_CONTACT: "more than one side had a value before the sync began: `initial` decided",
    Fact.TWIN: "a second record with the same key: not synced",
    Fact.PARKED: "set aside until a person edits the field or decides",
    Fact.RESTORED: "older than the agreed value, because this side was restored to an earlier time: it gets the agreed value again",
    Fact.MISFIT: "this value could not be synced: it stays on this side only",
    Fact.REPEATED: "received before: nothing new",
    Fact.CONSEQUENCE: "this side did it by itself while it carried out Salmon's write: not an edit",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened. *kind*: edit, row, echo, outcome, operator, write, conflict or dead letter."""

    at_ms: int
    who: str
    kind: str
    says: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    seq: int | None = None
    lag_ms: int | None = None  # from the edit to its echo
    told_by: Mapping[str, str] = field(default_factory=dict)  # what else the side reported, e.g. the user

    def as_dict(self) -> dict[str, Any]:
        """As `salmon why --json` prints it."""
        return {
            "at": when(self.at_ms),
            "who": self.who,
            "kind": self.kind,
            "says": self.says,
            "fields": dict(self.fields),
            "seq": self.seq,
            "lag_ms": self.lag_ms,
            "told_by": dict(self.told_by),
        }


def entries_of(
    evidence: Evidence, rules: Rules, replay: Replay, *, hidden: Collection[str] = ()
) -> list[Entry]:
    """
    Return everything that happened to the record, as far as the topics still have it, in the order of arrival.

    Args:
        hidden: The fields whose values are not shown.
    """
    found = _Entries(evidence, rules, replay, hidden)
    entries = [*found.changes(), *found.conflicts(), *found.letters()]
    if not replay.exact:
        entries += found.writes_left()
    return sorted(entries, key=lambda entry: entry.at_ms)  # stable: a write stays after what caused it


class _Entries:
    def __init__(self, evidence: Evidence, rules: Rules, replay: Replay, hidden: Collection[str]) -> None:
        self._evidence, self._rules, self._replay, self._hidden = evidence, rules, replay, hidden
        self._at = {item.offset: item for item in evidence.changes}
        self._left = {
            (side, item.what.seq): item.what
            for side, writes in evidence.writes.items()
            for item in writes
            if item.what is not None
        }

    def changes(self) -> Iterator[Entry]:
        at_ms = 0
        for index, item in enumerate(self._evidence.changes):
            at_ms = max(at_ms, item.at_ms)  # the writers' clocks differ; the log's order counts
            folded = self._replay.of(index)
            yield self._change(item, at_ms, folded)
            if folded is not None:
                for side, write in folded.writes.items():
                    if write is not None:
                        yield self._write(side, write, at_ms)

    def conflicts(self) -> Iterator[Entry]:
        for item in self._evidence.conflicts:
            conflict, seq = item.what
            yield Entry(item.at_ms, "merge", "conflict", self._conflict(conflict), seq=seq)

    def letters(self) -> Iterator[Entry]:
        for item in self._evidence.letters:
            letter: Letter = item.what
            says = f"set aside: {without_words(letter.message) if self._hidden else letter.message}"
            source = {"from": letter.source} if letter.source else {}
            yield Entry(
                item.at_ms, letter.connector, "dead letter", says, told_by={"error": letter.error, **source}
            )

    def writes_left(self) -> Iterator[Entry]:
        """Used if changes are missing. A compacted topic is certain to have only the newest write of each side."""
        for side, writes in self._evidence.writes.items():
            for item in writes:
                if item.what is not None:
                    yield self._write(side, item.what, item.at_ms)

    # Each of these makes one entry.

    def _change(self, item: At[Change], at_ms: int, folded: Folded | None) -> Entry:
        change = item.what
        says, kind = self._said(change), _kind(change, folded)
        remarks = list(dict.fromkeys(_remarks(change, folded)))
        lag_ms = None
        if kind == "echo":
            began = self._began(change, folded)
            lag_ms = at_ms - began if began else None
        elif change.committed_at and change.is_event:
            remarks.insert(0, f"committed {when(change.committed_at)}")
        if CUT in change.source:
            remarks.append(f"{change.source[CUT]}: only the date is synced, without the time of day")
        if lag_ms is not None:
            remarks.insert(0, f"{span(max(0, lag_ms))} after the edit")
        fields = self._fields(change.fields, change.changed)
        return Entry(
            at_ms,
            change.origin,
            kind,
            says + (f" ({'; '.join(remarks)})" if remarks else ""),
            fields,
            change.ack if kind in {"echo", "outcome"} else item.offset,
            lag_ms,
            {
                name: text
                for name, text in change.source.items()
                if name not in {"code", "reason", "said", "correlation"}
            },
        )

    def _said(self, change: Change) -> str:
        if change.origin == OPERATOR:
            return self._operator(change)
        side = side_named(change.origin)
        if change.is_outcome:
            code, reason = change.source.get("code", ""), change.source.get("reason", "")
            why = f": {cause}" if (cause := because(code, reason)) else ""
            if said := change.source.get("said", ""):
                why += f". {WORDS}{MASKED if self._hidden else said}"
            at_fault = f" for {_names(change.changed)}" if change.changed else ""
            if change.op is Op.DEFERRED:
                return f"{side} cannot take write {change.ack} yet{at_fault}{why}"
            return f"{side} {_OPS[change.op]} write {change.ack}{at_fault}{why}"
        what = f"{side} {_OPS[change.op]}"
        if change.op in (Op.DELETE, Op.ABSENT):
            return what
        if change.is_row:
            values = f" with {len(change.fields)} fields"
            return what + values + (f", marker {change.ack}" if change.ack is not None else "")
        values = self._values(change.fields, change.changed)
        unfit = "".join(f"; {misfit.reason}" for _, misfit in sorted(change.misfits.items()))
        if change.ack is not None:
            return f"{side} answers write {change.ack}" + (f": {values}" if values else "") + unfit
        user = f" (user {change.source['user']})" if change.source.get("user") else ""
        return what + user + (f": {values}" if values else "") + unfit

    def _operator(self, change: Change) -> str:
        by, reason = change.source.get("by", "an operator"), change.source.get("reason", "")
        if change.op is Op.RETRY and change.ack is None:
            what = "had the record judged again"
        elif change.op is Op.RETRY:
            what = f"had the refused part of write {change.ack} sent again"
        elif change.op is Op.DELETE:
            what = "decided to delete the record"
        elif change.changed == frozenset({EXISTENCE}):
            what = "decided to keep the record"
        else:
            what = f"decided: {self._values(change.fields, change.changed)}"
        settles = f", settling conflict {change.source['settles']}" if change.source.get("settles") else ""
        return f"{by} {what}{settles}" + (f", because: {reason}" if reason else "")

    def _write(self, side: str, write: Write, at_ms: int) -> Entry:
        values = self._values(write.fields, None)
        says = f"write {write.seq} to {side_named(side)}: {write.op}" + (f" {values}" if values else "")
        return Entry(at_ms, "merge", "write", says, self._fields(write.fields, None), write.seq)

    def _conflict(self, conflict: Conflict) -> str:
        contest = conflict.contest
        schema = self._rules.schema.by_name.get(contest.field)

        def edit(name: str) -> str:
            edited = contest.standing if name == "standing" else contest.challenger
            return f"{side_named(edited.side)} {self._quoted(contest.field, edited.value, schema)}"

        ended = (
            f"on hold ({conflict.policy}{': ' + conflict.fault if conflict.fault else ''})"
            if conflict.winner is None
            else f"{side_named(conflict.winner.side)} won ({conflict.policy})"
        )
        return f"conflict on {contest.field}: {edit('standing')}, {edit('challenger')}; {ended}"

    def _began(self, change: Change, folded: Folded | None) -> int:
        """Return when the edit that caused this echo was committed; 0 if that is not known."""
        for report in folded.reports if folded else ():
            if report.fact is Fact.ACKNOWLEDGED:
                return report.committed_at
        if change.ack is None:
            return 0
        if (left := self._left.get((change.origin, change.ack))) is not None:
            return left.committed_at
        cause = self._at.get(change.ack)
        return cause.what.committed_at if cause is not None and cause.what.is_event else 0

    # Values.

    def _fields(self, fields: Mapping[str, Value], changed: frozenset[str] | None) -> dict[str, Any]:
        schema = self._rules.schema.by_name
        names = sorted((fields.keys() | (changed or frozenset())) - {EXISTENCE})
        return {
            name: MASKED if name in self._hidden else shown(fields.get(name), schema.get(name))
            for name in names
        }

    def _quoted(self, name: str, value: Value, schema: FieldSchema | None) -> str:
        return MASKED if name in self._hidden else quoted(value, schema)

    def _values(self, fields: Mapping[str, Value], changed: frozenset[str] | None) -> str:
        schema = self._rules.schema.by_name
        names = sorted((fields.keys() | (changed or frozenset())) - {EXISTENCE})
        parts = [
            f"{called(n)} = {self._quoted(n, fields.get(n), schema.get(n))}"
            for n in names[:_FIELDS_SHOWN_MAX]
        ]
        if len(names) > _FIELDS_SHOWN_MAX:
            parts.append(f"and {len(names) - _FIELDS_SHOWN_MAX} more fields")
        return ", ".join(parts)


def _kind(change: Change, folded: Folded | None) -> str:
    if change.origin == OPERATOR:
        return "operator"
    if change.is_outcome:
        return "outcome"
    if change.is_row:
        return "row"
    if folded is not None:
        acknowledged = any(report.fact is Fact.ACKNOWLEDGED for report in folded.reports)
        return "echo" if acknowledged else "edit"
    return "echo" if change.ack is not None else "edit"


def _remarks(change: Change, folded: Folded | None) -> Iterator[str]:
    for report in folded.reports if folded else ():
        remark = _REMARKS.get(report.fact)
        if report.fact is Fact.PARKED and change.op is Op.DEFERRED:
            remark = "waits; it continues by itself"
        if remark is not None:
            yield f"{', '.join(map(called, report.fields))}: {remark}" if report.fields else remark


def _names(names: frozenset[str]) -> str:
    return ", ".join(map(called, sorted(names)))
