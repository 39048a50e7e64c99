"""The rules of the fold, made of an object's settings: what `transforms` says of each side."""

from __future__ import annotations

import pytest

from salmon.config.models import ObjectConfig
from salmon.errors import ConfigError
from salmon.merge.settings import rules_of
from salmon.model.rules import Rules
from salmon.model.schema import FieldSchema, Kind, ObjectSchema

SCHEMA = ObjectSchema(
    "Contact",
    (FieldSchema("Email", "email", Kind.STRING), FieldSchema("Phone", "phone", Kind.STRING)),
)


def rules(*transforms: object) -> Rules:
    return rules_of(
        SCHEMA, ObjectConfig.model_validate({"collection": "contacts", "transforms": list(transforms)})
    )


def test_filters_and_masks_become_the_view_of_their_side() -> None:
    """The other side gets everything, as it is."""
    made = rules({"filter": "Email != null"}, {"mask": {"fields": ["Phone"]}})
    assert set(made.views) == {"mongodb"}
    view = made.views["mongodb"]
    assert (view.admits({"Email": "x"}), view.admits({"Phone": "1"})) == (True, False)
    assert view.of({"Email": "x", "Phone": "1"}) == {"Email": "x", "Phone": "***"}
    assert made.masked("mongodb") == {"Phone"}


def test_another_filter_has_another_digest() -> None:
    """By which merge sees that all records are to be judged again."""
    one, other = (
        rules({"filter": text}).views["mongodb"].digest for text in ("Email != null", "Phone != null")
    )
    assert one != other


def test_without_filters_and_masks_there_is_no_view() -> None:
    """Constants and types concern documents alone: the fold is as it was."""
    assert rules().views == {}
    assert rules({"constant": {"source": "crm"}}, {"type": "Cast", "spec": "Email:string"}).views == {}


def test_a_transform_that_does_not_fit_the_schema_is_refused() -> None:
    """With the key and the mend, before a record is judged by it."""
    with pytest.raises(ConfigError, match=r"objects\.Contact\.transforms\.0: names Mail.*did you mean Email"):
        rules({"filter": "Mail != null"})


def test_computed_fields_are_made_once_their_schema_is_registered() -> None:
    """Until then the rules are as they were: the source of the org registers them as it starts."""
    config = ObjectConfig.model_validate(
        {"collection": "contacts", "fields": {"computed": {"Mail": "lower(Email)"}}}
    )
    registered = SCHEMA.with_computed(config.computed(SCHEMA))
    assert rules_of(SCHEMA, config).views == {}
    made = rules_of(registered, config)
    assert made.computed["Mail"]({"Email": "Ann@Acme.example"}) == "ann@acme.example"
    assert made.names["salesforce"] == {"Email", "Phone"}
    assert "Mail" in made.names["mongodb"]
