"""The tests' own kubelet does with a pod what Kubernetes would do: else the rehearsal of a crash day shows nothing."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from support.kubelet.cluster import Sets
from support.kubelet.manifests import Probe, config_map, pod_spec
from support.kubelet.pods import Pod, Surroundings
from support.waiting import until

pytestmark = pytest.mark.xdist_group("kubelet")  # all pods listen on one address

# A container that answers as its arguments say; it is asked over the pod's own address. `deaf`: SIGTERM does not end it.
PROGRAM: Final = """
import http.server, os, signal, sys
if "deaf" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
if "ends" in sys.argv:
    sys.exit(3)
class Probed(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with open("asked", "a") as asked:
            asked.write(self.path + "\\n")
        self.send_response(503 if self.path.rpartition("/")[2] in sys.argv else 200)
        self.end_headers()
    def log_message(self, *_):
        pass
open("begun", "w").write(repr(sys.argv))
http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Probed).serve_forever()
"""
ADDRESS: Final = "127.77.18.1"
SECRETS: Final = {
    "salmon-env": {"MONGODB_URI": "mongodb://m"},
    "salmon-salesforce": {"private.key": "a key"},
}
FAST: Final[Mapping[str, Any]] = {
    "startup": Probe("/health/live", 0.05, 2, 200),
    "liveness": Probe("/health/live", 0.05, 1, 3),
    "readiness": Probe("/health/ready", 0.05, 1, 3),
}

StartPod = Callable[..., Pod]


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[StartPod]:
    """Starts a pod of merge whose container is PROGRAM; *words* are its further arguments."""
    started: list[Pod] = []

    def start(*words: str, grace_s: float = 20, **probes: Any) -> Pod:
        spec = pod_spec("merge")
        config_maps = {"crm-salmon-config": config_map("crm-salmon-config")}
        program = (sys.executable, "-c", PROGRAM, ADDRESS, str(spec.port), *words)
        around = Surroundings(tmp_path, program, config_maps, SECRETS, factor=0.01)
        started.append(
            Pod(replace(spec, grace_s=grace_s, **{**FAST, **probes}), 1, "a", ADDRESS, around, "7")
        )
        started[0].start()
        return started[0]

    yield start
    for each in started:
        each.lose()


def root(pod: Pod) -> Path:
    return pod.around.folder / "pods" / "crm-salmon-merge-1.7"


def test_what_a_manifest_says_of_a_pod_is_what_counts() -> None:
    """Times, probes and replicas are read from deploy/kubernetes, and only the probes' periods are scaled."""
    spec = pod_spec("merge", factor=0.5)
    assert (spec.replicas, spec.grace_s, spec.port, spec.memory_mib) == (2, 45, 8083, 512)
    assert spec.startup == Probe("/health/live", 1, 2, 60)
    assert spec.liveness == Probe("/health/live", 5, 5, 6)
    assert spec.readiness == Probe("/health/ready", 2.5, 5, 3)
    assert spec.args[:2] == ("run", "merge")


def test_a_pod_has_its_own_environment_and_files(pod: StartPod) -> None:
    """The variables of the manifest and its Secret; the ConfigMap, with the paths of the pod; a volume that outlives it."""
    running = pod()
    until(lambda: running.is_ready, "it is ready")
    environment = Path(f"/proc/{running.pid}/environ").read_text().split("\0")
    assert {"MONGODB_URI=mongodb://m", "POD_NAME=crm-salmon-merge-1", "SALMON_ORDINAL=1"} <= set(environment)
    assert not [each for each in environment if each.startswith("HOME=")], "nothing of the test's own"
    assert (
        (root(running) / "begun")
        .read_text()
        .endswith(f"'{root(running)}/etc/salmon/sync.yaml', '--log-format', 'json']")
    )
    sync = (root(running) / "etc/salmon/sync.yaml").read_text()
    assert f"state_dir: {root(running)}/var/lib/salmon" in sync
    assert f"${{file:{root(running)}/run/secrets/salesforce/private.key}}" in sync
    assert f"host: {ADDRESS}\n" in sync
    assert (root(running) / "run/secrets/salesforce/private.key").stat().st_mode & 0o777 == 0o440
    (root(running) / "var/lib/salmon/copy").touch()
    running.delete()
    running.join()
    assert (running.around.volume("cache", running.name) / "copy").exists()


