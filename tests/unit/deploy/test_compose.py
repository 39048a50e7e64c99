"""deploy/compose.yaml: what an engine would read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

import compose_spec
import pytest
import yaml

from salmon import __version__
from salmon.config.models import SyncConfig
from salmon.kafka.topics import CONNECTORS
from support.programs.compose import FILE, SYNC, argv, of_salmon, services

ROOT: Final = FILE.parents[1]


def test_it_is_of_the_compose_specification() -> None:
    """No unknown key, and nothing is mounted or joined that is not declared."""
    spec = compose_spec.PyCompose.from_json(json.dumps(yaml.safe_load(FILE.read_text())))
    spec.validate()
    assert set(spec.service_names()) >= {*CONNECTORS, "kafka", "registry", "mongodb", "org", "schemas"}
    assert set(spec.service_names()) >= {"prometheus", "alertmanager", "grafana"}


def test_an_unknown_key_would_be_seen() -> None:
    """Otherwise the test above would say nothing."""
    with pytest.raises(ValueError, match="helthcheck"):
        compose_spec.PyCompose.from_json(json.dumps({"services": {"a": {"image": "a", "helthcheck": {}}}}))


def test_every_image_has_a_version_and_ours_is_built_from_the_dockerfile() -> None:
    """What was tried out yesterday is what starts today."""
    for name, service in services().items():
        tag = service["image"].rpartition(":")[2]
        assert re.match(r"v?[0-9]", tag), name
    assert {service["image"] for service in of_salmon().values()} == {f"salmon:{__version__}"}
    build = services()["org"]["build"]
    assert (FILE.parent / build["context"] / build["dockerfile"]).resolve() == ROOT / "deploy" / "Dockerfile"


def test_what_is_mounted_exists() -> None:
    """An engine makes an empty folder of a file that it does not find."""
    for name, service in services().items():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            if source.startswith("."):
                assert (FILE.parent / source).exists(), f"{name}: {source}"


def test_each_process_has_a_port_of_its_own_which_prometheus_status_and_its_health_check_ask() -> None:
    """They share one network; `salmon status` looks at the ports that `run all` would take."""
    config = yaml.safe_load((FILE.parent / "compose" / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    targets = job["static_configs"][0]["targets"]
    assert job["job_name"] == "salmon", "the job that the alerts look for"
    for number, name in enumerate(CONNECTORS):
        service, port = services()[name], 8083 + number
        assert argv(service) == [
            *("salmon", "run", name, "--config", "/etc/salmon/sync.yaml", "--port", str(port))
        ]
        assert service["network_mode"] == "service:org"
        assert f"http://127.0.0.1:{port}/health/live" in service["healthcheck"]["test"][-1]
        assert targets[number] == f"org:{port}"


def test_processes_write_where_they_may_and_no_more() -> None:
    """As in Kubernetes: a root file system that is only read, no rights, and time to end."""
    for name, service in of_salmon().items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "salmon:/var/lib/salmon" in service["volumes"], name
        if name in CONNECTORS:
            assert service["stop_grace_period"] == "45s"
            assert service["depends_on"] == {"schemas": {"condition": "service_completed_successfully"}}


def test_the_configuration_names_the_services(tmp_path: Path) -> None:
    """And is one that Salmon takes."""
    text = SYNC.read_text()
    (tmp_path / "secret").write_text("client_id=a", encoding="ascii")
    config = SyncConfig.model_validate(
        yaml.safe_load(re.sub(r"\$\{file:[^:}]*", f"${{file:{tmp_path / 'secret'}", text))
    )
    found = services()
    assert str(config.kafka_properties()["bootstrap.servers"]).partition(":")[0] in found
    assert found["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"] == "PLAINTEXT://kafka:9092"
    assert "//registry:8080/" in config.schema_registry.url
    assert "//mongodb:27017/?replicaSet=rs0" in str(yaml.safe_load(text)["mongodb"]["uri"])
