"""The commands of deploy/README.md that read Salmon's own topics, as they stand there, with Apache Kafka's own tools."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from salmon.devstack import jvm
from salmon.kafka.topics import CONNECTORS
from support.ring import Ring, running_ring
from support.stacks import Stack
from support.waiting import until

pytestmark = [pytest.mark.jvm, pytest.mark.processes, pytest.mark.xdist_group("jvm")]

README: Final = Path(__file__).parents[2] / "deploy" / "README.md"
# What the scripts of Kafka's distribution start.
PROGRAMS: Final = {
    "kafka-console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "kafka-consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
}
_WITHIN_S: Final = 120


@pytest.fixture(scope="module")
def ring(jvm_stack: Stack) -> Iterator[Ring]:
    """A sync of the README's name."""
    with running_ring(jvm_stack, "crm", records={"Account": 5}) as ring:
        ring.start()
        ring.wait_equal()
        yield ring


def command(program: str) -> list[str]:
    """The words after *program* in the README's block of commands."""
    text = README.read_text(encoding="utf-8").replace("\\\n", " ")
    (line,) = re.findall(rf"^{program} .*$", text, flags=re.MULTILINE)
    return shlex.split(line)[1:]


def printed(ring: Ring, program: str, *more: str) -> str:
    """What the command prints, asked of the ring's own Kafka."""
    jars, _ = jvm.fetch()
    words = [ring.stack.bootstrap_servers if word == "localhost:9092" else word for word in command(program)]
    ended = subprocess.run(
        ["java", "-cp", f"{jars}/*", PROGRAMS[program], *words, *more],
        capture_output=True,
        text=True,
        timeout=_WITHIN_S,
        check=False,
    )
    return ended.stdout + ended.stderr


def test_the_status_topic_can_be_read_with_kafka_s_console(ring: Ring) -> None:
    """It has the state of each process, under the key that Kafka Connect would use."""
    told = printed(ring, "kafka-console-consumer", "--timeout-ms", "15000")
    for name in CONNECTORS:
        assert re.search(rf'status-task-{name}-0\t.*"RUNNING"', told), told[-2000:]


def test_what_a_sink_has_read_is_shown_by_kafka_s_own_tool(ring: Ring) -> None:
    """
    Its group is where the README says. Once it has committed, at most the marker of merge's last transaction is left in a partition,
    which is no record.
    """

    def lags() -> list[str]:
        told = printed(ring, "kafka-consumer-groups")
        rows = [line.split() for line in told.splitlines() if ".writes.mongodb.Account" in line]
        assert rows, told[-2000:]
        return [row[5] for row in rows]

    until(lambda: set(lags()) <= {"0", "1"}, "the sink has committed", within_s=_WITHIN_S, seen=lags)
