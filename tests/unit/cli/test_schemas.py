"""`salmon schemas generate`: the files that are checked in are what it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from salmon.cli.schemas import written
from salmon.errors import ConfigError, SetupError
from salmon.simulator.org.objects.describes import PACKAGED

CHECKED_IN = Path(__file__).parents[3] / "schemas-avro" / "objects"
MEND = "Run `salmon schemas generate --describe connectors/salmon/simulator/describes --out schemas-avro/objects`."


def test_the_schemas_of_the_demo_objects_are_checked_in_as_generated(tmp_path: Path) -> None:
    """Whoever reads them in the repository reads what the registry will get."""
    generated = {path.name: path.read_text("utf-8") for path in written(PACKAGED, tmp_path / "made")}
    kept = {path.name: path.read_text("utf-8") for path in CHECKED_IN.glob("*.avsc")}
    assert generated == kept, MEND
    assert set(kept) == {"Account.avsc", "Contact.avsc", "Opportunity.avsc"}


def test_every_field_of_a_checked_in_schema_has_a_doc() -> None:
    """The schema is the one description of a record that its readers have."""
    for path in CHECKED_IN.glob("*.avsc"):
        fields = json.loads(path.read_text("utf-8"))["fields"]
        assert all(field["doc"] and field["default"] is None for field in fields), path.name


def test_a_folder_without_describes_and_a_file_that_is_none_are_refused(tmp_path: Path) -> None:
    """Each with the mend."""
    with pytest.raises(SetupError, match=r"no \*.json files"):
        written(tmp_path, tmp_path)
    (tmp_path / "Account.json").write_text('{"name": "Account"}', encoding="utf-8")
    with pytest.raises(ConfigError, match="is not an object"):
        written(tmp_path, tmp_path)
