"""`salmon schemas` on any registry: all subjects are registered once, and what would break one is named beforehand."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import requests
import yaml

from salmon.cli.main import main
from salmon.config.models import SyncConfig
from salmon.kafka.codecs.registry import COMPATIBILITY, SchemaRefused, SchemaRegistry
from salmon.model.schema import FieldSchema, Kind, ObjectSchema, schema_of_describe
from salmon.schemas.comparing import WORDS_CHANGED, Compared, compared
from salmon.schemas.describing import of_folder
from salmon.schemas.registering import register_all
from salmon.schemas.subjects import Described
from salmon.simulator.org.objects.describes import load_describes
from support.orgs.describes import describe
from support.sync_config import sync_config

ACCOUNT = schema_of_describe(describe("Account"))


@pytest.fixture
def config(registry_url: str, name: str) -> SyncConfig:
    return SyncConfig.model_validate(
        sync_config(name=f"{name}-schemas", schema_registry={"url": registry_url})
    )


@pytest.fixture
def registry(registry_url: str) -> SchemaRegistry:
    return SchemaRegistry(registry_url)


def register(config: SyncConfig, schema: ObjectSchema) -> Mapping[str, str]:
    """Subject -> what became of it. By another client each time, as by another process."""
    registry = SchemaRegistry(config.schema_registry.url)
    found = register_all(config, Described({schema.name: schema}), registry)
    return {each.subject: each.became for each in found}


def look(config: SyncConfig, schema: ObjectSchema, registry: SchemaRegistry) -> dict[str, Compared]:
    found = compared(config, Described({schema.name: schema}), registry)
    return {each.subject.removeprefix(f"{config.name}."): each for each in found}


def test_every_subject_is_registered_with_its_compatibility_and_only_once(
    config: SyncConfig, registry_url: str
) -> None:
    """A hook that is run with each upgrade makes no versions where nothing has changed."""
    first = register(config, ACCOUNT)
    assert set(first.values()) == {"new"}
    assert set(register(config, ACCOUNT).values()) == {"unchanged"}
    for subject in first:
        level = requests.get(f"{registry_url}/config/{subject}", timeout=10).json()
        assert level["compatibilityLevel"] == COMPATIBILITY, subject
        assert requests.get(f"{registry_url}/subjects/{subject}/versions", timeout=10).json() == [1]


def test_a_new_field_of_the_org_is_shown_and_makes_a_new_version(
    config: SyncConfig, registry: SchemaRegistry
) -> None:
    """Of those subjects that have the object's fields; the others stay as they are."""
    register(config, ACCOUNT)
    wider = replace(ACCOUNT, fields=(*ACCOUNT.fields, FieldSchema("Fleet__c", "string", Kind.STRING)))
    found = look(config, wider, registry)
    assert found["records.Account-value"].changes == ("Fleet__c: added, string or null",)
    assert found["changes.Account-value"].changes == ("fields.Fleet__c: added, string or null",)
    assert not any(each.faults for each in found.values())
    became = register(config, wider)
    assert {s for s, each in became.items() if each == "new version"} == {
        f"{config.name}.{topic}.Account-value"
        for topic in ("changes", "state", "records", "writes.salesforce", "writes.mongodb")
    }


def test_a_field_of_another_type_is_named_before_the_registry_refuses_it(
    config: SyncConfig, registry: SchemaRegistry
) -> None:
    """What `check` says in CI is what a process would be told later."""
    register(config, ACCOUNT)
    fields = tuple(
        FieldSchema("Phone", "int", Kind.INT) if field.name == "Phone" else field for field in ACCOUNT.fields
    )
    retyped = replace(ACCOUNT, fields=fields)
    found = look(config, retyped, registry)
    (fault,) = found["records.Account-value"].faults
    assert fault.startswith("Phone: new readers could not read version 1: ")
    assert found["changes.Account-value"].faults[0].startswith("fields.Phone: ")
    assert not found["offsets-value"].faults
    with pytest.raises(SchemaRefused, match=r"Account-value: .*incompatible"):
        register(config, retyped)


def test_what_the_registry_objects_to_is_what_our_rules_find(
    config: SyncConfig, registry: SchemaRegistry
) -> None:
    """Its own verdict is asked for as well: it has the last word."""
    register(config, ACCOUNT)
    subject = f"{config.name}.records.Account-value"
    fewer = replace(ACCOUNT, fields=ACCOUNT.fields[:3])
    assert registry.objection(subject, fewer.to_avro()) is None
    retyped = replace(ACCOUNT, fields=(FieldSchema("Phone", "int", Kind.INT),))
    assert registry.objection(subject, retyped.to_avro()) is not None
    assert registry.objection(f"{config.name}.nobody-value", retyped.to_avro()) is None


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A folder with the describe of Account, as an org with Salmon's fields answers."""
    folder = tmp_path / "describes"
    folder.mkdir()
    (folder / "Account.json").write_text(json.dumps(load_describes(marker_fields=True)["Account"]))
    return folder


@pytest.fixture
def typed(
    config: SyncConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Types `salmon schemas ...` for the sync; its exit code, and what it prints."""
    file = tmp_path / "sync.yaml"
    url = config.schema_registry.url
    file.write_text(yaml.safe_dump(sync_config(name=config.name, schema_registry={"url": url})))

    def typed(*words: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["salmon", "schemas", *words, "-c", str(file)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), capsys.readouterr().out

    return typed


def retype(saved: Path, name: str, **keys: object) -> None:
    """Let the org have a field in another way."""
    file = saved / "Account.json"
    describe = json.loads(file.read_text())
    next(field for field in describe["fields"] if field["name"] == name).update(keys)
    file.write_text(json.dumps(describe))


def test_ci_checks_saved_describes_and_is_told_the_field(
    config: SyncConfig, saved: Path, typed: Callable[..., tuple[int, str]]
) -> None:
    """No org is asked, and nothing is registered."""
    folder = ("--describe", str(saved))
    code, said = typed("check", *folder)
    assert (code, said) == (0, "All 13 subjects are compatible; 13 are new.\n")
    described = of_folder(config, saved)
    list(register_all(config, described, SchemaRegistry(config.schema_registry.url)))
    assert typed("check", *folder) == (0, "All 13 subjects are compatible; 0 are new.\n")
    assert typed("diff", *folder) == (0, "All 13 subjects have the same fields as in the registry.\n")
    retype(saved, "Phone", label="Call")
    assert typed("diff", *folder)[1] == f"{config.name}.described.Account:\n  {WORDS_CHANGED}\n"
    retype(saved, "Phone", type="int", soapType="xsd:int", digits=9)
    code, said = typed("check", *folder)
    assert code == 1
    assert f"{config.name}.records.Account-value ({COMPATIBILITY}):\n  Phone: new readers could not" in said
    assert "5 of 13 subjects would be refused. Take the change back" in said
    code, said = typed("diff", *folder)
    assert (code, said.count("Phone: string or null becomes int or null")) == (0, 5)


def test_every_subject_of_a_sync_is_written_as_a_file(
    config: SyncConfig, saved: Path, tmp_path: Path, typed: Callable[..., tuple[int, str]]
) -> None:
    """For those who register them with a tool of their own."""
    code, said = typed("generate", "--describe", str(saved), "--out", str(tmp_path / "made"))
    files = sorted((tmp_path / "made").iterdir())
    assert (code, len(files), len(said.splitlines())) == (0, 13, 13)
    made = {file.stem: json.loads(file.read_text()) for file in files}
    assert made[f"{config.name}.records.Account-value"]["name"] == "Account"
    assert made[f"{config.name}.offsets-value"]["fields"][0]["name"] == "position"
