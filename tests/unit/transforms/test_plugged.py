"""Transforms and predicates of packages: what they promise is checked, value by value."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from salmon.errors import ConfigError, DataError, SchemaMismatch
from salmon.model.change import Value
from salmon.model.rules import Rules
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.model.views import View
from salmon.ops.metrics import Metrics
from salmon.plugin import NoSettings, PredicatePlugin, TransformPlugin
from salmon.plugin.failures import Failures
from salmon.transforms.flow import Cast, Filter, Flow, Transform
from salmon.transforms.masks import Mask
from salmon.transforms.plugged import Plugged, PluggedPredicate

PHONE = FieldSchema("Phone", "phone", Kind.STRING, length=40)
AGE = FieldSchema("Age", "int", Kind.INT)
PAY = FieldSchema("Pay__c", "currency", Kind.DECIMAL, precision=18, scale=2)
BORN = FieldSchema("Birthdate", "date", Kind.DATE)
BOSS = FieldSchema("ReportsToId", "reference", Kind.STRING, reference_to=("Contact",))
STAMP = FieldSchema("CreatedDate", "datetime", Kind.DATETIME, create=False, update=False)
SCHEMA = ObjectSchema("Contact", (PHONE, AGE, PAY, BORN, BOSS, STAMP))


def unmarked(text: Any) -> str:
    if not text.startswith("tel:"):
        raise ValueError
    return str(text.removeprefix("tel:"))


def plugged(
    shows: Callable[[Any], Any],
    reads: Callable[[Any], Any] | None = None,
    kind: Kind | None = None,
    *,
    fields: tuple[str, ...] = ("Phone",),
    version: str = "1",
) -> Plugged:
    """A transform whose functions are the same for every field."""
    back = None if reads is None else (lambda _settings, _field: reads)
    plugin = TransformPlugin(NoSettings, lambda _settings, _field: shows, back, kind)
    return Plugged("swap", plugin, NoSettings(), version, fields)


def flow(*steps: object, to: str = "mongodb") -> Flow:
    return Flow(tuple(Transform(f"step {n}", step, to) for n, step in enumerate(steps)))  # type: ignore[arg-type]


def view(step: Plugged) -> View:
    return flow(step).bound(SCHEMA).views["mongodb"]


@pytest.mark.parametrize(
    ("step", "field", "value", "held"),
    [
        (plugged(lambda text: f"tel:{text}", unmarked), PHONE, "555", "tel:555"),
        (plugged(lambda age: f"{age}y", lambda text: int(text[:-1]), Kind.STRING), AGE, 30, "30y"),
        (plugged(lambda pay: pay, lambda pay: pay), PAY, Decimal("1.50"), Decimal("1.50")),
        (plugged(lambda day: day, lambda day: day), BORN, 1, datetime(1970, 1, 2, tzinfo=UTC)),
        (
            plugged(lambda age: ("a", str(age)), lambda parts: int(parts[0]), Kind.STRINGS),
            AGE,
            5,
            ["5", "a"],
        ),
    ],
)
def test_a_document_holds_what_the_plugin_shows_and_it_is_read_back(
    step: Plugged, field: FieldSchema, value: Value, held: Any
) -> None:
    """A plugin sees Salmon's values, and never BSON; its echo is the very value."""
    form = step.form(field)
    assert form.shown(field, value) == held
    assert form.value(field, held) == value


@pytest.mark.parametrize(
    "step",
    [
        plugged(lambda text: text.strip("+"), lambda text: text),
        plugged(lambda text: text[::-1], lambda text: text[::-1]),
        plugged(lambda _: None, lambda text: text),
        plugged(lambda _: 5, lambda text: text),
        plugged(lambda _: "\ud800", lambda _: "+1"),
        plugged(lambda text: text["no"], lambda text: text),
    ],
    ids=["loses a sign", "takes plain text for its own", "clears", "another kind", "no Unicode", "fails"],
)
def test_a_value_that_cannot_be_read_back_is_refused_and_not_written(step: Plugged) -> None:
    """Otherwise its echo, or a document from before, would be an edit that nobody made; the value is not quoted."""
    with pytest.raises(SchemaMismatch, match="does not fit the form that `transforms` gives it") as refused:
        step.form(PHONE).shown(PHONE, "+1")
    assert "+1" not in str(refused.value)


def test_a_plugin_that_fails_at_a_document_has_the_value_reported() -> None:
    """With the name of the field and of the plugin; the process goes on."""
    step = plugged(lambda text: f"<{text}>", lambda text: {}[text])
    with pytest.raises(SchemaMismatch, match=r"Phone: .* is not string as swap makes it"):
        step.form(PHONE).value(PHONE, "<x>")


def test_one_way_a_side_gets_what_the_plugin_shows_and_cannot_edit_it() -> None:
    """Like a mask; null stays null."""
    rules = Rules(SCHEMA, views={"mongodb": view(plugged(lambda text: text[-4:]))})
    assert rules.seen_by("mongodb", {"Phone": "+1 555 0101"}) == {"Phone": "0101"}
    assert rules.seen_by("salesforce", {"Phone": "+1 555 0101"}) == {"Phone": "+1 555 0101"}
    assert not rules.may_win("mongodb", "Phone", known_to_salesforce=True)
    assert rules.shown_to("mongodb", "Phone", None) is None


