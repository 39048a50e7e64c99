"""Prints what is installed beside the Python that runs this, as CycloneDX 1.6 (JSON): what the image contains, for scanners."""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import Distribution, distributions
from typing import Any


def sbom(installed: list[Distribution]) -> dict[str, Any]:
    """Equal for equal packages: it has neither the time nor a serial number."""
    known = {_name(each): each for each in installed}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": _component("application", known.pop("salmon-connect"))},
        "components": [_component("library", each) for _, each in sorted(known.items())],
    }


def _component(kind: str, package: Distribution) -> dict[str, Any]:
    name, version = _name(package), package.version
    purl = f"pkg:pypi/{name}@{version}"
    found = {"type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl}
    expression = package.metadata.get("License-Expression")
    return found | ({"licenses": [{"expression": expression}]} if expression else {})


def _name(package: Distribution) -> str:
    return re.sub(r"[-_.]+", "-", package.metadata["Name"]).lower()


if __name__ == "__main__":
    json.dump(sbom(list(distributions())), sys.stdout, indent=2)
    sys.stdout.write("\n")
