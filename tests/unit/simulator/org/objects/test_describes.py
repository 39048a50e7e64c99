"""Describe files: any folder of them makes an org."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from salmon.errors import SetupError
from salmon.simulator.org.objects.describes import ID_FIELD, PACKAGED, SEQ_FIELD, load_describes
from support.orgs.orgs import DESCRIBES


def test_the_marker_fields_look_like_fields_of_a_real_describe() -> None:
    """With every key the others have; what was there is not touched."""
    plain, marked = load_describes(), load_describes(marker_fields=True)
    assert list(plain) == ["Account", "Contact", "Opportunity"]
    for name, describe in marked.items():
        *rest, seq, key = describe["fields"]
        assert rest == plain[name]["fields"]
        assert (seq["name"], seq["type"], seq["precision"], seq["scale"]) == (SEQ_FIELD, "double", 18, 0)
        assert (key["name"], key["length"], key["unique"], key["caseSensitive"]) == (
            ID_FIELD,
            255,
            True,
            True,
        )
        assert key["externalId"]
        assert key["idLookup"]
        for added in (seq, key):
            assert set(added) == set(rest[0])
            assert added["createable"]
            assert added["updateable"]


def test_a_field_that_is_there_already_is_not_added_again(tmp_path: Path) -> None:
    """An org that was set up before is described with its markers."""
    (tmp_path / "Account.json").write_text(json.dumps(load_describes(marker_fields=True)["Account"]))
    fields = [field["name"] for field in load_describes(tmp_path, marker_fields=True)["Account"]["fields"]]
    assert fields.count(SEQ_FIELD) == fields.count(ID_FIELD) == 1


def test_what_is_no_describe_of_an_object_is_passed_over(tmp_path: Path) -> None:
    """A folder may hold a global describe or other JSON too."""
    shutil.copy(DESCRIBES / "Whizbang.json", tmp_path)
    (tmp_path / "global.json").write_text('{"encoding": "UTF-8", "sobjects": []}')
    (tmp_path / "list.json").write_text("[]")
    assert list(load_describes(tmp_path)) == ["Whizbang"]


def test_two_describes_of_one_object_are_refused(tmp_path: Path) -> None:
    """Which of them the org would have, nobody could tell."""
    for name in ("Whizbang.json", "copy.json"):
        shutil.copy(DESCRIBES / "Whizbang.json", tmp_path / name)
    with pytest.raises(
        SetupError, match=r"Whizbang\.json and copy\.json .* both describe Whizbang; remove one"
    ):
        load_describes(tmp_path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([], "has no field Id"),
        ([{"name": "Name", "type": "string"}], "has no field Id"),
        ([{"name": "Id", "type": "id"}, {"name": "Name"}], "without a name or a type"),
        ([{"name": "Id", "type": "id"}, "Name"], "without a name or a type"),
        ([{"name": "Id", "type": "id"}] * 2, "describes Id twice"),
    ],
)
def test_a_broken_describe_is_refused(fields: list[Any], message: str, tmp_path: Path) -> None:
    """Cut short or edited by hand: no org has such an object (case V10)."""
    (tmp_path / "Lead.json").write_text(json.dumps({"name": "Lead", "fields": fields}))
    with pytest.raises(SetupError, match=rf"Lead\.json .*{message}"):
        load_describes(tmp_path)


def test_a_folder_that_cannot_make_the_org_is_told_with_the_mend(tmp_path: Path) -> None:
    """Nothing there, not this object, not JSON."""
    with pytest.raises(SetupError, match="holds no sObject describe"):
        load_describes(tmp_path)
    with pytest.raises(SetupError, match=r"no describe of Lead in .*; it has Account, Contact, Opportunity"):
        load_describes(PACKAGED, objects=["Account", "Lead"])
    (tmp_path / "Account.json").write_text("{")
    with pytest.raises(SetupError, match=r"Account\.json in the describe folder is not JSON"):
        load_describes(tmp_path)
