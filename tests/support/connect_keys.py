"""All config keys of Kafka Connect, each with its section in deploy/from-kafka-connect.md."""

from __future__ import annotations

from configparser import ConfigParser
from pathlib import Path


def keys_of_connect() -> list[tuple[str, str]]:
    """Section and key, as the file beside this one has them; it says where they come from."""
    found = ConfigParser(allow_no_value=True, delimiters=("=",))
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read(Path(__file__).with_suffix(".ini"), encoding="utf-8")
    return [(section, key) for section in found.sections() for key in found[section]]
