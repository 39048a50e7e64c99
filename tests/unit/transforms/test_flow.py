"""A flow: the transforms of one object together, and bound to its schema."""

from __future__ import annotations

import pytest

from salmon.errors import ConfigError, SchemaMismatch
from salmon.model.rules import Rules
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.transforms.computed import Computed
from salmon.transforms.flow import Cast, Constant, Filter, Flow, Place, Timestamps, Transform
from salmon.transforms.masks import Mask

SCHEMA = ObjectSchema(
    "Contact",
    (
        FieldSchema("Name", "string", Kind.STRING),
        FieldSchema("Email", "email", Kind.STRING),
        FieldSchema("Age", "int", Kind.INT),
        FieldSchema("Met", "datetime", Kind.DATETIME),
    ),
)


def flow(*steps: object, to: str = "mongodb") -> Flow:
    return Flow(tuple(Transform(f"step {n}", step, to) for n, step in enumerate(steps)))  # type: ignore[arg-type]


def test_all_filters_of_a_side_must_let_a_record_pass() -> None:
    """And each is for its side only; Kafka Connect's Filter drops what its predicate holds of."""
    bound = Flow(
        (
            Transform("a", Filter("Email != null")),
            Transform("b", Filter("Age < 18", drops=True), "both"),
        )
    ).bound(SCHEMA)
    mongodb, salesforce = bound.wants("mongodb"), bound.wants("salesforce")
    assert mongodb is not None
    assert salesforce is not None
    assert mongodb({"Email": "x", "Age": 20})
    assert not mongodb({"Age": 20})
    assert not mongodb({"Email": "x", "Age": 5})
    assert salesforce({"Age": 20})
    assert not salesforce({"Age": 5})
    assert bound.why_not("mongodb", {"Age": 20}) == "Email != null"
    assert bound.why_not("salesforce", {"Age": 5}) == "not (Age < 18)"
    assert bound.why_not("salesforce", {"Age": 20}) is None


def test_a_filter_sees_what_a_mask_hides() -> None:
    """It judges the agreed record, wherever in the list it stands."""
    bound = flow(Mask(("Email",)), Filter("Email.endsWith('@acme.example')")).bound(SCHEMA)
    wants = bound.wants("mongodb")
    assert wants is not None
    assert wants({"Email": "ann@acme.example"})
    rules = Rules(SCHEMA, views=bound.views)
    assert rules.seen_by("mongodb", {"Email": "ann@acme.example", "Age": 5}) == {"Email": "***", "Age": 5}
    assert rules.seen_by("salesforce", {"Email": "ann@acme.example"}) == {"Email": "ann@acme.example"}
    assert bound.wants("salesforce") is None


def test_an_object_without_transforms_has_no_filter_and_no_mask() -> None:
    """And no digest: its sides are judged as before there were transforms."""
    bound = Flow().bound(SCHEMA)
    assert (bound.wants("mongodb"), bound.masks, bound.forms, bound.constants) == (None, {}, {}, {})
    assert Flow().digests() == {"salesforce": "", "mongodb": ""}


def test_documents_get_types_and_constants() -> None:
    """Which concern neither merge nor Salesforce."""
    bound = flow(Cast({"Age": "string"}), Timestamps("Met", "unix"), Constant("source", "crm")).bound(SCHEMA)
    assert set(bound.forms) == {"Age", "Met"}
    assert bound.constants == {"source": "crm"}
    assert not any(flow(Cast({"Age": "string"})).digests().values())


def test_everything_that_does_not_fit_the_schema_is_said_at_once() -> None:
    """Each with the key that is to be corrected."""
    with pytest.raises(ConfigError) as refused:
        flow(Filter("Mail != null"), Mask(("Nmae",)), Cast({"Name": "int32"}), Constant("Age", 5)).bound(
            SCHEMA
        )
    said = str(refused.value)
    assert "step 0: names Mail" in said
    assert "step 1: names Nmae, but Contact has no field Nmae that is synced (did you mean Name?)" in said
    assert "step 2: makes Name" in said
    assert "step 3: Age is a field of Contact" in said


