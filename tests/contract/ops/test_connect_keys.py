"""The keys that deploy/from-kafka-connect.md is held against are those that Kafka Connect has."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from salmon.devstack import jvm
from support.connect_keys import keys_of_connect

PRINTER = Path(__file__).with_name("ConnectKeys.java")
OF_APACHE = ("Worker", "Every connector", "Sources and sinks")


@pytest.mark.jvm
@pytest.mark.xdist_group("jvm")
def test_the_keys_are_those_of_connects_own_definitions() -> None:
    """With the next version of Kafka Connect, it says which keys are new, and which are gone."""
    if lacks := jvm.missing():
        pytest.skip(f"Kafka Connect's definitions cannot be asked: {lacks}")
    jars, _ = jvm.fetch()
    told = subprocess.run(
        ["java", "-cp", str(jars / "*"), str(PRINTER)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    theirs = {tuple(line.split("=")) for line in told.stdout.splitlines()}
    assert theirs == {(section, key) for section, key in keys_of_connect() if section in OF_APACHE}
