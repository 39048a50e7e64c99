"""How tasks are found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from salmon.errors import ConfigError
from salmon.runtime.discovery import sink_factory, source_factory


@pytest.mark.parametrize("find", [source_factory, sink_factory])
def test_the_connectors_are_found_by_entry_point(find: Callable[[str], Any]) -> None:
    """Salmon's own, like anybody's; what is not installed is named, with what is."""
    for side in ("salesforce", "mongodb"):
        assert callable(find(side))
    with pytest.raises(ConfigError, match="found: mongodb, salesforce"):
        find("sap")
