"""Requests in requests: Composite, Graph, Batch and Tree, held against recorded answers and the guide's examples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from salmon.simulator.server import Simulator
from support.orgs.boxes import VERSION, Box, recorded, same_shape

BASE = f"/services/data/v{VERSION}"
ROLLED_BACK = "The transaction was rolled back since another operation in the same transaction failed."


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator.start(tmp_path_factory.mktemp("box"), records={"Account": 6}) as running:
        yield running


def sub(name: str, method: str, path: str, body: Any = None, **more: Any) -> dict[str, Any]:
    """A subrequest; *path* is below the version."""
    item = {"method": method, "url": f"{BASE}/{path}", "referenceId": name, **more}
    return item if body is None else {**item, "body": body}


def composite(box: Box, *items: dict[str, Any], version: str = VERSION, **more: Any) -> list[dict[str, Any]]:
    """The answers to a composite request that as a whole is answered with 200."""
    answer = box.call(
        "POST", f"/services/data/v{version}/composite", {"compositeRequest": list(items), **more}
    )
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["compositeResponse"]
    return found


def accounts(box: Box) -> int:
    return len(box.org.table("Account").live)


@pytest.mark.parametrize(
    "name", ["cci_composite_mixed", "cci_composite_not_found", "cci_composite_invalid_type"]
)
def test_composite_answers_as_recorded(box: Box, name: str) -> None:
    """The recorded requests themselves, with our version; errors word for word."""
    real = recorded(name)
    items = [
        {**item, "url": item["url"].replace("vxx.0", f"v{VERSION}")}
        for item in real["request"]["body"]["compositeRequest"]
    ]
    mine = composite(box, *items)
    for answered, wanted in zip(mine, real["response"]["body"]["compositeResponse"], strict=True):
        assert same_shape(answered, wanted)
        if wanted["httpStatusCode"] >= 400:
            assert answered == wanted


def test_a_later_subrequest_uses_what_an_earlier_one_answered(box: Box) -> None:
    """In the body and in the URL, by field and by place in a list; a 204 has no body, a 201 says where the record is."""
    made, contact, read, queried, changed = composite(
        box,
        sub("acme", "POST", "sobjects/Account", {"Name": "Acme"}),
        sub("ada", "POST", "sobjects/Contact", {"LastName": "Ada", "AccountId": "@{acme.id}"}),
        sub("read", "GET", "sobjects/Contact/@{ada.id}?fields=LastName,AccountId"),
        sub("queried", "GET", "query?q=SELECT Id, Name FROM Account WHERE Id = '@{read.AccountId}'"),
        sub("changed", "PATCH", "sobjects/Account/@{queried.records[0].Id}", {"Phone": "@{read.LastName}"}),
    )
    account_id = made["body"]["id"]
    assert made["httpHeaders"] == {"Location": f"{BASE}/sobjects/Account/{account_id}"}
    assert (contact["httpStatusCode"], read["body"]["AccountId"]) == (201, account_id)
    assert queried["body"]["records"][0]["Name"] == "Acme"
    assert (changed["httpStatusCode"], changed["body"]) == (204, None)
    assert box.call("GET", f"sobjects/Account/{account_id}").json()["Phone"] == "Ada"


def test_without_all_or_none_only_those_that_need_the_failed_one_fail(box: Box) -> None:
    """The dependent one is halted in the words of the guide; the others are done, each in a transaction of its own."""
    told: list[Any] = []
    box.org.add_listener(told.append)
    bad, dependent, good = composite(
        box,
        sub("bad", "POST", "sobjects/Account", {}),
        sub("dependent", "POST", "sobjects/Contact", {"LastName": "A", "AccountId": "@{bad.id}"}),
        sub("good", "POST", "sobjects/Account", {"Name": "Good"}),
    )
    assert bad["body"] == recorded("errors_real")["REQUIRED_FIELD_MISSING"]["body"]
    assert dependent["httpStatusCode"] == 400
    assert dependent["body"] == [
        {
            "errorCode": "PROCESSING_HALTED",
            "message": "Invalid reference specified. No value for bad.id found in bad",
        }
    ]
    assert good["httpStatusCode"] == 201
    assert len(told) == 1


def test_all_or_none_is_one_transaction(box: Box) -> None:
    """Its events have one key; a failure undoes everything, and everything but the failed one is answered as halted."""
    told: list[Any] = []
    box.org.add_listener(told.append)
    first = sub("first", "POST", "sobjects/Account", {"Name": "First"})
    second = sub("second", "PATCH", "sobjects/Account/@{first.id}", {"Phone": "1"})
    composite(box, first, second, allOrNone=True)
    [transaction] = told
    assert [(change.change_type, change.after["Phone"]) for change in transaction.changes] == [
        ("CREATE", "1")
    ]
    before = accounts(box)
    collection = {"records": [{"attributes": {"type": "Account"}, "Name": "C"}]}
    last = sub("last", "POST", "sobjects/Account", {"Phone": "1"})
    answers = composite(
        box, first, sub("many", "POST", "composite/sobjects", collection), last, second, allOrNone=True
    )
    assert accounts(box) == before
    assert len(told) == 1
    halted = [{"errorCode": "PROCESSING_HALTED", "message": ROLLED_BACK}]
    assert [answer["body"] == halted for answer in answers] == [True, True, False, True]
    assert {answer["httpStatusCode"] for answer in answers} == {400}


@pytest.mark.parametrize("inner", [True, False])
def test_all_or_none_goes_before_that_of_a_collection(box: Box, inner: bool) -> None:
    """One record that failed undoes everything; the collection's own answer is 200, with what became of each."""
    before = accounts(box)
    records = [{"attributes": {"type": "Account"}, "Name": "A"}, {"attributes": {"type": "Account"}}]
    collection = sub("c", "POST", "composite/sobjects", {"allOrNone": inner, "records": records})
    other = sub("other", "POST", "sobjects/Account", {"Name": "Other"})
    many, halted = composite(box, collection, other, allOrNone=True)
    assert [result["success"] for result in many["body"]] == [not inner, False]
    assert many["httpStatusCode"] == 200
    assert halted["body"][0]["errorCode"] == "PROCESSING_HALTED"
    assert accounts(box) == before


