"""Whatever both sides hold: pairs are one to one, each record is in exactly one kind, and a plain comparison finds the same."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from salmon.match.normalizing import Terms
from salmon.match.pairing import DocumentRecord, Doubt, OrgRecord, Pairing

IDS = tuple(f"003{number}" for number in range(5))
KEYS = (*IDS[:3], "a", "b", "c", "d")
# Few values, so that there are pairs, several candidates, and nearly equal ones.
TERMS = st.none() | st.builds(
    lambda near, exact: Terms(near, near + exact),
    st.sampled_from([b"1", b"2", b"3"]),
    st.sampled_from([b"x", b"y"]),
)
ORG = st.dictionaries(
    st.sampled_from(IDS), st.tuples(st.none() | st.sampled_from(KEYS), TERMS), max_size=5
).map(lambda rows: [OrgRecord(native_id, *row) for native_id, row in rows.items()])
DOCUMENTS = st.dictionaries(
    st.sampled_from(KEYS), st.tuples(TERMS, st.none() | st.sampled_from(IDS), st.booleans()), max_size=7
).map(
    lambda rows: [
        DocumentRecord(key, terms, belongs_to=belongs_to, has_key=has_key)
        for key, (terms, belongs_to, has_key) in rows.items()
    ]
)


def with_unique_keys(org: list[OrgRecord]) -> list[OrgRecord]:
    """As the org keeps them: no two records carry the same key."""
    seen: set[str] = set()
    kept = []
    for record in org:
        if record.carried not in seen:
            kept.append(record)
            seen |= {record.carried} if record.carried else set()
    return kept


def joined_plainly(org: list[OrgRecord], documents: list[DocumentRecord]) -> set[tuple[str, str]]:
    """The pairs, found one by one."""
    keys = {each.key for each in documents if each.has_key}
    taken = {record.carried for record in org} & keys
    taken |= {record.id for record in org if record.carried is None} & keys
    pairs = set()
    for record in org:
        alike = [
            each for each in documents if record.terms and each.terms and each.terms.near == record.terms.near
        ]
        others = [
            each for each in org if record.terms and each.terms and each.terms.near == record.terms.near
        ]
        if len(alike) == len(others) == 1 and record.carried is None and record.id not in taken:
            (other,) = alike
            if (
                other.terms == record.terms
                and other.has_key
                and other.key not in taken
                and other.belongs_to in (None, record.id)
            ):
                pairs.add((record.id, other.key))
    return pairs


@given(org=ORG.map(with_unique_keys), documents=DOCUMENTS)
def test_each_record_is_in_one_kind_and_pairs_are_one_to_one(
    org: list[OrgRecord], documents: list[DocumentRecord]
) -> None:
    """No record is forgotten, none is in two kinds, and what is a pair has equal values that nobody else has."""
    with Pairing() as pairing:
        pairing.add_org(org)
        pairing.add_documents(documents)
        pairing.settle()
        pairs = {(line.id, line.key) for line in pairing.pairs()}
        doubts = list(pairing.doubts())
        only_org = [line.id for line in pairing.left_in_org()]
        only_documents = [line.key for line in pairing.left_in_mongodb()]
        in_doubt, matched = pairing.in_doubt(), pairing.matched()
    assert pairs == joined_plainly(org, documents)
    ids = Counter([each for each, _ in pairs] + only_org + sorted({line.id for line in doubts} - {""}))
    keys = Counter(
        [each for _, each in pairs] + only_documents + sorted({line.key for line in doubts} - {""})
    )
    assert max([*ids.values(), *keys.values()], default=1) == 1
    assert (len(ids) + matched, len(keys) + matched) == (len(org), len(documents))
    assert in_doubt == (len({line.id for line in doubts} - {""}), len({line.key for line in doubts} - {""}))
    assert all(isinstance(line.doubt, Doubt) for line in doubts)


@given(org=ORG.map(with_unique_keys), documents=DOCUMENTS)
def test_what_is_applied_is_matched_and_never_paired_again(
    org: list[OrgRecord], documents: list[DocumentRecord]
) -> None:
    """After the keys of all pairs are written, the next run finds no pair."""
    with Pairing() as pairing:
        pairing.add_org(org)
        pairing.add_documents(documents)
        pairing.settle()
        pairs = {line.id: line.key for line in pairing.pairs()}
        matched = pairing.matched()
    with Pairing() as again:
        again.add_org([OrgRecord(each.id, pairs.get(each.id, each.carried), each.terms) for each in org])
        again.add_documents(documents)
        again.settle()
        assert list(again.pairs()) == []
        assert again.matched() == matched + len(pairs)
