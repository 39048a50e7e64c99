"""JSON that came from elsewhere: a file that somebody gives us, another program's record, a request's body."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any


class NestedTooDeeply(ValueError):
    """The text may be JSON, but so deep that Python does not read it."""


def json_in(
    text: str | bytes,
    *,
    parse_float: Callable[[str], Any] | None = None,
    parse_constant: Callable[[str], Any] | None = None,
    object_pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None,
) -> Any:
    """
    Return what the text says. For the other arguments, see json.loads.

    Raises:
        ValueError: it is not JSON, or nested too deeply. json.loads alone says the latter with a RecursionError, which ends
            whoever does not expect it.
    """
    try:
        return json.loads(
            text,
            parse_float=parse_float,
            parse_constant=parse_constant,
            object_pairs_hook=object_pairs_hook,
        )
    except RecursionError:
        raise NestedTooDeeply("it is nested too deeply") from None
