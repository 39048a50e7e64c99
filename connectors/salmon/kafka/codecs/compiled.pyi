from collections.abc import Mapping
from typing import Any

from salmon.kafka.codecs.bodies import Bodies

def bodies(schema: Mapping[str, Any]) -> Bodies | None: ...
