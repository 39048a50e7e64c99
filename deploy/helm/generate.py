"""
Writes what is made of the chart: the table in its README, and deploy/kubernetes, for those without Helm.

    python deploy/helm/generate.py

Needs Helm (`make tools`). A test holds both against the chart.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

DEPLOY: Final = Path(__file__).resolve().parents[1]
CHART: Final = DEPLOY / "helm" / "salmon"
README: Final = CHART / "README.md"
VALUES: Final = DEPLOY / "helm" / "values" / "plain.yaml"
MANIFESTS: Final = DEPLOY / "kubernetes"
HELM: Final = Path(sys.executable).parent / "helm"
BEGIN: Final = "<!-- values: printed from values.schema.json by deploy/helm/generate.py -->\n"
END: Final = "<!-- /values -->"
RELEASE: Final = "crm"
NAMESPACE: Final = "sync"
HEADS: Final = {
    "base": "What all processes share. The configuration of the sync is in the ConfigMap.",
    "jobs": "Registers the schemas. Apply it before the processes, with each new version of Salmon, and wait until it has ended.",
}


def table() -> str:
    """Every value, with its default and what it means."""
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    defaults = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    lines = ["| Value | Default | Meaning |", "|---|---|---|"]
    lines += [
        f"| `{path}` | {_shown(default)} | {text} |" for path, default, text in _rows(schema, defaults, "")
    ]
    return "\n".join(lines) + "\n"


def _rows(schema: Mapping[str, Any], defaults: Any, path: str) -> Iterator[tuple[str, Any, str]]:
    for name, found in schema["properties"].items():
        where = f"{path}{name}"
        default = defaults.get(name) if isinstance(defaults, dict) else None
        if where == "global":
            continue
        if found.get("additionalProperties") is False and name != "resources":
            yield where, None, found["description"]
            yield from _rows(found, default, f"{where}.")
        else:
            yield where, default, found["description"]


def _shown(default: Any) -> str:
    return "" if default is None or default in ("", {}, []) else f"`{json.dumps(default)}`"


def manifests() -> dict[str, str]:
    """File name -> its text, of what the chart renders for values/plain.yaml, without what only Helm reads."""
    command = [str(HELM), "template", RELEASE, str(CHART), "-n", NAMESPACE, "-f", str(VALUES)]
    rendered = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    files: dict[str, list[Any]] = {}
    for each in yaml.safe_load_all(rendered):
        if each is None or each["metadata"]["name"].endswith("-jobs"):
            continue  # a copy of the ConfigMap, for Helm's hooks
        of = each["metadata"]["labels"].get("app.kubernetes.io/component", "base")
        files.setdefault("jobs" if each["kind"] == "Job" else of, []).append(_plain(each))
    return {
        f"{name}.yaml": _head(name) + yaml.safe_dump_all(found, sort_keys=False, width=120)
        for name, found in sorted(files.items())
    }


def _head(name: str) -> str:
    said = HEADS.get(name, f"The process {name}.")
    return f"# {said}\n# Rendered from deploy/helm/salmon by deploy/helm/generate.py: change that, or a copy of this.\n---\n"


def _plain(each: Any) -> Any:
    if isinstance(each, dict):
        kept = {
            name: _plain(value)
            for name, value in each.items()
            if not name.startswith("helm.sh/") and name != "app.kubernetes.io/managed-by"
        }
        return {name: value for name, value in kept.items() if not (name == "annotations" and not value)}
    if isinstance(each, list):
        return [_plain(value) for value in each]
    return f"{RELEASE}-salmon-config" if each == f"{RELEASE}-salmon-jobs" else each


def main() -> None:
    text = README.read_text(encoding="utf-8")
    README.write_text(text.partition(BEGIN)[0] + BEGIN + table() + END + text.partition(END)[2], "utf-8")
    MANIFESTS.mkdir(exist_ok=True)
    made = manifests()
    for old in MANIFESTS.glob("*.yaml"):
        if old.name not in made:
            old.unlink()
    for name, content in made.items():
        (MANIFESTS / name).write_text(content, "utf-8")


if __name__ == "__main__":
    main()