def test_a_deleted_pod_ends_by_sigterm(pod: StartPod) -> None:
    """Within its grace period, with its own exit code; it is not started again."""
    running = pod()
    until(lambda: running.is_ready, "it is ready")
    running.delete()
    assert (running.join(), running.ended, running.is_ready) == (7, [], False)


def test_a_pod_that_does_not_end_in_its_grace_period_is_killed(pod: StartPod) -> None:
    """SIGKILL, as Kubernetes does."""
    running = pod("deaf", grace_s=0.3)
    until(lambda: running.is_ready, "it is ready")
    running.delete()
    assert running.join() == -signal.SIGKILL


def test_a_container_that_ends_is_started_again_later_and_later(pod: StartPod) -> None:
    """Whatever its exit code is (restartPolicy: Always), and it is never ready meanwhile."""
    running = pod("ends")
    until(lambda: len(running.ended) >= 3, "it has ended three times")
    assert set(running.ended) == {"exit code 3"}
    assert not running.is_ready


def test_a_container_that_never_starts_to_answer_is_restarted_by_its_startup_probe(pod: StartPod) -> None:
    """After as many failures as the manifest allows; until then its liveness is not asked."""
    running = pod("live", startup=replace(FAST["startup"], failures=3))
    until(lambda: running.restarted_for, "it is restarted")
    assert set(running.restarted_for) == {"startup"}
    assert not running.is_ready


def test_a_container_that_hangs_is_restarted_by_its_liveness_probe(pod: StartPod) -> None:
    """It answers nothing and hears no SIGTERM: it is killed after its grace period, and the next one is ready."""
    running = pod(grace_s=0.3)
    until(lambda: running.is_ready, "it is ready")
    running.suspend_container()
    until(lambda: running.restarted_for == ["liveness"], "its liveness probe has failed")
    until(lambda: running.ended == ["signal SIGKILL"], "it was killed")
    until(lambda: running.is_ready, "the next one is ready")


def test_a_pod_that_is_not_ready_is_left_alone(pod: StartPod) -> None:
    """A server that is away restarts nothing (liveness passes)."""
    running = pod("ready")

    def asked() -> list[str]:
        file = root(running) / "asked"
        return file.read_text().splitlines() if file.exists() else []

    until(lambda: asked().count("/health/ready") > 3 * running.spec.readiness.failures, "it was asked often")
    assert (running.ended, running.restarted_for, running.is_ready) == ([], [], False)


def test_a_lost_node_takes_its_pods_and_its_volumes_along(tmp_path: Path) -> None:
    """At once, without SIGTERM; what is created again comes to another node."""
    spec = replace(pod_spec("merge"), **FAST)
    script = tmp_path / "container.py"
    # Each pod listens on the address that its own configuration names.
    script.write_text(
        f"import re, sys\naddress = re.search(r'host: (127[.\\d]+)', open(sys.argv[4]).read())[1]\n"
        f"sys.argv[1:] = [address, '{spec.port}']\n" + PROGRAM
    )
    config_maps = {"crm-salmon-config": config_map("crm-salmon-config")}
    around = Surroundings(tmp_path, (sys.executable, str(script)), config_maps, SECRETS, factor=0.01)
    sets = Sets(around, [spec], ("a", "b"), "127.77.19")
    try:
        sets.apply()
        sets.wait_ready()
        assert sets.ready() == ["merge"]
        (tmp_path / "volumes/cache-crm-salmon-merge-0/copy").touch()
        (lost,) = sets.lose_node("a")
        assert (lost.name, lost.exit_code) == ("crm-salmon-merge-0", -signal.SIGKILL)
        sets.apply()
        sets.wait_ready()
        assert {pod.node for pod in sets.of("merge")} == {"b"}
        assert not (tmp_path / "volumes/cache-crm-salmon-merge-0/copy").exists()
    finally:
        sets.stop()
    assert [pod.exit_code for pod in sets.gone] == [7, 7]
