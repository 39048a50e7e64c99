"""The chart: what it renders is what Kubernetes takes, what the processes need, and no more than they may do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml

from salmon.app.events import specs_of
from salmon.config.models import SyncConfig
from salmon.kafka.topics import CONNECTORS
from salmon.runtime.lifecycle import DRAIN_DEADLINE_S
from salmon.status.scraping import addresses
from support.programs.helm import CHART, DEPLOY, VALUES, Manifest, helm, of_kind, pods, rendered

FILES: Final = sorted(file.stem for file in VALUES.glob("*.yaml"))
KUBERNETES: Final = "1.30"
# Kinds of operators, of which Kubernetes has no schema.
FOREIGN: Final = {"PodMonitor", "PrometheusRule", "ScaledObject", "KafkaUser", "KafkaTopic"}
SRV_PORT: Final = 27017


def sync_of(manifests: list[Manifest]) -> dict[str, Any]:
    """The sync.yaml that the pods get."""
    found: dict[str, Any] = yaml.safe_load(
        of_kind(manifests, "ConfigMap")["crm-salmon-config"]["data"]["sync.yaml"]
    )
    return found


def resolved(text: str, files: Path) -> str:
    """*text* with something for each secret."""
    (files / "secret").write_text("secret", encoding="ascii")
    with_files = re.sub(r"\$\{file:[^}]*\}", f"${{file:{files / 'secret'}}}", text)
    return re.sub(r"\$\{env:([A-Z_]+)(:[^}]*)?\}", _value, with_files)


def _value(found: re.Match[str]) -> str:
    given = {"MONGODB_URI": "mongodb://mongodb:27017", "KAFKA_BOOTSTRAP_SERVERS": "kafka:9092"}
    return given.get(found[1], (found[2] or ":given")[1:])


@pytest.mark.parametrize("file", FILES)
def test_helm_has_nothing_to_say_of_the_chart(file: str) -> None:
    """Warnings count as errors."""
    linted = helm("lint", "--strict", str(CHART), "-f", str(VALUES / f"{file}.yaml"))
    assert linted.returncode == 0, linted.stdout


@pytest.mark.parametrize("file", FILES)
def test_kubernetes_takes_what_is_rendered(file: str) -> None:
    """Its own schemas, where no unknown key is allowed; and no secret is among it."""
    manifests = rendered(file)
    for each in manifests:
        assert each["metadata"]["namespace"] == "sync", each["metadata"]["name"]
        if each["kind"] not in FOREIGN:
            kubernetes_validate.validate(each, KUBERNETES, strict=True)
    assert len(manifests) > len(CONNECTORS)
    assert "Secret" not in {each["kind"] for each in manifests}
    names = [(each["kind"], each["metadata"]["name"]) for each in manifests]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("file", FILES)
def test_the_configuration_in_the_pods_is_one_that_salmon_takes(file: str, tmp_path: Path) -> None:
    """The processes listen for probes, say by which name they are reached, and merge keeps its copies on its volume."""
    text = of_kind(rendered(file), "ConfigMap")["crm-salmon-config"]["data"]["sync.yaml"]
    sync = yaml.safe_load(text)
    api = sync.pop("api", None)  # of `salmon run api`
    config = SyncConfig.model_validate(yaml.safe_load(resolved(yaml.safe_dump(sync), tmp_path)))
    assert (config.rest.host, config.rest.port) == ("0.0.0.0", 8083)
    assert sync["rest"]["advertised_host"].startswith("${env:SALMON_ADVERTISED_HOST:")
    assert config.merge.state_dir == "/var/lib/salmon"
    served = {"host": "0.0.0.0", "port": 8090, "keys_collection": "api_keys"}
    assert api == (served if file == "everything" else None)


def test_each_connector_is_a_workload_of_its_own_with_a_name_for_each_pod() -> None:
    """Its number is its identity: it continues its own work after a restart."""
    found = of_kind(rendered(), "StatefulSet")
    services = of_kind(rendered(), "Service")
    assert set(found) == {f"crm-salmon-{name}" for name in CONNECTORS}
    for name in CONNECTORS:
        spec = found[f"crm-salmon-{name}"]["spec"]
        (container,) = spec["template"]["spec"]["containers"]
        assert container["args"][:4] == ["run", name, "--config", "/etc/salmon/sync.yaml"]
        assert spec["serviceName"] in services
        assert services[spec["serviceName"]]["spec"]["clusterIP"] == "None"
        claims = [claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])]
        assert claims == (["cache"] if name == "merge" else [])


def test_salmon_status_in_a_pod_finds_every_process(tmp_path: Path) -> None:
    """By what is beside sync.yaml in the ConfigMap."""
    manifests = rendered()
    data = of_kind(manifests, "ConfigMap")["crm-salmon-config"]["data"]
    for name, text in data.items():
        (tmp_path / name).write_text(text)
    found = addresses(config_file=tmp_path / "sync.yaml", ports_file=None, host="localhost", port=1)
    services = of_kind(manifests, "Service")
    assert set(found) == set(CONNECTORS)
    for name, url in found.items():
        where = urlsplit(url)
        service, namespace, _ = str(where.hostname).split(".")
        assert namespace == services[service]["metadata"]["namespace"]
        assert services[service]["spec"]["selector"]["app.kubernetes.io/component"] == name
        assert services[service]["spec"]["ports"][0]["port"] == where.port


def test_a_connector_that_is_off_leaves_nothing_behind() -> None:
    """One that runs elsewhere, say."""
    manifests = rendered(values={"connectors": {"mongodb-sink": {"enabled": False}}})
    assert [each for each in manifests if "mongodb-sink" in each["metadata"]["name"]] == []
    assert len(of_kind(manifests, "StatefulSet")) == len(CONNECTORS) - 1


@pytest.mark.parametrize("file", FILES)
def test_pods_are_of_the_restricted_standard_and_have_no_token(file: str) -> None:
    """Pod Security Standards, "Restricted"; and a root file system that is only read."""
    found = list(pods(rendered(file)))
    assert {name for name, _ in found} >= {*CONNECTORS, "schemas"}
    for name, spec in found:
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] > 0, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), name
        assert not any("hostPath" in volume for volume in spec["volumes"]), name
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert {"requests", "limits"} <= container["resources"].keys(), name
            mounts = {mount["name"] for mount in container["volumeMounts"]}
            claims = {"cache"} if name == "merge" else set()
            assert mounts <= {volume["name"] for volume in spec["volumes"]} | claims, name


def test_probes_ask_what_the_processes_answer() -> None:
    """Liveness and startup ask whether a restart would help, readiness whether the process works; all by HTTPS with TLS."""
    tls = {"certificate_file": "/run/tls/tls.crt", "key_file": "/run/tls/tls.key"}
    for values, scheme in (({}, "HTTP"), ({"sync": {"rest": {"tls": tls}}}, "HTTPS")):
        for name, spec in pods(rendered(values=values)):
            (container,) = spec["containers"]
            asked = {probe: container.get(f"{probe}Probe", {}).get("httpGet") for probe in PROBES}
            if name in CONNECTORS:
                assert asked == {
                    probe: {"path": path, "port": "http", "scheme": scheme} for probe, path in PROBES.items()
                }


PROBES: Final = {"startup": "/health/live", "liveness": "/health/live", "readiness": "/health/ready"}


def test_a_pod_may_take_longer_to_end_than_its_process_does() -> None:
    """Otherwise it would be killed while it ends its work."""
    for name, spec in pods(rendered()):
        if name in CONNECTORS:
            assert spec["terminationGracePeriodSeconds"] > DRAIN_DEADLINE_S + 5


def test_a_changed_configuration_rolls_the_pods_and_nothing_else_does() -> None:
    """By the checksum in the pods' annotations."""
    as_before = _checksums(rendered())
    assert len(set(as_before.values())) == 1
    assert _checksums(rendered(values={"podDisruptionBudget": {"enabled": False}})) == as_before
    changed = _checksums(rendered(values={"sync": {"objects": {"Account": {"collection": "other"}}}}))
    assert all(changed[name] != as_before[name] for name in as_before)


