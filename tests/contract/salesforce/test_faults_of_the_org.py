"""An org whose admin changes fields while a source listens, and a Pub/Sub API that refuses calls for a while."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from salmon.errors import SchemaOutdated
from salmon.model.change import Op
from support.orgs.salesforce_box import BoxProcess, Source


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoxProcess]:
    with BoxProcess(tmp_path_factory.mktemp("box"), "--records", "Account=5") as process:
        yield process


@pytest.fixture
def box(process: BoxProcess) -> Iterator[BoxProcess]:
    yield process
    process.heal()


def test_a_field_that_an_admin_adds_is_part_of_the_next_schema(box: BoxProcess) -> None:
    """The source asks to be started again, and then reports the new field, also of edits from before (fault change_schema)."""
    early, later = box.ids("Account")[:2]
    with Source(box, "Account").through_snapshots() as source:
        assert "Late__c" not in source.task.schemas()["Account"].by_name
        box.fault("change_schema", object="Account", add={"name": "Late__c", "type": "string", "length": 20})
        box.edit("Account", early, Late__c="before the restart")
        with pytest.raises(SchemaOutdated, match="Account"):
            source.until(lambda: False)
    with Source(box, "Account", of=source) as again:
        assert "Late__c" in again.task.schemas()["Account"].by_name
        box.edit("Account", later, Late__c="after it")
        again.until(
            lambda: (
                [again.view().get(key, {}).get("Late__c") for key in (early, later)]
                == ["before the restart", "after it"]
            )
        )


def test_a_field_that_an_admin_takes_away_does_not_stop_the_source(box: BoxProcess) -> None:
    """The other fields are reported as before; the field is missing in the schema from the next start on."""
    account = box.ids("Account")[2]
    with Source(box, "Account").through_snapshots() as source:
        box.fault("change_schema", object="Account", remove="TickerSymbol")
        box.edit("Account", account, Fax="without it")
        source.until(lambda: source.view()[account].get("Fax") == "without it")
    with Source(box, "Account", of=source) as again:
        assert "TickerSymbol" not in again.task.schemas()["Account"].by_name
        box.edit("Account", account, Fax="after the start")
        again.until(lambda: again.view().get(account, {}).get("Fax") == "after the start")


@pytest.mark.parametrize(
    ("rpc", "code", "status"),
    [
        ("Subscribe", "service.unavailable", "UNAVAILABLE"),
        ("Subscribe", "service.internal", "INTERNAL"),
        ("all", "service.auth.error", "UNAUTHENTICATED"),
        ("GetSchema", "service.unavailable", "UNAVAILABLE"),
    ],
)
def test_calls_that_the_pubsub_api_refuses_are_made_again(
    box: BoxProcess, rpc: str, code: str, status: str
) -> None:
    """What was edited meanwhile is reported, and only once (fault grpc); nobody has to start anything again."""
    account = box.ids("Account")[3]
    with Source(box, "Account").through_snapshots() as source:
        before = len(source.told)
        box.fault("grpc", rpc=rpc, code=code, status=status, times=2)
        box.fault("cut_streams")
        box.edit("Account", account, Phone=f"{rpc} {code}")
        source.until(lambda: source.seen()[before:])
        box.edit("Account", account, Phone="after")
        source.until(lambda: source.view()[account]["Phone"] == "after")
        told = source.told[before:]
        assert [(each.key, each.change.op) for each in told] == [(account, Op.UPDATE)] * 2
        assert told[0].change.fields["Phone"] == f"{rpc} {code}"
