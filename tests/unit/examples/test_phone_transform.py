"""The example of transforms and a predicate, installed: in the configuration, in documents, and in what Kafka Connect's tools see."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from phone_transform import PHONE_DIGITS, PHONE_FROM, PHONE_URI, DigitsSettings, FromSettings
from salmon.app.connector_plugins import ConnectorPlugins
from salmon.cli.main import app
from salmon.config import models as config
from salmon.errors import ConfigError
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.ops.connect.access import Refused
from salmon.plugin import NoSettings
from salmon.transforms.plugged import Plugged
from support.plugins import EXAMPLES, install_example
from support.sync_config import sync_config

PHONE = FieldSchema("Phone", "phone", Kind.STRING, length=40)
ANN = {"Id": "003000000000001AAA", "LastName": "Lee", "Phone": "+1 555 0101", "MobilePhone": "(555) 0102"}


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The example, as pip leaves it."""
    (tmp_path / "plugins").mkdir()
    install_example(monkeypatch, tmp_path / "plugins", "phone-transform")


def from_its_docstring() -> list[Any]:
    """The entries that the example shows to its reader."""
    text = (EXAMPLES / "phone-transform" / "phone_transform.py").read_text(encoding="utf-8")
    shown = re.search(r"transforms:\n\s+Contact:\n(.*?)\"\"\"", text, re.DOTALL)
    assert shown is not None
    found = yaml.safe_load(shown[1])
    assert isinstance(found, list)
    return found


def written(folder: Path, *entries: Any) -> Path:
    file = folder / "sync.yaml"
    contact = {"collection": "contacts", "transforms": list(entries)}
    file.write_text(yaml.safe_dump(sync_config(objects={"Contact": contact})))
    return file


def tried(folder: Path, record: dict[str, Any], origin: str = "salesforce") -> dict[str, Any]:
    """What the command shows of a record, with the entries of the docstring."""
    file = written(folder, *from_its_docstring())
    (folder / "record.json").write_text(json.dumps(record))
    arguments = ["--object", "Contact", "--record", str(folder / "record.json"), "--from", origin, "--json"]
    done = CliRunner().invoke(app, ["flow", "test", "-c", str(file), *arguments])
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    return {each["side"]: each for each in found["sides"]} | {"agreed": found["agreed"]}


def test_a_document_gets_the_number_as_a_link_and_as_digits(tmp_path: Path) -> None:
    """As the example's docstring configures it; the digits are one-way, and say so."""
    got = tried(tmp_path, ANN)["mongodb"]
    assert (got["gets"]["Phone"], got["gets"]["MobilePhone"]) == ("tel:+1%20555%200101", "5550102")
    assert got["why"] == ["masked, so one-way: MobilePhone"]


def test_a_link_in_a_document_is_the_number_in_salesforce(tmp_path: Path) -> None:
    """And a number as it is, from before or by an application, is taken as it is."""
    for held in ("tel:+1%20555%200101", "+1 555 0101"):
        agreed = tried(tmp_path, {"_id": "x", "LastName": "Lee", "Phone": held}, "mongodb")["agreed"]
        assert agreed["Phone"] == "+1 555 0101"


def test_a_number_of_another_country_stays_away(tmp_path: Path) -> None:
    """By the predicate, which is named."""
    got = tried(tmp_path, {**ANN, "Phone": "+49 30 1"})["mongodb"]
    assert (got["gets"], got["why"]) == (None, ["its filter keeps the record away: phone_from"])


