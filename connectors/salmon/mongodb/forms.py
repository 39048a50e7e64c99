"""
The form of an object's documents: which field is at which path, since when, and how documents of the form before become of it.

`objects.<Object>.fields.rename` can change while the sync runs. Then the values move, in every document, and who reads and who
writes must agree on where they are. Three things make that sure, whenever a process is killed:

- *Each document says which form it has*: its marker has the mark of the form, which is set with the values in one update
  (`_salmon.paths`). A sink writes only documents of its own form, by a condition in its filter; so one that runs with an older or
  newer configuration cannot write to a path that nobody reads.
- *The collection `_salmon` of the synced database says which form a collection has* (a Record), and which moves there were, with
  their cluster times. It is in MongoDB and not in Kafka because it is about the documents: whatever becomes of Kafka, or if
  both are restored from a backup, it is true of them. A sink waits with an object until its documents have the sink's form.
- *One process moves*: mongodb-source, because it must know what its stream means; or mongodb-sink where the object is only
  written. Events from before the move are read in the form before; events during it say only what is certain of both forms, and
  the rest is read; later ones are read in the new form. Moving is idempotent, and goes on after a kill where documents are left.

In a document that is moved, a value goes from the old path to the new one if nothing is there. If something is there already, it
stays, and the old value is removed: somebody has edited the field at the new path, so the document is read and its value reported as
any other row's (the marker's `found` asks for it). If something else than a sub-document is in the new path's way, the value stays
where it was, and the field is reported as one that does not fit. Pure.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from salmon.errors import ConfigError
from salmon.mongodb.paths import above_of, at, in_the_way, mark_of, put

NOTHING: Final = (None, "")  # what counts as no value, wherever it is
_MOVES_KEPT: Final = 8


@dataclass(frozen=True, slots=True)
class Move:
    """
    One change of a collection's form.

    Args:
        before: Where fields were that were not under their own names.
        former: Field -> its path before, of the fields that move.
        since, until: Cluster times. Up to *since*, all events are of the form before; after *until*, all documents are moved.
        whole: Whether documents without a marker of ours are moved, too. They were not, if the sync has not read them before.
    """

    before: Mapping[str, str]
    former: Mapping[str, str]
    since: int
    until: int | None = None
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Record:
    """The form of one collection: where fields are that are not under their own names, and its last moves, the oldest first."""

    paths: Mapping[str, str]
    moves: Sequence[Move] = ()

    @property
    def mark(self) -> str:
        return mark_of(self.paths)

    @property
    def is_moving(self) -> bool:
        return bool(self.moves) and self.moves[-1].until is None

    def document(self) -> dict[str, Any]:
        """As MongoDB stores it. Names of fields have no dots, so they can be keys."""
        moves = [
            {
                "before": dict(m.before),
                "former": dict(m.former),
                "since": m.since,
                "until": m.until,
                "whole": m.whole,
            }
            for m in self.moves[-_MOVES_KEPT:]
        ]
        return {"paths": dict(self.paths), "moves": moves}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Record:
        return cls(document["paths"], tuple(Move(**each) for each in document["moves"]))


@dataclass(frozen=True, slots=True)
class Steps:
    """What is done with one document. *renamed*: old path -> new path. *dropped*: new path -> old path, whose value is removed."""

    renamed: Mapping[str, str] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    found: bool = False  # whether a field has another value at its new path than at its old one

    def __bool__(self) -> bool:
        return bool(self.renamed or self.dropped or self.found)


def steps_of(document: Mapping[str, Any], former: Mapping[str, str], path: Mapping[str, str]) -> Steps:
    """
    Say how a document of the form before becomes one of the new form.

    Args:
        former: Field -> its path before.
        path: Field -> its path now.
    """
    renamed: dict[str, str] = {}
    dropped: dict[str, str] = {}
    found = False
    for name, old in former.items():
        if (new := path.get(name)) is None:
            continue
        was, there = at(document, old), at(document, new)
        if there not in NOTHING:
            if was is not None:
                dropped[new] = old
            found = found or was != there
        elif was not in NOTHING and in_the_way(document, new) is None:
            renamed[old] = new
    return Steps(renamed, dropped, found)


def emptied_by(document: Mapping[str, Any], steps: Steps) -> frozenset[str]:
    """The sub-documents that hold nothing any more after these steps, the outermost ones. *document*: as far as it was read."""
    moved = as_moved(document, steps)
    olds = (*steps.renamed, *steps.dropped.values())
    outermost = (
        next((above for above in above_of(old) if _is_hollow(at(moved, above))), None) for old in olds
    )
    return frozenset(above for above in outermost if above is not None)


def _is_hollow(node: Any) -> bool:
    return isinstance(node, Mapping) and all(map(_is_hollow, node.values()))


def as_moved(document: Mapping[str, Any], steps: Steps) -> Mapping[str, Any]:
    """Return the document as it is after these steps."""
    if not steps:
        return document
    moved = copy.deepcopy(dict(document))
    for old, new in steps.renamed.items():
        value = _taken(moved, old)
        put(moved, new, value)
    for old in steps.dropped.values():
        _taken(moved, old)
    return moved


def touched(changed: Collection[str], paths: Mapping[str, str]) -> frozenset[str]:
    """Which of the fields an event speaks of that changed these paths. *paths*: field -> path."""
    return frozenset(name for name, path in paths.items() if any(_meet(path, each) for each in changed))


def require_apart(name: str, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """
    Raise ConfigError if a field of the object *name* would move to where another one was, or around or within it: no document
    would show whether it was moved. *before*, *after*: field -> path, of all fields.
    """
    faults = [
        f"{field} moves to {path}, and {other} is at {old} until then"
        for field, path in sorted(after.items())
        if field in before and before[field] != path
        for other, old in sorted(before.items())
        if _meet(path, old)
    ]
    if faults:
        raise ConfigError(
            f"objects.{name}.fields.rename: {'; '.join(faults)}. Change it in two steps: first give the fields paths that "
            f"nothing uses; when mongodb-source has moved the documents (see /health), give them the final ones."
        )


def _meet(one: str, other: str) -> bool:
    return one == other or one in above_of(other) or other in above_of(one)


def _taken(document: dict[str, Any], path: str) -> Any:
    *parents, name = path.split(".")
    holder: Any = document
    for parent in parents:
        holder = holder[parent]
    return holder.pop(name, None)


def paths_in(description: Mapping[str, Any]) -> Iterator[str]:
    """The paths that an updateDescription speaks of."""
    yield from description["updatedFields"]
    yield from description["removedFields"]
    for truncated in description.get("truncatedArrays") or ():
        yield truncated["field"]
