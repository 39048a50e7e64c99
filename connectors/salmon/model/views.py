"""
What one side is to have of an object: which records, in which of its collections, and which of their values in another form.

A view looks at the agreed record, never at one change: a change may report only a part of it. What becomes of a record that
begins or ceases to match is in salmon.model.steps.admission.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from salmon.model.change import Value

Wants = Callable[
    [Mapping[str, Value]], bool
]  # an agreed record, without nulls -> whether the side is to have it
Mask = Callable[[Value], Value]  # an agreed value, never null -> what the side holds in its place
Compute = Callable[[Mapping[str, Value]], Value]  # an agreed record, without nulls -> a value made from it
Places = Callable[
    [Mapping[str, Value]], str | None
]  # the same -> its collection; None: no collection is for it


@dataclass(frozen=True, slots=True)
class View:
    """
    One side's filter and masks, and the fields that are made for it. All must be pure; otherwise the same log would not give
    the same state.

    Args:
        digest: Says which settings it was made of. With another digest, each record is judged again, so it must depend on
            nothing but these settings (of a mask with a key: on the key as well). Never empty.
        wants: The filter; None: every record.
        masks: Field -> its mask. Edits of such a field on this side are overruled.
        text: The filter as it is configured, for people.
        computed: Field that the org does not have -> how its value is made (salmon.model.steps.computed).
        places: MongoDB: which of several *collections* a record is in. None: there is one. What no collection is for, the side does
            not want, as if the filter said so.
    """

    digest: str
    wants: Wants | None = None
    masks: Mapping[str, Mask] = field(default_factory=dict)
    text: str = ""
    computed: Mapping[str, Compute] = field(default_factory=dict)
    places: Places | None = None
    collections: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        assert self.digest, "the empty digest is that of a side without a view"

    def admits(self, record: Mapping[str, Value]) -> bool | None:
        """Whether the side is to have the record; None if the filter cannot say."""
        try:
            if self.wants is not None and not self.wants(record):
                return False
            return self.places is None or self.places(record) is not None
        except Exception:  # noqa: BLE001 - a fault in a plugin neither gives nor takes a record
            return None

    def place(self, record: Mapping[str, Value]) -> str | None:
        """The collection that is for the record; None if there is none, or it cannot be said."""
        try:
            return None if self.places is None else self.places(record)
        except Exception:  # noqa: BLE001 - a fault moves no record
            return None

    def shows(self, name: str, value: Value) -> Value:
        """The value that the side is to hold where *value* is agreed on. A mask that fails shows nothing."""
        if value is None or (mask := self.masks.get(name)) is None:
            return value
        try:
            return mask(value)
        except Exception:  # noqa: BLE001 - what is to be hidden must not be shown because of a fault
            return None

    def of(self, record: Mapping[str, Value]) -> Mapping[str, Value]:
        """The agreed record as the side is to hold it, without nulls."""
        masked = self.masks.keys() & record.keys()
        if not masked:
            return record
        shown = {name: self.shows(name, record[name]) for name in masked}
        return {n: v for n, v in {**record, **shown}.items() if v is not None}
