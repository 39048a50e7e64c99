"""Matching on the simulator and a real mongod: by REST and by Bulk the same is found, and keys are written in few calls."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from salmon.config.sections.matching import MatchConfig
from salmon.errors import ConfigError
from salmon.match.applying import Applying, Collected
from salmon.match.calling import Budget
from salmon.match.files import Pair
from salmon.match.pairing import Doubt, Pairing
from salmon.match.reading import DocumentSide, OrgSide
from salmon.salesforce.catalog import SyncedObject, synced_object
from salmon.salesforce.wire.rest import Rest
from support.mongo import Mongo
from support.orgs.salesforce_box import BoxProcess, Source, configured

ACCOUNTS = 450
ON = ("Name", "Phone")


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoxProcess]:
    with BoxProcess(tmp_path_factory.mktemp("box"), "--records", f"Account={ACCOUNTS}") as it:
        yield it


@pytest.fixture
def rest(box: BoxProcess) -> Iterator[Rest]:
    rest = Rest(box.config())
    yield rest
    rest.close()


def synced(rest: Rest) -> SyncedObject:
    return synced_object("Account", configured("Account"), rest)


def paired(rest: Rest, mongo: Mongo, use_bulk: str) -> tuple[list[Any], list[Any], int, int, int]:
    """What is found: pairs, doubts, and how many are matched, or left on either side."""
    account = synced(rest)
    on = MatchConfig(on=ON).fields_of(account.schema)
    with Pairing() as pairing:
        OrgSide(rest, account, on, Budget(rest, 0.9), "64.0", use_bulk).add_to(pairing, lambda *_: None)
        DocumentSide(mongo.database, "match", account.schema, on).add_to(pairing, lambda *_: None)
        pairing.settle()
        left = len(list(pairing.left_in_org())), len(list(pairing.left_in_mongodb()))
        return list(pairing.pairs()), list(pairing.doubts()), pairing.matched(), *left


def test_what_is_found_is_the_same_by_rest_and_by_bulk_and_is_written_in_few_calls(
    box: BoxProcess, rest: Rest, mongo: Mongo
) -> None:
    """All kinds of documents; afterwards they are matched, and nothing is left to pair."""
    ids = box.ids("Account")
    for number, native_id in enumerate(ids[:8]):
        box.edit("Account", native_id, Name=f"N{number}", Phone=f"+39 06 55{number:02}")
    mongo.database["match"].insert_many(
        [
            *({"_id": number, "Name": f"N{number}", "Phone": f"+39 06 55{number:02}"} for number in range(5)),
            {"_id": ids[5], "Name": "by its Id"},
            {"_id": "6", "Name": "n6", "Phone": "+39 (06) 5506"},
            {"_id": {"a": 1}, "Name": "N7", "Phone": "+39 06 5507"},
            {"_id": "no phone", "Name": "N7"},
            {"_id": "a misfit", "Name": "N7", "Phone": 5},
        ]
    )
    by_rest = paired(rest, mongo, "never")
    assert by_rest == paired(rest, mongo, "always")
    pairs, doubts, matched, only_org, only_mongodb = by_rest
    assert [(line.id, line.key) for line in pairs] == [(ids[n], f"$int:{n}") for n in range(5)]
    assert [(line.id, line.doubt) for line in doubts] == [(ids[6], Doubt.NEARLY), (ids[7], Doubt.NO_KEY)]
    assert (matched, only_org, only_mongodb) == (1, ACCOUNTS - 8, 2)

    wanted = [Pair(line.id, line.key) for line in pairs]
    wanted += [Pair(ids[8], "$int:0"), Pair(ids[9], "not there")]
    before = sum(rest.calls.values())
    applying = Applying("Account", "001", rest, Collected(mongo.database, "match"), budget=Budget(rest, 0.9))
    applied = applying.apply(wanted)
    assert sum(rest.calls.values()) - before == 2
    assert (applied.written, [pair.id for pair, _ in applied.refused]) == (5, [ids[8], ids[9]])
    assert "another record of Salesforce carries this key" in applied.reasons
    assert [box.show("Account", native_id)["Salmon_Id__c"] for native_id in ids[:5]] == [
        f"$int:{n}" for n in range(5)
    ]
    again = applying.apply(wanted[:5])
    assert (again.written, again.there) == (0, 5)
    pairs, _, matched, _, _ = paired(rest, mongo, "never")
    assert (pairs, matched) == ([], 6)


def test_an_object_that_is_held_back_is_read_under_the_keys_that_it_got_meanwhile(box: BoxProcess) -> None:
    """Until then neither its records nor its events are reported, and the other objects are."""
    account, matched = box.create("Account", Name="held"), box.create("Account", Name="matched")
    with Source(box, "Account", "Contact", hold={"Account"}) as held:
        held.through_snapshots()
        box.edit("Account", account, Site="meanwhile")
        contact = box.create("Contact", LastName="Not held")
        held.until(lambda: held.of(contact))
        assert {record.object for record in held.told} == {"Contact"}
    box.edit("Account", matched, Salmon_Id__c="$int:77")
    with Source(box, "Account", "Contact", of=held) as source:
        source.until(lambda: "snapshot/Account" in source.positions)
        source.through_snapshots()
        assert source.view()[account]["Site"] == "meanwhile"
        assert source.view()["$int:77"]["Name"] == "matched"
        assert matched not in source.view()
        assert source.identities["Account"][matched] == "$int:77"


@pytest.mark.parametrize(
    ("name", "says"), [("Nonsense__c", "no field Nonsense__c"), ("OwnerId", "has no field|refers to")]
)
def test_a_field_that_cannot_be_matched_by_is_refused(rest: Rest, name: str, says: str) -> None:
    """One that is not there, and one that refers to another record: its key is another one on each side."""
    with pytest.raises(ConfigError, match=says):
        MatchConfig(on=(name,)).fields_of(synced(rest).schema)


def test_an_allowance_that_others_need_ends_the_reading() -> None:
    """The org's own word counts, and it is asked for nothing more."""
    org = cast("Any", SimpleNamespace(usage=(96, 100), calls={}))
    with pytest.raises(Exception, match="96 of the 100 API calls"):
        Budget(org, 0.95).check()
