"""
The StatefulSets of the connectors on the nodes of a small cluster, and what an administrator does to them.

All sets do what they are told at the same time, and each of them with one pod after the other, as after `helm upgrade`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from typing import Final

from support.kubelet.manifests import PodSpec
from support.kubelet.pods import Pod, Surroundings, discard
from support.waiting import until

# What a kubelet may take until a pod is ready: its startup probe's own patience, and some time to join its group.
_READY_MAX_S: Final = 150.0


class Sets:
    """
    The pods of all sets; a context manager's (running).

    Attributes:
        gone: Pods that were deleted, and have ended.
        lost: Pods whose node was lost.
    """

    def __init__(
        self, around: Surroundings, specs: Sequence[PodSpec], nodes: Sequence[str], network: str
    ) -> None:
        self._around, self._nodes, self._network = around, nodes, network
        self._specs: Mapping[str, PodSpec] = {spec.component: spec for spec in specs}
        self._numbers = count(1)
        self.pods: dict[tuple[str, int], Pod] = {}
        self.gone: list[Pod] = []
        self.lost: list[Pod] = []

    # What Kubernetes shows.

    def of(self, component: str) -> list[Pod]:
        """Its pods that exist now."""
        return [pod for (name, _), pod in sorted(self.pods.items()) if name == component]

    def ready(self) -> list[str]:
        """The sets all of whose pods are ready."""
        return [name for name in self._specs if (pods := self.of(name)) and all(pod.is_ready for pod in pods)]

    def everyone(self) -> list[Pod]:
        """All pods that there ever were."""
        return [*self.gone, *self.lost, *self.pods.values()]

    def wait_ready(self) -> None:
        for pod in list(self.pods.values()):
            self._wait_for(pod)

    # What an administrator does.

    def apply(self) -> None:
        """Create the pods that are missing; return at once."""
        for name, spec in self._specs.items():
            for ordinal in range(spec.replicas):
                if (name, ordinal) not in self.pods:
                    self._create(name, ordinal)

    def roll(self) -> None:
        """`helm upgrade`: each set replaces its pods, the highest ordinal first; the next one when the new one is ready."""

        def one_by_one(name: str) -> None:
            for pod in reversed(self.of(name)):
                self._delete(pod)
                self._wait_for(self._create(name, pod.ordinal, pod.node))

        self._in_all(one_by_one)

    def surge(self, meanwhile: Callable[[], None]) -> None:
        """One pod more in each set; *meanwhile*, when all are ready; then they go. So others have to share with them, and to take over from them."""
        extra: dict[str, Pod] = {}

        def one_more(name: str) -> None:
            extra[name] = self._create(name, self._specs[name].replicas)
            self._wait_for(extra[name])

        self._in_all(one_more)
        meanwhile()
        self._in_all(lambda name: self._delete(extra[name]))

    def kill_each(self, on: str) -> None:
        """SIGKILL to each container on a node, one after the other in each set; its kubelet starts it again."""

        def one_by_one(name: str) -> None:
            for pod in (each for each in self.of(name) if each.node == on):
                ended = len(pod.ended)
                pod.kill_container()
                until(lambda pod=pod, ended=ended: len(pod.ended) > ended, f"{pod.name} is killed")  # type: ignore[misc]
                self._wait_for(pod)

        self._in_all(one_by_one)

    def lose_node(self, node: str) -> list[Pod]:
        """Everything on a node is gone at once, and so are the volumes that it had; return the pods that it took along."""
        lost = [pod for pod in self.pods.values() if pod.node == node]
        with ThreadPoolExecutor(len(lost)) as at_once:
            list(at_once.map(Pod.lose, lost))
        for pod in lost:
            del self.pods[pod.spec.component, pod.ordinal]
            for mount in pod.spec.mounts:
                if mount.claim is not None:
                    discard(self._around.volume(mount.claim, pod.name))
        self._nodes = [each for each in self._nodes if each != node]
        self.lost += lost
        return lost

    def stop(self) -> None:
        """Delete everything; return when it has ended."""
        pods = list(self.pods.values())
        for pod in pods:
            pod.delete()
        for pod in pods:
            self._delete(pod)

    def _create(self, name: str, ordinal: int, node: str | None = None) -> Pod:
        number = next(self._numbers)
        pod = Pod(
            self._specs[name],
            ordinal,
            node or self._nodes[ordinal % len(self._nodes)],
            f"{self._network}.{number}",
            self._around,
            str(number),
        )
        self.pods[name, ordinal] = pod
        pod.start()
        return pod

    def _delete(self, pod: Pod) -> None:
        pod.delete()
        pod.join()
        del self.pods[pod.spec.component, pod.ordinal]
        self.gone.append(pod)

    def _wait_for(self, pod: Pod) -> None:
        until(
            lambda: pod.is_ready,
            f"{pod.name} is ready",
            within_s=_READY_MAX_S,
            seen=lambda: (pod.ended, pod.restarted_for, pod.log_file.read_text()[-1500:]),
        )

    def _in_all(self, work: Callable[[str], None]) -> None:
        with ThreadPoolExecutor(len(self._specs)) as at_once:
            list(at_once.map(work, self._specs))


@contextmanager
def running(
    around: Surroundings, specs: Sequence[PodSpec], nodes: Sequence[str], network: str
) -> Iterator[Sets]:
    """
    The sets, all of whose pods are started; none outlives the block.

    Args:
        nodes: The ordinals of each set are spread over them.
        network: The first three numbers of the pods' addresses, from 127.0.0.0/8.
    """
    sets = Sets(around, specs, nodes, network)
    sets.apply()
    try:
        yield sets
    finally:
        sets.stop()
