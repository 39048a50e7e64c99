"""Where the parts of a sync are in its drawing: sides, the connectors between them and merge, and merge in the middle. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from salmon.model.sides import Side
from salmon.status.scraping import ProcessReport
from salmon.story.formatting import side_named

_ROW, _HALF = 160, 46
_LEFT, _SOURCE, _MERGE, _SINK, _RIGHT = 70, 220, 370, 520, 670
WIDTH: Final = 740
_BOX, _PILL = (116, 52), (150, 44)


@dataclass(frozen=True, slots=True)
class Box:
    """A side or a process. *x*, *y*: its middle. *status*: of a process; empty for a side."""

    x: int
    y: int
    width: int
    height: int
    label: str
    status: str = ""


@dataclass(frozen=True, slots=True)
class Arrow:
    """The way of changes from one box to the next."""

    x1: int
    y1: int
    x2: int
    y2: int


@dataclass(frozen=True, slots=True)
class Ring:
    width: int
    height: int
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    says: str  # the same in words


def ring_of(sides: Sequence[Side], processes: Sequence[ProcessReport]) -> Ring:
    """Draw the first side on the left, and the others one below the other on the right."""
    status = {each.connector: each.status for each in processes}
    first, others = sides[0], sides[1:]
    middle = _ROW // 2 + (len(others) - 1) * _ROW // 2
    boxes = [_side(_LEFT, middle, first), _process(_MERGE, middle, "merge", status)]
    arrows = _row(_LEFT, _SOURCE, middle, middle)
    boxes += [
        _process(_SOURCE, middle - _HALF, first.source, status),
        _process(_SOURCE, middle + _HALF, first.sink, status),
    ]
    for number, side in enumerate(others):
        y = _ROW // 2 + number * _ROW
        boxes += [
            _side(_RIGHT, y, side),
            _process(_SINK, y - _HALF, side.sink, status),
            _process(_SINK, y + _HALF, side.source, status),
        ]
        arrows += _row(_RIGHT, _SINK, y, middle)
    names = " and ".join(side_named(side.name) for side in sides)
    said = "; ".join(f"{name} is {state}" for name, state in status.items())
    return Ring(
        WIDTH,
        max(1, len(others)) * _ROW,
        tuple(boxes),
        tuple(arrows),
        f"Changes flow between {names}: {said}.",
    )


def _side(x: int, y: int, side: Side) -> Box:
    return Box(x, y, *_BOX, side_named(side.name))


def _process(x: int, y: int, connector: str, status: Mapping[str, str]) -> Box:
    width, height = _BOX if connector == "merge" else _PILL
    return Box(x, y, width, height, connector, status.get(connector, "unknown"))


def _row(side: int, between: int, y: int, merge_y: int) -> list[Arrow]:
    """The four arrows of one side. Above goes what flows to the right, below what flows to the left."""
    up, down = y - _HALF, y + _HALF
    way = 1 if side < between else -1
    beside_side, beside_merge = side + way * _BOX[0] // 2, _MERGE - way * _BOX[0] // 2
    outer, inner = between - way * _PILL[0] // 2, between + way * _PILL[0] // 2
    above = [Arrow(beside_side, y - 14, outer, up), Arrow(inner, up, beside_merge, merge_y - 14)]
    below = [Arrow(beside_merge, merge_y + 14, inner, down), Arrow(outer, down, beside_side, y + 14)]
    if way == 1:
        return above + below
    return [_turned(each) for each in above + below]


def _turned(arrow: Arrow) -> Arrow:
    return Arrow(arrow.x2, arrow.y2, arrow.x1, arrow.y1)
