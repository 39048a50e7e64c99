"""What is taken from the stream: fields that the org has got since the start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from salmon.errors import RequestRejected, SchemaOutdated, Unavailable
from salmon.salesforce.reading import intake
from salmon.salesforce.reading.intake import Intake, Response
from salmon.salesforce.reading.stream.subscription import Ended, Preset, Received
from support.orgs.salesforce import event, layout, payload, schema_of, synced
from support.orgs.salesforce_feed import A, MemoryStream

NEW = "Industry"


class Rig:
    """An intake of accounts that were described before they had the field NEW; and what it asks the org."""

    def __init__(self, *heard: str, shown: Mapping[str, str] | Exception = {NEW: "picklist"}) -> None:  # noqa: B006
        account = synced("Account")
        before = replace(account, names=account.names - {NEW}, heard=frozenset(heard))
        self.asked: list[str] = []
        self.shown = shown
        self.stream = MemoryStream(Preset.LATEST)
        parents: Any = SimpleNamespace(ask=list)
        self.intake = Intake({"Account": before}, {"Account"}, schema_of, self._fields_of, parents)

    def hear(self, number: int, kind: str = "UPDATE", named: str = A, **fields: Any) -> None:
        self.stream.items.append(Received([event(number, payload(kind, named, **fields))], b"1"))

    def take(self) -> Response:
        taken = self.intake.peek(self.stream, keys_are_due=False)
        assert isinstance(taken, Response)
        self.intake.pop()
        return taken

    def _fields_of(self, name: str) -> Mapping[str, str]:
        self.asked.append(name)
        if isinstance(self.shown, Exception):
            raise self.shown
        return self.shown


def test_a_response_that_comes_right_after_a_look_is_taken_by_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another thread brings them. Whatever the moment, none reaches the feed before its events are decoded."""
    rig = Rig(*layout("Account").live)
    look = rig.stream.peek

    def peek() -> Received | Ended | None:
        seen = look()
        if not rig.stream.items:
            rig.hear(1)
        return seen

    monkeypatch.setattr(rig.stream, "peek", peek)
    assert rig.intake.peek(rig.stream, keys_are_due=False) is None
    assert rig.take().received == 1


HEARD_BEFORE = layout("Account").live - {NEW}


def test_an_event_with_a_field_that_the_org_has_got_restarts_the_process() -> None:
    """It is registered then, and the object is read again: no event tells what the field has held since."""
    rig = Rig(*HEARD_BEFORE)
    rig.hear(1)
    with pytest.raises(SchemaOutdated, match="Account"):
        rig.take()
    assert len(rig.stream.items) == 1, "it comes again after the restart"


@pytest.mark.parametrize("shown", [{"Phone": "phone"}, RequestRejected("hidden", code="NOT_FOUND")])
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
    rig.shown = {NEW: "picklist"}  # the permission is given after the field was made
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


CONVERTED = [("UPDATE", "001*"), ("GAP_UPDATE", A)]


@pytest.mark.parametrize(("kind", "named"), CONVERTED)
def test_a_field_that_has_another_type_by_then_restarts_the_process(kind: str, named: str) -> None:
    """The event of a conversion does not say it; its schema may even be the same."""
    rig = Rig(*layout("Account").live, shown={"Phone": "textarea"})
    rig.hear(1, kind, named)
    with pytest.raises(SchemaOutdated, match="Phone has another type"):
        rig.take()


@pytest.mark.parametrize(("kind", "named"), CONVERTED)
def test_an_object_whose_new_types_the_registry_refuses_restarts_nothing(kind: str, named: str) -> None:
    """It waits for a person, with the types that it had."""
    rig = Rig(shown={"Phone": "textarea"})
    rig.hear(1, kind, named)
    assert (rig.take().received, rig.asked) == (1, [])


def test_gap_events_of_another_cause_ask_for_the_types_now_and_then() -> None:
    """An edit asks for nothing."""
    rig = Rig(*layout("Account").live, shown={"Phone": "phone"})
    for number in (1, 2, 3):
        rig.hear(number, "GAP_UPDATE")
    rig.hear(4, Phone="1")
    assert [rig.take().received for _ in range(4)] == [1, 1, 1, 1]
    assert rig.asked == ["Account"]


@pytest.mark.parametrize(("kind", "named"), CONVERTED)
def test_a_conversion_behind_an_edit_restarts_the_process_as_well(kind: str, named: str) -> None:
    """The edit is reported first; the next call meets the conversion and looks once more."""
    rig = Rig(*layout("Account").live, shown={"Phone": "textarea"})
    rig.hear(1, Phone="1")
    rig.hear(2, kind, named)
    assert rig.take().received == 1
    with pytest.raises(SchemaOutdated, match="Phone has another type"):
        rig.take()
    assert len(rig.stream.items) == 1, "it comes again after the restart"


@pytest.mark.parametrize(("kind", "named"), CONVERTED)
def test_an_org_that_does_not_answer_once_is_asked_for_the_types_again(kind: str, named: str) -> None:
    """The event stays where it is until the types were compared."""
    rig = Rig(*layout("Account").live, shown=Unavailable("busy"))
    rig.hear(1, kind, named)
    with pytest.raises(Unavailable):
        rig.take()
    rig.shown = {"Phone": "textarea"}
    with pytest.raises(SchemaOutdated, match="Phone has another type"):
        rig.take()


def test_a_gap_event_soon_after_another_is_looked_into_when_it_is_due(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No further event is needed for that, and one look is enough for all that came meanwhile."""
    now_s = 1000.0
    monkeypatch.setattr(intake, "time", SimpleNamespace(monotonic=lambda: now_s))
    rig = Rig(*layout("Account").live, shown={"Phone": "phone"})
    for number in (1, 2, 3):
        rig.hear(number, "GAP_UPDATE")
        rig.take()
    assert rig.asked == ["Account"]
    now_s += intake.TYPES_EVERY_S
    for _ in range(2):
        assert rig.intake.peek(rig.stream, keys_are_due=False) is None
    assert rig.asked == ["Account", "Account"]
    rig.hear(4, "GAP_UPDATE")
    rig.take()
    rig.shown = {"Phone": "textarea"}
    now_s += intake.TYPES_EVERY_S
    with pytest.raises(SchemaOutdated, match="Phone has another type"):
        rig.intake.peek(rig.stream, keys_are_due=False)