def test_a_null_has_a_value_since_version_52(box: Box) -> None:
    """Before that, who refers to it is halted; so it is, in every version, with a field that was not asked for."""
    account = box.create("Account", Name="N")
    asked = sub("asked", "GET", f"sobjects/Account/{account}?fields=Phone")
    new = sub("new", "POST", "sobjects/Account", {"Name": "New", "Phone": "@{asked.Phone}"})
    assert composite(box, asked, new)[1]["httpStatusCode"] == 201
    [_, refused] = composite(box, asked, new, version="51.0")
    assert refused["body"][0]["message"].startswith(
        "Invalid reference specified. No value for asked.Phone found in asked. Provided referenceId ('asked.Phone')"
    )
    other = sub("new", "POST", "sobjects/Account", {"Name": "@{asked.Name}"})
    assert composite(box, asked, other)[1]["body"][0]["errorCode"] == "PROCESSING_HALTED"


def test_illegal_characters_in_a_reference_id(box: Box) -> None:
    """Since version 52 the request is refused; before, only what refers to it is."""
    odd = sub("odd[1]", "POST", "sobjects/Account", {"Name": "Odd"})
    refused = box.call("POST", "composite", {"compositeRequest": [odd]})
    assert (refused.status_code, refused.json()[0]["errorCode"]) == (400, "INVALID_INPUT")
    dependent = sub("d", "POST", "sobjects/Contact", {"LastName": "D", "AccountId": "@{odd[1].id}"})
    made, halted = composite(box, odd, dependent, version="51.0")
    assert (made["httpStatusCode"], halted["body"][0]["errorCode"]) == (201, "PROCESSING_HALTED")


def test_headers_and_conditions_of_a_subrequest(box: Box) -> None:
    """Not modified has a null body, as recorded; the three inherited headers may not be set."""
    path = f"sobjects/Account/{box.create('Account', Name='H')}"
    future = {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}
    [answer] = composite(box, sub("a", "GET", path, httpHeaders=future))
    assert (answer["httpStatusCode"], answer["body"]) == (304, None)
    refused = box.call(
        "POST",
        "composite",
        {"compositeRequest": [sub("a", "GET", path, httpHeaders={"Authorization": "Bearer x"})]},
    )
    assert refused.status_code == 400


@pytest.mark.parametrize(
    ("items", "said"),
    [
        (
            [sub(f"r{n}", "GET", "sobjects") for n in range(26)],
            "The request can’t contain more than 25 operations.",
        ),
        ([sub(f"r{n}", "GET", "query?q=SELECT Id FROM Account") for n in range(6)], "more than 5 query"),
    ],
)
def test_too_many_subrequests_are_one_answer_without_a_name(box: Box, items: list[Any], said: str) -> None:
    """LIMIT_EXCEEDED, as an org was seen to answer."""
    [answer] = composite(box, *items)
    assert answer["body"][0]["errorCode"] == "LIMIT_EXCEEDED"
    assert said in answer["body"][0]["message"]
    assert (answer["httpStatusCode"], answer["referenceId"]) == (400, None)


