"""Objects that the org refuses: what waits, since when, and how it is taken back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from salmon.errors import ConfigError, RequestRejected, Unavailable
from salmon.model.markers import USUAL
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.salesforce.catalog import ObjectUnusable, as_registered, synced_object
from salmon.salesforce.identity import Identity
from salmon.salesforce.reading.identities import load_identities
from salmon.salesforce.troubles import Rechecks, Troubles, described
from salmon.simulator.org.objects.describes import load_describes
from support.orgs.salesforce import MemoryOrg, synced
from support.waiting import until

REFUSED = RequestRejected("no", code="INVALID_FIELD", words="No such column 'Salmon_Seq__c'")


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_refused_object_may_be_asked_for_again_after_a_minute_and_is_reported_since_the_first_refusal() -> (
    None
):
    """Whoever looks at /health sees for how long (case V10)."""
    clock = Clock()
    troubles = Troubles(clock=clock)
    troubles.found("Account", REFUSED)
    assert troubles.waiting() == {"Account"}
    clock.now_s += 61
    assert troubles.waiting() == frozenset()
    troubles.found("Account", REFUSED)
    (waits,) = troubles.report()
    assert (waits.object, waits.since_s) == ("Account", 61)
    troubles.over("Account")
    assert troubles.report() == []


def test_a_blocked_object_waits_until_it_is_described_again() -> None:
    """A query of it that happens to work says nothing of its marker fields (case V10)."""
    clock = Clock()
    troubles = Troubles(clock=clock)
    troubles.block("Account", "objects.Account: it has no field Id.")
    clock.now_s += 3600
    troubles.found("Account", REFUSED)
    troubles.over("Account")
    assert troubles.blocks("Account")
    assert troubles.waiting() == {"Account"}
    troubles.unblock("Account")
    assert (troubles.blocks("Account"), troubles.report()) == (False, [])


def test_blocked_objects_are_described_again_until_each_is_as_it_must_be() -> None:
    """An org that does not answer, or an object that is still broken, is asked again; the reason is kept up to date."""
    troubles = Troubles(again_s=0.001)
    troubles.block("Account", "it has no field Id")
    troubles.block("Contact", "it has no field Id")
    answers: dict[str, list[Any]] = {
        "Account": [Unavailable("away"), ObjectUnusable("Account", "it has no marker"), "an account"],
        "Contact": ["a contact"],
    }
    mended: list[tuple[str, str]] = []
    reasons: set[str] = set()

    def check(name: str) -> str:
        reasons.add(troubles.sentence_of("Account"))
        answer = answers[name].pop(0)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    rechecks = Rechecks(troubles, check, lambda name, answer: mended.append((name, answer)))
    rechecks.begin(["Account", "Contact"])
    until(lambda: len(mended) == 2, "both are mended")
    rechecks.close()
    assert mended == [("Contact", "a contact"), ("Account", "an account")]
    assert reasons == {"it has no field Id", "it has no marker"}


def test_an_object_that_breaks_while_it_is_watched_waits_and_is_watched_again_when_it_is_mended() -> None:
    """Each time: somebody may switch something off twice. An org that cannot be asked says nothing about it."""
    troubles = Troubles(again_s=0.001)
    answers: list[Any] = [
        None,
        Unavailable("away"),
        gone := ObjectUnusable("Account", "no events"),
        None,
        gone,
    ]
    told: list[str] = []

    def watch(name: str) -> None:
        assert not troubles.blocks(name)
        answer = answers.pop(0) if answers else None
        if isinstance(answer, Exception):
            raise answer

    def mended(name: str, _: str) -> None:
        troubles.unblock(name)
        told.append("mended")

    rechecks = Rechecks(
        troubles,
        lambda _: "an account",
        mended,
        watch=watch,
        broken=lambda _: told.append(troubles.sentence_of("Account")),
    )
    rechecks.begin([], watched=["Account"])
    until(lambda: len(told) == 4, "it broke and was mended twice")
    rechecks.close()
    assert told == ["no events", "mended"] * 2


def test_one_object_that_the_org_cannot_describe_time_and_again_is_not_an_outage() -> None:
    """Its describe answers with 500 while all others work; an org that describes none of them is away (case V10)."""
    failures: Counter[str] = Counter()

    def broken(*names: str) -> Callable[[str], str]:
        def describe(name: str) -> str:
            if name in names:
                raise Unavailable("UNKNOWN_EXCEPTION (HTTP 500).")
            return f"a {name}"

        return describe

    both = ["Account", "Contact"]
    never_worked: Counter[str] = Counter()
    for _ in range(4):
        with pytest.raises(Unavailable):
            described(both, broken("Account"), never_worked, may_wait=())
    for _ in range(2):
        with pytest.raises(Unavailable):
            described(both, broken("Account"), failures, may_wait=both)
    found, wrong = described(both, broken("Account"), failures, may_wait=both)
    assert found == {"Contact": "a Contact"}
    assert str(wrong["Account"]).startswith("objects.Account: ")
    for _ in range(4):
        with pytest.raises(Unavailable):
            described(both, broken("Account", "Contact"), failures, may_wait=both)


class Describing:
    """An org that describes every object in the same way."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def describe(self, name: str) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def key_prefixes(self) -> Mapping[str, str]:
        raise AssertionError("not asked")

    def pages(self, soql: str, *, deleted: bool = False) -> Any:
        raise AssertionError("not asked")