@pytest.mark.parametrize(
    ("steps", "to", "sentence"),
    [
        ((Mask(("Name",)), Mask(("Name",))), "mongodb", "masks Name again for mongodb"),
        ((Mask(("Name",)),), "both", "nobody would have its value"),
        ((Cast({"Age": "string"}), Cast({"Age": "float64"})), "mongodb", "a second type"),
        ((Mask(("Met",)), Timestamps("Met", "unix")), "mongodb", "masked there"),
        ((Constant("a", 1), Constant("a", 2)), "mongodb", "a constant twice"),
    ],
)
def test_transforms_that_contradict_each_other_are_refused(
    steps: tuple[object, ...], to: str, sentence: str
) -> None:
    """Whatever the schema is."""
    assert any(sentence in fault for fault in flow(*steps, to=to).faults())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (flow(Filter("Age > 1")), flow(Filter("Age > 2"))),
        (flow(Filter("Age > 1")), flow(Filter("Age > 1", drops=True))),
        (flow(Mask(("Name",))), flow(Mask(("Email",)))),
        (flow(Mask(("Name",))), flow(Mask(("Name",), "keep_last"))),
        (flow(Mask(("Name",), "hash", key=b"a" * 16)), flow(Mask(("Name",), "hash", key=b"b" * 16))),
        (flow(Filter("Age > 1")), flow()),
    ],
)
def test_the_digest_of_a_side_differs_if_it_is_to_get_other_values(one: Flow, other: Flow) -> None:
    """So that merge judges again what was agreed on by other rules."""
    assert one.digests()["mongodb"] != other.digests()["mongodb"]
    assert one.digests()["salesforce"] == other.digests()["salesforce"] == ""
    assert one.digests() == Flow(one.transforms).digests()


def test_the_first_collection_whose_filter_holds_has_the_record() -> None:
    """Of several; with one for all others, each record has its place. A filter may name a computed field."""
    bound = flow(Place("adults", "Age >= 18"), Place("named", "Name != null"), Place("others")).bound(SCHEMA)
    assert bound.place({"Age": 20, "Name": "x"}) == "adults"
    assert bound.place({"Age": 7, "Name": "x"}) == "named"
    assert bound.place({}) == "others"
    view = bound.views["mongodb"]
    assert (view.place({"Age": 20}), view.collections) == ("adults", frozenset({"adults", "named", "others"}))
    assert bound.why_not("mongodb", {}) is None
    assert "salesforce" not in bound.views


def test_a_filter_that_names_a_computed_field_waits_until_the_sync_knows_the_field() -> None:
    """Until then nobody can say whether it holds, so nothing enters, leaves or moves. Then each record is judged again."""
    made = Computed("Kind", "Age >= 18 ? 'adult' : 'child'")
    for step in (Filter("Kind == 'adult'"), Place("adults", "Kind == 'adult'")):
        of = flow(made, step)
        before = of.bound(SCHEMA)
        assert before.views["mongodb"].admits({"Age": 20}) is None
        assert before.views["mongodb"].place({"Age": 20}) is None
        with pytest.raises(SchemaMismatch, match="not registered yet"):
            before.why_not("mongodb", {"Age": 7})
        now = of.bound(SCHEMA.with_computed(of.computed(SCHEMA))).views["mongodb"]
        assert now.admits({"Age": 20, "Kind": "adult"}) is True
        assert now.digest != before.views["mongodb"].digest


def test_what_no_collection_is_for_is_kept_away_with_the_reason() -> None:
    """As by a filter, after the filters there are."""
    bound = flow(Filter("Email != null"), Place("adults", "Age >= 18"), Place("named", "Name == 'x'")).bound(
        SCHEMA
    )
    assert bound.views["mongodb"].admits({"Email": "e", "Age": 7}) is False
    assert bound.why_not("mongodb", {"Email": "e", "Age": 7}) == "Age >= 18 || Name == 'x'"
    assert bound.why_not("mongodb", {"Age": 20}) == "Email != null"
    assert bound.views["mongodb"].text == "Email != null && (Age >= 18 || Name == 'x')"


def test_another_filter_or_order_of_collections_has_all_records_judged_again() -> None:
    """The first that holds has the record, so the order counts, too."""
    adults, others = Place("adults", "Age >= 18"), Place("others")
    digests = {
        flow(*places).digests()["mongodb"]
        for places in ((adults, others), (others, adults), (Place("adults", "Age >= 21"), others), (adults,))
    }
    assert len(digests) == 4
