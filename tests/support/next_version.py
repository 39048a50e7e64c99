"""
A version of Salmon that does not exist yet: the fixed schemas have one more field, and the next format.

    python -P tests/support/next_version.py run merge -c sync.yaml
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from salmon.kafka.codecs import schemas
from salmon.kafka.codecs.avro import format_of

# -P: the folder of this file is no place to import from.
PROGRAM: Final = ("-P", str(Path(__file__).resolve()))
_ADDED: Final = {
    "name": "tomorrow",
    "type": ["null", "string"],
    "default": None,
    "doc": "What this version does not know.",
}
_ours = schemas.fixed


def _fixed(name: str) -> dict[str, Any]:
    schema = _ours(name)
    # The first field: the last one of an envelope is its row.
    return {**schema, "format": format_of(schema) + 1, "fields": [_ADDED, *schema["fields"]]}


@contextmanager
def next_version() -> Iterator[None]:
    """Who makes a codec within the block is of that version."""
    schemas.fixed = _fixed
    try:
        yield
    finally:
        schemas.fixed = _ours


if __name__ == "__main__":
    from salmon.cli.main import main

    with next_version():
        main()
