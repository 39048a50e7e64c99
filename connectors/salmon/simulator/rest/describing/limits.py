"""
The limits resource and its record counts ("List Org Limits" and "Get Record Count", REST API Developer Guide).

What the box counts, it shows as it is; the rest is as in the guide's example.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from salmon.simulator.org.usage import API_REQUESTS
from salmon.simulator.rest.web import Answer, Call

_LIMITS: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "limits.json").read_text("utf-8"))


def limits(call: Call) -> Answer:
    """GET /limits"""
    usage = call.org.usage
    counted = {name: {"Max": most, "Remaining": usage.left(name)} for name, most in usage.allowances.items()}
    if call.org.faults.active("exhaust_api") is not None:
        counted[API_REQUESTS]["Remaining"] = 0
    return Answer(200, {**_LIMITS, **counted})


def record_count(call: Call) -> Answer:
    """GET /limits/recordCount?sObjects=A,B: objects without records are left out"""
    asked = call.params.get("sObjects")
    names = [name.strip() for name in asked.split(",")] if asked else list(call.org.objects)
    counts = [(name, len(call.org.tables[name].live)) for name in names if name in call.org.tables]
    return Answer(200, {"sObjects": [{"count": count, "name": name} for name, count in counts if count]})