@pytest.mark.parametrize(
    "items",
    [
        [],
        "nothing",
        [sub("a", "GET", "sobjects"), sub("a", "GET", "sobjects")],
        [sub("a", "GET", "limits")],
        [{"method": "GET", "url": f"{BASE}/sobjects"}],
        [sub("a", "FETCH", "sobjects")],
    ],
)
def test_a_composite_request_that_is_none(box: Box, items: Any) -> None:
    """Refused as a whole, with a list of errors, and nothing is done."""
    answer = box.call("POST", "composite", {"compositeRequest": items})
    assert (answer.status_code, set(answer.json()[0])) == (400, {"message", "errorCode"})


def test_composite_resources_are_listed_and_a_composite_is_one_call(box: Box) -> None:
    """GET names them; 25 subrequests in Composite count once, in Batch each counts."""
    names = box.call("GET", "composite").json()
    assert names["graph"] == f"{BASE}/composite/graph"
    before = box.control("GET", "/calls").json()["api"]["total"]
    composite(box, *[sub(f"r{n}", "GET", "sobjects") for n in range(25)])
    assert box.control("GET", "/calls").json()["api"]["total"] == before + 1
    items = [{"method": "GET", "url": f"v{VERSION}/limits"}] * 3
    assert box.call("POST", "composite/batch", {"batchRequests": items}).status_code == 200
    assert box.control("GET", "/calls").json()["api"]["total"] == before + 4


def test_a_graph_is_all_or_nothing_and_its_neighbour_is_not_touched(box: Box) -> None:
    """One of two fails: its nodes are answered as halted, the other's are done."""
    before = accounts(box)

    def graph(name: str, last: dict[str, Any]) -> dict[str, Any]:
        nodes = [
            sub("account", "POST", "sobjects/Account", {"Name": name}),
            sub("contact", "POST", "sobjects/Contact", {"AccountId": "@{account.id}", **last}),
        ]
        return {"graphId": name, "compositeRequest": nodes}

    body = {"graphs": [graph("1", {"LastName": "L"}), graph("2", {})]}
    good, bad = box.call("POST", "composite/graph", body).json()["graphs"]
    assert (good["graphId"], good["isSuccessful"], bad["isSuccessful"]) == ("1", True, False)
    account, contact = good["graphResponse"]["compositeResponse"]
    assert (account["httpStatusCode"], contact["httpStatusCode"]) == (201, 201)
    account, contact = bad["graphResponse"]["compositeResponse"]
    assert account["body"] == [{"errorCode": "PROCESSING_HALTED", "message": ROLLED_BACK}]
    assert contact["body"][0]["errorCode"] == "REQUIRED_FIELD_MISSING"
    assert accounts(box) == before + 1


def test_after_fifteen_graphs_that_failed_the_rest_is_not_tried(box: Box) -> None:
    """ "Composite Graph Limits": more than 14 failures halt the request."""
    before = accounts(box)
    graphs = [
        {
            "graphId": f"g{n}",
            "compositeRequest": [sub("a", "POST", "sobjects/Account", {} if n < 15 else {"Name": "G"})],
        }
        for n in range(16)
    ]
    answered = box.call("POST", "composite/graph", {"graphs": graphs}).json()["graphs"]
    assert (
        answered[15]["graphResponse"]["compositeResponse"][0]["body"][0]["errorCode"] == "PROCESSING_HALTED"
    )
    assert accounts(box) == before


def test_what_a_graph_may_not_be(box: Box) -> None:
    """Too many graphs or nodes, too deep, too many kinds, ids that are no ids, what is no record."""
    node = sub("a", "POST", "sobjects/Account", {"Name": "A"})
    chain = [sub("n0", "POST", "sobjects/Account", {"Name": "A"})] + [
        sub(f"n{n}", "POST", "sobjects/Account", {"Name": "A", "ParentId": f"@{{n{n - 1}.id}}"})
        for n in range(1, 16)
    ]
    many = [{**node, "referenceId": f"n{n}"} for n in range(501)]
    for graphs in (
        [{"graphId": f"g{n}", "compositeRequest": [node]} for n in range(76)],
        [{"graphId": "g", "compositeRequest": many}],
        [{"graphId": "g", "compositeRequest": chain}],
        [{"graphId": "g", "compositeRequest": [node]}] * 2,
        [{"graphId": "g.1", "compositeRequest": [node]}],
        [{"graphId": "g", "compositeRequest": [sub("q", "GET", "query?q=SELECT Id FROM Account")]}],
    ):
        assert box.call("POST", "composite/graph", {"graphs": graphs}).status_code == 400


