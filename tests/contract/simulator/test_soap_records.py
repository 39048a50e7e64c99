"""Records over SOAP: what REST can do as well, and what it cannot (undelete, merge, emptying the Recycle Bin)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import pytest

from salmon.simulator.org.transaction import Transaction
from salmon.simulator.server import Simulator
from support.orgs.boxes import Box
from support.orgs.soap import merge, session, soap, texts

MALFORMED, NOT_IN_BIN = "no id", "UNDELETE_FAILED"


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator.start(tmp_path_factory.mktemp("box"), objects=("Account", "Contact")) as running:
        yield running


@pytest.fixture
def commits(box: Box) -> list[Transaction]:
    """What the org commits from now on; its change events are made of it."""
    found: list[Transaction] = []
    box.org.add_listener(found.append)
    return found


def called(box: Box, call: str, header: str = "") -> list[dict[str, Any]]:
    """The results of one call: the names of their children are in the order of the answer."""
    answer = soap(box, call, session(box.token) + header, "64.0")
    assert answer.status_code == 200, answer.text
    results = []
    for result in ElementTree.fromstring(answer.content).iter("{urn:partner.soap.sforce.com}result"):
        shown: dict[str, Any] = {}
        for child in result:
            name, value = child.tag.rpartition("}")[2], child.text
            if len(child):
                value = next(each.text for each in child if each.tag.endswith("}statusCode"))
            shown[name] = [*shown[name], value] if name in shown else [value]
        results.append(shown)
    return results


def ids(name: str, *given: str) -> str:
    return f"<p:{name}>{''.join(f'<p:ids>{each}</p:ids>' for each in given)}</p:{name}>"


def sobjects(name: str, *records: str) -> str:
    return f"<p:{name}>{''.join(f'<p:sObjects>{each}</p:sObjects>' for each in records)}</p:{name}>"


def test_a_merge_moves_what_named_the_losers_and_deletes_them(box: Box, commits: list[Transaction]) -> None:
    """One transaction: the winner's chosen values, its new contacts and subsidiaries, and losers that name their master."""
    winner, one, other = (box.create("Account", Name=name) for name in ("Winner", "One", "Other"))
    contact = box.create("Contact", LastName="Moved", AccountId=one)
    below = box.create("Account", Name="Below", ParentId=other)
    box.call("PATCH", f"sobjects/Account/{winner}", {"ParentId": one})
    commits.clear()
    [result] = called(box, merge(winner, one, other, values="<p:Phone>1</p:Phone>"))
    assert result == {
        "id": [winner],
        "mergedRecordIds": [one, other],
        "success": ["true"],
        "updatedRelatedIds": [contact, below],
    }
    [commit] = commits
    assert commit.change_origin == "com/salesforce/api/soap/64.0"
    assert [(each.record_id, each.change_type) for each in commit.changes] == [
        (winner, "UPDATE"),
        (contact, "UPDATE"),
        (one, "DELETE"),
        (below, "UPDATE"),
        (other, "DELETE"),
    ]
    assert box.call("GET", f"sobjects/Account/{winner}?fields=Phone,ParentId").json()["Phone"] == "1"
    assert box.org.get("Account", winner).get("ParentId") is None, "nobody is below himself"  # type: ignore[union-attr]
    assert box.org.get("Contact", contact)["AccountId"] == winner  # type: ignore[index]
    query = f"SELECT Id, MasterRecordId FROM Account WHERE IsDeleted = true AND MasterRecordId = '{winner}'"
    assert {row["Id"] for row in box.call("GET", "queryAll", params={"q": query}).json()["records"]} == {
        one,
        other,
    }
    [back] = called(box, ids("undelete", one))
    assert back == {"id": [one], "success": ["true"]}
    assert "MasterRecordId" not in (box.org.get("Account", one) or {}), "it is a record of its own again"
    assert box.org.get("Contact", contact)["AccountId"] == winner  # type: ignore[index]


def test_what_a_merge_moves_may_be_told_by_no_event(box: Box, commits: list[Transaction]) -> None:
    """Where the org is set so; the record says it, and so does its SystemModstamp."""
    winner, loser = (box.create("Account", Name=name) for name in ("Winner", "Loser"))
    contact = box.create("Contact", LastName="Moved", AccountId=loser)
    box.control("POST", "/settings", {"merge_moves_untold": True}).raise_for_status()
    commits.clear()
    [result] = called(box, merge(winner, loser))
    box.control("DELETE", "/settings")
    assert result["updatedRelatedIds"] == [contact]
    assert [each.record_id for each in commits[0].changes if each.change_type != "UPDATE"] == [loser]
    assert contact not in {each.record_id for each in commits[0].changes}
    assert box.org.get("Contact", contact)["AccountId"] == winner  # type: ignore[index]


def test_a_merge_that_is_refused_leaves_nothing_behind(box: Box, commits: list[Transaction]) -> None:
    """A loser that is gone, too many, the winner itself, another object, a value that is too long, a locked child."""
    winner, loser, gone = (box.create("Account", Name=name) for name in ("W", "L", "G"))
    contact = box.create("Contact", LastName="Stays", AccountId=loser)
    box.call("DELETE", f"sobjects/Account/{gone}")
    commits.clear()
    refusals = {
        merge(winner, loser, gone): "ENTITY_IS_DELETED",
        merge(winner, loser, winner): "MERGE_FAILED",
        merge(winner, *[loser] * 3): "MERGE_FAILED",
        merge(winner): "MERGE_FAILED",
        merge(winner, contact): "MERGE_FAILED",
        merge(winner, loser, values=f"<p:Phone>{'1' * 99}</p:Phone>"): "STRING_TOO_LONG",
        merge("nobody", loser): "MALFORMED_ID",
        merge(winner, loser, object_name="Nothing"): "INVALID_TYPE",
        merge(contact, loser): "MALFORMED_ID",
    }
    found = {call: called(box, call) for call in refusals}
    assert {call: result["errors"] for call, [result] in found.items()} == {
        call: [code] for call, code in refusals.items()
    }
    box.control("POST", "/faults", {"fault": "lock_rows", "object": "Account", "ids": [loser]})
    [result] = called(box, merge(winner, loser, values="<p:Phone>2</p:Phone>"))
    box.control("DELETE", "/faults")
    assert result == {"errors": ["UNABLE_TO_LOCK_ROW"], "id": [None], "success": ["false"]}
    assert commits == []
    assert box.org.get("Contact", contact)["AccountId"] == loser  # type: ignore[index]


