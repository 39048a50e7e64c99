"""Comparing digests, bucket by bucket, finds exactly what comparing record by record would find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from salmon.model.change import ERROR, MONGODB, SALESFORCE, SALESFORCE_ID, SIDES, Value
from salmon.model.rules import Rules
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.verify.comparing import UNREADABLE, Seen, Terms, findings, terms_of
from salmon.verify.digests import Form
from salmon.verify.ledger import RECORDS, Ledger, Suspect
from salmon.verify.reading import compares_ids

READ_ONLY: dict[str, Any] = {"create": False, "update": False}
SCHEMA = ObjectSchema(
    "Account",
    (
        FieldSchema("Name", "string", Kind.STRING),
        FieldSchema("Amount", "double", Kind.DOUBLE),
        FieldSchema("Tags", "multipicklist", Kind.STRINGS),
        FieldSchema("LastModifiedDate", "datetime", Kind.DATETIME, **READ_ONLY),
        FieldSchema("Score__c", "double", Kind.DOUBLE, live=False, **READ_ONLY),
    ),
)
IDS = ("001000000000001AAA", "001000000000002AAA")
KEYS = (*IDS, "born-here", "ä")
# Few values, so that records are often alike; 1, 1.0, True and Decimal(1) are.
VALUES: st.SearchStrategy[Value] = st.sampled_from(
    [None, "", "x", "1", "...", 0, -0.0, 1, 1.0, True, Decimal(1), 0.1, Decimal("0.1"), 0.5]
)
VALUES |= st.sampled_from(
    [Decimal("0.50"), 2**60, float(2**60), 2**60 + 1, (), ("x",), ("x", "1"), ("agreed",)]
)
FIELDS: st.SearchStrategy[dict[str, Value]] = st.dictionaries(
    st.sampled_from(sorted(SCHEMA.by_name)), VALUES, max_size=3
)
NAMES_UNREAD = st.sets(st.sampled_from([*SCHEMA.by_name, UNREADABLE]), max_size=1).map(frozenset)
RULES = (Rules(SCHEMA), Rules(SCHEMA, one_way_to=MONGODB), Rules(SCHEMA, one_way_to=SALESFORCE))


def in_another_type(value: Value) -> Value:
    """A value that Python calls equal."""
    return Decimal(value) if isinstance(value, (int, float)) else value


@st.composite
def org_records(draw: st.DrawFn, key: str) -> Seen:
    native_id = draw(st.sampled_from([key if key in IDS else IDS[0], *IDS]))
    return Seen(key, draw(FIELDS), draw(st.just(frozenset()) | NAMES_UNREAD), native_id)


@st.composite
def documents(draw: st.DrawFn, key: str) -> Seen:
    own = draw(st.sampled_from([{}, {SALESFORCE_ID: IDS[0]}, {SALESFORCE_ID: IDS[1], ERROR: "no"}]))
    return Seen(key, {**draw(FIELDS), **own}, draw(st.just(frozenset()) | NAMES_UNREAD))


@st.composite
def worlds(draw: st.DrawFn) -> tuple[dict[str, dict[str, Value]], dict[str, dict[str, Seen]]]:
    """What was agreed, and what both sides show; mostly alike."""
    agreed: dict[str, dict[str, Value]] = {}
    seen: dict[str, dict[str, Seen]] = {side: {} for side in SIDES}
    for key in KEYS:
        fields = draw(FIELDS)
        native_id = key if key in IDS else IDS[0]
        alike = {
            SALESFORCE: Seen(key, fields, native_id=native_id),
            MONGODB: Seen(key, {**fields, SALESFORCE_ID: native_id}),
        }
        if draw(st.booleans()) or draw(st.booleans()):
            agreed[key] = fields
        for side, another in ((SALESFORCE, org_records), (MONGODB, documents)):
            match draw(st.integers(0, 5)):
                case 0:
                    pass
                case 1:
                    seen[side][key] = draw(another(key))
                case 2:
                    shown = {name: in_another_type(value) for name, value in alike[side].fields.items()}
                    seen[side][key] = replace(alike[side], fields=shown)
                case _:
                    seen[side][key] = alike[side]
    return agreed, seen


def filled(
    folder: str,
    terms: Mapping[str, Terms],
    agreed: Mapping[str, Mapping[str, Value]],
    seen: Mapping[str, Mapping[str, Seen]],
    older: Mapping[str, Mapping[str, Value]],
) -> Ledger:
    """A ledger that has read all of it; *older* stood before it in `records`, and some of it was deleted since."""
    forms = {side: Form(terms[side], with_ids=compares_ids(terms)) for side in SIDES}
    ledger = Ledger(Path(folder), {})

    def rows(some: Mapping[str, Mapping[str, Value] | None]) -> None:
        ledger.take_agreed(
            {
                key: None if row is None else {side: forms[side].agreed(key, row) for side in SIDES}
                for key, row in some.items()
            },
            {"offsets": {}},
        )

    rows(older)
    rows(dict.fromkeys(older.keys() - agreed.keys()))
    rows(agreed)
    ledger.take_side(SALESFORCE, [(one, forms[SALESFORCE].org(one)) for one in seen[SALESFORCE].values()], {})
    ledger.take_side(MONGODB, [(one, forms[MONGODB].document(one)) for one in seen[MONGODB].values()], {})
    return ledger


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(world=worlds(), older=st.dictionaries(st.sampled_from(KEYS), FIELDS), rules=st.sampled_from(RULES))
def test_digests_find_what_records_find(
    world: tuple[dict[str, dict[str, Value]], dict[str, dict[str, Seen]]],
    older: dict[str, dict[str, Value]],
    rules: Rules,
) -> None:
    """
    The same records differ, the same ones in nothing but what may differ for now, and each is known to be where it is.
    """
    agreed, seen = world
    terms = terms_of(rules)
    expected, expected_later = [], set()
    for key in sorted({*agreed, *seen[SALESFORCE], *seen[MONGODB]}):
        found = findings(key, agreed.get(key), {side: seen[side].get(key) for side in SIDES}, terms)
        if any(each.differs for each in found.values()):
            places = {side for side in SIDES if key in seen[side]} | ({RECORDS} if key in agreed else set())
            expected.append(Suspect(key, frozenset(places)))
        elif any(each.later for each in found.values()):
            expected_later.add(key)
    later: set[str] = set()
    with TemporaryDirectory() as folder:
        ledger = filled(folder, terms, agreed, seen, older)
        told = list(ledger.differing(terms, with_ids=compares_ids(terms), later=later.add))
        counted = len(ledger)
        ledger.close()
    assert sorted(told, key=lambda each: each.key) == expected
    assert later == expected_later
    assert counted == len(agreed)
