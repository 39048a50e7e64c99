"""Reads a connector's manifest in deploy/kubernetes: what a kubelet has to know of its pods."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

MANIFESTS: Final = Path(__file__).parents[3] / "deploy" / "kubernetes"
_REFERENCE: Final = re.compile(r"\$\(([A-Z_]+)\)")  # to a variable that stands above it


@dataclass(frozen=True, slots=True)
class Probe:
    """An HTTP probe. It has failed after so many *failures* in a row."""

    path: str
    period_s: float
    timeout_s: float
    failures: int

    @classmethod
    def of(cls, said: Mapping[str, Any], factor: float) -> Probe:
        """*factor*: by which a test's time is shorter. An answer may take as long as in a cluster."""
        return cls(
            said["httpGet"]["path"],
            said["periodSeconds"] * factor,
            said["timeoutSeconds"],
            said["failureThreshold"],
        )


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder of the container. One of these says what is in it, or it is empty."""

    path: str
    config_map: str | None = None
    secret: str | None = None
    claim: str | None = None  # a volume that outlives the pod
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class PodSpec:
    """What a StatefulSet says of its pods."""

    component: str
    set_name: str
    namespace: str
    replicas: int
    args: tuple[str, ...]
    env: tuple[Mapping[str, Any], ...]
    env_from: tuple[str, ...]  # Secrets
    port: int
    startup: Probe
    liveness: Probe
    readiness: Probe
    grace_s: float
    memory_mib: int  # that it asks for
    mounts: tuple[Mount, ...]

    def environment(self, pod_name: str, secrets: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
        """The variables of a container."""
        fields = {"metadata.name": pod_name, "metadata.namespace": self.namespace}
        found = {name: text for secret in self.env_from for name, text in secrets[secret].items()}
        for each in self.env:
            text = each["value"] if "value" in each else fields[each["valueFrom"]["fieldRef"]["fieldPath"]]
            found[each["name"]] = _REFERENCE.sub(lambda match: found[match[1]], text)
        return found


def pod_spec(component: str, *, factor: float = 1.0) -> PodSpec:
    """
    What deploy/kubernetes says of a connector.

    Args:
        factor: By which probes come more often than in a cluster.
    """
    (found,) = (each for each in _manifests(component) if each["kind"] == "StatefulSet")
    template = found["spec"]["template"]["spec"]
    (container,) = template["containers"]
    (port,) = (each["containerPort"] for each in container["ports"] if each["name"] == "http")
    claims = [each["metadata"]["name"] for each in found["spec"].get("volumeClaimTemplates", ())]
    volumes = {each["name"]: each for each in template["volumes"]}
    return PodSpec(
        component=component,
        set_name=found["metadata"]["name"],
        namespace=found["metadata"]["namespace"],
        replicas=found["spec"]["replicas"],
        args=tuple(container["args"]),
        env=tuple(container["env"]),
        env_from=tuple(each["secretRef"]["name"] for each in container["envFrom"]),
        port=port,
        startup=Probe.of(container["startupProbe"], factor),
        liveness=Probe.of(container["livenessProbe"], factor),
        readiness=Probe.of(container["readinessProbe"], factor),
        grace_s=template["terminationGracePeriodSeconds"],
        memory_mib=int(container["resources"]["requests"]["memory"].removesuffix("Mi")),
        mounts=tuple(
            _mount(each["mountPath"], each["name"], volumes, claims) for each in container["volumeMounts"]
        ),
    )


def config_map(name: str) -> dict[str, str]:
    """The files of a ConfigMap of deploy/kubernetes."""
    (found,) = (
        each["data"]
        for each in _manifests("base")
        if each["kind"] == "ConfigMap" and each["metadata"]["name"] == name
    )
    files: dict[str, str] = found
    return files


def _manifests(file: str) -> Iterator[dict[str, Any]]:
    yield from filter(None, yaml.safe_load_all((MANIFESTS / f"{file}.yaml").read_text(encoding="utf-8")))


def _mount(path: str, name: str, volumes: Mapping[str, Any], claims: list[str]) -> Mount:
    if name in claims:
        return Mount(path, claim=name)
    match volumes[name]:
        case {"configMap": {"name": str(held)}}:
            return Mount(path, config_map=held)
        case {"secret": {"secretName": str(held), "defaultMode": int(mode)}}:
            return Mount(path, secret=held, mode=mode)
        case {"emptyDir": _}:
            return Mount(path)
        case unknown:
            raise AssertionError(f"{name}: the tests' kubelet knows no volume of {sorted(unknown)}")
