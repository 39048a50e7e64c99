"""
One pod: a process in a folder of its own, asked by its probes and restarted by them, as a kubelet does.

The first restart comes at once, and each further one twice as late as the one before. A pod that is deleted gets SIGTERM, and
SIGKILL when its grace period is over.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import requests

from salmon.app.process import PARENT_VARIABLE
from salmon.runtime.instance import ORDINAL_VARIABLE
from support.kubelet.manifests import Mount, PodSpec, Probe

_LOOK_S: Final = 0.05
_BACKOFF_S: Final = (10.0, 300.0)  # Kubernetes' own
_TMP: Final = "/tmp"
_EVERYWHERE: Final = "0.0.0.0"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """
    What all pods find around them.

    Args:
        program: The image's entry point.
        factor: By which the kubelet's own times are shorter than in a cluster.
        folder: Contains the pods' folders, their logs and the volumes.
    """

    folder: Path
    program: Sequence[str]
    config_maps: Mapping[str, Mapping[str, str]]
    secrets: Mapping[str, Mapping[str, str]]
    factor: float

    def volume(self, claim: str, pod_name: str) -> Path:
        return self.folder / "volumes" / f"{claim}-{pod_name}"


class _Asked:
    """A probe, and what it was answered of late."""

    def __init__(self, probe: Probe, url: str, began_at: float) -> None:
        self.probe, self._url, self._due_at = probe, url, began_at + probe.period_s
        self.failures = 0
        self.succeeded = False

    @property
    def has_failed(self) -> bool:
        return self.failures >= self.probe.failures

    def ask_if_due(self) -> None:
        if (now := time.monotonic()) < self._due_at:
            return
        self._due_at = now + self.probe.period_s
        try:
            # A redirect counts as a success for a kubelet; ours answers none.
            answer = requests.get(
                self._url + self.probe.path, timeout=self.probe.timeout_s, proxies={"http": ""}
            )
            self.succeeded = answer.ok
        except requests.RequestException:
            self.succeeded = False
        self.failures = 0 if self.succeeded else self.failures + 1


@dataclass(eq=False)
class Pod:
    """
    A pod of a StatefulSet. start() it once, and end it by delete() or lose().

    Attributes:
        ended: How each container of it has ended, e.g. "exit code 3", in their order; without the one that was deleted.
        restarted_for: The probe because of which the kubelet has ended a container, for each of them.
    """

    spec: PodSpec
    ordinal: int
    node: str
    address: str
    around: Surroundings
    uid: str  # differs for each pod of a name
    ended: list[str] = field(default_factory=list)
    restarted_for: list[str] = field(default_factory=list)
    exit_code: int | None = None
    is_ready: bool = False
    _process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self._deleted, self._lost = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"{self.name} {self.uid}", daemon=True)

    @property
    def name(self) -> str:
        return f"{self.spec.set_name}-{self.ordinal}"

    @property
    def log_file(self) -> Path:
        return self.around.folder / "logs" / f"{self.name}.{self.uid}.log"

    @property
    def pid(self) -> int | None:
        """The process of its container; None while there is none."""
        process = self._process
        return None if process is None else process.pid

    @property
    def peak_mib(self) -> int:
        """The most memory that its container has taken so far."""
        (line,) = (
            each
            for each in Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8").splitlines()
            if each.startswith("VmHWM:")
        )
        return int(line.split()[1]) // 1024

    def start(self) -> None:
        self._thread.start()

    def kill_container(self) -> None:
        """SIGKILL, as the kernel does when memory is short: the kubelet starts it again."""
        assert self._process is not None, f"{self.name} has no container that runs"
        self._process.kill()

    def suspend_container(self) -> None:
        """SIGSTOP: it hangs, and answers no probe."""
        assert self._process is not None, f"{self.name} has no container that runs"
        self._process.send_signal(signal.SIGSTOP)

    def delete(self) -> None:
        """SIGTERM, and SIGKILL after the grace period; return at once."""
        self.is_ready = False
        self._deleted.set()

    def lose(self) -> None:
        """Its node is gone, from one moment to the next; return when it is."""
        self.is_ready = False
        self._lost.set()
        self._deleted.set()
        self.join()

    def join(self) -> int | None:
        """Wait until it has ended; its exit code, if it was deleted while its container ran."""
        self._thread.join()
        return self.exit_code

    # In its own thread.

    def _keep(self) -> None:
        root = self._made_root()
        restarts = 0
        while not self._deleted.is_set():
            began_at = time.monotonic()
            self._process = process = self._started(root)
            self._watch(process)
            code = self._end(process) if process.poll() is None else process.wait()
            self._process, self.is_ready = None, False
            if self._deleted.is_set():
                self.exit_code = code
                return
            self.ended.append(f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}")
            first_s, most_s = (each * self.around.factor for each in _BACKOFF_S)
            # A container that has run twice the longest wait begins its backoff again.
            restarts = 0 if time.monotonic() - began_at > 2 * most_s else restarts + 1
            if restarts > 1:
                self._deleted.wait(min(most_s, first_s * 2 ** (restarts - 2)))

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Ask the probes, until the container ends, has to be ended, or the pod is deleted."""
        url = f"http://{self.address}:{self.spec.port}"
        startup = _Asked(self.spec.startup, url, time.monotonic())
        while not startup.succeeded:
            if startup.has_failed:
                self.restarted_for.append("startup")
                return
            if process.poll() is not None or self._deleted.wait(_LOOK_S):
                return
            startup.ask_if_due()
        liveness, readiness = (
            _Asked(probe, url, time.monotonic()) for probe in (self.spec.liveness, self.spec.readiness)
        )
        while process.poll() is None and not self._deleted.wait(_LOOK_S):
            readiness.ask_if_due()
            if not self._deleted.is_set():
                self.is_ready = readiness.succeeded or (self.is_ready and not readiness.has_failed)
            liveness.ask_if_due()
            if liveness.has_failed:
                self.restarted_for.append("liveness")
                return

    def _end(self, process: subprocess.Popen[bytes]) -> int:
        if not self._lost.is_set():
            process.terminate()
            ends_at = time.monotonic() + self.spec.grace_s
            while process.poll() is None and time.monotonic() < ends_at and not self._lost.wait(_LOOK_S):
                pass
        process.kill()
        return process.wait()

    # Its container.

    def _made_root(self) -> Path:
        root = self.around.folder / "pods" / f"{self.name}.{self.uid}"
        for mount in self.spec.mounts:
            path = root / mount.path.lstrip("/")
            if mount.claim is not None:
                volume = self.around.volume(mount.claim, self.name)
                volume.mkdir(parents=True, exist_ok=True)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.symlink_to(volume)
                continue
            path.mkdir(parents=True)
            for name, text in self._files_of(mount).items():
                (path / name).write_text(self._inside(text, root), encoding="utf-8")
                (path / name).chmod(mount.mode)
        return root

    def _files_of(self, mount: Mount) -> Mapping[str, str]:
        if mount.config_map is not None:
            return self.around.config_maps[mount.config_map]
        return self.around.secrets[mount.secret] if mount.secret is not None else {}

    def _inside(self, text: str, root: Path) -> str:
        """*text* with the paths of the container's mounts as they are here, and its own address."""
        for mount in self.spec.mounts:
            if mount.path != _TMP:
                text = re.sub(rf"(?<![\w./-]){re.escape(mount.path)}\b", f"{root}{mount.path}", text)
        return text.replace(_EVERYWHERE, self.address)

    def _started(self, root: Path) -> subprocess.Popen[bytes]:
        said = self.spec.environment(self.name, self.around.secrets)
        # Nothing of the test's own environment: a pod begins with its image's and its manifest's.
        environment = {
            "PATH": os.environ["PATH"],
            "TMPDIR": f"{root}{_TMP}",
            **said,
            "SALMON_ADVERTISED_HOST": self.address,  # no DNS here
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            ORDINAL_VARIABLE: str(self.ordinal),
            # A process whose parent ends, ends too: a test run that is killed leaves nothing behind.
            PARENT_VARIABLE: str(os.getpid()),
        }
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            return subprocess.Popen(
                [*self.around.program, *(self._inside(word, root) for word in self.spec.args)],
                cwd=root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


def discard(volume: Path) -> None:
    """A volume that is lost with its node."""
    shutil.rmtree(volume, ignore_errors=True)