@given(number=st.text(st.characters(codec="utf-8"), min_size=1))
def test_every_number_is_read_back_from_its_link(number: str) -> None:
    """Whatever people write there."""
    form = Plugged("phone_uri", PHONE_URI, NoSettings(), "", ("Phone",)).form(PHONE)
    if not number.startswith("tel:"):
        assert form.value(PHONE, form.shown(PHONE, number)) == number


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"type": "phone_url", "fields": ["Phone"]}, "did you mean phone_uri?). Known: Filter, MaskField"),
        ({"type": "phone_url", "fields": ["Phone"]}, "ReplaceField, phone_digits, phone_from, phone_uri"),
        ({"type": "phone_uri"}, "phone_uri needs fields"),
        ({"type": "phone_uri", "fields": ["Phone"], "to": "salesforce"}, "`to` is for filters and masks"),
        ({"type": "phone_uri", "fields": ["Phone"], "negate": True}, "phone_uri has no key negate"),
        ({"type": "phone_uri", "fields": ["Phone"], "settings": {"a": 1}}, "settings: a: unknown key"),
        (
            {"type": "phone_digits", "fields": ["Phone"], "settings": {"lats": 4}},
            "transforms.0.settings: lats: unknown key. Did you mean last? Known keys here: last",
        ),
        (
            {"type": "phone_digits", "fields": ["Phone"], "settings": {"last": "x"}},
            "settings: last: is text (str), but must be a valid integer, unable to parse string as an integer. How many digits",
        ),
        ({"type": "phone_from"}, "field: is missing. The field with the number; begins_with: is missing"),
        ({"type": "phone_from", "fields": ["Phone"]}, "field: is missing"),
        ({"filter": "Phone != null", "settings": {"a": 1}}, "(found: settings)"),
        ({"type": "MaskField", "fields": ["Phone"], "settings": {"a": 1}}, "MaskField has no key settings"),
    ],
)
def test_what_is_wrong_is_said_when_the_configuration_is_read(
    tmp_path: Path, entry: dict[str, Any], said: str
) -> None:
    """With the key, the value's type, and what there is."""
    with pytest.raises(ConfigError) as refused:
        config.load(written(tmp_path, entry), env={})
    assert "objects.Contact.transforms.0" in str(refused.value)
    assert said in str(refused.value)


def test_a_field_or_object_that_does_not_fit_is_said_when_the_org_is_known() -> None:
    """By the example itself."""
    age = FieldSchema("Age", "int", Kind.INT)
    for plugin, settings in ((PHONE_URI, NoSettings()), (PHONE_DIGITS, DigitsSettings())):
        with pytest.raises(ConfigError, match="is for texts, but Age is a int"):
            plugin.shows(settings, age)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="names Phone, but Contact has no such field"):
        PHONE_FROM.holds(FromSettings(field="Phone", begins_with=("+1",)), ObjectSchema("Contact", (age,)))


def test_other_settings_have_the_records_judged_again(tmp_path: Path) -> None:
    """And the same ones do not."""

    def digest(last: int) -> str:
        entry = {"type": "phone_digits", "fields": ["Phone"], "settings": {"last": last}}
        return (
            config.load(written(tmp_path, entry), env={})
            .objects["Contact"]
            .flow("Contact")
            .digests()["mongodb"]
        )

    assert digest(4) == digest(4) != digest(5)


def test_tools_of_kafka_connect_see_transforms_and_their_settings(tmp_path: Path) -> None:
    """`GET /connector-plugins?connectorsOnly=false`, and `/connector-plugins/{plugin}/config`, with help."""
    plugins = ConnectorPlugins(tmp_path, env={})
    there = {each.class_name: (each.type, each.version) for each in plugins.all(connectors_only=False)}
    assert there["phone_digits"] == ("transformation", "1.0")
    assert there["phone_from"][0] == "predicate"
    assert there["MaskField"][0] == "transformation"
    assert "phone_digits" not in {each.class_name for each in plugins.all()}
    keys = {key.name: key for key in plugins.keys("phone_digits")}
    assert list(keys) == ["to", "fields", "settings.last"]
    assert keys["settings.last"].documentation.startswith("How many digits are kept")
    assert (keys["settings.last"].type, keys["settings.last"].default_value) == ("INT", "0")
    assert {key.name for key in plugins.keys("Cast")} == {"spec"}
    required = {key.name for key in plugins.keys("phone_from") if key.required}
    assert required == {"settings.field", "settings.begins_with"}
    with pytest.raises(Refused, match="phone_uri is not a connector"):
        plugins.check("phone_uri", {})
