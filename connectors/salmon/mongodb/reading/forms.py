"""
What an event says, in the form that its document had then: see salmon.mongodb.forms. Pure.

    before a move       the event is of the form before
    during a move       what is certain of both forms; the rest is read
    after it            the event is of the new form; what is at an old path is the application's own, and is warned of

An update by which Salmon itself moved a document says nothing, unless it found an edit at the new path. If a document of ours has
another form after the move (a sink with an older configuration wrote it, or it comes from a backup), it is astray: it is moved,
and read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from salmon.mongodb.documents import (
    FOUND,
    FOUND_PATH,
    PATHS,
    PATHS_PATH,
    SEQ,
    SEQ_PATH,
    DocumentShape,
)
from salmon.mongodb.forms import Move, paths_in, steps_of, touched
from salmon.mongodb.keys import key_of
from salmon.mongodb.paths import MARKER, PLAIN, mark_of
from salmon.mongodb.reading.events import Reported, reported_by, time_of, to_be_read


@dataclass(frozen=True, slots=True)
class InForm:
    """
    What an event reported.

    Args:
        astray: Whether its document is to be moved.
        strays: Fields at whose old paths an application has written.
    """

    reported: Reported
    astray: bool = False
    strays: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Forms:
    """The forms of one object's documents: *shape* now, and the *moves* that led to it, the oldest first."""

    shape: DocumentShape
    moves: tuple[Move, ...] = ()

    def reported(self, event: Mapping[str, Any]) -> InForm:
        """
        Return what an insert, update, replace or delete reports.

        Raises:
            BadRecordKey: the document's `_id` cannot be a record key.
        """
        operation = event["operationType"]
        if not self.moves or operation == "delete":
            return InForm(reported_by(event, self.shape))
        at = time_of(event)
        for number, move in enumerate(self.moves):
            if at <= move.since:
                return InForm(reported_by(event, self._before(number)))
            if move.until is None or at <= move.until:
                if number < len(self.moves) - 1:
                    return self._during_an_earlier_one(event, mark_of(self.moves[number + 1].before))
                if operation == "update":
                    return self._updated_meanwhile(event)
                return self._whole(event, replace(self.shape, moving=move.whole))
        return self._updated_after(event) if operation == "update" else self._whole(event, self.shape)

    def _during_an_earlier_one(self, event: Mapping[str, Any], mark: str) -> InForm:
        """All but our own moves is read. *mark*: of the form to which that move led."""
        if event["operationType"] == "update":
            said = _form_said(event["updateDescription"])
            if said is not None and said.mark == mark and not said.ours and not said.found:
                return InForm(Reported(key_of(event["documentKey"]["_id"]), None))
        return InForm(to_be_read(event))

    def _before(self, number: int) -> DocumentShape:
        return replace(self.shape, renamed=self.moves[number].before, former={}, moving=False)

    @cached_property
    def _paths(self) -> Mapping[str, str]:
        """Where the fields are that moved last."""
        return {name: self.shape.path[name] for name in self.shape.former if name in self.shape.path}

    def _whole(self, event: Mapping[str, Any], shape: DocumentShape) -> InForm:
        document = event["fullDocument"]
        astray = shape.is_former(document)
        strays = frozenset[str]()
        if not astray:
            steps = steps_of(document, shape.former, shape.path)
            strays = touched([*steps.renamed, *steps.dropped.values()], shape.former)
        return InForm(reported_by(event, shape), astray, strays)

    def _updated_meanwhile(self, event: Mapping[str, Any]) -> InForm:
        description = event["updateDescription"]
        if (moved := self._of_the_form(event, description)) is not None:
            return moved
        if SEQ_PATH in description["updatedFields"] or MARKER in description["updatedFields"]:
            # Ours: the guard shows that the document had the form of the sink, which was the one before.
            return InForm(reported_by(event, self._before(len(self.moves) - 1)))
        changed = set(paths_in(description))
        old, reported = touched(changed, self.shape.former), reported_by(event, self.shape)
        said = {} if reported.change is None else reported.change.fields
        unclear = old | {name for name in touched(changed, self._paths) if name not in said}
        if not unclear:
            return InForm(reported)
        return InForm(_without(reported, unclear), astray=bool(old))

    def _updated_after(self, event: Mapping[str, Any]) -> InForm:
        description = event["updateDescription"]
        if (moved := self._of_the_form(event, description)) is not None:
            return moved
        old = touched(set(paths_in(description)), self.shape.former)
        if old and SEQ_PATH in description["updatedFields"]:
            return InForm(to_be_read(event), astray=True)
        return InForm(reported_by(event, self.shape), strays=old)

    def _of_the_form(self, event: Mapping[str, Any], description: Mapping[str, Any]) -> InForm | None:
        """What an event reports that says which form its document has. None: it does not, or it is ours of the form before."""
        said = _form_said(description)
        if said is None:
            return None
        if said.mark == self.shape.mark:
            if said.ours:
                return InForm(reported_by(event, self.shape))
            key = key_of(event["documentKey"]["_id"])
            return InForm(to_be_read(event) if said.found else Reported(key, None))
        # While documents are moved, sinks with the configuration before may write to those that have not been yet.
        if said.ours and self._may_be_before(event, said.mark):
            return None
        return InForm(to_be_read(event), astray=True)

    def _may_be_before(self, event: Mapping[str, Any], mark: Any) -> bool:
        last = self.moves[-1]
        is_over = last.until is not None and time_of(event) > last.until
        return not is_over and mark == self._before(len(self.moves) - 1).mark


@dataclass(frozen=True, slots=True)
class _FormSaid:
    """That an event speaks of its document's form. *ours*: it is a write's, and no move's. *found*: see salmon.mongodb.forms."""

    mark: Any
    ours: bool
    found: bool


def _form_said(description: Mapping[str, Any]) -> _FormSaid | None:
    updated = description["updatedFields"]
    marker = updated.get(MARKER)
    if isinstance(marker, Mapping):
        return _FormSaid(marker.get(PATHS, PLAIN), SEQ in marker, FOUND in marker)
    if PATHS_PATH in updated:
        return _FormSaid(updated[PATHS_PATH], SEQ_PATH in updated, FOUND_PATH in updated)
    return None


def _without(reported: Reported, unclear: frozenset[str]) -> Reported:
    """The same without what it says of these fields, which are read."""
    change = reported.change
    misfits = {name: error for name, error in reported.misfits.items() if name not in unclear}
    if change is not None:
        assert change.changed is not None, "an update says what it changed"
        change = replace(
            change,
            changed=change.changed - unclear,
            fields={name: value for name, value in change.fields.items() if name not in unclear},
            misfits={name: each for name, each in change.misfits.items() if name not in unclear},
        )
        if not change.changed and not change.misfits and change.ack is None:
            change = None
    return Reported(reported.key, change, incomplete=True, misfits=misfits)