def _checksums(manifests: list[Manifest]) -> dict[str, str]:
    found = of_kind(manifests, "StatefulSet")
    return {
        name: each["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
        for name, each in found.items()
    }


@pytest.mark.parametrize("file", FILES)
def test_the_policy_lets_processes_reach_every_server_of_the_configuration(file: str) -> None:
    """A port that is missing would look like an outage."""
    manifests = rendered(file)
    (policy,) = of_kind(manifests, "NetworkPolicy").values()
    (rule,) = policy["spec"]["egress"]
    allowed = {port["port"] for port in rule["ports"] if port["protocol"] == "TCP"}
    assert set(_ports(sync_of(manifests))) <= allowed
    assert {53, 443, 7443} <= allowed


def _ports(sync: Mapping[str, Any]) -> Iterator[int]:
    for server in sync["kafka"]["bootstrap.servers"].split(","):
        if not server.startswith("$"):
            yield int(server.rpartition(":")[2])
    for url in re.findall(r"https?://[^,}]+", sync["schema_registry"]["url"]):
        yield urlsplit(url).port or 443
    yield SRV_PORT


def test_jobs_run_before_the_processes_with_what_they_need() -> None:
    """The org is set up, then the schemas are registered; with accounts that the processes do not have."""
    manifests = rendered("everything")
    jobs = of_kind(manifests, "Job")
    order = {name: int(job["metadata"]["annotations"]["helm.sh/hook-weight"]) for name, job in jobs.items()}
    config = of_kind(manifests, "ConfigMap")["crm-salmon-jobs"]
    before = int(config["metadata"]["annotations"]["helm.sh/hook-weight"])
    assert before < order["crm-salmon-setup"] < order["crm-salmon-schemas"]
    assert yaml.safe_load(config["data"]["sync.yaml"]) == sync_of(manifests)
    words = {name: job["spec"]["template"]["spec"]["containers"][0]["args"] for name, job in jobs.items()}
    assert words["crm-salmon-schemas"] == ["schemas", "register", "--config", "/etc/salmon/sync.yaml"]
    assert words["crm-salmon-setup"][0] == "setup"
    assert words["crm-salmon-setup"][-2:] == ["--admin-token-file", "/run/salmon/admin/token"]
    specs = dict(pods(manifests))
    writer = {"secretRef": {"name": "salmon-registry-writer"}}
    for name, spec in specs.items():
        (container,) = spec["containers"]
        assert (writer in container["envFrom"]) == (name == "schemas"), name
        admin = [volume for volume in spec["volumes"] if volume["name"] == "admin"]
        assert bool(admin) == (name == "setup"), name
        assert not {"ServiceAccount", "serviceAccountName"} & spec.keys() or name in (*CONNECTORS, "api")


def test_the_alerts_and_dashboards_are_those_of_the_folders() -> None:
    """The chart has no copy of them."""
    manifests = rendered("everything")
    rules = [each["spec"] for each in of_kind(manifests, "PrometheusRule").values()]
    kept = [
        yaml.safe_load(file.read_text())
        for file in sorted((DEPLOY / "prometheus").glob("*.yml"))
        if file.name != "prometheus.yml"
    ]
    assert len(rules) == len(kept) > 0
    assert all(each in kept for each in rules)
    (monitor,) = of_kind(manifests, "PodMonitor").values()
    labels = of_kind(manifests, "StatefulSet")["crm-salmon-merge"]["spec"]["template"]["metadata"]["labels"]
    assert labels[monitor["spec"]["jobLabel"]] == "salmon", "the job that the alerts look for"
    assert monitor["spec"]["podMetricsEndpoints"][0]["path"] == "/metrics"
    shown = {
        name: text
        for each in of_kind(manifests, "ConfigMap").values()
        if "grafana_dashboard" in each["metadata"]["labels"]
        for name, text in each["data"].items()
    }
    assert shown == {file.name: file.read_text() for file in (DEPLOY / "grafana").rglob("*.json")}


def test_autoscaling_counts_the_lag_of_the_groups_and_leaves_the_number_to_keda() -> None:
    """Of merge and the sinks; of a source, one leads."""
    manifests = rendered("everything")
    scaled = of_kind(manifests, "ScaledObject")
    groups = {each["spec"]["triggers"][0]["metadata"]["consumerGroup"] for each in scaled.values()}
    assert groups == {"crm-merge", "crm-mongodb-sink", "crm-salesforce-sink"}
    for name, each in of_kind(manifests, "StatefulSet").items():
        assert ("replicas" in each["spec"]) == (name not in scaled), name
        if name in scaled:
            assert scaled[name]["spec"]["scaleTargetRef"] == {
                "apiVersion": "apps/v1",
                "kind": "StatefulSet",
                "name": name,
            }


def test_the_topics_of_strimzi_are_those_that_salmon_would_make(tmp_path: Path) -> None:
    """The same names, partitions, replicas and settings; and the user may do what the processes do."""
    manifests = rendered("strimzi")
    config = SyncConfig.model_validate(yaml.safe_load(resolved(yaml.safe_dump(sync_of(manifests)), tmp_path)))
    made = {
        each["spec"]["topicName"]: (
            each["spec"]["partitions"],
            each["spec"]["replicas"],
            each["spec"]["config"],
        )
        for each in of_kind(manifests, "KafkaTopic").values()
    }
    wanted = {
        spec.name: (spec.partitions, spec.replication_factor, dict(spec.settings))
        for spec in specs_of(config)
    }
    assert made == wanted
    (user,) = of_kind(manifests, "KafkaUser").values()
    rights = {
        (each["resource"]["type"], each["resource"]["name"]): set(each["operations"])
        for each in user["spec"]["authorization"]["acls"]
    }
    assert rights == {
        ("topic", "crm."): {"Create", "Describe", "DescribeConfigs", "Read", "Write"},
        ("group", "crm."): {"Describe"},
        ("group", "crm-"): {"Describe", "Read"},
        ("transactionalId", "crm-"): {"Describe", "Write"},
    }, "with names that are the sync's own"
    assert sync_of(manifests)["kafka"]["sasl.username"] == user["metadata"]["name"]


def test_the_api_is_off_until_it_is_asked_for_and_then_reached_by_its_ingress() -> None:
    """It has no state, so it is a Deployment."""
    assert of_kind(rendered(), "Deployment") == {}
    manifests = rendered("everything")
    (deployment,) = of_kind(manifests, "Deployment").values()
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["args"][:2] == ["run", "api"]
    assert container["ports"] == [{"name": "http", "containerPort": 8090, "protocol": "TCP"}]
    (ingress,) = of_kind(manifests, "Ingress").values()
    (rule,) = ingress["spec"]["rules"]
    service = of_kind(manifests, "Service")[rule["http"]["paths"][0]["backend"]["service"]["name"]]
    assert service["spec"]["selector"].items() <= deployment["spec"]["template"]["metadata"]["labels"].items()


def test_a_release_may_bring_its_own_config_map() -> None:
    """Then the chart makes none, and there is nothing to take a checksum of."""
    manifests = rendered(values={"existingConfigMap": "mine", "sync": None})
    assert of_kind(manifests, "ConfigMap") == {}
    for name, spec in pods(manifests):
        assert {"name": "config", "configMap": {"name": "mine"}} in spec["volumes"], name


REFUSED: Final[Mapping[str, tuple[dict[str, Any], str]]] = {
    "a misspelt key": ({"conectors": {}}, "conectors"),
    "no sync": ({"sync": None}, "sync is empty. Give the configuration of your sync there"),
    "half a sync": ({"sync": {"objects": None, "name": "crm"}}, "objects"),
    "a grace that is too short": ({"terminationGracePeriodSeconds": 10}, "minimum"),
    "a digest that is none": ({"image": {"digest": "latest"}}, "/image/digest"),
    "too many replicas": ({"connectors": {"merge": {"replicas": -1}}}, "/connectors/merge/replicas"),
    "a size that is none": (
        {"connectors": {"merge": {"cache": {"size": "ten"}}}},
        "/connectors/merge/cache/size",
    ),
    "an ingress without a host": ({"api": {"ingress": {"enabled": True}}}, "/api/ingress/host"),
    "an api without keys": (
        {"api": {"enabled": True}},
        "sync.api has neither keys, keys_collection nor oidc",
    ),
    "strimzi without a cluster": ({"strimzi": {"enabled": True}}, "/strimzi/cluster"),
    "a secret that is no name": ({"secrets": {"env": ["Salmon_Env"]}}, "/secrets/env/0"),
    "topics of events": (
        {"sync": {"events": {"A__e": {}}}, "strimzi": {"enabled": True, "cluster": "a", "topics": True}},
        "strimzi.topics: KafkaTopics of platform events",
    ),
}


@pytest.mark.parametrize("what", sorted(REFUSED))
def test_values_that_cannot_be_meant_are_refused_with_their_key(what: str) -> None:
    """Before anything is installed."""
    values, named = REFUSED[what]
    said = helm("template", "crm", str(CHART), "-f", str(VALUES / "plain.yaml"), values=values)
    assert said.returncode != 0
    complaint = said.stderr.replace("'", "").replace(".", "/") if named.startswith("/") else said.stderr
    assert named in complaint, said.stderr


def test_every_value_is_explained_and_every_default_allowed() -> None:
    """The schema knows each key of values.yaml, and says what it means."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert list(_unexplained(schema, "")) == []
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(defaults) == schema["properties"].keys() - {"global"}


def _unexplained(schema: Mapping[str, Any], path: str) -> Iterator[str]:
    for name, each in schema.get("properties", {}).items():
        if not each.get("description"):
            yield f"{path}{name}"
        yield from _unexplained(each, f"{path}{name}.")


def test_what_is_made_of_the_chart_is_what_it_says_now() -> None:
    """The README's table, and the manifests for those without Helm."""
    helm("version")  # skips where there is none
    import generate

    mend = "Run `python deploy/helm/generate.py`."
    readme = generate.README.read_text(encoding="utf-8")
    assert readme.partition(generate.BEGIN)[2].partition(generate.END)[0] == generate.table(), mend
    kept = {file.name: file.read_text(encoding="utf-8") for file in generate.MANIFESTS.glob("*.yaml")}
    assert kept == generate.manifests(), mend
    for text in kept.values():
        for each in yaml.safe_load_all(text):
            kubernetes_validate.validate(each, KUBERNETES, strict=True)


def test_merge_may_take_the_memory_that_sizing_has_measured() -> None:
    """At the peak, while it reads its state again."""
    peak = re.search(r"([0-9]+) MiB at most", (DEPLOY / "sizing.md").read_text())
    assert peak is not None
    resources = yaml.safe_load((CHART / "values.yaml").read_text())["connectors"]["merge"]["resources"]
    assert int(resources["requests"]["memory"].removesuffix("Mi")) > int(peak[1])
