"""
The quickest way to encode and decode Avro bodies that there is here: compiled.py where it was compiled, else bodies.py.

Both do the same. `SALMON_CODEC=python` chooses the second in any case: to compare them, or if the first is suspected of a fault.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final

from salmon.kafka.codecs import bodies as python

Make = Callable[[Mapping[str, Any]], python.Bodies | None]


def _compiled() -> Make | None:
    try:
        from salmon.kafka.codecs import compiled
    except ImportError:  # there was no compiler
        return None
    return compiled.bodies


compiled_bodies: Final = _compiled()
_chosen: Final = None if os.environ.get("SALMON_CODEC") == "python" else compiled_bodies
IS_COMPILED: Final = _chosen is not None
bodies: Final[Make] = _chosen or python.bodies