def test_a_batch_knows_nothing_of_its_neighbours(box: Box) -> None:
    """The guide's example: an update and a read, by paths that begin with the version, in any case."""
    account = box.create("Account", Name="B")
    path = f"v{VERSION}/sobjects/account/{account}"
    items = [
        {"method": "PATCH", "url": path, "richInput": {"Name": "NewName"}},
        {"method": "GET", "url": f"{path}?fields=Name,BillingPostalCode"},
        {"method": "GET", "url": f"v{VERSION}/sobjects/Account/nobody"},
        {"method": "GET", "url": f"v{VERSION}/limits"},
    ]
    answer = box.call("POST", "composite/batch", {"batchRequests": items}).json()
    assert answer["hasErrors"] is True
    changed, read, missing, limits = answer["results"]
    assert changed == {"statusCode": 204, "result": None}
    assert (read["statusCode"], read["result"]["Name"]) == (200, "NewName")
    assert (missing["statusCode"], missing["result"][0]["errorCode"]) == (404, "NOT_FOUND")
    assert limits["result"]["DailyApiRequests"]["Max"] > 0
    halted = box.call("POST", "composite/batch", {"batchRequests": items, "haltOnError": True}).json()[
        "results"
    ][3]
    assert halted["statusCode"] == 412
    assert halted["result"][0]["errorCode"] == "BATCH_PROCESSING_HALTED"
    for wrong in (
        [],
        items * 7,
        [{"method": "POST", "url": f"v{VERSION}/composite"}],
        [{"method": "GET", "url": "v67.0/limits"}],
    ):
        assert box.call("POST", "composite/batch", {"batchRequests": wrong}).status_code == 400


def tree_record(name: str, kind: str = "Account", **fields: Any) -> dict[str, Any]:
    return {"attributes": {"type": kind, "referenceId": name}, **fields}


def test_a_tree_of_new_records(box: Box) -> None:
    """Roots first, then their children, with the ids they got; parents are set."""
    children = {
        "records": [
            tree_record("ref2", "Contact", LastName="Smith"),
            tree_record("ref3", "Contact", LastName="Evans"),
        ]
    }
    body = {"records": [tree_record("ref1", Name="One", Contacts=children), tree_record("ref4", Name="Two")]}
    answer = box.call("POST", "composite/tree/Account", body)
    assert (answer.status_code, answer.json()["hasErrors"]) == (201, False)
    ids = {each["referenceId"]: each["id"] for each in answer.json()["results"]}
    assert list(ids) == ["ref1", "ref4", "ref2", "ref3"]
    assert box.call("GET", f"sobjects/Contact/{ids['ref3']}").json()["AccountId"] == ids["ref1"]


def test_a_tree_is_refused_as_a_whole(box: Box) -> None:
    """The record at fault is named in the shape of the guide, and nothing is made."""
    before = accounts(box)
    bad = {"records": [tree_record("ref2", "Contact", LastName="Smith", Email="123")]}
    body = {"records": [tree_record("ref1", Name="One", Contacts=bad)]}
    answer = box.call("POST", "composite/tree/Account", body)
    assert answer.status_code == 400
    assert answer.json() == {
        "hasErrors": True,
        "results": [
            {
                "referenceId": "ref2",
                "errors": [
                    {
                        "statusCode": "INVALID_EMAIL_ADDRESS",
                        "message": "Email: invalid email address: 123",
                        "fields": ["Email"],
                    }
                ],
            }
        ],
    }
    twice = box.call("POST", "composite/tree/Account", {"records": [tree_record("r", Name="A")] * 2}).json()
    assert [each["errors"][0]["statusCode"] for each in twice["results"]] == ["INVALID_INPUT"] * 2
    for records in (
        [tree_record(f"r{n}", Name="A") for n in range(201)],
        [{"Name": "no attributes"}],
        [tree_record("r", "Contact", LastName="C")],
        [tree_record("r", Name="A", Nothings={"records": [tree_record("s", "Contact", LastName="C")]})],
    ):
        assert box.call("POST", "composite/tree/Account", {"records": records}).status_code == 400
    assert accounts(box) == before
