"""The README says what the code says."""

from __future__ import annotations

from pathlib import Path

from salmon.config.models import settings_table

README = Path(__file__).parents[2] / "README.md"


def test_the_settings_are_printed_from_the_models() -> None:
    """Whoever changes a setting prints the table again."""
    text = README.read_text(encoding="utf-8")
    table = text.partition("settings_table -->\n")[2].partition("<!-- /settings -->")[0]
    assert table == settings_table()