FIELD = {"name": "Id", "type": "id"}
CONFIGURED = SimpleNamespace(
    fields=SimpleNamespace(include=None, exclude=()),
    numbers="double",
    capture=SimpleNamespace(mode="cdc"),
    markers=SimpleNamespace(names=USUAL),
    computed=lambda _: (),
)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (RequestRejected("no", code="NOT_FOUND", words="It is not there"), "(NOT_FOUND: It is not there)"),
        ({"name": "Account", "fields": []}, "has no field Id"),
        ({"name": "Account", "fields": [FIELD]}, "has no field Salmon_Seq__c"),
        ({"name": "Account", "fields": [FIELD, {"name": "Salmon_Seq__c"}]}, "does not know"),
        ({"name": "Account"}, "does not know"),
        ({"fields": None}, "does not know"),
        ([], "does not know"),
    ],
)
def test_whatever_is_wrong_with_a_describe_is_wrong_with_that_object_alone(answer: Any, says: str) -> None:
    """It is one sentence, in the org's own words where it has any, with the mend (case V10)."""
    with pytest.raises(ObjectUnusable) as caught:
        synced_object("Account", {"Account": CONFIGURED}, Describing(answer))
    assert caught.value.name == "Account"
    assert str(caught.value).startswith("objects.Account: ")
    assert says in str(caught.value)


def described_with(marker: str, **facts: Any) -> Any:
    """Account's describe, with a marker field that somebody made in another way."""
    answer = load_describes(marker_fields=True)["Account"]
    return {
        **answer,
        "fields": [{**each, **facts} if each["name"] == marker else each for each in answer["fields"]],
    }


@pytest.mark.parametrize(
    ("marker", "facts", "says"),
    [
        ("Salmon_Id__c", {"unique": False}, "is not a unique external id"),
        ("Salmon_Id__c", {"externalId": False}, "is not a unique external id"),
        ("Salmon_Id__c", {"caseSensitive": False}, "abc and ABC would be one record"),
        ("Salmon_Id__c", {"length": 254}, "texts of 255 characters"),
        ("Salmon_Id__c", {"type": "picklist"}, "texts of 255 characters"),
        ("Salmon_Seq__c", {"precision": 16}, "whole numbers of 18 digits"),
        ("Salmon_Seq__c", {"scale": 2}, "whole numbers of 18 digits"),
        ("Salmon_Seq__c", {"type": "string"}, "whole numbers of 18 digits"),
    ],
)
def test_a_marker_field_that_was_made_in_another_way_is_told_before_it_does_harm(
    marker: str, facts: Mapping[str, Any], says: str
) -> None:
    """With what would come of it, and how the field is to be made."""
    with pytest.raises(ObjectUnusable) as caught:
        synced_object("Account", {"Account": CONFIGURED}, Describing(described_with(marker, **facts)))
    assert says in str(caught.value)
    assert f"Account.{marker} " in str(caught.value)
    assert "Make it " in str(caught.value)


def test_marker_fields_as_they_are_to_be_made_are_taken() -> None:
    """Also where they hold more than they must."""
    for answer in (described_with(""), described_with("Salmon_Id__c", length=300)):
        assert synced_object("Account", {"Account": CONFIGURED}, Describing(answer)).name == "Account"


def test_the_keys_of_an_object_that_alone_cannot_be_read_hold_up_no_other() -> None:
    """It fails as before for ten seconds; then it waits and is reported, and the keys of the others are learnt."""
    clock, org = Clock(), MemoryOrg()
    troubles = Troubles(clock=clock)
    org.put("Contact", "003000000000001AAA", Salmon_Id__c="k")
    org.hides["Account"] = Unavailable("the query resource answered QUERY_TIMEOUT (HTTP 400).")
    identity = Identity({name: synced(name).schema for name in ("Account", "Contact")})

    def load(*worked: str) -> None:
        load_identities(cast("Any", org), ("Account", "Contact"), identity, troubles, worked)

    for _ in range(2):
        with pytest.raises(Unavailable):
            load("Account", "Contact")
        clock.now_s += 5
    with pytest.raises(Unavailable):
        load()  # it has never worked: nothing may be reported without its keys
    load("Account", "Contact")
    assert identity.key("Contact", "003000000000001AAA") == "k"
    assert [each.object for each in troubles.report()] == ["Account"]


def test_a_read_that_works_ends_the_count_of_those_that_failed() -> None:
    """Failures now and then over hours are no steady failure."""
    clock = Clock()
    troubles = Troubles(clock=clock)
    for _ in range(10):
        assert not troubles.failed("Account", Unavailable("a moment"))
        assert not troubles.failed("Account", Unavailable("a moment"))
        clock.now_s += 60
        troubles.over("Account")
    assert troubles.report() == []


def test_computed_fields_are_registered_and_never_asked_of_the_org() -> None:
    """Also those of an object that cannot be described at the moment; one that does not fit is a fault of that object."""
    label = FieldSchema("Label", "string", Kind.STRING, create=False, update=False, computed=True)
    with_label = SimpleNamespace(**{**vars(CONFIGURED), "computed": lambda _: (label,)})
    found = synced_object("Account", {"Account": with_label}, Describing(described_with("")))
    for each in (found, as_registered(found.registered)):
        assert each.registered.computed == {"Label"}
        assert "Label" not in each.schema.by_name.keys() | each.names

    def unfit(_: ObjectSchema) -> Any:
        raise ConfigError("objects.Account.fields.computed.Label: names Nobody.")

    broken = SimpleNamespace(**{**vars(CONFIGURED), "computed": unfit})
    with pytest.raises(ObjectUnusable, match="names Nobody"):
        synced_object("Account", {"Account": broken}, Describing(described_with("")))
