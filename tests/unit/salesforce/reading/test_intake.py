"""What is taken from the stream: fields that the org has got since the start."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from salmon.errors import RequestRejected, SchemaOutdated
from salmon.salesforce.reading import intake
from salmon.salesforce.reading.intake import Intake, Response
from salmon.salesforce.reading.subscription import Preset, Received
from support.salesforce import event, layout, payload, schema_of, synced
from support.salesforce_feed import A, MemoryStream

NEW = "Industry"


class Rig:
    """An intake of accounts that were described before they had the field NEW; and what it asks the org."""

    def __init__(self, *heard: str, shown: Collection[str] | Exception = (NEW,)) -> None:
        account = synced("Account")
        before = replace(account, names=account.names - {NEW}, heard=frozenset(heard))
        self.asked: list[str] = []
        self.shown = shown
        self.stream = MemoryStream(Preset.LATEST)
        parents: Any = SimpleNamespace(ask=list)
        self.intake = Intake({"Account": before}, {"Account"}, schema_of, self._fields_of, parents)

    def hear(self, number: int) -> None:
        self.stream.items.append(Received([event(number, payload("UPDATE", A, Phone="1"))], b"1"))

    def take(self) -> Response:
        taken = self.intake.peek(self.stream, keys_are_due=False)
        assert isinstance(taken, Response)
        self.intake.pop()
        return taken

    def _fields_of(self, name: str) -> Collection[str]:
        self.asked.append(name)
        if isinstance(self.shown, Exception):
            raise self.shown
        return self.shown


HEARD_BEFORE = layout("Account").live - {NEW}


def test_an_event_with_a_field_that_the_org_has_got_restarts_the_process() -> None:
    """It is registered then, and the object is read again: no event tells what the field has held since."""
    rig = Rig(*HEARD_BEFORE)
    rig.hear(1)
    with pytest.raises(SchemaOutdated, match="Account"):
        rig.take()
    assert len(rig.stream.items) == 1, "it comes again after the restart"


@pytest.mark.parametrize("shown", [("Phone",), RequestRejected("hidden", code="NOT_FOUND")])
def test_a_field_that_our_user_may_not_see_restarts_nothing(
    shown: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The events of all users have it; the describe of ours has not. It is asked for now and then."""
    rig = Rig(*HEARD_BEFORE, shown=shown)
    for number in (1, 2):
        rig.hear(number)
    assert [rig.take().received for _ in range(2)] == [1, 1]
    assert rig.asked == ["Account"]
    monkeypatch.setattr(intake, "LOOK_AGAIN_S", 0.0)
    rig = Rig(*HEARD_BEFORE, shown=shown)
    rig.hear(1)
    rig.take()
    rig.shown = (NEW,)  # the permission is given after the field was made
    rig.hear(2)
    with pytest.raises(SchemaOutdated):
        rig.take()


@pytest.mark.parametrize("heard", [layout("Account").live, frozenset()])
def test_events_of_the_schema_of_the_start_ask_for_nothing(heard: frozenset[str]) -> None:
    """Nor do those of an object that could not be described."""
    rig = Rig(*heard)
    rig.hear(1)
    assert rig.take().received == 1
    assert rig.asked == []
