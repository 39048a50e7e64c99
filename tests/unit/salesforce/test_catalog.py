"""What the org says of its objects is asked for once at the start, however many need it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from salmon.salesforce.catalog import DescribedOnce
from salmon.salesforce.wire.rest import Page


class Org:
    """Counts what it is asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    def describe(self, name: str) -> Mapping[str, Any]:
        self.asked[name] += 1
        return {"name": name, "label": f"{name} {self.asked[name]}"}

    def key_prefixes(self) -> Mapping[str, str]:
        self.asked["*"] += 1
        return {"Account": "001"}

    def pages(self, soql: str, *, deleted: bool = False) -> Iterator[Page]:
        yield Page([{"soql": soql, "deleted": deleted}], 0)


def test_a_describe_is_kept_until_it_is_taken() -> None:
    """The second time the org is asked, because it may say something else by then."""
    once = DescribedOnce(Org())
    assert once.describe("Account")["label"] == "Account 1"
    assert once.take("Account")["label"] == "Account 1"
    assert once.take("Account")["label"] == "Account 2"


def test_prefixes_of_ids_are_asked_for_once_for_all_objects() -> None:
    """Every object with a lookup to several others needs them: they are the org's, not the object's."""
    org = Org()
    once = DescribedOnce(org)
    assert [once.key_prefixes()["Account"], once.key_prefixes()["Account"]] == ["001", "001"]
    assert org.asked["*"] == 1


def test_queries_go_to_the_org() -> None:
    """With what they ask for, deleted records included."""
    (page,) = DescribedOnce(Org()).pages("SELECT Id FROM Account", deleted=True)
    assert page.rows == [{"soql": "SELECT Id FROM Account", "deleted": True}]