@pytest.fixture(autouse=True)
def failures(monkeypatch: pytest.MonkeyPatch) -> Failures:
    """Of this test alone."""
    found = Failures()
    monkeypatch.setattr("salmon.transforms.plugged.FAILURES", found)
    monkeypatch.setattr("salmon.ops.metrics.FAILURES", found)
    return found


@pytest.mark.parametrize("shows", [lambda _: 5, lambda text: text["no"], int])
def test_one_way_a_fault_in_the_plugin_shows_nothing(shows: Callable[[Any], Any], failures: Failures) -> None:
    """What the field could not hold would stop the codec of `writes`, and the value itself is not to be shown. It is counted."""
    assert view(plugged(shows)).of({"Phone": "+1 555", "Age": 5}) == {"Age": 5}
    assert failures.counts() == {"swap": 1}
    told = Metrics("merge").registry.get_sample_value(
        "salmon_plugin_failures_total", {"connector": "merge", "plugin": "swap"}
    )
    assert told == 1


def test_what_a_plugin_may_refuse_is_no_failure(failures: Failures) -> None:
    """A plain value in a document, which is taken as it is; any other error is a fault of the package."""
    step = plugged(lambda text: f"tel:{text}", unmarked).form(PHONE)
    with pytest.raises(SchemaMismatch):
        step.value(PHONE, "555")
    assert failures.counts() == {}
    with pytest.raises(SchemaMismatch):
        plugged(lambda text: text, lambda text: {}[text]).form(PHONE).value(PHONE, "555")
    assert failures.counts() == {"swap": 1}


@pytest.mark.parametrize(
    ("step", "to", "said"),
    [
        (plugged(str, fields=("ReportsToId",)), "mongodb", "refers to another record"),
        (plugged(str, str, fields=("ReportsToId",)), "mongodb", "refers to another record"),
        (plugged(str, fields=("CreatedDate",)), "salesforce", "Salesforce does not let anybody set"),
        (plugged(str, fields=("Phnoe",)), "mongodb", "did you mean Phone?"),
        (plugged(5), "mongodb", "has made a int for Phone, but must make a function"),  # type: ignore[arg-type]
        (
            Plugged("swap", TransformPlugin(NoSettings, lambda _s, f: f.no), NoSettings(), "", ("Phone",)),  # type: ignore[attr-defined]
            "mongodb",
            "has failed for Phone (AttributeError)",
        ),
    ],
)
def test_a_field_that_it_cannot_work_with_is_refused_when_it_is_bound(
    step: Plugged, to: str, said: str
) -> None:
    """With the key in front."""
    with pytest.raises(ConfigError) as refused:
        flow(step, to=to).bound(SCHEMA)
    assert str(refused.value).startswith("step 0: ")
    assert said in str(refused.value)


def test_two_transforms_of_one_field_are_refused_like_two_masks_or_casts() -> None:
    """Whoever they are by."""
    twice = flow(plugged(str), Mask(("Phone",))).faults()
    assert twice == ["step 1 masks Phone again for mongodb: remove one of them"]
    (formed,) = flow(plugged(str, str), Cast({"Phone": "string"})).faults()
    assert "gives Phone a second type in documents" in formed
    (both,) = flow(plugged(str), plugged(str, str)).faults()
    assert "but it is masked there" in both


def test_another_version_of_the_package_has_everything_judged_or_written_again() -> None:
    """It may give other values."""
    assert flow(plugged(str)).digests() != flow(plugged(str, version="2")).digests()
    assert flow(plugged(str, str)).document_form != flow(plugged(str, str, version="2")).document_form
    assert not any(flow(plugged(str, str)).digests().values())
    assert flow(plugged(str)).document_form == ""
    old, new = (flow(Filter(predicate(lambda _: True, version))).digests() for version in "12")
    assert old != new


def predicate(holds: Callable[[Any], Any], version: str = "1") -> PluggedPredicate:
    plugin = PredicatePlugin(NoSettings, lambda _settings, _schema: holds)
    return PluggedPredicate("adult", plugin, NoSettings(), version)


def test_a_predicate_is_a_filter() -> None:
    """It is asked about the agreed record, and people read its name."""
    bound = flow(Filter(predicate(lambda record: record.get("Age", 0) > 17))).bound(SCHEMA)
    assert bound.why_not("mongodb", {"Age": 18}) is None
    assert bound.why_not("mongodb", {"Age": 17}) == "adult"
    assert bound.why_not("mongodb", {}) == "adult"


@pytest.mark.parametrize(
    "holds", [lambda _: 1, lambda record: record["no"], lambda record: record.pop("Age")]
)
def test_a_predicate_that_fails_neither_gives_nor_takes_a_record(
    holds: Callable[[Any], Any], failures: Failures
) -> None:
    """One that does not answer yes or no, or that wants to change the record, fails."""
    record: dict[str, Value] = {"Age": 5}
    bound = flow(Filter(predicate(holds))).bound(SCHEMA)
    assert bound.views["mongodb"].admits(record) is None
    assert failures.counts() == {"adult": 1}
    assert record == {"Age": 5}
    with pytest.raises(DataError):
        bound.why_not("mongodb", record)
