"""`salmon flow test`: what each side would get, without any server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from salmon.cli.main import app, exit_code_of
from salmon.runtime import discovery
from support.orgs.describes import describe
from support.plugins import install, install_example
from support.sync_config import sync_config

Try = Callable[..., dict[str, Any]]
RECORD = {
    "Id": "003000000000001AAA",
    "FirstName": "Ann",
    "LastName": "Lee",
    "Email": "ann@acme.example",
    "Phone": "+1 555 0101",
    "Birthdate": "1990-05-01",
    "Shoe__c": 38,
}
TRANSFORMS = [
    {"filter": "Email != null"},
    {"mask": {"fields": ["Phone"], "by": "keep_last"}},
    {
        "type": "TimestampConverter$Value",
        "field": "Birthdate",
        "target.type": "string",
        "format": "yyyy-MM-dd",
    },
    {"constant": {"source": "crm"}},
]


@pytest.fixture
def run(tmp_path: Path) -> Try:
    """Runs the command with a record and `transforms`; returns its JSON, or what went wrong."""

    def run(
        record: Any, transforms: Any = TRANSFORMS, *options: str, sync: Any = None, **settings: Any
    ) -> dict[str, Any]:
        contact = {"collection": "contacts", "transforms": transforms, **settings}
        content = sync_config(objects={"Contact": contact}, **(sync or {}))
        (tmp_path / "sync.yaml").write_text(yaml.safe_dump(content))
        (tmp_path / "record.json").write_text(record if isinstance(record, str) else json.dumps(record))
        arguments = [
            "-c",
            str(tmp_path / "sync.yaml"),
            "--object",
            "Contact",
            "--record",
            str(tmp_path / "record.json"),
        ]
        done = CliRunner().invoke(app, ["flow", "test", *arguments, "--json", *options])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            assert isinstance(done.exception, Exception)
            return {"exit": exit_code_of(done.exception), "said": str(done.exception)}
        assert done.exit_code == 0, done.output
        shown: dict[str, Any] = json.loads(done.stdout)
        return shown

    return run


def of(shown: dict[str, Any], side: str) -> dict[str, Any]:
    (found,) = (each for each in shown["sides"] if each["side"] == side)
    assert isinstance(found, dict)
    return found


def test_a_record_of_salesforce_is_shown_as_its_document(run: Try) -> None:
    """Filtered, masked, converted, with constants; and what is not synced is named."""
    shown = run(RECORD)
    document = of(shown, "mongodb")["gets"]
    assert document["_id"] == RECORD["Id"]
    assert (document["Phone"], document["Birthdate"], document["source"]) == (
        "*******0101",
        "1990-05-01",
        "crm",
    )
    assert of(shown, "mongodb")["why"] == ["masked, so one-way: Phone"]
    assert of(shown, "salesforce") == {
        "side": "salesforce",
        "place": "Contact",
        "gets": None,
        "why": ["it has the record: it comes from there"],
    }
    assert "Shoe__c" in shown["notes"][0]


def test_a_record_that_a_filter_keeps_away_says_by_which(run: Try) -> None:
    """The condition is named, as it is written."""
    shown = run({**RECORD, "Email": None})
    assert of(shown, "mongodb")["gets"] is None
    assert of(shown, "mongodb")["why"] == ["its filter keeps the record away: Email != null"]


def test_a_document_is_shown_as_the_record_that_salesforce_gets(run: Try) -> None:
    """With what Salesforce sets itself, what it requires, and values that do not fit."""
    document = {"_id": {"$oid": "65f000000000000000000001"}, "Birthdate": {"$date": "1990-05-01T00:00:00Z"}}
    shown = run({**document, "Name": "Ann Lee", "FirstName": 5, "tags": []}, TRANSFORMS, "--from", "mongodb")
    got = of(shown, "salesforce")
    assert got["gets"] == {"Birthdate": "1990-05-01"}
    assert "Salesforce would refuse it: it requires LastName" in got["why"]
    assert any("FirstName: must be text" in note for note in shown["notes"])
    assert any("belong to the application: Name, tags" in note for note in shown["notes"])


def test_an_object_that_is_not_read_gives_nothing(run: Try) -> None:
    """The direction is named."""
    shown = run({"_id": "x"}, [], "--from", "mongodb", direction="to_mongodb")
    assert shown["sides"] == []
    assert "the direction of Contact is to_mongodb" in shown["notes"][-1]


def test_fields_of_ones_own_need_the_orgs_describe(run: Try, tmp_path: Path) -> None:
    """Without it the command says how to get it; with it, the fields are there."""
    refused = run(RECORD, [{"filter": "Shoe__c > 37"}])
    assert refused["exit"] == 2
    assert "sobjects/Contact/describe" in refused["said"]
    described = describe("Contact")
    shoe = {
        "name": "Shoe__c",
        "type": "double",
        "precision": 3,
        "scale": 0,
        "createable": True,
        "updateable": True,
    }
    described["fields"].append({**described["fields"][-1], **shoe, "nillable": True, "calculated": False})
    (tmp_path / "Contact.json").write_text(json.dumps(described))
    shown = run(RECORD, [{"filter": "Shoe__c > 37"}], "--schema", str(tmp_path / "Contact.json"))
    assert of(shown, "mongodb")["gets"]["Shoe__c"] == 38.0


@pytest.mark.parametrize(
    "record",
    [
        '{"_id": {"$oid": "zz"}}',
        '{"Pay": {"$numberDecimal": "zz"}}',
        '{"At": {"$date": {"$numberLong": "99999999999999999999"}}}',
        "[" * 100_000,
    ],
)
def test_a_document_that_bson_does_not_take_is_refused_like_any_other(run: Try, record: str) -> None:
    """It is a fault of the file, and none of ours."""
    refused = run(record, [], "--from", "mongodb")
    assert (refused["exit"], "not valid JSON" in refused["said"]) == (2, True)


@pytest.mark.parametrize(
    ("record", "said"),
    [("{", "not valid JSON"), ("[]", "must be one JSON object")],
)
def test_what_is_no_record_is_refused(run: Try, record: str, said: str) -> None:
    """In one sentence, with exit code 2."""
    refused = run(record)
    assert refused["exit"] == 2
    assert said in refused["said"]


def test_a_computed_field_is_shown_in_the_document_alone(run: Try) -> None:
    """Made of the record; what a document has in it says nothing, and is set right again."""
    fields = {"computed": {"FullName": "FirstName + ' ' + LastName"}}
    shown = run(RECORD, [], fields=fields)
    assert of(shown, "mongodb")["gets"]["FullName"] == shown["agreed"]["FullName"] == "Ann Lee"
    assert of(shown, "mongodb")["why"] == ["computed, so one-way: FullName"]
    document = {"_id": "x", "FirstName": "Ann", "LastName": "Lee", "FullName": "mine"}
    shown = run(document, [], "--from", "mongodb", fields=fields)
    assert "FullName" not in of(shown, "salesforce")["gets"]
    assert shown["notes"] == ["computed, so what the record has is set right again: FullName"]


@pytest.fixture
def with_files(run: Try, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Try:
    """The command in a sync of three sides."""
    (tmp_path / "plugins").mkdir()
    install_example(monkeypatch, tmp_path / "plugins", "jsonl-side")

    def run_of_three(record: Any, *options: str, **settings: Any) -> dict[str, Any]:
        own = [{"filter": "Email != null", "to": "jsonl"}, {"mask": {"fields": ["Phone"]}, "to": "jsonl"}]
        transforms = [] if settings.get("sides") == [] else own
        return run(record, transforms, *options, sync={"sides": {"jsonl": {"folder": "/data"}}}, **settings)

    return run_of_three


def test_a_further_side_gets_the_record_as_its_sink_is_given_it(with_files: Try) -> None:
    """By its own filter and masks; what it makes of it is its own business."""
    got = of(with_files(RECORD), "jsonl")
    assert (got["place"], got["gets"]["Phone"], got["gets"]["Birthdate"]) == ("Contact", "***", "1990-05-01")
    assert got["why"] == ["masked, so one-way: Phone"]
    assert of(with_files({**RECORD, "Email": None}), "jsonl")["why"] == [
        "its filter keeps the record away: Email != null"
    ]


def test_a_record_of_a_further_side_goes_to_both_others(with_files: Try) -> None:
    """What is masked there is not taken from it."""
    shown = with_files({"LastName": "Lee", "Phone": "***", "Birthdate": "1990-05-01"}, "--from", "jsonl")
    assert of(shown, "salesforce")["gets"] == {"LastName": "Lee", "Birthdate": "1990-05-01"}
    assert of(shown, "mongodb")["gets"]["_id"] == "(its key)"
    assert "Phone" not in of(shown, "mongodb")["gets"]
    assert shown["notes"] == ["not taken from jsonl, which has them masked: Phone"]
    assert of(shown, "jsonl")["gets"] is None


def test_what_a_further_side_has_in_a_computed_field_is_set_right_again(with_files: Try) -> None:
    """The side has the field, so it is not called unknown; what it says there is overruled."""
    fields = {"computed": {"FullName": "FirstName + ' ' + LastName"}}
    record = {"FirstName": "Ann", "LastName": "Lee", "FullName": "mine"}
    shown = with_files(record, "--from", "jsonl", fields=fields)
    assert shown["notes"] == ["computed, so what the record has is set right again: FullName"]
    assert shown["agreed"]["FullName"] == "Ann Lee"


@pytest.mark.parametrize(("side", "settings"), [("files", {}), ("jsonl", {"sides": []})])
def test_a_side_that_does_not_have_the_object_is_refused(
    with_files: Try, side: str, settings: dict[str, Any]
) -> None:
    """With those that have it."""
    refused = with_files(RECORD, "--from", side, **settings)
    assert refused["exit"] == 2
    assert f"--from {side}: must be one of salesforce, mongodb" in refused["said"]


def test_a_predicate_that_fails_is_told_and_not_taken_for_no(
    run: Try, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a package; merge would leave the side as it is, and the error does not quote the record."""
    (tmp_path / "broken_predicate.py").write_text(
        "from salmon.plugin import NoSettings, PredicatePlugin\n"
        "BROKEN = PredicatePlugin(NoSettings, lambda settings, schema: lambda record: record['Shoe'])\n"
    )
    install(monkeypatch, tmp_path, discovery.PREDICATES, broken="broken_predicate:BROKEN")
    got = of(run(RECORD, [{"type": "broken"}]), "mongodb")
    assert got["gets"] is None
    assert got["why"] == [
        "its filter cannot say whether it is to have the record: broken has failed (KeyError). Correct the plugin."
    ]


def test_the_errors_name_the_step_where_it_stands_and_the_schema_only_for_a_field(run: Try) -> None:
    """A step of the top-level `transforms` is not looked for in the object; and a wrong type is no matter of --schema."""
    top = {"transforms": {"Contact": [{"filter": "Emial != null"}]}}
    unknown = str(run(RECORD, [], sync=top)["said"])
    assert unknown.startswith("transforms.Contact.0: names Emial")
    assert "--schema" in unknown
    cast = str(run(RECORD, [{"type": "Cast", "spec": "LastName:int32"}])["said"])
    assert "objects.Contact.transforms.0: " in cast
    assert "--schema" not in cast
    twin = str(run(RECORD, [], fields={"computed": {"lastname": "FirstName"}})["said"])
    assert "is a field of Contact, called LastName there" in twin
    nothing = str(run(RECORD, [], fields={"computed": {"Made": "null + 'a'"}})["said"])
    assert "Made is always null" in nothing


def test_no_secret_is_needed_to_try_a_record(run: Try) -> None:
    """The pods have them, and nobody else."""
    assert run(RECORD, [], sync={"mongodb": {"uri": "${env:NO_SUCH}", "database": "crm"}})["sides"]