def test_undelete_brings_a_record_back_with_what_was_deleted_along(
    box: Box, commits: list[Transaction]
) -> None:
    """Each id has a result of its own; one that is not in the bin is refused, and so are the others with allOrNone."""
    account = box.create("Account", Name="Parent")
    contact = box.create("Contact", LastName="Child", AccountId=account)
    box.call("DELETE", f"sobjects/Account/{account}")
    commits.clear()
    all_or_none = "<p:AllOrNoneHeader><p:allOrNone>true</p:allOrNone></p:AllOrNoneHeader>"
    refused = called(box, ids("undelete", account, "x"), all_or_none)
    assert [each["errors"] for each in refused] == [["ALL_OR_NONE_OPERATION_ROLLED_BACK"], ["MALFORMED_ID"]]
    assert commits == []
    client = "<p:CallOptions><p:client>me</p:client></p:CallOptions>"
    results = called(box, ids("undelete", account, account[:15], "001000000000000AAA"), client)
    assert results[0] == {"id": [account], "success": ["true"]}
    assert [each["errors"] for each in results[1:]] == [[NOT_IN_BIN]] * 2
    [commit] = commits
    assert commit.change_origin == "com/salesforce/api/soap/64.0;client=me"
    assert {(each.record_id, each.change_type) for each in commit.changes} == {
        (account, "UNDELETE"),
        (contact, "UNDELETE"),
    }


def test_what_is_emptied_from_the_bin_is_gone_for_good(box: Box) -> None:
    """Nothing undeletes it, and nothing empties it again; a live record is not in the bin."""
    account, alive = box.create("Account", Name="Gone"), box.create("Account", Name="Alive")
    assert called(box, ids("delete", account)) == [{"id": [account], "success": ["true"]}]
    results = called(box, ids("emptyRecycleBin", account, alive))
    assert [each["success"] for each in results] == [["true"], ["false"]]
    assert called(box, ids("undelete", account))[0]["errors"] == [NOT_IN_BIN]
    assert called(box, ids("emptyRecycleBin", account))[0]["success"] == ["false"]


def test_records_are_created_updated_and_upserted(box: Box) -> None:
    """By type and fields; a parent by its external id; only fieldsToNull clears a field, nil says nothing."""
    record = "<p:type>Account</p:type><p:Name>A &amp; B</p:Name><p:NumberOfEmployees>7</p:NumberOfEmployees>"
    key = "<p:Salmon_Id__c>soap-1</p:Salmon_Id__c>"
    made, refused = called(
        box, sobjects("create", record + key + "<p:Fax>1</p:Fax>", "<p:type>Account</p:type>")
    )
    assert refused == {"errors": ["REQUIRED_FIELD_MISSING"], "id": [None], "success": ["false"]}
    [account] = made["id"]
    row = box.org.get("Account", account) or {}
    assert (row["Name"], row["NumberOfEmployees"]) == ("A & B", 7)
    nil = '<p:Phone xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:nil="true"/>'
    cleared = f"<p:type>Account</p:type><p:Id>{account}</p:Id><p:fieldsToNull>Fax</p:fieldsToNull>{nil}"
    assert called(box, sobjects("update", cleared)) == [{"id": [account], "success": ["true"]}]
    assert "Fax" not in (box.org.get("Account", account) or {})
    *_, last = called(box, sobjects("update", *[cleared] * 14))
    assert last["errors"] == ["DUPLICATE_VALUE"], "12 repetitions in one call, as in collections"
    parent = f"<p:Account><p:type>Account</p:type>{key}</p:Account>"
    contact = f"<p:type>Contact</p:type><p:LastName>C</p:LastName>{parent}"
    [child] = called(box, sobjects("create", contact))
    assert child["success"] == ["true"], child
    row = box.org.get("Contact", child["id"][0]) or {}
    assert row["AccountId"] == account
    upsert = sobjects("upsert", f"<p:type>Account</p:type>{key}<p:Fax>2</p:Fax>").replace(
        "<p:upsert>", "<p:upsert><p:externalIDFieldName>Salmon_Id__c</p:externalIDFieldName>"
    )
    assert called(box, upsert) == [{"created": ["false"], "id": [account], "success": ["true"]}]


def test_calls_about_records_are_counted_and_refused_as_those_of_rest(box: Box) -> None:
    """By the daily allowance, and by how many records one call may have."""
    before = box.org.usage.calls_today()
    called(box, ids("delete", "x"))
    assert box.org.usage.calls_today() == before + 1
    header = session(box.token)
    assert texts(soap(box, ids("delete", *["x"] * 201), header))["exceptionCode"] == "EXCEEDED_ID_LIMIT"
    box.control("POST", "/faults", {"fault": "exhaust_api"})
    exhausted = soap(box, ids("delete", "x"), header)
    box.control("DELETE", "/faults")
    assert (exhausted.status_code, texts(exhausted)["exceptionCode"]) == (500, "REQUEST_LIMIT_EXCEEDED")
